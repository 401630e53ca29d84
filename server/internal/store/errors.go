// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
)

var (
	// ErrConflict means that the room has moved since the revision on which
	// the change was decided: read again, decide again. Nothing was stored.
	ErrConflict = errors.New("room has changed")
	// ErrRoomLive means that the change would make a second recording of the
	// room live. Nothing was stored.
	ErrRoomLive = errors.New("another recording of the room is live")
	// ErrInvalid means that the record is not one that can be stored: a
	// fault of the caller.
	ErrInvalid = errors.New("invalid record")
	// ErrNotFound means that there is no such recording.
	ErrNotFound = errors.New("no such recording")
	// ErrUnavailable means that the log cannot be written or read now: the
	// server is not up, does not answer, or has no room. After an Append the
	// change may or may not have been stored.
	ErrUnavailable = errors.New("store is unavailable")
	// ErrClosed means that the store was closed. Errors that wrap it wrap
	// ErrUnavailable too.
	ErrClosed = errors.New("store is closed")
	// ErrLeased means that the room is worked by a living replica.
	ErrLeased = errors.New("room is leased")
	// ErrFenced means that the lease was lost: another replica works the room,
	// or nobody does. Nothing was stored; leave the room.
	ErrFenced = errors.New("lease of the room is lost")
	// ErrOtherKey means that the processes that share the log have another
	// Config.Fingerprint: they could not read each other's secrets.
	ErrOtherKey = errors.New("another process of this log has another sealing key")
	// ErrLocked means that another process has the directory open.
	ErrLocked = errors.New("directory is in use by another process")
)

// errClosed is what calls on a closed store return.
func errClosed() error { return fmt.Errorf("%w: %w", ErrUnavailable, ErrClosed) }

// TooOldError means that a watcher asked for entries that the log no longer
// has.
type TooOldError struct {
	// Oldest is the oldest sequence that the log has: watch after Oldest-1.
	Oldest uint64
}

func (e *TooOldError) Error() string {
	return fmt.Sprintf("the log no longer has what was asked for; its oldest sequence is %d", e.Oldest)
}

// AheadError means that a watcher asked to resume after a sequence that the
// log has not reached: it comes from another log.
type AheadError struct {
	// Last is the log's last sequence.
	Last uint64
}

func (e *AheadError) Error() string {
	return fmt.Sprintf("the log has not reached the sequence asked for; its last one is %d", e.Last)
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
