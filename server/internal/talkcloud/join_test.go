// SPDX-License-Identifier: Apache-2.0

package talkcloud_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/socketio"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

func mustJoin(t *testing.T, c *talkcloud.Client, opts talkcloud.JoinOptions) *talkcloud.Conn {
	t.Helper()
	conn, err := c.Join(within(t), opts)
	if err != nil {
		t.Fatalf("join: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// waitEvent takes the next event, which must be of a kind.
func waitEvent(t *testing.T, conn *talkcloud.Conn, kind talkcloud.EventKind) talkcloud.Event {
	t.Helper()
	ctx := within(t)
	select {
	case e, open := <-conn.Events():
		if !open || e.Kind != kind {
			t.Fatalf("event is %+v (open %v), want kind %d", e, open, kind)
		}
		return e
	case <-ctx.Done():
		t.Fatalf("no event of kind %d", kind)
	}
	return talkcloud.Event{}
}

func TestConn_PublishEchoDelete(t *testing.T) {
	t.Parallel()
	for _, revision := range []int{3, 4} {
		p := talkcloudtest.New(t)
		c := p.NewClient(t, func(cfg *talkcloud.Config) { cfg.EngineIO = revision })
		conn := mustJoin(t, c, talkcloud.JoinOptions{Room: "7", UserID: "u1", Nickname: "n"})
		if err := conn.Publish(within(t), talkcloud.ClassBegin{RecordType: 1, RecordChat: true}.Message()); err != nil {
			t.Fatal(err)
		}
		if e := waitEvent(t, conn, talkcloud.Published); e.Message.Name != "ClassBegin" || e.Message.FromID != "u1" || e.Message.Seq != 1 {
			t.Fatalf("echo is %+v", e)
		}
		if err := conn.Delete(within(t), talkcloud.ClassEnd()); err != nil {
			t.Fatal(err)
		}
		if e := waitEvent(t, conn, talkcloud.Deleted); e.Message.Key() != "ClassBegin" {
			t.Fatalf("echo is %+v", e)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		if _, open := <-conn.Events(); open || conn.Err() != nil {
			t.Fatalf("after Close an event, or %v", conn.Err())
		}
	}
}

// TestJoin_Wire looks at what the platform gets, against what the vendor's SDK sends.
func TestJoin_Wire(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.New(t)
	p.Answer(talkcloud.PathCheckRoom, talkcloudtest.Body(`{"result":0,"nickname":"Teacher T","roomrole":"0","thirdid":"",
		"room":{"serial":91795,"roomtype":"3","maxvideo":"6","videowidth":"320","videoheight":240,"videoframerate":"15"}}`))
	c := p.NewClient(t, func(cfg *talkcloud.Config) {
		cfg.CheckroomParams = map[string]string{"domain": "test", "clientType": "2"}
	})
	conn := mustJoin(t, c, talkcloud.JoinOptions{Room: "91795", UserID: "t1", Nickname: "张 & 三=+%", Password: "p&w=1"})
	form := p.Forms(talkcloud.PathCheckRoom)[0]
	for key, want := range map[string]string{
		"serial": "91795", "password": "p&w=1", "nickname": "张 & 三=+%", "clientType": "2", "domain": "test", "userid": "",
	} {
		if form.Get(key) != want {
			t.Errorf("checkroom got %s=%q, want %q", key, form.Get(key), want)
		}
	}
	config := p.Forms(talkcloud.PathGetConfig)[0]
	for key, want := range map[string]string{"serial": "91795", "userrole": "0", "selfip": "0.0.0.0"} {
		if config.Get(key) != want {
			t.Errorf("getconfig got %s=%q, want %q", key, config.Get(key), want)
		}
	}
	want := `{"userId":"t1","roomId":91795,"maxVideo":6,"videofps":15,"videowidth":320,"videoheight":240,
		"properties":{"role":0,"nickname":"Teacher T","publishstate":0,"hasvideo":false,"hasaudio":false,"udpstate":1},"roomtype":3,"version":3,"vcodec":null}`
	if got := mustMarshal(t, p.Joins()[0]); !same(t, got, []byte(want)) {
		t.Errorf("joinRoom is\n%s, want\n%s", got, want)
	}
	if conn.UserID() != "t1" || conn.Room() != "91795" {
		t.Errorf("joined %s as %s", conn.Room(), conn.UserID())
	}
}

func TestJoin_Identity(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.New(t)
	c := p.NewClient(t, nil)
	one, two := mustJoin(t, c, talkcloud.JoinOptions{Room: "7"}), mustJoin(t, c, talkcloud.JoinOptions{Room: "7"})
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	if one.UserID() == two.UserID() || !form.MatchString(string(one.UserID())) {
		t.Fatalf("ids are %s and %s", one.UserID(), two.UserID())
	}
	p.Answer(talkcloud.PathCheckRoom, talkcloudtest.Body(`{"result":0,"thirdid":4711,"room":[]}`))
	other := mustJoin(t, c, talkcloud.JoinOptions{Room: "7", UserID: "mine", Nickname: "n"})
	if other.UserID() != "4711" {
		t.Fatalf("id is %s", other.UserID())
	}
	join := p.Joins()[2]
	if join.UserID != "4711" || string(join.Properties["role"]) != "null" || join.RoomID != talkcloud.Text("7") {
		t.Fatalf("joinRoom is %+v", join)
	}
	if got := p.Forms(talkcloud.PathGetConfig)[2]; got.Has("userrole") {
		t.Fatalf("getconfig got %v", got)
	}
	if _, err := c.Join(within(t), talkcloud.JoinOptions{}); talkcloud.KindOf(err) != talkcloud.KindInvalidArgument {
		t.Fatalf("no room: %v", err)
	}
}

// TestJoin_Ack goes through the table of acks. Where the vendor's SDK stands still for ever, we
// have an error or, given evidence, a join.
func TestJoin_Ack(t *testing.T) {
	t.Parallel()
	body := json.RawMessage(`{"roominfo":{},"msglist":{"ClassBegin":{"name":"ClassBegin","id":"ClassBegin"}}}`)
	for _, tc := range []struct {
		name string
		ack  []any
		kind talkcloud.Kind
		code int
		ok   bool
	}{
		{name: "0 and body", ack: []any{0, body}, ok: true},
		{name: "5 and body", ack: []any{5, body}, ok: true},
		{name: "null and body", ack: []any{nil, body}, ok: true},
		{name: "success and body", ack: []any{"success", body}, ok: true},
		{name: "body alone", ack: []any{body}, ok: true},
		{name: "body as a text", ack: []any{0, string(body)}, ok: true},
		{name: "roominfo alone", ack: []any{0, json.RawMessage(`{"roominfo":{}}`)}, ok: true},
		{name: "list alone, as an array", ack: []any{0, json.RawMessage(`{"msglist":[]}`)}, ok: true},
		{name: "5 and a text", ack: []any{5, "text"}, kind: talkcloud.KindInternal, code: 5},
		{name: "documented code", ack: []any{4007}, kind: talkcloud.KindNotFound, code: 4007},
		{name: "0 alone", ack: []any{0}, kind: talkcloud.KindInternal},
		{name: "nothing", ack: []any{}, kind: talkcloud.KindInternal},
		{name: "0 and an empty object", ack: []any{0, json.RawMessage(`{}`)}, kind: talkcloud.KindInternal},
		{name: "0 and users", ack: []any{0, json.RawMessage(`{"userlist":[]}`)}, kind: talkcloud.KindInternal},
		{name: "0 and null", ack: []any{0, nil}, kind: talkcloud.KindInternal},
		{name: "success", ack: []any{"success"}, kind: talkcloud.KindInternal},
		{name: "error and nothing", ack: []any{"error"}, kind: talkcloud.KindFailedPrecondition},
		{name: "error and a text", ack: []any{"error", "denied"}, kind: talkcloud.KindFailedPrecondition},
		{name: "error and a body", ack: []any{"error", body}, kind: talkcloud.KindFailedPrecondition},
		{name: "error and a code", ack: []any{"error", 4008}, kind: talkcloud.KindPermissionDenied, code: 4008},
		{name: "error and an unknown code", ack: []any{"error", 12}, kind: talkcloud.KindInternal, code: 12},
		{name: "error and a refusal", ack: []any{"error", talkcloud.Refusal{Code: 3003, Reason: "NO_SUCH_ROOM"}}, kind: talkcloud.KindNotFound, code: 3003},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := talkcloudtest.NewPlain(t)
			p.Script(talkcloudtest.Script{Ack: func(string, json.RawMessage) ([]any, bool) { return tc.ack, false }})
			conn, err := p.NewClient(t, nil).Join(within(t), talkcloud.JoinOptions{Room: "7"})
			if err == nil {
				defer func() { _ = conn.Close() }()
			}
			if tc.ok != (err == nil) {
				t.Fatalf("join is %v", err)
			}
			if tc.ok {
				return
			}
			if e := asError(t, err, tc.kind, talkcloud.SourceJoin); e.Code != tc.code {
				t.Fatalf("code is %d, want %d", e.Code, tc.code)
			}
			var refused *talkcloud.RefusedError
			if isError := len(tc.ack) > 0 && tc.ack[0] == "error"; errors.As(err, &refused) != isError {
				t.Fatalf("error is %T", err)
			}
		})
	}
}

func TestJoin_NoAck(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.NewPlain(t)
	p.Script(talkcloudtest.Script{Ack: func(string, json.RawMessage) ([]any, bool) { return nil, false }})
	c := p.NewClient(t, func(cfg *talkcloud.Config) { cfg.JoinTimeout = 50 * time.Millisecond })
	_, err := c.Join(within(t), talkcloud.JoinOptions{Room: "7"})
	wantKind(t, err, talkcloud.KindDeadline, talkcloud.SourceJoin)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err = p.NewClient(t, nil).Join(ctx, talkcloud.JoinOptions{Room: "7"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("join is %v", err)
	}
}

// TestJoin_Turns: joins beyond the limit wait for their turn, or until their callers give up.
func TestJoin_Turns(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.NewPlain(t)
	c := p.NewClient(t, func(cfg *talkcloud.Config) { cfg.MaxJoins = 1 })
	arrived, gate := make(chan struct{}), make(chan struct{})
	p.Answer(talkcloud.PathCheckRoom, func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-gate
		_, _ = w.Write([]byte(`{"result":0}`))
	})
	done := make(chan error, 1)
	go func() {
		conn, err := c.Join(within(t), talkcloud.JoinOptions{Room: "7"})
		if err == nil {
			_ = conn.Close()
		}
		done <- err
	}()
	<-arrived
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Join(ctx, talkcloud.JoinOptions{Room: "7"})
	wantKind(t, err, talkcloud.KindCanceled, talkcloud.SourceJoin)
	close(gate)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	p.Answer(talkcloud.PathCheckRoom, nil)
	mustJoin(t, c, talkcloud.JoinOptions{Room: "7"})
}

// TestJoin_Socket joins where the socket cannot be reached, or is none.
func TestJoin_Socket(t *testing.T) {
	t.Parallel()
	silent, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	for name, tc := range map[string]struct {
		addr string
		kind talkcloud.Kind
	}{
		"refused": {talkcloudtest.Refusing(t), talkcloud.KindUnavailable},
		"silent":  {silent.Addr().String(), talkcloud.KindDeadline},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := talkcloudtest.New(t)
			host, port, _ := net.SplitHostPort(tc.addr)
			p.Answer(talkcloud.PathGetConfig, talkcloudtest.Body(`{"courseserver":"`+host+`","courseserverport":`+port+`}`))
			c := p.NewClient(t, func(cfg *talkcloud.Config) {
				if tc.kind == talkcloud.KindDeadline {
					cfg.JoinTimeout = 50 * time.Millisecond
				}
			})
			_, err := c.Join(within(t), talkcloud.JoinOptions{Room: "7"})
			if e := asError(t, err, tc.kind, talkcloud.SourceSocket); e.Code != talkcloud.CodeSocketFailed {
				t.Fatalf("error is %v", e)
			}
		})
	}
}

