// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/store"
)

// The history of a recording is its own changes, in order; once some are
// forgotten, it says that it is not whole.
func testHistory(t *testing.T, open opener) {
	s := open(t, store.Config{})
	began := time.Now()
	at := func(state classrecv1.RecordingState, after time.Duration) *storev1.Record {
		rec := newRecord("room", "id", state)
		rec.Recording.CreateTime, rec.Recording.UpdateTime = timestamppb.New(began), timestamppb.New(began.Add(after))
		return rec
	}
	states := []classrecv1.RecordingState{starting, recording, available}
	for i, state := range states {
		mustAppend(t, s, newRecord("room", "other", available))
		mustAppend(t, s, at(state, time.Duration(i)*time.Minute))
	}
	changes, complete, err := s.History(t.Context(), tenant, "room", "id")
	if err != nil || !complete || len(changes) != len(states) {
		t.Fatalf("%d changes, whole %v, %v", len(changes), complete, err)
	}
	for i, e := range changes {
		if e.Record.GetRecording().GetState() != states[i] || e.Record.GetId() != "id" || e.Revision != uint64(2*i+2) || time.Since(e.Stored) > time.Minute {
			t.Errorf("change %d is %v at %d, %v", i, e.Record, e.Revision, e.Stored)
		}
	}
	if err := store.Forget(s, 5); err != nil {
		t.Fatal(err)
	}
	changes, complete, err = s.History(t.Context(), tenant, "room", "id")
	if err != nil || complete || len(changes) != 1 || changes[0].Revision != 6 {
		t.Errorf("after forgetting: %d changes, whole %v, %v", len(changes), complete, err)
	}
	if _, _, err := s.History(t.Context(), tenant, "room", "none"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of none: %v", err)
	}
}

// How many recordings there are in a state is counted, through changes and
// forgetting.
func testCounts(t *testing.T, open opener) {
	s := open(t, store.Config{})
	for _, state := range []classrecv1.RecordingState{starting, recording} {
		mustAppend(t, s, newRecord("a", "id", state))
	}
	mustAppend(t, s, newRecord("b", "id", available))
	counts := s.Counts()
	if counts[store.StateKey{Tenant: tenant, State: recording}] != 1 || counts[store.StateKey{Tenant: tenant, State: available}] != 1 || counts[store.StateKey{Tenant: tenant, State: starting}] != 0 {
		t.Errorf("%v", counts)
	}
}
