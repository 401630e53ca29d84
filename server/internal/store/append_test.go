// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
)

// winners runs n Appends of different recordings at once, all decided on the
// same revision of the room, spread over the stores, and returns how many were
// stored. All others have to fail with want.
func winners(t *testing.T, stores []*store.Store, room string, revision uint64, n int, live bool, want ...error) int {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	won := 0
	begin := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-begin
			state := available
			if live {
				state = starting
			}
			rec := newRecord(room, fmt.Sprintf("r%d-%d", revision, i), state)
			e, err := stores[i%len(stores)].Append(t.Context(), rec, revision)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
				if e.Revision <= revision || e.Record.GetId() != rec.GetId() {
					t.Errorf("entry %v for record %v on %d", e, rec, revision)
				}
				return
			}
			for _, w := range want {
				if errors.Is(err, w) {
					return
				}
			}
			t.Errorf("append: %v", err)
		})
	}
	close(begin)
	wg.Wait()
	return won
}

func TestAppend_OneWinsPerRevision(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	for round := range 10 {
		revision := s.RoomRevision(tenant, "room")
		if n := winners(t, []*store.Store{s}, "room", revision, 100, false, store.ErrConflict); n != 1 {
			t.Fatalf("round %d: %d appends won", round, n)
		}
	}
	if s.LastSequence() != 10 {
		t.Fatalf("%d messages were stored for 10 changes", s.LastSequence())
	}
}

// The server decides between processes, in shared writes as in single ones.
func TestAppend_OneWinsAmongProcesses(t *testing.T) {
	t.Parallel()
	n := newNATS(t)
	stores := []*store.Store{n.open(t), n.open(t), n.open(t)}
	const rooms = 300 // so many that writes are shared
	for round := range 3 {
		var wg sync.WaitGroup
		for room := range rooms {
			wg.Go(func() {
				name := fmt.Sprint("room", room)
				revision := stores[0].RoomRevision(tenant, name)
				if won := winners(t, stores, name, revision, 3, false, store.ErrConflict); won != 1 {
					t.Errorf("round %d, %s: %d appends won", round, name, won)
				}
			})
		}
		wg.Wait()
		waitSequence(t, stores, uint64(rooms*(round+1)))
	}
	for _, s := range stores[1:] {
		for room := range rooms {
			name := fmt.Sprint("room", room)
			if a, b := stores[0].RoomRevision(tenant, name), s.RoomRevision(tenant, name); a != b {
				t.Errorf("%s is at %d here and at %d there", name, a, b)
			}
		}
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

func TestAppend_NoTwoLiveInARoom(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	if n := winners(t, []*store.Store{s}, "room", 0, 50, true, store.ErrConflict); n != 1 {
		t.Fatalf("%d starts won", n)
	}
	revision, live := s.Room(tenant, "room")
	if live == nil {
		t.Fatal("nothing is live")
	}
	if n := winners(t, []*store.Store{s}, "room", revision, 50, true, store.ErrRoomLive); n != 0 {
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
func TestAppend_ManyRoomsAtOnce(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
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
			if live, ok := s.Live(tenant, room); !ok || live != e || s.RoomRevision(tenant, room) != e.Revision {
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

func TestAppend_Refuses(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
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

func TestAppend_KeepsToItsContext(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
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

func TestAppend_RecordStaysTheCallers(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	rec := newRecord("room", "id", starting)
	e := mustAppend(t, s, rec)
	rec.Recording.Room = "other"
	if e.Record.GetRecording().GetRoom() != "room" {
		t.Fatal("the entry shares the caller's record")
	}
}

func TestAppend_LargeRecords(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	r := newRecord("room", "id", starting)
	r.ClassBeginData = strings.Repeat("x", 3<<20)
	if e := mustAppend(t, s, r); len(e.Record.GetClassBeginData()) != 3<<20 {
		t.Fatal("it was cut")
	}
}
