// SPDX-License-Identifier: Apache-2.0

// Package apitest runs a whole classrec server inside a test, on ports of its
// own, and calls it over gRPC and over REST alike: one [Call] is written once,
// as the JSON of its request, and its [Outcome] has the same form whichever
// way it went. Raw participants enter the embedded platform's rooms beside the
// service and see what is said there.
//
// Everything is ended by the test's cleanup. A helper that cannot do its work
// fails the test. It leaves the platform's own accidents to package
// talkcloudtest, whose platforms a server can be pointed at.
package apitest

import (
	"context"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
)

// Patience bounds what has to come; only a test that fails uses it up.
const Patience = 30 * time.Second

// Server is a classrec server that can be stopped and started again on the
// same data. Stop, Start and Restart must not run beside other methods.
type Server struct {
	tb   testing.TB
	cfg  server.Config
	life *life // nil while it is stopped
}

// life is one run of a server.
type life struct {
	server *server.Server
	conn   *grpc.ClientConn // nil with PlatformOnly
	http   *http.Client
	end    context.CancelFunc
	ended  chan error // gets what Run returned
}

// Config is a configuration that takes any free ports and keeps its data in
// dir. Its ffmpeg does not exist, so that a machine with one tests the same as
// a machine without.
func Config(dir string) server.Config {
	return server.Config{
		GRPCListen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0", RoomListen: "127.0.0.1:0", RoomHTTPListen: "127.0.0.1:0",
		DataDir: dir, FFmpeg: filepath.Join(dir, "no-ffmpeg"),
	}
}

// Key is the enterprise key that [Platform] configures.
const Key = "mark-enterprise-key-7d1f"

// Platform makes the server use the platform at a URL.
func Platform(tb testing.TB, url string) func(*server.Config) {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "enterprise.key")
	if err := os.WriteFile(file, []byte(Key+"\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
	return func(cfg *server.Config) {
		cfg.Platform, cfg.EnterpriseKeyFile = url, file
		cfg.SettleTime = 50 * time.Millisecond
		cfg.RoomListen, cfg.RoomHTTPListen = "", ""
	}
}

// New starts a server in a directory of the test's own.
func New(tb testing.TB, changes ...func(*server.Config)) *Server {
	tb.Helper()
	s := &Server{tb: tb, cfg: Config(tb.TempDir())}
	for _, change := range changes {
		change(&s.cfg)
	}
	s.Start()
	tb.Cleanup(s.Stop)
	return s
}

// PlatformOnly starts the embedded platform as a server of its own, for
// replicas to share.
func PlatformOnly(tb testing.TB) *Server {
	tb.Helper()
	return New(tb, func(cfg *server.Config) { cfg.PlatformOnly = true })
}

// RoomURL is where the embedded platform is served over plain http.
func (s *Server) RoomURL() string { return "http://" + s.life.server.RoomHTTPAddr().String() }

// Replica makes the server one of several on the platform and the PostgreSQL
// database at url. It is counted as dead when it is silent for ttl.
func Replica(tb testing.TB, platform *Server, url string, ttl time.Duration) func(*server.Config) {
	tb.Helper()
	key := filepath.Join(platform.Dir(), "test-seal.key")
	if err := os.WriteFile(key, []byte(strings.Repeat("5e", 32)), 0o600); err != nil {
		tb.Fatal(err)
	}
	return func(cfg *server.Config) {
		cfg.Database, cfg.LeaseTTL, cfg.SealKeyFile = url, ttl, key
		cfg.Platform, cfg.RichRecordList = platform.RoomURL(), true
		cfg.FileLinkKeyFile, cfg.FilesBaseURL = filepath.Join(platform.Dir(), "file-link.key"), platform.URL()+"/files"
		cfg.EnterpriseKeyFile = filepath.Join(platform.Dir(), "enterprise.key")
		cfg.RoomListen, cfg.RoomHTTPListen = "", ""
	}
}

// Start starts the server again, on other ports.
func (s *Server) Start() {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	srv, err := server.New(ctx, s.cfg)
	if err != nil {
		s.tb.Fatalf("start server: %v", err)
	}
	l := &life{server: srv, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}, ended: make(chan error, 1)}
	run, end := context.WithCancel(context.Background())
	l.end = end
	go func() { l.ended <- srv.Run(run) }()
	s.life = l
	if s.cfg.PlatformOnly {
		return
	}
	l.conn, err = grpc.NewClient(srv.GRPCAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		s.tb.Fatalf("make client: %v", err)
	}
}

// Stop ends the server in order and waits for it. A stopped one stays so.
func (s *Server) Stop() {
	s.tb.Helper()
	if s.life == nil {
		return
	}
	l := s.life
	s.life = nil
	l.end()
	// The callers last: what ends their calls is the server.
	if err := <-l.ended; err != nil {
		s.tb.Errorf("run server: %v", err)
	}
	l.http.CloseIdleConnections()
	if l.conn == nil {
		return
	}
	if err := l.conn.Close(); err != nil {
		s.tb.Errorf("close client: %v", err)
	}
}

// Restart is Stop and Start.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Stop()
	s.Start()
}

// Dir is the data directory.
func (s *Server) Dir() string { return s.cfg.DataDir }

// Conn is a connection to the gRPC server.
func (s *Server) Conn() *grpc.ClientConn { return s.life.conn }

// API is the generated client.
func (s *Server) API() classrecv1.RecordingServiceClient {
	return classrecv1.NewRecordingServiceClient(s.life.conn)
}

// URL is where REST is served, without a slash at its end.
func (s *Server) URL() string { return "http://" + s.life.server.HTTPAddr().String() }

// HTTP is a client for URL.
func (s *Server) HTTP() *http.Client { return s.life.http }

// Process is the running server itself.
func (s *Server) Process() *server.Server { return s.life.server }

// RoomRoots trusts the embedded platform over https.
func (s *Server) RoomRoots(tb testing.TB) *x509.CertPool {
	tb.Helper()
	pem, err := os.ReadFile(s.life.server.RoomCertFile())
	if err != nil {
		tb.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		tb.Fatal("the room server's certificate is none")
	}
	return roots
}

// Context ends with our patience, or with the test.
func Context(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), Patience)
	tb.Cleanup(cancel)
	return ctx
}
