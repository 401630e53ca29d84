// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
)

var everything = store.WatchFilter{Tenant: tenant}

func mustWatch(t testing.TB, s *store.Store, f store.WatchFilter, after uint64) *store.Watcher {
	t.Helper()
	w, err := s.Watch(t.Context(), f, after)
	if err != nil {
		t.Fatalf("watch: %v", err)
	}
	return w
}

// mustReceive returns the next entry's sequence.
func mustReceive(t testing.TB, w *store.Watcher) uint64 {
	t.Helper()
	select {
	case e, ok := <-w.C():
		if !ok {
			t.Fatalf("the watch has ended: %v", w.Err())
		}
		return e.Revision
	case <-time.After(20 * time.Second):
		t.Fatal("no entry came")
	}
	return 0
}

// settle waits until what was appended has gone by the watchers: those that begin
// later read it from the database.
func settle(t testing.TB, s *store.Store) {
	t.Helper()
	waitFor(t, func() bool { return store.Fanned(s) == s.LastSequence() })
}

// A few watchers of everything and of one room are closed and resumed, or run
// over, again and again while entries come; each sees each entry once.
func TestWatch_ResumesWithoutLossOrRepeat(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s, err := store.Open(t.Context(), store.Config{
			Memory:     true,
			WatchQueue: rapid.IntRange(1, 8).Draw(rt, "queue"),
			History:    rapid.IntRange(1, 8).Draw(rt, "history"),
		})
		if err != nil {
			rt.Fatal(err)
		}
		defer s.Close()
		entries := rapid.IntRange(1, 60).Draw(rt, "entries")
		before := rapid.IntRange(0, entries).Draw(rt, "before")
		type plan struct {
			filter store.WatchFilter
			reads  []int // how many to read before each resume
		}
		plans := make([]plan, 4)
		for i := range plans {
			plans[i].filter.Tenant = tenant
			plans[i].filter.Room = rapid.SampledFrom([]string{"", "a", "b"}).Draw(rt, "room")
			plans[i].reads = rapid.SliceOfN(rapid.IntRange(0, 10), 1, 5).Draw(rt, "reads")
		}
		rooms := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b"}), entries, entries).Draw(rt, "rooms")

		write := func(from, to int) {
			for i := from; i < to; i++ {
				mustAppend(t, s, newRecord(rooms[i], "id", available))
			}
		}
		write(0, before)
		var wg sync.WaitGroup
		for _, p := range plans {
			var want []uint64
			for i, room := range rooms {
				if p.filter.Room == "" || p.filter.Room == room {
					want = append(want, uint64(i+1))
				}
			}
			wg.Go(func() {
				got, err := follow(t.Context(), s, p.filter, p.reads, len(want))
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("%+v: got %v, want %v, error %v", p, got, want, err)
				}
			})
		}
		write(before, entries)
		wg.Wait()
		if t.Failed() {
			rt.FailNow()
		}
	})
}

// follow reads n entries' sequences, resuming after each of reads entries.
func follow(ctx context.Context, s *store.Store, f store.WatchFilter, reads []int, n int) (got []uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	after := uint64(0)
	for round := 0; len(got) < n; round++ {
		w, err := s.Watch(ctx, f, after)
		if err != nil {
			return got, err
		}
		left := n // read to the end, at last
		if round < len(reads) {
			left = reads[round]
		}
		for ; left > 0 && len(got) < n; left-- {
			e, ok := <-w.C()
			if !ok {
				break
			}
			got = append(got, e.Revision)
			after = e.Revision
		}
		w.Close()
		for range w.C() { // what is left in it is not read: it comes again
		}
		var slow *store.SlowError
		if err := w.Err(); err != nil && !errors.As(err, &slow) {
			return got, err
		}
	}
	return got, nil
}

// The index may be ahead of the watchers: what it has shown already does not
// come to a watcher that begins after it.
func testWatch_BeginsAfterWhatWasRead(t *testing.T, open opener) {
	s := open(t, store.Config{})
	for range 300 {
		e := mustAppend(t, s, newRecord("room", "id", available))
		w := mustWatch(t, s, everything, s.LastSequence())
		next := mustAppend(t, s, newRecord("room", "id", available))
		if got := mustReceive(t, w); got != next.Revision {
			t.Fatalf("after %d came %d", e.Revision, got)
		}
		w.Close()
	}
}

