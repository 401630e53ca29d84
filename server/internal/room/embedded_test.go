// SPDX-License-Identifier: Apache-2.0

package room_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/roomserver"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// newEmbedded is the embedded room server, and a manager of sessions on it.
func newEmbedded(t testing.TB, options ...roomservertest.Option) (*roomservertest.Server, *room.Manager) {
	t.Helper()
	s := roomservertest.New(t, options...)
	return s, newManager(t, s.Client(t), fast())
}

// begunAt is the recordts of a ClassBegin.
func begunAt(m talkcloud.Message) int64 { return m.TS.Unix() }

// skipTo takes events up to the first of a kind.
func skipTo(t testing.TB, sub *room.Subscription, kind room.Kind) {
	t.Helper()
	ctx := within(t)
	for {
		select {
		case e, open := <-sub.C:
			if !open {
				t.Fatalf("subscription ended with %v, want %v", sub.Err(), kind)
			}
			if e.Kind == kind {
				return
			}
		case <-ctx.Done():
			t.Fatalf("no event %v", kind)
		}
	}
}

// TestEmbedded_Class: a class from begin to end in both revisions of engine.io, with the teacher looking on.
func TestEmbedded_Class(t *testing.T) {
	t.Parallel()
	for _, revision := range []int{3, 4} {
		server := roomservertest.New(t)
		m := newManager(t, server.Client(t, func(cfg *talkcloud.Config) { cfg.EngineIO = revision }), fast())
		teacher := server.Join(t, "1", "teacher")
		s := mustAcquire(t, m, join("1", ""))
		sub := mustSubscribe(t, s)
		echo := mustPublish(t, s, classBegin())
		if begunAt(echo) == 0 || echo.FromID != s.User() {
			t.Fatalf("echo is %+v", echo)
		}
		if seen := teacher.Message(t, talkcloud.EventPubMsg, talkcloud.MessageClassBegin); !seen.Equal(echo) {
			t.Fatalf("the teacher saw %+v, we %+v", seen, echo)
		}
		waitEvent(t, sub, room.Published)
		gone, err := s.Delete(within(t), talkcloud.ClassEnd())
		if err != nil || gone.FromID != s.User() {
			t.Fatalf("delete is %+v, %v", gone, err)
		}
		waitEvent(t, sub, room.Deleted)
		if _, err := s.Delete(within(t), talkcloud.ClassEnd()); err != nil { // what is no more: the sender is told
			t.Fatal(err)
		}
	}
}

// TestEmbedded_Teacher: the class is the teacher's own, from before we came.
func TestEmbedded_Teacher(t *testing.T) {
	t.Parallel()
	server, m := newEmbedded(t)
	teacher := server.Join(t, "1", "teacher")
	ts := teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeFile})
	s := mustAcquire(t, m, join("1", "recorder"))
	sub := s.Subscribe()
	t.Cleanup(sub.Close)
	if e := waitEvent(t, sub, room.Snapshot); len(e.Messages) != 1 || begunAt(e.Messages[0]) != ts || e.Messages[0].FromID != "teacher" {
		t.Fatalf("snapshot is %+v", e.Messages)
	}
	server.Drop() // the teacher is gone as well, and nobody is there: what was the room's is lost
	waitEvent(t, sub, room.Disconnected)
	if e := waitEvent(t, sub, room.Connected); !e.StateLost {
		t.Fatal("state is not lost")
	}
	if e := waitEvent(t, sub, room.Deleted); !e.InList || begunAt(e.Message) != ts {
		t.Fatalf("event is %+v", e)
	}
	teacher = server.Join(t, "1", "teacher")
	ts = teacher.BeginClass(t, talkcloud.ClassBegin{})
	if e := waitEvent(t, sub, room.Published); e.InList || begunAt(e.Message) != ts {
		t.Fatalf("event is %+v", e)
	}
	teacher.Call(t, talkcloud.EventDelMsg, talkcloud.Message{Name: talkcloud.MessageAllAll, ID: talkcloud.MessageAllAll, To: talkcloud.ToNone})
	if e := waitEvent(t, sub, room.Deleted); e.InList || e.Message.Key() != talkcloud.MessageClassBegin {
		t.Fatalf("event is %+v", e)
	}
}

