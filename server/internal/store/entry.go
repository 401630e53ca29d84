// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// maxRoomBytes bounds a room's name, so that a subject stays short.
const maxRoomBytes = 512

// Entry is one change of a recording. One Entry is shared by all readers and
// watchers: nobody may change it or its Record.
type Entry struct {
	// Record is the recording's whole state after the change.
	Record *storev1.Record
	// Revision is the change's place in the log: the event's sequence.
	Revision uint64
	// Stored is when the log took the change, by the clock of the server that keeps it; the zero
	// time where that is not known.
	Stored time.Time

	once   sync.Once
	shared any
}

// Shared returns what the first call's make returned, to all callers: for an
// encoding that is made once and sent to many watchers. Callers of one store
// have to agree on what it is; make runs once and must not call Shared of the
// same Entry.
func (e *Entry) Shared(make func(*Entry) any) any {
	e.once.Do(func() { e.shared = make(e) })
	return e.shared
}

func (e *Entry) key() recordingKey {
	return recordingKey{e.Record.GetTenant(), e.Record.GetRecording().GetRoom(), e.Record.GetId()}
}

func (e *Entry) state() classrecv1.RecordingState { return e.Record.GetRecording().GetState() }

// isLive tells whether the class is on, or may be.
func isLive(state classrecv1.RecordingState) bool {
	switch state {
	case classrecv1.RecordingState_RECORDING_STATE_STARTING,
		classrecv1.RecordingState_RECORDING_STATE_RECORDING,
		classrecv1.RecordingState_RECORDING_STATE_STOPPING:
		return true
	default:
		return false
	}
}

// isFinal tells whether the recording will change no more.
func isFinal(state classrecv1.RecordingState) bool {
	return state == classrecv1.RecordingState_RECORDING_STATE_AVAILABLE ||
		state == classrecv1.RecordingState_RECORDING_STATE_FAILED
}

// checkRoom tells what makes it impossible to store anything of the room.
func checkRoom(tenant, room string) error {
	switch {
	case !isToken(tenant):
		return fmt.Errorf("%w: tenant %q is not 1 to 64 letters, digits, - and _", ErrInvalid, tenant)
	case room == "" || len(room) > maxRoomBytes:
		return fmt.Errorf("%w: room has %d bytes, not 1 to %d", ErrInvalid, len(room), maxRoomBytes)
	}
	return nil
}

// check tells what makes rec impossible to store.
func check(rec *storev1.Record) error {
	state := rec.GetRecording().GetState()
	if err := checkRoom(rec.GetTenant(), rec.GetRecording().GetRoom()); err != nil {
		return err
	}
	switch {
	case !isToken(rec.GetId()) || rec.GetId() == leaseID:
		return fmt.Errorf("%w: id %q is not 1 to 64 letters, digits, - and _, or is %q", ErrInvalid, rec.GetId(), leaseID)
	case !isLive(state) && !isFinal(state) && state != classrecv1.RecordingState_RECORDING_STATE_PROCESSING:
		return fmt.Errorf("%w: state %v", ErrInvalid, state)
	}
	return nil
}

// decode makes the Entry of one message of the log.
func decode(subject string, data []byte, sequence uint64) (*Entry, error) {
	rec := new(storev1.Record)
	if err := proto.Unmarshal(data, rec); err != nil {
		return nil, err
	}
	if err := check(rec); err != nil {
		return nil, err
	}
	e := &Entry{Record: rec, Revision: sequence}
	if e.key().subject() != subject {
		return nil, fmt.Errorf("%w: it does not belong to its subject", ErrInvalid)
	}
	return e, nil
}
