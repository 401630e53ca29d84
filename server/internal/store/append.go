// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
)

// appendCall is one Append on its way to the committer.
type appendCall struct {
	ctx      context.Context // done: nobody waits any more
	key      recordingKey
	live     bool
	data     []byte
	revision uint64            // what the room's has to be
	lease    *Lease            // what the room's has to be, if not nil
	request  string            // the record's request id
	resent   bool              // the committer's: more than one message may have got through
	result   chan appendResult // takes one; never blocks the committer
}

type appendResult struct {
	sequence uint64
	err      error
	refused  bool // with ErrConflict, by the server
}

// Append stores rec as the new state of its recording, provided that the
// room's revision is still roomRevision (0: nothing was ever stored of the
// room). It returns when that is on the disk and every read of this store
// shows it; watchers get it right after. rec stays the caller's; the Entry
// holds a copy.
//
// Errors: ErrInvalid; ErrConflict when the room has another revision, or
// another Append won; ErrRoomLive when rec is live and another recording of
// the room is; ErrUnavailable (also ErrClosed), and ctx's error. After the
// last two the change may or may not have been stored: RoomRevision tells,
// once the store is available again.
func (s *Store) Append(ctx context.Context, rec *storev1.Record, roomRevision uint64) (*Entry, error) {
	call, err := newAppendCall(ctx, rec, roomRevision)
	if err != nil {
		return nil, fmt.Errorf("append: %w", err)
	}
	e, err := s.append(ctx, call)
	if err != nil {
		return nil, fmt.Errorf("append: %w", err)
	}
	return e, nil
}

func newAppendCall(ctx context.Context, rec *storev1.Record, roomRevision uint64) (*appendCall, error) {
	if err := check(rec); err != nil {
		return nil, err
	}
	data, err := proto.Marshal(rec)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(data) > maxRecordBytes {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrInvalid, len(data), maxRecordBytes)
	}
	return &appendCall{
		ctx:      ctx,
		key:      recordingKey{rec.GetTenant(), rec.GetRecording().GetRoom(), rec.GetId()},
		live:     isLive(rec.GetRecording().GetState()),
		data:     data,
		revision: roomRevision,
		request:  rec.GetRequestId(),
		result:   make(chan appendResult, 1),
	}, nil
}

func (s *Store) append(ctx context.Context, call *appendCall) (*Entry, error) {
	sequence, err := s.submit(ctx, call)
	if err != nil {
		if errors.Is(err, ErrConflict) || errors.Is(err, ErrRoomLive) {
			s.claims.unstored(nameKey{call.key.tenant, call.request}, call.key.id)
		}
		return nil, err
	}
	if e := s.index.get(call.key); e != nil && e.Revision == sequence {
		return e, nil
	}
	if s.lifetime.Err() != nil {
		return nil, errClosed()
	}
	// It has changed again already.
	return decode(call.key.subject(), call.data, sequence)
}

// submit has the committer write the call and returns its sequence once the
// index has it.
func (s *Store) submit(ctx context.Context, call *appendCall) (sequence uint64, err error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	select {
	case s.appends <- call:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-s.lifetime.Done():
		return 0, errClosed()
	}
	var result appendResult
	select {
	case result = <-call.result:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-s.lifetime.Done():
		return 0, errClosed()
	}
	if result.refused && s.cluster != nil {
		explaining, cancel := context.WithTimeoutCause(ctx, s.cfg.AckTimeout, ErrUnavailable)
		result = s.cluster.explain(explaining, call, result)
		cancel()
	}
	if result.err != nil {
		return 0, result.err
	}
	select {
	case <-s.index.waitSequence(result.sequence):
		return result.sequence, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}
