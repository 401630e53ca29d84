// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
)

// logModel is what a log has to be like: every change ever stored, and up to
// where they are forgotten.
type logModel struct {
	changes   map[uint64]*storev1.Record
	forgotten uint64
}

// check compares a store with the model: the last state of every recording, the
// revision of every room, what can be watched and what cannot. lastSequence is
// the log's.
func (m *logModel) check(ctx context.Context, s *store.Store) error {
	rooms := make(map[string]uint64)
	last := make(map[string]uint64)
	for sequence, rec := range m.changes {
		rooms[rec.Recording.Room] = max(rooms[rec.Recording.Room], sequence)
		key := rec.Recording.Room + " " + rec.Id
		last[key] = max(last[key], sequence)
	}
	for room, revision := range rooms {
		if got := s.RoomRevision(tenant, room); got != revision {
			return fmt.Errorf("room %s is at %d, want %d", room, got, revision)
		}
	}
	for key, sequence := range last {
		room, id, _ := strings.Cut(key, " ")
		if e, err := s.Get(tenant, room, id); err != nil || e.Revision != sequence || e.Record.ClassBeginData != m.changes[sequence].ClassBeginData {
			return fmt.Errorf("recording %s is %v; want it of %d: %w", key, e, sequence, err)
		}
	}
	if s.Forgotten() != m.forgotten {
		return fmt.Errorf("forgotten is %d, want %d", s.Forgotten(), m.forgotten)
	}
	if m.forgotten > 0 {
		if _, err := s.Watch(ctx, everything, m.forgotten-1); err == nil {
			return fmt.Errorf("watch after %d begins, %d is forgotten", m.forgotten-1, m.forgotten)
		} else if oldest, ok := store.IsTooOld(err); !ok || oldest != m.forgotten+1 {
			return fmt.Errorf("watch after %d: %w", m.forgotten-1, err)
		}
	}
	var want, got []uint64
	for _, sequence := range slices.Sorted(maps.Keys(m.changes)) {
		if sequence > m.forgotten {
			want = append(want, sequence)
		}
	}
	w, err := s.Watch(ctx, everything, m.forgotten)
	if err != nil {
		return err
	}
	defer w.Close()
	for len(got) < len(want) {
		select {
		case e, ok := <-w.C():
			if !ok {
				return fmt.Errorf("watch after %d: %w", m.forgotten, w.Err())
			}
			got = append(got, e.Revision)
		case <-time.After(20 * time.Second):
			return fmt.Errorf("watch after %d: got %v, want %v", m.forgotten, got, want)
		}
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("watch after %d: got %v, want %v", m.forgotten, got, want)
	}
	return nil
}

// Whatever is forgotten, between whatever changes and restarts: nothing is lost
// but history, every room can be appended to, and watchers get all or are told.
func TestRetention_Model(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		open := func() *store.Store {
			s, err := store.Open(t.Context(), store.Config{Dir: dir, History: rapid.IntRange(1, 16).Draw(rt, "history")})
			if err != nil {
				rt.Fatal(err)
			}
			return s
		}
		s := open()
		defer func() { _ = s.Close() }()
		m := &logModel{changes: make(map[uint64]*storev1.Record)}
		steps := map[string]func(){
			"append": func() {
				for range rapid.IntRange(1, 12).Draw(rt, "n") {
					rec := newRecord(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "room"), rapid.SampledFrom([]string{"1", "2"}).Draw(rt, "id"), available)
					rec.ClassBeginData = fmt.Sprint(len(m.changes))
					e, err := s.Append(t.Context(), rec, s.RoomRevision(tenant, rec.Recording.Room))
					if err != nil {
						rt.Fatal(err)
					}
					m.changes[e.Revision] = rec
				}
			},
			"forget": func() {
				mark := rapid.Uint64Range(0, s.LastSequence()).Draw(rt, "mark")
				if err := store.Forget(s, mark); err != nil {
					rt.Fatal(err)
				}
				m.forgotten = max(m.forgotten, mark)
			},
			"say only": func() {
				mark := rapid.Uint64Range(m.forgotten, s.LastSequence()).Draw(rt, "mark")
				if err := store.Say(s, mark); err != nil {
					rt.Fatal(err)
				}
				m.forgotten = mark
			},
			"restart": func() {
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				s = open()
			},
		}
		names := slices.Sorted(maps.Keys(steps))
		for range rapid.IntRange(1, 7).Draw(rt, "steps") {
			steps["append"]()
			steps[rapid.SampledFrom(names).Draw(rt, "step")]()
			if err := m.check(t.Context(), s); err != nil {
				rt.Fatal(err)
			}
		}
	})
}

