// SPDX-License-Identifier: Apache-2.0

// Package gateway serves the API over HTTP: REST with JSON bodies, streams as
// NDJSON or Server-Sent Events, the OpenAPI document, health, metrics and the
// files of the embedded platform.
//
// Every call goes through a real gRPC connection, so that REST callers meet the
// same validation, limits and errors as gRPC callers; an error's body is the
// google.rpc.Status that a gRPC caller gets, details included. What only HTTP
// can get wrong (a body that is not JSON, an unknown field, a path that does
// not exist) is answered here, in the same form. A caller that goes away
// cancels its call.
//
// It leaves to others: listening, TLS and the header timeout (package server),
// and everything that a call means (package service).
package gateway

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/classrec/classrec/gen/openapi"
)

// Config says what is served beside the API. Its zero value serves the API
// alone, and is always ready.
type Config struct {
	// Files serves what is under /files/, with that prefix still in the path;
	// nil: nothing is there.
	Files http.Handler
	// Metrics serves /metrics; nil: nothing is there.
	Metrics http.Handler
	// Ready says whether calls can be served: nil error for yes. It backs
	// /readyz, and must return within its context, which ends after 5 s.
	Ready func(ctx context.Context) error
	// MaxBodyBytes bounds a request's body; a larger one is answered 413.
	// 0: 1 MiB.
	MaxBodyBytes int64
	// BodyTimeout bounds the time in which a request's body must have come.
	// 0: 30 s.
	BodyTimeout time.Duration
	// WriteTimeout bounds each write of a stream: a reader that takes nothing
	// for so long is cut off. The stream itself may last for ever. 0: 30 s.
	WriteTimeout time.Duration
	// Logger gets what goes wrong while answering; nil discards it.
	Logger *slog.Logger
}

//go:embed index.html
var indexPage string

// readyTimeout bounds one look at [Config.Ready].
const readyTimeout = 5 * time.Second

// New returns the handler of everything. Calls go over conn, which the caller
// owns and closes after the handler's last request; ctx bounds nothing but the
// construction.
func New(ctx context.Context, conn *grpc.ClientConn, cfg Config) (http.Handler, error) {
	if cfg.MaxBodyBytes <= 0 {
		cfg.MaxBodyBytes = 1 << 20
	}
	if cfg.BodyTimeout <= 0 {
		cfg.BodyTimeout = 30 * time.Second
	}
	if cfg.WriteTimeout <= 0 {
		cfg.WriteTimeout = 30 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	api, err := newAPI(ctx, conn, cfg)
	if err != nil {
		return nil, fmt.Errorf("register the REST routes: %w", err)
	}

	rest := http.NewServeMux()
	rest.HandleFunc("GET /{$}", text("text/html; charset=utf-8", indexPage))
	rest.HandleFunc("GET /openapi.json", text("application/json", openapi.Document()))
	rest.HandleFunc("GET /healthz", text("text/plain; charset=utf-8", "ok\n"))
	rest.HandleFunc("GET /readyz", readyz(cfg.Ready))
	if cfg.Metrics != nil {
		rest.Handle("GET /metrics", cfg.Metrics)
	}
	if cfg.Files != nil {
		rest.Handle("/files/", cfg.Files)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		// The API is kept out of http.ServeMux, which would answer a path such
		// as /v1/rooms//recordings with a redirect instead of an error.
		if strings.HasPrefix(r.URL.Path, "/v1/") {
			api.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	}), nil
}

// text answers with the same text always.
func text(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body) // an error: the caller has gone
	}
}

// readyz answers 200 when ready says so, else 503 with its reason.
func readyz(ready func(context.Context) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if ready != nil {
			ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
			defer cancel()
			if err := ready(ctx); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				_, _ = fmt.Fprintf(w, "not ready: %v\n", err)
				return
			}
		}
		_, _ = io.WriteString(w, "ok\n")
	}
}
