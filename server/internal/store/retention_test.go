// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
)

// historyModel is what a history has to be like: every change ever stored, and up to
// where they are forgotten.
type historyModel struct {
	changes   map[uint64]*storev1.Record
	forgotten uint64
}

// check compares a store with the model: the last state of every recording, what
// can be watched and what cannot.
func (m *historyModel) check(ctx context.Context, s *store.Store) error {
	last := make(map[string]uint64)
	for sequence, rec := range m.changes {
		key := rec.Recording.Room + " " + rec.Id
		last[key] = max(last[key], sequence)
	}
	for key, sequence := range last {
		room, id, _ := strings.Cut(key, " ")
		if e, err := s.Get(ctx, tenant, room, id); err != nil || e.Revision != sequence || e.Record.ClassBeginData != m.changes[sequence].ClassBeginData {
			return fmt.Errorf("recording %s is %v; want it of %d: %w", key, e, sequence, err)
		}
	}
	if s.Forgotten() != m.forgotten {
		return fmt.Errorf("forgotten is %d, want %d", s.Forgotten(), m.forgotten)
	}
	if m.forgotten > 0 {
		if _, err := s.Watch(ctx, everything, m.forgotten-1); err == nil {
			return fmt.Errorf("watch after %d begins, %d is forgotten", m.forgotten-1, m.forgotten)
		} else if old := (*store.TooOldError)(nil); !errors.As(err, &old) || old.Oldest != m.forgotten+1 {
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
// but history, every recording can be changed, and watchers get all or are told.
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
		m := &historyModel{changes: make(map[uint64]*storev1.Record)}
		steps := map[string]func(){
			"append": func() {
				for range rapid.IntRange(1, 12).Draw(rt, "n") {
					rec := newRecord(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "room"), rapid.SampledFrom([]string{"1", "2"}).Draw(rt, "id"), available)
					rec.ClassBeginData = fmt.Sprint(len(m.changes))
					m.changes[mustAppend(t, s, rec).Revision] = rec
				}
			},
			"forget": func() {
				mark := rapid.Uint64Range(0, s.LastSequence()-1).Draw(rt, "mark")
				if err := store.Forget(s, mark); err != nil {
					rt.Fatal(err)
				}
				m.forgotten = max(m.forgotten, mark)
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

// tidied closes a store and opens it again with a retention that it heeds at
// once.
func tidied(t *testing.T, s *store.Store, open opener, r store.Retention) *store.Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, store.Config{Retention: r})
	if err := store.Tidy(s); err != nil {
		t.Fatal(err)
	}
	return s
}

// What is forgotten is what is older than Age, and never the last event.
func testRetention_Age(t *testing.T, open opener) {
	s := open(t, store.Config{})
	for _, state := range []classrecv1.RecordingState{starting, recording, available} {
		mustAppend(t, s, newRecord("room", "id", state))
	}
	if s = tidied(t, s, open, store.Retention{Age: time.Hour}); s.Forgotten() != 0 || events(t, s) != 3 {
		t.Fatalf("of an hour, %d are forgotten, %d left", s.Forgotten(), events(t, s))
	}
	if s = tidied(t, s, open, store.Retention{Age: time.Nanosecond}); s.Forgotten() != 2 || events(t, s) != 1 {
		t.Fatalf("%d are forgotten, %d left", s.Forgotten(), events(t, s))
	}
	if e := mustAppend(t, s, newRecord("room", "id", available)); e.Revision != 4 {
		t.Errorf("appended as %d", e.Revision)
	}
}

// By size, the oldest events go.
func testRetention_Bytes(t *testing.T, open opener) {
	s := open(t, store.Config{})
	const n, each = 100, 4 << 10
	for range n {
		rec := newRecord("room", "id", available)
		rec.ClassBeginData = strings.Repeat("x", each)
		mustAppend(t, s, rec)
	}
	const keep = 10
	s = tidied(t, s, open, store.Retention{Bytes: keep*each + each/2})
	if got := s.Forgotten(); got < n-keep-1 || got > n-keep+1 || events(t, s) != int(n-got) {
		t.Errorf("%d are forgotten, %d left", got, events(t, s))
	}
}

// events returns how many events there are.
func events(t *testing.T, s *store.Store) int {
	t.Helper()
	n, err := store.Events(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Retention works by itself, in its own time.
func TestRetention_ByItself(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]store.Retention{
		"age":   {Age: time.Hour, Interval: time.Hour},
		"bytes": {Bytes: 500, Interval: 10 * time.Hour}, // which is looked at every 10 minutes
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := storetest.OpenConfig(t, store.Config{Memory: true, Retention: r})
				for range 30 {
					mustAppend(t, s, newRecord("room", "id", available))
				}
				time.Sleep(30 * time.Minute)
				if name == "age" && s.Forgotten() != 0 {
					t.Errorf("after half an hour, %d are forgotten", s.Forgotten())
				}
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				if s.Forgotten() == 0 || events(t, s) != int(30-s.Forgotten()) {
					t.Errorf("%d are forgotten, %d left", s.Forgotten(), events(t, s))
				}
			})
		})
	}
}

// A watcher that reads the history while what it wants is forgotten gets the
// beginning without a hole, and is told where to go on.
func testRetention_OvertakesReplay(t *testing.T, open opener) {
	s := open(t, store.Config{WatchQueue: 1, History: 1})
	const entries = 700
	for range entries {
		mustAppend(t, s, newRecord("room", "id", available))
	}
	settle(t, s)
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
	var old *store.TooOldError
	if !errors.As(w.Err(), &old) || old.Oldest != entries-100+1 {
		t.Fatalf("after %d it ends: %v", next-1, w.Err())
	}
	w = mustWatch(t, s, everything, entries-100)
	for want := uint64(entries - 100 + 1); want <= entries; want++ {
		if got := mustReceive(t, w); got != want {
			t.Fatalf("got %d, want %d", got, want)
		}
	}
}
