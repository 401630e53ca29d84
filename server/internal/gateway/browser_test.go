// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/gateway"
)

// answering takes every start, stop, get and watch.
func answering() *service {
	return &service{
		start: func(context.Context, *classrecv1.StartRecordingRequest) (*classrecv1.StartRecordingResponse, error) {
			return &classrecv1.StartRecordingResponse{}, nil
		},
		get: func(context.Context, *classrecv1.GetRecordingRequest) (*classrecv1.GetRecordingResponse, error) {
			return &classrecv1.GetRecordingResponse{}, nil
		},
		stop: func(context.Context, *classrecv1.StopRecordingRequest) (*classrecv1.StopRecordingResponse, error) {
			return &classrecv1.StopRecordingResponse{}, nil
		},
		watch: func(*classrecv1.WatchClassBeginRequest, grpc.ServerStreamingServer[classrecv1.WatchClassBeginResponse]) error {
			return nil
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
		status                int
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
		watch := send(t, "GET", tc.base+"/v1/rooms/42/classBegin:watch", "", "Origin", tc.origin, "Sec-Fetch-Site", "cross-site")
		post := send(t, "POST", tc.base+path, "{}", "Origin", tc.origin, "Sec-Fetch-Site", "cross-site", "Content-Type", "application/json")
		for name, a := range map[string]answer{"preflight": preflight, "get": get, "watch": watch, "post": post} {
			if got := a.header.Get("Access-Control-Allow-Origin"); got != tc.allowed {
				t.Errorf("%s %s: allowed %q, not %q", tc.origin, name, got, tc.allowed)
			}
			if got := a.header.Get("Access-Control-Allow-Credentials"); got != "" {
				t.Errorf("%s %s: with credentials", tc.origin, name)
			}
		}
		for name, a := range map[string]answer{"get": get, "watch": watch, "post": post} {
			if a.status != tc.status || tc.status == 403 && a.failure(t).reason() != "CROSS_ORIGIN" {
				t.Errorf("%s: %s %d: %s", tc.origin, name, a.status, a.body)
			}
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

// TestCORS_NoCORS has a page make requests without asking whether it may, and without an Origin where a browser sends none.
func TestCORS_NoCORS(t *testing.T) {
	t.Parallel()
	const ours = "https://app.example"
	some := newGateway(t, answering(), gateway.Config{CORSOrigins: []string{ours}})
	all := newGateway(t, answering(), gateway.Config{CORSOrigins: []string{"*"}})
	const path, watch = "/v1/rooms/42/recordings", "/v1/rooms/42/classBegin:watch"
	for _, tc := range []struct {
		method, url, body string
		headers           []string
		status            int
	}{
		{"GET", some + watch, "", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"HEAD", some + path + "/1", "", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"GET", some + watch, "", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"GET", some + watch, "", []string{"Sec-Fetch-Site", "same-site", "Origin", ours}, 200},
		{"GET", some + watch, "", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"GET", some + watch, "", []string{"Sec-Fetch-Site", "none"}, 200}, // somebody has typed it
		{"GET", some + watch, "", []string{"Origin", "https://evil.example"}, 403},
		{"GET", some + watch, "", nil, 200},
		{"GET", all + watch, "", []string{"Sec-Fetch-Site", "cross-site"}, 200},
		// curl says that what it sends is a form. A page cannot say so without being asked.
		{"POST", all + path, "{}", []string{"Content-Type", "application/x-www-form-urlencoded"}, 200},
		{"POST", all + path, "{}", []string{"Content-Type", "text/plain", "Sec-Fetch-Site", "cross-site", "Origin", "null"}, 400},
		{"POST", some + path, "{}", []string{"Content-Type", "text/plain", "Sec-Fetch-Site", "cross-site", "Origin", ours}, 400},
		{"POST", all + path, "{}", []string{"Content-Type", "text/plain", "Origin", "https://evil.example"}, 400},
		{"POST", all + path, "{}", []string{"Content-Type", "text/plain", "Sec-Fetch-Site", "same-origin"}, 200},
		{"POST", all + path, "{}", []string{"Content-Type", "text/plain", "Sec-Fetch-Site", "cross-site", "Authorization", "Bearer x"}, 200},
		{"POST", all + path, "{}", []string{"Content-Type", "application/json;charset=utf-8", "Sec-Fetch-Site", "cross-site"}, 200},
		{"POST", all + path, "", []string{"Sec-Fetch-Site", "cross-site"}, 200},
	} {
		if a := send(t, tc.method, tc.url, tc.body, tc.headers...); a.status != tc.status {
			t.Errorf("%s %s %v: %d: %s", tc.method, tc.url, tc.headers, a.status, a.body)
		}
	}
}

// TestCORS_Certificates has the browser show the visitor's certificate, which is no other page's to use.
func TestCORS_Certificates(t *testing.T) {
	t.Parallel()
	const ours = "https://app.example"
	visitors, trusted := certificate(t)
	for name, origins := range map[string][]string{"some": {ours}, "all": {"*"}} {
		front := httptest.NewUnstartedServer(newHandler(t, answering(), gateway.Config{CORSOrigins: origins}))
		front.TLS = &tls.Config{ClientCAs: trusted, ClientAuth: tls.VerifyClientCertIfGiven}
		front.StartTLS()
		t.Cleanup(front.Close)
		for _, tc := range []struct {
			method, path, token, site string
			certificate               bool
			status                    int
		}{
			{"POST", "/v1/rooms/42/recordings", "", "cross-site", true, 403},
			{"POST", "/v1/rooms/42/recordings:stop", "", "same-site", true, 403},
			{"GET", "/v1/rooms/42/classBegin:watch", "", "cross-site", true, 403},
			{"POST", "/v1/rooms/42/recordings", "Bearer x", "cross-site", true, 200},
			{"POST", "/v1/rooms/42/recordings", "", "cross-site", false, 200},
			{"POST", "/v1/rooms/42/recordings", "", "same-origin", true, 200}, // the console
			{"POST", "/v1/rooms/42/recordings", "", "", true, 200},            // a program
		} {
			req, err := http.NewRequestWithContext(t.Context(), tc.method, front.URL+tc.path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			for header, value := range map[string]string{"Sec-Fetch-Site": tc.site, "Authorization": tc.token} {
				if value != "" {
					req.Header.Set(header, value)
				}
			}
			if tc.site != "" && tc.site != "same-origin" {
				req.Header.Set("Origin", ours)
			}
			over := front.Client().Transport.(*http.Transport).Clone() //nolint:forcetypeassert // httptest says so
			over.DisableKeepAlives = true
			if tc.certificate {
				over.TLSClientConfig.Certificates = []tls.Certificate{visitors}
			}
			if a := exchange(t, over, req); a.status != tc.status {
				t.Errorf("%s: %+v: %d: %s", name, tc, a.status, a.body)
			}
		}
	}
}

// certificate is one of a client, and who trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"visitor.example"},
		IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(nil, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, trusted
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
