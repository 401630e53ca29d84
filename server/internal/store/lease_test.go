// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
)

// With SQLite a lease is had at once, and nothing is written.
func TestLease_SQLite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := storetest.OpenConfig(t, store.Config{Dir: dir, ReplicaID: "me"})
	before := mustAppend(t, s, newRecord("room", "id", starting))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = storetest.OpenConfig(t, store.Config{Dir: dir, ReplicaID: "me"})
	if id, alive := s.Holder(tenant, "room"); id != "" || alive {
		t.Errorf("free, it is held by %q", id)
	}
	l, err := s.Acquire(t.Context(), tenant, "room")
	if err != nil {
		t.Fatal(err)
	}
	if s.LastSequence() != before.Revision {
		t.Error("something was written")
	}
	if id, alive := s.Holder(tenant, "room"); id != "me" || !alive {
		t.Errorf("it is held by %q, alive %t", id, alive)
	}
	if _, err := s.Acquire(t.Context(), tenant, "room"); !errors.Is(err, store.ErrLeased) {
		t.Errorf("acquire again: %v", err)
	}
	after, err := s.AppendAs(t.Context(), l, newRecord("room", "id", recording), before.Revision)
	if err != nil {
		t.Fatal(err)
	}
	if !l.Resumed(before) || l.Resumed(after) || l.State() != store.Held {
		t.Errorf("resumed %t %t; it is %v", l.Resumed(before), l.Resumed(after), l.State())
	}
	if _, err := s.AppendAs(t.Context(), l, newRecord("room", "id", recording), 0); !errors.Is(err, store.ErrConflict) {
		t.Errorf("append on an old revision: %v", err)
	}
	if _, err := s.AppendAs(t.Context(), l, newRecord("other", "id", recording), 0); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("append to another room: %v", err)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AppendAs(t.Context(), l, newRecord("room", "id", recording), after.Revision); err != store.ErrFenced { //nolint:errorlint // it wraps nothing
		t.Errorf("append after release: %v", err)
	}
	if l, err = s.Acquire(t.Context(), tenant, "room"); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(t.Context()); err != nil || s.Rank(tenant, "room") != 0 {
		t.Errorf("sync: %v; rank %d", err, s.Rank(tenant, "room"))
	}
	if _, err := s.Ask(t.Context(), tenant, "nobody", nil); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("ask: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if l.State() != store.Lost || l.Release(context.Background()) != nil {
		t.Errorf("closed, it is %v", l.State())
	}
	if _, err := s.Acquire(t.Context(), tenant, "room"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("acquire: %v", err)
	}
}

func TestLease_Refuses(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	for name, room := range map[string][2]string{"tenant": {"a.b", "room"}, "room": {tenant, ""}} {
		if _, err := s.Acquire(t.Context(), room[0], room[1]); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	c := s.Changes(tenant)
	other := s.Changes("other")
	take := func() []string {
		t.Helper()
		<-c.C()
		rooms, all := c.Take()
		if all {
			t.Error("all rooms have changed")
		}
		slices.Sort(rooms)
		return rooms
	}
	mustAppend(t, s, newRecord("a", "id", starting))
	mustAppend(t, s, newRecord("b", "id", starting))
	mustAppend(t, s, newRecord("b", "id", recording))
	// An Append returns a moment before its change is told.
	got := take()
	for len(got) < 2 {
		got = append(got, take()...)
	}
	got = slices.Compact(got)
	if !slices.Equal(got, []string{"a", "b"}) && !slices.Equal(got, []string{"a", "b", "b"}) {
		t.Errorf("changed: %v", got)
	}
	mustAppend(t, s, newRecord("c", "id", starting))
	for got := take(); !slices.Contains(got, "c"); got = take() {
	}
	if rooms, all := c.Take(); rooms != nil || all {
		t.Errorf("taken twice: %v, %t", rooms, all)
	}
	c.Close()
	c.Close()
	mustAppend(t, s, newRecord("d", "id", starting))
	select {
	case <-c.C():
		t.Error("it tells when it is closed")
	case <-other.C():
		t.Error("it tells of another tenant")
	default:
	}
}
