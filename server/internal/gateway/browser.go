// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/classrec/classrec/server/internal/auth"
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
func forBrowsers(cfg Config, errs *errorWriter, next http.Handler) http.Handler {
	next = cors(cfg.CORSOrigins, next)
	if cfg.Hosts != nil {
		next = knownHosts(errs, cfg.Hosts, next)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header(), r)
		next.ServeHTTP(w, begun(r))
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

// KnownHost reports whether a request's host, with or without a port, is one of hosts, a local name or an address; nil
// hosts are all.
func KnownHost(host string, hosts []string) bool { return hosts == nil || knownHost(host, hosts) }

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

// cors lets pages of some origins call the API and read its answers. Who calls
// sends a token: see [crossOrigin] for what the browser keeps of us. The files and the room's doors have rules of their
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
		h.Set("Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate, Classrec-Version, Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin")
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
			h.Set("Access-Control-Allow-Methods", "GET, POST")
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID, Traceparent, Tracestate, "+
				"Connect-Protocol-Version, Connect-Timeout-Ms, Grpc-Timeout, X-Grpc-Web, X-User-Agent")
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
	return strings.HasPrefix(path, "/v1/") || strings.HasPrefix(path, connectPrefix) || path == "/openapi.json" || path == "/protos.zip" || path == "/healthz" || path == "/readyz"
}

// crossOrigin refuses what a page of another origin asks for in a visitor's
// name, unless it is one of those that may call. Reading is asking too: a watch
// joins the room. Those that may call do it with what they have themselves, a
// token: what the browser keeps of the visitor, his certificate, does not count.
func crossOrigin(errs *errorWriter, origins []string, next http.Handler) (http.Handler, error) {
	all := slices.Contains(origins, anyOrigin)
	none, some := http.NewCrossOriginProtection(), http.NewCrossOriginProtection()
	for _, origin := range origins {
		if origin == anyOrigin {
			continue
		}
		if err := some.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("origin of pages that may call: %w", err)
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := *r
		asked.Method = http.MethodPost // it lets all reading pass
		if none.Check(&asked) == nil {
			next.ServeHTTP(w, r)
			return
		}
		credentials := auth.OfRequest(r)
		switch {
		case !all && some.Check(&asked) != nil, credentials.Certificate != nil && len(credentials.Authorization) == 0:
			errs.write(w, r, http.StatusForbidden, errCrossOrigin())
		case len(credentials.Authorization) == 0 && plainForm(r):
			errs.write(w, r, 0, errInvalid("a page of another origin sends its body as application/json"))
		default:
			next.ServeHTTP(w, r)
		}
	}), nil
}

// plainForm reports whether r has a body that any page can have a browser send, without asking
// whether it may: of a type that is neither JSON nor one of Connect or gRPC-Web.
func plainForm(r *http.Request) bool {
	contentType := r.Header.Get("Content-Type")
	if r.ContentLength == 0 || contentType == "" {
		return false
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err != nil || mediaType != "application/json" && mediaType != "application/proto" &&
		!strings.HasPrefix(mediaType, "application/connect+") && !strings.HasPrefix(mediaType, "application/grpc-web")
}
