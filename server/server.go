// SPDX-License-Identifier: Apache-2.0

// Package server is classrec as one process: the store, the platform (its own,
// or TalkCloud over the network), the rooms, the recordings, and the API over
// gRPC and REST.
//
// [New] does all that can fail, listening included; [Server.Run] serves until
// its context ends. Then calls in flight are finished, streams are told to come
// back, and every part is stopped in the reverse of the order in which it was
// built, so that no part is without what it relies on. What was acknowledged is
// in the store: a server that is killed instead takes up where it was.
//
// It leaves signals, flags and the format of logs to the program (classrecd).
package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/classrec/classrec/server/internal/gateway"
	"github.com/classrec/classrec/server/internal/recording"
	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/roomserver"
	"github.com/classrec/classrec/server/internal/service"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Server is a whole classrec. Close it, or Run it, which closes it.
type Server struct {
	cfg     Config
	parts   parts
	serving atomic.Bool // calls can be served

	grpcListener, httpListener, roomListener, roomHTTPListener net.Listener // the last two may be nil

	store      *store.Store
	room       *roomserver.Server // nil with TalkCloud
	platform   *talkcloud.Client
	rooms      *room.Manager
	recordings *recording.Service
	metrics    *metrics
	grpc       *grpcServer
}

// New builds a server that listens and does not serve yet: connections wait for
// [Server.Run]. ctx bounds the construction. An error names the flag at fault,
// where one is.
func New(ctx context.Context, cfg Config) (_ *Server, err error) {
	s := &Server{cfg: cfg.withDefaults()}
	if err := s.cfg.validate(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(context.WithoutCancel(ctx)))
		}
	}()
	for _, build := range []func(context.Context) error{
		s.openDataDir,
		s.listen,
		s.openStore,
		s.openPlatform,
		s.openRooms,
		s.openRecordings,
		s.openGRPC,
		s.openGateway,
		s.openDrain,
	} {
		if err := build(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Run serves until ctx ends, which is nil, or until a part fails, and stops
// everything. It can be called once.
func (s *Server) Run(ctx context.Context) error {
	s.serving.Store(true)
	s.grpc.serving()
	p := s.parts
	s.parts = nil
	return p.run(ctx, s.cfg.ShutdownTimeout)
}

// Close releases a server that is not run. After [Server.Run] it does nothing.
func (s *Server) Close() error { return s.close(context.Background()) }

func (s *Server) close(ctx context.Context) error {
	p := s.parts
	s.parts = nil
	return p.stop(ctx, s.cfg.ShutdownTimeout, func(int) {})
}

// GRPCAddr is where gRPC is served.
func (s *Server) GRPCAddr() net.Addr { return s.grpcListener.Addr() }

// HTTPAddr is where REST and the files are served.
func (s *Server) HTTPAddr() net.Addr { return s.httpListener.Addr() }

// RoomAddr is where the embedded platform is served over https; nil with
// TalkCloud.
func (s *Server) RoomAddr() net.Addr { return addrOf(s.roomListener) }

// RoomHTTPAddr is where the embedded platform is served over plain http; nil
// where it is not.
func (s *Server) RoomHTTPAddr() net.Addr { return addrOf(s.roomHTTPListener) }

// RoomCertFile is the PEM file to trust for the embedded platform over https;
// "" with TalkCloud.
func (s *Server) RoomCertFile() string {
	if !s.cfg.embedded() {
		return ""
	}
	return cmp.Or(s.cfg.RoomCertFile, s.cfg.path(roomCertName))
}

func addrOf(l net.Listener) net.Addr {
	if l == nil {
		return nil
	}
	return l.Addr()
}

func (s *Server) openDataDir(context.Context) error {
	if err := os.MkdirAll(s.cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	return nil
}

// listen comes before all that takes time, so that a second server, or an
// address in use, is noticed at once.
func (s *Server) listen(ctx context.Context) error {
	listen := func(flag, address string, to *net.Listener) error {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("%s: %w", flag, err)
		}
		*to = l
		s.parts.add(part{name: flag, stop: func(context.Context) error { return closeListener(l) }})
		return nil
	}
	if err := listen("--grpc-listen", s.cfg.GRPCListen, &s.grpcListener); err != nil {
		return err
	}
	if err := listen("--http-listen", s.cfg.HTTPListen, &s.httpListener); err != nil {
		return err
	}
	if !s.cfg.embedded() {
		return nil
	}
	if err := listen("--room-listen", s.cfg.RoomListen, &s.roomListener); err != nil {
		return err
	}
	if s.cfg.RoomHTTPListen == "" {
		return nil
	}
	return listen("--room-http-listen", s.cfg.RoomHTTPListen, &s.roomHTTPListener)
}

// closeListener closes a listener that its server may have closed already.
func closeListener(l net.Listener) error {
	if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (s *Server) openStore(ctx context.Context) (err error) {
	s.store, err = store.Open(ctx, store.Config{Dir: s.cfg.path("store"), Logger: s.cfg.Logger.With("part", "store")})
	if err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	s.parts.add(part{name: "store", stop: func(context.Context) error { return s.store.Close() }})
	return nil
}

// openPlatform makes the client of the platform; when it is the embedded one,
// also that.
func (s *Server) openPlatform(ctx context.Context) error {
	key, err := enterpriseKey(s.cfg)
	if err != nil {
		return err
	}
	cfg := talkcloud.Config{
		BaseURL:         s.cfg.Platform,
		RecordListURL:   s.cfg.RecordListURL,
		RichRecordList:  s.cfg.RichRecordList,
		EnterpriseKey:   key,
		CheckroomParams: s.cfg.CheckroomParams,
		Logger:          s.cfg.Logger.With("part", "platform"),
	}
	if s.cfg.embedded() {
		dial, err := s.openRoomServer(ctx, key)
		if err != nil {
			return err
		}
		cfg.BaseURL, cfg.RichRecordList, cfg.DialContext = inProcessURL, true, dial
	}
	if cfg.RootCAs, err = rootsFrom(s.cfg.PlatformCAFile); err != nil {
		return err
	}
	if s.platform, err = talkcloud.New(cfg); err != nil {
		return fmt.Errorf("--platform: %w", err)
	}
	s.parts.add(part{name: "platform", stop: func(context.Context) error { return s.platform.Close() }})
	return nil
}

// filesBaseURL is what the embedded platform's record list begins its URLs
// with: an address that listens everywhere is best called loopback.
func (s *Server) filesBaseURL() string {
	if s.cfg.FilesBaseURL != "" {
		return s.cfg.FilesBaseURL
	}
	return (&url.URL{Scheme: "http", Host: dialable(s.HTTPAddr()), Path: "/files"}).String()
}

// dialable is an address under which a listener can be reached from here.
func dialable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

func (s *Server) openRooms(context.Context) error {
	s.rooms = room.NewManager(s.platform, room.Config{Logger: s.cfg.Logger.With("part", "rooms")})
	s.parts.add(part{name: "rooms", stop: func(context.Context) error { return s.rooms.Close() }})
	return nil
}

func (s *Server) openRecordings(context.Context) error {
	key, err := sealingKey(s.cfg)
	if err != nil {
		return err
	}
	s.recordings = recording.New(s.store, s.rooms, s.platform, recording.Config{
		ProcessingTimeout: s.cfg.ProcessingTimeout,
		SettleTime:        s.cfg.SettleTime,
		Key:               key,
		RichRecordList:    s.cfg.RichRecordList || s.cfg.embedded(),
		RoomsStartEmpty:   s.cfg.embedded(),
		Status:            service.Status,
		Logger:            s.cfg.Logger.With("part", "recordings"),
	})
	s.parts.add(part{name: "recordings", run: s.recordings.Run})
	return nil
}

func (s *Server) openGRPC(context.Context) (err error) {
	s.metrics = newMetrics(s.recordings)
	if s.grpc, err = newGRPCServer(s.recordings, s.metrics, s.cfg.Logger.With("part", "grpc")); err != nil {
		return err
	}
	s.parts.add(part{
		name: "gRPC server",
		run:  func(context.Context) error { return s.grpc.serve(s.grpcListener) },
		stop: func(ctx context.Context) error { return s.grpc.stop(ctx, s.cfg.ShutdownTimeout/2) },
	})
	return nil
}

// openGateway serves REST over a connection to the gRPC server that does not
// leave the process.
func (s *Server) openGateway(ctx context.Context) error {
	inProcess := bufconn.Listen(256 << 10)
	s.parts.add(part{
		name: "gRPC server, in process",
		run:  func(context.Context) error { return s.grpc.serve(inProcess) },
		stop: func(context.Context) error { return inProcess.Close() },
	})
	conn, err := grpc.NewClient("passthrough:///in-process",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return inProcess.DialContext(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxSendBytes)))
	if err != nil {
		return fmt.Errorf("connect REST to gRPC: %w", err)
	}
	s.parts.add(part{name: "REST connection", stop: func(context.Context) error { return conn.Close() }})

	cfg := gateway.Config{Metrics: s.metrics.handler(), Ready: s.ready, Logger: s.cfg.Logger.With("part", "gateway")}
	if s.room != nil {
		cfg.Files = s.room.Files()
	}
	handler, err := gateway.New(ctx, conn, cfg)
	if err != nil {
		return fmt.Errorf("make the REST gateway: %w", err)
	}
	s.addHTTP("REST server", s.httpListener, handler)
	return nil
}

// addHTTP serves handler on l.
func (s *Server) addHTTP(name string, l net.Listener, handler http.Handler) {
	srv := newHTTPServer(handler, s.cfg.Logger.With("part", name))
	s.parts.add(part{
		name: name,
		run:  func(context.Context) error { return ignore(srv.Serve(l), http.ErrServerClosed) },
		stop: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, s.cfg.ShutdownTimeout/2)
			defer cancel()
			if srv.Shutdown(ctx) != nil {
				return srv.Close() // whoever is not done by now is cut off
			}
			return nil
		},
	})
}

// ignore is err, unless that is the expected one.
func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// openDrain is the last part, so that it is the first to stop: from then on
// the server is not ready, and streams end.
func (s *Server) openDrain(context.Context) error {
	s.parts.add(part{name: "drain", stop: func(context.Context) error {
		s.serving.Store(false)
		s.grpc.drain()
		return nil
	}})
	return nil
}

var errNotServing = errors.New("the server is starting or stopping")

// ready says whether calls can be served.
func (s *Server) ready(context.Context) error {
	if !s.serving.Load() {
		return errNotServing
	}
	return s.store.Err()
}

// headerTimeout bounds the time in which a request's header must have come.
const headerTimeout = 10 * time.Second
