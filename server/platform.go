// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"

	"github.com/classrec/classrec/server/internal/gateway"
)

// openPlatformOnly makes the embedded platform and nothing else: its own doors,
// and over HTTP the files, health and metrics.
func (s *Server) openPlatformOnly(ctx context.Context) error {
	key, err := enterpriseKey(s.cfg, s.cfg.tenants[0])
	if err != nil {
		return fmt.Errorf("--enterprise-key-file: %w", err)
	}
	if _, err := s.openRoomServer(ctx, s.cfg.Logger.With("part", "room server"), key); err != nil {
		return err
	}
	handler, err := gateway.New(ctx, nil, gateway.Config{
		Auth:    s.auth,
		Open:    s.cfg.InsecureNoAuth,
		Files:   s.auditFiles("file", s.room.Files()),
		Hosts:   s.cfg.hosts(),
		Metrics: s.metrics.handler(),
		Tenants: s.tenantNames(),
		Ready:   s.ready,
		Version: Version().Version,
		Logger:  s.cfg.Logger.With("part", "gateway"),
	})
	if err != nil {
		return fmt.Errorf("serve files: %w", err)
	}
	s.serveHTTP("file server", handler)
	return nil
}
