// SPDX-License-Identifier: Apache-2.0

package talkcloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Kind is the class of an error: what a caller can do about it.
type Kind uint8

// The kinds of errors. KindInternal is the zero value: whatever is not understood is a failure.
const (
	KindInternal           Kind = iota // the platform failed, or answered what cannot be understood
	KindNotFound                       // the room, or what was asked for, does not exist
	KindPermissionDenied               // wrong room password, role too low, company frozen, room disabled
	KindUnauthenticated                // a user's name, password or signature is wrong
	KindServerConfig                   // the enterprise key or company of this service is wrong: the caller cannot help it
	KindInvalidArgument                // a field is missing or malformed
	KindFailedPrecondition             // not now: lesson canceled, license overdue
	KindResourceExhausted              // a quota or balance of the platform's customer is used up
	KindUnavailable                    // not reached, or broken off: trying again may help
	KindDeadline                       // no answer in time
	KindCanceled                       // the caller gave up
	KindEvicted                        // the platform put us out of the room: do not join again by ourselves
)

// String returns a short name, for logs.
func (k Kind) String() string {
	switch k {
	case KindNotFound:
		return "not found"
	case KindPermissionDenied:
		return "permission denied"
	case KindUnauthenticated:
		return "unauthenticated"
	case KindServerConfig:
		return "server config"
	case KindInvalidArgument:
		return "invalid argument"
	case KindFailedPrecondition:
		return "failed precondition"
	case KindResourceExhausted:
		return "resource exhausted"
	case KindUnavailable:
		return "unavailable"
	case KindDeadline:
		return "deadline"
	case KindCanceled:
		return "canceled"
	case KindEvicted:
		return "evicted"
	case KindInternal:
	}
	return "internal"
}

// Source is the place where an error or a code comes from. The same code means different things in
// different places.
type Source string

// The sources of errors.
const (
	SourceConfig         Source = "config"            // the configuration of this client
	SourceCheckRoom      Source = "checkroom"         // joining: may one enter the room
	SourceGetConfig      Source = "getconfig"         // joining: where is the socket
	SourceSocket         Source = "socket"            // the signaling connection itself
	SourceJoin           Source = "join"              // the ack of joinRoom
	SourceSignaling      Source = "signaling"         // the ack of a later event
	SourceEviction       Source = "eviction"          // Code is the reason, 400 to 402
	SourceUserRecordList Source = "getUserRecordlist" //
	SourceRecordList     Source = "getrecordlist"     //
	SourceFile           Source = "file"              // the server of a file that a record list names
)

// Codes that this client gives by itself, as the vendor's SDKs do, when it could not connect.
const (
	CodeSocketFailed    = 601
	CodeCheckRoomFailed = 801
	CodeGetConfigFailed = 802
)

// Error is a failure of the platform, of the way to it, or of what it answered. Neither its text
// nor anything that it wraps contains the enterprise key, a password, or a URL.
type Error struct {
	Op      string // what was done, with the room where there is one
	Source  Source // where Code is from
	Code    int    // 0 when there is none
	Message string // ours, or the platform's; bounded
	Kind    Kind
	Err     error // the cause, or nil. Context errors are kept as they are.
}

// Error returns op, message, code and cause.
func (e *Error) Error() string {
	parts := make([]string, 0, 3)
	for _, part := range []string{e.Op, e.Message} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	text := strings.Join(parts, ": ")
	if e.Code != 0 {
		text += " (" + string(e.Source) + " code " + strconv.Itoa(e.Code) + ")"
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the class of an error: that of the [*Error] in its chain, or else that of a
// context error, or else [KindInternal].
func KindOf(err error) Kind {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.DeadlineExceeded):
		return KindDeadline
	case errors.Is(err, context.Canceled):
		return KindCanceled
	}
	return KindInternal
}

// MissingRoom is the error of joining a room that does not exist.
func MissingRoom(room RoomID) *Error {
	const code = 4007
	kind, message := classifyEnvelope(code)
	return &Error{Op: "join room " + string(room), Source: SourceCheckRoom, Code: code, Message: message, Kind: kind}
}

// Refusal is x in an ack ["error", x]. On TalkCloud x may be anything; the embedded room server
// sends this object.
type Refusal struct {
	Code    int    `json:"code"`             // of the table of http-api codes, or 0
	Reason  string `json:"reason,omitempty"` // for programs, in UPPER_SNAKE_CASE
	Message string `json:"message,omitempty"`
}

// UnmarshalJSON never fails on valid JSON: a number is a code, a text a message, and in an object
// each field may have either type.
func (r *Refusal) UnmarshalJSON(data []byte) error {
	*r = Refusal{}
	fields, ok := parseObject(data)
	if !ok {
		s := parseScalar(data)
		if n, ok := s.Int(); ok {
			r.Code = clampCode(n)
		} else {
			r.Message = s.String()
		}
		return nil
	}
	code := parseScalar(fields["code"])
	if n, ok := code.Int(); ok {
		r.Code = clampCode(n)
	}
	r.Reason = parseScalar(fields["reason"]).String()
	if _, numeric := code.Int(); !numeric && r.Reason == "" {
		r.Reason = code.String()
	}
	for _, key := range []string{"message", "msg", "error"} {
		if text := parseScalar(fields[key]).String(); text != "" {
			r.Message = text
			break
		}
	}
	return nil
}

func clampCode(n int64) int {
	if int64(int32(n)) != n { //nolint:gosec // that is what is asked
		return -1
	}
	return int(n)
}

// RefusedError tells that the platform answered an event with ["error", x]: what was asked for did
// not happen. It wraps an [*Error]; its kind is that of the code, and [KindFailedPrecondition]
// without a documented one. (A join refused with a code that is not documented is [KindInternal].)
type RefusedError struct {
	Event   string // pubMsg, delMsg, …
	Refusal Refusal
	err     *Error
}

// Error returns what was refused and why.
func (e *RefusedError) Error() string { return e.err.Error() }

// Unwrap returns the [*Error].
func (e *RefusedError) Unwrap() error { return e.err }

func newRefused(op, event string, source Source, raw json.RawMessage, scrub *scrubber) *RefusedError {
	var r Refusal
	if json.Unmarshal(raw, &r) != nil {
		r = Refusal{}
	}
	r.Reason, r.Message = scrub.text(r.Reason), scrub.text(r.Message)
	kind, meaning := classify(source, r.Code)
	if meaning == "" && (source != SourceJoin || r.Code == 0) {
		kind = KindFailedPrecondition
	}
	message := "refused by the platform"
	for _, part := range []string{r.Reason, r.Message, meaning} {
		if part != "" {
			message = fmt.Sprintf("%s: %s", message, part)
		}
	}
	return &RefusedError{
		Event: event, Refusal: r,
		err: &Error{Op: op, Source: source, Code: r.Code, Message: message, Kind: kind},
	}
}
