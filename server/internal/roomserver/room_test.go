// SPDX-License-Identifier: Apache-2.0

package roomserver_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/classrec/classrec/server/internal/roomserver"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/socketio"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// class is a room with one of each role that matters.
func class(t *testing.T, s *roomservertest.Server) (teacher, student, auditor *roomservertest.Peer) {
	t.Helper()
	teacher = s.Join(t, "42", "teacher")
	student = s.Join(t, "42", "student")
	auditor = s.Join(t, "42", "auditor", roomservertest.Role(talkcloud.RoleAuditor))
	for _, p := range []*roomservertest.Peer{teacher, student, auditor} {
		p.Sync(t)
		p.Events()
	}
	return teacher, student, auditor
}

// heard returns who has got an event of a name, in order: everybody's events are fetched and forgotten.
func heard(t *testing.T, name string, peers ...*roomservertest.Peer) string {
	t.Helper()
	var ids []string
	for _, p := range peers {
		p.Sync(t)
		if slices.Contains(names(p.Events()), name) {
			ids = append(ids, string(p.ID))
		}
	}
	return strings.Join(ids, " ")
}

func TestMessages_ToID(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	teacher, student, auditor := class(t, s)
	for to, want := range map[string]string{
		"":                           "teacher student auditor",
		talkcloud.ToAll:              "teacher student auditor",
		talkcloud.ToAllExceptSender:  "student auditor",
		talkcloud.ToAllExceptAuditor: "teacher student",
		talkcloud.ToNone:             "",
		"student":                    "student",
		"teacher":                    "teacher",
		"nobody":                     "",
	} {
		m := map[string]any{"name": "x", "id": "x", "toID": to, "data": "{}"}
		for _, event := range []string{talkcloud.EventPubMsg, talkcloud.EventDelMsg} {
			if ack := teacher.Call(t, event, m); fmt.Sprintf("%s", ack) != "[0]" {
				t.Errorf("%s to %q: ack %s", event, to, ack)
			}
			if got := heard(t, event, teacher, student, auditor); got != want {
				t.Errorf("%s to %q went to %q, want %q", event, to, got, want)
			}
		}
		teacher.Emit(t, talkcloud.EventSendMessage, map[string]any{"toID": to, "message": "hi"})
		if got := heard(t, talkcloud.EventSendMessage, teacher, student, auditor); got != want {
			t.Errorf("chat to %q went to %q, want %q", to, got, want)
		}
	}
}

// TestMessages_Exact looks at every byte of what comes through.
func TestMessages_Exact(t *testing.T) {
	t.Parallel()
	now := time.Unix(1795375561, 0)
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) { c.Now = func() time.Time { return now } }))
	p := s.Join(t, "42", "teacher")
	tests := map[string]struct{ sent, want string }{
		"text": {
			`{"name":"a","id":"a","toID":"__all","data":"{\"recordtype\":\"1\"}"}`,
			`{"name":"a","id":"a","toID":"__all","data":"{\"recordtype\":\"1\"}","fromID":"teacher","ts":1795375561,"seq":N}`,
		},
		"object": {
			`{"name":"a","id":"b","toID":"__all","data":{"n":1.50,"s":"<&>"}}`,
			`{"name":"a","id":"b","toID":"__all","data":{"n":1.50,"s":"<&>"},"fromID":"teacher","ts":1795375561,"seq":N}`,
		},
		"id is the name": {
			`{"name":"a","toID":"__all"}`,
			`{"name":"a","toID":"__all","id":"a","fromID":"teacher","ts":1795375561,"seq":N}`,
		},
		"everything": {
			`{"name":"a","id":"c","toID":"teacher","data":null,"do_not_save":"","associatedMsgID":"x","associatedUserID":"u","expires":7200,"write2DB":1,"type":"t"}`,
			`{"name":"a","id":"c","toID":"teacher","data":null,"do_not_save":"","associatedMsgID":"x","associatedUserID":"u","expires":7200,"write2DB":1,"type":"t","fromID":"teacher","ts":1795375561,"seq":N}`,
		},
		"blanks, false and twice": {
			`{"do_not_save": false, "name":"a","data": { "a" : [ 1, 2 ] },"x":1,"x":2.50,"toID":"teacher", "id":"e"}`,
			`{"do_not_save":false,"name":"a","data":{ "a" : [ 1, 2 ] },"x":1,"x":2.50,"toID":"teacher","id":"e","fromID":"teacher","ts":1795375561,"seq":N}`,
		},
		"forged": {
			`{"name":"a","id":"d","fromID":"somebody","ts":{"a":1},"seq":"99"}`,
			`{"name":"a","id":"d","toID":"__all","fromID":"teacher","ts":1795375561,"seq":N}`,
		},
	}
	seq := 0
	for name, test := range tests {
		p.Emit(t, talkcloud.EventPubMsg, json.RawMessage(test.sent))
		seq++
		want := strings.Replace(test.want, "N", fmt.Sprint(seq), 1)
		if got := line(p.Next(t)); got != "pubMsg "+want {
			t.Errorf("%s:\n got %s\nwant pubMsg %s", name, got, want)
		}
	}
}

