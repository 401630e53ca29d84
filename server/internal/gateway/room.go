// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"
	"net/url"
)

// roomDoors are the paths of the room server that a page of our own origin
// needs to take part in a class: WHIP with its sessions, the signaling socket,
// and who may enter as what.
func roomDoors() []string { return []string{"/whip/", "/socket.io/", "/ClientAPI/checkroom"} }

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
