// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// anywhere is a configuration that takes any free ports, and keeps its data in
// dir.
func anywhere(dir string) server.Config {
	return server.Config{
		GRPCListen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0", RoomListen: "127.0.0.1:0", RoomHTTPListen: "127.0.0.1:0",
		DataDir: dir,
	}
}

// running is a server that runs, and its clients.
type running struct {
	*server.Server
	api  *client.Client
	http *http.Client
	base string
	dir  string // of its data
	stop func() // stops it and waits; the test's end does too
}

func newRunning(t *testing.T, cfg server.Config) *running {
	t.Helper()
	s, err := server.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	r := &running{Server: s, base: "http://" + s.HTTPAddr().String(), dir: cfg.DataDir, http: &http.Client{Transport: &http.Transport{}}}
	if r.api, err = client.Dial(s.GRPCAddr().String(), client.Config{}); err != nil {
		t.Fatal(err)
	}
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		r.http.CloseIdleConnections()
		r.api.Close()
	}
	t.Cleanup(r.stop)
	return r
}

// do is one REST call, decoded.
func (r *running) do(t *testing.T, method, path string, into any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(body, into); err != nil {
			t.Fatalf("%s %s: %v: %s", method, path, err, body)
		}
	}
	return resp.StatusCode
}

// A class from end to end, by gRPC and REST: what one side does, the other
// sees.
func TestServer(t *testing.T) {
	t.Parallel()
	r := newRunning(t, anywhere(t.TempDir()))
	if code := r.do(t, "GET", "/readyz", nil); code != http.StatusOK {
		t.Errorf("/readyz: %d", code)
	}
	started, err := r.api.StartRecording(t.Context(), &classrecv1.StartRecordingRequest{Room: "42"})
	if err != nil {
		t.Fatal(err)
	}
	name := started.GetRecording().GetName()
	var got struct {
		Recording struct{ Name, State string }
		Code      int
	}
	if code := r.do(t, "GET", "/v1/"+name, &got); code != http.StatusOK || got.Recording.Name != name || got.Recording.State != "RECORDING_STATE_RECORDING" {
		t.Errorf("get: %d %+v", code, got)
	}
	if code := r.do(t, "POST", "/v1/rooms/42/recordings", &got); code != http.StatusConflict || got.Code != int(codes.AlreadyExists) {
		t.Errorf("second start: %d %+v", code, got)
	}
	if code := r.do(t, "POST", "/v1/rooms/__42/recordings", &got); code != http.StatusBadRequest {
		t.Errorf("bad room: %d %+v", code, got)
	}
	if code := r.do(t, "POST", "/v1/rooms/42/recordings:stop", &got); code != http.StatusOK || got.Recording.Name != name {
		t.Errorf("stop: %d %+v", code, got)
	}
	if code := r.do(t, "GET", "/metrics", nil); code != http.StatusOK {
		t.Errorf("/metrics: %d", code)
	}
}