func TestMessages_Saved(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	teacher, student, _ := class(t, s)
	publish := func(m talkcloud.Message) {
		t.Helper()
		m.Name = "n"
		teacher.Emit(t, talkcloud.EventPubMsg, m)
	}
	publish(talkcloud.Message{ID: "first"})
	publish(talkcloud.Message{ID: "unsaved", DoNotSave: true})
	publish(talkcloud.Message{ID: "second", Data: talkcloud.TextData("old")})
	publish(talkcloud.Message{ID: "hers", To: "student"})
	publish(talkcloud.Message{ID: "quiet", To: talkcloud.ToNone})
	publish(talkcloud.Message{ID: "not for auditors", To: talkcloud.ToAllExceptAuditor})
	publish(talkcloud.Message{ID: "second", Data: talkcloud.TextData("new")})
	teacher.Sync(t)

	ids := func(p *roomservertest.Peer) string {
		var list []string
		for _, m := range p.Reply.Messages { // in order of seq
			list = append(list, m.ID)
		}
		return strings.Join(list, ", ")
	}
	late := s.Join(t, "42", "late")
	if got, want := ids(late), "first, quiet, not for auditors, second"; got != want {
		t.Errorf("late joiner knows %s, want %s", got, want)
	}
	if m := late.Reply.Messages[3]; m.DataText() != "new" || m.FromID != "teacher" || m.TS == 0 {
		t.Errorf("replaced message: %+v", m)
	}
	if got, want := ids(s.Join(t, "42", "auditor2", roomservertest.Role(talkcloud.RoleAuditor))), "first, quiet, second"; got != want {
		t.Errorf("late auditor knows %s, want %s", got, want)
	}
	if got, want := ids(s.Join(t, "42", "student")), "first, hers, quiet, not for auditors, second"; got != want {
		t.Errorf("student who comes back knows %s, want %s", got, want)
	}
	<-student.Done()

	teacher.Emit(t, talkcloud.EventDelMsg, talkcloud.Message{Name: "n", ID: "first", To: talkcloud.ToNone})
	teacher.Emit(t, talkcloud.EventDelMsg, talkcloud.Message{Name: "n", ID: "second"})
	teacher.Sync(t)
	if got, want := ids(s.Join(t, "42", "later")), "quiet, not for auditors"; got != want {
		t.Errorf("after deletes there are %s, want %s", got, want)
	}
	teacher.Emit(t, talkcloud.EventDelMsg, talkcloud.Message{Name: talkcloud.MessageAllAll, ID: talkcloud.MessageAllAll, To: talkcloud.ToNone})
	teacher.Sync(t)
	if got := ids(s.Join(t, "42", "latest")); got != "" {
		t.Errorf("after __AllAll there are %s", got)
	}
}

func TestMessages_DroppedWithTheRoom(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	first := s.Join(t, "42", "first")
	first.Emit(t, talkcloud.EventPubMsg, talkcloud.Message{Name: "n", ID: "m"})
	first.Sync(t)
	second := s.Join(t, "42", "second")
	first.Close()
	second.Wait(t, talkcloud.EventParticipantLeft)
	if n := len(s.Join(t, "42", "third").Reply.Messages); n != 1 {
		t.Errorf("%d messages while somebody is there", n)
	}
	s.Drop()
	roomservertest.Poll(t, "the room to empty", func() bool {
		p, err := s.TryJoin(roomservertest.Context(t), "42", "probe")
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		return len(p.Reply.Messages) == 0
	})
}

