// SPDX-License-Identifier: Apache-2.0

// Package tracing joins what a call sets off into one trace: the room's worker,
// the wire and the record list, which work after the call, in another process
// maybe, and over restarts. Contexts carry spans as OpenTelemetry has them; what
// is stored carries the traceparent of W3C Trace Context
// (https://www.w3.org/TR/trace-context/#traceparent-header).
//
// Spans hold names and the texts of errors: no URL, no password.
package tracing

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc/metadata"
)

// scope is the instrumentation scope of all spans that are made here.
const scope = "github.com/classrec/classrec"

// Names of attributes.
const (
	Tenant    = attribute.Key("classrec.tenant")
	Room      = attribute.Key("classrec.room")
	Recording = attribute.Key("classrec.recording")
	RequestID = attribute.Key("classrec.request_id")
	State     = attribute.Key("classrec.state")
)

// Start begins a span within the one of ctx; without one it does nothing. end
// ends it, with what it failed in, and is to be called once. The error's text is
// in the span, so it must be fit for a log.
func Start(ctx context.Context, name string, attributes ...attribute.KeyValue) (_ context.Context, end func(error)) {
	tracer := trace.SpanFromContext(ctx).TracerProvider().Tracer(scope)
	return start(ctx, tracer, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
}

// Continue begins a span of our own work that goes on what a call with the
// traceparent has asked for. Where it is "" or makes no sense, the span is the
// root of a trace of its own. links are traceparents of other calls that have to
// do with it.
func Continue(ctx context.Context, provider trace.TracerProvider, traceparent, name string, links []string, attributes ...attribute.KeyValue) (_ context.Context, end func(error)) {
	if provider == nil {
		provider = noop.NewTracerProvider()
	}
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindInternal), trace.WithAttributes(attributes...)}
	for _, link := range links {
		if other := parse(link); other.IsValid() && link != traceparent {
			options = append(options, trace.WithLinks(trace.Link{SpanContext: other}))
		}
	}
	if parent := parse(traceparent); parent.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
	} else {
		options = append(options, trace.WithNewRoot())
	}
	return start(ctx, provider.Tracer(scope), name, options...)
}

func start(ctx context.Context, tracer trace.Tracer, name string, options ...trace.SpanStartOption) (context.Context, func(error)) {
	ctx, span := tracer.Start(ctx, name, options...)
	return ctx, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

// Span is one that others may go on within.
type Span = trace.Span

// Of is the span of ctx.
func Of(ctx context.Context) Span { return trace.SpanFromContext(ctx) }

// Within is ctx within a span of another context, which ends otherwise.
func Within(ctx context.Context, span Span) context.Context { return trace.ContextWithSpan(ctx, span) }

// Note adds a moment to the span of ctx.
func Note(ctx context.Context, name string, attributes ...attribute.KeyValue) {
	trace.SpanFromContext(ctx).AddEvent(name, trace.WithAttributes(attributes...))
}

// Describe adds attributes to the span of ctx, leaving out those that are "".
func Describe(ctx context.Context, attributes ...attribute.KeyValue) {
	span := trace.SpanFromContext(ctx)
	for _, a := range attributes {
		if a.Value.AsString() != "" {
			span.SetAttributes(a)
		}
	}
}

// Called is the context of a gRPC call, within the span that its metadata names.
func Called(ctx context.Context) context.Context {
	for _, traceparent := range metadata.ValueFromIncomingContext(ctx, header) {
		if caller := parse(traceparent); caller.IsValid() {
			return trace.ContextWithRemoteSpanContext(ctx, caller)
		}
	}
	return ctx
}

// ID is the id of the trace of ctx, 32 hex digits; "" where there is none.
func ID(ctx context.Context) string {
	if c := trace.SpanContextFromContext(ctx); c.HasTraceID() {
		return c.TraceID().String()
	}
	return ""
}

// IDOf is the id of the trace that a traceparent names; "" where it makes no sense.
func IDOf(traceparent string) string {
	if c := parse(traceparent); c.HasTraceID() {
		return c.TraceID().String()
	}
	return ""
}

const header = "traceparent"

// Parent is the traceparent of the span of ctx, for [Continue]; "" where there is
// none.
func Parent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[header]
}

func parse(traceparent string) trace.SpanContext {
	if traceparent == "" {
		return trace.SpanContext{}
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{header: traceparent})
	return trace.SpanContextFromContext(ctx)
}