// TestJoin_NextServer goes on to the next server of newcourseaddr when one is down.
func TestJoin_NextServer(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.New(t)
	host, port := p.Host()
	_, down, _ := net.SplitHostPort(talkcloudtest.Refusing(t))
	p.Answer(talkcloud.PathGetConfig, talkcloudtest.Body(`{"result":0,"courseserver":"nowhere.invalid","newcourseaddr":[
		{"name":"a","signaladdr":"`+host+`","signalport":`+down+`},{"name":"b","signaladdr":"`+host+`","signalport":"`+strconv.Itoa(port)+`"}]}`))
	mustJoin(t, p.NewClient(t, nil), talkcloud.JoinOptions{Room: "7"})
	if got := string(p.Joins()[0].Properties["servername"]); got != `"b"` {
		t.Fatalf("servername is %s", got)
	}
}

// What is no address among newcourseaddr does not keep us from the others.
func TestJoin_OddServer(t *testing.T) {
	t.Parallel()
	for name, odd := range map[string]string{
		"a port that is none": `{"signaladdr":"127.0.0.1","signalport":"x"}`, "a port too large": `{"signaladdr":"127.0.0.1","signalport":70000}`,
		"a host that is none": `{"signaladdr":"a b/c?d","signalport":1}`, "no host": `{"signalport":1}`, "no object": `7`, "null": `null`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := talkcloudtest.New(t)
			host, port := p.Host()
			p.Answer(talkcloud.PathGetConfig, talkcloudtest.Body(`{"result":0,"newcourseaddr":[`+odd+`,{"signaladdr":"`+host+`","signalport":`+strconv.Itoa(port)+`}]}`))
			mustJoin(t, p.NewClient(t, nil), talkcloud.JoinOptions{Room: "7"})
		})
	}
}