func TestMessages_Associated(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	teacher, student, _ := class(t, s)
	for _, m := range []talkcloud.Message{
		{ID: "page"},
		{ID: "line", AssociatedMsgID: "page"},
		{ID: "dot", AssociatedMsgID: "line"},
		{ID: "loop", AssociatedMsgID: "loop2"},
		{ID: "loop2", AssociatedMsgID: "loop"},
		{ID: "hand", AssociatedUserID: "student"},
		{ID: "finger", AssociatedMsgID: "hand"},
		{ID: "stays", AssociatedUserID: "teacher", AssociatedMsgID: "nothing"},
	} {
		m.Name = "n"
		student.Emit(t, talkcloud.EventPubMsg, m)
	}
	student.Sync(t)
	teacher.Sync(t)
	teacher.Events()

	deletes := func() string {
		t.Helper()
		teacher.Sync(t)
		var ids []string
		for _, ev := range teacher.Events() {
			var m talkcloud.Message
			if ev.Name == talkcloud.EventDelMsg && json.Unmarshal(ev.Args[0], &m) == nil {
				ids = append(ids, m.ID)
			}
		}
		return strings.Join(ids, " ")
	}
	teacher.Emit(t, talkcloud.EventDelMsg, talkcloud.Message{Name: "n", ID: "page"})
	if got, want := deletes(), "page line dot"; got != want {
		t.Errorf("with the page went %q, want %q", got, want)
	}
	teacher.Emit(t, talkcloud.EventDelMsg, talkcloud.Message{Name: "n", ID: "loop"})
	if got, want := deletes(), "loop loop2"; got != want {
		t.Errorf("with the loop went %q, want %q", got, want)
	}
	again := s.Join(t, "42", "student") // a doubled user has not left
	<-student.Done()
	if got := deletes(); got != "" {
		t.Errorf("with a doubled user went %q", got)
	}
	again.Close()
	teacher.Wait(t, talkcloud.EventParticipantLeft)
	if got, want := deletes(), "hand finger"; got != want {
		t.Errorf("with the student went %q, want %q", got, want)
	}
	if left := s.Join(t, "42", "late").Reply.Messages; len(left) != 1 || left[0].ID != "stays" {
		t.Errorf("left: %+v", left)
	}
}

func TestMessages_Expire(t *testing.T) {
	t.Parallel()
	var clock atomic.Int64
	clock.Store(1795375561)
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) {
		c.Now = func() time.Time { return time.Unix(clock.Load(), 0) }
	}))
	p := s.Join(t, "42", "teacher")
	for id, fields := range map[string]string{
		"past":         `"expiresabs":1795375000`,
		"past ms":      `"expiresabs":1795375000000`,
		"relative":     `"expires":1`,
		"never":        `"expires":0`,
		"far":          `"expires":999999999999`,
		"beyond time":  `"expires":9223372036854775807,"expiresabs":9223372036854775807`,
		"before time":  `"expiresabs":-5`,
		"another type": `"expires":{},"expiresabs":"soon"`,
	} {
		p.Emit(t, talkcloud.EventPubMsg, json.RawMessage(fmt.Sprintf(`{"name":"n","id":%q,%s}`, id, fields)))
	}
	p.Message(t, talkcloud.EventDelMsg, "past")
	p.Message(t, talkcloud.EventDelMsg, "past ms")
	p.Sync(t) // all have been published before the clock goes on
	clock.Add(2)
	p.Message(t, talkcloud.EventDelMsg, "relative")
	p.Sync(t)
	for _, ev := range p.Events() {
		if ev.Name == talkcloud.EventDelMsg {
			t.Errorf("%s", line(ev))
		}
	}
	if n := len(s.Join(t, "42", "late").Reply.Messages); n != 5 {
		t.Errorf("%d messages are left", n)
	}
}

