// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/gateway"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service answers calls with what a test gives it, over real gRPC.
type service struct {
	classrecv1.UnimplementedRecordingServiceServer
	start func(context.Context, *classrecv1.StartRecordingRequest) (*classrecv1.StartRecordingResponse, error)
	stop  func(context.Context, *classrecv1.StopRecordingRequest) (*classrecv1.StopRecordingResponse, error)
	get   func(context.Context, *classrecv1.GetRecordingRequest) (*classrecv1.GetRecordingResponse, error)
	list  func(context.Context, *classrecv1.ListRecordingsRequest) (*classrecv1.ListRecordingsResponse, error)
	watch func(*classrecv1.WatchClassBeginRequest, grpc.ServerStreamingServer[classrecv1.WatchClassBeginResponse]) error
}

func (s *service) StartRecording(ctx context.Context, r *classrecv1.StartRecordingRequest) (*classrecv1.StartRecordingResponse, error) {
	return s.start(ctx, r)
}

func (s *service) StopRecording(ctx context.Context, r *classrecv1.StopRecordingRequest) (*classrecv1.StopRecordingResponse, error) {
	return s.stop(ctx, r)
}

func (s *service) GetRecording(ctx context.Context, r *classrecv1.GetRecordingRequest) (*classrecv1.GetRecordingResponse, error) {
	return s.get(ctx, r)
}

func (s *service) ListRecordings(ctx context.Context, r *classrecv1.ListRecordingsRequest) (*classrecv1.ListRecordingsResponse, error) {
	return s.list(ctx, r)
}

func (s *service) WatchClassBegin(r *classrecv1.WatchClassBeginRequest, stream grpc.ServerStreamingServer[classrecv1.WatchClassBeginResponse]) error {
	return s.watch(r, stream)
}

// newGateway serves s over HTTP, and returns the base of its URLs.
func newGateway(t *testing.T, s *service, cfg gateway.Config) string {
	t.Helper()
	front := httptest.NewServer(newHandler(t, s, cfg))
	t.Cleanup(front.Close)
	return front.URL
}

// newHandler is what newGateway serves.
func newHandler(t *testing.T, s *service, cfg gateway.Config) http.Handler {
	t.Helper()
	listener := bufconn.Listen(64 << 10)
	server := grpc.NewServer()
	classrecv1.RegisterRecordingServiceServer(server, s)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})

	conn, err := grpc.NewClient("passthrough:///in-process",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })

	handler, err := gateway.New(t.Context(), conn, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

// answer is what came back over HTTP.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// send does one request. Headers are name, value, name, value.
func send(t *testing.T, method, url, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return exchange(t, &http.Transport{DisableKeepAlives: true}, req)
}

// exchange sends one request, and follows no redirect.
func exchange(t *testing.T, over http.RoundTripper, req *http.Request) answer {
	t.Helper()
	resp, err := over.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, data}
}

// failure is an error's body: google.rpc.Status as JSON.
type failure struct {
	Code    int
	Message string
	Details []struct {
		Type            string `json:"@type"`
		Reason          string
		Domain          string
		Metadata        map[string]string
		RetryDelay      string
		FieldViolations []struct{ Field, Description, Reason string }
	}
}

func (a answer) failure(t *testing.T) failure {
	t.Helper()
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type of an error is %q", got)
	}
	var f failure
	if err := json.Unmarshal(a.body, &f); err != nil {
		t.Fatalf("an error's body is not JSON: %v: %s", err, a.body)
	}
	return f
}

func (f failure) reason() string {
	for _, d := range f.Details {
		if d.Type == "type.googleapis.com/google.rpc.ErrorInfo" && d.Domain == "classrec.dev" {
			return d.Reason
		}
	}
	return ""
}

func (f failure) field() string {
	for _, d := range f.Details {
		for _, v := range d.FieldViolations {
			return v.Field
		}
	}
	return ""
}

func TestPages(t *testing.T) {
	t.Parallel()
	serve := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, name+" "+r.URL.Path) })
	}
	base := newGateway(t, &service{}, gateway.Config{Files: serve("files"), Metrics: serve("metrics")})

	for _, tc := range []struct {
		path, contentType, contains string
		status                      int
	}{
		{"/", "text/html; charset=utf-8", `src="console/main.js"`, 200},
		{"/docs", "text/html; charset=utf-8", `src="console/reference.js"`, 200},
		{"/console/settings.json", "application/json", `"classroom":false`, 200},
		{"/openapi.json", "application/json", `"/v1/rooms/{room}/recordings"`, 200},
		{"/healthz", "text/plain; charset=utf-8", "ok", 200},
		{"/readyz", "text/plain; charset=utf-8", "ok", 200},
		{"/metrics", "", "metrics /metrics", 200},
		{"/files/a/b.webm", "", "files /files/a/b.webm", 200},
		{"/nothing", "", "", 404},
	} {
		a := send(t, "GET", base+tc.path, "")
		if a.status != tc.status || !bytes.Contains(a.body, []byte(tc.contains)) {
			t.Errorf("GET %s: %d %.200s", tc.path, a.status, a.body)
		}
		if tc.contentType != "" && a.header.Get("Content-Type") != tc.contentType {
			t.Errorf("GET %s: Content-Type %q", tc.path, a.header.Get("Content-Type"))
		}
		if a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("GET %s: no nosniff", tc.path)
		}
	}
	if a := send(t, "GET", base+"/openapi.json", ""); !json.Valid(a.body) {
		t.Error("/openapi.json is not JSON")
	}
}

func TestReadyz_NotReady(t *testing.T) {
	t.Parallel()
	base := newGateway(t, &service{}, gateway.Config{
		Ready: func(context.Context) error { return io.ErrUnexpectedEOF },
	})
	if a := send(t, "GET", base+"/readyz", ""); a.status != 503 || !strings.Contains(string(a.body), "unexpected EOF") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A process that is stuck is not alive, and says why.
func TestHealthz_Stuck(t *testing.T) {
	t.Parallel()
	base := newGateway(t, &service{}, gateway.Config{
		Alive: func() error { return io.ErrNoProgress }, Version: "v1.2.3",
	})
	if a := send(t, "GET", base+"/healthz", ""); a.status != 503 || string(a.body) != "stuck: multiple Read calls return no data or error\n" || a.header.Get("Classrec-Version") != "v1.2.3" {
		t.Errorf("%d %s %v", a.status, a.body, a.header)
	}
}