func testWatch_TellsWhenItHasCaughtUp(t *testing.T, open opener) {
	s := open(t, store.Config{WatchQueue: 2, History: 1})
	for range 20 {
		mustAppend(t, s, newRecord("room", "id", available))
	}
	settle(t, s)
	w := mustWatch(t, s, everything, 5)
	for i := uint64(6); i <= 20; i++ {
		if got := mustReceive(t, w); got != i {
			t.Fatalf("got %d, want %d", got, i)
		}
	}
	<-w.CaughtUp()
	if w.UpTo() != 20 {
		t.Fatalf("caught up at %d", w.UpTo())
	}
	quick := mustWatch(t, s, everything, 20)
	<-quick.CaughtUp()
}

// What could be seen when the watch began comes before it is told that it has
// caught up.
func testWatch_CaughtUpHasWhatCouldBeSeen(t *testing.T, open opener) {
	s := open(t, store.Config{})
	for range 2000 {
		before := s.LastSequence()
		e := mustAppend(t, s, newRecord("room", "id", available))
		w := mustWatch(t, s, everything, before)
		<-w.CaughtUp()
		if len(w.C()) != 1 || w.UpTo() != e.Revision {
			t.Fatalf("with %d there, it has caught up at %d with %d entries", e.Revision, w.UpTo(), len(w.C()))
		}
		w.Close()
	}
}

// A snapshot and what is watched after it are the whole.
func testSnapshot_GoesOnAsAWatch(t *testing.T, open opener) {
	s := open(t, store.Config{})
	const rooms = 100
	var wg sync.WaitGroup
	for i := range rooms {
		wg.Go(func() { mustAppend(t, s, newRecord(fmt.Sprint("room", i), "id", starting)) })
	}
	last, live := s.Snapshot(everything)
	w := mustWatch(t, s, everything, last)
	seen := make(map[uint64]bool)
	for _, e := range live {
		seen[e.Revision] = true
	}
	wg.Wait()
	for len(seen) < rooms {
		got := mustReceive(t, w)
		if seen[got] || got <= last {
			t.Fatalf("%d comes again after the snapshot at %d", got, last)
		}
		seen[got] = true
	}
	if _, live := s.Snapshot(store.WatchFilter{Tenant: tenant, Room: "room7"}); len(live) != 1 {
		t.Errorf("of one room: %v", live)
	}
	if _, live := s.Snapshot(store.WatchFilter{Tenant: "other"}); len(live) != 0 {
		t.Errorf("of another tenant: %v", live)
	}
}

func testWatch_SlowOneIsToldAndCostsOthersNothing(t *testing.T, open opener) {
	s := open(t, store.Config{WatchQueue: 4})
	slow := mustWatch(t, s, everything, 0)
	quick := mustWatch(t, s, everything, 0)
	const n = 20
	for i := range n {
		mustAppend(t, s, newRecord("room", "id", available))
		if got := mustReceive(t, quick); got != uint64(i+1) {
			t.Fatalf("the quick one got %d", got)
		}
	}
	var got []uint64
	for e := range slow.C() {
		got = append(got, e.Revision)
	}
	if !slices.Equal(got, []uint64{1, 2, 3, 4}) {
		t.Fatalf("the slow one got %v", got)
	}
	var err *store.SlowError
	if !errors.As(slow.Err(), &err) || err.Resume != 4 {
		t.Fatalf("the slow one ended with %v", slow.Err())
	}
	again := mustWatch(t, s, everything, err.Resume)
	for i := err.Resume + 1; i <= n; i++ {
		if got := mustReceive(t, again); got != i {
			t.Fatalf("resumed at %d, got %d", i, got)
		}
	}
}

func testWatch_SharesEntriesAndTheirEncoding(t *testing.T, open opener) {
	s := open(t, store.Config{})
	a := mustWatch(t, s, everything, 0)
	b := mustWatch(t, s, store.WatchFilter{Tenant: tenant, Room: "room"}, 0)
	stored := mustAppend(t, s, newRecord("room", "id", starting))
	made := 0
	encode := func(e *store.Entry) any { made++; return fmt.Sprint("encoded ", e.Revision) }
	for _, w := range []*store.Watcher{a, b} {
		if e := <-w.C(); e != stored || e.Shared(encode) != "encoded 1" {
			t.Errorf("got %v", e)
		}
	}
	if made != 1 {
		t.Errorf("it was encoded %d times", made)
	}
}

func testWatch_TenantsAndRoomsAreApart(t *testing.T, open opener) {
	s := open(t, store.Config{})
	w := mustWatch(t, s, store.WatchFilter{Tenant: "t1", Room: "a"}, 0)
	for _, where := range [][2]string{{"t2", "a"}, {"t1", "b"}, {"t1", "a"}} {
		rec := newRecord(where[1], "id", starting)
		rec.Tenant = where[0]
		mustAppend(t, s, rec)
	}
	if got := mustReceive(t, w); got != 3 {
		t.Fatalf("got %d", got)
	}
}

