// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/classrec/classrec/server/internal/auth"
	"github.com/classrec/classrec/server/internal/tracing"
)

// maxLogged bounds each text of a caller in the log, as the service does.
const maxLogged = 256

// refusals writes one line of the log for each request that is refused here. One
// that has become a call is not: the service writes the line of that.
type refusals struct {
	log    *slog.Logger
	routes routes
}

// request is what has to be known of a request until its line is written.
type request struct {
	begin  time.Time
	called bool
}

type requestKey struct{}

// begun notes when a request has begun.
func begun(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), requestKey{}, &request{begin: time.Now()}))
}

func requestOf(ctx context.Context) *request {
	if req, ok := ctx.Value(requestKey{}).(*request); ok {
		return req
	}
	return &request{begin: time.Now()}
}

// callConn notes that requests become calls.
type callConn struct{ grpc.ClientConnInterface }

// Invoke makes a call.
func (c callConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	requestOf(ctx).called = true
	return c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
}

// NewStream begins a call.
func (c callConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	requestOf(ctx).called = true
	return c.ClientConnInterface.NewStream(ctx, desc, method, opts...)
}

// write writes the line of a request that is answered with st. The status's text
// is not in it, nor the query or a path that is not known: what is refused may
// have anything in it, in the wrong place. Who asked gets the text.
func (l refusals) write(r *http.Request, st *status.Status) {
	ctx := r.Context()
	req := requestOf(ctx)
	if req.called {
		return
	}
	var attrs []slog.Attr
	add := func(key, text string) {
		if text != "" {
			attrs = append(attrs, slog.String(key, bounded(text, maxLogged)))
		}
	}
	path, room, recording := l.about(r)
	add("method", r.Method)
	add("path", path)
	attrs = append(attrs, slog.Duration("took", time.Since(req.begin).Round(time.Microsecond)))
	if who, ok := auth.FromContext(ctx); ok {
		add("tenant", who.Tenant)
		if who.Kind != auth.KindAnonymous {
			add("principal", who.Name)
		}
	}
	add("room", room)
	add("recording", recording)
	add("trace_id", tracing.IDOf(r.Header.Get("traceparent"))) //nolint:contextcheck // it reads the text alone
	reason := reasonOf(st)
	switch reason {
	case reasonHost:
		add("host", r.Host)
	case reasonCrossOrigin:
		add("origin", r.Header.Get("Origin"))
	}
	add("reason", reason)
	attrs = append(attrs, slog.String("code", st.Code().String()))
	level := slog.LevelInfo
	if st.Code() == codes.Internal || st.Code() == codes.Unknown {
		level = slog.LevelError
	}
	l.log.LogAttrs(ctx, level, "request refused", attrs...)
}

// about is what a request was about: the pattern of its path, or of one that is
// not known the first segment; and the room and the recording that it names.
func (l refusals) about(r *http.Request) (path, room, recording string) {
	if r.Pattern != "" { // of the mux, with its method
		return r.Pattern[strings.Index(r.Pattern, "/"):], "", ""
	}
	if path, room, recording, ok := l.routes.about(r.Method, r.URL.Path); ok {
		return path, room, recording
	}
	first, rest, more := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if path = "/" + bounded(first, maxLogged/2); more && rest != "" {
		path += "/…"
	}
	return path, "", ""
}

func reasonOf(st *status.Status) string {
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// noPage writes the line of a request that mux has found no page for.
func (l refusals) noPage(w http.ResponseWriter, r *http.Request) {
	switch h := w.Header(); {
	case r.Pattern != "", h.Get("Location") != "": // it has, or says where to look
	case h.Get("Allow") != "":
		l.write(r, errMethod(r))
	default:
		l.write(r, errNoRoute(r))
	}
}

// bounded cuts a text that a caller may have made long.
func bounded(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + "…"
}
