// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"buf.build/go/protovalidate"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/auth"
)

// Config of the edge. Its zero value is ready for use.
type Config struct {
	// Auth finds out who calls. nil: nobody is asked.
	Auth *auth.Authenticator
	// HandOut makes of a tenant's recording what the caller of ctx gets of it. It
	// must not change it. nil: the recording itself.
	HandOut func(ctx context.Context, tenant string, r *classrecv1.Recording) *classrecv1.Recording
	// Observe is shown each call that is over, those that were refused too. It must
	// not block. nil: nobody is.
	Observe func(context.Context, Call)
	// Logger gets one line a call. nil discards.
	Logger *slog.Logger
}

// ServerOptions returns the interceptors that the service's calls go through,
// from the outside: who calls and whether he may, one log line a call, errors
// made into codes, panics made into errors, field rules. Services are registered
// by [Registrar].
func ServerOptions(cfg Config) ([]grpc.ServerOption, error) {
	validator, err := protovalidate.New(protovalidate.WithMessages(
		&classrecv1.StartRecordingRequest{}, &classrecv1.StopRecordingRequest{}, &classrecv1.GetRecordingRequest{},
		&classrecv1.ListRecordingsRequest{}, &classrecv1.WatchClassBeginRequest{},
	))
	if err != nil {
		return nil, fmt.Errorf("read the field rules: %w", err)
	}
	e := newEdge(cfg)
	e.validator = validator
	recoverer := recovery.WithRecoveryHandlerContext(func(ctx context.Context, cause any) error {
		e.log.ErrorContext(ctx, "panic in a call", "cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
		return status.Error(codes.Internal, "internal error")
	})
	// Twice: the inner one has the call's line tell of it, the outer one is for
	// what a credential may do to its reader.
	unary, stream := recovery.UnaryServerInterceptor(recoverer), recovery.StreamServerInterceptor(recoverer)
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(unary, e.unary, unary, e.validateUnary),
		grpc.ChainStreamInterceptor(stream, e.stream, stream, e.validateStream),
	}, nil
}

// newEdge returns an edge that checks no fields.
func newEdge(cfg Config) edge {
	e := edge{log: cfg.Logger, auth: cfg.Auth, handOut: cfg.HandOut, observe: cfg.Observe}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if e.observe == nil {
		e.observe = func(context.Context, Call) {}
	}
	return e
}

// edge is where calls come in and errors go out.
type edge struct {
	log       *slog.Logger
	auth      *auth.Authenticator
	handOut   func(context.Context, string, *classrecv1.Recording) *classrecv1.Recording
	observe   func(context.Context, Call)
	validator protovalidate.Validator
}

func (e edge) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	begin := time.Now()
	ctx, _, err := e.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, e.done(ctx, Call{Method: info.FullMethod, Begin: begin}, req, nil, err)
	}
	res, err := handler(ctx, req)
	if err == nil && e.handOut != nil {
		p, _ := auth.FromContext(ctx)
		res = handOut(res, func(r *classrecv1.Recording) *classrecv1.Recording { return e.handOut(ctx, p.Tenant, r) })
	}
	return res, e.done(ctx, Call{Method: info.FullMethod, Begin: begin}, req, res, err)
}

// handOut puts what callers get of recordings into an answer. Those of events
// have no files yet.
func handOut(res any, each func(*classrecv1.Recording) *classrecv1.Recording) any {
	switch r := res.(type) {
	case *classrecv1.StartRecordingResponse:
		return &classrecv1.StartRecordingResponse{Recording: each(r.GetRecording())}
	case *classrecv1.StopRecordingResponse:
		return &classrecv1.StopRecordingResponse{Recording: each(r.GetRecording())}
	case *classrecv1.GetRecordingResponse:
		return &classrecv1.GetRecordingResponse{Recording: each(r.GetRecording())}
	case *classrecv1.ListRecordingsResponse:
		for i, recording := range r.GetRecordings() { // the page is this answer's own
			r.Recordings[i] = each(recording)
		}
	}
	return res
}

func (e edge) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	begin := time.Now()
	ctx, grant, err := e.admit(ss.Context(), info.FullMethod)
	if err != nil {
		return e.done(ctx, Call{Method: info.FullMethod, Begin: begin}, nil, nil, err)
	}
	bounded, stop := e.follow(ctx, grant)
	defer stop()
	admitted := &admittedStream{ServerStream: ss, ctx: bounded}
	err = handler(srv, admitted)
	if ended := auth.Ended(bounded); ended != nil && err != nil {
		err = ended
	}
	return e.done(ctx, Call{Method: info.FullMethod, Begin: begin, early: admitted.request == nil}, admitted.request, nil, err)
}

func (e edge) validateUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if err := e.validate(req); err != nil {
		return nil, err
	}
	return handler(ctx, req)
}

func (e edge) validateStream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return handler(srv, &validatingStream{ServerStream: ss, edge: e})
}

func (e edge) validate(req any) error {
	msg, ok := req.(proto.Message)
	if !ok {
		return nil
	}
	return e.validator.Validate(msg)
}

// validatingStream checks what is received; what is sent passes through.
type validatingStream struct {
	grpc.ServerStream
	edge edge
}

// RecvMsg receives a message and checks it.
func (s *validatingStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	return s.edge.validate(m)
}
