// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"google.golang.org/grpc/stats"
)

// early has the calls done that end before the interceptors see them: those of
// which no message came, or none that can be read. gRPC has answered them by then.
type early struct{ edge }

// entered is set when the interceptors have a call, which is theirs to end then.
type entered struct {
	method string
	yes    atomic.Bool
}

type enteredKey struct{}

// enter notes that the interceptors have a call.
func enter(ctx context.Context) {
	if e, ok := ctx.Value(enteredKey{}).(*entered); ok {
		e.yes.Store(true)
	}
}

// TagRPC is called when the header of a call has come.
func (early) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, enteredKey{}, &entered{method: info.FullMethodName})
}

// HandleRPC is called for each step of a call.
func (e early) HandleRPC(ctx context.Context, step stats.RPCStats) {
	end, ok := step.(*stats.End)
	if !ok {
		return
	}
	call, ok := ctx.Value(enteredKey{}).(*entered)
	if !ok || call.yes.Load() {
		return
	}
	err := end.Error
	if why := context.Cause(ctx); err != nil && why != nil && !errors.Is(why, ctx.Err()) { // ended by us
		err = fmt.Errorf("%w: %w", err, why)
	}
	// What he may do does not matter any more. Where ctx has ended, nobody waits
	// to learn who he is.
	ctx, _, _ = e.admit(ctx, call.method)
	_ = e.done(ctx, Call{Method: call.method, Begin: end.BeginTime, early: true}, nil, nil, err)
}

// TagConn is for connections, which do not matter here.
func (early) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn is for connections.
func (early) HandleConn(context.Context, stats.ConnStats) {}
