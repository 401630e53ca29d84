// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package server_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/storetest"
)

// Without its database, a replica is not ready, and says so also in the
// metrics; with it again, it is ready.
func TestReady_DatabaseAway(t *testing.T) {
	t.Parallel()
	link := storetest.NewPostgres(t).Link(t)
	s := apitest.New(t, apitest.Replica(t, apitest.PlatformOnly(t), link.URL(), 2*time.Second), func(cfg *server.Config) {
		cfg.AdminListen = "127.0.0.1:0"
	})
	r := &running{Server: s.Process(), http: s.HTTP(), base: s.URL()}
	r.awaitReadiness(t, true)
	if got := scrape(t, r.base)[`classrec_store_replicas`]; got != 1 {
		t.Errorf("%v replicas are alive", got)
	}
	link.Cut()
	if body := r.awaitReadiness(t, false); !strings.Contains(body, "not ready: the database cannot be") {
		t.Errorf("/readyz says %q", body)
	}
	if got := scrape(t, r.base)[`classrec_store_up`]; got != 0 {
		t.Errorf("the database is up: %v", got)
	}
	if code, _, _ := r.get(t, "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d", code)
	}
	link.Heal()
	r.awaitReadiness(t, true)
}

// A server whose database is not there yet is alive, says what it waits for, and
// serves when it is there.
func TestReady_DatabaseAtStart(t *testing.T) {
	t.Parallel()
	link := storetest.NewPostgres(t).Link(t)
	link.Cut()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	started := make(chan *apitest.Server, 1)
	platform := apitest.PlatformOnly(t)
	go func() {
		started <- apitest.New(t, apitest.Replica(t, platform, link.URL(), 2*time.Second), func(cfg *server.Config) { cfg.HTTPListen = address })
	}()
	get := func(path string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, ""
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	roomservertest.Poll(t, "/readyz to say what is waited for", func() bool {
		code, body := get("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "the database does not answer")
	})
	if code, body := get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d %s", code, body)
	}
	link.Heal()
	<-started
	roomservertest.Poll(t, "readiness", func() bool {
		code, _ := get("/readyz")
		return code == http.StatusOK
	})
}