// What is forgotten is what is older than Age, and nothing else.
func TestRetention_Age(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	for _, state := range []classrecv1.RecordingState{starting, recording, available} {
		mustAppend(t, s, newRecord("room", "id", state))
	}
	if err := store.Tidy(s, store.Retention{Age: time.Hour}); err != nil || s.Forgotten() != 0 || messages(t, s) != 3 {
		t.Fatalf("of an hour, %d are forgotten, %d left, %v", s.Forgotten(), messages(t, s), err)
	}
	if err := store.Tidy(s, store.Retention{Age: time.Nanosecond}); err != nil || s.Forgotten() != 3 || messages(t, s) != 2 {
		t.Fatalf("%d are forgotten, %d left, %v", s.Forgotten(), messages(t, s), err)
	}
	// What it says itself is not worth to be forgotten.
	if err := store.Tidy(s, store.Retention{Age: time.Nanosecond}); err != nil || s.LastSequence() != 4 {
		t.Fatalf("last %d, %v", s.LastSequence(), err)
	}
	if e := mustAppend(t, s, newRecord("room", "id", available)); e.Revision != 5 {
		t.Errorf("appended as %d", e.Revision)
	}
	if _, err := s.Append(t.Context(), newRecord("room", "id", available), 3); err == nil {
		t.Error("an append on a forgotten revision is stored")
	}
}

// By size, the oldest history goes; the present state of many recordings does
// not count, and does not make the rest go.
func TestRetention_Bytes(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	for i := range 100 {
		rec := sized(fmt.Sprint("still", i), 4<<10)
		mustAppend(t, s, rec)
	}
	for range 50 {
		mustAppend(t, s, sized("busy", 4<<10))
	}
	if err := store.Tidy(s, store.Retention{Bytes: 300 << 10}); err != nil || s.Forgotten() != 0 {
		t.Fatalf("%d are forgotten, %v", s.Forgotten(), err)
	}
	const keep = 10
	if err := store.Tidy(s, store.Retention{Bytes: keep * 4.5 * 1024}); err != nil {
		t.Fatal(err)
	}
	// Of the 49 old states of busy, about keep are left.
	if got := s.Forgotten(); got < 100+49-keep-1 || got > 100+49-keep+1 {
		t.Errorf("%d are forgotten", got)
	}
	if got, want := messages(t, s), 150-(s.Forgotten()-100)+1; got != want {
		t.Errorf("%d are left, want %d", got, want)
	}
}

func messages(t testing.TB, s *store.Store) uint64 {
	t.Helper()
	n, err := store.Messages(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The janitor works by itself: when the log grows, and by time.
func TestRetention_ByItself(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]store.Retention{
		"age":   {Age: time.Millisecond, Interval: 100 * time.Millisecond},
		"bytes": {Bytes: 20 << 10, Interval: 2 * time.Minute}, // looked at every 2 s
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := storetest.OpenConfig(t, store.Config{Dir: t.TempDir(), Retention: r})
			for round := range 2 {
				before := s.Forgotten()
				for range 30 {
					mustAppend(t, s, sized("room", 1<<10))
				}
				waitFor(t, func() bool { return s.Forgotten() > before && messages(t, s) < 30 })
				if _, err := s.Get(tenant, "room", "id"); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			}
		})
	}
}

