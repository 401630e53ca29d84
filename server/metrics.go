// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"net/http"

	grpcprometheus "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"
)

// metrics are what /metrics tells. Each part of the server adds its own when it
// is made; docs/observability.md has them all. No label names a room, a
// recording or a person: there are too many of those.
type metrics struct {
	registry   *prometheus.Registry
	calls      *grpcprometheus.ServerMetrics
	recordings *recordingMetrics // nil with PlatformOnly
}

// openMetrics comes first, so that every part finds them.
func (s *Server) openMetrics(context.Context) error {
	s.metrics = &metrics{registry: prometheus.NewRegistry()}
	s.metrics.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
		buildMetric(Version()),
		newReadings(s.processStats, processReadings()...),
	)
	if s.cfg.PlatformOnly {
		return nil
	}
	s.metrics.calls = grpcprometheus.NewServerMetrics(grpcprometheus.WithServerHandlingTimeHistogram(
		grpcprometheus.WithHistogramBuckets([]float64{.001, .003, .01, .03, .1, .3, 1, 3, 10, 30})))
	s.metrics.recordings = newRecordingMetrics()
	s.metrics.registry.MustRegister(s.metrics.calls, s.metrics.recordings)
	return nil
}

func (m *metrics) serverOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(m.calls.UnaryServerInterceptor()),
		grpc.ChainStreamInterceptor(m.calls.StreamServerInterceptor()),
	}
}

// initialize gives every call of g its metrics, at zero.
func (m *metrics) initialize(g *grpc.Server) { m.calls.InitializeMetrics(g) }

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// reading is a metric that is read from what a part tells of itself when it is
// asked for.
type reading[T any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(stats T, tell func(v float64, labels ...string))
}

// gauge is a reading that goes up and down.
func gauge[T any](name, help string, value func(T, func(float64, ...string)), labels ...string) reading[T] {
	return reading[T]{prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue, value}
}

// counter is one that only goes up.
func counter[T any](name, help string, value func(T, func(float64, ...string)), labels ...string) reading[T] {
	return reading[T]{prometheus.NewDesc(name, help, labels, nil), prometheus.CounterValue, value}
}

// readings are the metrics that come of one look at a part.
type readings[T any] struct {
	look func() T
	list []reading[T]
}

func newReadings[T any](look func() T, list ...reading[T]) *readings[T] {
	return &readings[T]{look: look, list: list}
}

// Describe implements prometheus.Collector.
func (r *readings[T]) Describe(c chan<- *prometheus.Desc) {
	for _, one := range r.list {
		c <- one.desc
	}
}

// Collect implements prometheus.Collector.
func (r *readings[T]) Collect(c chan<- prometheus.Metric) {
	stats := r.look()
	for _, one := range r.list {
		one.value(stats, func(v float64, labels ...string) {
			c <- prometheus.MustNewConstMetric(one.desc, one.kind, v, labels...)
		})
	}
}
