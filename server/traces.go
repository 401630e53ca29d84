// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc/filters"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"

	"github.com/classrec/classrec/server/internal/tracing"
)

const (
	// traceTimeout bounds one attempt to send spans; then they are lost.
	traceTimeout = 5 * time.Second
	// traceFlush bounds the sending of the last ones when the server stops.
	traceFlush = 2 * time.Second
	// maxQueuedSpans is how many spans wait to be sent; those that come when it is
	// full are dropped, so that nobody waits for them.
	maxQueuedSpans = 4096
)

// traces makes spans, and sends them where it is asked to.
type traces struct {
	provider trace.TracerProvider
	sends    bool
}

// openTraces begins to send spans to [Config.TraceEndpoint]. Without it, calls
// still have the trace ids that their callers gave, in the log and the audit.
func (s *Server) openTraces(ctx context.Context) error {
	s.traces = &traces{provider: tracenoop.NewTracerProvider()}
	if s.cfg.TraceEndpoint == "" {
		return nil
	}
	u, err := url.Parse(s.cfg.TraceEndpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return fmt.Errorf("--otlp-endpoint: it has to be http://HOST:PORT or https://HOST:PORT")
	}
	ratio := s.cfg.TraceRatio // below 0 the sampler takes none
	if ratio > 1 {
		return fmt.Errorf("--otlp-ratio: %v is not between 0 and 1", ratio)
	}
	if ratio == 0 {
		ratio = 1
	}
	otlp, err := otlptracegrpc.New(ctx,
		otlptracegrpc.WithEndpointURL(u.Scheme+"://"+u.Host),
		otlptracegrpc.WithTimeout(traceTimeout),
		// The queue is what is bounded: what cannot be sent now is lost.
		otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{Enabled: false}),
	)
	if err != nil {
		return fmt.Errorf("--otlp-endpoint: %w", err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "classrec"),
			attribute.String("service.version", Version().Version),
		)),
		sdktrace.WithBatcher(&exporter{SpanExporter: otlp, log: s.cfg.Logger.With("part", "traces")},
			sdktrace.WithMaxQueueSize(maxQueuedSpans), sdktrace.WithExportTimeout(traceTimeout), sdktrace.WithBatchTimeout(time.Second)),
	)
	s.traces.provider, s.traces.sends = provider, true
	s.parts.add(part{name: "traces", stop: func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, traceFlush)
		defer cancel()
		_ = provider.Shutdown(ctx) // what is not sent by then is lost
		return nil
	}})
	return nil
}

// serverOptions make a span of each call, within the trace that its metadata
// names, but for those of load balancers. Where no spans are sent, calls are
// within that trace all the same; a stats.Handler would cost a fifth of the rate
// at which watchers are told.
func (t *traces) serverOptions() []grpc.ServerOption {
	if !t.sends {
		return []grpc.ServerOption{
			grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
				return handler(tracing.Called(ctx), req)
			}),
			grpc.ChainStreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
				return handler(srv, &boundStream{ServerStream: ss, ctx: tracing.Called(ss.Context())})
			}),
		}
	}
	return []grpc.ServerOption{grpc.StatsHandler(otelgrpc.NewServerHandler(
		otelgrpc.WithTracerProvider(t.provider),
		otelgrpc.WithMeterProvider(noop.NewMeterProvider()), // /metrics has them
		otelgrpc.WithPropagators(propagation.TraceContext{}),
		otelgrpc.WithFilter(filters.Not(filters.HealthCheck())),
	))}
}

// exporter tells when spans are lost, once, and when they are not any more.
type exporter struct {
	sdktrace.SpanExporter
	log  *slog.Logger
	lost atomic.Int64 // in a row
}

// ExportSpans sends spans. What cannot be sent is lost, which is no error.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err == nil:
		if lost := e.lost.Swap(0); lost > 0 {
			e.log.Info("traces are sent again", "lost_spans", lost)
		}
	case e.lost.Add(int64(len(spans))) == int64(len(spans)):
		e.log.Warn("traces cannot be sent; what comes meanwhile is lost", "error", err)
	}
	return nil
}