// What an earlier process said and did not live to remove, the next one does.
func TestRetention_GoesOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := storetest.Open(t, dir)
	for range 20 {
		mustAppend(t, s, newRecord("room", "id", available))
	}
	if err := store.Say(s, 15); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = storetest.Open(t, dir)
	if s.Forgotten() != 15 || messages(t, s) != 21 {
		t.Fatalf("%d are forgotten, %d left", s.Forgotten(), messages(t, s))
	}
	if err := store.Tidy(s, store.Retention{Age: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if s.Forgotten() != 15 || messages(t, s) != 6 {
		t.Errorf("%d are forgotten, %d left", s.Forgotten(), messages(t, s))
	}
}

// A watcher that reads the log while what it wants is forgotten gets the
// beginning without a hole, and is told where to go on.
func TestRetention_OvertakesReplay(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) *store.Store{
		"embedded": func(t *testing.T) *store.Store {
			return storetest.OpenConfig(t, store.Config{Dir: t.TempDir(), WatchQueue: 1, History: 1})
		},
		"joined": func(t *testing.T) *store.Store {
			url, _ := newNATS(t).address(t)
			return storetest.OpenConfig(t, store.Config{NATSURL: url, WatchQueue: 1, History: 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			const entries = 700
			for range entries {
				mustAppend(t, s, newRecord("room", "id", available))
			}
			w := mustWatch(t, s, store.WatchFilter{Tenant: tenant, Room: "room"}, 0)
			if got := mustReceive(t, w); got != 1 {
				t.Fatalf("first is %d", got)
			}
			if err := store.Forget(s, entries-100); err != nil {
				t.Fatal(err)
			}
			next := uint64(2)
			for e := range w.C() {
				if e.Revision != next {
					t.Fatalf("got %d, want %d", e.Revision, next)
				}
				next++
			}
			if oldest, ok := store.IsTooOld(w.Err()); !ok || oldest != entries-100+1 {
				t.Fatalf("after %d it ends: %v", next-1, w.Err())
			}
			w = mustWatch(t, s, everything, entries-100)
			for want := uint64(entries - 100 + 1); want <= entries; want++ {
				if got := mustReceive(t, w); got != want {
					t.Fatalf("got %d, want %d", got, want)
				}
			}
		})
	}
}

// Two processes forget, append and watch on one log at the same time.
func TestRetention_Replicas(t *testing.T) {
	t.Parallel()
	n := newNATS(t)
	replicas := []*store.Store{n.open(t), n.open(t)}
	m := &logModel{changes: make(map[uint64]*storev1.Record)}
	var mu sync.Mutex
	done := make(chan struct{})
	var writing, tidying sync.WaitGroup
	for r, s := range replicas {
		for i := range 4 {
			writing.Go(func() {
				room := fmt.Sprintf("room%d-%d", r, i)
				for k := range 50 {
					rec := newRecord(room, fmt.Sprint("id", k%3), available)
					rec.ClassBeginData = fmt.Sprint(k)
					e, err := s.Append(t.Context(), rec, s.RoomRevision(tenant, room))
					if err != nil {
						t.Errorf("append: %v", err)
						return
					}
					mu.Lock()
					m.changes[e.Revision] = rec
					mu.Unlock()
				}
			})
		}
		tidying.Go(func() {
			for {
				// It may lose against the other; what is forgotten only grows.
				before := s.Forgotten()
				_ = store.Forget(s, s.LastSequence()*3/4)
				if s.Forgotten() < before {
					t.Errorf("forgotten went from %d to %d", before, s.Forgotten())
				}
				select {
				case <-done:
					return
				case <-time.After(time.Millisecond):
				}
			}
		})
	}
	writing.Wait()
	close(done)
	tidying.Wait()
	replicas = append(replicas, n.open(t))
	last := slices.MaxFunc(replicas, func(a, b *store.Store) int { return int(a.LastSequence()) - int(b.LastSequence()) }).LastSequence()
	m.forgotten = replicas[2].Forgotten()
	if m.forgotten == 0 {
		t.Error("nothing is forgotten")
	}
	for i, s := range replicas {
		waitFor(t, func() bool { return s.LastSequence() >= last })
		if err := m.check(t.Context(), s); err != nil {
			t.Errorf("replica %d: %v", i, err)
		}
		mustAppend(t, s, newRecord(fmt.Sprint("new", i), "id", available))
	}
}

// A process that follows the log so late that entries are gone tells its
// watchers, and has the right state all the same.
func TestRetention_LateReplica(t *testing.T) {
	t.Parallel()
	n := newNATS(t)
	s := n.open(t)
	url, _ := n.address(t)
	late := storetest.OpenConfig(t, store.Config{NATSURL: url, WatchQueue: 10_000})
	mustAppend(t, s, newRecord("room", "id", available))
	w := mustWatch(t, late, everything, 0)
	if got := mustReceive(t, w); got != 1 {
		t.Fatalf("first is %d", got)
	}
	release := store.Hold(late)
	const entries = 3000 // more than a consumer has on its way
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			for range entries / 100 {
				mustAppend(t, s, newRecord(fmt.Sprint("crowd", i), "id", available))
			}
		})
	}
	wg.Wait()
	if err := store.Forget(s, s.LastSequence()); err != nil {
		t.Fatal(err)
	}
	read := make(chan uint64)
	go func() { // a watcher that keeps up
		next := uint64(2)
		for e := range w.C() {
			if e.Revision != next {
				t.Errorf("got %d, want %d", e.Revision, next)
			}
			next++
		}
		read <- next
	}()
	release()
	waitFor(t, func() bool { return late.LastSequence() == s.LastSequence() })
	next := <-read
	if oldest, ok := store.IsTooOld(w.Err()); !ok || oldest <= next {
		t.Errorf("after %d the watch ended with %v", next-1, w.Err())
	}
	for i := range 100 {
		room := fmt.Sprint("crowd", i)
		if got, want := late.RoomRevision(tenant, room), s.RoomRevision(tenant, room); got != want {
			t.Errorf("%s is at %d, want %d", room, got, want)
		}
	}
	w = mustWatch(t, late, everything, late.LastSequence())
	e := mustAppend(t, s, newRecord("room", "id", available))
	if got := mustReceive(t, w); got != e.Revision {
		t.Errorf("got %d, want %d", got, e.Revision)
	}
}

