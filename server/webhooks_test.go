// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/classrec/classrec/client"
	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
)

const (
	hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	hookWait   = 60 * time.Second
)

// hooks is a receiver of webhooks over https that verifies what it gets.
type hooks struct {
	*httptest.Server
	status atomic.Int32 // that it answers with

	mu    sync.Mutex
	taken map[string][]string // by room: the types of events, each once, in order
	ids   []string
	urls  map[string][]string // by room: the files of recording.available
}

func newHooks(t *testing.T) *hooks {
	t.Helper()
	h := &hooks{taken: map[string][]string{}, urls: map[string][]string{}}
	h.status.Store(http.StatusOK)
	verifier, err := standardwebhooks.NewWebhook(hookSecret)
	if err != nil {
		t.Fatal(err)
	}
	h.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if err := verifier.Verify(body, r.Header); err != nil {
			t.Errorf("signature: %v", err)
		}
		ev := new(classrecv1.WebhookEvent)
		if err := protojson.Unmarshal(body, ev); err != nil {
			t.Errorf("body: %v", err)
		}
		status := int(h.status.Load())
		w.WriteHeader(status)
		h.mu.Lock()
		defer h.mu.Unlock()
		if id := r.Header.Get("webhook-id"); status == http.StatusOK && !slices.Contains(h.ids, id) {
			h.ids = append(h.ids, id)
			room := ev.GetData().GetRecording().GetRoom()
			h.taken[room] = append(h.taken[room], ev.GetType())
			h.urls[room] = append(h.urls[room], ev.GetData().GetRecording().GetUrls()...)
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hooks) room(room string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.taken[room])
}

// files are the URLs that recording.available has told of a room.
func (h *hooks) files(room string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.urls[room])
}

// config is a file of webhooks with this receiver in it, by the name "hooks".
func (h *hooks) config(t *testing.T, more string) string {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw}
	if err := os.WriteFile(ca, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return hooksFile(t, fmt.Sprintf(`
endpoints:
  - name: hooks
    url: %s/path?token=mark
    secrets: [%s]
    allow_addresses: [127.0.0.1]
    ca_file: %s
%s`, h.URL, hookSecret, ca, more))
}

func hooksFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "webhooks.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// await asks until the answer is yes.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(hookWait); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, hookWait)
		}
	}
}

// adminOf connects to a server's admin API.
func adminOf(t *testing.T, r *running) adminv1.WebhookServiceClient {
	t.Helper()
	conn, err := grpc.NewClient(r.AdminAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	res, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{Service: "classrec.admin.v1.WebhookService"})
	if err != nil || res.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health of the admin API: %v, %v", res, err)
	}
	return adminv1.NewWebhookServiceClient(conn)
}

