// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// openPage opens a page of testdata/pages in a Chromium of its own, which is ended with the test.
func openPage(t *testing.T, name, page string) *remote {
	t.Helper()
	return openPageIn(t, startChromium, name, page, nil)
}

// openPageIn is openPage in any browser, which start starts. whip, where it is not nil, is served beside the page.
func openPageIn(t *testing.T, start func(*testing.T, string), name, page string, whip http.Handler) *remote {
	t.Helper()
	calls := make(chan []byte, 64)
	r := newRemote(name, func(line []byte) error {
		calls <- line
		return nil
	})
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServer(http.Dir(filepath.Join("testdata", "pages"))))
	for path, file := range map[string]string{
		"/socket.io.js":  "node_modules/client2/dist/socket.io.js",
		"/roomclient.js": "roomclient.js",
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFile(w, r, filepath.Join("testdata", "node", filepath.FromSlash(file)))
		})
	}
	mux.HandleFunc("GET /next", func(w http.ResponseWriter, r *http.Request) {
		select {
		case line := <-calls:
			_, _ = w.Write(line)
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("POST /said", func(w http.ResponseWriter, req *http.Request) {
		line, err := io.ReadAll(http.MaxBytesReader(w, req.Body, 1<<20))
		if err == nil {
			err = r.hear(line)
		}
		if err != nil {
			t.Error(err)
		}
	})
	if whip != nil {
		for _, method := range []string{http.MethodPost, http.MethodPatch, http.MethodDelete} {
			mux.Handle(method+" /whip/", whip)
		}
	}
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	t.Cleanup(func() { // before the browser ends
		if err := r.trouble(); err != nil {
			t.Error(err)
		}
	})
	start(t, web.URL+"/"+page)
	r.await(t, "ready", nil)
	return r
}

// startChromium opens a URL in a new headless Chromium, which is ended with the test.
func startChromium(t *testing.T, url string) {
	t.Helper()
	// Not t.TempDir, which fails the test when a child of the browser writes while it is being removed.
	profile, err := os.MkdirTemp("", "classrec-chromium-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	log := must[*os.File](t)(os.Create(filepath.Join(t.TempDir(), "chromium.log")))
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--allow-loopback-in-peer-connection", "--ignore-certificate-errors",
		"--autoplay-policy=no-user-gesture-required", "--user-data-dir="+profile, url)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it ends its own children
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // ended by us: always an error
		if t.Failed() {
			_, _ = log.Seek(0, io.SeekStart)
			for lines := bufio.NewScanner(io.LimitReader(log, 64<<10)); lines.Scan(); {
				if !strings.Contains(lines.Text(), "/dbus/") && !strings.Contains(lines.Text(), ":dbus/") { // of which there is none
					t.Logf("chromium: %s", lines.Text())
				}
			}
		}
		_ = log.Close()
		if err := os.RemoveAll(profile); err != nil {
			t.Logf("profile left behind: %v", err)
		}
	})
}
