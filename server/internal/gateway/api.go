// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/auth"
)

// newAPI returns the handler of /v1/.
func newAPI(ctx context.Context, conn grpc.ClientConnInterface, errs *errorWriter, cfg Config) (http.Handler, error) {
	client := classrecv1.NewRecordingServiceClient(callConn{conn})
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, errs.json),
		runtime.WithErrorHandler(errs.handle),
		runtime.WithRoutingErrorHandler(errs.handleRouting),
		// One decoding of each segment, so that every id that the API takes can
		// be written in a path. A slash cannot: see refuseSlashes.
		runtime.WithUnescapingMode(runtime.UnescapingModeAllExceptSlash),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		// The wire's own headers mean nothing to a REST caller, nor theirs here.
		runtime.WithIncomingHeaderMatcher(noHeader),
		runtime.WithOutgoingHeaderMatcher(noHeader),
		runtime.WithOutgoingTrailerMatcher(noHeader),
		// Who asks, and from where, is forwarded; a request's own headers cannot
		// say so. Of which trace it is, they can.
		runtime.WithMetadata(func(_ context.Context, r *http.Request) metadata.MD {
			return metadata.Join(auth.Forward(r), traceContext(r))
		}),
		runtime.WithMiddlewares((&queryCheck{errs: errs}).middleware, (&pathCheck{errs: errs}).middleware),
	)
	if err := classrecv1.RegisterRecordingServiceHandlerClient(ctx, mux, client); err != nil {
		return nil, err
	}
	watch := &watchHandler{
		mux:          mux,
		client:       client,
		errs:         errs,
		writeTimeout: cfg.WriteTimeout,
	}
	// The last registered comes first: this replaces the generated handler of
	// the stream, which knows no Server-Sent Events.
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		if err := mux.HandlePath(method, watchPattern, watch.serve); err != nil {
			return nil, err
		}
	}

	body := &bodyReader{limit: cfg.MaxBodyBytes, timeout: cfg.BodyTimeout, errs: errs, next: mux}
	// A page of another origin must not start recordings, nor have rooms joined,
	// in a visitor's name.
	ours, err := crossOrigin(errs, cfg.CORSOrigins, refuseSlashes(errs, plainPaths(errs, body)))
	if err != nil {
		return nil, err
	}
	return noStore(ours), nil
}

func noHeader(string) (string, bool) { return "", false }

// noStore keeps answers out of caches: they change, and the URLs of recordings
// are secrets.
func noStore(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// refuseSlashes answers INVALID_ARGUMENT to an id with an encoded slash, as the
// API's field rules do: left in place it would pass them as the text "%2F", and
// decoded it would name another resource.
func refuseSlashes(errs *errorWriter, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(strings.ToUpper(r.URL.RawPath), "%2F") {
			errs.write(w, r, 0, errField("room", fieldSlash, "ids must not contain a slash, encoded or not"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// plainPaths takes a request as other servers do: HEAD as the GET whose body
// nobody wants, and one slash too many at the end of a path as none. Bytes that
// are no UTF-8 in a path are no id.
func plainPaths(errs *errorWriter, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !utf8.ValidString(r.URL.Path) {
			errs.write(w, r, 0, errInvalid("the path is not UTF-8"))
			return
		}
		path, slash := strings.CutSuffix(r.URL.Path, "/")
		asGet := r.Method == http.MethodHead && strings.Contains(errs.routes.methods(path), http.MethodGet) && !strings.HasSuffix(path, watchVerb)
		if slash = slash && errs.routes.methods(path) != ""; slash || asGet {
			r = r.Clone(r.Context())
		}
		if slash {
			r.URL.Path, r.URL.RawPath = path, strings.TrimSuffix(r.URL.RawPath, "/")
		}
		if asGet {
			r.Method = http.MethodGet // the connection knows that there is to be no body
		}
		next.ServeHTTP(w, r)
	})
}

// bodyReader reads the whole body, within a size and a time, before the call
// begins. So a call may take as long as it needs, and the connection is watched
// for the caller's leaving from the start.
type bodyReader struct {
	limit   int64
	timeout time.Duration
	errs    *errorWriter
	next    http.Handler
}

func (b *bodyReader) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(b.timeout)) // no deadlines: no bound
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, b.limit))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			b.errs.write(w, r, http.StatusRequestEntityTooLarge, errBodyTooLarge(tooLarge.Limit))
			return
		}
		b.errs.write(w, r, 0, errInvalid("the body did not come whole: "+err.Error()))
		return
	}
	_ = rc.SetReadDeadline(time.Time{})
	r.Body = io.NopCloser(bytes.NewReader(data))
	b.next.ServeHTTP(w, r)
}

// traceContext is what a request says of the trace that it is part of: the
// headers of W3C Trace Context, which gRPC has as metadata of the same names.
func traceContext(r *http.Request) metadata.MD {
	md := metadata.MD{}
	for _, name := range []string{"traceparent", "tracestate"} {
		if value := r.Header.Get(name); value != "" {
			md.Set(name, value)
		}
	}
	return md
}
