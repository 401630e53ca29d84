// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/auth"
	"github.com/classrec/classrec/server/internal/socketio"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// newToken makes a token in the file of a data directory.
func newToken(t *testing.T, dir string, token auth.Token) (auth.Token, string) {
	t.Helper()
	made, secret, err := auth.TokenFile{Path: dir + "/tokens.json"}.Create(token, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return made, secret
}

// A server does not listen to the network without asking who is there, and says
// what to set.
func TestNew_RefusesToBeOpen(t *testing.T) {
	t.Parallel()
	rooms := func(c *server.Config, text string) {
		c.RoomsFile, c.StrictRooms = filepath.Join(c.DataDir, "rooms.yaml"), true
		mustWrite(t, c.RoomsFile, text)
	}
	const locked, ajar = "rooms: {'42': {passwords: {teacher: t}}}", "rooms: {'42': {passwords: {teacher: t}}, '43': {name: Maths}}"
	for name, tc := range map[string]struct {
		change func(*server.Config)
		flag   string // "": it is taken
	}{
		"gRPC everywhere":        {func(c *server.Config) { c.GRPCListen = ":0" }, "--grpc-listen"},
		"gRPC everywhere, IPv4":  {func(c *server.Config) { c.GRPCListen = "0.0.0.0:0" }, "--grpc-listen"},
		"HTTP everywhere":        {func(c *server.Config) { c.HTTPListen = "[::]:0" }, "--http-listen"},
		"admin everywhere":       {func(c *server.Config) { c.AdminListen = ":0" }, "--admin-listen"},
		"a name":                 {func(c *server.Config) { c.GRPCListen = "classrec.example:0" }, "--grpc-listen"},
		"rooms everywhere":       {func(c *server.Config) { c.RoomListen = ":0" }, "--room-listen"},
		"rooms, http everywhere": {func(c *server.Config) { c.RoomHTTPListen = ":0" }, "--room-http-listen"},
		"rooms, not strict":      {func(c *server.Config) { c.RoomListen = ":0"; rooms(c, locked); c.StrictRooms = false }, "--room-listen"},
		"rooms with passwords":   {func(c *server.Config) { c.RoomListen, c.RoomHTTPListen = ":0", ":0"; rooms(c, locked) }, ""},
		"a room without":         {func(c *server.Config) { c.RoomListen = ":0"; rooms(c, ajar) }, `room "43" has no passwords, and is open to the network by --room-listen`},
		"a room without, http":   {func(c *server.Config) { c.RoomHTTPListen = ":0"; rooms(c, ajar) }, `room "43" has no passwords, and is open to the network by --room-http-listen`},
		"a room without, here":   {func(c *server.Config) { rooms(c, ajar) }, ""},
		"localhost":              {func(c *server.Config) { c.GRPCListen = "localhost:0" }, ""},
		"on purpose":             {func(c *server.Config) { c.GRPCListen, c.RoomListen, c.InsecureNoAuth = ":0", ":0", true }, ""},
		"with tokens":            {func(c *server.Config) { c.GRPCListen = ":0"; c.TokensFile = c.DataDir + "/other.json" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := anywhere(t.TempDir())
			tc.change(&cfg)
			s, err := server.New(t.Context(), cfg)
			if err == nil {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			switch {
			case tc.flag == "" && err != nil:
				t.Error(err)
			case tc.flag != "" && err == nil:
				t.Error("it listens")
			case tc.flag != "" && (!strings.Contains(err.Error(), tc.flag) || !strings.Contains(err.Error(), "--insecure-no-auth")):
				t.Errorf("does not say what to set: %v", err)
			}
		})
	}
}

// A platform alone listens anywhere, and keeps its metrics to its own machine
// until it has tokens.
func TestPlatformOnly_Metrics(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change          func(*server.Config)
		here, elsewhere int
	}{
		"as it is":    {func(*server.Config) {}, http.StatusOK, http.StatusForbidden},
		"on purpose":  {func(c *server.Config) { c.InsecureNoAuth = true }, http.StatusOK, http.StatusOK},
		"with tokens": {func(c *server.Config) { c.TokensFile = c.DataDir + "/none.json" }, http.StatusUnauthorized, http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := anywhere(t.TempDir())
			cfg.PlatformOnly, cfg.HTTPListen = true, "0.0.0.0:0"
			tc.change(&cfg)
			s := newSecured(t, cfg)
			_, port, err := net.SplitHostPort(s.HTTPAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			r := &running{Server: s, http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
			if got := r.status(t, "http://127.0.0.1:"+port+"/metrics", ""); got != tc.here {
				t.Errorf("from here: %d, want %d", got, tc.here)
			}
			for _, path := range []string{"/healthz", "/readyz"} {
				if got := r.status(t, "http://127.0.0.1:"+port+path, ""); got != http.StatusOK {
					t.Errorf("%s: %d", path, got)
				}
			}
			elsewhere := addressOfOurs(t)
			if got := r.status(t, "http://"+net.JoinHostPort(elsewhere, port)+"/metrics", ""); got != tc.elsewhere {
				t.Errorf("from %s: %d, want %d", elsewhere, got, tc.elsewhere)
			}
		})
	}
}

// addressOfOurs is one that is not loopback: calls to it come from it.
func addressOfOurs(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		if ip, ok := one.(*net.IPNet); ok && ip.IP.To4() != nil && ip.IP.IsGlobalUnicast() {
			return ip.IP.String()
		}
	}
	t.Skip("this machine has no address but loopback")
	return ""
}

// Once anybody is asked who he is, the HTTP port opens rooms by their passwords
// alone; the room server's own port is as it was.
func TestClassroom_NeedsPassword(t *testing.T) {
	t.Parallel()
	cfg := withRooms(t, "rooms: {'42': {passwords: {teacher: geheim}}}")
	r := newRunning(t, cfg)
	room := "http://" + r.RoomHTTPAddr().String()
	doors := func(base, room, password string) string {
		return checkRoomAt(t, r.http, base, room, password) + " " + joinRoomAt(t, base, room, nil) + " " + offerAt(t, r.http, base, room, password)
	}
	for _, tc := range []struct{ base, room, password, want string }{
		{r.base, "7", "", "0 0 400"}, // 400: the offer is none
		{r.base, "42", "", "4008 4008 401"},
	} {
		if got := doors(tc.base, tc.room, tc.password); got != tc.want {
			t.Errorf("nobody is asked: room %s: %s, want %s", tc.room, got, tc.want)
		}
	}
	newToken(t, cfg.DataDir, auth.Token{Name: "ci", Scopes: auth.Scopes()})
	eventually(t, "authentication to be asked for", func() bool { return r.status(t, r.base+"/metrics", "") == http.StatusUnauthorized })
	for _, tc := range []struct{ base, room, password, want string }{
		{r.base, "7", "", "4008 4008 403"},
		{r.base, "7", "teacher", "4008 4008 403"},
		{r.base, "42", "", "4008 4008 401"},
		{r.base, "42", "geheim", "0 0 400"},
		{room, "7", "", "0 0 400"},
	} {
		if got := doors(tc.base, tc.room, tc.password); got != tc.want {
			t.Errorf("room %s, password %q, at %s: %s, want %s", tc.room, tc.password, tc.base, got, tc.want)
		}
	}
}

// checkRoomAt is the result of checkroom, as its text.
func checkRoomAt(t *testing.T, web *http.Client, base, room, password string) string {
	t.Helper()
	form := url.Values{"serial": {room}, "password": {password}, "userrole": {"0"}, "nickname": {"stranger"}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/ClientAPI/checkroom", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := web.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	var answer struct{ Result json.Number }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Error(err)
	}
	return answer.Result.String()
}

// offerAt is the status of an offer by WHIP that is none.
func offerAt(t *testing.T, web *http.Client, base, room, password string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/whip/"+room+"/stranger", strings.NewReader("v=0"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/sdp")
	if password != "" {
		req.Header.Set("Authorization", "Bearer "+password)
	}
	resp, err := web.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	return strconv.Itoa(resp.StatusCode)
}

