// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/classrec/classrec/server/internal/recording"
)

// The stop of a server has ShutdownTimeout. Of it, calls in flight get a first
// part in which to be finished, and answers a little more in which to be
// delivered. The rest is for what is behind the calls.
const (
	drainPart   = 0.30
	deliverPart = 0.35
)

// phase returns a context that ends when that part of the time for stopping is
// over, of which ctx is the whole.
func (s *Server) phase(ctx context.Context, part float64) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	left := time.Duration(float64(s.cfg.ShutdownTimeout) * (1 - part))
	return context.WithDeadline(ctx, deadline.Add(-left))
}

// drain is the way of calls out of a server that stops. New calls are refused,
// watches end at once, other calls are finished if that does not take long; all
// of them with an error that makes their callers come back to whoever serves
// next. Health and reflection go on until the calls are over.
type drain struct {
	apis    []string        // the services whose calls are counted
	streams context.Context // ends when watches are to end
	calls   context.Context // ends when all calls are
	cut     context.CancelFunc

	mu       sync.Mutex
	inFlight int
	stopping bool
	idle     chan struct{} // closed once stopping with no call in flight
	end      context.CancelFunc
}

func newDrain(apis []string) *drain {
	d := &drain{apis: apis, idle: make(chan struct{})}
	d.calls, d.cut = context.WithCancel(context.Background())
	d.streams, d.end = context.WithCancel(d.calls)
	return d
}

// stop returns when no call is in flight, or when ctx ends; then what is left is
// told to end at once.
func (d *drain) stop(ctx context.Context) {
	d.mu.Lock()
	d.stopping = true
	if d.inFlight == 0 {
		close(d.idle)
	}
	d.mu.Unlock()
	d.end()
	select {
	case <-d.idle:
	case <-ctx.Done():
	}
	d.cut()
}

// enter counts a call in flight, unless no more are taken.
func (d *drain) enter() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping {
		return errStopping()
	}
	d.inFlight++
	return nil
}

func (d *drain) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.inFlight--; d.inFlight == 0 && d.stopping {
		close(d.idle)
	}
}

func errStopping() error {
	return &recording.Error{
		Kind: recording.KindUnavailable, Reason: "NOT_SERVING", Message: "the server is stopping",
		RetryAfter: time.Second,
	}
}

// ours tells a call of the API.
func (d *drain) ours(method string) bool {
	return slices.ContainsFunc(d.apis, func(api string) bool { return strings.HasPrefix(method, "/"+api+"/") })
}

// options are the interceptors. They belong inside of those that make errors
// public.
func (d *drain) options() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(d.unary), grpc.ChainStreamInterceptor(d.stream)}
}

func (d *drain) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if !d.ours(info.FullMethod) {
		return handler(ctx, req)
	}
	if err := d.enter(); err != nil {
		return nil, err
	}
	defer d.leave()
	bounded, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.calls, cancel)() //nolint:contextcheck // this one is the server's
	res, err := handler(bounded, req)
	if err != nil && d.calls.Err() != nil && ctx.Err() == nil {
		return nil, errStopping()
	}
	return res, err
}

func (d *drain) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	until := d.calls
	if d.ours(info.FullMethod) {
		if err := d.enter(); err != nil {
			return err
		}
		defer d.leave()
		until = d.streams
	}
	ctx, cancel := context.WithCancel(ss.Context())
	defer cancel()
	defer context.AfterFunc(until, cancel)()
	err := handler(srv, &boundStream{ServerStream: ss, ctx: ctx})
	if err != nil && until.Err() != nil && ss.Context().Err() == nil {
		return errStopping()
	}
	return err
}

// boundStream is a stream with a context of its own.
type boundStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context returns that context.
func (s *boundStream) Context() context.Context { return s.ctx }
