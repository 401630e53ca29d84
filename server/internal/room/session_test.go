// SPDX-License-Identifier: Apache-2.0

package room_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/socketio"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

func mustPublish(t testing.TB, s *room.Session, m talkcloud.Message) talkcloud.Message {
	t.Helper()
	echo, err := s.Publish(within(t), m)
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	return echo
}

func TestSession_PublishDelete(t *testing.T) {
	t.Parallel()
	p, m := newRoom(t)
	s := mustAcquire(t, m, join("1", "u"))
	sub := mustSubscribe(t, s)
	echo := mustPublish(t, s, classBegin())
	if echo.FromID != "u" || echo.TS.Unix() == 0 || echo.Seq == 0 {
		t.Fatalf("echo is %+v", echo)
	}
	if e := waitEvent(t, sub, room.Published); !e.Message.Equal(echo) || e.InList {
		t.Fatalf("event is %+v", e)
	}
	mustSubscribe(t, s, echo)
	gone, err := s.Delete(within(t), talkcloud.ClassEnd())
	if err != nil || gone.TS.Unix() == 0 {
		t.Fatalf("delete is %+v, %v", gone, err)
	}
	if e := waitEvent(t, sub, room.Deleted); !e.Message.Equal(gone) || e.InList {
		t.Fatalf("event is %+v", e)
	}
	mustSubscribe(t, s)
	s.Release()
	if e := waitEvent(t, sub, room.Ended); !errors.Is(e.Err, room.ErrReleased) {
		t.Fatalf("ended with %v", e.Err)
	}
	if _, open := <-sub.C; open || !errors.Is(sub.Err(), room.ErrReleased) {
		t.Fatalf("after the end: open %v, %v", open, sub.Err())
	}
	if _, err := s.Publish(within(t), classBegin()); !errors.Is(err, room.ErrReleased) {
		t.Fatalf("publish after release is %v", err)
	}
	waitEvent(t, s.Subscribe(), room.Ended)
	p.Await(within(t), t, "we have left", func() bool { return len(p.Members("1")) == 0 })
}

// TestSession_Others: the class is begun and ended by somebody else.
func TestSession_Others(t *testing.T) {
	t.Parallel()
	p, m := newRoom(t)
	before := p.Publish("1", talkcloud.Message{Name: "note", ID: "note-1"})
	s := mustAcquire(t, m, join("1", "u"))
	sub := mustSubscribe(t, s, before)
	teacher := classBegin()
	teacher.FromID = "teacher"
	begun := p.Publish("1", teacher)
	if e := waitEvent(t, sub, room.Published); !e.Message.Equal(begun) || e.InList {
		t.Fatalf("event is %+v", e)
	}
	unsaved := p.Publish("1", talkcloud.Message{Name: "UpdateTime", DoNotSave: true})
	if e := waitEvent(t, sub, room.Published); !e.Message.Equal(unsaved) {
		t.Fatalf("event is %+v", e)
	}
	mustSubscribe(t, s, before, begun)
	p.Delete("1", talkcloud.Message{Name: "unknown"}) // no change
	p.Delete("1", talkcloud.ClassEnd())
	if e := waitEvent(t, sub, room.Deleted); e.Message.Key() != talkcloud.MessageClassBegin {
		t.Fatalf("event is %+v", e)
	}
	mustSubscribe(t, s, before)
}

// TestSession_Together: messages that go with another one, with a user, or with all.
func TestSession_Together(t *testing.T) {
	t.Parallel()
	p, m := newRoom(t)
	s := mustAcquire(t, m, join("1", "u"))
	sub := mustSubscribe(t, s)
	publish := func(message talkcloud.Message) {
		p.Publish("1", message)
		waitEvent(t, sub, room.Published)
	}
	publish(talkcloud.Message{ID: "page", AssociatedMsgID: "board"})
	publish(talkcloud.Message{ID: "board"})
	publish(talkcloud.Message{ID: "hand", AssociatedUserID: "student"})
	publish(classBegin())
	deleted := func(ids ...string) {
		t.Helper()
		for _, id := range ids {
			if e := waitEvent(t, sub, room.Deleted); e.Message.Key() != id {
				t.Fatalf("deleted %s, want %s", e.Message.Key(), id)
			}
		}
	}
	p.Delete("1", talkcloud.Message{ID: "board"})
	deleted("board", "page")
	p.Send("1", talkcloud.EventParticipantLeft, "student")
	deleted("hand")
	publish(talkcloud.Message{ID: "board"})
	p.Delete("1", talkcloud.Message{Name: "__AllAll", ID: "__AllAll", FromID: "teacher"})
	deleted("ClassBegin", "board")
	mustSubscribe(t, s)
}

