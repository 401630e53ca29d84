// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

const (
	tenant     = "default"
	starting   = classrecv1.RecordingState_RECORDING_STATE_STARTING
	recording  = classrecv1.RecordingState_RECORDING_STATE_RECORDING
	processing = classrecv1.RecordingState_RECORDING_STATE_PROCESSING
	available  = classrecv1.RecordingState_RECORDING_STATE_AVAILABLE
	failed     = classrecv1.RecordingState_RECORDING_STATE_FAILED
)

// newRecord makes a record of a room's recording; it has a name unless it is
// STARTING or FAILED.
func newRecord(room, id string, state classrecv1.RecordingState) *storev1.Record {
	r := &storev1.Record{
		Tenant: tenant,
		Id:     id,
		Recording: &classrecv1.Recording{
			Room:  room,
			State: state,
		},
	}
	if state != starting && state != failed {
		r.Recording.Name = "rooms/" + room + "/recordings/" + id
		r.Recording.RecordTime = timestamppb.New(time.Unix(1_700_000_000, 0))
	}
	return r
}

// mustAppend appends at the recording's present revision.
func mustAppend(t testing.TB, s *store.Store, rec *storev1.Record) *store.Entry {
	t.Helper()
	e, err := s.Append(t.Context(), rec, revisionOf(t, s, rec))
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	return e
}

// revisionOf returns the recording's revision, 0 when there is none.
func revisionOf(t testing.TB, s *store.Store, rec *storev1.Record) uint64 {
	t.Helper()
	e, err := s.Get(t.Context(), rec.GetTenant(), rec.GetRecording().GetRoom(), rec.GetId())
	if errors.Is(err, store.ErrNotFound) {
		return 0
	}
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	return e.Revision
}

func testStore_ReadsItsWrites(t *testing.T, open opener) {
	s := open(t, store.Config{})
	for i := range 20 {
		room := fmt.Sprintf("room-%d", i%4)
		id := fmt.Sprintf("id-%02d", i)
		e := mustAppend(t, s, newRecord(room, id, starting))
		if live, ok := s.Live(tenant, room); !ok || live != e {
			t.Fatalf("live of %s: %v", room, live)
		}
		if s.LastSequence() != e.Revision {
			t.Fatalf("last %d, entry %d", s.LastSequence(), e.Revision)
		}
		first := e.Revision
		e = mustAppend(t, s, newRecord(room, id, available))
		if _, ok := s.Live(tenant, room); ok {
			t.Fatal("still live")
		}
		if got, err := s.ByName(t.Context(), tenant, e.Record.Recording.Name); err != nil || !same(got, e) {
			t.Fatalf("by name: %v, %v", got, err)
		}
		if _, err := s.Append(t.Context(), newRecord(room, id, failed), first); !errors.Is(err, store.ErrConflict) {
			t.Fatalf("append on an old revision: %v", err)
		}
	}
}

// same reports whether two entries are of one change.
func same(a, b *store.Entry) bool { return a.Revision == b.Revision && proto.Equal(a.Record, b.Record) }

// The identity of a history is its own, and stays.
func testStore_HistoryIDStays(t *testing.T, open opener) {
	s := open(t, store.Config{})
	id := s.HistoryID()
	if id == "" {
		t.Fatal("it has none")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if again := open(t, store.Config{}).HistoryID(); again != id {
		t.Errorf("opened again, it is %s, not %s", again, id)
	}
}
