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
	line("gRPC", dialable(s.GRPCAddr()), "plain text; reflection and health are on")
	line("REST", http, "/openapi.json /healthz /readyz /metrics /files/")
	if s.room != nil {
		line("room server", "https://"+dialable(s.RoomAddr()), "embedded platform; "+s.certificateNote())
		if s.roomHTTPListener != nil {
			line("", "http://"+dialable(s.RoomHTTPAddr()), "the same, in plain text")
		}
	} else {
		line("platform", s.cfg.Platform, "")
	}
	line("data", s.cfg.DataDir, "")
	b.WriteString("try\n")
	fmt.Fprintf(&b, "  %s\n  %s\n", s.tryCurl(), s.tryGRPCurl())
	return b.String()
}

// LogStart says the same as lines of log.
func (s *Server) LogStart(log *slog.Logger) {
	attrs := []any{
		slog.String("grpc", s.GRPCAddr().String()), slog.String("http", s.HTTPAddr().String()),
		slog.String("platform", s.cfg.Platform), slog.String("data", s.cfg.DataDir),
	}
	if s.room != nil {
		attrs = append(attrs, slog.String("room", s.RoomAddr().String()))
	}
	log.Info("classrec is up", attrs...)
	log.Info("to try it", slog.String("rest", s.tryCurl()), slog.String("grpc", s.tryGRPCurl()))
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
