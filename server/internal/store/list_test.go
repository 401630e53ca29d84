// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"cmp"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/store"
)

// listModel says what List has to return, by looking at everything.
type listModel map[string]*storev1.Record // by room and id

func (m listModel) list(f store.Filter) []string {
	var all []*storev1.Record
	for _, r := range m {
		rec := r.GetRecording()
		users := []string{rec.GetUserId()}
		for _, file := range rec.GetFiles() {
			users = append(users, file.GetUserId())
		}
		if rec.GetName() != "" && (f.Room == "" || rec.GetRoom() == f.Room) &&
			(f.Visible == nil || f.Visible(rec.GetRoom())) && (f.Rooms == nil || slices.Contains(f.Rooms, rec.GetRoom())) &&
			(f.UserID == "" || slices.Contains(users, f.UserID)) &&
			(f.RecordTime == 0 || rec.GetRecordTime().GetSeconds() == f.RecordTime) {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b *storev1.Record) int {
		s, t := a.GetRecording().GetRecordTime(), b.GetRecording().GetRecordTime()
		return -cmp.Or(cmp.Compare(s.GetSeconds(), t.GetSeconds()), cmp.Compare(s.GetNanos(), t.GetNanos()),
			cmp.Compare(a.GetId(), b.GetId()))
	})
	ids := make([]string, len(all))
	for i, r := range all {
		ids[i] = r.GetId()
	}
	return ids
}

// change makes a new state of one of a few recordings, of which each room has
// its own.
func change(t *rapid.T, tenantName string) *storev1.Record {
	room := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "room")
	rec := newRecord(room, fmt.Sprintf("%s%02d", room, rapid.IntRange(0, 9).Draw(t, "id")), processing)
	rec.Tenant = tenantName
	user := rapid.SampledFrom([]string{"", "u", "v", "w"})
	rec.Recording.UserId = user.Draw(t, "user")
	for range rapid.IntRange(0, 3).Draw(t, "files") {
		rec.Recording.Files = append(rec.Recording.Files, &classrecv1.RecordingFile{UserId: user.Draw(t, "file of")})
	}
	rec.Recording.RecordTime = nil
	if s := rapid.Int64Range(0, 6).Draw(t, "time"); s != 0 {
		rec.Recording.RecordTime = &timestamppb.Timestamp{Seconds: s, Nanos: rapid.Int32Range(0, 1).Draw(t, "nanos")}
	}
	if rapid.IntRange(0, 4).Draw(t, "no name") == 0 {
		rec.Recording.Name = ""
	}
	return rec
}

func testList_PagesAreAsTheModelSays(t *testing.T, open opener) {
	s := open(t, store.Config{})
	var checks atomic.Int64
	rapid.Check(t, func(rt *rapid.T) {
		tenantName := fmt.Sprint("t", checks.Add(1)) // each has a list of its own
		model := make(listModel)
		put := func(rec *storev1.Record) {
			mustAppend(t, s, rec)
			model[rec.GetRecording().GetRoom()+rec.GetId()] = rec
		}
		for range rapid.IntRange(0, 20).Draw(rt, "changes") {
			put(change(rt, tenantName))
		}
		filter := store.Filter{
			Room:       rapid.SampledFrom([]string{"", "a", "b", "none"}).Draw(rt, "of room"),
			UserID:     rapid.SampledFrom([]string{"", "u", "v", "none"}).Draw(rt, "of user"),
			Visible:    rapid.SampledFrom([]func(string) bool{nil, nil, func(room string) bool { return room != "b" }}).Draw(rt, "visible"),
			Rooms:      rapid.SampledFrom([][]string{nil, nil, {"c", "a"}}).Draw(rt, "only"),
			RecordTime: rapid.SampledFrom([]int64{0, 0, 3}).Draw(rt, "of time"),
		}
		want := model.list(filter)
		limit := rapid.IntRange(1, 7).Draw(rt, "limit")
		var got []string
		for cursor, more := (store.Cursor{}), true; more; {
			var page []*store.Entry
			var err error
			page, cursor, more, err = s.List(t.Context(), tenantName, filter, cursor, limit)
			if err != nil {
				rt.Fatal(err)
			}
			if len(page) > limit || more && len(page) < limit {
				rt.Fatalf("a page of %d with limit %d, more: %v", len(page), limit, more)
			}
			for _, e := range page {
				got = append(got, e.Record.GetId())
			}
			// What begins later does not move a page.
			if more {
				late := newRecord("a", fmt.Sprintf("late%d", len(got)), processing)
				late.Tenant, late.Recording.UserId = tenantName, "u"
				mustAppend(t, s, late)
			}
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("filter %+v: got %v, want %v", filter, got, want)
		}
	})
}

func testList_Edges(t *testing.T, open opener) {
	s := open(t, store.Config{})
	if page, _, more, _ := s.List(t.Context(), tenant, store.Filter{}, store.Cursor{}, 10); len(page) != 0 || more {
		t.Fatal("an empty store lists something")
	}
	mustAppend(t, s, newRecord("room", "id", starting))
	mustAppend(t, s, newRecord("room", "id", failed))
	if page, _, _, _ := s.List(t.Context(), tenant, store.Filter{}, store.Cursor{}, 10); len(page) != 0 {
		t.Fatal("a start that failed is listed")
	}
	mustAppend(t, s, newRecord("room", "id2", available))
	if page, _, more, _ := s.List(t.Context(), tenant, store.Filter{}, store.Cursor{}, 0); len(page) != 0 || more {
		t.Fatal("limit 0 lists something")
	}
	if page, _, _, _ := s.List(t.Context(), "other", store.Filter{}, store.Cursor{}, 10); len(page) != 0 {
		t.Fatal("another tenant sees it")
	}
	page, next, more, _ := s.List(t.Context(), tenant, store.Filter{}, store.Cursor{}, 1)
	if len(page) != 1 || more || next != store.CursorOf(page[0]) {
		t.Fatalf("page %v, next %v, more %v", page, next, more)
	}
	if page, _, _, _ := s.List(t.Context(), tenant, store.Filter{}, next, 1); len(page) != 0 {
		t.Fatal("it is listed after itself")
	}
}
