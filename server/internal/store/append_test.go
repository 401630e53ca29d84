// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	"github.com/classrec/classrec/server/internal/store"
)

// winners runs n Appends at once, and returns how many were stored. All others
// have to fail with want.
func winners(t *testing.T, stores []*store.Store, n int, change func(i int) (*storev1.Record, uint64), want error) int {
	t.Helper()
	var wg sync.WaitGroup
	var won atomic.Int64
	begin := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-begin
			rec, revision := change(i)
			e, err := stores[i%len(stores)].Append(t.Context(), rec, revision)
			switch {
			case err == nil:
				won.Add(1)
				if e.Revision <= revision || e.Record.GetId() != rec.GetId() {
					t.Errorf("entry %v for record %v on %d", e, rec, revision)
				}
			case !errors.Is(err, want):
				t.Errorf("append: %v", err)
			}
		})
	}
	close(begin)
	wg.Wait()
	return int(won.Load())
}

func testAppend_OneWinsPerRevision(t *testing.T, open opener) {
	s := open(t, store.Config{})
	for round := range 10 {
		revision := revisionOf(t, s, newRecord("room", "id", available))
		change := func(int) (*storev1.Record, uint64) { return newRecord("room", "id", available), revision }
		if n := winners(t, []*store.Store{s}, 100, change, store.ErrConflict); n != 1 {
			t.Fatalf("round %d: %d appends won", round, n)
		}
	}
	if s.LastSequence() != 10 {
		t.Fatalf("%d events were stored for 10 changes", s.LastSequence())
	}
}

// Of many recordings that ask for one request id, one is made.
func testAppend_OneOfARequestID(t *testing.T, open opener) {
	s := open(t, store.Config{})
	change := func(i int) (*storev1.Record, uint64) {
		return withRequest(newRecord(fmt.Sprint("room", i), fmt.Sprint("id", i), starting), "request"), 0
	}
	if n := winners(t, []*store.Store{s}, 100, change, store.ErrConflict); n != 1 {
		t.Errorf("%d starts won", n)
	}
	if _, err := s.ByRequestID(t.Context(), tenant, "request"); err != nil {
		t.Error(err)
	}
}

// waitSequence waits until all stores have seen the sequence, and no more.
func waitSequence(t *testing.T, stores []*store.Store, sequence uint64) {
	t.Helper()
	for _, s := range stores {
		waitFor(t, func() bool { return s.LastSequence() >= sequence })
		if s.LastSequence() != sequence {
			t.Fatalf("last sequence %d, want %d", s.LastSequence(), sequence)
		}
	}
}

// waitFor polls: for what no channel tells.
func waitFor(t testing.TB, done func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it has not come about")
		}
	}
}

func testAppend_NoTwoLiveInARoom(t *testing.T, open opener) {
	s := open(t, store.Config{})
	start := func(i int) (*storev1.Record, uint64) { return newRecord("room", fmt.Sprint("id", i), starting), 0 }
	if n := winners(t, []*store.Store{s}, 50, start, store.ErrConflict); n != 1 {
		t.Fatalf("%d starts won", n)
	}
	live, ok := s.Live(tenant, "room")
	if !ok {
		t.Fatal("nothing is live")
	}
	late := func(i int) (*storev1.Record, uint64) { return newRecord("room", fmt.Sprint("late", i), starting), 0 }
	if n := winners(t, []*store.Store{s}, 50, late, store.ErrRoomLive); n != 0 {
		t.Fatalf("%d starts won against a live one", n)
	}
	// The live one itself goes on, and after its end another may begin.
	mustAppend(t, s, newRecord("room", live.Record.GetId(), recording))
	mustAppend(t, s, newRecord("room", live.Record.GetId(), processing))
	if _, ok := s.Live(tenant, "room"); ok {
		t.Fatal("PROCESSING counts as live")
	}
	mustAppend(t, s, newRecord("room", "next", starting))
}

