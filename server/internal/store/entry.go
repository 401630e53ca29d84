// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// recordingKey names one recording, roomKey one room.
type recordingKey struct{ tenant, room, id string }

func (k recordingKey) roomKey() roomKey { return roomKey{k.tenant, k.room} }

type roomKey struct{ tenant, room string }

// Entry is one change of a recording. One Entry is shared by all readers and
// watchers: nobody may change it or its Record.
type Entry struct {
	// Record is the recording's whole state after the change.
	Record *storev1.Record
	// Revision is the change's place in the history: the event's sequence.
	Revision uint64
	// Stored is when the change was stored, by the clock of the database; the
	// zero time where that is not known.
	Stored time.Time
	// Damaged: what is stored cannot be read, so that Record is made of what is
	// known besides, and its recording has a failure with the code DATA_LOSS.
	Damaged bool

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

// SequenceOf returns the sequence by which the API names a revision: one more,
// so that 0, which asks for what is on now, is never a place to resume from,
// not even in a history that is still empty.
func SequenceOf(revision uint64) uint64 { return revision + 1 }

// RevisionOf is the reverse of SequenceOf.
func RevisionOf(sequence uint64) uint64 { return sequence - 1 }

func (e *Entry) key() recordingKey {
	return recordingKey{e.Record.GetTenant(), e.Record.GetRecording().GetRoom(), e.Record.GetId()}
}

func (e *Entry) state() classrecv1.RecordingState { return e.Record.GetRecording().GetState() }

// isLive reports whether the class is on, or may be.
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

// isFinal reports whether nothing is to be done for the recording any more.
func isFinal(state classrecv1.RecordingState) bool {
	return state == classrecv1.RecordingState_RECORDING_STATE_AVAILABLE ||
		state == classrecv1.RecordingState_RECORDING_STATE_FAILED
}

// checkRoom returns what makes it impossible to store anything of the room.
func checkRoom(tenant, room string) error {
	switch {
	case !isToken(tenant):
		return fmt.Errorf("%w: tenant %q is not 1 to 64 letters, digits, - and _", ErrInvalid, tenant)
	case room == "" || len(room) > maxRoomBytes:
		return fmt.Errorf("%w: room has %d bytes, not 1 to %d", ErrInvalid, len(room), maxRoomBytes)
	case strings.ContainsRune(room, 0): // PostgreSQL has no such text
		return fmt.Errorf("%w: room has a NUL", ErrInvalid)
	}
	return nil
}

// check returns what makes rec impossible to store.
func check(rec *storev1.Record) error {
	state := rec.GetRecording().GetState()
	if err := checkRoom(rec.GetTenant(), rec.GetRecording().GetRoom()); err != nil {
		return err
	}
	switch {
	case !isToken(rec.GetId()):
		return fmt.Errorf("%w: id %q is not 1 to 64 letters, digits, - and _", ErrInvalid, rec.GetId())
	case !isLive(state) && !isFinal(state) && state != classrecv1.RecordingState_RECORDING_STATE_PROCESSING:
		return fmt.Errorf("%w: state %v", ErrInvalid, state)
	case strings.ContainsRune(rec.GetRequestId()+rec.GetRecording().GetName(), 0):
		return fmt.Errorf("%w: the request id or the name has a NUL", ErrInvalid)
	}
	return nil
}

// encode makes what is stored of a record.
func encode(rec *storev1.Record) ([]byte, error) {
	if err := check(rec); err != nil {
		return nil, err
	}
	body, err := proto.Marshal(rec)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(body) > maxRecordBytes {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrInvalid, len(body), maxRecordBytes)
	}
	return body, nil
}

// decode is the reverse of encode.
func decode(body []byte, revision uint64) (*Entry, error) {
	rec := new(storev1.Record)
	if err := proto.Unmarshal(body, rec); err != nil {
		return nil, err
	}
	if err := check(rec); err != nil {
		return nil, err
	}
	return &Entry{Record: rec, Revision: revision}, nil
}

