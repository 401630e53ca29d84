// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/webhook"
)

// A target that is not public is talked to in no way: not by its address, not
// by a name that leads to it, not by a redirect.
func TestPrivateTargets(t *testing.T) {
	t.Parallel()
	var touched atomic.Int32
	inside := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { touched.Add(1) }))
	inside.Config.ConnState = func(net.Conn, http.ConnState) { touched.Add(1) }
	inside.Start()
	t.Cleanup(inside.Close)
	_, port, err := net.SplitHostPort(inside.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	outside := newReceiver(t, func(w http.ResponseWriter, _ received) {
		w.Header().Set("Location", inside.URL)
		w.WriteHeader(http.StatusPermanentRedirect)
	})
	s := storetest.New(t)
	name := endpointOf(t, "name", "http://localhost:"+port+"/")
	name.AllowAddresses = nil
	redirect := endpointOf(t, "redirect", outside.URL)
	d := open(t, s, quick(name, redirect))
	run(t, d)
	c := newClass(s, "room", "id")
	c.live(t)
	for endpoint, want := range map[string]string{
		"name": "the address is not public, and not allowed", "redirect": "status 308: redirects are not followed",
	} {
		eventually(t, endpoint, func() bool {
			list := list(t, d, endpoint, pending)
			return len(list) > 0 && list[len(list)-1].GetLastError() == want
		})
	}
	if touched.Load() != 0 {
		t.Error("it was talked to")
	}
}

// With two secrets, who has either accepts, and who has another does not.
func TestRotation(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	type request struct {
		header http.Header
		body   []byte
	}
	requests := make(chan request, 100)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		requests <- request{r.Header, body.Bytes()}
	}))
	t.Cleanup(srv.Close)
	e := endpointOf(t, "a", srv.URL)
	e.Secrets = []webhook.Secret{mustSecret(t, otherText), mustSecret(t, secretText)}
	e.Headers = map[string]string{"Authorization": "Bearer mark"}
	run(t, open(t, s, quick(e)))
	newClass(s, "room", "id").live(t)
	got := <-requests
	if n := len(strings.Fields(got.header.Get("webhook-signature"))); n != 2 || got.header.Get("Authorization") != "Bearer mark" {
		t.Errorf("%d signatures, %v", n, got.header)
	}
	for text, want := range map[string]bool{secretText: true, otherText: true, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA": false} {
		verifier, err := standardwebhooks.NewWebhook(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify(got.body, got.header); (err == nil) != want {
			t.Errorf("%v", err)
		}
		if verifier.Verify(append(got.body, ' '), got.header) == nil {
			t.Error("another body is accepted")
		}
	}
}

func TestParseSecret(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
		"whsec_MfKQ9r8GKYqrTwjU\nPD8ILPZIo2LaLaSw", "whsec_" + strings.Repeat("AAAA", 22), "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	} {
		_, err := webhook.ParseSecret(text)
		if err == nil {
			t.Errorf("%q is taken", text)
		} else if text != "" && text != "whsec_" && strings.Contains(err.Error(), strings.TrimPrefix(text, "whsec_")) {
			t.Errorf("the error repeats it: %v", err)
		}
	}
	s := mustSecret(t, secretText)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", s)
	shown := fmt.Sprintf("%v %+v %#v %s %s", s, s, s, s, &log)
	if strings.Contains(shown, "MfKQ") || strings.Contains(shown, "[49 ") || strings.Contains(shown, "0x") {
		t.Errorf("it shows itself: %s", shown)
	}
}

func FuzzParseSecret(f *testing.F) {
	f.Add(secretText)
	f.Add("whsec_")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := webhook.ParseSecret(text); err == nil {
			if _, err := standardwebhooks.NewWebhook(text); err != nil {
				t.Errorf("the library does not take %q: %v", text, err)
			}
		}
	})
}