// TestMessages_Absent deletes what is not there.
func TestMessages_Absent(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	teacher, student, auditor := class(t, s)
	teacher.Emit(t, talkcloud.EventDelMsg, talkcloud.Message{Name: "n", ID: "unsaved or never there"})
	if got := heard(t, talkcloud.EventDelMsg, teacher, student, auditor); got != "teacher student auditor" {
		t.Errorf("a delete of nothing went to %q", got)
	}
	teacher.EndClass(t)
	if got := heard(t, talkcloud.EventDelMsg, student, auditor); got != "" {
		t.Errorf("the end of no class went to %q", got)
	}
}

func TestMessages_Limits(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) {
		c.MaxSavedMessages, c.MaxSavedBytes = 3, 2000
	}))
	p := s.Join(t, "42", "teacher")
	message := func(id string, bytes int) talkcloud.Message {
		return talkcloud.Message{Name: "n", ID: id, Data: talkcloud.TextData(strings.Repeat("x", bytes))}
	}
	for _, test := range []struct {
		m    talkcloud.Message
		want string
	}{
		{message("1", 10), ""},
		{message("2", 10), ""},
		{message("3", 10), ""},
		{message("4", 10), "LIMIT_EXCEEDED"},
		{message("3", 500), ""},
		{message("3", 2500), "LIMIT_EXCEEDED"},
		{talkcloud.ClassBegin{}.Message(), ""}, // a class has place always
	} {
		if ack := p.Call(t, talkcloud.EventPubMsg, test.m); refusal(ack) != test.want {
			t.Errorf("%s: ack %s, want %q", test.m.ID, ack, test.want)
		}
	}
	p.Emit(t, talkcloud.EventDelMsg, message("1", 0))
	if ack := p.Call(t, talkcloud.EventPubMsg, message("4", 10)); refusal(ack) != "" {
		t.Errorf("after a delete: %s", ack)
	}
	if n := len(s.Join(t, "42", "late").Reply.Messages); n != 4 {
		t.Errorf("%d messages are saved", n)
	}
}

func TestPeople_ComeAndGo(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	teacher := s.Join(t, "42", "teacher", roomservertest.Property("cls", "one"))
	student := s.Join(t, "42", "student", roomservertest.Revision(4))
	want := `participantJoined {"id":"student","properties":{"hasaudio":true,"hasvideo":true,"nickname":"student","publishstate":0,"role":2,"servername":"cna","udpstate":1}}`
	if got := line(teacher.Next(t)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if users := student.Reply.Users; len(users) != 1 || users[0].ID != "teacher" || string(users[0].Properties["cls"]) != `"one"` {
		t.Errorf("userlist: %+v", users)
	}
	// joining again on the same connection tells the same, and nobody else
	ack := student.Call(t, talkcloud.EventJoinRoom, map[string]any{"userId": "student", "roomId": 42})
	if diff := cmp.Diff(string(student.Raw), string(ack[1])); diff != "" {
		t.Errorf("joined again: %s", diff)
	}
	if ack := student.Call(t, talkcloud.EventJoinRoom, map[string]any{"userId": "other", "roomId": "42"}); refusal(ack) != "ALREADY_JOINED" {
		t.Errorf("joined as another: %s", ack)
	}
	// a doubled user
	again := s.Join(t, "42", "student")
	<-student.Done()
	if err := student.Err(); !errors.Is(err, socketio.ErrDisconnected) {
		t.Errorf("the older one ended with %v", err)
	}
	if got := line(student.Next(t)); got != `participantEvicted {"reason":400}` {
		t.Errorf("the older one got %s", got)
	}
	if got := line(teacher.Next(t)); got != `participantLeft "student"` {
		t.Errorf("teacher got %s", got)
	}
	if got := teacher.Next(t); got.Name != talkcloud.EventParticipantJoined {
		t.Errorf("teacher got %s", line(got))
	}
	// evicted by somebody
	teacher.Emit(t, talkcloud.EventEvictParticipant, map[string]any{"id": "student", "reason": 1})
	<-again.Done()
	if got := line(again.Next(t)); got != `participantEvicted {"reason":1}` {
		t.Errorf("the evicted one got %s", got)
	}
	if got := line(teacher.Next(t)); got != `participantLeft "student"` {
		t.Errorf("teacher got %s", got)
	}
	// lost without a word
	s.Join(t, "42", "student")
	teacher.Wait(t, talkcloud.EventParticipantJoined)
	other := s.Join(t, "43", "elsewhere")
	s.Drop()
	<-other.Done()
	<-teacher.Done()
}

func TestPeople_Drop(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) {
		c.PingInterval, c.PingTimeout = 100*time.Millisecond, 100*time.Millisecond
	}))
	teacher := s.Join(t, "42", "teacher")
	ws := dialRaw(t, s, "3")
	ws.send(`420["joinRoom",{"userId":"silent","roomId":"42","properties":{}}]`)
	teacher.Wait(t, talkcloud.EventParticipantJoined)
	if got := line(teacher.Wait(t, talkcloud.EventParticipantLeft)); got != `participantLeft "silent"` { // it never pings
		t.Errorf("got %s", got)
	}
}

