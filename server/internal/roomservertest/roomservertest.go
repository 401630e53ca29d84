// SPDX-License-Identifier: Apache-2.0

// Package roomservertest runs a room server on a loopback port inside a test, with participants who do what the
// vendor's web SDK does, and the accidents that tests need: dropped connections, an outage, a restart that loses the
// state of all rooms, a copy of the files as a crash would leave them.
//
// Everything is ended by the test's cleanup. A helper that cannot do its work fails the test.
package roomservertest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/roomserver"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Key is the enterprise key of a [Server], unless an option gives another.
const Key talkcloud.Secret = "test-enterprise0"

// Patience is how long helpers wait for what has to come. Only a test that fails uses it up.
const Patience = time.Minute

// Server is a room server at an address that stays the same over [Server.Restart].
type Server struct {
	URL string // https://127.0.0.1:port, or http:// with [Plain]
	Dir string // roomserver.Config.Dir

	tb     testing.TB
	cfg    roomserver.Config
	plain  bool
	narrow bool
	web    *httptest.Server

	mu    sync.Mutex // guards conns
	conns map[net.Conn]struct{}

	room atomic.Pointer[roomserver.Server] // nil during an outage
}

// Option changes a server before it starts.
type Option func(*Server)

// Plain serves http instead of https.
func Plain() Option { return func(s *Server) { s.plain = true } }

// NarrowNetwork has the network hold next to nothing on its way to a participant, so that one who does not read is
// noticed soon.
func NarrowNetwork() Option { return func(s *Server) { s.narrow = true } }

// Config changes the room server's configuration.
func Config(change func(*roomserver.Config)) Option { return func(s *Server) { change(&s.cfg) } }

// New starts a server. Unless an option says otherwise, its rooms forget everything with the last who leaves, as the
// vendor's documents say of the platform, classes too.
func New(tb testing.TB, options ...Option) *Server {
	tb.Helper()
	s := &Server{tb: tb, conns: make(map[net.Conn]struct{}), cfg: roomserver.Config{EnterpriseKey: Key, RoomEmptyTimeout: -1}}
	for _, option := range options {
		option(s)
	}
	if s.cfg.Dir == "" {
		s.cfg.Dir = tb.TempDir()
	}
	s.Dir = s.cfg.Dir
	s.web = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.web.Listener = &listener{s.web.Listener, s}
	s.web.Config.ErrorLog = nil
	s.start()
	if s.plain {
		s.web.Start()
	} else {
		s.web.StartTLS()
	}
	s.URL = s.web.URL
	tb.Cleanup(func() {
		s.Stop()
		s.web.Close()
	})
	return s
}

// serve hands a request to the room server, or cuts the connection when there is none.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	room := s.room.Load()
	if room == nil {
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = c.Close()
		}
		return
	}
	room.Handler().ServeHTTP(w, r)
}

func (s *Server) start() {
	s.tb.Helper()
	room, err := roomserver.New(s.cfg)
	if err != nil {
		s.tb.Fatalf("start room server: %v", err)
	}
	s.room.Store(room)
}

// Room is the room server itself; nil while stopped.
func (s *Server) Room() *roomserver.Server { return s.room.Load() }

// Stop ends the room server, whose address then cuts every connection, until [Server.Start].
func (s *Server) Stop() {
	s.tb.Helper()
	if room := s.room.Swap(nil); room != nil {
		if err := room.Close(); err != nil {
			s.tb.Errorf("close room server: %v", err)
		}
	}
	s.Drop()
}

// Start begins anew after [Server.Stop], with the files of before and no rooms.
func (s *Server) Start() {
	s.tb.Helper()
	s.start()
}

// Restart is Stop and Start: all rooms lose their state.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Stop()
	s.Start()
}

// Drop resets all connections, as a network does that fails for a moment.
func (s *Server) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // reset instead of an orderly end; it is gone already if this fails
		}
		_ = c.Close()
	}
}

// Snapshot copies the server's directory as it is now, as a crash would leave it, and returns the copy.
func (s *Server) Snapshot() string {
	s.tb.Helper()
	to := s.tb.TempDir()
	err := filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(s.Dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), raw, 0o600)
	})
	if err != nil {
		s.tb.Fatalf("copy recordings: %v", err)
	}
	return to
}

// CertPool trusts the server.
func (s *Server) CertPool() *x509.CertPool {
	pool := x509.NewCertPool()
	if !s.plain {
		pool.AddCert(s.web.Certificate())
	}
	return pool
}

// HTTPClient trusts the server.
func (s *Server) HTTPClient() *http.Client { return s.web.Client() }

// TLSConfig is that of a client which trusts the server.
func (s *Server) TLSConfig() *tls.Config { return &tls.Config{RootCAs: s.CertPool()} }

// ClientConfig is the configuration of a client of this server.
func (s *Server) ClientConfig() talkcloud.Config {
	return talkcloud.Config{BaseURL: s.URL, EnterpriseKey: s.cfg.EnterpriseKey, RootCAs: s.CertPool(), RichRecordList: true}
}

// Client makes a client of this server.
func (s *Server) Client(tb testing.TB, changes ...func(*talkcloud.Config)) *talkcloud.Client {
	tb.Helper()
	cfg := s.ClientConfig()
	for _, change := range changes {
		change(&cfg)
	}
	c, err := talkcloud.New(cfg)
	if err != nil {
		tb.Fatalf("make client: %v", err)
	}
	return c
}

// Context ends with the test, or with our patience.
func Context(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), Patience)
	tb.Cleanup(cancel)
	return ctx
}

// listener knows the connections it has accepted.
type listener struct {
	net.Listener
	server *Server
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if tcp, ok := c.(*net.TCPConn); ok && l.server.narrow {
		_ = tcp.SetWriteBuffer(4096) // a wish; the system has its own minimum
	}
	l.server.mu.Lock()
	defer l.server.mu.Unlock()
	l.server.conns[c] = struct{}{}
	return &conn{c, l.server}, nil
}

type conn struct {
	net.Conn
	server *Server
}

func (c *conn) Close() error {
	c.server.mu.Lock()
	delete(c.server.conns, c.Conn)
	c.server.mu.Unlock()
	return c.Conn.Close()
}
