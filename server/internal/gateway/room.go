// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// roomDoors are the paths of the room server that a page of our own origin
// needs to take part in a class: WHIP with its sessions, the signaling socket,
// and who may enter as what.
func roomDoors() []string { return []string{"/whip/", "/socket.io/", "/ClientAPI/checkroom"} }

// OwnOrigin is next for a port where no certificate keeps pages of other origins
// away: what they need to take part in a class (WHIP, the signaling socket,
// checkroom) is refused to them, unless they are of one of origins, which are as
// [Config.CORSOrigins]. All else, and what programs ask for, goes to next.
func OwnOrigin(logger *slog.Logger, origins []string, next http.Handler) http.Handler {
	own := ownOrigin(newErrorWriter(logger), next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inClass := slices.ContainsFunc(roomDoors(), func(path string) bool { return strings.HasPrefix(r.URL.Path, path) })
		if trusted := slices.Contains(origins, anyOrigin) || slices.Contains(origins, r.Header.Get("Origin")); trusted || !inClass {
			next.ServeHTTP(w, r)
			return
		}
		own.ServeHTTP(w, r)
	})
}

// ownOrigin lets pages of our own origin in, and programs, which are no pages;
// a page of another one is refused, whatever it asks for. The room server itself
// lets every origin in at its own address; here, where no certificate stands in
// the way, any page that somebody visits could reach a server on his machine.
func ownOrigin(errs *errorWriter, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin, site := r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site")
		u, err := url.Parse(origin)
		foreign := origin != "" && (err != nil || u.Host != r.Host) // the scheme may be a proxy's
		if foreign || site == "cross-site" || site == "same-site" {
			errs.write(w, r, http.StatusForbidden, errCrossOrigin())
			return
		}
		next.ServeHTTP(w, r)
	})
}
