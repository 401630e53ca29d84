// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"testing"

	"github.com/classrec/classrec/server/internal/store"
)

// Watchers that catch up from the history in memory, each read as quickly as it
// goes, get all of it before they are said to have caught up, however the
// reading and the catching up take turns.
func testWatch_CatchesUpWhileItIsReadQuickly(t *testing.T, open opener) {
	s := open(t, store.Config{WatchQueue: 64})
	const entries = 1500
	for range entries {
		mustAppend(t, s, newRecord("a", "id", available))
	}
	for round := range 100 {
		w := mustWatch(t, s, everything, 0)
		n := 0
		for caught := false; !caught; {
			select {
			case <-w.CaughtUp():
				for range len(w.C()) {
					<-w.C()
					n++
				}
				caught = true
			case <-w.C():
				n++
			}
		}
		w.Close()
		if n != entries {
			t.Fatalf("round %d: caught up with %d of %d entries", round, n, entries)
		}
	}
}
