// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"log/slog"
	"strings"
)

// Banner says in a few lines what the server listens on, and how to try it.
func (s *Server) Banner() string {
	var b strings.Builder
	line := func(what, where, note string) { fmt.Fprintf(&b, "  %-12s %-29s %s\n", what, where, note) }
	http := "http://" + dialable(s.HTTPAddr())
	b.WriteString("classrec is up\n")
	if s.cfg.PlatformOnly {
		line("files", http+"/files/", "/healthz /readyz /metrics")
	} else {
		line("gRPC", dialable(s.GRPCAddr()), "plain text; reflection and health are on")
		if s.adminListener != nil {
			line("admin", dialable(s.AdminAddr()), "plain text gRPC: what became of the webhooks")
		}
		line("REST", http, "/openapi.json /healthz /readyz /metrics /files/")
	}
	if s.room != nil {
		line("room server", "https://"+dialable(s.RoomAddr()), "embedded platform; "+s.certificateNote())
		if s.roomHTTPListener != nil {
			line("", "http://"+dialable(s.RoomHTTPAddr()), "the same, in plain text")
		}
	} else {
		line("platform", s.cfg.Platform, "")
	}
	if s.cfg.Database != "" {
		line("database", "PostgreSQL", "replica "+s.store.ReplicaID())
	}
	line("data", s.cfg.DataDir, "")
	if s.cfg.PlatformOnly {
		return b.String()
	}
	b.WriteString("try\n")
	fmt.Fprintf(&b, "  %s\n  %s\n", s.tryCurl(), s.tryGRPCurl())
	return b.String()
}

// LogStart says the same as lines of log.
func (s *Server) LogStart(log *slog.Logger) {
	attrs := []any{slog.String("http", s.HTTPAddr().String()), slog.String("platform", s.cfg.Platform), slog.String("data", s.cfg.DataDir)}
	if s.grpcListener != nil {
		attrs = append(attrs, slog.String("grpc", s.GRPCAddr().String()))
	}
	if s.adminListener != nil {
		attrs = append(attrs, slog.String("admin", s.AdminAddr().String()))
	}
	if s.room != nil {
		attrs = append(attrs, slog.String("room", s.RoomAddr().String()))
	}
	if s.cfg.Database != "" {
		attrs = append(attrs, slog.String("replica", s.store.ReplicaID()))
	}
	log.Info("classrec is up", attrs...)
	if !s.cfg.PlatformOnly {
		log.Info("to try it", slog.String("rest", s.tryCurl()), slog.String("grpc", s.tryGRPCurl()))
	}
}

func (s *Server) certificateNote() string {
	if s.cfg.RoomCertFile != "" {
		return "certificate from " + s.cfg.RoomCertFile
	}
	return "self-signed: " + s.RoomCertFile()
}

func (s *Server) tryCurl() string {
	return "curl -X POST http://" + dialable(s.HTTPAddr()) + "/v1/rooms/42/recordings"
}

func (s *Server) tryGRPCurl() string {
	return `grpcurl -plaintext -d '{"room":"42"}' ` + dialable(s.GRPCAddr()) + " classrec.v1.RecordingService/ListRecordings"
}

// Reload reads again what is read again when it changes, now: the files of TLS.
// API tokens are looked at every second, and the files of rooms and webhooks only
// at the start. Nothing ends: not a class, a call or a connection.
func (s *Server) Reload() {
	s.tls.reload()
	s.roomTLS.reload()
	s.cfg.Logger.Info("files are read again", "part", "TLS")
}
