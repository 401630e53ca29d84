// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"github.com/classrec/classrec/server/internal/gateway"
	"github.com/classrec/classrec/server/internal/rehearsal"
	"github.com/classrec/classrec/server/internal/roomserver"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// newHTTPServer bounds what a caller can hold without asking for anything.
// There is no bound for reading and writing as a whole: streams and downloads
// take as long as they take. [Doors.timed] bounds each step.
func newHTTPServer(handler http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(errorLog{logger.Handler()}, slog.LevelWarn),
	}
}

// errorLog takes what net/http has to say, which is a warning: a panic of a
// handler, say. A connection that fails before it is one is the caller's
// matter, and there are many of them where a port is open to all.
type errorLog struct{ slog.Handler }

// Handle takes one entry.
func (l errorLog) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "TLS handshake error") {
		r.Level = slog.LevelDebug
	}
	if !l.Enabled(ctx, r.Level) {
		return nil
	}
	return l.Handler.Handle(ctx, r)
}

const (
	// inProcessURL is the embedded platform's address for our own client. Nobody
	// else sees it.
	inProcessURL = "http://classrec.internal"
	// inProcessBuffer is what one in-process connection buffers each way. It is
	// a matter of memory: signaling messages are small, and a larger one passes
	// in pieces.
	inProcessBuffer = 2 << 10
)

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// openRoomServer makes the embedded platform, which logs to log, and serves it on
// its listeners.
// Our own client reaches it through the returned function: over the same wire,
// without sockets and TLS.
func (s *Server) openRoomServer(_ context.Context, log *slog.Logger, key talkcloud.Secret) (dialFunc, error) {
	secured, err := openRoomTLS(s.cfg, time.Now())
	s.roomTLS = secured
	if err != nil {
		return nil, err
	}
	rooms, err := readRooms(s.cfg.RoomsFile, log)
	if err == nil {
		err = s.cfg.refuseRoomsWithoutPassword(rooms)
	}
	if err != nil {
		return nil, err
	}
	cfg := roomserver.Config{
		Dir:              s.cfg.path("room"),
		FilesBaseURL:     s.filesBaseURL(),
		EnterpriseKey:    key,
		Rooms:            rooms,
		StrictRooms:      s.cfg.StrictRooms,
		RoomEmptyTimeout: s.cfg.RoomEmptyTimeout,
		UDPListen:        s.cfg.RoomUDPListen,
		PublicIPs:        s.cfg.RoomPublicIPs,
		FFmpegPath:       s.cfg.FFmpeg,
		Conversions:      s.cfg.Conversions,
		FFmpegThreads:    s.cfg.FFmpegThreads,
		MP4Opus:          s.cfg.MP4Audio == "opus",
		CloseTimeout:     s.cfg.ShutdownTimeout / 3,
		Now:              s.cfg.Rehearsal.Clock().Now,
		Logger:           log,
	}
	s.links.apply(&cfg)
	s.cfg.RoomLimits.apply(&cfg)
	if s.room, err = roomserver.New(cfg); err != nil {
		return nil, fmt.Errorf("--data-dir or --room-udp-listen: %w", err)
	}
	s.metrics.registry.MustRegister(newReadings(s.room.Stats, platformReadings()...))
	s.parts.add(part{name: "room server", stop: func(context.Context) error { return s.room.Close() }})
	s.parts.add(part{name: "recovery of recordings", run: s.room.Recover})

	inProcess := bufconn.Listen(inProcessBuffer)
	s.addHTTP("room server, in process", inProcess, s.room.ServiceHandler())
	s.addHTTP("room server, https", roomserver.TolerantListener{Listener: secured.listener(s.roomListener)}, s.roomDoor())
	if s.roomHTTPListener != nil {
		log := s.cfg.Logger.With("part", "room server, http")
		s.addHTTP("room server, http", roomserver.TolerantListener{Listener: s.roomHTTPListener}, gateway.OwnOrigin(log, s.cfg.Doors.CORSOrigins, s.roomDoor()))
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return inProcess.DialContext(ctx) }
	if s.cfg.Rehearsal != nil {
		return s.rehearse(dial), nil
	}
	return dial, nil
}

// roomDoor is the embedded platform at its own ports: what is fetched of its
// files there is audited as it is elsewhere.
func (s *Server) roomDoor() http.Handler {
	room := s.room.Handler()
	files := s.auditFiles("file", room)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/files/") {
			files.ServeHTTP(w, r)
			return
		}
		room.ServeHTTP(w, r)
	})
}

// rehearse puts between our client and the platform what may go wrong there.
func (s *Server) rehearse(dial dialFunc) dialFunc {
	r := s.cfg.Rehearsal
	handler := r.Open(rehearsal.Platform{Handler: s.room.ServiceHandler(), Dial: dial, TimeMoved: s.room.TimeMoved})
	s.parts.add(part{name: "rehearsal", stop: func(context.Context) error { return r.Close() }})
	inProcess := bufconn.Listen(inProcessBuffer)
	s.addHTTP("rehearsed platform", inProcess, handler)
	return r.Link(func(ctx context.Context, _, _ string) (net.Conn, error) { return inProcess.DialContext(ctx) })
}

// files are the recorded ones.
func (s *Server) files() http.Handler {
	if s.cfg.Rehearsal != nil {
		return s.cfg.Rehearsal.Files(s.room.Files())
	}
	return s.room.Files()
}