func testWatch_Ends(t *testing.T, open opener) {
	s := open(t, store.Config{})
	for range 3 {
		mustAppend(t, s, newRecord("room", "id", available))
	}
	cause := errors.New("caller has gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	byContext, err := s.Watch(ctx, everything, 3)
	if err != nil {
		t.Fatal(err)
	}
	cancel(cause)
	if _, ok := <-byContext.C(); ok || !errors.Is(byContext.Err(), cause) {
		t.Errorf("by its context: %v", byContext.Err())
	}
	gone, err := s.Watch(ctx, everything, 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := <-gone.C(); ok {
		t.Error("a context that is done does not end it")
	}

	byClose := mustWatch(t, s, everything, 3)
	byClose.Close()
	byClose.Close()
	if _, ok := <-byClose.C(); ok || byClose.Err() != nil {
		t.Errorf("by Close: %v", byClose.Err())
	}

	byStore := mustWatch(t, s, everything, 1)
	for len(byStore.C()) < 2 && t.Context().Err() == nil { // the fan-out follows what is appended
		runtime.Gosched()
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// What was in its channel is still to be had.
	if mustReceive(t, byStore) != 2 || mustReceive(t, byStore) != 3 {
		t.Error("entries were lost at the end")
	}
	if _, ok := <-byStore.C(); ok || !errors.Is(byStore.Err(), store.ErrClosed) {
		t.Errorf("by the store's end: %v", byStore.Err())
	}
}

// A watcher that nobody reads while it still reads the log waits; the store
// can be closed all the same.
func testWatch_ClosedWhileItReadsTheLog(t *testing.T, open opener) {
	s := open(t, store.Config{WatchQueue: 2, History: 1})
	for range 10 {
		mustAppend(t, s, newRecord("room", "id", available))
	}
	settle(t, s)
	closed := mustWatch(t, s, everything, 0)
	left := mustWatch(t, s, everything, 0)
	if mustReceive(t, closed) != 1 {
		t.Error("it does not begin at 1")
	}
	closed.Close()
	for range closed.C() {
	}
	if closed.Err() != nil {
		t.Errorf("closed: %v", closed.Err())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range left.C() {
	}
	if !errors.Is(left.Err(), store.ErrClosed) {
		t.Errorf("left: %v", left.Err())
	}
}

func testWatch_TooOldAndAhead(t *testing.T, open opener) {
	s := open(t, store.Config{History: 1})
	for range 10 {
		mustAppend(t, s, newRecord("room", "id", available))
	}
	if err := store.Forget(s, 4); err != nil {
		t.Fatal(err)
	}
	var old *store.TooOldError
	if _, err := s.Watch(t.Context(), everything, 3); !errors.As(err, &old) || old.Oldest != 5 {
		t.Fatalf("watch after 3: %v", err)
	}
	settle(t, s)
	w := mustWatch(t, s, everything, old.Oldest-1)
	for i := uint64(5); i <= 10; i++ {
		if got := mustReceive(t, w); got != i {
			t.Fatalf("got %d, want %d", got, i)
		}
	}
	var ahead *store.AheadError
	if _, err := s.Watch(t.Context(), everything, 11); !errors.As(err, &ahead) || ahead.Last != 10 {
		t.Fatalf("watch after 11: %v", err)
	}
	if _, err := s.Watch(t.Context(), store.WatchFilter{Tenant: "*"}, 0); !errors.Is(err, store.ErrInvalid) {
		t.Fatalf("watch all tenants: %v", err)
	}
}

// More than one chunk of the log, for one room among others.
func testWatch_ReadsALongLog(t *testing.T, open opener) {
	dir := t.TempDir()
	s := storetest.OpenConfig(t, store.Config{Dir: dir, History: 1})
	const n = 1200
	for batch := range n / 100 {
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				id := fmt.Sprintf("id%d-%d", batch, i)
				room := "long"
				if i%2 == 0 {
					room = id
				}
				if _, err := s.Append(t.Context(), newRecord(room, id, available), 0); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	settle(t, s)
	all := mustWatch(t, s, everything, 0)
	long := mustWatch(t, s, store.WatchFilter{Tenant: tenant, Room: "long"}, 0)
	for i := uint64(1); i <= n; i++ {
		if got := mustReceive(t, all); got != i {
			t.Fatalf("got %d, want %d", got, i)
		}
	}
	last := uint64(0)
	for range n / 2 {
		got := mustReceive(t, long)
		if got <= last {
			t.Fatalf("%d after %d", got, last)
		}
		last = got
	}
}
