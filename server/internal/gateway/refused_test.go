// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/auth"
	"github.com/classrec/classrec/server/internal/gateway"
)

// lines is a log.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// take returns what has been written since.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.buf.Reset()
	return l.buf.String()
}

// newLogging is a gateway with a log, an operator who is the only one asked, and a teacher's token.
func newLogging(t *testing.T, s *service) (http.Handler, *lines, string) {
	t.Helper()
	tokens := auth.TokenFile{Path: filepath.Join(t.TempDir(), "tokens.json")}
	_, teacher, err := tokens.Create(auth.Token{Name: "teacher", Scopes: []auth.Scope{auth.ScopeList}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a, err := auth.New(auth.Config{TokensFile: tokens.Path})
	if err != nil {
		t.Fatal(err)
	}
	l := new(lines)
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	return newHandler(t, s, gateway.Config{
		Logger: slog.New(slog.NewJSONHandler(l, nil)), Hosts: []string{"school.example"}, Auth: a, MaxBodyBytes: 100,
		Metrics: page, DebugRooms: page, Files: page, Room: page,
	}), l, teacher
}

func ask(t *testing.T, h http.Handler, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	r.Host = "127.0.0.1"
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// What is refused before it is a call has one line, which says what it was about and why, and has no text of the request
// in it that could be a secret.
func TestRefusals(t *testing.T) {
	t.Parallel()
	h, l, teacher := newLogging(t, &service{})
	const room, secret = "/v1/rooms/42/recordings", "s3cret"
	long := strings.Repeat("x", 5000)
	for name, tc := range map[string]struct {
		method, target, body string
		headers              []string
		want                 string // the line, without its times
	}{
		"no JSON":             {"POST", room, `{"nickname": ` + secret, nil, `method=POST path=/v1/rooms/{room}/recordings room=42 reason=INVALID_REQUEST code=InvalidArgument`},
		"no such field":       {"POST", room, `{"` + secret + `":1}`, nil, `method=POST path=/v1/rooms/{room}/recordings room=42 reason=INVALID_FIELD code=InvalidArgument`},
		"a value of no use":   {"POST", room, `{"roomPassword":{"` + secret + `":1}}`, nil, `method=POST path=/v1/rooms/{room}/recordings room=42 reason=INVALID_FIELD code=InvalidArgument`},
		"a body too large":    {"POST", room, long, nil, `method=POST path=/v1/rooms/{room}/recordings room=42 reason=BODY_TOO_LARGE code=ResourceExhausted`},
		"a secret in a URL":   {"GET", "/v1/rooms/42/classBegin:watch?roomPassword=" + secret, "", nil, `method=GET path=/v1/rooms/{room}/classBegin:watch room=42 reason=INVALID_FIELD code=InvalidArgument`},
		"a query of no use":   {"GET", room + "?" + secret + "=" + secret, "", nil, `method=GET path=/v1/rooms/{room}/recordings room=42 reason=INVALID_FIELD code=InvalidArgument`},
		"no query":            {"GET", room + "?%zz" + secret, "", nil, `method=GET path=/v1/rooms/{room}/recordings room=42 reason=INVALID_REQUEST code=InvalidArgument`},
		"a watch of no use":   {"POST", "/v1/rooms/42/classBegin:watch", secret, nil, `method=POST path=/v1/rooms/{room}/classBegin:watch room=42 reason=INVALID_REQUEST code=InvalidArgument`},
		"resumed from nought": {"GET", "/v1/rooms/42/classBegin:watch", "", []string{"Last-Event-ID", secret}, `method=GET path=/v1/rooms/{room}/classBegin:watch room=42 reason=INVALID_FIELD code=InvalidArgument`},
		"a time of no use":    {"GET", "/v1/rooms/42/recordings", "", []string{"Grpc-Timeout", secret}, `method=GET path=/v1/rooms/{room}/recordings room=42 reason=INVALID_REQUEST code=InvalidArgument`},
		"a stop":              {"POST", "/v1/rooms/42/recordings/7:stop", "[", nil, `method=POST path=/v1/{name=rooms/*/recordings/*}:stop room=42 recording=rooms/42/recordings/7 reason=INVALID_REQUEST code=InvalidArgument`},
		"a slash":             {"GET", "/v1/rooms/4%2F2/recordings", "", nil, `method=GET path=/v1/… reason=INVALID_FIELD code=InvalidArgument`},
		"no such route":       {"GET", "/v1/" + secret + "?" + secret, "", nil, `method=GET path=/v1/… reason=ROUTE_NOT_FOUND code=NotFound`},
		"no such page":        {"GET", "/callbacks/" + secret + "?" + secret, "", nil, `method=GET path=/callbacks/… reason=ROUTE_NOT_FOUND code=NotFound`},
		"no such method":      {"DELETE", room, "", nil, `method=DELETE path=/v1/rooms/{room}/recordings room=42 reason=METHOD_NOT_ALLOWED code=Unimplemented`},
		"nor for a page":      {"POST", "/healthz", "", nil, `method=POST path=/healthz reason=METHOD_NOT_ALLOWED code=Unimplemented`},
		"another's page":      {"GET", room, "", []string{"Origin", "https://evil.example"}, `method=GET path=/v1/rooms/{room}/recordings room=42 origin=https://evil.example reason=CROSS_ORIGIN code=PermissionDenied`},
		"another's, at rooms": {"GET", "/whip/42/x", "", []string{"Origin", "https://evil.example"}, `method=GET path=/whip/ origin=https://evil.example reason=CROSS_ORIGIN code=PermissionDenied`},
		"another's name":      {"GET", "/healthz", "", []string{"Host", "evil.example"}, `method=GET path=/healthz host=evil.example reason=UNKNOWN_HOST code=PermissionDenied`},
		"no credential":       {"GET", "/metrics", "", nil, `method=GET path=/metrics reason=CREDENTIALS_MISSING code=Unauthenticated`},
		"a wrong one":         {"GET", "/debug/rooms", "", []string{"Authorization", "Bearer " + secret}, `method=GET path=/debug/rooms reason=CREDENTIALS_INVALID code=Unauthenticated`},
		"not for him":         {"GET", "/metrics", "", []string{"Authorization", "Bearer " + teacher}, `method=GET path=/metrics tenant=default principal=teacher reason=SCOPE_MISSING code=PermissionDenied`},
		"of a trace":          {"GET", "/v1/x", "", []string{"Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, `method=GET path=/v1/… trace_id=0af7651916cd43dd8448eb211c80319c reason=ROUTE_NOT_FOUND code=NotFound`},
		"long texts": {
			long, "/v1/rooms/" + long + "/recordings", "",
			[]string{"Origin", "https://" + long},
			"method=" + long[:256] + "… path=/v1/rooms/{room}/recordings room=" + long[:256] + "… origin=https://" + long[:248] + "… reason=CROSS_ORIGIN code=PermissionDenied",
		},
		"a line of his own": {
			"GET", "/v1/rooms/a%0A%22level%22:%22ERROR/recordings", "",
			[]string{"Origin", "x"},
			"method=GET path=/v1/rooms/{room}/recordings room=a\n\"level\":\"ERROR origin=x reason=CROSS_ORIGIN code=PermissionDenied",
		},
	} {
		w := ask(t, h, tc.method, tc.target, tc.body, tc.headers...)
		text := l.take()
		if w.Code < 400 || strings.Count(text, "\n") != 1 || strings.Contains(text, secret) || strings.Contains(text, teacher) {
			t.Errorf("%s: %d, and %q", name, w.Code, text)
			continue
		}
		if got := inOrder(t, text); got != "INFO request refused "+tc.want {
			t.Errorf("%s:\n%s, not\n%s", name, got, tc.want)
		}
	}
}

// inOrder is a line in words, as it is but for its times.
func inOrder(t *testing.T, line string) string {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(line))
	var words []string
	took := false
	for d.More() {
		key, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		name, ok := key.(string)
		if !ok {
			continue // the bracket
		}
		value, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		text, _ := value.(string)
		switch name {
		case "time":
		case "took":
			took = true
		case "level", "msg":
			words = append(words, text)
		default:
			words = append(words, name+"="+text)
		}
	}
	if !took {
		t.Errorf("it does not say how long it took: %s", line)
	}
	return strings.Join(words, " ")
}

// What becomes a call has its line from the service, however it ends; pages, files, probes and metrics have none.
func TestRefusals_NotCalls(t *testing.T) {
	t.Parallel()
	fails := status.Error(codes.InvalidArgument, "no") // as of gRPC itself: without details
	s := &service{
		start: func(context.Context, *classrecv1.StartRecordingRequest) (*classrecv1.StartRecordingResponse, error) {
			return nil, fails
		},
		list: func(context.Context, *classrecv1.ListRecordingsRequest) (*classrecv1.ListRecordingsResponse, error) {
			return &classrecv1.ListRecordingsResponse{}, nil
		},
		watch: func(*classrecv1.WatchClassBeginRequest, grpc.ServerStreamingServer[classrecv1.WatchClassBeginResponse]) error {
			return fails
		},
	}
	h, l, _ := newLogging(t, s)
	for path, want := range map[string]int{
		"/": 200, "/docs": 200, "/console/nothing.js": 404, "/openapi.json": 200, "/healthz": 200, "/readyz": 200,
		"/files/42/1/x": 200, "/ClientAPI/checkroom": 200, "/v1/recordings": 200, "/v1/rooms/42/recordings": 200, "/v1/rooms/42/classBegin:watch": 400,
		"//nothing": 307,
	} {
		if w := ask(t, h, http.MethodGet, path, ""); w.Code != want {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if w := ask(t, h, http.MethodPost, "/v1/rooms/42/recordings", "{}"); w.Code != http.StatusBadRequest {
		t.Errorf("%d", w.Code)
	}
	if text := l.take(); text != "" {
		t.Errorf("the log has\n%s", text)
	}
}