// All six events of recordings come, in order for each; also those of which the
// receiver wanted to know nothing at first, after the server was started again.
func TestServer_Webhooks(t *testing.T) {
	t.Parallel()
	h := newHooks(t)
	cfg := withRooms(t, `rooms: {locked: {passwords: {teacher: hunter2}}}`)
	cfg.AdminListen = "127.0.0.1:0"
	cfg.WebhooksFile = h.config(t, "")
	var log lockedBuffer
	cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r := newRunning(t, cfg)

	begin := func(room string) string {
		res, err := r.api.StartRecording(t.Context(), &classrecv1.StartRecordingRequest{Room: room})
		if err != nil {
			t.Fatal(err)
		}
		return res.GetRecording().GetName()
	}
	end := func(name string) {
		if _, err := r.api.StopRecording(t.Context(), &classrecv1.StopRecordingRequest{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	first := begin("first")
	await(t, "the first class has begun", func() bool { return len(h.room("first")) == 2 })
	h.status.Store(http.StatusServiceUnavailable)
	end(first)
	second := begin("second")
	if _, err := r.api.StartRecording(t.Context(), &classrecv1.StartRecordingRequest{Room: "locked"}); client.Details(err).Code != codes.PermissionDenied {
		t.Fatal(err)
	}
	admin := adminOf(t, r)
	deliveries := func(req *adminv1.ListWebhookDeliveriesRequest) []*adminv1.WebhookDelivery {
		t.Helper()
		res, err := admin.ListWebhookDeliveries(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return res.GetDeliveries()
	}
	await(t, "attempts fail", func() bool {
		list := deliveries(&adminv1.ListWebhookDeliveriesRequest{Parent: "endpoints/hooks", State: adminv1.WebhookDeliveryState_WEBHOOK_DELIVERY_STATE_PENDING})
		return len(list) >= 4 && list[0].GetLastStatusCode() == 503
	})
	r.stop()
	if got := h.room("first"); len(got) != 2 {
		t.Errorf("first, while the receiver was down: %v", got)
	}

	h.status.Store(http.StatusOK)
	r = newRunning(t, cfg)
	await(t, "the second class has begun again", func() bool { return len(h.room("second")) >= 3 })
	end(second)
	life := []string{"class.begin", "recording.started", "class.end", "recording.stopped", "recording.available"}
	again := slices.Insert(slices.Clone(life), 2, "class.begin") // the room was lost with the platform
	for room, want := range map[string][]string{"first": life, "second": again, "locked": {"recording.failed"}} {
		await(t, room, func() bool { return len(h.room(room)) >= len(want) })
		if got := h.room(room); !slices.Equal(got, want) {
			t.Errorf("%s: %v", room, got)
		}
	}

	// What became of it, by the admin API.
	admin = adminOf(t, r)
	await(t, "all is delivered", func() bool {
		res, err := admin.ListWebhookEndpoints(t.Context(), &adminv1.ListWebhookEndpointsRequest{})
		if err != nil || len(res.GetEndpoints()) != 1 {
			t.Fatalf("%v, %v", res, err)
		}
		e := res.GetEndpoints()[0]
		if e.GetName() != "endpoints/hooks" || e.GetTarget() != h.URL || len(e.GetEvents()) != 6 {
			t.Errorf("%v", e)
		}
		return e.GetStatus().GetPendingCount() == 0 && e.GetStatus().GetLastSuccessTime() != nil && e.GetStatus().GetLastError() != ""
	})
	list := deliveries(&adminv1.ListWebhookDeliveriesRequest{Parent: "endpoints/hooks", Recording: second})
	if len(list) != len(again) || list[0].GetType() != "recording.available" {
		t.Fatalf("%v", list)
	}
	got, err := admin.RedeliverWebhook(t.Context(), &adminv1.RedeliverWebhookRequest{Name: list[0].GetName()})
	if err != nil || got.GetDelivery().GetState() != adminv1.WebhookDeliveryState_WEBHOOK_DELIVERY_STATE_PENDING {
		t.Errorf("%v, %v", got, err)
	}
	await(t, "it is sent again", func() bool {
		got, err := admin.GetWebhookDelivery(t.Context(), &adminv1.GetWebhookDeliveryRequest{Name: list[0].GetName()})
		return err == nil && got.GetDelivery().GetAttempts() > list[0].GetAttempts()
	})
	if res, err := admin.RedeliverFailedWebhooks(t.Context(), &adminv1.RedeliverFailedWebhooksRequest{Parent: "endpoints/hooks"}); err != nil || res.GetRedeliveredCount() != 0 {
		t.Errorf("%v, %v", res, err)
	}
	checkAdminErrors(t, admin)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.base+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`classrec_webhook_attempts_total{endpoint="hooks",outcome="delivered"} `, `classrec_webhook_attempts_total{endpoint="hooks",outcome="failed"} `,
		`classrec_webhook_pending{endpoint="hooks"} 0`, `classrec_webhook_given_up_total{endpoint="hooks"} 0`,
		`grpc_server_handled_total{grpc_code="OK",grpc_method="GetWebhookDelivery"`,
	} {
		if !strings.Contains(string(metrics), want) {
			t.Errorf("metrics have no %s", want)
		}
	}
	if banner := r.Banner(); !strings.Contains(banner, r.AdminAddr().String()) {
		t.Errorf("%s", banner)
	}
	r.stop()
	if shown := log.String(); strings.Contains(shown, "mark") || strings.Contains(shown, "whsec_") {
		t.Error("a secret is in the log")
	}
}

func checkAdminErrors(t *testing.T, admin adminv1.WebhookServiceClient) {
	t.Helper()
	for name, tc := range map[string]struct {
		call   func(context.Context) error
		code   codes.Code
		reason string
	}{
		"endpoint": {func(ctx context.Context) error {
			_, err := admin.ListWebhookDeliveries(ctx, &adminv1.ListWebhookDeliveriesRequest{Parent: "endpoints/none"})
			return err
		}, codes.NotFound, "ENDPOINT_NOT_FOUND"},
		"delivery": {func(ctx context.Context) error {
			_, err := admin.GetWebhookDelivery(ctx, &adminv1.GetWebhookDeliveryRequest{Name: "endpoints/hooks/deliveries/evt_1_none"})
			return err
		}, codes.NotFound, "DELIVERY_NOT_FOUND"},
		"redelivery": {func(ctx context.Context) error {
			_, err := admin.RedeliverWebhook(ctx, &adminv1.RedeliverWebhookRequest{Name: "endpoints/none/deliveries/evt_1_none"})
			return err
		}, codes.NotFound, "ENDPOINT_NOT_FOUND"},
		"many": {func(ctx context.Context) error {
			_, err := admin.RedeliverFailedWebhooks(ctx, &adminv1.RedeliverFailedWebhooksRequest{Parent: "endpoints/none"})
			return err
		}, codes.NotFound, "ENDPOINT_NOT_FOUND"},
		"token": {func(ctx context.Context) error {
			_, err := admin.ListWebhookDeliveries(ctx, &adminv1.ListWebhookDeliveriesRequest{Parent: "endpoints/hooks", PageToken: "?"})
			return err
		}, codes.InvalidArgument, "INVALID_PAGE_TOKEN"},
		"name": {func(ctx context.Context) error {
			_, err := admin.GetWebhookDelivery(ctx, &adminv1.GetWebhookDeliveryRequest{Name: "endpoints/hooks/deliveries/*"})
			return err
		}, codes.InvalidArgument, "INVALID_FIELD"},
	} {
		if got := client.Details(tc.call(t.Context())); got.Code != tc.code || got.Reason != tc.reason {
			t.Errorf("%s: %v %s: %s", name, got.Code, got.Reason, got.Message)
		}
	}
}

// Without a file of webhooks the admin API has no endpoints; without an address
// it is not there.
func TestServer_AdminAlone(t *testing.T) {
	t.Parallel()
	cfg := anywhere(t.TempDir())
	r := newRunning(t, cfg)
	if r.AdminAddr() != nil || strings.Contains(r.Banner(), "admin") {
		t.Errorf("%v", r.AdminAddr())
	}
	r.stop()
	cfg.AdminListen = "127.0.0.1:0"
	r = newRunning(t, cfg)
	res, err := adminOf(t, r).ListWebhookEndpoints(t.Context(), &adminv1.ListWebhookEndpointsRequest{})
	if err != nil || len(res.GetEndpoints()) != 0 {
		t.Errorf("%v, %v", res, err)
	}
}

// A file that is wrong is refused with the line or the endpoint, and says
// nothing of what stands there.
func TestNew_WebhooksRefused(t *testing.T) {
	t.Parallel()
	const fine = "name: a, url: 'https://192.0.2.1/mark', allow_addresses: [192.0.2.0/24], secrets: [" + hookSecret + "]"
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "", "empty"},
		{"not YAML", "endpoints:\n\t- mark: [", "not YAML"},
		{"unknown key", "endpoints: []\nmark: 1\n", "line 2: has a key that is not endpoints"},
		{"no list", "endpoints: {mark: 1}\n", "line 1: is not a list"},
		{"no map", "endpoints:\n  - mark\n", "line 2: is not a map"},
		{"unknown key of an endpoint", "endpoints:\n  - name: a\n    mark: mark\n", "line 3: has a key that is none of name, tenant, url"},
		{"secret", "endpoints:\n  - name: a\n    secrets:\n      - mark\n", "line 4: a secret does not begin with whsec_"},
		{"secret that is none", "endpoints:\n  - name: a\n    secrets: ['whsec_mark!']\n", "line 3: a secret is not base64"},
		{"network", "endpoints:\n  - name: a\n    allow_addresses: [mark]\n", "line 3: has a network that is not"},
		{"time", "endpoints:\n  - name: a\n    timeout: mark\n", "line 3: has a time that is not one"},
		{"header", "endpoints:\n  - name: a\n    headers: {a: [mark]}\n", "line 3: has something that is not a text"},
		{"no URL", "endpoints: [{name: a, secrets: [" + hookSecret + "]}]", "endpoint a: the URL is not https://"},
		{"private", "endpoints: [{name: a, url: 'https://127.0.0.1/mark', secrets: [" + hookSecret + "]}]", "endpoint a: the address is not public"},
		{"no name", "endpoints: [{url: 'https://mark/'}]", "endpoint 1: the name is not"},
		{"twice", "endpoints: [{" + fine + "}, {" + fine + "}]", "endpoint a: there is another one"},
		{"fine", "endpoints: [{" + fine + ", timeout: 5s, retry_for: 1h, rooms: ['a*'], events: [class.end], headers: {X-A: b}}]", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg := anywhere(t.TempDir())
			cfg.WebhooksFile = hooksFile(t, tc.text)
			s, err := server.New(t.Context(), cfg)
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "--webhooks-file: "+cfg.WebhooksFile) ||
				strings.Contains(strings.ReplaceAll(err.Error(), cfg.WebhooksFile, ""), "mark") {
				t.Errorf("%v", err)
			}
		})
	}
	missing := anywhere(t.TempDir())
	missing.WebhooksFile = filepath.Join(t.TempDir(), "none")
	if _, err := server.New(t.Context(), missing); err == nil || !strings.Contains(err.Error(), "--webhooks-file: ") {
		t.Error(err)
	}
	ca := anywhere(t.TempDir())
	ca.WebhooksFile = hooksFile(t, "endpoints:\n  - name: a\n    ca_file: /no/such/file\n")
	if _, err := server.New(t.Context(), ca); err == nil || !strings.Contains(err.Error(), "line 3: ") {
		t.Error(err)
	}
	taken := anywhere(t.TempDir())
	taken.AdminListen = "nowhere"
	if _, err := server.New(t.Context(), taken); err == nil || !strings.Contains(err.Error(), "--admin-listen: ") {
		t.Error(err)
	}
}

// Others should not be able to read the file.
func TestServer_WebhooksFileMode(t *testing.T) {
	t.Parallel()
	for mode, warned := range map[os.FileMode]bool{0o600: false, 0o640: true} {
		var log lockedBuffer
		cfg := anywhere(t.TempDir())
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		cfg.WebhooksFile = hooksFile(t, "endpoints: []\n")
		if err := os.Chmod(cfg.WebhooksFile, mode); err != nil {
			t.Fatal(err)
		}
		s, err := server.New(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if got := strings.Contains(log.String(), "chmod 600"); got != warned {
			t.Errorf("%v: %s", mode, &log)
		}
	}
}

// lockedBuffer is a buffer for a logger of many goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
