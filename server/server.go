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
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/admin"
	"github.com/classrec/classrec/server/internal/audit"
	"github.com/classrec/classrec/server/internal/auth"
	"github.com/classrec/classrec/server/internal/gateway"
	"github.com/classrec/classrec/server/internal/recording"
	"github.com/classrec/classrec/server/internal/roomserver"
	"github.com/classrec/classrec/server/internal/service"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/webhook"
)

// Server is a whole classrec. Close it, or Run it, which closes it.
type Server struct {
	cfg     Config
	parts   parts
	serving atomic.Bool // calls can be served
	alive   *alive      // nil without the embedded platform

	readiness readiness
	http      *httpPort

	grpcListener, adminListener    net.Listener // nil with PlatformOnly; the second may be
	httpListener                   net.Listener
	roomListener, roomHTTPListener net.Listener // may be nil
	doors                          []*door      // all of them

	store      *store.Store
	room       *roomserver.Server // nil without the embedded platform
	sealingKey recording.Key
	tenants    []*tenant // by name
	webhooks   *webhook.Dispatcher
	metrics    *metrics
	traces     *traces
	audit      *audit.Log // nil where none is kept
	auth       *auth.Authenticator
	tls        *tlsFiles  // nil in plain text
	links      *fileLinks // nil where files are another platform's
	roomTLS    *tlsFiles  // of the embedded platform; nil without
	grpc       *grpcServer
	admin      *grpcServer // nil where it is not served
}

// New builds a server that listens and does not serve yet: connections wait for
// [Server.Run]. ctx bounds the construction. An error names the flag at fault,
// where one is.
func New(ctx context.Context, cfg Config) (_ *Server, err error) {
	s := &Server{cfg: cfg.withDefaults()}
	s.readiness.probing = make(chan struct{}, 1)
	s.fitDescriptors()
	s.cfg.tenants, err = s.cfg.tenantConfigs()
	if len(s.cfg.tenants) > 0 {
		err = errors.Join(err, s.cfg.validate())
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(context.WithoutCancel(ctx)))
		}
	}()
	builds := []func(context.Context) error{
		s.openDataDir,
		s.openMetrics,
		s.openTraces,
		s.openAudit,
		s.openAuth,
		s.listen,
		s.openLinks,
		s.openHTTP,
		s.openStore,
		s.openTenants,
		s.openWebhooks,
		s.openGRPC,
		s.openAdmin,
		s.openGateway,
		s.openReadiness,
		s.openDrain,
	}
	if s.cfg.PlatformOnly {
		builds = []func(context.Context) error{
			s.openDataDir,
			s.openMetrics,
			s.openAudit,
			s.openAuth,
			s.listen,
			s.openLinks,
			s.openHTTP,
			s.openPlatformOnly,
			s.openReadiness,
			s.openDrain,
		}
	}
	for _, build := range builds {
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
	for _, g := range s.grpcServers() {
		g.serving()
	}
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

// GRPCAddr is where gRPC is served; nil with [Config.PlatformOnly].
func (s *Server) GRPCAddr() net.Addr { return addrOf(s.grpcListener) }

// AdminAddr is where the admin API is served; nil where it is not.
func (s *Server) AdminAddr() net.Addr { return addrOf(s.adminListener) }

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
	most, plain := s.cfg.Doors.MaxConnections, false
	listen := func(flag, address string, to *net.Listener) error {
		tcp, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("%s: %w", flag, err)
		}
		name := strings.TrimSuffix(strings.TrimPrefix(flag, "--"), "-listen")
		l := newDoor(tcp, name, most, s.cfg.Doors.MaxConnectionsPerAddress, plain)
		s.doors = append(s.doors, l)
		*to = l
		s.parts.add(part{name: flag, stop: func(context.Context) error { return closeListener(l) }})
		return nil
	}
	if !s.cfg.PlatformOnly {
		if err := listen("--grpc-listen", s.cfg.GRPCListen, &s.grpcListener); err != nil {
			return err
		}
		if s.cfg.AdminListen != "" {
			if err := listen("--admin-listen", s.cfg.AdminListen, &s.adminListener); err != nil {
				return err
			}
		}
	}
	plain = s.cfg.TLSCertFile == ""
	if err := listen("--http-listen", s.cfg.HTTPListen, &s.httpListener); err != nil {
		return err
	}
	s.metrics.registry.MustRegister(newReadings(func() []*door { return s.doors }, doorReadings()...))
	most, plain = s.cfg.Doors.RoomMaxConnections, false
	if !s.cfg.embedded() {
		return nil
	}
	if err := listen("--room-listen", s.cfg.RoomListen, &s.roomListener); err != nil {
		return err
	}
	if s.cfg.RoomHTTPListen == "" {
		return nil
	}
	plain = true
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
	if s.sealingKey, err = sealingKey(s.cfg); err != nil { // before there is anything that it may have sealed
		return err
	}
	cfg := store.Config{
		LeaseTTL:     s.cfg.LeaseTTL,
		Retention:    store.Retention{Age: max(s.cfg.EventRetention, 0), Bytes: max(s.cfg.EventRetentionBytes, 0)},
		SyncInterval: s.cfg.SyncInterval,
		Logger:       s.cfg.Logger.With("part", "store"),
	}
	flag := "--data-dir"
	where := s.cfg.database()
	cfg.Dir, cfg.URL, cfg.Scrub = where.Dir, where.URL, true
	if s.cfg.Database != "" {
		flag = "--database"
		cfg.Fingerprint = s.sealingKey.Fingerprint()
	}
	for {
		s.store, err = store.Open(ctx, cfg)
		if err == nil {
			break
		}
		if s.cfg.Database == "" || !errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil {
			return fmt.Errorf("%s: %w", flag, err)
		}
		s.readiness.wait("the database does not answer")
		s.cfg.Logger.Warn("waiting for the database", "error", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", flag, err)
		}
	}
	s.readiness.wait("")
	s.metrics.registry.MustRegister(
		newReadings(s.storeStats, storeReadings()...),
		newReadings(s.store.Counts, stateReadings(s.tenantNames())...))
	s.parts.add(part{name: "store", stop: func(context.Context) error { return s.store.Close() }})
	return nil
}