// TestSession_PushedList: a list that the platform pushes adds, and takes nothing away.
func TestSession_PushedList(t *testing.T) {
	t.Parallel()
	p, m := newRoom(t)
	s := mustAcquire(t, m, join("1", "u"))
	sub := mustSubscribe(t, s)
	begun := p.Publish("1", classBegin())
	waitEvent(t, sub, room.Published)
	pushed := talkcloud.Message{ID: "page", Seq: 9}
	p.Send("1", talkcloud.EventMsgList, talkcloud.MessageList{begun, pushed})
	if e := waitEvent(t, sub, room.Published); !e.InList || e.Message.Key() != "page" {
		t.Fatalf("event is %+v", e)
	}
	mustSubscribe(t, s, begun, pushed)
}

// TestSession_Overtaking: events that were on the way while we joined, and are in the list already.
func TestSession_Overtaking(t *testing.T) {
	t.Parallel()
	p, m := newRoom(t)
	p.Publish("1", talkcloud.Message{ID: "a"})
	p.Publish("1", talkcloud.Message{ID: "a"})
	begun := p.Publish("1", talkcloud.Message{ID: "a"})
	p.Script(talkcloudtest.Script{BeforeJoinAck: func(c *socketio.Conn) {
		_ = c.Emit(talkcloud.EventPubMsg, begun)
		_ = c.Emit(talkcloud.EventPubMsg, talkcloud.Message{ID: "a", Seq: 1, TS: 1795375562})
		_ = c.Emit(talkcloud.EventDelMsg, talkcloud.Message{ID: "a", Seq: 2, TS: 1795375563})
	}})
	s := mustAcquire(t, m, join("1", "u"))
	sub := mustSubscribe(t, s, begun)
	mustPublish(t, s, talkcloud.Message{ID: "end"})
	if e := waitEvent(t, sub, room.Published); e.Message.Key() != "end" {
		t.Fatalf("event is %+v", e)
	}
}

func TestSession_Refused(t *testing.T) {
	t.Parallel()
	p, m := newRoom(t)
	s := mustAcquire(t, m, join("1", "u"))
	p.Script(talkcloudtest.Script{
		Silent: func(event string) bool { return event == talkcloud.EventPubMsg || event == talkcloud.EventDelMsg },
		Ack: func(string, json.RawMessage) ([]any, bool) {
			return []any{"error", talkcloud.Refusal{Code: 4108, Reason: "NOT_TEACHER"}}, false
		},
	})
	for _, change := range []func(context.Context, talkcloud.Message) (talkcloud.Message, error){s.Publish, s.Delete} {
		_, err := change(within(t), classBegin())
		var refused *talkcloud.RefusedError
		if !errors.As(err, &refused) || refused.Refusal.Reason != "NOT_TEACHER" || talkcloud.KindOf(err) != talkcloud.KindPermissionDenied {
			t.Fatalf("error is %v", err)
		}
	}
}

func TestSession_BadMessage(t *testing.T) {
	t.Parallel()
	_, m := newRoom(t)
	s := mustAcquire(t, m, join("1", "u"))
	_, err := s.Publish(within(t), talkcloud.Message{Name: "n", Data: json.RawMessage(`{`)})
	if talkcloud.KindOf(err) != talkcloud.KindInvalidArgument {
		t.Fatalf("error is %v", err)
	}
}

