// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"
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

// LogOfHTTP logs a text as net/http logs what goes wrong in it.
func LogOfHTTP(logger *slog.Logger, text string) error {
	_, err := newHTTPServer(nil, logger).ErrorLog.Writer().Write([]byte(text))
	return err
}

// Certificate is the room server's certificate at a time.
func Certificate(cfg Config, now time.Time) (tls.Certificate, error) {
	return certificate(cfg.withDefaults(), now)
}
