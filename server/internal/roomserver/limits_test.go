// SPDX-License-Identifier: Apache-2.0

package roomserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/classrec/classrec/server/internal/publisher"
	"github.com/classrec/classrec/server/internal/roomserver"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/socketio"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// refused returns the refusal in an ack.
func refused(t *testing.T, ack []json.RawMessage) talkcloud.Refusal {
	t.Helper()
	var refusal talkcloud.Refusal
	if len(ack) != 2 || string(ack[0]) != `"error"` {
		t.Fatalf("not refused: %s", ack)
	}
	if err := json.Unmarshal(ack[1], &refusal); err != nil {
		t.Fatal(err)
	}
	return refusal
}

// wantRefused wants the vendor's code for what there is too much of, and the count of it.
func wantRefused(t *testing.T, s *roomservertest.Server, ack []json.RawMessage, limit string) {
	t.Helper()
	if r := refused(t, ack); r.Code != 4103 || r.Reason != "LIMIT_EXCEEDED" || r.Message == "" {
		t.Errorf("%s: refused with %+v", limit, r)
	}
	if s.Room().Stats().Refused[limit] == 0 {
		t.Errorf("%s: not counted: %v", limit, s.Room().Stats().Refused)
	}
}

// dialFrom makes a connection that has joined nothing; from is an address of this machine, "" for any.
func dialFrom(t *testing.T, s *roomservertest.Server, from string) *socketio.Client {
	t.Helper()
	cfg := socketio.DialConfig{URL: strings.Replace(s.URL, "http", "ws", 1), Revision: 3, TLSClientConfig: s.TLSConfig(), EventQueue: 1 << 10}
	if from != "" {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		cfg.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, addr)
		}
	}
	c, err := socketio.Dial(roomservertest.Context(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// joinRoom is the event alone, as a stranger sends it who goes past checkroom.
func joinRoom(t *testing.T, c *socketio.Client, room, user string, role int) []json.RawMessage {
	t.Helper()
	ack, err := c.Call(roomservertest.Context(t), talkcloud.EventJoinRoom, map[string]any{
		"userId": user, "roomId": room, "properties": map[string]any{"role": role, "nickname": user},
	})
	if err != nil {
		t.Fatal(err)
	}
	return ack
}

func limited(t *testing.T, change func(*roomserver.Config)) *roomservertest.Server {
	t.Helper()
	return roomservertest.New(t, roomservertest.Config(change))
}

// TestLimit_Rooms refuses one room more. Those that there are go on, and a place that becomes free is taken.
func TestLimit_Rooms(t *testing.T) {
	t.Parallel()
	s := limited(t, func(c *roomserver.Config) { c.MaxRooms = 2 })
	first, second := s.Join(t, "1", "teacher"), s.Join(t, "2", "teacher")
	stranger := dialFrom(t, s, "")
	for n := range 100 { // many distinct ones
		wantRefused(t, s, joinRoom(t, stranger, fmt.Sprintf("room-%d", n), "x", 2), "rooms")
	}
	if n := s.Room().Rooms(); n != 2 {
		t.Errorf("%d rooms", n)
	}
	first.Sync(t)
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	roomservertest.Poll(t, "a place", func() bool { return s.Room().Rooms() == 1 })
	if ack := joinRoom(t, stranger, "3", "x", 2); string(ack[0]) != "0" {
		t.Errorf("no place in %d rooms: %s", s.Room().Rooms(), ack)
	}
}

// TestLimit_Participants refuses people in one room, and connections in all.
func TestLimit_Participants(t *testing.T) {
	t.Parallel()
	s := limited(t, func(c *roomserver.Config) { c.MaxPerRoom, c.MaxParticipants = 2, 4 })
	teacher := s.Join(t, "42", "teacher")
	s.Join(t, "42", "a")
	late := dialFrom(t, s, "")
	wantRefused(t, s, joinRoom(t, late, "42", "b", 2), "room_people")
	if ack := joinRoom(t, late, "43", "b", 2); string(ack[0]) != "0" {
		t.Errorf("another room: %s", ack)
	}
	if status := postOffer(t, s, "/whip/42/c", ""); status != http.StatusTooManyRequests {
		t.Errorf("WHIP into a full room: %d", status)
	}
	s.Join(t, "42", "a") // who is there already comes back
	let := 0
	for _, user := range []talkcloud.UserID{"x", "y"} { // there are three, or four while the first a leaves
		if p, err := s.TryJoin(roomservertest.Context(t), "44", user); err == nil {
			let++
			defer p.Close()
		}
	}
	if let > 1 {
		t.Error("more connections than there may be")
	}
	if s.Room().Stats().Refused["participants"] == 0 {
		t.Error("not counted")
	}
	teacher.Sync(t)
}

// postOffer publishes what is no offer, and returns what it is answered.
func postOffer(t *testing.T, s *roomservertest.Server, path, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+path, strings.NewReader("v=0"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/sdp")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := s.HTTPClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if after := resp.Header.Get("Retry-After"); (resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500) && after == "" {
		t.Errorf("%s: status %d without Retry-After", path, resp.StatusCode)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// TestLimit_Service has a place for the service in a server that is full.
func TestLimit_Service(t *testing.T) {
	t.Parallel()
	s := limited(t, func(c *roomserver.Config) { c.MaxRooms, c.MaxPerRoom, c.MaxParticipants = 1, 1, 1 })
	s.Join(t, "42", "teacher")
	ours := serveAsService(t, s)
	for _, room := range []string{"42", "43"} {
		conn, err := ours.Join(roomservertest.Context(t), talkcloud.JoinOptions{Room: talkcloud.RoomID(room)})
		if err != nil {
			t.Fatalf("the service is not let into room %s: %v", room, err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestLimit_MessageRate refuses messages above the rate, of the one who sends them.
func TestLimit_MessageRate(t *testing.T) {
	t.Parallel()
	const rate = 3 // 30 in ten seconds
	s := limited(t, func(c *roomserver.Config) { c.MessagesPerSecond = rate })
	calm, loud := s.Join(t, "42", "teacher"), s.Join(t, "42", "loud")
	var over []json.RawMessage
	taken := 0
	for range 200 {
		if ack := loud.Call(t, talkcloud.EventPubMsg, map[string]any{"name": "x", "id": "x", "toID": "__none"}); string(ack[0]) == "0" {
			taken++
		} else {
			over = ack
		}
	}
	wantRefused(t, s, over, "message_rate")
	if taken < 20 || taken > 150 {
		t.Errorf("%d of 200 messages were taken", taken)
	}
	calm.Sync(t)
}

// TestLimit_MessageSize ends the connection that sends a message too large, and no other.
func TestLimit_MessageSize(t *testing.T) {
	t.Parallel()
	s := limited(t, func(c *roomserver.Config) { c.MaxMessageBytes = 4 << 10 })
	calm, loud := s.Join(t, "42", "teacher"), s.Join(t, "42", "loud")
	loud.Emit(t, talkcloud.EventPubMsg, map[string]any{"name": "x", "id": "x", "data": strings.Repeat("x", 8<<10)})
	select {
	case <-loud.Done():
	case <-roomservertest.Context(t).Done():
		t.Fatal("the connection goes on")
	}
	calm.Wait(t, talkcloud.EventParticipantLeft)
	if s.Room().Stats().Refused["message_size"] != 1 {
		t.Errorf("not counted: %v", s.Room().Stats().Refused)
	}
	calm.Sync(t)
}

// TestLimit_Saved refuses what a room would have to keep beyond its bounds; what is there may still be changed.
func TestLimit_Saved(t *testing.T) {
	t.Parallel()
	s := limited(t, func(c *roomserver.Config) { c.MaxSavedMessages, c.MaxSavedBytes = 3, 2_000 })
	p := s.Join(t, "42", "teacher")
	publish := func(id string, size int) []json.RawMessage {
		return p.Call(t, talkcloud.EventPubMsg, map[string]any{"name": id, "id": id, "data": strings.Repeat("x", size)})
	}
	for n := range 3 {
		if ack := publish(fmt.Sprint(n), 10); string(ack[0]) != "0" {
			t.Fatalf("message %d: %s", n, ack)
		}
	}
	wantRefused(t, s, publish("more", 10), "saved_messages")
	if ack := publish("0", 100); string(ack[0]) != "0" {
		t.Errorf("in place of an earlier one: %s", ack)
	}
	wantRefused(t, s, publish("0", 2_000), "saved_messages")
	if ack := p.Call(t, talkcloud.EventPubMsg, map[string]any{"name": "not kept", "id": "n", "do_not_save": true}); string(ack[0]) != "0" {
		t.Errorf("one that is not kept: %s", ack)
	}
}

// TestLimit_Properties refuses properties that are too large.
func TestLimit_Properties(t *testing.T) {
	t.Parallel()
	s := limited(t, func(c *roomserver.Config) { c.MaxPropertiesBytes = 1_000 })
	p := s.Join(t, "42", "teacher")
	wantRefused(t, s, p.Call(t, talkcloud.EventSetProperty, map[string]any{
		"id": "teacher", "toID": "__all", "properties": map[string]any{"x": strings.Repeat("x", 1_000)},
	}), "properties")
}

// TestLimit_Streams refuses streams of one participant, and publishers in all.
func TestLimit_Streams(t *testing.T) {
	t.Parallel()
	s := limited(t, func(c *roomserver.Config) { c.MaxStreams, c.MaxPublishers = 1, 1 })
	teacher := s.Join(t, "42", "teacher")
	pub := teacher.Publish(t, clip(t))
	wantRefused(t, s, teacher.Call(t, talkcloud.EventPublish, map[string]any{
		"state": "ms", "audio": true, "video": true, "attributes": map[string]any{"type": "screen"},
	}), "streams")
	if status := postOffer(t, s, "/whip/42/teacher", ""); status != http.StatusTooManyRequests {
		t.Errorf("WHIP beyond the streams of a participant: %d", status)
	}
	ctx := roomservertest.Context(t)
	if _, err := publisher.PublishWHIP(ctx, clip(t), publisher.WHIP{URL: s.URL + "/whip/42/other", Client: s.HTTPClient()}); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("WHIP beyond all publishers: %v", err)
	}
	if s.Room().Stats().Refused["publishers"] == 0 {
		t.Errorf("not counted: %v", s.Room().Stats().Refused)
	}
	select {
	case <-pub.Failed():
		t.Error("who published before is hurt")
	default:
	}
}

// TestLimit_Disk begins no class and takes no publisher on a disk that is nearly full; a class that goes on loses what
// comes meanwhile, and goes on when there is room again.
func TestLimit_Disk(t *testing.T) {
	t.Parallel()
	s := limited(t, func(*roomserver.Config) {})
	teacher := s.Join(t, "42", "teacher")
	ts := teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList})
	teacher.Publish(t, clip(t))
	untilBlocks(t, s, mustJSON(t, ts)+"/*.mkv", 10)

	roomserver.SetMinFree(s.Room(), math.MaxInt64)
	other := s.Join(t, "43", "teacher")
	begin := talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList}.Message()
	ack := other.Call(t, talkcloud.EventPubMsg, begin)
	if r := refused(t, ack); r.Code != 4107 || r.Reason != "DISK_FULL" {
		t.Errorf("a class began on a full disk: %+v", r)
	}
	if status := postOffer(t, s, "/whip/43/camera", ""); status != http.StatusInsufficientStorage {
		t.Errorf("WHIP on a full disk: %d", status)
	}
	if n := s.Room().Stats().Refused["disk"]; n != 2 {
		t.Errorf("counted %d", n)
	}
	roomservertest.Poll(t, "a recording that is interrupted", func() bool { return s.Room().Stats().Recorder.Refused == 1 })

	roomserver.SetMinFree(s.Room(), 0)
	roomservertest.Poll(t, "a recording that goes on", func() bool { return s.Room().Stats().Recorder.Refused == 0 })
	teacher.EndClass(t)
	if item := recorded(t, s, "42", ts); len(item.Files) == 0 {
		t.Error("nothing is kept of the class")
	}
}

// TestPasswords_JoinRoom lets nobody past checkroom: not without a password, not with a role of another one, not from
// another address.
func TestPasswords_JoinRoom(t *testing.T) {
	t.Parallel()
	s := limited(t, func(c *roomserver.Config) {
		c.Rooms = map[talkcloud.RoomID]roomserver.RoomConfig{"7": {Passwords: map[int]talkcloud.Secret{
			talkcloud.RoleTeacher: "geheim", talkcloud.RoleStudent: "schule",
		}}}
	})
	wantPassword := func(what string, ack []json.RawMessage) {
		t.Helper()
		if r := refused(t, ack); r.Code != 4008 || r.Reason != "PASSWORD_NEEDED" {
			t.Errorf("%s: %+v", what, r)
		}
	}
	wantPassword("nobody has shown a password", joinRoom(t, dialFrom(t, s, ""), "7", "a", talkcloud.RoleTeacher))
	if _, err := s.TryJoin(roomservertest.Context(t), "7", "student", roomservertest.Password("falsch")); err == nil {
		t.Error("in with a wrong password")
	}
	wantPassword("after a wrong one", joinRoom(t, dialFrom(t, s, ""), "7", "a", talkcloud.RoleStudent))
	student := s.Join(t, "7", "student", roomservertest.Password("schule"))
	wantPassword("another role than the password's", joinRoom(t, dialFrom(t, s, ""), "7", "a", talkcloud.RoleTeacher))
	wantPassword("from another address", joinRoom(t, dialFrom(t, s, "127.0.0.2"), "7", "a", talkcloud.RoleStudent))
	if ack := joinRoom(t, dialFrom(t, s, ""), "7", "student", talkcloud.RoleStudent); string(ack[0]) != "0" {
		t.Errorf("coming back: %s", ack)
	}
	<-student.Done() // put out by the same user
	if n := s.Room().Stats().Refused["password"]; n != 5 {
		t.Errorf("counted %d", n)
	}
	for token, want := range map[string]int{"": 401, "falsch": 401, "schule": 400} { // 400: the offer is none
		if status := postOffer(t, s, "/whip/7/camera", token); status != want {
			t.Errorf("WHIP with %q: %d", token, status)
		}
	}
}

// In a room with passwords, who has shown none ends no class.
func TestPasswords_RoomOver(t *testing.T) {
	t.Parallel()
	s := limited(t, func(c *roomserver.Config) {
		c.Rooms = map[talkcloud.RoomID]roomserver.RoomConfig{"7": {Passwords: map[int]talkcloud.Secret{talkcloud.RoleTeacher: "geheim"}}}
	})
	teacher := s.Join(t, "7", "teacher", roomservertest.Role(talkcloud.RoleTeacher), roomservertest.Password("geheim"))
	teacher.BeginClass(t, talkcloud.ClassBegin{})
	over := func(from string) string {
		t.Helper()
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		web := http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: s.TLSConfig(), DisableKeepAlives: true}}
		form := url.Values{"serial": {"7"}, "act": {"3"}, "companyid": {"10001"}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+talkcloud.PathRoomOver, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := web.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var answer struct{ Result json.Number }
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		return answer.Result.String()
	}
	if got := over("127.0.0.2"); got != "4008" {
		t.Errorf("from an address that has shown nothing: %s", got)
	}
	teacher.Sync(t)
	for _, ev := range teacher.Events() {
		if ev.Name == talkcloud.EventDelMsg {
			t.Error("the class was ended")
		}
	}
	if got := over("127.0.0.1"); got != "0" {
		t.Errorf("from the teacher's: %s", got)
	}
	teacher.Message(t, talkcloud.EventDelMsg, talkcloud.MessageClassBegin)
}

// TestPasswordsHandler has rooms with passwords only. It counts whom it refuses.
func TestPasswordsHandler(t *testing.T) {
	t.Parallel()
	s := limited(t, func(c *roomserver.Config) {
		c.Rooms = map[talkcloud.RoomID]roomserver.RoomConfig{
			"7": {Passwords: map[int]talkcloud.Secret{talkcloud.RoleTeacher: "geheim"}}, "8": {Name: "open"},
		}
	})
	web := httptest.NewServer(s.Room().PasswordsHandler())
	t.Cleanup(web.Close)
	for room, want := range map[string]map[string]string{
		"7": {"geheim": "0", "": "4008"}, "8": {"": "4008"}, "9": {"": "4008", "teacher": "4008"},
	} {
		for password, want := range want {
			form := url.Values{"serial": {room}, "password": {password}, "userrole": {"0"}}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, web.URL+talkcloud.PathCheckRoom, strings.NewReader(form.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			resp, err := web.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			var answer struct{ Result json.Number }
			if err := errors.Join(json.NewDecoder(resp.Body).Decode(&answer), resp.Body.Close()); err != nil || answer.Result.String() != want {
				t.Errorf("room %s with %q: %s, %v", room, password, answer.Result, err)
			}
		}
	}
	c, err := socketio.Dial(roomservertest.Context(t), socketio.DialConfig{URL: strings.Replace(web.URL, "http", "ws", 1), Revision: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if r := refused(t, joinRoom(t, c, "8", "a", talkcloud.RoleTeacher)); r.Code != 4008 || r.Reason != "PASSWORD_NEEDED" {
		t.Errorf("joinRoom of an open room: %+v", r)
	}
	if ack := joinRoom(t, c, "7", "a", talkcloud.RoleTeacher); string(ack[0]) != "0" {
		t.Errorf("joinRoom with the password shown: %s", ack)
	}
	if n := s.Room().Stats().Refused["password"]; n != 5 {
		t.Errorf("counted %d", n)
	}
}

// TestPasswords_Rejoin comes back to a platform that has been started anew, which has forgotten who had shown the password.
func TestPasswords_Rejoin(t *testing.T) {
	t.Parallel()
	s := limited(t, func(c *roomserver.Config) {
		c.Rooms = map[talkcloud.RoomID]roomserver.RoomConfig{"7": {Passwords: map[int]talkcloud.Secret{talkcloud.RoleTeacher: "geheim"}}}
	})
	client := s.Client(t)
	conn, err := client.Join(roomservertest.Context(t), talkcloud.JoinOptions{Room: "7", Password: "geheim"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s.Restart()
	again, err := client.Rejoin(roomservertest.Context(t), conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// TestFiles_Headers protects who looks at a file in a browser from what strangers wrote into it.
func TestFiles_Headers(t *testing.T) {
	t.Parallel()
	s := limited(t, func(*roomserver.Config) {})
	teacher := s.Join(t, "42", "teacher")
	ts := teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList, RecordChat: true})
	teacher.Publish(t, clip(t))
	teacher.Chat(t, "<script>alert(1)</script>")
	untilBlocks(t, s, mustJSON(t, ts)+"/*.mkv", 10)
	teacher.EndClass(t)
	item := recorded(t, s, "42", ts)
	for _, f := range item.Files {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.HTTPClient().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || int64(len(body)) != resp.ContentLength {
			t.Fatalf("%d, %d bytes, %v", resp.StatusCode, len(body), err)
		}
		h := resp.Header
		media := strings.HasPrefix(h.Get("Content-Type"), "video/")
		disposition, _, _ := strings.Cut(h.Get("Content-Disposition"), ";")
		if disposition != map[bool]string{true: "inline", false: "attachment"}[media] {
			t.Errorf("%s is %s", h.Get("Content-Type"), h.Get("Content-Disposition"))
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") ||
			h.Get("Cross-Origin-Resource-Policy") != "cross-origin" {
			t.Errorf("%s: %v", h.Get("Content-Type"), h)
		}
	}
	if len(item.Files) < 2 {
		t.Errorf("files: %+v", item.Files)
	}
}

// serveAsService is a client of the same server by the door of the service.
func serveAsService(t *testing.T, s *roomservertest.Server) *talkcloud.Client {
	t.Helper()
	web := httptest.NewServer(s.Room().ServiceHandler())
	t.Cleanup(web.Close)
	client, err := talkcloud.New(talkcloud.Config{BaseURL: web.URL, EnterpriseKey: roomservertest.Key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}
