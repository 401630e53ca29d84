// SPDX-License-Identifier: Apache-2.0

// Package storetest gives tests a real store: SQLite on files of the test's own,
// or in memory, or a PostgreSQL that the test starts.
package storetest

import (
	"testing"

	"github.com/classrec/classrec/server/internal/store"
)

// New opens a new, empty store in a directory of the test; it is closed when
// the test ends.
func New(t testing.TB) *store.Store {
	t.Helper()
	return Open(t, t.TempDir())
}

// Memory opens a new, empty store in memory, which has no files and no network:
// for a bubble of testing/synctest too. It is closed when the test ends.
func Memory(t testing.TB) *store.Store {
	t.Helper()
	return OpenConfig(t, store.Config{Memory: true})
}

// Open opens the store in dir. It is closed when the test ends; a test that
// opens dir again closes it first.
func Open(t testing.TB, dir string) *store.Store {
	t.Helper()
	return OpenConfig(t, store.Config{Dir: dir})
}

// OpenConfig is Open with a whole configuration.
func OpenConfig(t testing.TB, cfg store.Config) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("open store: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
	})
	return s
}