func FuzzPageToken(f *testing.F) {
	f.Add("eyJyIjoxLCJpIjoxLCJxIjoiIn0")
	f.Fuzz(func(_ *testing.T, text string) {
		_ = webhook.ParsePageToken(&adminv1.ListWebhookDeliveriesRequest{PageToken: text})
	})
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-1": 0, "1.5": 0, "soon": 0, "99999": time.Hour, "99999999999999999999": 0,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).Format(http.TimeFormat): 0,
		now.Add(48 * time.Hour).Format(http.TimeFormat): time.Hour,
	} {
		if got := webhook.RetryAfter(text, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// A configuration that cannot be is refused, in words that hold no secret.
func TestOpen_Errors(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	for _, tc := range []struct {
		name   string
		change func(*webhook.Endpoint)
		want   string
	}{
		{"name", func(e *webhook.Endpoint) { e.Name = "a b" }, "endpoint 1: the name is not"},
		{"no secret", func(e *webhook.Endpoint) { e.Secrets = nil }, "endpoint a: it has not 1 to 8 secrets"},
		{"empty secret", func(e *webhook.Endpoint) { e.Secrets = []webhook.Secret{{}} }, "endpoint a: a secret is empty"},
		{"URL", func(e *webhook.Endpoint) { e.URL = "ftp://mark.example/mark" }, "endpoint a: the URL is not https"},
		{"not a URL", func(e *webhook.Endpoint) { e.URL = "https://mark\x7f" }, "endpoint a: the URL is not https"},
		{"user", func(e *webhook.Endpoint) { e.URL = "https://mark:mark@127.0.0.1/" }, "has a user name in it"},
		{"fragment", func(e *webhook.Endpoint) { e.URL = "https://127.0.0.1/#mark" }, "has a fragment"},
		{"private", func(e *webhook.Endpoint) { e.URL, e.AllowAddresses = "https://192.168.0.1/mark", nil }, "is not public"},
		{"mapped", func(e *webhook.Endpoint) { e.URL = "https://[::ffff:10.0.0.1]/mark" }, "is not public"},
		{"event", func(e *webhook.Endpoint) { e.Events = []string{"class.started"} }, `"class.started" is none of class.begin`},
		{"room", func(e *webhook.Endpoint) { e.Rooms = []string{"[a"} }, `"[a" is not a pattern`},
		{"network", func(e *webhook.Endpoint) { e.AllowAddresses = []netip.Prefix{{}} }, "allowed network"},
		{"timeout", func(e *webhook.Endpoint) { e.Timeout = time.Hour }, "the timeout is not within 5m0s"},
		{"retry", func(e *webhook.Endpoint) { e.RetryFor = 8 * 24 * time.Hour }, "the time to retry for is not within 168h0m0s"},
		{"own header", func(e *webhook.Endpoint) { e.Headers = map[string]string{"Webhook-ID": "mark"} }, "the header webhook-id cannot"},
		{"header name", func(e *webhook.Endpoint) { e.Headers = map[string]string{"a b": "mark"} }, "the name of a header"},
		{"header value", func(e *webhook.Endpoint) { e.Headers = map[string]string{"x": "mark\r\nmark"} }, "the header x has"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e := endpointOf(t, "a", "http://127.0.0.1:1/")
			tc.change(&e)
			_, err := webhook.Open(t.Context(), s, webhook.Config{Endpoints: []webhook.Endpoint{e}})
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "mark") {
				t.Errorf("%v", err)
			}
		})
	}
	twice := []webhook.Endpoint{endpointOf(t, "a", "http://127.0.0.1:1/"), endpointOf(t, "a", "http://127.0.0.1:2/")}
	if _, err := webhook.Open(t.Context(), s, webhook.Config{Endpoints: twice}); err == nil || !strings.Contains(err.Error(), "another one") {
		t.Errorf("two of one name: %v", err)
	}
}

// Neither logs nor states repeat what is secret.
func TestSecrets(t *testing.T) {
	t.Parallel()
	var log safeBuffer
	s := storetest.New(t)
	var status atomic.Int32
	status.Store(500)
	r := newReceiver(t, gate(&status))
	dead := endpointOf(t, "dead", "http://127.0.0.1:1/mark?mark=mark")
	dead.RetryFor = time.Nanosecond
	e := endpointOf(t, "a", r.URL+"/mark?token=mark")
	e.Headers = map[string]string{"Authorization": "Bearer mark"}
	cfg := quick(e, dead)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	d := open(t, s, cfg)
	stop := run(t, d)
	class := newClass(s, "room", "id")
	class.rec.RequestId = "request-of-the-start"
	class.live(t)
	eventually(t, "it fails", func() bool { return len(r.requests()) > 2 && len(list(t, d, "dead", failed)) == len(eventsOfLife()) })
	status.Store(200)
	r.waitTaken(t, len(eventsOfLife()))
	stop()
	endpoints, err := d.Endpoints(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	shown := log.String() + fmt.Sprint(endpoints, list(t, d, "a", 0), list(t, d, "dead", 0))
	if !strings.Contains(shown, "does not take events") || !strings.Contains(shown, "takes events again") || !strings.Contains(shown, "given up") {
		t.Errorf("the log does not tell: %s", shown)
	}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "given up") && (!strings.Contains(line, " room=room ") || !strings.Contains(line, " request_id=request-of-the-start ")) {
			t.Errorf("a line does not tell whose event it was: %s", line)
		}
	}
	if strings.Contains(shown, "mark") || strings.Contains(shown, "whsec_") {
		t.Errorf("a secret is shown: %s", shown)
	}
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
