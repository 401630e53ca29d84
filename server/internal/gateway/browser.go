// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// CheckOrigin tells what is wrong with an element of [Config.CORSOrigins].
func CheckOrigin(origin string) error {
	if origin == anyOrigin {
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || origin != u.Scheme+"://"+u.Host || strings.Contains(u.Host, "*") {
		return errors.New("is neither https://host:port nor *")
	}
	return nil
}

// CheckHostName tells what is wrong with an element of [Config.Hosts].
func CheckHostName(name string) error {
	if name == "" || strings.ContainsAny(name, "/:@* ") {
		return errors.New("is not the name of a host, without a port")
	}
	return nil
}

const anyOrigin = "*"

// forBrowsers is the outermost handler: what it says, it says of every answer.
func forBrowsers(cfg Config, next http.Handler) http.Handler {
	errs := &errorWriter{json: newJSON(), logger: cfg.Logger}
	next = cors(cfg.CORSOrigins, next)
	if cfg.Hosts != nil {
		next = knownHosts(errs, cfg.Hosts, next)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header(), r)
		next.ServeHTTP(w, r)
	})
}

// secure sets headers for whatever is answered. Pages and files set their own
// where they need more.
func secure(h http.Header, r *http.Request) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer") // URLs of recordings are secrets
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if r.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// knownHosts refuses requests under names that are not ours. A page whose name
// is made to resolve to this machine (DNS rebinding) has our address, and in its
// requests still its own name. An address is no name, and nobody else's.
func knownHosts(errs *errorWriter, hosts []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !knownHost(r.Host, hosts) {
			errs.write(w, r, http.StatusMisdirectedRequest, errHost())
			return
		}
		next.ServeHTTP(w, r)
	})
}

func knownHost(host string, hosts []string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || // RFC 6761, 6.3: never another machine
		slices.ContainsFunc(hosts, func(name string) bool { return strings.EqualFold(name, host) })
}

// cors lets pages of some origins call the API and read its answers. Nothing
// that the browser keeps of us (cookies, certificates, passwords) goes along:
// who calls sends a token. The files and the room's doors have rules of their
// own.
func cors(origins []string, next http.Handler) http.Handler {
	if len(origins) == 0 {
		return next
	}
	all := slices.Contains(origins, anyOrigin)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !forPages(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		h := w.Header()
		h.Add("Vary", "Origin")
		origin := r.Header.Get("Origin")
		if origin == "" || !all && !slices.Contains(origins, origin) {
			next.ServeHTTP(w, r)
			return
		}
		if all {
			origin = anyOrigin
		}
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate, Classrec-Version")
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
			h.Set("Access-Control-Allow-Methods", "GET, POST")
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID, Traceparent, Tracestate")
			h.Set("Access-Control-Max-Age", "600")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// forPages tells whether a path is one that pages of other origins have a use
// for.
func forPages(path string) bool {
	return strings.HasPrefix(path, "/v1/") || path == "/openapi.json" || path == "/healthz" || path == "/readyz"
}

// crossOrigin refuses that a page of another origin changes something in a
// visitor's name, unless it is one of those that may call.
func crossOrigin(errs *errorWriter, origins []string, next http.Handler) (http.Handler, error) {
	if slices.Contains(origins, anyOrigin) {
		return next, nil
	}
	protection := http.NewCrossOriginProtection()
	for _, origin := range origins {
		if err := protection.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("origin of pages that may call: %w", err)
		}
	}
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		errs.write(w, r, http.StatusForbidden, errCrossOrigin())
	}))
	return protection.Handler(next), nil
}