// TestEmbedded_Restart: the platform is away for a while, and forgets all rooms.
func TestEmbedded_Restart(t *testing.T) {
	t.Parallel()
	server, m := newEmbedded(t)
	s := mustAcquire(t, m, join("1", "u"))
	sub := mustSubscribe(t, s)
	mustPublish(t, s, classBegin())
	waitEvent(t, sub, room.Published)
	server.Stop()
	skipTo(t, sub, room.Disconnected) // ending the class is the last that the old one may do
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Publish(ctx, classBegin()); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("publish into the outage is %v", err)
	}
	if _, err := m.Acquire(within(t), join("2", "u")); talkcloud.KindOf(err) != talkcloud.KindUnavailable {
		t.Fatalf("acquire in the outage is %v", err)
	}
	server.Start()
	skipTo(t, sub, room.Connected)
	if echo := mustPublish(t, s, classBegin()); begunAt(echo) == 0 {
		t.Fatalf("echo is %+v", echo)
	}
}

// TestEmbedded_Evicted: somebody takes our place.
func TestEmbedded_Evicted(t *testing.T) {
	t.Parallel()
	server, m := newEmbedded(t)
	s := mustAcquire(t, m, join("1", "u"))
	sub := mustSubscribe(t, s)
	server.Join(t, "1", "u")
	e := waitEvent(t, sub, room.Ended)
	var evicted *talkcloud.Error
	if !errors.As(e.Err, &evicted) || evicted.Kind != talkcloud.KindEvicted || evicted.Code != talkcloud.EvictedSameUser {
		t.Fatalf("ended with %v", e.Err)
	}
}

// TestEmbedded_Again: who leaves and enters at once does not evict itself.
func TestEmbedded_Again(t *testing.T) {
	t.Parallel()
	var minutes atomic.Int64 // a room has so many classes in a minute
	_, m := newEmbedded(t, roomservertest.Config(func(c *roomserver.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(minutes.Load()) * time.Minute) }
	}))
	for range 20 {
		minutes.Add(1)
		s := mustAcquire(t, m, join("1", "u"))
		mustPublish(t, s, classBegin())
		s.Release()
	}
}

func TestEmbedded_Refusals(t *testing.T) {
	t.Parallel()
	_, m := newEmbedded(t, roomservertest.Config(func(cfg *roomserver.Config) {
		cfg.StrictRooms = true
		cfg.Rooms = map[talkcloud.RoomID]roomserver.RoomConfig{
			"1": {}, "2": {Passwords: map[int]talkcloud.Secret{talkcloud.RoleTeacher: "right"}},
		}
		cfg.FFmpegPath = "/nonexistent/ffmpeg"
	}))
	if _, err := m.Acquire(within(t), join("unknown", "u")); talkcloud.KindOf(err) != talkcloud.KindNotFound {
		t.Fatalf("unknown room: %v", err)
	}
	opts := join("2", "u")
	opts.Password = "MARKED"
	if _, err := m.Acquire(within(t), opts); talkcloud.KindOf(err) != talkcloud.KindPermissionDenied {
		t.Fatalf("wrong password: %v", err)
	}
	opts.Password = "right"
	mustAcquire(t, m, opts)
	s := mustAcquire(t, m, join("1", "u"))
	_, err := s.Publish(within(t), talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeMix}.Message())
	var refused *talkcloud.RefusedError
	if !errors.As(err, &refused) || refused.Refusal.Reason == "" {
		t.Fatalf("what needs ffmpeg: %v", err)
	}
	mustPublish(t, s, classBegin())
}

// TestEmbedded_Clock asks for the platform's time, as the vendor's classroom does.
func TestEmbedded_Clock(t *testing.T) {
	t.Parallel()
	_, m := newEmbedded(t)
	s := mustAcquire(t, m, join("1", "u"))
	echo := mustPublish(t, s, talkcloud.Message{Name: talkcloud.MessageUpdateTime, ID: talkcloud.MessageUpdateTime, To: string(s.User()), DoNotSave: true})
	if at, ok := echo.TS.Time(); !ok || time.Since(at).Abs() > time.Hour {
		t.Fatalf("echo is %+v", echo)
	}
	mustSubscribe(t, s)
}

// TestEmbedded_OnTheHour: many classes begin at once, and end.
func TestEmbedded_OnTheHour(t *testing.T) {
	t.Parallel()
	_, m := newEmbedded(t)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			s, err := m.Acquire(within(t), join(talkcloud.RoomID(fmt.Sprint(i)), ""))
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Release()
			mustPublish(t, s, classBegin())
			if _, err := s.Delete(within(t), talkcloud.ClassEnd()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
