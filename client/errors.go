// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// What an [*Error] can be matched with, by errors.Is. These match its code.
var (
	ErrInvalidArgument    error = &sentinel{code: codes.InvalidArgument, text: "invalid argument"}
	ErrNotFound           error = &sentinel{code: codes.NotFound, text: "not found"}
	ErrAlreadyExists      error = &sentinel{code: codes.AlreadyExists, text: "already exists"}
	ErrPermissionDenied   error = &sentinel{code: codes.PermissionDenied, text: "permission denied"}
	ErrUnauthenticated    error = &sentinel{code: codes.Unauthenticated, text: "unauthenticated"}
	ErrFailedPrecondition error = &sentinel{code: codes.FailedPrecondition, text: "failed precondition"}
	ErrResourceExhausted  error = &sentinel{code: codes.ResourceExhausted, text: "resource exhausted"}
	ErrOutOfRange         error = &sentinel{code: codes.OutOfRange, text: "out of range"}
	ErrUnavailable        error = &sentinel{code: codes.Unavailable, text: "unavailable"}
	// ErrDeadlineExceeded is any lack of time. That of the caller's own context
	// matches context.DeadlineExceeded too.
	ErrDeadlineExceeded error = &sentinel{code: codes.DeadlineExceeded, text: "deadline exceeded"}
	ErrInternal         error = &sentinel{code: codes.Internal, text: "internal error"}
)

// These match its reason.
var (
	// ErrAlreadyBegun: a class is on in the room; [Error.Recording] names it.
	ErrAlreadyBegun error = &sentinel{reason: "CLASS_ALREADY_BEGUN", text: "a class is on already"}
	// ErrRequestIDReused: the request id came before with another payload.
	ErrRequestIDReused error = &sentinel{reason: "REQUEST_ID_REUSED", text: "request id reused"}
	// ErrRoomNotFound: the platform has no such room.
	ErrRoomNotFound error = &sentinel{reason: "ROOM_NOT_FOUND", text: "no such room"}
	// ErrRecordingNotFound: there is no recording of that name.
	ErrRecordingNotFound error = &sentinel{reason: "RECORDING_NOT_FOUND", text: "no such recording"}
	// ErrNoClass: no class is on in the room, and none is known.
	ErrNoClass error = &sentinel{reason: "NO_CLASS", text: "no class"}
	// ErrSequenceTooOld: events after that sequence are not kept any more. The
	// error is a [*TooOldError] too.
	ErrSequenceTooOld error = &sentinel{reason: "SEQUENCE_TOO_OLD", text: "sequence too old"}
	// ErrSequenceUnknown: that sequence has not been yet.
	ErrSequenceUnknown error = &sentinel{reason: "SEQUENCE_UNKNOWN", text: "sequence unknown"}
	// ErrFFmpegMissing: the embedded platform needs ffmpeg for what was asked.
	ErrFFmpegMissing error = &sentinel{reason: "FFMPEG_MISSING", text: "ffmpeg missing"}
)

// sentinel is a code or a reason that an [*Error] may have.
type sentinel struct {
	code   codes.Code
	reason string
	text   string
}

func (s *sentinel) Error() string { return s.text }

// ErrorDetails is what the service says of an error.
type ErrorDetails struct {
	Code    codes.Code
	Message string
	// Reason is stable, and unique within the service; "" where the error is
	// not the service's own.
	Reason string
	// Metadata goes with the reason.
	Metadata map[string]string
	// Fields are what is wrong with which field, for INVALID_ARGUMENT.
	Fields []FieldViolation
	// RetryAfter says when trying again may help; 0: not said.
	RetryAfter time.Duration
}

// FieldViolation is a field of a request and what is wrong with it.
type FieldViolation struct{ Field, Description string }

// Error is what a call ended in. errors.Is matches it with the sentinels of
// this package, and with context.Canceled and context.DeadlineExceeded where
// the caller's context has ended; status.FromError has the whole of it.
type Error struct {
	ErrorDetails

	status *status.Status
	cause  error // the end of the caller's context, or nil
}