const retentionChild = "CLASSREC_STORE_TEST_RETENTION"

// TestRetention_Child appends and forgets until it is killed: for
// TestRetention_Killed.
func TestRetention_Child(t *testing.T) {
	dir := os.Getenv(retentionChild)
	if dir == "" {
		t.SkipNow() // TestRetention_Killed runs it
	}
	s := storetest.OpenConfig(t, store.Config{
		Dir:       dir,
		Retention: store.Retention{Age: 20 * time.Millisecond, Bytes: 20 << 10, Interval: 60 * time.Millisecond},
	})
	var out sync.Mutex
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			room := fmt.Sprint("room", i)
			for k := 0; ; k++ {
				id := fmt.Sprint("id", k%4)
				e, err := s.Append(context.Background(), newRecord(room, id, available), s.RoomRevision(tenant, room))
				if err != nil {
					t.Error(err)
					return
				}
				out.Lock()
				fmt.Fprintln(os.Stdout, "stored", room, id, e.Revision)
				out.Unlock()
			}
		})
	}
	wg.Wait()
}

// Killed at any moment of forgetting: what was acknowledged and is not
// forgotten is there, and so is the last state of all.
func TestRetention_Killed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stored := make(map[uint64]string)
	last := make(map[string]uint64)
	for round := range 4 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRetention_Child$")
		cmd.Env = append(os.Environ(), retentionChild+"="+dir)
		cmd.Stderr = os.Stderr
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(pipe)
		for n := 0; lines.Scan(); n++ {
			words := strings.Fields(lines.Text())
			if len(words) != 4 || words[0] != "stored" {
				t.Fatalf("the child says %q", lines.Text())
			}
			revision, err := strconv.ParseUint(words[3], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			key := words[1] + " " + words[2]
			stored[revision] = key
			last[key] = max(last[key], revision)
			if n == 200+150*round {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child has ended by itself")
		}
		s := storetest.Open(t, dir)
		if s.Forgotten() == 0 {
			t.Errorf("round %d: nothing is forgotten", round)
		}
		for key, revision := range last {
			room, id, _ := strings.Cut(key, " ")
			if e, err := s.Get(tenant, room, id); err != nil || e.Revision < revision {
				t.Errorf("round %d: %s is %v, %v; %d was acknowledged", round, key, e, err, revision)
			}
			mustAppend(t, s, newRecord(room, id, available))
		}
		there := make(map[uint64]bool)
		w := mustWatch(t, s, everything, s.Forgotten())
		for got := uint64(0); got < s.LastSequence(); {
			got = mustReceive(t, w)
			there[got] = true
		}
		for revision, key := range stored {
			if revision > s.Forgotten() && !there[revision] {
				t.Errorf("round %d: %d of %s is lost; %d is forgotten", round, revision, key, s.Forgotten())
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
