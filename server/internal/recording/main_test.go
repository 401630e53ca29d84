// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/recording"
	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what has to come; only a test that fails uses it up.
const patience = 20 * time.Second

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// life is one run of the service: Run is called by newLife and ends with stop.
type life struct {
	*recording.Service
	rooms *room.Manager
	stop  func()
}

// config is quick enough for tests.
func config() recording.Config {
	return recording.Config{SettleTime: 20 * time.Millisecond, PollMin: 10 * time.Millisecond, Linger: time.Millisecond, RichRecordList: true}
}

func newLife(t testing.TB, st *store.Store, client *talkcloud.Client, cfg recording.Config) *life {
	t.Helper()
	return newLifeIn(t, st, client, room.Config{BackoffMin: 10 * time.Millisecond, BackoffMax: 50 * time.Millisecond}, cfg)
}

// newLifeIn is newLife with rooms of another kind.
func newLifeIn(t testing.TB, st *store.Store, client *talkcloud.Client, in room.Config, cfg recording.Config) *life {
	t.Helper()
	rooms := room.NewManager(client, in)
	s := recording.New(st, rooms, client, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	l := &life{Service: s, rooms: rooms}
	stopped := false
	l.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if err := rooms.Close(); err != nil {
			t.Errorf("close rooms: %v", err)
		}
	}
	t.Cleanup(l.stop)
	// Calls are refused until Run has begun.
	roomservertest.Poll(t, "the service to run", s.Serving)
	return l
}

// newService is a service over a new store and a new room server.
func newService(t testing.TB) (*life, *roomservertest.Server) {
	t.Helper()
	platform := roomservertest.New(t)
	return newLife(t, storetest.New(t), platform.Client(t), config()), platform
}

func mustStart(t testing.TB, s *life, req *classrecv1.StartRecordingRequest) *classrecv1.Recording {
	t.Helper()
	r, err := s.Start(testContext(t), req)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	if r.GetState() != classrecv1.RecordingState_RECORDING_STATE_RECORDING {
		t.Fatalf("started, and is %v", r.GetState())
	}
	return r
}

func mustStop(t testing.TB, s *life, req *classrecv1.StopRecordingRequest) *classrecv1.Recording {
	t.Helper()
	r, err := s.Stop(testContext(t), req)
	if err != nil {
		t.Fatalf("stop: %v", err)
	}
	return r
}

// waitState polls until the recording is in the state.
func waitState(t testing.TB, s *life, name string, state classrecv1.RecordingState) *classrecv1.Recording {
	t.Helper()
	var r *classrecv1.Recording
	roomservertest.Poll(t, name+" to be "+state.String(), func() bool {
		var err error
		if r, err = s.Get(testContext(t), name); err != nil {
			t.Fatalf("get: %v", err)
		}
		return r.GetState() == state
	})
	return r
}

func wantReason(t testing.TB, err error, kind recording.Kind, reason string) *recording.Error {
	t.Helper()
	var e *recording.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is no *recording.Error", err)
	}
	if e.Stored == nil && (e.Kind != kind || e.Reason != reason) {
		t.Fatalf("error is kind %d, reason %s (%v); want kind %d, reason %s", e.Kind, e.Reason, e, kind, reason)
	}
	return e
}

// follow opens a watch, and returns a function that gives its next message.
func follow(t testing.TB, s *life, req *classrecv1.WatchClassBeginRequest) func() *classrecv1.WatchClassBeginResponse {
	t.Helper()
	ctx := testContext(t)
	w, err := s.Watch(ctx, req, nil)
	if err != nil {
		t.Fatalf("watch: %v", err)
	}
	t.Cleanup(w.Close)
	return func() *classrecv1.WatchClassBeginResponse {
		t.Helper()
		msg, err := w.Next(ctx)
		if err != nil {
			t.Fatalf("next: %v", err)
		}
		return msg.Response()
	}
}

func nextEvent(t testing.TB, next func() *classrecv1.WatchClassBeginResponse) *classrecv1.ClassBeginEvent {
	t.Helper()
	res := next()
	if res.GetEvent() == nil {
		t.Fatalf("got %v, want an event", res)
	}
	return res.GetEvent()
}

func nextSynced(t testing.TB, next func() *classrecv1.WatchClassBeginResponse) uint64 {
	t.Helper()
	res := next()
	if res.GetSynced() == nil {
		t.Fatalf("got %v, want synced", res)
	}
	return res.GetSynced().GetSequence()
}
