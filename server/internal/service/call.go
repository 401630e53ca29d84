// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/auth"
	"github.com/classrec/classrec/server/internal/tracing"
)

// Call is a call that is over. Who made it is in its context: see package auth.
type Call struct {
	// Method is the full name: /package.Service/Method.
	Method string
	// What it was about, as far as it says so; each "" where it does not. Name is
	// that of a resource other than a recording. They are the caller's texts: of
	// any length, with anything in them.
	Room, Recording, Name, RequestID string
	// Code is the gRPC code by name, and Reason that of its ErrorInfo.
	Code, Reason string
	Begin        time.Time
	Took         time.Duration

	early bool // it is over before it has begun, which is never our fault
}

// maxLogged bounds each text of a caller in the log.
const maxLogged = 256

// about fills in what a call was about, from what was asked and answered.
func (c *Call) about(req, res any) {
	if r, ok := req.(interface{ GetRoom() string }); ok {
		c.Room = r.GetRoom()
	}
	if r, ok := req.(interface{ GetName() string }); ok {
		if name := r.GetName(); strings.HasPrefix(name, "rooms/") {
			c.Recording = name
		} else {
			c.Name = name
		}
	}
	if r, ok := req.(interface{ GetParent() string }); ok && c.Name == "" {
		c.Name = r.GetParent()
	}
	if r, ok := req.(interface{ GetRequestId() string }); ok {
		c.RequestID = r.GetRequestId()
	}
	if r, ok := res.(interface{ GetRecording() *classrecv1.Recording }); ok && c.Recording == "" {
		c.Recording = r.GetRecording().GetName() // nil has none
	}
	if parts := strings.Split(c.Recording, "/"); c.Room == "" && len(parts) == 4 {
		c.Room = parts[1]
	}
}

// describe tells the call's span what it was about.
func (c *Call) describe(ctx context.Context) {
	who, _ := auth.FromContext(ctx)
	tracing.Describe(ctx, tracing.Tenant.String(bounded(who.Tenant)), tracing.Room.String(bounded(c.Room)),
		tracing.Recording.String(bounded(c.Recording)), tracing.RequestID.String(bounded(c.RequestID)))
}

// done makes the error of a call public, and writes the call's one log line,
// the cause in it.
func (e edge) done(ctx context.Context, call Call, req, res any, err error) error {
	call.Took = time.Since(call.Begin)
	call.about(req, res)
	level, code := slog.LevelInfo, codes.OK
	attrs := []slog.Attr{slog.String("method", call.Method), slog.Duration("took", call.Took.Round(time.Microsecond))}
	add := func(key, text string) {
		if text != "" {
			attrs = append(attrs, slog.String(key, bounded(text)))
		}
	}
	if who, ok := auth.FromContext(ctx); ok {
		add("tenant", who.Tenant)
		if who.Kind != auth.KindAnonymous {
			add("principal", who.Name)
		}
	}
	add("room", call.Room)
	add("recording", call.Recording)
	add("name", call.Name)
	add("request_id", call.RequestID)
	add("trace_id", tracing.ID(ctx))
	call.describe(ctx)
	if err != nil {
		st := toStatus(err)
		code = st.Code()
		for _, detail := range st.Details() {
			if info, ok := detail.(*errdetails.ErrorInfo); ok {
				call.Reason = info.GetReason()
			}
		}
		add("reason", call.Reason)
		attrs = append(attrs, slog.String("error", bounded(err.Error())))
		err = st.Err()
	}
	if !call.early && (code == codes.Internal || code == codes.Unknown) {
		level = slog.LevelError
	}
	call.Code = code.String()
	attrs = append(attrs, slog.String("code", call.Code))
	e.log.LogAttrs(ctx, level, "call", attrs...)
	e.observe(ctx, call)
	return err
}

// bounded cuts a text that a caller may have made long.
func bounded(text string) string {
	if len(text) <= maxLogged {
		return text
	}
	end := maxLogged
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