func TestPeople_Properties(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) { c.MaxPropertiesBytes = 1000 }))
	teacher, student, auditor := class(t, s)
	for _, test := range []struct{ payload, want string }{
		{`{"id":"teacher","toID":"__all","properties":{"publishstate":3}}`, "teacher student auditor"},
		{`{"id":"student","toID":"__allExceptSender","properties":{"raisehand":true}}`, "student auditor"},
		{`{"id":"student","toID":"student","properties":{"raisehand":true}}`, "teacher student"},
		{`{"id":"student","toID":"__none","properties":{"raisehand":false}}`, ""},
		{`{"id":{"ids":["student","nobody","student"]},"properties":{"a":1}}`, "teacher student auditor"},
		{`{"id":{"roles":[2,"3"]},"properties":{"b":{"c":[]}}}`, "teacher student auditor"},
		{`{"id":"nobody","properties":{"a":1}}`, ""},
	} {
		if ack := teacher.Call(t, talkcloud.EventSetProperty, json.RawMessage(test.payload)); fmt.Sprintf("%s", ack) != "[0]" {
			t.Errorf("%s: ack %s", test.payload, ack)
		}
		if got := heard(t, talkcloud.EventSetProperty, teacher, student, auditor); got != test.want {
			t.Errorf("%s: told %q, want %q", test.payload, got, test.want)
		}
	}
	teacher.Emit(t, talkcloud.EventSetProperty, json.RawMessage(`{"id":"student","properties":{"role":3}}`))
	if got, want := line(student.Next(t)), `setProperty {"id":"student","fromID":"teacher","properties":{"role":3}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	teacher.Emit(t, talkcloud.EventPubMsg, talkcloud.Message{Name: "n", To: talkcloud.ToAllExceptAuditor})
	if got := heard(t, talkcloud.EventPubMsg, student); got != "" {
		t.Error("who has become an auditor is told like a student")
	}
	got := fmt.Sprintf("%s", teacher.Call(t, talkcloud.EventGetUser, "student"))
	want := `[0 [{"id":"student","properties":{"a":1,"b":{"c":[]},"hasaudio":true,"hasvideo":true,"nickname":"student","publishstate":0,"raisehand":false,"role":3,"servername":"cna","udpstate":1}}]]`
	if got != want {
		t.Errorf("user: %s\nwant  %s", got, want)
	}
	if got := fmt.Sprintf("%s", teacher.Call(t, talkcloud.EventGetUser, "nobody")); got != "[0 []]" {
		t.Errorf("nobody: %s", got)
	}
	big := map[string]any{"id": "student", "properties": map[string]string{"x": strings.Repeat("x", 1000)}}
	if ack := teacher.Call(t, talkcloud.EventSetProperty, big); refusal(ack) != "LIMIT_EXCEEDED" {
		t.Errorf("too big: %s", ack)
	}
}

func TestPeople_BigRoom(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) { c.BigRoom = 3 }))
	teacher := s.Join(t, "42", "teacher")
	var others []*roomservertest.Peer
	for i := range 4 {
		others = append(others, s.Join(t, "42", talkcloud.UserID(fmt.Sprint("s", i))))
	}
	teacher.Sync(t)
	if got := names(teacher.Events()); len(got) != 2 {
		t.Errorf("teacher was told %v", got)
	}
	if users := others[3].Reply.Users; len(users) != 1 || users[0].ID != "teacher" {
		t.Errorf("userlist of a big room: %+v", users)
	}
	others[0].Close()
	others[1].Close()
	others[2].Close()
	roomservertest.Poll(t, "them to leave", func() bool {
		return fmt.Sprintf("%s%s%s", teacher.Call(t, "getUser", "s0"), teacher.Call(t, "getUser", "s1"), teacher.Call(t, "getUser", "s2")) ==
			"[0 []][0 []][0 []]"
	})
	late := s.Join(t, "42", "late")
	teacher.Sync(t)
	if got := names(teacher.Events()); len(got) != 0 {
		t.Errorf("a room that has been big tells %v", got)
	}
	if users := late.Reply.Users; len(users) != 1 {
		t.Errorf("userlist of a room that has been big: %+v", users)
	}
}

func TestChat(t *testing.T) {
	t.Parallel()
	now := time.Unix(1795375561, 0)
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) {
		c.Now = func() time.Time { return now }
		c.ChatPerSecond = 2
	}))
	teacher, student, _ := class(t, s)
	student.Emit(t, talkcloud.EventSendMessage, map[string]any{"toID": "__all", "message": `{"msg":"hello"}`})
	want := `sendMessage {"fromID":"student","nickname":"student","role":2,"toID":"__all","message":"{\"msg\":\"hello\"}","ts":1795375561}`
	if got := line(teacher.Next(t)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var acks []string
	for range 2 {
		acks = append(acks, refusal(student.Call(t, talkcloud.EventSendMessage, map[string]any{"message": "x"})))
		acks = append(acks, refusal(teacher.Call(t, talkcloud.EventSendMessage, map[string]any{"message": map[string]int{"a": 1}})))
	}
	if diff := cmp.Diff([]string{"", "", "LIMIT_EXCEEDED", ""}, acks); diff != "" {
		t.Errorf("more chat than the room carries: %s", diff)
	}
}

// TestUpdateTime is how a client learns the server's clock.
func TestUpdateTime(t *testing.T) {
	t.Parallel()
	now := time.Unix(1795375561, 0)
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) { c.Now = func() time.Time { return now } }))
	p := s.Join(t, "42", "teacher")
	p.Emit(t, talkcloud.EventPubMsg, json.RawMessage(`{"name":"UpdateTime","id":"UpdateTime","toID":"teacher","do_not_save":""}`))
	if m := p.Message(t, talkcloud.EventPubMsg, "UpdateTime"); m.TS != 1795375561 {
		t.Errorf("ts is %d", m.TS)
	}
}

// TestClassBegin_Times begins and ends classes faster than the clock ticks.
func TestClassBegin_Times(t *testing.T) {
	t.Parallel()
	now := time.Unix(1795375561, 0)
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) { c.Now = func() time.Time { return now } }))
	for i := range 3 {
		p := s.Join(t, "42", "teacher") // the room is forgotten in between, its last ts is not
		begin := p.BeginClass(t, talkcloud.ClassBegin{})
		end := p.EndClass(t).TS.Unix()
		if want := now.Unix() + int64(i); begin != want || end < begin {
			t.Errorf("class %d is from %d to %d, want from %d", i, begin, end, want)
		}
		p.Close()
	}
}

// TestRefusals sends what cannot be acted on. The connection stays, and the room hears nothing of it.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	teacher, student, _ := class(t, s)
	for _, test := range []struct{ event, payload, want string }{
		{"pubMsg", `1`, "BAD_PAYLOAD"},
		{"pubMsg", `null`, "BAD_PAYLOAD"},
		{"pubMsg", `{}`, "BAD_PAYLOAD"},
		{"pubMsg", `"{"`, "BAD_PAYLOAD"},
		{"delMsg", `[]`, "BAD_PAYLOAD"},
		{"delMsg", `{"id":[]}`, "BAD_PAYLOAD"},
		{"sendMessage", `{"toID":"__all"}`, "BAD_PAYLOAD"},
		{"setProperty", `7`, "BAD_PAYLOAD"},
		{"setProperty", `{"id":"x","properties":7}`, "BAD_PAYLOAD"},
		{"setProperty", `{"id":"teacher","properties":{"role":2}}`, "NO_PERMISSION"},
		{"evictParticipant", `"teacher"`, "NO_PERMISSION"},
		{"evictParticipant", `[]`, "BAD_PAYLOAD"},
		{"evictParticipant", `{}`, "BAD_PAYLOAD"},
		{"getUser", `[]`, "BAD_PAYLOAD"},
		{"publish", `true`, "BAD_PAYLOAD"},
		{"signaling_message", `{"streamId":"x"}`, "BAD_PAYLOAD"},
		{"signaling_message", `{"streamId":"x","msg":{"type":"offer","sdp":"v=0"}}`, "UNKNOWN_STREAM"},
		{"signaling_message", `{"streamId":"x","msg":{"type":"candidate"}}`, "UNKNOWN_STREAM"},
		{"signaling_message", `{"streamId":"x","msg":{"type":"updatestream"}}`, "UNKNOWN_STREAM"},
		{"subscribe", `{"streamId":"x"}`, "NOT_SUPPORTED"},
		{"fly", `{}`, "UNKNOWN_EVENT"},
	} {
		if ack := student.Call(t, test.event, json.RawMessage(test.payload), nil); refusal(ack) != test.want {
			t.Errorf("%s %s: ack %s, want %s", test.event, test.payload, ack, test.want)
		}
	}
	if ack := student.Call(t, "pubMsg"); refusal(ack) != "BAD_PAYLOAD" {
		t.Errorf("pubMsg of nothing: %s", ack)
	}
	teacher.Sync(t)
	if events := teacher.Events(); len(events) != 0 {
		t.Errorf("the room heard %v", names(events))
	}
}

func TestRefusals_Join(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) {
		c.StrictRooms = true
		c.Rooms = map[talkcloud.RoomID]roomserver.RoomConfig{"42": {}}
		c.MaxParticipants = 2
		c.MaxPropertiesBytes = 200
	}))
	p := dial(t, s)
	call := func(event, payload string) string {
		t.Helper()
		ack, err := p.Call(roomservertest.Context(t), event, json.RawMessage(payload))
		if err != nil {
			t.Fatal(err)
		}
		return refusal(ack)
	}
	for _, test := range []struct{ event, payload, want string }{
		{"pubMsg", `{"name":"x"}`, "NOT_JOINED"},
		{"joinRoom", `1`, "BAD_PAYLOAD"},
		{"joinRoom", `{}`, "BAD_ID"},
		{"joinRoom", `{"userId":"u","roomId":{}}`, "BAD_ID"},
		{"joinRoom", `{"userId":"__all","roomId":"42"}`, "BAD_ID"},
		{"joinRoom", `{"userId":"a/b","roomId":"42"}`, "BAD_ID"},
		{"joinRoom", `{"userId":"u\n","roomId":"42"}`, "BAD_ID"},
		{"joinRoom", `{"userId":"` + strings.Repeat("u", 129) + `","roomId":"42"}`, "BAD_ID"},
		{"joinRoom", `{"userId":"u","roomId":"43"}`, "NO_SUCH_ROOM"},
		{"joinRoom", `{"userId":"u","roomId":"42","properties":{"x":"` + strings.Repeat("x", 200) + `"}}`, "LIMIT_EXCEEDED"},
		{"joinRoom", `{"userId":"u","roomId":42,"properties":7}`, ""},
	} {
		if got := call(test.event, test.payload); got != test.want {
			t.Errorf("%s %s: %q, want %q", test.event, test.payload, got, test.want)
		}
	}
	second := dial(t, s)
	if _, err := socketio.Dial(roomservertest.Context(t), dialConfig(s)); err == nil {
		t.Error("a third participant was let in")
	}
	second.Close()
	roomservertest.Poll(t, "a place to be free", func() bool {
		c, err := socketio.Dial(roomservertest.Context(t), dialConfig(s))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

func dialConfig(s *roomservertest.Server) socketio.DialConfig {
	return socketio.DialConfig{URL: s.URL, TLSClientConfig: s.TLSConfig()}
}

// dial connects without joining.
func dial(t *testing.T, s *roomservertest.Server) *socketio.Client {
	t.Helper()
	c, err := socketio.Dial(roomservertest.Context(t), dialConfig(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
