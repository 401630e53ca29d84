// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"

	"github.com/classrec/classrec/server/internal/admission"
	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Kind is the class of an [Error]; package service gives each its code.
type Kind int

// The kinds, named as the codes that they become.
const (
	KindInternal Kind = iota
	KindInvalidArgument
	KindNotFound
	KindAlreadyExists
	KindPermissionDenied
	KindFailedPrecondition
	KindResourceExhausted
	KindOutOfRange
	KindUnavailable
	KindDeadlineExceeded
	KindDataLoss
)

// Error is a refusal or failure with a reason that programs may rely on. Its
// text is public: it holds no secret.
type Error struct {
	Kind Kind
	// Reason is the reason of google.rpc.ErrorInfo: upper case with
	// underscores, stable.
	Reason string
	// Message is for a reader.
	Message string
	// Metadata is that of ErrorInfo. It may be nil.
	Metadata map[string]string
	// Field names the field at fault, for KindInvalidArgument.
	Field string
	// RetryAfter, when positive, tells when trying again may help.
	RetryAfter time.Duration
	// Stored, when set, is the public form that was kept with the recording:
	// it is what the caller gets.
	Stored *statuspb.Status

	err error
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.err }

func errNotRunning() error {
	return &Error{Kind: KindUnavailable, Reason: "NOT_SERVING", Message: "the service is starting or stopping", RetryAfter: time.Second}
}

func errRecordingNotFound(name string) error {
	return &Error{Kind: KindNotFound, Reason: "RECORDING_NOT_FOUND", Message: fmt.Sprintf("no recording %s", name), Metadata: map[string]string{"recording": name}}
}

// ErrNoRecording is the error of a recording that does not exist.
func ErrNoRecording(name string) error { return errRecordingNotFound(name) }

// ErrNoRoom is the error of a room that the platform does not know.
func ErrNoRoom(roomID string) error {
	return platform(talkcloud.MissingRoom(talkcloud.RoomID(roomID)))
}

func errNoClass(roomID string) error {
	return &Error{Kind: KindNotFound, Reason: "NO_CLASS", Message: fmt.Sprintf("no class is on in room %s, and none is known", roomID), Metadata: map[string]string{"room": roomID}}
}

func errAlreadyBegun(name string) error {
	return &Error{Kind: KindAlreadyExists, Reason: "CLASS_ALREADY_BEGUN", Message: fmt.Sprintf("a class is on already: %s", name), Metadata: map[string]string{"recording": name}}
}

func errRequestIDReused(name string) error {
	return &Error{Kind: KindAlreadyExists, Reason: "REQUEST_ID_REUSED", Message: "request_id came before with another payload", Metadata: map[string]string{"recording": name}, Field: "request_id"}
}

func errStartTimeout(cause error) error {
	return &Error{
		Kind: KindDeadlineExceeded, Reason: "START_NOT_CONFIRMED", RetryAfter: time.Second, err: cause,
		Message: "the platform did not confirm ClassBegin in time" + because(cause),
	}
}

func errStopTimeout(name string, cause error) error {
	return &Error{
		Kind: KindDeadlineExceeded, Reason: "STOP_NOT_CONFIRMED", RetryAfter: time.Second, err: cause,
		Message:  "the platform has not confirmed the end yet; it stays asked for" + because(cause),
		Metadata: map[string]string{"recording": name},
	}
}

func errFilesNotListed(cause error) error {
	return &Error{
		Kind: KindDeadlineExceeded, Reason: "FILES_NOT_LISTED", err: cause,
		Message: "the platform did not list the files in time" + because(cause),
	}
}

func errFilesNotFetchable(n, of int, cause error) error {
	return &Error{
		Kind: KindDeadlineExceeded, Reason: "FILES_NOT_FETCHABLE", err: cause,
		Message: fmt.Sprintf("the platform lists the files, but they cannot all be fetched: file %d of %d%s", n, of, because(cause)),
	}
}

