// SPDX-License-Identifier: Apache-2.0

package room_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// within is the time that a test may take: long, since it only ends tests that hang.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// fast lets sessions come back at once, and gives up on nothing that a busy machine may still do.
func fast() room.Config {
	return room.Config{BackoffMin: time.Millisecond, BackoffMax: 2 * time.Millisecond, EchoTimeout: 20 * time.Second}
}

func newManager(t testing.TB, c *talkcloud.Client, cfg room.Config) *room.Manager {
	t.Helper()
	m := room.NewManager(c, cfg)
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// newRoom is a platform, and a manager of sessions on it.
func newRoom(t testing.TB) (*talkcloudtest.Platform, *room.Manager) {
	t.Helper()
	p := talkcloudtest.NewPlain(t)
	return p, newManager(t, p.NewClient(t, nil), fast())
}

func join(id talkcloud.RoomID, user talkcloud.UserID) talkcloud.JoinOptions {
	return talkcloud.JoinOptions{Room: id, UserID: user, Nickname: "recorder", Recorder: true}
}

func mustAcquire(t testing.TB, m *room.Manager, opts talkcloud.JoinOptions) *room.Session {
	t.Helper()
	s, err := m.Acquire(within(t), opts)
	if err != nil {
		t.Fatalf("acquire: %v", err)
	}
	t.Cleanup(s.Release)
	return s
}

// mustSubscribe subscribes and takes the snapshot.
func mustSubscribe(t testing.TB, s *room.Session, saved ...talkcloud.Message) *room.Subscription {
	t.Helper()
	sub := s.Subscribe()
	t.Cleanup(sub.Close)
	e := waitEvent(t, sub, room.Snapshot)
	if len(e.Messages) != len(saved) {
		t.Fatalf("snapshot has %v, want %v", e.Messages, saved)
	}
	for i, m := range saved {
		if !e.Messages[i].Equal(m) {
			t.Fatalf("snapshot has %+v at %d, want %+v", e.Messages[i], i, m)
		}
	}
	return sub
}

// waitEvent takes the next event, which must be of a kind.
func waitEvent(t testing.TB, sub *room.Subscription, kind room.Kind) *room.Event {
	t.Helper()
	ctx := within(t)
	select {
	case e, ok := <-sub.C:
		if !ok {
			t.Fatalf("subscription ended with %v, want %v", sub.Err(), kind)
		}
		if e.Kind != kind {
			t.Fatalf("event is %v (%v, %v), want %v", e.Kind, e.Message.Key(), e.Err, kind)
		}
		return e
	case <-ctx.Done():
		t.Fatalf("no event %v", kind)
	}
	return nil
}

func classBegin() talkcloud.Message {
	return talkcloud.ClassBegin{RecordType: 1, RecordChat: true}.Message()
}
