// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
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
	result   chan appendResult // takes one; never blocks the committer
}

type appendResult struct {
	sequence uint64
	err      error
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
	if err := check(rec); err != nil {
		return nil, fmt.Errorf("append: %w", err)
	}
	data, err := proto.Marshal(rec)
	if err != nil {
		return nil, fmt.Errorf("append: %w: %w", ErrInvalid, err)
	}
	if len(data) > maxRecordBytes {
		return nil, fmt.Errorf("append: %w: %d bytes, more than %d", ErrInvalid, len(data), maxRecordBytes)
	}
	call := &appendCall{
		ctx:      ctx,
		key:      recordingKey{rec.GetTenant(), rec.GetRecording().GetRoom(), rec.GetId()},
		live:     isLive(rec.GetRecording().GetState()),
		data:     data,
		revision: roomRevision,
		result:   make(chan appendResult, 1),
	}
	e, err := s.append(ctx, call)
	if err != nil {
		return nil, fmt.Errorf("append: %w", err)
	}
	return e, nil
}

func (s *Store) append(ctx context.Context, call *appendCall) (*Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	select {
	case s.appends <- call:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-s.lifetime.Done():
		return nil, errClosed()
	}
	var result appendResult
	select {
	case result = <-call.result:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-s.lifetime.Done():
		return nil, errClosed()
	}
	if result.err != nil {
		return nil, result.err
	}
	select {
	case <-s.index.waitSequence(result.sequence):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if e := s.index.get(call.key); e != nil && e.Revision == result.sequence {
		return e, nil
	}
	if s.lifetime.Err() != nil {
		return nil, errClosed()
	}
	// It has changed again already.
	return decode(call.key.subject(), call.data, result.sequence)
}