// The reasons for which watches end that are behind.
const (
	reasonTooSlow = "WATCHER_TOO_SLOW"
	reasonTooOld  = "SEQUENCE_TOO_OLD"
)

func errTooSlow(resume uint64) error {
	return &Error{
		Kind: KindResourceExhausted, Reason: reasonTooSlow, RetryAfter: time.Second,
		Message:  "events came faster than they were read; watch again after resume_sequence",
		Metadata: map[string]string{"resume_sequence": strconv.FormatUint(resume, 10)},
	}
}

func errTooOld(oldest uint64) error {
	return &Error{
		Kind: KindOutOfRange, Reason: reasonTooOld, Field: "after_sequence",
		Message:  fmt.Sprintf("events right after after_sequence are not kept any more; watch after %d to get all that are, from %d on", oldest-1, oldest),
		Metadata: map[string]string{"oldest_sequence": strconv.FormatUint(oldest, 10)},
	}
}

func errUnknownSequence(last uint64) error {
	return &Error{
		Kind: KindOutOfRange, Reason: "SEQUENCE_UNKNOWN", Field: "after_sequence",
		Message:  fmt.Sprintf("after_sequence has not been yet; the last sequence is %d", last),
		Metadata: map[string]string{"last_sequence": strconv.FormatUint(last, 10)},
	}
}

func errListTimeout(cause error) error {
	return &Error{
		Kind: KindDeadlineExceeded, Reason: "PLATFORM_TIMEOUT", RetryAfter: time.Second, err: cause,
		Message: "the platform does not say in time what it lists: what only it knows is missing",
	}
}

func errListAlone() error {
	return &Error{
		Kind: KindUnavailable, Reason: "PLATFORM_UNAVAILABLE", RetryAfter: time.Second,
		Message: "the platform could not be asked for an earlier page: what only it knows is missing; begin the list anew",
	}
}

func errPageToken() error {
	return &Error{Kind: KindInvalidArgument, Reason: "INVALID_PAGE_TOKEN", Field: "page_token", Message: "page_token is not from this list"}
}

// failed returns the error of a recording that ended in FAILED, as stored.
func failed(st *statuspb.Status) error {
	return &Error{Reason: "RECORDING_FAILED", Message: st.GetMessage(), Stored: st}
}

func because(cause error) string {
	if cause == nil {
		return ""
	}
	return ": " + cause.Error()
}

func errLimit(e *admission.Error) error {
	scope := "process"
	if e.OfTenant {
		scope = "tenant"
	}
	return &Error{
		Kind: KindResourceExhausted, Reason: "LIMIT_EXCEEDED", RetryAfter: e.RetryAfter, err: e, Message: e.Error(),
		Metadata: map[string]string{"limit": e.Limit, "value": strconv.FormatFloat(e.Value, 'f', -1, 64), "scope": scope},
	}
}

// public makes any error of the packages below an [Error]. Context errors stay
// as they are.
func public(err error) error {
	var known *Error
	var refused *talkcloud.RefusedError
	var wire *talkcloud.Error
	var limit *admission.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	case errors.As(err, &limit):
		return errLimit(limit)
	case errors.As(err, &refused):
		return refusal(refused)
	case errors.Is(err, room.ErrNotConfirmed):
		return &Error{Kind: KindDeadlineExceeded, Reason: "NOT_CONFIRMED", Message: err.Error(), RetryAfter: time.Second, err: err}
	case errors.As(err, &wire):
		return platform(wire)
	case errors.Is(err, store.ErrDataLoss):
		return &Error{Kind: KindDataLoss, Reason: "DATA_LOSS", Message: "what is stored of it is damaged", err: err}
	case errors.Is(err, store.ErrUnavailable):
		return &Error{Kind: KindUnavailable, Reason: "STORE_UNAVAILABLE", Message: "the store cannot take it now", RetryAfter: time.Second, err: err}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return &Error{Kind: KindInternal, Reason: "INTERNAL", Message: "internal error", err: err}
}

