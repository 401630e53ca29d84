// SPDX-License-Identifier: Apache-2.0

package roomserver_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/conformance"
	"github.com/classrec/classrec/server/internal/roomserver"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// cohort is a room with one of each who is told of different things, and a recorder.
type cohort struct {
	teacher, student, auditor *roomservertest.Peer
	recorder                  *talkcloud.Conn
}

func newCohort(t *testing.T, s *roomservertest.Server, room talkcloud.RoomID) *cohort {
	t.Helper()
	c := &cohort{
		teacher: s.Join(t, room, conformance.Teacher), student: s.Join(t, room, conformance.Student),
		auditor: s.Join(t, room, conformance.Auditor, roomservertest.Role(talkcloud.RoleAuditor)),
	}
	recorder, err := s.Client(t).Join(roomservertest.Context(t), talkcloud.JoinOptions{Room: room, UserID: "recorder", Recorder: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { recorder.Close() })
	c.recorder = recorder
	c.heard(t, "")
	return c
}

func (c *cohort) people() []*roomservertest.Peer {
	return []*roomservertest.Peer{c.teacher, c.student, c.auditor}
}

func (c *cohort) heard(t *testing.T, event string) string {
	t.Helper()
	return heard(t, event, c.people()...)
}

// told waits until the recorder has heard of a class.
func (c *cohort) told(t *testing.T, kind talkcloud.EventKind) talkcloud.Message {
	t.Helper()
	timeout := time.After(roomservertest.Patience)
	for {
		select {
		case raw, ok := <-c.recorder.Incoming():
			if !ok {
				t.Fatalf("the recorder's connection ended: %v", c.recorder.Err())
			}
			if ev, ok := talkcloud.ParseEvent(raw); ok && ev.Kind == kind && ev.Message.IsClassBegin() {
				return ev.Message
			}
		case <-timeout:
			t.Fatal("the recorder was not told")
		}
	}
}

// inAir is a message as it went to everybody, without what the server adds.
func inAir(t *testing.T, p *roomservertest.Peer, late json.RawMessage) map[string]json.RawMessage {
	t.Helper()
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(late, &fields); err != nil {
		t.Fatalf("%s: %v", p.ID, err)
	}
	for _, key := range []string{"fromID", "ts", "seq", "id", "toID"} {
		delete(fields, key)
	}
	return fields
}

// TestConformance_Begin begins classes in all the odd ways, and ends each in an odd one: each is one recording, with the
// options that were understood, and who is there is told as the target says, but of the end always.
func TestConformance_Begin(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	ends := conformance.Ends()
	for i, begin := range conformance.Begins() {
		end := ends[i%len(ends)]
		t.Run(begin.Name+", ended by "+end.Name, func(t *testing.T) {
			t.Parallel()
			room := talkcloud.RoomID(fmt.Sprint("room ", i))
			c := newCohort(t, s, room)
			if ack := c.teacher.Call(t, talkcloud.EventPubMsg, json.RawMessage(begin.Payload)); refusal(ack) != "" {
				t.Fatalf("refused: %s", ack)
			}
			if got := c.heard(t, talkcloud.EventPubMsg); got != begin.Told {
				t.Errorf("%q heard of it, want %q", got, begin.Told)
			}
			ts := c.told(t, talkcloud.Published).TS.Unix()
			late := s.Join(t, room, "late")
			if len(late.Reply.Messages) != 1 || !late.Reply.Messages[0].IsClassBegin() || late.Reply.Messages[0].TS.Unix() != ts {
				t.Errorf("who comes late knows %+v", late.Reply.Messages)
			}
			wantSame(t, begin.Payload, late)
			if ack := c.teacher.Call(t, talkcloud.EventDelMsg, json.RawMessage(end.Payload)); refusal(ack) != "" {
				t.Fatalf("the end was refused: %s", ack)
			}
			if got := c.heard(t, talkcloud.EventDelMsg); got != conformance.Everybody {
				t.Errorf("%q heard of the end", got)
			}
			if c.told(t, talkcloud.Deleted).TS.Unix() < ts {
				t.Error("it ended before it began")
			}
			wantRecorded(t, s, room, ts, begin)
		})
	}
}

// wantSame compares what a late joiner gets with what was sent.
func wantSame(t *testing.T, sent string, late *roomservertest.Peer) {
	t.Helper()
	var reply struct {
		List map[string]json.RawMessage `json:"msglist"`
	}
	if err := json.Unmarshal(late.Raw, &reply); err != nil {
		t.Fatal(err)
	}
	for _, raw := range reply.List {
		want, got := inAir(t, late, json.RawMessage(sent)), inAir(t, late, raw)
		if fmt.Sprintf("%q", want) != fmt.Sprintf("%q", got) {
			t.Errorf("passed on as %q, want %q", got, want)
		}
	}
}

func wantRecorded(t *testing.T, s *roomservertest.Server, room talkcloud.RoomID, ts int64, begin conformance.Begin) {
	t.Helper()
	if item := recorded(t, s, room, ts); (len(item.Warnings) > 0) != begin.Odd {
		t.Errorf("warnings: %q", item.Warnings)
	}
	items, err := s.Client(t).RecordList(roomservertest.Context(t), talkcloud.RecordListQuery{Room: room})
	if err != nil || len(items) != 1 {
		t.Errorf("%d recordings, %v", len(items), err)
	}
	got := s.Room().Recorded(room, ts)
	want := fmt.Sprintf("recordtype %d, convert %d, layout %d, recordchat %t", begin.RecordType, begin.Convert, begin.Layout, begin.Chat)
	if got != want {
		t.Errorf("recorded with %s, want %s", got, want)
	}
}

// TestConformance_Ends ends a plain class in each odd way, and another class can begin in its room.
func TestConformance_Ends(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	now.Store(time.Now().Unix())
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) {
		c.Now = func() time.Time { return time.Unix(now.Load(), 0) }
	}))
	c := newCohort(t, s, "42")
	for _, end := range conformance.Ends() {
		now.Add(10)
		ts := c.teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList})
		c.heard(t, "")
		c.student.Emit(t, talkcloud.EventDelMsg, json.RawMessage(end.Payload))
		c.student.Message(t, talkcloud.EventDelMsg, talkcloud.MessageClassBegin)
		if got := c.heard(t, talkcloud.EventDelMsg); got != "teacher auditor" {
			t.Errorf("%s: %q heard of the end", end.Name, got)
		}
		recorded(t, s, "42", ts)
	}
}