func TestRejoin(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.New(t)
	c := p.NewClient(t, nil)
	conn := mustJoin(t, c, talkcloud.JoinOptions{Room: "7", Nickname: "n"})
	p.Drop("7")
	if _, open := <-conn.Events(); open {
		t.Fatal("an event after the drop")
	}
	wantKind(t, conn.Err(), talkcloud.KindUnavailable, talkcloud.SourceSocket)
	wantKind(t, conn.Publish(within(t), talkcloud.ClassEnd()), talkcloud.KindUnavailable, talkcloud.SourceSocket)
	again, err := c.Rejoin(within(t), conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Close() })
	if len(p.Forms(talkcloud.PathCheckRoom)) != 1 || len(p.Forms(talkcloud.PathGetConfig)) != 2 {
		t.Fatal("rejoining is getconfig without checkroom")
	}
	if joins := p.Joins(); !same(t, mustMarshal(t, joins[0]), mustMarshal(t, joins[1])) {
		t.Fatalf("joins differ: %+v", joins)
	}
}

func TestConn_Acks(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		ack  []any
		kind talkcloud.Kind
		ok   bool
	}{
		{name: "empty", ack: []any{}, ok: true},
		{name: "0", ack: []any{0}, ok: true},
		{name: "another number", ack: []any{7}, ok: true},
		{name: "success", ack: []any{"success"}, ok: true},
		{name: "none", ack: nil, ok: true},
		{name: "error", ack: []any{"error", "denied"}, kind: talkcloud.KindFailedPrecondition},
		{name: "a refusal", ack: []any{"error", talkcloud.Refusal{Code: 4108, Reason: "NOT_TEACHER", Message: "only the teacher"}}, kind: talkcloud.KindPermissionDenied},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := talkcloudtest.NewPlain(t)
			p.Script(talkcloudtest.Script{Ack: func(event string, _ json.RawMessage) ([]any, bool) {
				return tc.ack, event == talkcloud.EventJoinRoom
			}})
			c := p.NewClient(t, func(cfg *talkcloud.Config) {
				if tc.ack == nil {
					cfg.EchoTimeout = 20 * time.Millisecond
				}
			})
			conn := mustJoin(t, c, talkcloud.JoinOptions{Room: "7"})
			for _, err := range []error{
				conn.Publish(within(t), talkcloud.ClassBegin{}.Message()), conn.Delete(within(t), talkcloud.ClassEnd()), conn.SendChat(within(t), "hi"),
			} {
				if tc.ok {
					if err != nil {
						t.Fatal(err)
					}
					continue
				}
				e := asError(t, err, tc.kind, talkcloud.SourceSignaling)
				var refused *talkcloud.RefusedError
				if !errors.As(err, &refused) || e.Code != refused.Refusal.Code {
					t.Fatalf("error is %#v", err)
				}
			}
		})
	}
}

