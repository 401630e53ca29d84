// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
)

var (
	// ErrConflict means that the recording has changed since the revision on
	// which the change was decided, or that its request id is taken: read
	// again, decide again. Nothing was stored, and reads show what was.
	ErrConflict = errors.New("recording has changed")
	// ErrRoomLive means that the change would make a second recording of the
	// room live. For a new recording, ErrConflict is wrapped too.
	ErrRoomLive = errors.New("another recording of the room is live")
	// ErrInvalid means that the record is not one that can be stored: a
	// fault of the caller.
	ErrInvalid = errors.New("invalid record")
	// ErrNotFound means that there is no such recording.
	ErrNotFound = errors.New("no such recording")
	// ErrUnavailable means that the database cannot be written or read now.
	// After an Append the change may or may not have been stored.
	ErrUnavailable = errors.New("store is unavailable")
	// ErrClosed means that the store was closed. Errors that wrap it wrap
	// ErrUnavailable too.
	ErrClosed = errors.New("store is closed")
	// ErrDataLoss means that what is asked for is damaged and cannot be read.
	ErrDataLoss = errors.New("stored data is damaged")
	// ErrLeased means that the room is worked by a living replica.
	ErrLeased = errors.New("room is leased")
	// ErrFenced means that the lease was lost: another replica works the room,
	// or nobody does. Nothing was stored; leave the room.
	ErrFenced = errors.New("lease of the room is lost")
	// ErrOtherKey means that the database was made with another
	// Config.Fingerprint: its secrets could not be read.
	ErrOtherKey = errors.New("the database belongs to another sealing key")
	// ErrLocked means that another process has the directory open.
	ErrLocked = errors.New("directory is in use by another process")
	// ErrNotKept means that there is no such change, endpoint or delivery,
	// or not any more.
	ErrNotKept = errors.New("is not kept")
)

// refusals are errors with which nothing was stored for a reason that lies in
// what was asked for, and not in the database.
func isRefusal(err error) bool {
	for _, refusal := range []error{ErrConflict, ErrRoomLive, ErrInvalid, ErrNotFound, ErrLeased, ErrFenced, ErrNotKept, ErrDataLoss} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

// errClosed is what calls on a closed store return.
func errClosed() error { return fmt.Errorf("%w: %w", ErrUnavailable, ErrClosed) }

// TooOldError means that a watcher asked for events that are no longer kept.
type TooOldError struct {
	// Oldest is the oldest sequence that is kept: watch after Oldest-1.
	Oldest uint64
}

func (e *TooOldError) Error() string {
	return fmt.Sprintf("what was asked for is no longer kept; the oldest sequence is %d", e.Oldest)
}

// AheadError means that a watcher asked to resume after a sequence that the
// history has not reached, or in another history.
type AheadError struct {
	// Last is the last sequence.
	Last uint64
}

func (e *AheadError) Error() string {
	return fmt.Sprintf("this history does not have the sequence asked for; its last one is %d", e.Last)
}

// SlowError means that a watcher left too many entries unread.
type SlowError struct {
	// Resume is the sequence of the last entry that the watcher's channel
	// holds: watch after it to miss nothing.
	Resume uint64
}

func (e *SlowError) Error() string {
	return fmt.Sprintf("watcher is too slow; resume after sequence %d", e.Resume)
}
