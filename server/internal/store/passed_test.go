// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"testing"

	"github.com/classrec/classrec/server/internal/store"
)

// What does not concern a watcher passes it, so that it can resume after that
// has been forgotten; what it has not read does not.
func testWatcher_Passed(t *testing.T, open opener) {
	s := open(t, store.Config{})
	mine := mustAppend(t, s, newRecord("room", "id", available))
	w := mustWatch(t, s, store.WatchFilter{Tenant: tenant, Room: "room"}, 0)
	waitFor(t, func() bool { return len(w.C()) == 1 })
	if got := w.Passed(); got != 0 {
		t.Errorf("%d passed, and 1 is unread", got)
	}
	if got := mustReceive(t, w); got != mine.Revision {
		t.Fatalf("got %d", got)
	}
	var last uint64
	for range 10 {
		last = mustAppend(t, s, newRecord("elsewhere", "id", available)).Revision
	}
	waitFor(t, func() bool { return w.Passed() == last })
	if err := store.Forget(s, last); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Watch(t.Context(), store.WatchFilter{Tenant: tenant, Room: "room"}, w.Passed()); err != nil {
		t.Errorf("resumed after %d: %v", last, err)
	}
}