func TestConn_BadMessage(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.NewPlain(t)
	conn := mustJoin(t, p.NewClient(t, nil), talkcloud.JoinOptions{Room: "7"})
	err := conn.Publish(within(t), talkcloud.Message{Name: "n", Data: json.RawMessage(`{`)})
	wantKind(t, err, talkcloud.KindInvalidArgument, talkcloud.SourceSignaling)
}

func TestConn_Events(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.NewPlain(t)
	p.Script(talkcloudtest.Script{BeforeJoinAck: func(c *socketio.Conn) { _ = c.Emit(talkcloud.EventForceReconnect) }})
	conn := mustJoin(t, p.NewClient(t, nil), talkcloud.JoinOptions{Room: "7"})
	waitEvent(t, conn, talkcloud.ForceReconnect) // though it came before we were in
	raw := func(text string) json.RawMessage { return json.RawMessage(text) }
	for _, junk := range []string{`null`, `{}`, `[]`, `7`, `"x"`, `{"name":7.5e400}`} { // none of them is a message, or kills
		for _, event := range []string{talkcloud.EventParticipantJoined, talkcloud.EventSendMessage} {
			p.Send("7", event, raw(junk))
		}
	}
	p.Send("7", talkcloud.EventPubMsg)
	p.Send("7", talkcloud.EventPubMsg, raw(`{}`))
	p.Send("7", talkcloud.EventPubMsg, raw(`null`))
	p.Send("7", talkcloud.EventPubMsg, `{"name":"n"}`)
	if e := waitEvent(t, conn, talkcloud.Published); e.Message.Key() != "n" {
		t.Fatalf("event is %+v", e)
	}
	p.Send("7", talkcloud.EventMsgList, raw(`[{"name":"n"}]`))
	if e := waitEvent(t, conn, talkcloud.List); len(e.List) != 1 {
		t.Fatalf("event is %+v", e)
	}
	p.Send("7", talkcloud.EventParticipantJoined, raw(`{"id":"u","properties":{"role":"2","nickname":"n"}}`))
	if e := waitEvent(t, conn, talkcloud.ParticipantJoined); e.UserID != "u" || *e.Participant.Role != 2 || e.Participant.Nickname != "n" {
		t.Fatalf("event is %+v", e)
	}
	p.Send("7", talkcloud.EventParticipantLeft, "u")
	if e := waitEvent(t, conn, talkcloud.ParticipantLeft); e.UserID != "u" {
		t.Fatalf("event is %+v", e)
	}
	p.Send("7", talkcloud.EventParticipantLeft, raw(`{"id":9}`))
	if e := waitEvent(t, conn, talkcloud.ParticipantLeft); e.UserID != "9" {
		t.Fatalf("event is %+v", e)
	}
	p.Send("7", talkcloud.EventSendMessage, raw(`{"fromID":"u","nickname":"n","ts":1511860322,"message":"{\"msg\":\"hello\"}"}`))
	if e := waitEvent(t, conn, talkcloud.Chat); e.ChatMessage != (talkcloud.ChatMessage{FromID: "u", Nickname: "n", Text: "hello", TS: 1511860322}) {
		t.Fatalf("event is %+v", e)
	}
	p.Send("7", talkcloud.EventSendMessage, raw(`{"fromID":"u","message":"plain"}`))
	if e := waitEvent(t, conn, talkcloud.Chat); e.ChatMessage.Text != "plain" {
		t.Fatalf("event is %+v", e)
	}
	p.Send("7", talkcloud.EventSetProperty, raw(`{"id":"u","properties":{"publishstate":3}}`))
	if e := waitEvent(t, conn, talkcloud.Property); e.UserID != "u" || string(e.Participant.Properties["publishstate"]) != "3" {
		t.Fatalf("event is %+v", e)
	}
	p.Send("7", talkcloud.EventAddStream, raw(`{"id":1}`))
	if e := waitEvent(t, conn, talkcloud.Stream); e.Name != talkcloud.EventAddStream || len(e.Args) != 1 {
		t.Fatalf("event is %+v", e)
	}
	p.Send("7", "somethingNew", 1, 2)
	if e := waitEvent(t, conn, talkcloud.Other); e.Name != "somethingNew" || len(e.Args) != 2 {
		t.Fatalf("event is %+v", e)
	}
	for _, reason := range []string{`{"reason":402}`, `{"reason":"402"}`, `402`} {
		p.Send("7", talkcloud.EventParticipantEvicted, raw(reason))
		if e := waitEvent(t, conn, talkcloud.Evicted); e.Reason != talkcloud.EvictedRoomDisabled {
			t.Fatalf("event is %+v", e)
		}
	}
	p.Disconnect("7")
	if _, open := <-conn.Events(); open {
		t.Fatal("an event after 41")
	}
	wantKind(t, conn.Err(), talkcloud.KindUnavailable, talkcloud.SourceSocket)
}

