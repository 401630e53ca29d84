// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
)

// Live returns the recording of the room that is STARTING, RECORDING or
// STOPPING, if there is one.
func (s *Store) Live(tenant, room string) (*Entry, bool) {
	live := s.index.room(roomKey{tenant, room}).live
	return live, live != nil
}

// Unfinished returns all recordings, of all tenants, that are neither
// AVAILABLE nor FAILED, by revision.
func (s *Store) Unfinished() []*Entry { return s.index.allUnfinished() }

// UnfinishedIn returns the recordings of the room that are neither AVAILABLE
// nor FAILED, in the order in which they came. The caller must not change it.
func (s *Store) UnfinishedIn(tenant, room string) []*Entry {
	return s.index.room(roomKey{tenant, room}).unfinished
}

// Snapshot returns all recordings that match and are live, by revision, and the
// sequence to watch after so that nothing is missed and nothing is twice.
func (s *Store) Snapshot(f WatchFilter) (last uint64, live []*Entry) { return s.index.snapshot(f) }

// Get returns a recording in whatever state.
//
// Errors: ErrNotFound; ErrDataLoss; ErrUnavailable; ctx's error.
func (s *Store) Get(ctx context.Context, tenant, room, id string) (*Entry, error) {
	if e := s.index.get(recordingKey{tenant, room, id}); e != nil {
		return e, nil
	}
	return s.find(ctx, selectRecording, tenant, room, id)
}

// ByName returns the recording with the resource name.
//
// Errors: as Get.
func (s *Store) ByName(ctx context.Context, tenant, name string) (*Entry, error) {
	if name == "" {
		return nil, ErrNotFound
	}
	return s.find(ctx, `SELECT `+recordingColumns+` FROM recording WHERE tenant = $1 AND name = $2 AND name <> ''
		ORDER BY revision DESC LIMIT 1`, tenant, name)
}

// ByRequestID returns the recording that was asked for with the request id. A
// recording that failed before it had a name does not count.
//
// Errors: as Get.
func (s *Store) ByRequestID(ctx context.Context, tenant, requestID string) (*Entry, error) {
	if requestID == "" {
		return nil, ErrNotFound
	}
	return s.find(ctx, `SELECT `+recordingColumns+` FROM recording WHERE tenant = $1 AND request_id = $2 AND request_id <> ''`, tenant, requestID)
}

// find returns the one recording of a query.
func (s *Store) find(ctx context.Context, query string, args ...any) (found *Entry, err error) {
	asking, done := s.asking(ctx)
	defer done()
	err = s.db.query(asking, func(row scanner) (err error) {
		found, err = scanRecording(row)
		return err
	}, query, args...)
	switch {
	case err != nil:
		if errors.Is(err, ErrDataLoss) {
			s.damaged("a recording cannot be read", "error", err)
		}
		return nil, s.because(ctx, err)
	case found == nil:
		return nil, ErrNotFound
	case found.Damaged:
		if found = s.restore(asking, found); found.Damaged {
			return nil, fmt.Errorf("%w: recording %s", ErrDataLoss, found.Record.GetId())
		}
	}
	return found, nil
}

// Wait returns the recording once until holds for it: now, or after one of its
// next changes. until sees each change, in order; it is called from the
// store's own goroutine, so it has to be quick and must not call the store.
//
// Errors: those of Get; ErrClosed.
func (s *Store) Wait(ctx context.Context, tenant, room, id string, until func(*Entry) bool) (*Entry, error) {
	key := recordingKey{tenant, room, id}
	w := s.index.waitEntry(key, until)
	if s.index.get(key) == nil { // it is finished, or is not there
		e, err := s.find(ctx, selectRecording, tenant, room, id)
		if err != nil || until(e) {
			s.index.leave(key, w)
			return e, err
		}
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

// KnowsURL reports whether a recording of the tenant has the URL.
//
// Errors: ErrUnavailable; ErrDataLoss; ctx's error.
func (s *Store) KnowsURL(ctx context.Context, tenant, url string) (bool, error) {
	asking, done := s.asking(ctx)
	defer done()
	var id string
	err := s.db.row(asking, []any{&id}, `SELECT id FROM recording_url WHERE tenant = $1 AND digest = $2 LIMIT 1`, tenant, digest(url))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, s.because(ctx, err)
}

// maxHistory bounds how many changes of one recording are read. A recording has
// some ten; one whose room loses its state again and again has more.
const maxHistory = 10_000

// History returns all changes of a recording that are kept, in order; the last
// one is its present state. complete says that none before them was forgotten.
//
// Errors: as Get.
func (s *Store) History(ctx context.Context, tenant, room, id string) (changes []*Entry, complete bool, err error) {
	present, err := s.Get(ctx, tenant, room, id)
	if err != nil {
		return nil, false, err
	}
	asking, done := s.asking(ctx)
	defer done()
	err = s.db.query(asking, func(row scanner) error {
		m, err := s.scanEvent(row)
		if err == nil && m.entry != nil && m.key == present.key() && m.sequence <= present.Revision {
			changes = append(changes, m.entry)
		}
		return err
	}, `SELECT sequence, tenant, room, recording, time, body, crc FROM event WHERE recording = $1 AND recording <> ''
		ORDER BY sequence LIMIT $2`, id, maxHistory)
	switch {
	case err != nil:
		return nil, false, s.because(ctx, fmt.Errorf("read the changes of a recording: %w", err))
	case len(changes) == 0 || changes[len(changes)-1].Revision < present.Revision:
		changes = append(changes, present)
	}
	// A recording's first change is as old as it is itself; any later one has been
	// changed since.
	first := changes[0].Record.GetRecording()
	return changes, first.GetCreateTime().AsTime().Equal(first.GetUpdateTime().AsTime()), nil
}

// event returns one event of a recording. Errors: ErrNotKept; as Get.
func (s *Store) event(ctx context.Context, tenant string, revision uint64) (*Entry, error) {
	asking, done := s.asking(ctx)
	defer done()
	var m message
	err := s.db.query(asking, func(row scanner) (err error) {
		m, err = s.scanEvent(row)
		return err
	}, `SELECT sequence, tenant, room, recording, time, body, crc FROM event WHERE sequence = $1`, revision)
	switch {
	case err != nil:
		return nil, s.because(ctx, err)
	case m.entry == nil || m.key.tenant != tenant:
		return nil, ErrNotKept
	}
	return m.entry, nil
}
