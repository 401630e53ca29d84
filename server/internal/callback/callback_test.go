// SPDX-License-Identifier: Apache-2.0

package callback_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/classrec/classrec/server/internal/callback"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "marked-secret-91c2"

// newServer serves callbacks beside nothing else.
func newServer(t *testing.T, notify func(talkcloud.Callback), log io.Writer) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(callback.New(callback.Config{
		Secret: secret, Notify: notify, BodyTimeout: 200 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, http.NotFoundHandler()))
	t.Cleanup(s.Close)
	return s
}

func do(t *testing.T, s *httptest.Server, method, path, body string) (status int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

func TestHandler(t *testing.T) {
	t.Parallel()
	const path, fine = callback.Prefix + secret, "serial=42&classstate=1"
	for name, tc := range map[string]struct {
		method, path, body string
		status, calls      int
	}{
		"a callback":         {http.MethodPost, path, fine, 200, 1},
		"another kind":       {http.MethodPost, path, "thirdroomid=1&status=1", 200, 1},
		"two":                {http.MethodPost, path, `[{"serial":1},{"serial":2}]`, 200, 2},
		"no callback":        {http.MethodPost, path, "x=y", 400, 0},
		"no body":            {http.MethodPost, path, "", 400, 0},
		"half a JSON":        {http.MethodPost, path, `{"serial":`, 400, 0},
		"too large":          {http.MethodPost, path, fine + "&x=" + strings.Repeat("x", 64<<10), 413, 0},
		"another method":     {http.MethodGet, path, "", 405, 0},
		"no secret":          {http.MethodPost, callback.Prefix, fine, 404, 0},
		"another secret":     {http.MethodPost, callback.Prefix + "marked-secret-91c3", fine, 404, 0},
		"half of the secret": {http.MethodPost, path[:len(path)-1], fine, 404, 0},
		"more than it":       {http.MethodPost, path + "/", fine, 404, 0},
		"in capitals":        {http.MethodPost, callback.Prefix + strings.ToUpper(secret), fine, 404, 0},
		"another path":       {http.MethodPost, "/x/" + secret, fine, 404, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			var log bytes.Buffer
			s := newServer(t, func(talkcloud.Callback) { calls++ }, &log)
			status, text := do(t, s, tc.method, tc.path, tc.body)
			s.Close() // it has answered, and the log is ours
			if status != tc.status || calls != tc.calls {
				t.Errorf("answered %d with %d calls: %s", status, calls, text)
			}
			if strings.Contains(log.String(), "marked") || strings.Contains(text, "marked") {
				t.Errorf("the secret is shown: %s%s", text, &log)
			}
		})
	}
}

// Without the secret, nothing tells that there is something.
func TestHandler_LooksLikeNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(talkcloud.Callback) {}, io.Discard)
	status, text := do(t, s, http.MethodPost, callback.Prefix+"x", "serial=42")
	wantStatus, want := do(t, s, http.MethodPost, "/nothing", "serial=42")
	if status != wantStatus || text != want {
		t.Errorf("answered %d %q, elsewhere %d %q", status, text, wantStatus, want)
	}
}

// A body that does not come is not waited for.
func TestHandler_SlowBody(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(talkcloud.Callback) { t.Error("notified") }, io.Discard)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	body, write := io.Pipe()
	defer func() { _ = write.Close() }()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+callback.Prefix+secret, body)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(write, "serial=42&class") }()
	resp, err := s.Client().Do(r)
	if err != nil {
		if ctx.Err() != nil {
			t.Fatal("it waits for ever")
		}
		return // cut off is as well
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("answered %d", resp.StatusCode)
	}
}
