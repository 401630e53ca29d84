// SPDX-License-Identifier: Apache-2.0

package ingest_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/ingest"
	"github.com/classrec/classrec/server/internal/publisher"
)

// closer is a Handler that can be given back.
type closer struct {
	*sink
	back chan struct{}
}

func (c closer) Close() error { close(c.back); return nil }

// newWHIP returns an endpoint that lets "Bearer good" in, and gives each publisher to h.
func newWHIP(t testing.TB, cfg ingest.Config, h func() ingest.Handler) *httptest.Server {
	t.Helper()
	s := newServer(t, cfg)
	web := httptest.NewServer(s.WHIP(ingest.WHIPConfig{
		Authorize: func(r *http.Request) (ingest.Handler, error) {
			switch r.Header.Get("Authorization") {
			case "Bearer good":
				return h(), nil
			case "":
				return nil, &ingest.StatusError{Status: http.StatusUnauthorized, Message: "who are you"}
			default:
				return nil, errors.New("internal reason")
			}
		},
	}))
	t.Cleanup(web.Close)
	return web
}

// call makes a request. Headers are pairs of name and value.
func call(t testing.TB, method, url, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func TestWHIP_Publish(t *testing.T) {
	t.Parallel()
	h := newSink()
	web := newWHIP(t, ingest.Config{}, func() ingest.Handler { return h })
	pub, err := publisher.PublishWHIP(t.Context(), publisher.Config{
		Video: mustClip(t, clips.StudentVideo), Audio: mustClip(t, clips.StudentAudio),
	}, publisher.WHIP{URL: web.URL + "/whip/room", Token: "good", Client: web.Client()})
	if err != nil {
		t.Fatal(err)
	}
	receive(t, h.connected, "connection")
	receive(t, h.packets, "packet")
	if err := pub.Close(); err != nil {
		t.Error(err)
	}
	if err := receive(t, h.closed, "close"); err != nil {
		t.Errorf("closed with %v, want nil", err)
	}
	if _, err := publisher.PublishWHIP(t.Context(), publisher.Config{Audio: mustClip(t, clips.StudentAudio)},
		publisher.WHIP{URL: web.URL + "/whip/room", Token: "bad", Client: web.Client()}); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("bad token: %v", err)
	}
}

// TestWHIP_Endpoint goes through what RFC 9725 sections 4.2 and 4.5 and HTTP itself want of the endpoint.
func TestWHIP_Endpoint(t *testing.T) {
	t.Parallel()
	const sdp, auth = "application/sdp", "Bearer good"
	for name, tc := range map[string]struct {
		method, body, contentType, auth string
		status                          int
		header, value                   string // one header of the answer
		givenBack                       bool   // the Handler that was taken
	}{
		"created":       {"POST", browserOffer, sdp, auth, 201, "Content-Type", sdp, false},
		"parameters":    {"POST", browserOffer, sdp + "; charset=utf-8", auth, 201, "Content-Type", sdp, false},
		"no type":       {"POST", browserOffer, "", auth, 415, "Accept-Post", sdp, false},
		"wrong type":    {"POST", browserOffer, "application/json", auth, 415, "Accept-Post", sdp, false},
		"no token":      {"POST", browserOffer, sdp, "", 401, "Www-Authenticate", "Bearer", false},
		"wrong token":   {"POST", browserOffer, sdp, "Bearer bad", 403, "", "", false},
		"garbage":       {"POST", "hello", sdp, auth, 400, "", "", true},
		"empty":         {"POST", "", sdp, auth, 400, "", "", true},
		"no codec":      {"POST", nothingKnown, sdp, auth, 422, "", "", true},
		"too long":      {"POST", browserOffer + strings.Repeat("a=x\r\n", 20000), sdp, auth, 413, "", "", true},
		"preflight":     {"OPTIONS", "", "", "", 204, "Accept-Post", sdp, false},
		"preflight 2":   {"OPTIONS", "", "", "", 204, "Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match", false},
		"GET":           {"GET", "", "", "", 405, "Allow", "POST, OPTIONS", false},
		"PUT":           {"PUT", browserOffer, sdp, auth, 405, "Allow", "POST, OPTIONS", false},
		"DELETE":        {"DELETE", "", "", auth, 405, "Allow", "POST, OPTIONS", false},
		"CORS on error": {"POST", "hello", sdp, auth, 400, "Access-Control-Allow-Origin", "*", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := closer{newSink(), make(chan struct{})}
			web := newWHIP(t, ingest.Config{}, func() ingest.Handler { return h })
			resp, body := call(t, tc.method, web.URL+"/whip/room", tc.body, "Content-Type", tc.contentType, "Authorization", tc.auth)
			if resp.StatusCode != tc.status {
				t.Errorf("status %d, want %d: %s", resp.StatusCode, tc.status, body)
			}
			if tc.header != "" && resp.Header.Get(tc.header) != tc.value {
				t.Errorf("%s: %q, want %q", tc.header, resp.Header.Get(tc.header), tc.value)
			}
			if strings.Contains(body, "internal reason") {
				t.Error("the reason got out")
			}
			if tc.givenBack {
				receive(t, h.back, "handler given back")
			}
			if tc.status != 201 {
				return
			}
			mustContain(t, body, "a=candidate:")
			if !strings.HasPrefix(resp.Header.Get("Location"), "/whip/sessions/") {
				t.Errorf("location %q", resp.Header.Get("Location"))
			}
			if e := resp.Header.Get("ETag"); len(e) < 10 || e[0] != '"' {
				t.Errorf("entity tag %q is not a strong one", e)
			}
		})
	}
}

