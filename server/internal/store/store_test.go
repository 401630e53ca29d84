// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		childMain(dir)
		os.Exit(1) // it should have been killed
	}
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

// mustAppend appends at the room's present revision.
func mustAppend(t testing.TB, s *store.Store, rec *storev1.Record) *store.Entry {
	t.Helper()
	e, err := s.Append(t.Context(), rec, s.RoomRevision(rec.Tenant, rec.Recording.Room))
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	return e
}

func TestStore_ReadsItsWrites(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := storetest.Open(t, dir)
	for i := range 20 {
		room := fmt.Sprintf("room-%d", i%4)
		id := fmt.Sprintf("id-%02d", i)
		e := mustAppend(t, s, newRecord(room, id, starting))
		if live, ok := s.Live(tenant, room); !ok || live != e {
			t.Fatalf("live of %s: %v", room, live)
		}
		if s.LastSequence() != e.Revision || s.RoomRevision(tenant, room) != e.Revision {
			t.Fatalf("last %d, room %d, entry %d", s.LastSequence(), s.RoomRevision(tenant, room), e.Revision)
		}
		e = mustAppend(t, s, newRecord(room, id, available))
		if _, ok := s.Live(tenant, room); ok {
			t.Fatal("still live")
		}
		if got, err := s.ByName(tenant, e.Record.Recording.Name); err != nil || got != e {
			t.Fatalf("by name: %v, %v", got, err)
		}
	}
	if _, err := s.Append(context.Background(), newRecord("room-0", "late", starting), 1); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("append on an old revision: %v", err)
	}
}
