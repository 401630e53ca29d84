// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	codepb "google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"

	"github.com/classrec/classrec/client"
)

// The exit codes, as the help lists them.
const (
	exitOther              = 1
	exitUsage              = 2
	exitNotFound           = 3
	exitAlreadyExists      = 4
	exitInvalid            = 5
	exitPermission         = 6
	exitUnavailable        = 7
	exitFailedPrecondition = 8
	exitExhausted          = 9
	exitFailed             = 10
	exitFiles              = 11
	exitInterrupted        = 130
)

func exitCode(code codes.Code) int {
	switch code {
	case codes.NotFound:
		return exitNotFound
	case codes.AlreadyExists:
		return exitAlreadyExists
	case codes.InvalidArgument, codes.OutOfRange:
		return exitInvalid
	case codes.PermissionDenied, codes.Unauthenticated:
		return exitPermission
	case codes.Unavailable, codes.DeadlineExceeded:
		return exitUnavailable
	case codes.FailedPrecondition:
		return exitFailedPrecondition
	case codes.ResourceExhausted:
		return exitExhausted
	default:
		return exitOther
	}
}

// usageError is a command line that makes no sense, noticed late.
type usageError struct{ error }

// filesError is files that could not be fetched.
type filesError struct{ error }

func (e filesError) Unwrap() error { return e.error }

// fail prints an error that is not of a call.
func fail(w io.Writer, err error) int {
	for line := range strings.SplitSeq(err.Error(), "\n") { // joined errors have one each
		_, _ = fmt.Fprintf(w, "classrec: %s\n", clean(line))
	}
	return exitOther
}

func failUsage(w io.Writer, err error) int {
	_, _ = fmt.Fprintf(w, "classrec: %s\nSee classrec --help.\n", clean(err.Error()))
	return exitUsage
}

// exit prints what a command ended in, and returns its exit code.
func (a *app) exit(err error) int {
	var usage usageError
	var files filesError
	var call *client.Error
	switch {
	case a.ctx.Err() != nil:
		return exitInterrupted
	case errors.As(err, &usage):
		return failUsage(a.stderr, usage)
	case errors.Is(err, client.ErrRecordingFailed):
		fail(a.stderr, err)
		return exitFailed
	case errors.Is(err, client.ErrNotAvailable):
		fail(a.stderr, err)
		_, _ = fmt.Fprintln(a.stderr, "Hint: wait for it with --wait")
		return exitFailedPrecondition
	case errors.As(err, &files):
		fail(a.stderr, err)
		return exitFiles
	case errors.As(err, &call):
		return a.failCall(call.ErrorDetails)
	case errors.Is(err, context.DeadlineExceeded):
		fail(a.stderr, errors.New("out of time"))
		return exitUnavailable
	default:
		return fail(a.stderr, err)
	}
}

// failCall prints what a call ended in: its reason, all that the service says
// of it, once, and what may help.
func (a *app) failCall(d client.ErrorDetails) int {
	title := codepb.Code(d.Code).String() //nolint:gosec // codes are below 17
	if d.Reason != "" {
		title += " (" + d.Reason + ")"
	}
	a.say("classrec: %s: %s", title, d.Message)
	for _, v := range d.Fields {
		if line := v.Field + ": " + v.Description; v.Description != d.Message && !has(d.Message, line) {
			a.say("  %s", line)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(d.Metadata)) {
		if !has(d.Message, d.Metadata[key]) {
			a.say("  %s: %s", key, d.Metadata[key])
		}
	}
	if hint := a.hint(d); hint != "" {
		a.say("Hint: %s", hint)
	}
	return exitCode(d.Code)
}

// has says whether a text has a part that is no piece of a longer word: 7 is
// in "after 7", not in "after 17".
func has(text, part string) bool {
	const edge = `(^|$|[^\pL\pN])`
	found, err := regexp.MatchString(edge+regexp.QuoteMeta(part)+edge, text)
	return err == nil && found
}

// hint says what may help, "" when nothing is known to.
func (a *app) hint(d client.ErrorDetails) string {
	switch d.Reason {
	case "CLASS_ALREADY_BEGUN":
		return "stop it with: classrec stop " + d.Metadata["recording"]
	case "REQUEST_ID_REUSED":
		return "give another --request-id, or the same flags as the first time"
	case "FFMPEG_MISSING":
		return "install ffmpeg where the server runs, or record with --format=mkv or webm and --type=list or file"
	case "SEQUENCE_TOO_OLD", "SEQUENCE_UNKNOWN":
		return "watch without --after, and read the list for what came before"
	}
	switch {
	case slices.ContainsFunc(d.Fields, func(v client.FieldViolation) bool { return v.Field == "name" }):
		return "a NAME is rooms/ROOM/recordings/RECORDTS, as list shows it"
	case d.RetryAfter > 0:
		return fmt.Sprintf("try again in %s", d.RetryAfter)
	case d.Code == codes.Unavailable && strings.Contains(d.Message, "first record does not look like a TLS handshake"):
		return "the server talks plain text: give --plaintext if the way to it is safe"
	case d.Code == codes.Unavailable && d.Reason == "":
		return fmt.Sprintf("is classrecd running, with gRPC at %s? See %s, --tls and --plaintext", a.address, a.flag)
	case d.Code == codes.Unauthenticated:
		return "see --token-file"
	case d.Code == codes.DeadlineExceeded && d.Reason == "":
		return "give it longer with --timeout"
	case d.Code == codes.PermissionDenied && d.Reason != "":
		return "give the room's password with --room-password-file"
	default:
		return ""
	}
}
