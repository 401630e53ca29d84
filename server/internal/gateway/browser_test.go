// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/gateway"
)

// answering takes every start and get.
func answering() *service {
	return &service{
		start: func(context.Context, *classrecv1.StartRecordingRequest) (*classrecv1.StartRecordingResponse, error) {
			return &classrecv1.StartRecordingResponse{}, nil
		},
		get: func(context.Context, *classrecv1.GetRecordingRequest) (*classrecv1.GetRecordingResponse, error) {
			return &classrecv1.GetRecordingResponse{}, nil
		},
	}
}

// TestSecurityHeaders wants the headers that browsers are protected by on every answer, errors too.
func TestSecurityHeaders(t *testing.T) {
	t.Parallel()
	base := newGateway(t, answering(), gateway.Config{Hosts: []string{}})
	for path, headers := range map[string][]string{
		"/": nil, "/docs": nil, "/console/settings.json": nil, "/healthz": nil, "/readyz": nil, "/openapi.json": nil,
		"/v1/rooms/42/recordings/1": nil, "/v1/nothing": nil, "/nothing": nil, "/v1/rooms/a%2fb/recordings": nil,
		"/healthz?": {"Host", "evil.example"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if len(headers) > 0 {
			req.Host = headers[1]
		}
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
			"Strict-Transport-Security": "", "Access-Control-Allow-Origin": "", "Access-Control-Allow-Credentials": "",
		} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s: %s: %q, not %q", path, name, got, want)
			}
		}
		if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'none'") || !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("%s: Content-Security-Policy: %q", path, csp)
		}
	}
}

// TestHosts refuses names that are not ours: those of a page that has its name resolve to this machine.
func TestHosts(t *testing.T) {
	t.Parallel()
	checked := newGateway(t, answering(), gateway.Config{Hosts: []string{"Classrec.example"}})
	open := newGateway(t, answering(), gateway.Config{})
	for host, want := range map[string]int{
		"127.0.0.1": 200, "127.0.0.1:8080": 200, "[::1]:8080": 200, "[::1]": 200, "10.0.0.7": 200,
		"localhost": 200, "LOCALHOST.:1": 200, "a.localhost": 200, "classrec.example": 200, "CLASSREC.EXAMPLE:443": 200,
		"evil.example": 421, "evil.example:8080": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example": 421,
		"classrec.example.evil": 421, "notlocalhost": 421, "2130706433": 421, "0x7f.1": 421,
	} {
		for _, path := range []string{"/", "/healthz", "/v1/rooms/42/recordings/1", "/openapi.json"} {
			if a := sendTo(t, "GET", checked+path, host); a.status != want {
				t.Errorf("%s%s: %d", host, path, a.status)
			} else if want == 421 && a.failure(t).reason() != "UNKNOWN_HOST" {
				t.Errorf("%s%s: %s", host, path, a.body)
			}
			if a := sendTo(t, "GET", open+path, host); a.status != 200 {
				t.Errorf("%s%s where every name is good: %d", host, path, a.status)
			}
		}
	}
}

// sendTo is send under another name.
func sendTo(t *testing.T, method, url, host string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, body}
}

// TestCORS lets pages of the configured origins call, and no others; and nothing that the browser keeps goes along.
func TestCORS(t *testing.T) {
	t.Parallel()
	const ours, evil = "https://app.example", "https://evil.example"
	some := newGateway(t, answering(), gateway.Config{CORSOrigins: []string{ours, "http://localhost:3000"}})
	all := newGateway(t, answering(), gateway.Config{CORSOrigins: []string{"*"}})
	none := newGateway(t, answering(), gateway.Config{})
	for _, tc := range []struct {
		base, origin, allowed string
		post                  int
	}{
		{some, ours, ours, 200},
		{some, "http://localhost:3000", "http://localhost:3000", 200},
		{some, evil, "", 403},
		{some, "http://app.example", "", 403},
		{some, "https://app.example.evil", "", 403},
		{some, "null", "", 403},
		{all, evil, "*", 200},
		{all, "null", "*", 200},
		{none, ours, "", 403},
	} {
		const path = "/v1/rooms/42/recordings"
		preflight := send(t, "OPTIONS", tc.base+path, "", "Origin", tc.origin, "Access-Control-Request-Method", "POST",
			"Access-Control-Request-Headers", "authorization,content-type")
		get := send(t, "GET", tc.base+path+"/1", "", "Origin", tc.origin, "Sec-Fetch-Site", "cross-site")
		post := send(t, "POST", tc.base+path, "{}", "Origin", tc.origin, "Sec-Fetch-Site", "cross-site", "Content-Type", "application/json")
		for name, a := range map[string]answer{"preflight": preflight, "get": get, "post": post} {
			if got := a.header.Get("Access-Control-Allow-Origin"); got != tc.allowed {
				t.Errorf("%s %s: allowed %q, not %q", tc.origin, name, got, tc.allowed)
			}
			if got := a.header.Get("Access-Control-Allow-Credentials"); got != "" {
				t.Errorf("%s %s: with credentials", tc.origin, name)
			}
		}
		if post.status != tc.post {
			t.Errorf("%s: post %d: %s", tc.origin, post.status, post.body)
		}
		if good := preflight.status == 204; good != (tc.allowed != "") {
			t.Errorf("%s: preflight %d", tc.origin, preflight.status)
		}
		if tc.base != none && !strings.Contains(strings.Join(get.header.Values("Vary"), ","), "Origin") {
			t.Errorf("%s: Vary %v", tc.origin, get.header.Values("Vary"))
		}
	}
	// The pages of the console are nobody else's.
	if a := send(t, "GET", all+"/", "", "Origin", evil); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("pages of other origins may read the console")
	}
}

func TestCheckOrigin(t *testing.T) {
	t.Parallel()
	for origin, good := range map[string]bool{
		"https://app.example": true, "http://localhost:3000": true, "*": true,
		"https://*.example": false,
		"app.example":       false, "https://app.example/": false, "https://u@app.example": false, "ftp://app.example": false, "": false, "null": false,
	} {
		if err := gateway.CheckOrigin(origin); (err == nil) != good {
			t.Errorf("%q: %v", origin, err)
		}
	}
	for name, good := range map[string]bool{"a.example": true, "a.example:1": false, "": false, "*": false, "https://a.example": false} {
		if err := gateway.CheckHostName(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}
