// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/auth"
	"github.com/classrec/classrec/server/internal/gateway"
)

// TestOperators has one rule for all that is the operator's: who has the scope
// admin; where nobody is asked who he is, this machine.
func TestOperators(t *testing.T) {
	t.Parallel()
	const here, elsewhere = "127.0.0.1:1", "192.0.2.1:1"
	tokens := auth.TokenFile{Path: filepath.Join(t.TempDir(), "tokens.json")}
	token := func(name string, scopes ...auth.Scope) string {
		_, text, err := tokens.Create(auth.Token{Name: name, Scopes: scopes}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	operator, teacher := token("operator", auth.ScopeAdmin), token("teacher", auth.ScopeStart, auth.ScopeList)
	newAuth := func(cfg auth.Config) *auth.Authenticator {
		a, err := auth.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	off, on := newAuth(auth.Config{TokensFile: filepath.Join(t.TempDir(), "none.json")}), newAuth(auth.Config{TokensFile: tokens.Path})
	serve := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "secret") })
	for _, tc := range []struct {
		name        string
		auth        *auth.Authenticator
		open        bool
		from, token string
		want        int
		reason      string
	}{
		{"no authenticator", nil, false, here, "", 200, ""},
		{"no authenticator", nil, false, elsewhere, "", 403, "NOT_THIS_MACHINE"},
		{"nobody is asked", off, false, here, "", 200, ""},
		{"nobody is asked", off, false, "[::1]:1", "", 200, ""},
		{"nobody is asked", off, false, "[::ffff:127.0.0.1]:1", "", 200, ""},
		{"nobody is asked", off, false, elsewhere, "", 403, "NOT_THIS_MACHINE"},
		{"nobody is asked", off, false, "", "", 403, "NOT_THIS_MACHINE"},
		{"nobody is asked", off, true, elsewhere, "", 200, ""},
		{"asked", on, false, here, "", 401, "CREDENTIALS_MISSING"},
		{"asked", on, true, elsewhere, "", 401, "CREDENTIALS_MISSING"},
		{"asked", on, false, here, "crt_nonsense", 401, "CREDENTIALS_INVALID"},
		{"asked", on, false, here, teacher, 403, "SCOPE_MISSING"},
		{"asked", on, false, elsewhere, operator, 200, ""},
	} {
		handler, err := gateway.New(t.Context(), nil, gateway.Config{Auth: tc.auth, Open: tc.open, Metrics: serve, DebugRooms: serve})
		if err != nil {
			t.Fatal(err)
		}
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			for _, path := range []string{"/metrics", "/debug/rooms"} {
				req := httptest.NewRequestWithContext(t.Context(), method, path, nil)
				if req.RemoteAddr = tc.from; tc.token != "" {
					req.Header.Set("Authorization", "Bearer "+tc.token)
				}
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, req)
				body := w.Body.String()
				if w.Code != tc.want || !strings.Contains(body, tc.reason) || strings.Contains(body, "secret") != (tc.want == 200) {
					t.Errorf("%s (open: %v), %s %s from %q: %d %s, want %d %s", tc.name, tc.open, method, path, tc.from, w.Code, body, tc.want, tc.reason)
				}
				if w.Header().Get("Cache-Control") != "no-store" || (w.Header().Get("WWW-Authenticate") != "") != (tc.want == 401) {
					t.Errorf("%s, %s: %v", tc.name, path, w.Header())
				}
			}
		}
	}
}