// reasonWord is what a reason must look like, whoever gave it.
var reasonWord = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,62}$`)

// refusal is the platform's own no. A code that is documented says what kind of
// no it is; without one, a join makes no sense, and anything else is something
// that the platform does not do.
func refusal(refused *talkcloud.RefusedError) error {
	var wire *talkcloud.Error
	if !errors.As(refused, &wire) {
		return &Error{Kind: KindFailedPrecondition, Reason: "PLATFORM_REFUSED", Message: refused.Error(), err: refused}
	}
	e := &Error{}
	ok := errors.As(platform(wire), &e)
	if !ok {
		return refused
	}
	e.err = refused
	joining := refused.Event == talkcloud.EventJoinRoom
	if e.Kind == KindFailedPrecondition && wire.Kind == talkcloud.KindFailedPrecondition || e.Kind == KindInternal && !joining {
		e.Kind, e.Reason = KindFailedPrecondition, "PLATFORM_REFUSED"
	}
	if reason := refused.Refusal.Reason; reasonWord.MatchString(reason) {
		e.Reason = reason
		if text := refused.Refusal.Message; text != "" {
			e.Message = "the platform refuses: " + text // a program has the rest
		}
	}
	return e
}

// platform gives an error of the wire its kind (http-api.md section 3).
func platform(err *talkcloud.Error) error {
	if err.Kind == talkcloud.KindCanceled {
		return err
	}
	e := &Error{Message: err.Error(), err: err, Metadata: map[string]string{"source": string(err.Source)}}
	if err.Code != 0 {
		e.Metadata["code"] = strconv.Itoa(err.Code)
	}
	switch err.Kind {
	case talkcloud.KindNotFound:
		e.Kind, e.Reason = KindNotFound, "ROOM_NOT_FOUND"
	case talkcloud.KindPermissionDenied:
		e.Kind, e.Reason = KindPermissionDenied, "ROOM_ACCESS_DENIED"
	case talkcloud.KindUnauthenticated, talkcloud.KindServerConfig:
		// Whatever the platform wants to be told who we are is configuration
		// of this service: the caller cannot mend it by logging in.
		e.Kind, e.Reason = KindFailedPrecondition, "PLATFORM_CREDENTIALS"
	case talkcloud.KindInvalidArgument:
		e.Kind, e.Reason = KindInvalidArgument, "PLATFORM_INVALID_ARGUMENT"
	case talkcloud.KindFailedPrecondition:
		e.Kind, e.Reason = KindFailedPrecondition, "PLATFORM_PRECONDITION"
	case talkcloud.KindEvicted:
		e.Kind, e.Reason = KindFailedPrecondition, "EVICTED"
	case talkcloud.KindResourceExhausted:
		e.Kind, e.Reason, e.RetryAfter = KindResourceExhausted, "PLATFORM_QUOTA", time.Minute
	case talkcloud.KindUnavailable:
		e.Kind, e.Reason, e.RetryAfter = KindUnavailable, "PLATFORM_UNAVAILABLE", time.Second
	case talkcloud.KindDeadline:
		e.Kind, e.Reason, e.RetryAfter = KindDeadlineExceeded, "PLATFORM_TIMEOUT", time.Second
	case talkcloud.KindInternal, talkcloud.KindCanceled:
		e.Kind, e.Reason = KindInternal, "PLATFORM_ERROR"
	}
	return e
}

// final tells an error that trying again does not mend.
func final(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Kind {
	case KindNotFound, KindPermissionDenied, KindInvalidArgument, KindFailedPrecondition:
		return true
	case KindInternal, KindAlreadyExists, KindResourceExhausted, KindOutOfRange, KindUnavailable, KindDeadlineExceeded, KindDataLoss:
		return false
	}
	return false
}