// Behind a proxy that takes a prefix off the path, the session's URL is below it.
func TestWHIP_BehindAProxy(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ header, value, request, want string }{
		"direct":             {"", "", "/whip/room", "/whip/sessions/"},
		"tells its prefix":   {"X-Forwarded-Prefix", "/rooms/", "/whip/room", "/rooms/whip/sessions/"},
		"does not":           {"X-Forwarded-For", "192.0.2.1", "/whip/room", "../whip/sessions/"},
		"a longer path":      {"Via", "1.1 proxy", "/whip/room/user", "../../whip/sessions/"},
		"tells no prefix":    {"X-Forwarded-Prefix", "//elsewhere.example", "/whip/room", "/whip/sessions/"},
		"tells an odd one":   {"X-Forwarded-Prefix", "https://elsewhere.example", "/whip/room", "/whip/sessions/"},
		"tells one to quote": {"X-Forwarded-Prefix", "/a b", "/whip/room", "/a%20b/whip/sessions/"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			web := newWHIP(t, ingest.Config{}, func() ingest.Handler { return newSink() })
			headers := []string{"Content-Type", "application/sdp", "Authorization", "Bearer good"}
			if tc.header != "" {
				headers = append(headers, tc.header, tc.value)
			}
			resp, body := call(t, "POST", web.URL+tc.request, browserOffer, headers...)
			if resp.StatusCode != http.StatusCreated || !strings.HasPrefix(resp.Header.Get("Location"), tc.want) {
				t.Errorf("%s, location %q, want %q…: %s", resp.Status, resp.Header.Get("Location"), tc.want, body)
			}
		})
	}
}

// TestWHIP_Session goes through sections 4.3 and 4.6: trickle ICE, ICE restart, the end. The requests are made in order
// on one session.
func TestWHIP_Session(t *testing.T) {
	t.Parallel()
	h := newSink()
	web := newWHIP(t, ingest.Config{MaxPeers: 1}, func() ingest.Handler { return h })
	created, _ := call(t, "POST", web.URL+"/whip/room", browserOffer, "Content-Type", "application/sdp", "Authorization", "Bearer good")
	if created.StatusCode != http.StatusCreated {
		t.Fatal(created.Status)
	}
	full, _ := call(t, "POST", web.URL+"/whip/room", browserOffer, "Content-Type", "application/sdp", "Authorization", "Bearer good")
	if full.StatusCode != http.StatusServiceUnavailable || full.Header.Get("Retry-After") == "" {
		t.Errorf("second publisher: %s, retry after %q", full.Status, full.Header.Get("Retry-After"))
	}
	const fragType = "application/trickle-ice-sdpfrag"
	etag := created.Header.Get("ETag")
	good := "a=ice-ufrag:Tk7a\r\na=ice-pwd:zvZkKhIoqVMx6zDjbHqKxnZs\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n" +
		"a=candidate:1 1 udp 2113937151 127.0.0.1 50000 typ host\r\na=end-of-candidates\r\n"
	other := "/whip/sessions/NOBODYKNOWSTHISONE"
	session := created.Header.Get("Location")
	for _, tc := range []struct {
		name, method, path, body, contentType, ifMatch string
		status                                         int
		header, value                                  string
	}{
		{"candidates", "PATCH", session, good, fragType, etag, 204, "", ""},
		{"any", "PATCH", session, good, fragType, "*", 204, "", ""},
		{"no precondition", "PATCH", session, good, fragType, "", 428, "", ""},
		{"other precondition", "PATCH", session, good, fragType, `"other"`, 412, "", ""},
		{"restart", "PATCH", session, strings.ReplaceAll(good, "Tk7a", "ZZZZ"), fragType, "*", 422, "", ""},
		{"wrong type", "PATCH", session, good, "application/sdp", etag, 415, "Accept-Patch", fragType},
		{"garbage", "PATCH", session, "hello", fragType, etag, 400, "", ""},
		{"empty", "PATCH", session, "", fragType, etag, 400, "", ""},
		{"bad candidate", "PATCH", session, "a=candidate:x\r\n", fragType, etag, 400, "", ""},
		{"too long", "PATCH", session, strings.Repeat("a=x\r\n", 20000), fragType, etag, 413, "", ""},
		{"unknown transport", "PATCH", session, "a=candidate:1 1 sctp 1 192.0.2.1 5000 typ host\r\n", fragType, etag, 204, "", ""},
		{"POST", "POST", session, "", "", "", 405, "Allow", "PATCH, DELETE, OPTIONS"},
		{"GET", "GET", session, "", "", "", 405, "Allow", "PATCH, DELETE, OPTIONS"},
		{"preflight", "OPTIONS", session, "", "", "", 204, "Access-Control-Allow-Methods", "PATCH, DELETE, OPTIONS"},
		{"other session", "DELETE", other, "", "", "", 404, "", ""},
		{"end", "DELETE", session, "", "", "", 200, "", ""},
		{"end again", "DELETE", session, "", "", "", 404, "", ""},
		{"candidates too late", "PATCH", session, good, fragType, etag, 404, "", ""},
	} {
		headers := []string{"Content-Type", tc.contentType}
		if tc.ifMatch != "" {
			headers = append(headers, "If-Match", tc.ifMatch)
		}
		resp, body := call(t, tc.method, web.URL+tc.path, tc.body, headers...)
		if resp.StatusCode != tc.status {
			t.Errorf("%s: status %d, want %d: %s", tc.name, resp.StatusCode, tc.status, body)
		}
		if tc.header != "" && resp.Header.Get(tc.header) != tc.value {
			t.Errorf("%s: %s is %q, want %q", tc.name, tc.header, resp.Header.Get(tc.header), tc.value)
		}
	}
	if err := receive(t, h.closed, "close"); err != nil {
		t.Errorf("closed with %v", err)
	}
}
