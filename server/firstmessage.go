// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/tap"

	"github.com/classrec/classrec/server/internal/auth"
)

// strangersPart is the part of [Doors.MessageTimeout] that callers have who show
// no credential that counts.
const strangersPart = 6

// firstMessage bounds the time in which the first message of a call must have
// come. Until then gRPC keeps the call, and asks nobody who makes it: what the
// interceptors do comes after the message of a unary call.
type firstMessage struct {
	auth    *auth.Authenticator
	timeout time.Duration
}

// options are those of a server whose callers are not ours. They belong outside
// of all others.
func (f firstMessage) options() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.InTapHandle(f.begin), grpc.ChainUnaryInterceptor(f.unary), grpc.ChainStreamInterceptor(f.stream)}
}

// errNoMessage is why a call is ended here, for its line in the log.
var errNoMessage = errors.New("its first message did not come in time")

// awaited is a call whose first message has not come.
type awaited struct {
	over            atomic.Bool // it has come, or the call has ended
	stranger, known *time.Timer
	forget          func() bool
}

type awaitedKey struct{}

// begin sees a call when its header is there, and must not wait for anything.
func (f firstMessage) begin(ctx context.Context, _ *tap.Info) (context.Context, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	a := new(awaited)
	ctx = context.WithValue(ctx, awaitedKey{}, a)
	a.stranger = time.AfterFunc(f.timeout/strangersPart, func() {
		credentials, _ := auth.OfCall(ctx)
		if _, err := f.auth.Authenticate(ctx, credentials); err != nil && !a.over.Load() {
			cancel(errNoMessage)
		}
	})
	a.known = time.AfterFunc(f.timeout, func() { cancel(errNoMessage) })
	a.forget = context.AfterFunc(ctx, a.stop)
	return ctx, nil
}

func (a *awaited) stop() {
	a.over.Store(true)
	a.stranger.Stop()
	a.known.Stop()
}

// came notes that a message of a call has come.
func (f firstMessage) came(ctx context.Context) {
	if a, ok := ctx.Value(awaitedKey{}).(*awaited); ok && !a.over.Load() {
		a.forget()
		a.stop()
	}
}

func (f firstMessage) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	f.came(ctx)
	return handler(ctx, req)
}

func (f firstMessage) stream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return handler(srv, &awaitedStream{ServerStream: ss, came: f.came})
}

// awaitedStream notes what is received.
type awaitedStream struct {
	grpc.ServerStream
	came func(context.Context)
}

// RecvMsg receives a message.
func (s *awaitedStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	s.came(s.Context())
	return err
}
