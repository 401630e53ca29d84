// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/store"
)

func testStore_RoomNames(t *testing.T, open opener) {
	rooms := []string{
		"a.b", ".", "*", ">", "a *.> b", " ", "room", "ROOM", "教室一二三", "\xff\xfe",
		strings.Repeat("x", 128), strings.Repeat("室", 42), "classrec.log.default.x.y", "rooms%2F1",
	}
	s := open(t, store.Config{})
	check := func() {
		t.Helper()
		for _, room := range rooms {
			e, ok := s.Live(tenant, room)
			if !ok || e.Record.GetRecording().GetRoom() != room {
				t.Errorf("room %q: %v", room, e)
			}
		}
	}
	for _, room := range rooms {
		// protobuf strings are UTF-8: what is not is refused, not mangled.
		if room == "\xff\xfe" {
			if _, err := s.Append(t.Context(), newRecord(room, "id", starting), 0); !errors.Is(err, store.ErrInvalid) {
				t.Errorf("room %q: %v", room, err)
			}
			continue
		}
		mustAppend(t, s, newRecord(room, "id", starting))
	}
	rooms = append(rooms[:9:9], rooms[10:]...)
	check()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, store.Config{})
	check()
}

func withRequest(rec *storev1.Record, id string) *storev1.Record {
	rec.RequestId = id
	return rec
}

func testStore_RequestIDs(t *testing.T, open opener) {
	s := open(t, store.Config{})
	mustAppend(t, s, withRequest(newRecord("a", "01", starting), "freed"))
	mustAppend(t, s, withRequest(newRecord("a", "01", failed), "freed"))
	named := newRecord("b", "02", available)
	named.Recording.State = failed // failed later: it has a name
	mustAppend(t, s, withRequest(named, "kept"))
	mustAppend(t, s, withRequest(newRecord("f", "06", starting), "again"))
	mustAppend(t, s, withRequest(newRecord("f", "06", failed), "again"))
	mustAppend(t, s, withRequest(newRecord("e", "05", starting), "again"))
	if _, err := s.Append(t.Context(), withRequest(newRecord("d", "04", starting), "again"), 0); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a request id that is held: %v", err)
	}
	mustAppend(t, s, newRecord("g", "07", starting))

	check := func() {
		t.Helper()
		for request, want := range map[string]string{
			"freed": "", "kept": "02", "again": "05", "": "", "unknown": "",
		} {
			e, err := s.ByRequestID(t.Context(), tenant, request)
			ok := err == nil
			if ok != (want != "") || ok && e.Record.GetId() != want {
				t.Errorf("request %q: %v, want %q", request, e, want)
			}
		}
		if e, err := s.ByRequestID(t.Context(), "other", "kept"); err == nil {
			t.Errorf("another tenant's: %v", e)
		}
	}
	check()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, store.Config{})
	check()
}

func testStore_NotFound(t *testing.T, open opener) {
	s := open(t, store.Config{})
	mustAppend(t, s, newRecord("room", "id", starting))
	if _, err := s.Get(t.Context(), tenant, "other", "id"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("get in another room: %v", err)
	}
	if _, err := s.ByName(t.Context(), tenant, ""); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("by no name: %v", err)
	}
	if _, err := s.Wait(t.Context(), tenant, "room", "other", func(*store.Entry) bool { return true }); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("wait: %v", err)
	}
}

func testStore_NameMoves(t *testing.T, open opener) {
	s := open(t, store.Config{})
	mustAppend(t, s, newRecord("room", "id", recording))
	renamed := newRecord("room", "id", processing)
	renamed.Recording.Name += "-2"
	e := mustAppend(t, s, renamed)
	if _, err := s.ByName(t.Context(), tenant, "rooms/room/recordings/id"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the old name: %v", err)
	}
	if got, err := s.ByName(t.Context(), tenant, "rooms/room/recordings/id-2"); err != nil || !same(got, e) {
		t.Errorf("the new name: %v", err)
	}
}

func testStore_KnowsURL(t *testing.T, open opener) {
	s := open(t, store.Config{})
	put := func(room string, urls ...string) {
		t.Helper()
		rec := newRecord(room, "id", available)
		rec.Recording.Urls = urls
		mustAppend(t, s, rec)
	}
	check := func(want ...bool) {
		t.Helper()
		for i, url := range []string{"u1", "u2", "u3"} {
			known, err := s.KnowsURL(t.Context(), tenant, url)
			others, err2 := s.KnowsURL(t.Context(), "other", url)
			if known != want[i] || others || err != nil || err2 != nil {
				t.Errorf("%s: %v, not %v; %v, %v", url, known, want[i], err, err2)
			}
		}
	}
	put("a", "u1", "u2")
	put("b", "u2", "u2")
	check(true, true, false)
	put("a", "u3")
	check(false, true, true)
	put("b")
	check(false, false, true)
}

func testWait_SeesEachChange(t *testing.T, open opener) {
	s := open(t, store.Config{})
	mustAppend(t, s, newRecord("room", "id", starting))
	type result struct {
		e   *store.Entry
		err error
	}
	waiting := make(chan struct{})
	done := make(chan result, 1)
	var seen []classrecv1.RecordingState
	go func() {
		e, err := s.Wait(t.Context(), tenant, "room", "id", func(e *store.Entry) bool {
			if len(seen) == 0 {
				close(waiting)
			}
			seen = append(seen, e.Record.GetRecording().GetState())
			return len(seen) == 3
		})
		done <- result{e, err}
	}()
	<-waiting
	mustAppend(t, s, newRecord("room", "id", recording))
	mustAppend(t, s, newRecord("other", "id", starting))
	e := mustAppend(t, s, newRecord("room", "id", processing))
	r := <-done
	if r.err != nil || r.e != e {
		t.Fatalf("wait: %v, %v", r.e, r.err)
	}
	if seen[0] != starting || seen[1] != recording || seen[2] != processing {
		t.Fatalf("it saw %v", seen)
	}
	mustAppend(t, s, newRecord("room", "id", available)) // until is not called any more
	if len(seen) != 3 {
		t.Fatalf("it saw %v", seen)
	}
}

func testWait_Ends(t *testing.T, open opener) {
	s := open(t, store.Config{})
	mustAppend(t, s, newRecord("room", "id", starting))
	never := func(*store.Entry) bool { return false }

	cause := errors.New("caller has gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := s.Wait(ctx, tenant, "room", "id", never); !errors.Is(err, cause) {
		t.Errorf("with its context: %v", err)
	}

	waiting := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, err := s.Wait(t.Context(), tenant, "room", "id", func(*store.Entry) bool { close(waiting); return false })
		done <- err
	}()
	<-waiting
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, store.ErrClosed) || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("with the store: %v", err)
	}
	if _, err := s.Wait(t.Context(), tenant, "room", "id", never); !errors.Is(err, store.ErrClosed) {
		t.Errorf("after it: %v", err)
	}
	if _, err := s.Append(t.Context(), newRecord("room", "id", recording), 1); !errors.Is(err, store.ErrClosed) {
		t.Errorf("append after it: %v", err)
	}
	if _, err := s.Watch(t.Context(), store.WatchFilter{Tenant: tenant}, 0); !errors.Is(err, store.ErrClosed) {
		t.Errorf("watch after it: %v", err)
	}
}