// TestSession_NoEcho: the platform acks, and nothing follows.
func TestSession_NoEcho(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.NewPlain(t)
	m := newManager(t, p.NewClient(t, nil), room.Config{EchoTimeout: 50 * time.Millisecond})
	s := mustAcquire(t, m, join("1", "u"))
	p.Script(talkcloudtest.Script{Silent: func(event string) bool { return event == talkcloud.EventPubMsg }})
	_, err := s.Publish(within(t), classBegin())
	if !errors.Is(err, room.ErrNotConfirmed) || talkcloud.KindOf(err) != talkcloud.KindDeadline {
		t.Fatalf("error is %v", err)
	}
	p.Publish("1", classBegin()) // from somebody whom the platform does not name: it confirms nobody who no longer waits
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Publish(ctx, classBegin())
	if !errors.Is(err, context.Canceled) || talkcloud.KindOf(err) != talkcloud.KindCanceled {
		t.Fatalf("error is %v", err)
	}
	p.Script(talkcloudtest.Script{})
	mustPublish(t, s, classBegin())
}

// TestSession_Turns: what is over MaxChanges is not sent before it is its turn.
func TestSession_Turns(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.NewPlain(t)
	cfg := fast()
	cfg.MaxChanges = 1
	m := newManager(t, p.NewClient(t, nil), cfg)
	one, two := mustAcquire(t, m, join("1", "u")), mustAcquire(t, m, join("2", "u"))
	arrived := make(chan struct{}, 2)
	p.Script(talkcloudtest.Script{Silent: func(event string) bool {
		if event == talkcloud.EventPubMsg {
			arrived <- struct{}{}
		}
		return true
	}})
	first, giveUp := context.WithCancel(within(t))
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := one.Publish(first, classBegin()); !errors.Is(err, room.ErrNotConfirmed) {
			t.Errorf("the first is %v", err)
		}
	})
	<-arrived
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := two.Publish(short, classBegin())
	if err == nil || errors.Is(err, room.ErrNotConfirmed) || len(arrived) != 0 {
		t.Errorf("the second is %v, and %d were sent besides the first", err, len(arrived))
	}
	giveUp()
	wg.Wait()
	p.Script(talkcloudtest.Script{})
	mustPublish(t, two, classBegin())
}

// TestSession_EchoOfAnother: the same message published by somebody else is no echo; its deletion is.
func TestSession_EchoOfAnother(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.NewPlain(t)
	m := newManager(t, p.NewClient(t, nil), room.Config{EchoTimeout: 200 * time.Millisecond})
	s := mustAcquire(t, m, join("1", "u"))
	sub := mustSubscribe(t, s)
	teacher := classBegin()
	teacher.FromID = "teacher"
	arrived := make(chan struct{}, 2)
	p.Script(talkcloudtest.Script{Silent: func(event string) bool {
		arrived <- struct{}{}
		return true
	}})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := s.Publish(within(t), classBegin()); !errors.Is(err, room.ErrNotConfirmed) {
			t.Errorf("publish is %v", err)
		}
	})
	<-arrived
	p.Publish("1", teacher)
	waitEvent(t, sub, room.Published)
	wg.Wait()
	wg.Go(func() {
		if gone, err := s.Delete(within(t), talkcloud.ClassEnd()); err != nil || gone.FromID != "teacher" {
			t.Errorf("delete is %+v, %v", gone, err)
		}
	})
	<-arrived
	p.Delete("1", teacher)
	wg.Wait()
}

// TestSession_Many: many changes at once, of few messages: each gets the echo of its own data.
func TestSession_Many(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.NewPlain(t)
	// All echoes may come before one is taken; a full queue would end the connection.
	m := newManager(t, p.NewClient(t, func(c *talkcloud.Config) { c.EventQueue = 1000 }), fast())
	s := mustAcquire(t, m, join("1", "u"))
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			sent := talkcloud.Message{Name: "n", ID: fmt.Sprint(i % 5), Data: talkcloud.TextData(fmt.Sprint(i % 50))}
			echo, err := s.Publish(within(t), sent)
			if err != nil || echo.ID != sent.ID || echo.DataText() != sent.DataText() || echo.Seq == 0 {
				t.Errorf("echo of %+v is %+v, %v", sent, echo, err)
			}
		})
	}
	wg.Wait()
}