// filesBaseURL is what the embedded platform's record list begins its URLs
// with: an address that listens everywhere is best called loopback.
func (s *Server) filesBaseURL() string {
	if s.cfg.FilesBaseURL != "" {
		return s.cfg.FilesBaseURL
	}
	scheme := "http"
	if s.tls != nil {
		scheme = "https"
	}
	return (&url.URL{Scheme: scheme, Host: dialable(s.HTTPAddr()), Path: "/files"}).String()
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

func (s *Server) openGRPC(context.Context) (err error) {
	s.metrics.registry.MustRegister(newWebhookMetrics(s.webhooks))
	s.grpc, err = s.addGRPC("gRPC server", s.grpcListener, service.New(s.recordingsOf()), []string{classrecv1.RecordingService_ServiceDesc.ServiceName})
	return err
}

// openAdmin serves the admin API, on its own port.
func (s *Server) openAdmin(context.Context) (err error) {
	if s.adminListener == nil {
		return nil
	}
	s.admin, err = s.addGRPC("admin server", s.adminListener, admin.New(s.webhooks, s.inspected()),
		[]string{adminv1.WebhookService_ServiceDesc.ServiceName, adminv1.RoomService_ServiceDesc.ServiceName})
	return err
}

// addGRPC serves an API on l.
func (s *Server) addGRPC(name string, l net.Listener, api grpcAPI, services []string) (*grpcServer, error) {
	g, err := newGRPCServer(api, services, s.metrics, s.traces, service.Config{
		Auth: s.auth, HandOut: s.links.handOut, Observe: s.auditCall, Logger: s.cfg.Logger.With("part", name),
	}, s.cfg.Doors.MessageTimeout, s.tls.grpc())
	if err != nil {
		return nil, err
	}
	listener := newCuttable(l)
	s.parts.add(part{
		name: name,
		run:  func(context.Context) error { return g.serve(listener) },
		stop: func(ctx context.Context) error {
			ctx, cancel := s.phase(ctx, deliverPart)
			defer cancel()
			g.stop(ctx, listener.cut)
			return nil
		},
	})
	return g, nil
}

// grpcServers are those that there are.
func (s *Server) grpcServers() []*grpcServer {
	return slices.DeleteFunc([]*grpcServer{s.grpc, s.admin}, func(g *grpcServer) bool { return g == nil })
}

// openGateway serves REST over a connection to the gRPC server that does not
// leave the process.
func (s *Server) openGateway(ctx context.Context) error {
	inProcess := bufconn.Listen(256 << 10)
	s.parts.add(part{
		name: "gRPC server, in process",
		run:  func(context.Context) error { return s.grpc.serveInProcess(inProcess) },
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

	cfg := gateway.Config{
		CORSOrigins: s.cfg.Doors.CORSOrigins, Hosts: s.cfg.hosts(), BodyTimeout: s.cfg.Doors.BodyTimeout,
		Auth: s.auth, Open: s.cfg.InsecureNoAuth, Metrics: s.metrics.handler(), Tenants: s.tenantNames(), Ready: s.ready, Alive: s.processAlive, Version: Version().Version,
		Logger: s.cfg.Logger.With("part", "gateway"),
	}
	cfg.DebugRooms = debugRooms(s.inspected())
	if s.room != nil {
		cfg.Files, cfg.FilesBaseURL, cfg.Room = s.auditFiles("file", s.files()), s.filesBaseURL(), s.classroom()
	}
	cfg.MediaSources = s.mediaSources()
	handler, err := gateway.New(ctx, conn, cfg)
	if err != nil {
		return fmt.Errorf("make the REST gateway: %w", err)
	}
	if handler, err = s.withCallbacks(handler); err != nil {
		return err
	}
	s.serveHTTP("REST server", handler)
	return nil
}

// mediaSources is from where the console may play what TalkCloud keeps: its
// record list names hosts of its own choice.
func (s *Server) mediaSources() []string {
	var sources []string
	for _, t := range s.tenants {
		if t.embedded() {
			continue
		}
		scheme := "https:"
		if u, err := url.Parse(t.tenantConfig.platform); err == nil && u.Scheme == "http" {
			scheme = "http:"
		}
		if !slices.Contains(sources, "https:") {
			sources = append(sources, "https:")
		}
		if !slices.Contains(sources, scheme) {
			sources = append(sources, scheme)
		}
	}
	return sources
}

// addHTTP serves handler on l.
func (s *Server) addHTTP(name string, l net.Listener, handler http.Handler) {
	srv := newHTTPServer(s.cfg.Doors.timed(handler), s.cfg.Logger.With("part", name))
	if tolerant, ok := l.(roomserver.TolerantListener); ok {
		srv.ConnContext = tolerant.ConnContext
	}
	s.parts.add(part{
		name: name,
		run:  func(context.Context) error { return ignore(srv.Serve(l), http.ErrServerClosed) },
		stop: func(ctx context.Context) error {
			ctx, cancel := s.phase(ctx, deliverPart)
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

// openDrain is the last part, so that it is the first to stop: from then on the
// server is not ready, and no calls are taken. It listens until those that it has
// taken are over.
func (s *Server) openDrain(context.Context) error {
	s.parts.add(part{name: "drain", stop: func(ctx context.Context) error {
		s.serving.Store(false)
		for _, g := range s.grpcServers() {
			g.notServing()
		}
		ctx, cancel := s.phase(ctx, drainPart)
		defer cancel()
		for _, g := range s.grpcServers() {
			g.drain.stop(ctx)
		}
		return nil
	}})
	return nil
}

// headerTimeout bounds the time in which a request's header must have come.
const headerTimeout = 10 * time.Second
