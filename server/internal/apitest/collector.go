// SPDX-License-Identifier: Apache-2.0

package apitest

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// Collector takes spans as an OpenTelemetry collector does, by OTLP over gRPC.
type Collector struct {
	collectorv1.UnimplementedTraceServiceServer
	url string

	mu    sync.Mutex
	spans []*tracev1.Span
}

// NewCollector serves one until the test ends.
func NewCollector(tb testing.TB) *Collector {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	c := &Collector{url: "http://" + l.Addr().String()}
	s := grpc.NewServer()
	collectorv1.RegisterTraceServiceServer(s, c)
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(l) })
	tb.Cleanup(func() {
		s.Stop()
		serving.Wait()
	})
	return c
}

// URL is for server.Config.TraceEndpoint.
func (c *Collector) URL() string { return c.url }

// Spans are those that have come. A server sends its last ones when it stops.
func (c *Collector) Spans() []*tracev1.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// Export takes spans.
func (c *Collector) Export(_ context.Context, req *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range req.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}
