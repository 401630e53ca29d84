// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"

	codepb "google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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

// fail prints an error that is not of a call.
func fail(w io.Writer, err error) int {
	_, _ = fmt.Fprintf(w, "classrec: %v\n", err)
	return exitOther
}

// failCall prints what a call ended in: its reason, all that the service says
// of it, and what may help.
func failCall(w io.Writer, server string, err error) int {
	if _, ok := status.FromError(err); !ok {
		return fail(w, err)
	}
	d := client.Details(err)
	title := codepb.Code(d.Code).String()
	if d.Reason != "" {
		title += " (" + d.Reason + ")"
	}
	_, _ = fmt.Fprintf(w, "classrec: %s: %s\n", title, d.Message)
	for _, v := range d.Fields {
		_, _ = fmt.Fprintf(w, "  %s: %s\n", v.Field, v.Description)
	}
	for _, key := range slices.Sorted(maps.Keys(d.Metadata)) {
		_, _ = fmt.Fprintf(w, "  %s: %s\n", key, d.Metadata[key])
	}
	if hint := hintFor(server, d); hint != "" {
		_, _ = fmt.Fprintf(w, "Hint: %s\n", hint)
	}
	return exitCode(d.Code)
}

// hintFor says what may help, "" when nothing is known to.
func hintFor(server string, d client.ErrorDetails) string {
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
	case d.RetryAfter > 0:
		return fmt.Sprintf("try again in %s", d.RetryAfter)
	case d.Code == codes.Unavailable && d.Reason == "":
		return fmt.Sprintf("is classrecd running, with gRPC at %s? See --server and --tls", server)
	case d.Code == codes.DeadlineExceeded && d.Reason == "":
		return "give it longer with --timeout"
	case d.Code == codes.PermissionDenied && d.Reason != "":
		return "give the room's password with --room-password-file"
	default:
		return ""
	}
}
