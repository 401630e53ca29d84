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
)

// ServerOptions returns the interceptors that the service's calls go through,
// from the outside: one log line a call, errors made into codes, panics made
// into errors, field rules. A nil logger discards.
func ServerOptions(logger *slog.Logger) ([]grpc.ServerOption, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	validator, err := protovalidate.New(protovalidate.WithMessages(
		&classrecv1.StartRecordingRequest{}, &classrecv1.StopRecordingRequest{}, &classrecv1.GetRecordingRequest{},
		&classrecv1.ListRecordingsRequest{}, &classrecv1.WatchClassBeginRequest{},
	))
	if err != nil {
		return nil, fmt.Errorf("read the field rules: %w", err)
	}
	e := edge{log: logger, validator: validator}
	recoverer := recovery.WithRecoveryHandlerContext(func(ctx context.Context, cause any) error {
		logger.ErrorContext(ctx, "panic in a call", "cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
		return status.Error(codes.Internal, "internal error")
	})
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(e.unary, recovery.UnaryServerInterceptor(recoverer), e.validateUnary),
		grpc.ChainStreamInterceptor(e.stream, recovery.StreamServerInterceptor(recoverer), e.validateStream),
	}, nil
}

// edge is where calls come in and errors go out.
type edge struct {
	log       *slog.Logger
	validator protovalidate.Validator
}

func (e edge) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	begin := time.Now()
	res, err := handler(ctx, req)
	return res, e.done(ctx, info.FullMethod, req, begin, err)
}

func (e edge) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	begin := time.Now()
	return e.done(ss.Context(), info.FullMethod, nil, begin, handler(srv, ss))
}

// done makes the error of a call public, and writes the call's one log line,
// the cause in it.
func (e edge) done(ctx context.Context, method string, req any, begin time.Time, err error) error {
	level, code := slog.LevelInfo, codes.OK
	attrs := []slog.Attr{slog.String("method", method), slog.Duration("took", time.Since(begin).Round(time.Microsecond))}
	if r, ok := req.(interface{ GetRoom() string }); ok && r.GetRoom() != "" {
		attrs = append(attrs, slog.String("room", r.GetRoom()))
	}
	if r, ok := req.(interface{ GetName() string }); ok && r.GetName() != "" {
		attrs = append(attrs, slog.String("recording", r.GetName()))
	}
	if r, ok := req.(interface{ GetRequestId() string }); ok && r.GetRequestId() != "" {
		attrs = append(attrs, slog.String("request_id", r.GetRequestId()))
	}
	if err != nil {
		st := toStatus(err)
		code = st.Code()
		attrs = append(attrs, slog.String("error", err.Error()))
		err = st.Err()
	}
	if code == codes.Internal || code == codes.Unknown {
		level = slog.LevelError
	}
	attrs = append(attrs, slog.String("code", code.String()))
	e.log.LogAttrs(ctx, level, "call", attrs...)
	return err
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
