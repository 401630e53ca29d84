// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/auth"
)

// connect makes a connection that says nothing.
func connect(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// ended waits until the other end has closed a connection, and returns what it has said.
func ended(t *testing.T, conn net.Conn) string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(conn)
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() { //nolint:errorlint // it is not wrapped
		t.Fatal("the connection goes on")
	}
	return string(said)
}

// get asks over a connection of its own.
func get(t *testing.T, conn net.Conn) string {
	t.Helper()
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// refusals are those of a listener, by reason.
func refusals(t *testing.T, r *running, listener, reason string) float64 {
	t.Helper()
	families, err := server.Registry(r.Server).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "classrec_connections_refused_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == listener && m.GetLabel()[1].GetValue() == reason {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no count of %s, %s", listener, reason)
	return 0
}

// A door that is full refuses one more at once, in words where it can; those inside go on, and a place that becomes free
// is taken.
func TestDoors_Full(t *testing.T) {
	t.Parallel()
	cfg := anywhere(t.TempDir())
	cfg.Doors.MaxConnections, cfg.AdminListen = 3, "127.0.0.1:0"
	r := newRunning(t, cfg)
	held := []net.Conn{connect(t, r.HTTPAddr()), connect(t, r.HTTPAddr()), connect(t, r.HTTPAddr())}
	for _, conn := range held {
		if line := get(t, conn); line != "HTTP/1.1 200 OK" {
			t.Fatal(line)
		}
	}
	if line := get(t, connect(t, r.HTTPAddr())); line != "HTTP/1.1 503 Service Unavailable" {
		t.Errorf("over the limit: %s", line)
	}
	if line := get(t, held[0]); line != "HTTP/1.1 200 OK" {
		t.Errorf("who is inside: %s", line)
	}
	if n := refusals(t, r, "http", "full"); n != 1 {
		t.Errorf("counted %v", n)
	}
	held[1].Close()
	freed := func() bool { return get(t, connect(t, r.HTTPAddr())) == "HTTP/1.1 200 OK" }
	for deadline := time.Now().Add(20 * time.Second); !freed(); {
		if time.Now().After(deadline) {
			t.Fatal("a place that is free is not taken")
		}
	}

	// Of gRPC and https the connection ends; the rooms have bounds of their own.
	for range 3 {
		connect(t, r.AdminAddr())
	}
	ended(t, connect(t, r.AdminAddr()))
	if line := get(t, connect(t, r.RoomHTTPAddr())); !strings.Contains(line, "404") {
		t.Errorf("the rooms: %s", line)
	}
}

// One address has so many connections, whatever door it comes to.
func TestDoors_Address(t *testing.T) {
	t.Parallel()
	cfg := anywhere(t.TempDir())
	cfg.Doors.MaxConnectionsPerAddress = 2
	r := newRunning(t, cfg)
	get(t, connect(t, r.HTTPAddr()))
	get(t, connect(t, r.HTTPAddr()))
	if line := get(t, connect(t, r.HTTPAddr())); line != "HTTP/1.1 503 Service Unavailable" {
		t.Errorf("over the limit: %s", line)
	}
	if n := refusals(t, r, "http", "address"); n != 1 {
		t.Errorf("counted %v", n)
	}
	other, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext(t.Context(), "tcp", r.HTTPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if line := get(t, other); line != "HTTP/1.1 200 OK" {
		t.Errorf("another address: %s", line)
	}
}

// On loopback, names that are not ours are refused, and pages of other origins: a page cannot make itself a page of ours
// by its name (DNS rebinding).
func TestDoors_Browsers(t *testing.T) {
	t.Parallel()
	cfg := anywhere(t.TempDir())
	cfg.FilesBaseURL = "https://files.example/files"
	cfg.Doors.AllowedHosts = []string{"classrec.example"}
	cfg.Doors.CORSOrigins = []string{"https://app.example"}
	r := newRunning(t, cfg)
	for _, tc := range []struct {
		method, path, host, origin string
		want                       int
	}{
		{"GET", "/readyz", "", "", 200},
		{"GET", "/readyz", "localhost:1", "", 200},
		{"GET", "/readyz", "classrec.example", "", 200},
		{"GET", "/readyz", "files.example", "", 200},
		{"GET", "/readyz", "evil.example", "", 421},
		{"GET", "/metrics", "evil.example", "", 421},
		{"GET", "/", "evil.example", "", 421},
		{"POST", "/v1/rooms/1/recordings", "evil.example", "http://evil.example", 421},
		{"POST", "/v1/rooms/1/recordings", "", "http://evil.example", 403},
		{"POST", "/v1/rooms/1/recordings", "", "https://app.example", 200},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tc.method, r.base+tc.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if tc.host != "" {
			req.Host = tc.host
		}
		if tc.origin != "" {
			req.Header.Set("Origin", tc.origin)
		}
		resp, err := r.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tc.want {
			t.Errorf("%+v: %d", tc, resp.StatusCode)
		}
	}
}

// What makes no sense of the doors names its flag.
func TestDoors_Invalid(t *testing.T) {
	t.Parallel()
	cfg := anywhere(t.TempDir())
	cfg.Doors = server.Doors{MaxConnections: -1, CORSOrigins: []string{"app.example"}, AllowedHosts: []string{"a:1"}}
	cfg.RoomLimits.MaxRooms = -1
	_, err := server.New(t.Context(), cfg)
	for _, flag := range []string{"--max-connections", "--cors-origin", "--allowed-host", "--room-max-rooms"} {
		if err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s is not named: %v", flag, err)
		}
	}
}

// A room that is full of strangers can still be recorded.
func TestRoomLimits_Service(t *testing.T) {
	t.Parallel()
	cfg := anywhere(t.TempDir())
	cfg.RoomLimits = server.RoomLimits{MaxRooms: 1, MaxParticipants: 1, MaxPerRoom: 1}
	r := newRunning(t, cfg)
	conn, err := grpc.NewClient(r.GRPCAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	api := classrecv1.NewRecordingServiceClient(conn)
	for _, room := range []string{"1", "2", "3"} {
		if _, err := api.StartRecording(ctx, &classrecv1.StartRecordingRequest{Room: room}); err != nil {
			t.Errorf("room %s: %v", room, err)
		}
	}
}

// A header that HTTP takes is none too large for the call that it becomes.
func TestDoors_LargeHeader(t *testing.T) {
	t.Parallel()
	cfg := anywhere(t.TempDir())
	_, _ = newToken(t, cfg.DataDir, auth.Token{Name: "somebody", Scopes: []auth.Scope{auth.ScopeList}})
	r := newRunning(t, cfg)
	for _, credentials := range [][]string{{"Bearer " + strings.Repeat("~", 66_000)}, slices.Repeat([]string{"B"}, 3_500)} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.base+"/v1/rooms/42/recordings", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header["Authorization"] = credentials
		if code, _, body := roundTrip(t, r.http, req); code != http.StatusUnauthorized {
			t.Errorf("%d: %s", code, body)
		}
	}
}
