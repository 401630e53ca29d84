// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net/http"

	grpcprometheus "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"

	"github.com/classrec/classrec/server/internal/recording"
)

// metrics are what /metrics tells: the process, the calls, the rooms.
type metrics struct {
	registry *prometheus.Registry
	calls    *grpcprometheus.ServerMetrics
}

func newMetrics(recordings *recording.Service) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		calls: grpcprometheus.NewServerMetrics(grpcprometheus.WithServerHandlingTimeHistogram(
			grpcprometheus.WithHistogramBuckets([]float64{.001, .003, .01, .03, .1, .3, 1, 3, 10, 30}))),
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
		m.calls,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "classrec_rooms",
			Help: "Rooms that the service works in now.",
		}, func() float64 { return float64(recordings.Rooms()) }),
	)
	return m
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