// TestConformance_Targets sends what goes to everybody, or to some, in all the ways that there are.
func TestConformance_Targets(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	c := newCohort(t, s, "42")
	c.teacher.Emit(t, talkcloud.EventSetProperty, json.RawMessage(`{"id":"student","properties":{"groupId":["A"]}}`))
	c.heard(t, "")
	for _, target := range conformance.Targets() {
		for event, payload := range map[string]string{
			talkcloud.EventPubMsg:      `{"name":"x","do_not_save":"","toID":` + target.To + `}`,
			talkcloud.EventDelMsg:      `{"name":"x","toID":` + target.To + `}`,
			talkcloud.EventSendMessage: `{"message":"{\"msg\":\"hi\"}","toID":` + target.To + `}`,
			talkcloud.EventSetProperty: `{"id":"auditor","properties":{"a":1},"toID":` + target.To + `}`,
		} {
			if ack := c.teacher.Call(t, event, json.RawMessage(payload)); refusal(ack) != "" {
				t.Errorf("%s to %s: %s", event, target.To, ack)
			}
			got, want := c.heard(t, event), target.Told
			if event == talkcloud.EventSetProperty { // its sender hears of it for reasons of its own
				got, want = withoutTeacher(got), withoutTeacher(want)
			}
			if got != want {
				t.Errorf("%s to %s went to %q, want %q", event, target.To, got, want)
			}
		}
		c.heard(t, "")
	}
}

func withoutTeacher(told string) string {
	return strings.TrimSpace(strings.TrimPrefix(told, conformance.Teacher))
}

// TestSameClass publishes ClassBegin while a class is on.
func TestSameClass(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	c := newCohort(t, s, "42")
	begin := func(p *roomservertest.Peer, payload string) int64 {
		t.Helper()
		p.Emit(t, talkcloud.EventPubMsg, json.RawMessage(payload))
		return c.told(t, talkcloud.Published).TS.Unix()
	}
	first := begin(c.teacher, `{"name":"ClassBegin"}`)
	if ts := begin(c.teacher, `{"name":"ClassBegin","id":"ClassBegin_2","data":{"recordtype":0}}`); ts != first {
		t.Errorf("who began it published it again: ts %d, want %d", ts, first)
	}
	if ts := begin(c.student, fmt.Sprintf(`{"name":"ClassBegin","ts":%d}`, first)); ts != first {
		t.Errorf("another published it again: ts %d, want %d", ts, first)
	}
	if late := s.Join(t, "42", "late"); len(late.Reply.Messages) != 1 {
		t.Errorf("who comes late knows %+v", late.Reply.Messages)
	}
	c.heard(t, "")
	if ts := c.student.BeginClass(t, talkcloud.ClassBegin{}); ts <= first {
		t.Errorf("another's class has ts %d, the first %d", ts, first)
	}
	if end := c.told(t, talkcloud.Deleted); end.TS.Unix() < first {
		t.Errorf("the first ended at %d", end.TS.Unix())
	}
	if item := recorded(t, s, "42", first); len(item.Warnings) != 1 {
		t.Errorf("warnings of the first: %q", item.Warnings)
	}
	c.student.EndClass(t)
	roomservertest.Poll(t, "two recordings", func() bool {
		items, err := s.Client(t).RecordList(roomservertest.Context(t), talkcloud.RecordListQuery{Room: "42"})
		return err == nil && len(items) == 2
	})
}