// Many rooms at once go into shared writes; each gets its own sequence.
func testAppend_ManyRoomsAtOnce(t *testing.T, open opener) {
	s := open(t, store.Config{})
	const rooms = 1000
	var mu sync.Mutex
	var wg sync.WaitGroup
	sequences := make(map[uint64]string)
	for i := range rooms {
		wg.Go(func() {
			room := fmt.Sprint("room", i)
			e, err := s.Append(t.Context(), newRecord(room, "id", starting), 0)
			if err != nil {
				t.Errorf("append: %v", err)
				return
			}
			if live, ok := s.Live(tenant, room); !ok || live != e {
				t.Errorf("%s: the store does not show what it has stored", room)
			}
			mu.Lock()
			defer mu.Unlock()
			if other, twice := sequences[e.Revision]; twice {
				t.Errorf("%s and %s have sequence %d", room, other, e.Revision)
			}
			sequences[e.Revision] = room
		})
	}
	wg.Wait()
	if s.LastSequence() != rooms || len(s.Unfinished()) != rooms {
		t.Fatalf("last sequence %d, %d unfinished", s.LastSequence(), len(s.Unfinished()))
	}
}

func testAppend_Refuses(t *testing.T, open opener) {
	s := open(t, store.Config{})
	tests := map[string]func() error{
		"a tenant with a dot": func() error {
			r := newRecord("room", "id", starting)
			r.Tenant = "a.b"
			_, err := s.Append(t.Context(), r, 0)
			return err
		},
		"no id": func() error {
			_, err := s.Append(t.Context(), newRecord("room", "", starting), 0)
			return err
		},
		"a wildcard for an id": func() error {
			_, err := s.Append(t.Context(), newRecord("room", "*", starting), 0)
			return err
		},
		"no room": func() error {
			_, err := s.Append(t.Context(), newRecord("", "id", starting), 0)
			return err
		},
		"no state": func() error {
			_, err := s.Append(t.Context(), newRecord("room", "id", 0), 0)
			return err
		},
		"an unknown state": func() error {
			_, err := s.Append(t.Context(), newRecord("room", "id", 77), 0)
			return err
		},
		"a record too big": func() error {
			r := newRecord("room", "id", starting)
			r.ClassBeginData = strings.Repeat("x", 5<<20)
			_, err := s.Append(t.Context(), r, 0)
			return err
		},
		"a NUL in the room": func() error {
			_, err := s.Append(t.Context(), newRecord("a\x00b", "id", starting), 0)
			return err
		},
		"no record": func() error {
			_, err := s.Append(t.Context(), nil, 0)
			return err
		},
	}
	for name, try := range tests {
		if err := try(); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Append(t.Context(), newRecord("room", "id", starting), 7); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a revision to come: %v", err)
	}
	if s.LastSequence() != 0 {
		t.Error("something was stored")
	}
}

func testAppend_KeepsToItsContext(t *testing.T, open opener) {
	s := open(t, store.Config{})
	cause := errors.New("caller has gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := s.Append(ctx, newRecord("room", "id", starting), 0); !errors.Is(err, cause) {
		t.Fatalf("append: %v", err)
	}
	if s.LastSequence() != 0 {
		t.Fatal("it was stored though its caller had gone before")
	}
}

func testAppend_RecordStaysTheCallers(t *testing.T, open opener) {
	s := open(t, store.Config{})
	rec := newRecord("room", "id", starting)
	e := mustAppend(t, s, rec)
	rec.Recording.Room = "other"
	if e.Record.GetRecording().GetRoom() != "room" {
		t.Fatal("the entry shares the caller's record")
	}
}

func testAppend_LargeRecords(t *testing.T, open opener) {
	s := open(t, store.Config{})
	r := newRecord("room", "id", starting)
	r.ClassBeginData = strings.Repeat("x", 3<<20)
	if e := mustAppend(t, s, r); len(e.Record.GetClassBeginData()) != 3<<20 {
		t.Fatal("it was cut")
	}
}