// TestSession_RewrittenData: the platform may write the data in another way, or even change it.
func TestSession_RewrittenData(t *testing.T) {
	t.Parallel()
	p, m := newRoom(t)
	s := mustAcquire(t, m, join("1", "u"))
	p.Script(talkcloudtest.Script{
		Silent: func(event string) bool { return event == talkcloud.EventPubMsg },
		Ack: func(_ string, payload json.RawMessage) ([]any, bool) {
			var sent talkcloud.Message
			if err := sent.UnmarshalJSON(payload); err != nil {
				return nil, false
			}
			sent.FromID, sent.Data = "u", sent.Extra["rewritten"]
			go p.Publish("1", sent)
			return nil, true
		},
	})
	for _, rewritten := range []string{`{ "convert":0, "recordtype":"1", "recordchat":true, "layout":0 }`, `{"added":1}`} {
		message := classBegin()
		message.Extra = map[string]json.RawMessage{"rewritten": json.RawMessage(rewritten)}
		if echo := mustPublish(t, s, message); echo.Seq == 0 {
			t.Fatalf("echo is %+v", echo)
		}
	}
}

// TestSession_LateEcho: the echo of a publish that was given up confirms no other one.
func TestSession_LateEcho(t *testing.T) {
	t.Parallel()
	p, m := newRoom(t)
	s := mustAcquire(t, m, join("1", "u"))
	arrived := make(chan struct{}, 2)
	p.Script(talkcloudtest.Script{Silent: func(string) bool { arrived <- struct{}{}; return true }})
	message := func(data string) talkcloud.Message {
		return talkcloud.Message{ID: "a", FromID: "u", Data: talkcloud.TextData(data)}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := s.Publish(ctx, message("1")); !errors.Is(err, room.ErrNotConfirmed) {
			t.Errorf("publish is %v", err)
		}
	})
	<-arrived
	cancel()
	wg.Wait()
	wg.Go(func() {
		if echo := mustPublish(t, s, message("2")); echo.DataText() != "2" {
			t.Errorf("echo is %+v", echo)
		}
	})
	<-arrived
	p.Publish("1", message("1"))
	p.Publish("1", message("2"))
	wg.Wait()
}

func TestSubscription_Slow(t *testing.T) {
	t.Parallel()
	p, m := newRoom(t)
	s := mustAcquire(t, m, join("1", "u"))
	slow, quick := s.Subscribe(), mustSubscribe(t, s)
	for i := range 300 {
		p.Publish("1", talkcloud.Message{ID: fmt.Sprint(i)})
		waitEvent(t, quick, room.Published)
	}
	count := 0
	for range slow.C {
		count++
	}
	if count != 256 || !errors.Is(slow.Err(), room.ErrSlow) {
		t.Fatalf("the slow one got %d events and %v", count, slow.Err())
	}
	slow.Close()
}

// TestSubscription_FullAtTheEnd: one that is full, but not over, still gets the last event.
func TestSubscription_FullAtTheEnd(t *testing.T) {
	t.Parallel()
	p, m := newRoom(t)
	s := mustAcquire(t, m, join("1", "u"))
	full, quick := s.Subscribe(), mustSubscribe(t, s)
	for i := range 255 {
		p.Publish("1", talkcloud.Message{ID: fmt.Sprint(i)})
		waitEvent(t, quick, room.Published)
	}
	s.Release()
	waitEvent(t, quick, room.Ended)
	var last *room.Event
	for e := range full.C {
		last = e
	}
	if last.Kind != room.Ended || !errors.Is(full.Err(), room.ErrReleased) {
		t.Fatalf("last event is %+v, %v", last, full.Err())
	}
}

func TestSubscription_Close(t *testing.T) {
	t.Parallel()
	_, m := newRoom(t)
	s := mustAcquire(t, m, join("1", "u"))
	sub := s.Subscribe()
	sub.Close()
	sub.Close()
	waitEvent(t, sub, room.Snapshot)
	if _, open := <-sub.C; open || sub.Err() != nil {
		t.Fatalf("after Close: open %v, %v", open, sub.Err())
	}
}
