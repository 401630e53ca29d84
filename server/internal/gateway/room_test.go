// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/classrec/classrec/server/internal/gateway"
)

// TestRoomDoors opens the room server's doors to our own pages and to programs, and to nobody else.
func TestRoomDoors(t *testing.T) {
	t.Parallel()
	room := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "room "+r.URL.Path) })
	base := newGateway(t, &service{}, gateway.Config{Room: room})
	host := strings.TrimPrefix(base, "http://")
	for _, path := range []string{"/whip/42/teacher", "/whip/__sessions/x", "/socket.io/", "/ClientAPI/checkroom"} {
		for _, tc := range []struct {
			name    string
			headers []string
			status  int
		}{
			{"a program", nil, 200},
			{"our page", []string{"Origin", base, "Sec-Fetch-Site", "same-origin"}, 200},
			{"our page behind a proxy with TLS", []string{"Origin", "https://" + host}, 200},
			{"a page of another host", []string{"Origin", "https://evil.example"}, 403},
			{"a page of another port", []string{"Origin", "http://127.0.0.1:1"}, 403},
			{"a page without an origin", []string{"Origin", "null"}, 403},
			{"a page that does not say its origin", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		} {
			for _, method := range []string{"GET", "POST", "OPTIONS", "DELETE"} {
				a := send(t, method, base+path, "", tc.headers...)
				if a.status != tc.status {
					t.Errorf("%s, %s %s: %d", tc.name, method, path, a.status)
				}
				if a.status == 403 && a.failure(t).reason() != "CROSS_ORIGIN" {
					t.Errorf("%s, %s %s: %s", tc.name, method, path, a.body)
				}
			}
		}
	}
	// What the page does not need is not there.
	for _, path := range []string{"/ClientAPI/getconfig", "/WebAPI/getrecordlist", "/where.html"} {
		if a := send(t, "GET", base+path, ""); a.status != 404 {
			t.Errorf("GET %s: %d", path, a.status)
		}
	}
}

func TestRoomDoors_None(t *testing.T) {
	t.Parallel()
	base := newGateway(t, &service{}, gateway.Config{})
	for _, path := range []string{"/whip/42/teacher", "/socket.io/", "/ClientAPI/checkroom"} {
		if a := send(t, "GET", base+path, ""); a.status != 404 {
			t.Errorf("GET %s: %d", path, a.status)
		}
	}
}
