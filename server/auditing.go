// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/classrec/classrec/server/internal/audit"
	"github.com/classrec/classrec/server/internal/auth"
	"github.com/classrec/classrec/server/internal/service"
	"github.com/classrec/classrec/server/internal/tracing"
)

// openAudit opens [Config.AuditLog]. It comes before what it tells of, so that the
// last calls are in it too.
func (s *Server) openAudit(context.Context) (err error) {
	s.metrics.registry.MustRegister(newReadings(func() audit.Stats { return s.audit.Stats() },
		counter("classrec_audit_lines_total", "Lines of the audit log that were written.",
			func(st audit.Stats, tell func(float64, ...string)) { tell(float64(st.Written)) }),
		counter("classrec_audit_lost_lines_total", "Lines of the audit log that are lost, because the disk did not take them.",
			func(st audit.Stats, tell func(float64, ...string)) { tell(float64(st.Lost)) })))
	if s.cfg.AuditLog == "" {
		return nil
	}
	if s.audit, err = audit.Open(s.cfg.AuditLog, s.cfg.Logger.With("part", "audit")); err != nil {
		return fmt.Errorf("--audit-log: %w", err)
	}
	var ran atomic.Bool
	s.parts.add(part{
		name: "audit log",
		run:  func(ctx context.Context) error { ran.Store(true); return s.audit.Run(ctx) },
		stop: func(context.Context) error {
			if ran.Load() {
				return nil // it closes it, when it has written what is left
			}
			return s.audit.Close()
		},
	})
	return nil
}

// healthMethods is what load balancers ask all the time; it is not in the audit.
const healthMethods = "/grpc.health.v1.Health/"

// auditCall writes the line of a call.
func (s *Server) auditCall(ctx context.Context, c service.Call) {
	if s.audit == nil || strings.HasPrefix(c.Method, healthMethods) {
		return
	}
	e := s.auditEntry(ctx, c.Begin, c.Took)
	e.Call, e.Code, e.Reason = strings.TrimPrefix(c.Method, "/"), c.Code, c.Reason
	e.Room, e.Recording, e.Name, e.RequestID = c.Room, c.Recording, c.Name, c.RequestID
	e.TraceID = tracing.ID(ctx)
	s.audit.Record(e)
}

func (s *Server) auditEntry(ctx context.Context, begin time.Time, took time.Duration) audit.Entry {
	e := audit.Entry{Time: begin, Remote: auth.RemoteAddr(ctx), Duration: float64(took.Microseconds()) / 1000}
	if who, ok := auth.FromContext(ctx); ok {
		e.Principal, e.Tenant = &audit.Principal{Kind: string(who.Kind), Name: who.Name}, who.Tenant
	}
	return e
}

// auditFiles writes a line for each file that is fetched, or was to be. name is
// what the lines call it. Who asked is told where next, or a credential, says so.
func (s *Server) auditFiles(name string, next http.Handler) http.Handler {
	if s.audit == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		seen := &seenStatus{ResponseWriter: w, status: http.StatusOK}
		defer s.auditFile(r.Context(), name, r, seen, begin)
		next.ServeHTTP(seen, r)
	})
}

// auditFile writes the line of a file.
func (s *Server) auditFile(ctx context.Context, name string, r *http.Request, seen *seenStatus, begin time.Time) {
	ctx = auth.WithRemoteAddr(ctx, r.RemoteAddr)
	if grant, err := s.auth.Authenticate(ctx, auth.OfRequest(r)); err == nil {
		ctx = auth.NewContext(ctx, grant.Principal)
	}
	e := s.auditEntry(ctx, begin, time.Since(begin))
	e.Call, e.File, e.Code = name, r.URL.Path, http.StatusText(seen.status)
	s.audit.Record(e)
}

// seenStatus notes the status of an answer.
type seenStatus struct {
	http.ResponseWriter
	status int
}

// WriteHeader writes the header.
func (w *seenStatus) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// ReadFrom lets net/http copy files as it does without us.
func (w *seenStatus) ReadFrom(src io.Reader) (int64, error) { return io.Copy(w.ResponseWriter, src) }

// Unwrap is for http.ResponseController.
func (w *seenStatus) Unwrap() http.ResponseWriter { return w.ResponseWriter }
