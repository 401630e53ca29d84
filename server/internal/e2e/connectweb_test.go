// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/apitest"
)

// connectPage runs docs/clients/typescript/web.ts and posts what it saw.
const connectPage = `<!doctype html><script type="module">
import { record } from "/web.js";
const [url, room, grpcWeb] = JSON.parse(decodeURIComponent(location.hash.slice(1)));
const saw = await record(url, room, undefined, grpcWeb).catch((error) => ["failed: " + error]);
await fetch("/saw", { method: "POST", body: JSON.stringify(saw) });
</script>`

// TestConnectWeb has a page of another origin, in Chromium, watch a room, record a class and list it, without a proxy
// between, by the Connect protocol and by gRPC-Web.
func TestConnectWeb(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	typescript := filepath.Join(repository, "docs", "clients", "typescript")
	run(t, typescript, filepath.Join("node_modules", ".bin", "esbuild"), "web.ts", "--bundle", "--format=esm", "--outfile="+filepath.Join(dir, "web.js"))
	saw := make(chan []string, 2)
	mux := http.NewServeMux()
	mux.Handle("GET /web.js", http.FileServer(http.Dir(dir)))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, connectPage) })
	mux.HandleFunc("POST /saw", func(_ http.ResponseWriter, r *http.Request) {
		var lines []string
		if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 1<<20)).Decode(&lines); err != nil {
			t.Error(err)
		}
		saw <- lines
	})
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	s := apitest.New(t, func(cfg *server.Config) { cfg.Doors.CORSOrigins = []string{web.URL} })
	ctx := testContext(t)
	for room, grpcWeb := range map[string]bool{"connect": false, "grpcweb": true} {
		args := must[[]byte](t)(json.Marshal([]any{s.URL(), room, grpcWeb}))
		startChromium(t, web.URL+"/#"+string(args))
		select {
		case lines := <-saw:
			name := regexp.QuoteMeta(strings.TrimPrefix(lines[0], "started "))
			want := regexp.MustCompile("^started rooms/" + room + `/recordings/\d+\nADD ` + name + "\nREMOVE " + name + "\nlisted " + name + "$")
			if got := strings.Join(lines, "\n"); !want.MatchString(got) {
				t.Errorf("%s saw\n%s", room, got)
			}
		case <-ctx.Done():
			t.Fatal("the page has not said what it saw")
		}
	}
}
