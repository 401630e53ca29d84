// SPDX-License-Identifier: Apache-2.0

// Package gateway serves the API over HTTP: REST with JSON bodies, streams as
// NDJSON or Server-Sent Events, the Connect protocol and gRPC-Web, the OpenAPI document, health, metrics, the web
// console, and of the embedded platform the files and what the console's
// classroom needs.
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
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/classrec/classrec/gen"
	"github.com/classrec/classrec/gen/openapi"
	"github.com/classrec/classrec/server/internal/auth"
	"github.com/classrec/classrec/server/internal/gateway/console"
)

// Config says what is served beside the API. Its zero value serves the API
// alone, and is always ready.
type Config struct {
	// Files serves what is under /files/, with that prefix still in the path;
	// nil: nothing is there.
	Files http.Handler
	// FilesBaseURL is what the URLs of Files begin with, as recordings name them.
	FilesBaseURL string
	// Room is the embedded room server. Of it WHIP, the signaling socket and
	// checkroom are served, to pages of our own origin and to programs, so that
	// the console has a classroom; nil: nothing is there, and it has none.
	Room http.Handler
	// MediaSources are the CSP sources from which the console may play
	// recordings, beside our own origin.
	MediaSources []string
	// CORSOrigins are the origins whose pages may call the API and read its
	// answers, as "https://app.example:8443"; "*": every one. nil: none but our own.
	// See [CheckOrigin].
	CORSOrigins []string
	// Hosts are the names under which requests come, beside localhost and
	// addresses; those under another name are answered 421. nil: any name. See
	// [CheckHostName].
	Hosts []string
	// Metrics serves /metrics, and DebugRooms /debug/rooms, which are the operator's;
	// nil: nothing is there. The first is of all Tenants together, and needs a
	// credential that sees them all; of the second each sees his own, by the
	// principal in the request's context.
	Metrics, DebugRooms http.Handler
	Tenants             []string
	// Auth finds out who asks for what is the operator's: that needs the scope admin
	// while anybody is asked. nil: nobody is.
	Auth *auth.Authenticator
	// Open has the operator's for everybody while nobody is asked who he is.
	// Otherwise it is then for this machine alone.
	Open bool
	// Ready says whether calls can be served: nil error for yes. It backs
	// /readyz, and must return within its context, which ends after 5 s.
	Ready func(ctx context.Context) error
	// Alive says whether the process is stuck: nil for no. It backs /healthz, and
	// does not wait. nil: it never is.
	Alive func() error
	// Version is told by /healthz, in the header Classrec-Version; "": nothing is.
	Version string
	// MaxBodyBytes bounds a request's body; a larger one is answered 413.
	// 0: 1 MiB.
	MaxBodyBytes int64
	// BodyTimeout bounds the time in which a request's body must have come.
	// 0: 30 s.
	BodyTimeout time.Duration
	// WriteTimeout bounds each write of a stream: a reader that takes nothing
	// for so long is cut off. The stream itself may last for ever. 0: 30 s.
	WriteTimeout time.Duration
	// Logger gets what goes wrong while answering, and one line for each request
	// that is refused before it is a call; nil discards it.
	Logger *slog.Logger
}

// readyTimeout bounds one look at [Config.Ready].
const readyTimeout = 5 * time.Second

// New returns the handler of everything. Calls go over conn, which the caller
// owns and closes after the handler's last request; without one, all but the
// API is served. ctx bounds nothing but the construction.
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
	errs := newErrorWriter(cfg.Logger)
	rest := http.NewServeMux()
	var api, connectAPI http.Handler
	if conn != nil {
		var err error
		if connectAPI, err = newConnect(conn, errs, cfg); err != nil {
			return nil, err
		}
		if api, err = newAPI(ctx, conn, errs, cfg); err != nil {
			return nil, fmt.Errorf("register the REST routes: %w", err)
		}
		if err := addPages(rest, errs, cfg); err != nil {
			return nil, err
		}
	}
	rest.HandleFunc("GET /healthz", healthz(cfg))
	rest.HandleFunc("GET /readyz", readyz(cfg.Ready))
	if cfg.Metrics != nil {
		rest.Handle("GET /metrics", operators(cfg, errs, cfg.Tenants, cfg.Metrics))
	}
	if cfg.DebugRooms != nil {
		rest.Handle("GET /debug/rooms", operators(cfg, errs, nil, cfg.DebugRooms))
	}
	if cfg.Files != nil {
		rest.Handle("/files/", cfg.Files)
	}
	return forBrowsers(cfg, errs, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The API is kept out of http.ServeMux, which would answer a path such
		// as /v1/rooms//recordings with a redirect instead of an error.
		if conn != nil && strings.HasPrefix(r.URL.Path, "/v1/") {
			api.ServeHTTP(w, r)
			return
		}
		if conn != nil && strings.HasPrefix(r.URL.Path, connectPrefix) {
			connectAPI.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
		errs.refused.noPage(w, r)
	})), nil
}

// addPages serves the console, the doors that its classroom uses, the OpenAPI
// document and the protos.
func addPages(rest *http.ServeMux, errs *errorWriter, cfg Config) error {
	pages, err := console.New(console.Config{
		Classroom: cfg.Room != nil, FilesBaseURL: cfg.FilesBaseURL, MediaSources: cfg.MediaSources,
	})
	if err != nil {
		return err
	}
	for _, path := range []string{"/{$}", "/docs", console.Prefix} {
		rest.Handle(path, pages)
	}
	if cfg.Room != nil {
		room := ownOrigin(errs, cfg.Room)
		for _, path := range roomDoors() {
			rest.Handle(path, room)
		}
	}
	protos, err := gen.ProtosZip()
	if err != nil {
		return err
	}
	rest.HandleFunc("GET /openapi.json", text("application/json", openapi.Document()))
	rest.HandleFunc("GET /protos.zip", text("application/zip", string(protos)))
	return nil
}

// text answers with the same text always.
func text(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body) // an error: the caller has gone
	}
}

// healthz answers 200 unless the process is stuck, else 503 with the reason.
func healthz(cfg Config) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if cfg.Version != "" {
			w.Header().Set("Classrec-Version", cfg.Version)
		}
		if cfg.Alive != nil {
			if err := cfg.Alive(); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				_, _ = fmt.Fprintf(w, "stuck: %v\n", err)
				return
			}
		}
		_, _ = io.WriteString(w, "ok\n")
	}
}

// readyz answers 200 when ready says so, else 503 with its reasons, one a line.
func readyz(ready func(context.Context) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if ready != nil {
			ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
			defer cancel()
			if err := ready(ctx); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				for reason := range strings.SplitSeq(err.Error(), "\n") {
					_, _ = fmt.Fprintf(w, "not ready: %s\n", reason)
				}
				return
			}
		}
		_, _ = io.WriteString(w, "ok\n")
	}
}