// Error has the code, the reason and the message: "ALREADY_EXISTS
// (CLASS_ALREADY_BEGUN): a class is on already: …".
func (e *Error) Error() string {
	text := code.Code(e.Code).String() //nolint:gosec // codes are below 17
	if e.Reason != "" {
		text += " (" + e.Reason + ")"
	}
	return text + ": " + e.Message
}

// Is matches the sentinels of this package.
func (e *Error) Is(target error) bool {
	s, ok := target.(*sentinel)
	switch {
	case !ok:
		return false
	case s.reason != "":
		return e.Reason == s.reason
	default:
		return e.Code == s.code
	}
}

// Unwrap returns the error of the caller's context where that has ended, else
// nil.
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus is for package status of gRPC.
func (e *Error) GRPCStatus() *status.Status { return e.status }

// Recording names the recording that the error is about, such as the live one
// of [ErrAlreadyBegun]; "" where it names none.
func (e *Error) Recording() string { return e.Metadata["recording"] }

// TooOldError is the [ErrSequenceTooOld] of a watch: the log does not reach
// back to the sequence to resume from. Read the list for what has happened
// since, then watch again from the beginning or from Oldest.
type TooOldError struct {
	// Err is what the call ended in.
	Err *Error
	// Oldest is the oldest sequence that is left.
	Oldest uint64
}

func (e *TooOldError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *TooOldError) Unwrap() error { return e.Err }

// IncompleteError is what [Client.List] ends in when the service could not ask the
// platform: the recordings before it are those that the service knows, and what
// only the platform knows is missing.
type IncompleteError struct {
	// Err is why, with [ErrUnavailable] or [ErrDeadlineExceeded].
	Err *Error
}

func (e *IncompleteError) Error() string { return "the list is incomplete: " + e.Err.Error() }

// Unwrap returns Err.
func (e *IncompleteError) Unwrap() error { return e.Err }

// FailedError is what [Client.Wait] ends in when the recording has: there will
// be no files. It matches [ErrRecordingFailed].
type FailedError struct{ Recording *classrecv1.Recording }

// ErrRecordingFailed matches a [*FailedError].
var ErrRecordingFailed = errors.New("the recording has failed")

func (e *FailedError) Error() string {
	text := e.Recording.GetName() + " has failed"
	if why := e.Recording.GetFailure().GetMessage(); why != "" {
		text += ": " + why
	}
	return text
}

// Is matches [ErrRecordingFailed].
func (e *FailedError) Is(target error) bool { return target == ErrRecordingFailed }

// Details reads an error of a call, or one that wraps it. For nil, Code is OK;
// for an error that is none of gRPC, UNKNOWN.
func Details(err error) ErrorDetails {
	return details(statusOf(err))
}

func statusOf(err error) *status.Status {
	// Of an error that wraps the call's, the call's own words.
	var call interface{ GRPCStatus() *status.Status }
	if errors.As(err, &call) && call.GRPCStatus() != nil {
		return call.GRPCStatus()
	}
	return status.Convert(err)
}

func details(st *status.Status) ErrorDetails {
	d := ErrorDetails{Code: st.Code(), Message: st.Message()}
	for _, detail := range st.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			d.Reason, d.Metadata = detail.GetReason(), detail.GetMetadata()
		case *errdetails.BadRequest:
			for _, v := range detail.GetFieldViolations() {
				d.Fields = append(d.Fields, FieldViolation{v.GetField(), v.GetDescription()})
			}
		case *errdetails.RetryInfo:
			d.RetryAfter = detail.GetRetryDelay().AsDuration()
		}
	}
	return d
}

// toError makes the error of a call under ctx one of this package.
func toError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	st := statusOf(err)
	e := &Error{ErrorDetails: details(st), status: st, cause: ctx.Err()}
	switch e.Reason {
	case "CALLER_DEADLINE": // the service has seen it before our clock did
		e.cause = context.DeadlineExceeded
	case "SEQUENCE_TOO_OLD":
		if oldest, err := strconv.ParseUint(e.Metadata["oldest_sequence"], 10, 64); err == nil {
			return &TooOldError{Err: e, Oldest: oldest}
		}
	}
	return e
}
