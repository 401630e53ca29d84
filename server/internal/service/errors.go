// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/classrec/classrec/server/internal/auth"
	"github.com/classrec/classrec/server/internal/recording"
)

// Domain is the domain of every ErrorInfo of this service.
const Domain = "classrec.dev"

// Status makes the public form of an error: its code, its message and its
// details. What is not known to be public becomes INTERNAL without a word of
// its own.
func Status(err error) *statuspb.Status { return toStatus(err).Proto() }

func toStatus(err error) *status.Status {
	var known *recording.Error
	var refused *auth.Error
	var invalid *protovalidate.ValidationError
	switch {
	case errors.As(err, &known):
		return knownStatus(known)
	case errors.As(err, &refused):
		return refusedStatus(refused)
	case errors.As(err, &invalid):
		return invalidStatus(invalid)
	case errors.Is(err, context.Canceled):
		return status.New(codes.Canceled, "the caller went away")
	case errors.Is(err, context.DeadlineExceeded):
		return withDetails(codes.DeadlineExceeded, "the caller's deadline has passed", &errdetails.ErrorInfo{Reason: "CALLER_DEADLINE", Domain: Domain})
	}
	if st, ok := status.FromError(err); ok {
		return st // from gRPC itself: a stream that broke, say
	}
	return withDetails(codes.Internal, "internal error", &errdetails.ErrorInfo{Reason: "INTERNAL", Domain: Domain})
}

func knownStatus(e *recording.Error) *status.Status {
	if e.Stored != nil {
		return status.FromProto(e.Stored)
	}
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: e.Reason, Domain: Domain, Metadata: e.Metadata}}
	if e.Field != "" {
		details = append(details, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: e.Field, Description: e.Message, Reason: e.Reason},
		}})
	}
	if e.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)})
	}
	return withDetails(code(e.Kind), e.Message, details...)
}

// refusedStatus is for a caller that is not let in.
func refusedStatus(e *auth.Error) *status.Status {
	info := &errdetails.ErrorInfo{Reason: e.Reason, Domain: Domain}
	switch {
	case e.Denied:
		info.Metadata = map[string]string{"scope": string(e.Scope)}
		return withDetails(codes.PermissionDenied, e.Message, info)
	case e.RetryAfter > 0:
		return withDetails(codes.Unavailable, e.Message, info, &errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)})
	}
	return withDetails(codes.Unauthenticated, e.Message, info)
}

// code is the one table from kinds to codes.
func code(kind recording.Kind) codes.Code {
	switch kind {
	case recording.KindInvalidArgument:
		return codes.InvalidArgument
	case recording.KindNotFound:
		return codes.NotFound
	case recording.KindAlreadyExists:
		return codes.AlreadyExists
	case recording.KindPermissionDenied:
		return codes.PermissionDenied
	case recording.KindFailedPrecondition:
		return codes.FailedPrecondition
	case recording.KindResourceExhausted:
		return codes.ResourceExhausted
	case recording.KindOutOfRange:
		return codes.OutOfRange
	case recording.KindUnavailable:
		return codes.Unavailable
	case recording.KindDeadlineExceeded:
		return codes.DeadlineExceeded
	case recording.KindDataLoss:
		return codes.DataLoss
	case recording.KindInternal:
		return codes.Internal
	}
	return codes.Internal
}

// invalidStatus names each field at fault by its path, as the proto spells it.
func invalidStatus(invalid *protovalidate.ValidationError) *status.Status {
	bad := &errdetails.BadRequest{}
	var texts []string
	for _, v := range invalid.Violations {
		field := protovalidate.FieldPathString(v.Proto.GetField())
		if field == "" {
			// A rule of the whole message: its id begins with the field to mend.
			field, _, _ = strings.Cut(v.Proto.GetRuleId(), ".")
		}
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field: field, Description: v.Proto.GetMessage(), Reason: reason(v.Proto.GetRuleId()),
		})
		text := v.Proto.GetMessage()
		if field != "" {
			text = field + ": " + text
		}
		texts = append(texts, text)
	}
	return withDetails(codes.InvalidArgument, strings.Join(texts, "; "),
		&errdetails.ErrorInfo{Reason: "INVALID_FIELD", Domain: Domain}, bad)
}

// reason makes a rule's id a reason: string.max_bytes is STRING_MAX_BYTES.
func reason(ruleID string) string {
	return strings.ToUpper(strings.ReplaceAll(ruleID, ".", "_"))
}

func withDetails(c codes.Code, message string, details ...protoadapt.MessageV1) *status.Status {
	st := status.New(c, message)
	detailed, err := st.WithDetails(details...)
	if err != nil {
		return st
	}
	return detailed
}
