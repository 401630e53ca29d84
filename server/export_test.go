// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Part is a part, for the tests of their order.
type Part struct {
	Name      string
	Run, Stop func(context.Context) error
}

// RunParts runs parts as a server does.
func RunParts(ctx context.Context, timeout time.Duration, list ...Part) error {
	var p parts
	for _, part := range list {
		p.add(toPart(part))
	}
	return p.run(ctx, timeout)
}

func toPart(p Part) part { return part{name: p.Name, run: p.Run, stop: p.Stop} }

// ErrorLog is a logger as the servers of HTTP have it.
func ErrorLog(logger *slog.Logger) *slog.Logger { return slog.New(errorLog{logger.Handler()}) }

// Certificate is the room server's certificate at a time.
func Certificate(cfg Config, now time.Time) (tls.Certificate, error) {
	return certificate(cfg.withDefaults(), now)
}

// LastAlive is what a server knows from the directory of lives.
func LastAlive(dir string, at time.Time) time.Time {
	a := &alive{dir: dir, log: slog.New(slog.DiscardHandler)}
	a.load()
	return a.lastAfter(at)
}

// Registry has the metrics of a server.
func Registry(s *Server) *prometheus.Registry { return s.metrics.registry }