// TestRoomEmpty leaves the room of a class: it is ended when nobody comes back, and goes on when somebody does.
func TestRoomEmpty(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	now.Store(time.Now().Unix())
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) {
		c.RoomEmptyTimeout = 0
		c.Now = func() time.Time { return time.Unix(now.Load(), 0) }
	}))
	later := func(seconds int64) {
		now.Add(seconds)
		s.Room().TimeMoved()
	}
	c := newCohort(t, s, "42")
	ts := c.teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList})
	leave := func(people ...*roomservertest.Peer) {
		t.Helper()
		for _, p := range people {
			p.Close()
		}
		roomservertest.Poll(t, "people to leave", func() bool { return s.Room().Connections() == 1 })
	}
	leave(c.people()...)
	later(59)
	back := s.Join(t, "42", "teacher")
	if len(back.Reply.Messages) != 1 || back.Reply.Messages[0].TS.Unix() != ts {
		t.Fatalf("who comes back finds %+v", back.Reply.Messages)
	}
	later(3600) // somebody is there
	leave(back)
	later(61) // the recorder alone does not hold it
	if end := c.told(t, talkcloud.Deleted); end.TS.Unix() < ts {
		t.Errorf("ended at %d", end.TS.Unix())
	}
	recorded(t, s, "42", ts)

	// a class that the recorder begins is for people who have yet to come; and then with nobody at all
	err := c.recorder.Publish(roomservertest.Context(t), talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList}.Message())
	if err != nil {
		t.Fatal(err)
	}
	second := c.told(t, talkcloud.Published).TS.Unix()
	later(7200)
	if rooms := s.Room().Stats().Rooms; rooms != 1 {
		t.Fatalf("%d rooms", rooms)
	}
	c.recorder.Close()
	roomservertest.Poll(t, "the recorder to leave", func() bool { return s.Room().Connections() == 0 })
	if rooms := s.Room().Stats().Rooms; rooms != 1 {
		t.Errorf("the class ended with the last who left")
	}
	later(61)
	recorded(t, s, "42", second)
	roomservertest.Poll(t, "the room to be forgotten", func() bool { return s.Room().Stats().Rooms == 0 })
}

// TestRoomEmpty_Close closes a server with a class in an empty room.
func TestRoomEmpty_Close(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) { c.RoomEmptyTimeout = 0 }))
	p := s.Join(t, "42", "teacher")
	ts := p.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList})
	p.Close()
	roomservertest.Poll(t, "the teacher to leave", func() bool { return s.Room().Connections() == 0 })
	s.Restart()
	recorded(t, s, "42", ts)
}

// TestClassRate has a student begin classes as fast as it can.
func TestClassRate(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	student := s.Join(t, "42", "student")
	var began []int64
	refusals := 0
	for range 40 {
		ack := student.Call(t, talkcloud.EventPubMsg, talkcloud.ClassBegin{RecordType: 1}.Message())
		if refusal(ack) == "LIMIT_EXCEEDED" {
			refusals++
			continue
		}
		ts := student.Message(t, talkcloud.EventPubMsg, talkcloud.MessageClassBegin).TS.Unix()
		if ahead := ts - time.Now().Unix(); ahead > 2 {
			t.Errorf("recordts is %d s ahead of the clock", ahead)
		}
		began = append(began, ts)
		student.EndClass(t)
	}
	slices.Sort(began)
	if distinct := slices.Compact(began); len(distinct) != 10 || refusals != 30 || s.Room().Stats().Refused["class_rate"] != 30 {
		t.Errorf("%d classes, %d refused", len(distinct), refusals)
	}
	other := s.Join(t, "43", "student")
	other.BeginClass(t, talkcloud.ClassBegin{})
}