// joinRoomAt is the code of joinRoom as the teacher, without checkroom.
func joinRoomAt(t *testing.T, base, room string, trust *tls.Config) string {
	t.Helper()
	c, err := socketio.Dial(t.Context(), socketio.DialConfig{URL: strings.Replace(base, "http", "ws", 1), Revision: 3, TLSClientConfig: trust})
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	ack, err := c.Call(t.Context(), talkcloud.EventJoinRoom, map[string]any{
		"userId": "stranger", "roomId": room, "properties": map[string]any{"role": talkcloud.RoleTeacher, "nickname": "stranger"},
	})
	if err != nil || len(ack) == 0 {
		t.Fatalf("joinRoom: %s, %v", ack, err)
	}
	if string(ack[0]) != `"error"` {
		return string(ack[0])
	}
	var refusal talkcloud.Refusal
	if err := json.Unmarshal(ack[1], &refusal); err != nil {
		t.Error(err)
	}
	return strconv.Itoa(refusal.Code)
}

// A token that is made while a server runs is taken, one that is revoked is
// refused, and what it has opened ends.
func TestTokens_WhileRunning(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRunning(t, anywhere(dir))
	if _, err := r.api.StartRecording(t.Context(), &classrecv1.StartRecordingRequest{Room: "42"}); err != nil {
		t.Fatalf("without authentication: %v", err)
	}
	_, secret := newToken(t, dir, auth.Token{Name: "ci", Scopes: []auth.Scope{auth.ScopeWatch, auth.ScopeList}})
	list := &classrecv1.ListRecordingsRequest{Room: "42"}
	eventually(t, "authentication to be asked for", func() bool {
		_, err := r.api.ListRecordings(t.Context(), list)
		return status.Code(err) == codes.Unauthenticated
	})
	api, err := client.Dial(r.GRPCAddr().String(), client.Config{Token: secret})
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	if _, err := api.ListRecordings(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	stream, err := api.WatchClassBegin(t.Context(), &classrecv1.WatchClassBeginRequest{Room: "-"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if _, err := (auth.TokenFile{Path: dir + "/tokens.json"}).Revoke("ci", time.Now()); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err = stream.Recv(); err != nil {
			break
		}
	}
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("the watch of a revoked token ended with %v", err)
	}
	if _, err := api.ListRecordings(t.Context(), list); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a revoked token: %v", err)
	}
}

// eventually polls until done, for at most half a minute.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(30 * time.Second); !done(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