// TestConn_Close: nobody reads the events, and yet Close returns.
func TestConn_Close(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.NewPlain(t)
	conn := mustJoin(t, p.NewClient(t, nil), talkcloud.JoinOptions{Room: "7"})
	conn.Events()
	for range 10 {
		p.Send("7", "noise", 1)
	}
	for range 2 {
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	p.Await(within(t), t, "we are out", func() bool { return len(p.Members("7")) == 0 })
	unread := mustJoin(t, p.NewClient(t, nil), talkcloud.JoinOptions{Room: "7"})
	_ = unread.Close()
	if unread.Events() != nil {
		t.Fatal("events after Close")
	}
}

// TestConn_TooManyEvents: nobody takes the events, so the connection ends instead of growing.
func TestConn_TooManyEvents(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.NewPlain(t)
	conn := mustJoin(t, p.NewClient(t, nil), talkcloud.JoinOptions{Room: "7"})
	for range 1000 {
		p.Send("7", "noise", 1)
	}
	select {
	case <-conn.Done():
	case <-within(t).Done():
		t.Fatal("the connection goes on")
	}
	wantKind(t, conn.Err(), talkcloud.KindUnavailable, talkcloud.SourceSocket)
}

func TestConn_Call(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.NewPlain(t)
	conn := mustJoin(t, p.NewClient(t, nil), talkcloud.JoinOptions{Room: "7"})
	ack, err := conn.Call(within(t), talkcloud.EventPublish, map[string]any{"video": true}, nil)
	if err != nil || len(ack) != 1 || string(ack[0]) != "0" {
		t.Fatalf("ack is %s, %v", ack, err)
	}
	if err := conn.Emit(within(t), talkcloud.EventUnpublish, "s"); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	_, err = conn.Call(within(t), talkcloud.EventPublish)
	wantKind(t, err, talkcloud.KindUnavailable, talkcloud.SourceSocket)
}

// TestJoin_NoWebSocket: the socket's address answers the upgrade with something else.
func TestJoin_NoWebSocket(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	host, port, _ := net.SplitHostPort(web.Listener.Addr().String())
	p := talkcloudtest.NewPlain(t)
	p.Answer(talkcloud.PathGetConfig, talkcloudtest.Body(`{"courseserver":"`+host+`","courseserverport":`+port+`}`))
	_, err := p.NewClient(t, nil).Join(within(t), talkcloud.JoinOptions{Room: "7"})
	if e := asError(t, err, talkcloud.KindUnavailable, talkcloud.SourceSocket); !strings.Contains(e.Error(), "404") {
		t.Fatalf("error is %v", e)
	}
}