// grpcurl's list and describe need reflection, and load balancers health.
func TestServer_ReflectionAndHealth(t *testing.T) {
	t.Parallel()
	r := newRunning(t, anywhere(t.TempDir()))
	conn, err := grpc.NewClient(r.GRPCAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, service := range []string{"", "classrec.v1.RecordingService"} {
		resp, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{Service: service}, grpc.WaitForReady(true))
		if err != nil || resp.GetStatus() != healthv1.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v %v", service, resp.GetStatus(), err)
		}
	}
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, ask := range []*reflectionv1.ServerReflectionRequest{
		{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}},
		{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "classrec.v1.RecordingService"}},
	} {
		if err := stream.Send(ask); err != nil {
			t.Fatal(err)
		}
		answer, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if answer.GetErrorResponse() != nil || !strings.Contains(answer.String(), "classrec") {
			t.Errorf("%v: %v", ask, answer)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
	for { // until the server has ended it
		if _, err := stream.Recv(); err != nil {
			return
		}
	}
}

// Streams are told that the server stops, so that their callers come back.
func TestServer_StopEndsStreams(t *testing.T) {
	t.Parallel()
	r := newRunning(t, anywhere(t.TempDir()))
	stream, err := r.api.WatchClassBegin(t.Context(), &classrecv1.WatchClassBeginRequest{Room: "-"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil { // synced
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.base+"/v1/rooms/-/classBegin:watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := r.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() && lines.Text() != "event: synced" {
	}

	begin := time.Now()
	r.stop()
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("stopping took %v", took)
	}
	for {
		if _, err = stream.Recv(); err != nil {
			break
		}
	}
	if d := client.Details(err); d.Code != codes.Unavailable || d.Reason != "NOT_SERVING" || d.RetryAfter <= 0 {
		t.Errorf("the gRPC stream ended in %+v", d)
	}
	rest, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	var events []string
	for lines.Scan() {
		events = append(events, lines.Text())
	}
	if got := strings.Join(events, "\n") + string(rest); !strings.Contains(got, "event: error") || !strings.Contains(got, "NOT_SERVING") {
		t.Errorf("the SSE stream ended in %q", got)
	}
}

// Restarted, a server has the same keys and certificate, and what was recorded.
func TestServer_Restart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := []string{"enterprise.key", "seal.key", "room.key", "room.crt"}
	before := map[string]string{}
	var name string

	first := newRunning(t, anywhere(dir))
	started, err := first.api.StartRecording(t.Context(), &classrecv1.StartRecordingRequest{Room: "42"})
	if err != nil {
		t.Fatal(err)
	}
	name = started.GetRecording().GetName()
	for _, file := range files {
		path := filepath.Join(dir, file)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		before[file] = string(text)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 && file != "room.crt" {
			t.Errorf("%s has mode %v", file, mode)
		}
	}
	first.stop()

	second := newRunning(t, anywhere(dir))
	for _, file := range files {
		if text, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(text) != before[file] {
			t.Errorf("%s is another one: %v", file, err)
		}
	}
	got, err := second.api.GetRecording(t.Context(), &classrecv1.GetRecordingRequest{Name: name})
	if err != nil || got.GetRecording().GetName() != name {
		t.Errorf("%v %v", got, err)
	}
}

// The embedded platform is there for others, over https with its certificate
// and over http.
func TestServer_RoomServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRunning(t, anywhere(dir))
	text, err := os.ReadFile(r.RoomCertFile())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		t.Fatal("no certificate in the file")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	_, port, err := net.SplitHostPort(r.RoomAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, base := range []string{"https://127.0.0.1:" + port, "https://localhost:" + port, "http://" + r.RoomHTTPAddr().String()} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/where.html", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: transport}).Do(req)
		if err != nil {
			t.Errorf("%s: %v", base, err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", base, resp.Status)
		}
	}
}

// What cannot be is refused at once, with the flag at fault, and nothing is
// left behind.
func TestNew_Refused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	empty, key := write("empty", " \n"), write("key", "k\n")
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()

	for _, tc := range []struct {
		name, want string
		set        func(*server.Config)
	}{
		{"gRPC address taken", "--grpc-listen: ", func(c *server.Config) { c.GRPCListen = taken.Addr().String() }},
		{"HTTP address taken", "--http-listen: ", func(c *server.Config) { c.HTTPListen = taken.Addr().String() }},
		{"room address wrong", "--room-listen: ", func(c *server.Config) { c.RoomListen = "nowhere" }},
		{"room HTTP address taken", "--room-http-listen: ", func(c *server.Config) { c.RoomHTTPListen = taken.Addr().String() }},
		{"media address wrong", "--room-udp-listen: ", func(c *server.Config) { c.RoomUDPListen = "nowhere" }},
		{"data directory is a file", "--data-dir: ", func(c *server.Config) { c.DataDir = empty }},
		{"platform is no URL", "--platform: ", func(c *server.Config) { c.Platform, c.EnterpriseKeyFile = "talk", key }},
		{"platform without key", "--enterprise-key-file: ", func(c *server.Config) { c.Platform = "https://127.0.0.1:1" }},
		{"key file missing", "--enterprise-key-file: ", func(c *server.Config) { c.EnterpriseKeyFile = filepath.Join(dir, "none") }},
		{"key file empty", "--enterprise-key-file: ", func(c *server.Config) { c.EnterpriseKeyFile = empty }},
		{"CA file without certificate", "--platform-ca-file: ", func(c *server.Config) { c.PlatformCAFile = key }},
		{"record list of the embedded platform", "--record-list-url: ", func(c *server.Config) { c.RecordListURL = "https://127.0.0.1:1" }},
		{"record list with a password", "--record-list-url: ", func(c *server.Config) {
			c.Platform, c.EnterpriseKeyFile, c.RecordListURL = "https://127.0.0.1:1", key, "https://u:hunter2@127.0.0.1:1"
		}},
		{"a database with a password that is no URL", "--database: ", func(c *server.Config) {
			c.Platform, c.EnterpriseKeyFile, c.Database = "https://127.0.0.1:1", key, "postgres://u:hunter2%zz@127.0.0.1:1/db"
		}},
		{"certificate without key", "--room-cert-file", func(c *server.Config) { c.RoomCertFile = key }},
		{"certificate is none", "--room-cert-file", func(c *server.Config) { c.RoomCertFile, c.RoomKeyFile = key, key }},
		{"strict rooms without a file", "--strict-rooms: ", func(c *server.Config) { c.StrictRooms = true }},
		{"rooms file missing", "--rooms-file: ", func(c *server.Config) { c.RoomsFile = filepath.Join(dir, "none") }},
		{"public address is none", "--room-public-ip: ", func(c *server.Config) { c.RoomPublicIPs = []string{"here"} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := anywhere(t.TempDir())
			tc.set(&cfg)
			s, err := server.New(t.Context(), cfg)
			if err == nil {
				s.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter2") {
				t.Error(err)
			}
		})
	}
}

func TestServer_CloseWithoutRun(t *testing.T) {
	t.Parallel()
	s, err := server.New(t.Context(), anywhere(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	if banner := s.Banner(); !strings.Contains(banner, s.GRPCAddr().String()) || !strings.Contains(banner, "curl -X POST http://"+s.HTTPAddr().String()) {
		t.Error(banner)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("again: %v", err)
	}
}
