// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"cmp"
	"context"
	"errors"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	"github.com/classrec/classrec/server/internal/tracing"
)

// trace begins a span of something that is done for a recording: within the call
// that asked for its stop, or before there is one, for its start.
func (s *Service) trace(ctx context.Context, rec *storev1.Record, name string) (context.Context, func(error)) {
	attributes := []attribute.KeyValue{tracing.Tenant.String(s.cfg.Tenant), tracing.Room.String(rec.GetRecording().GetRoom())}
	if recording := rec.GetRecording().GetName(); recording != "" {
		attributes = append(attributes, tracing.Recording.String(recording))
	}
	if id := rec.GetRequestId(); id != "" {
		attributes = append(attributes, tracing.RequestID.String(id))
	}
	parent := cmp.Or(rec.GetStopTraceparent(), rec.GetStartTraceparent())
	return tracing.Continue(ctx, s.cfg.Traces, parent, name, []string{rec.GetStartTraceparent()}, attributes...)
}

// logOf is the log for what concerns a recording.
func (s *Service) logOf(rec *storev1.Record) *slog.Logger {
	log := s.cfg.Logger.With("tenant", s.cfg.Tenant, "room", rec.GetRecording().GetRoom())
	if name := rec.GetRecording().GetName(); name != "" { // it gets one when it is confirmed
		log = log.With("recording", name)
	}
	if id := rec.GetRequestId(); id != "" {
		log = log.With("request_id", id)
	}
	return log
}

// missing is the error of a wait for files that ended without them.
func missing(outcome event) error {
	if ev, ok := outcome.(notListed); ok {
		return errors.New(ev.status.GetMessage())
	}
	return nil
}
