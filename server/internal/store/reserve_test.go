// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	"github.com/classrec/classrec/server/internal/store"
)

// begin reserves a place for a recording of a room of its own, and begins it.
func begin(t *testing.T, s *store.Store, tenant string, n, ofTenant, ofAll int) (*storev1.Record, error) {
	t.Helper()
	room := fmt.Sprint("room", n)
	rec := newRecord(room, fmt.Sprint("id", n), starting)
	rec.Tenant = tenant
	release, err := s.Reserve(tenant, room, rec.GetId(), ofTenant, ofAll)
	if err != nil {
		return nil, err
	}
	defer release()
	if _, err := s.Append(t.Context(), rec, 0); err != nil {
		t.Error(err)
	}
	return rec, nil
}

// Of many that begin at once, exactly as many do as there may be, of each tenant
// and of all; a restart counts what is there.
func testReserve_Exact(t *testing.T, open opener) {
	const ofTenant, ofAll, each = 10, 15, 100
	s := open(t, store.Config{})
	var wg sync.WaitGroup
	var begun, refusedHere, refusedAll atomic.Int64
	for n := range 2 * each {
		wg.Go(func() {
			_, err := begin(t, s, []string{"a", "b"}[n%2], n, ofTenant, ofAll)
			switch full := (*store.FullError)(nil); {
			case err == nil:
				begun.Add(1)
			case !errors.As(err, &full):
				t.Error(err)
			case full.OfTenant && full.Max == ofTenant:
				refusedHere.Add(1)
			case !full.OfTenant && full.Max == ofAll:
				refusedAll.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if begun.Load() != ofAll || begun.Load()+refusedHere.Load()+refusedAll.Load() != 2*each {
		t.Errorf("%d have begun, of %d that may; %d and %d are refused", begun.Load(), ofAll, refusedHere.Load(), refusedAll.Load())
	}
	live := map[string]int{}
	for _, e := range s.Unfinished() {
		live[e.Record.GetTenant()]++
	}
	if live["a"] > ofTenant || live["b"] > ofTenant || live["a"]+live["b"] != ofAll {
		t.Errorf("live are %v", live)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, store.Config{})
	if _, err := begin(t, s, "a", 1000, 0, ofAll); err == nil {
		t.Error("after a restart, one more has begun")
	}
	if err := s.Full("a", 0, ofAll); err == nil {
		t.Error("after a restart, it is not full")
	}
	if err := s.Full("c", 1, ofAll+1); err != nil {
		t.Errorf("a tenant that has nothing: %v", err)
	}
}

// A place that is given back, or whose recording is over, is free; one whose
// recording is live is taken once.
func testReserve_Release(t *testing.T, open opener) {
	s := open(t, store.Config{})
	release, err := s.Reserve("a", "room", "id", 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := begin(t, s, "a", 1, 1, 0); err == nil {
		t.Error("a reserved place is given away")
	}
	if _, err := begin(t, s, "b", 2, 1, 0); err != nil {
		t.Errorf("another tenant's place: %v", err)
	}
	release()
	rec, err := begin(t, s, "a", 3, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Full("a", 2, 0); err != nil {
		t.Errorf("one recording takes two places: %v", err)
	}
	rec.Recording.State = available
	if _, err := s.Append(t.Context(), rec, revisionOf(t, s, rec)); err != nil {
		t.Fatal(err)
	}
	if _, err := begin(t, s, "a", 4, 1, 0); err != nil {
		t.Errorf("the place of a recording that is over: %v", err)
	}
}
