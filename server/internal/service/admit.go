// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"strings"

	"google.golang.org/grpc"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/auth"
)

// The prefixes of the methods of services that are not the API's own.
const (
	healthMethods     = "/grpc.health.v1.Health/"
	reflectionMethods = "/grpc.reflection."
)

// scopeOf is what a method needs; "" is any credential. What is not known here
// needs what the admin API does.
func scopeOf(method string) auth.Scope {
	switch method {
	case classrecv1.RecordingService_StartRecording_FullMethodName:
		return auth.ScopeStart
	case classrecv1.RecordingService_StopRecording_FullMethodName:
		return auth.ScopeStop
	case classrecv1.RecordingService_GetRecording_FullMethodName, classrecv1.RecordingService_ListRecordings_FullMethodName:
		return auth.ScopeList
	case classrecv1.RecordingService_WatchClassBegin_FullMethodName:
		return auth.ScopeWatch
	}
	if strings.HasPrefix(method, reflectionMethods) {
		return ""
	}
	return auth.ScopeAdmin
}

// admit finds out who makes a call, and whether he may make calls of the kind.
// The context has the caller and his address, also that of one who is refused
// for what he may not do. Health is for all.
func (e edge) admit(ctx context.Context, method string) (context.Context, auth.Grant, error) {
	credentials, remote := auth.OfCall(ctx)
	ctx = auth.WithRemoteAddr(ctx, remote)
	if strings.HasPrefix(method, healthMethods) {
		return ctx, auth.Grant{}, nil
	}
	if e.auth == nil {
		return auth.NewContext(ctx, auth.Anonymous()), auth.Grant{}, nil
	}
	grant, err := e.auth.Authenticate(ctx, credentials)
	if err != nil {
		return ctx, grant, err
	}
	ctx = auth.NewContext(ctx, grant.Principal)
	if scope := scopeOf(method); scope != "" && !grant.Has(scope) {
		return ctx, grant, auth.ErrScope(scope)
	}
	return ctx, grant, nil
}

// follow ends a stream with the credential that it was opened with.
func (e edge) follow(ctx context.Context, grant auth.Grant) (context.Context, func()) {
	if e.auth == nil {
		return ctx, func() {}
	}
	return e.auth.Follow(ctx, grant)
}

// admittedStream is a stream whose context has the caller, and ends with his
// credential.
type admittedStream struct {
	grpc.ServerStream
	ctx     context.Context
	request any // the first message that was received; nil before
}

// RecvMsg receives a message, and keeps the first.
func (s *admittedStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err == nil && s.request == nil {
		s.request = m
	}
	return err
}

// Context returns the context that has the caller.
func (s *admittedStream) Context() context.Context { return s.ctx }
