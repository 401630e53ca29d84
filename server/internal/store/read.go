// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
)

// RoomRevision returns the revision of the last change in the room, 0 when
// there was none: what an Append that is decided now has to name.
func (s *Store) RoomRevision(tenant, room string) uint64 {
	revision, _ := s.index.room(roomKey{tenant, room})
	return revision
}

// Live returns the recording of the room that is STARTING, RECORDING or
// STOPPING, if there is one.
func (s *Store) Live(tenant, room string) (*Entry, bool) {
	_, live := s.index.room(roomKey{tenant, room})
	return live, live != nil
}

// Room returns what RoomRevision and Live do, both of one moment: what a
// decision on the room is made on. live is nil when no class is on.
func (s *Store) Room(tenant, room string) (revision uint64, live *Entry) {
	return s.index.room(roomKey{tenant, room})
}

// Get returns a recording in whatever state.
//
// Errors: ErrNotFound.
func (s *Store) Get(tenant, room, id string) (*Entry, error) {
	if e := s.index.get(recordingKey{tenant, room, id}); e != nil {
		return e, nil
	}
	return nil, ErrNotFound
}

// ByName returns the recording with the resource name.
//
// Errors: ErrNotFound.
func (s *Store) ByName(tenant, name string) (*Entry, error) {
	if e := s.index.byName(nameKey{tenant, name}); e != nil {
		return e, nil
	}
	return nil, ErrNotFound
}

// ByRequestID returns the recording that was asked for with the request id;
// the one with the greatest id where there are several. A recording that
// failed before it had a name does not count.
func (s *Store) ByRequestID(tenant, requestID string) (*Entry, bool) {
	e := s.index.byRequest(nameKey{tenant, requestID})
	return e, e != nil
}

// Unfinished returns all recordings, of all tenants, that are neither
// AVAILABLE nor FAILED, by revision.
func (s *Store) Unfinished() []*Entry { return s.index.allUnfinished() }

// UnfinishedIn returns the recordings of the room that are neither AVAILABLE
// nor FAILED, in the order in which they came. The caller must not change it.
func (s *Store) UnfinishedIn(tenant, room string) []*Entry {
	return s.index.unfinishedIn(roomKey{tenant, room})
}

// Wait returns the recording once until holds for it: now, or after one of its
// next changes. until sees each change, in order; it is called from the
// store's own goroutine, so it has to be quick and must not call the store.
//
// Errors: ErrNotFound when there is no such recording now; ctx's error;
// ErrClosed.
func (s *Store) Wait(ctx context.Context, tenant, room, id string, until func(*Entry) bool) (*Entry, error) {
	key := recordingKey{tenant, room, id}
	w := s.index.waitEntry(key, until)
	if w == nil {
		return nil, ErrNotFound
	}
	select {
	case <-w.done:
		if w.found == nil {
			return nil, errClosed()
		}
		return w.found, nil
	case <-ctx.Done():
		s.index.leave(key, w)
		return nil, fmt.Errorf("wait for recording: %w", context.Cause(ctx))
	}
}

// KnowsURL tells whether a recording of the tenant has the URL.
func (s *Store) KnowsURL(tenant, url string) bool { return s.index.knowsURL(nameKey{tenant, url}) }

// Snapshot returns all recordings that match and are live, by revision, and the
// sequence to watch after so that nothing is missed and nothing is twice.
func (s *Store) Snapshot(f WatchFilter) (last uint64, live []*Entry) { return s.index.snapshot(f) }
