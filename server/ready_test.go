// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// get is the answer to a GET.
func (r *running) get(t *testing.T, path string) (code int, body string, header http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text), resp.Header
}

// awaitReadiness waits until /readyz, gRPC health of every service and the metric
// say the same, and returns the last body of /readyz.
func (r *running) awaitReadiness(t *testing.T, ready bool) (body string) {
	t.Helper()
	code, status, value := http.StatusServiceUnavailable, healthv1.HealthCheckResponse_NOT_SERVING, 0.0
	if ready {
		code, status, value = http.StatusOK, healthv1.HealthCheckResponse_SERVING, 1
	}
	awaited := func() bool {
		var is int
		if is, body, _ = r.get(t, "/readyz"); is != code {
			return false
		}
		for address, services := range map[string][]string{
			r.GRPCAddr().String():  {"", classrecv1.RecordingService_ServiceDesc.ServiceName},
			r.AdminAddr().String(): {"", adminv1.WebhookService_ServiceDesc.ServiceName},
		} {
			conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			for _, service := range services {
				resp, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{Service: service}, grpc.WaitForReady(true))
				if err != nil {
					t.Errorf("health of %q at %s: %v", service, address, err)
				}
				if resp.GetStatus() != status {
					_ = conn.Close()
					return false
				}
			}
			_ = conn.Close()
		}
		return scrape(t, r.base)[`classrec_ready`] == value
	}
	for end := time.Now().Add(30 * time.Second); !awaited(); {
		if time.Now().After(end) {
			t.Fatalf("ready is not %v: %s", ready, body)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
	return body
}

// A data directory that cannot be written makes the server not ready, everywhere
// and with the reason, and ready again when it can; it stays alive.
func TestReady_DataDirectory(t *testing.T) {
	t.Parallel()
	cfg := anywhere(t.TempDir())
	cfg.AdminListen = "127.0.0.1:0"
	r := newRunning(t, cfg)
	r.awaitReadiness(t, true)
	probe := filepath.Join(cfg.DataDir, "probe")
	if err := os.Remove(probe); err != nil {
		t.Fatalf("nothing was written to see whether that can be: %v", err)
	}
	if err := os.Mkdir(probe, 0o700); err != nil { // not even root writes that
		t.Fatal(err)
	}
	body := r.awaitReadiness(t, false)
	if !strings.Contains(body, "not ready: the data directory cannot be written") || strings.Contains(body, cfg.DataDir) {
		t.Errorf("/readyz says %q", body)
	}
	if code, body, header := r.get(t, "/healthz"); code != http.StatusOK || body != "ok\n" || header.Get("Classrec-Version") == "" {
		t.Errorf("/healthz: %d %q %v", code, body, header)
	}
	if err := os.Remove(probe); err != nil {
		t.Fatal(err)
	}
	r.awaitReadiness(t, true)
}