// checksum guards a body and the number that belongs to it.
func checksum(body []byte, number uint64) int64 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return int64(crc32.Update(crc32.Checksum(body, table), table, binary.BigEndian.AppendUint64(nil, number)))
}

// columns is what a row of table recording tells of its body.
type columns struct {
	recordingKey
	name, request string
	state         classrecv1.RecordingState
	seconds       int64
	nanos         int32
	revision      uint64
}

func columnsOf(e *Entry) columns {
	r := e.Record.GetRecording()
	return columns{
		recordingKey: e.key(), name: r.GetName(), request: heldRequest(e.Record), state: r.GetState(),
		seconds: r.GetRecordTime().GetSeconds(), nanos: r.GetRecordTime().GetNanos(), revision: e.Revision,
	}
}

const recordingColumns = `tenant, room, id, name, request_id, state, seconds, nanos, revision, body, crc`

// scanRecording reads a row of recordingColumns. What cannot be read is an
// Entry that is Damaged.
func scanRecording(row scanner) (*Entry, error) {
	var c columns
	var body []byte
	var crc int64
	if err := row.Scan(&c.tenant, &c.room, &c.id, &c.name, &c.request, &c.state, &c.seconds, &c.nanos, &c.revision, &body, &crc); err != nil {
		return nil, failed(err)
	}
	if crc == checksum(body, c.revision) {
		if e, err := decode(body, c.revision); err == nil && columnsOf(e) == c {
			return e, nil
		}
	}
	return c.damaged(), nil
}

// damaged is what is left of a recording whose row cannot be read.
func (c columns) damaged() *Entry {
	const dataLoss = 15 // google.rpc.Code
	r := &classrecv1.Recording{
		Name: c.name, Room: c.room, State: classrecv1.RecordingState_RECORDING_STATE_FAILED,
		Failure: &statuspb.Status{Code: dataLoss, Message: "what is stored of the recording is damaged"},
	}
	if c.seconds != 0 {
		r.RecordTime = &timestamppb.Timestamp{Seconds: c.seconds, Nanos: c.nanos}
	}
	return &Entry{
		Record:   &storev1.Record{Tenant: c.tenant, Id: c.id, Recording: r},
		Revision: c.revision, Damaged: true,
	}
}

// heldRequest returns the request id that a record holds: a start that failed
// before it had a name frees its own.
func heldRequest(rec *storev1.Record) string {
	if rec.GetRecording().GetState() == classrecv1.RecordingState_RECORDING_STATE_FAILED && rec.GetRecording().GetName() == "" {
		return ""
	}
	return rec.GetRequestId()
}

// usersOf returns whose recording it is in lists, each once: who began the
// class, or has a file in it.
func usersOf(rec *storev1.Record) []string {
	r := rec.GetRecording()
	if r.GetName() == "" {
		return nil
	}
	users := []string{r.GetUserId()}
	for _, f := range r.GetFiles() {
		users = append(users, f.GetUserId())
	}
	slices.Sort(users)
	users = slices.Compact(users)
	users = slices.DeleteFunc(users, func(user string) bool { return user == "" })
	for i, user := range users {
		users[i] = userKey(user)
	}
	return users
}

// userKey is a user in the database: as it is, or a digest of what an index may
// not take.
func userKey(user string) string {
	const maxBytes = 256
	if len(user) > maxBytes || strings.ContainsRune(user, 0) {
		return "digest " + digest(user)
	}
	return user
}

// decodeLease makes sense of the event of a lease.
func decodeLease(room roomKey, body []byte) (*storev1.Lease, error) {
	lease := new(storev1.Lease)
	if err := proto.Unmarshal(body, lease); err != nil {
		return nil, err
	}
	if lease.GetTenant() != room.tenant || lease.GetRoom() != room.room {
		return nil, errors.New("the lease is of another room")
	}
	return lease, nil
}
