// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
)

// retentionSubject is where it is said how much of the log is forgotten.
const retentionSubject = "classrec.retention"

// Retention says how much history is kept: changes that a later change of the
// same recording has replaced. The present state of every recording, and so
// the revision of every room, is kept for ever. The zero value keeps all.
//
// What is forgotten is forgotten for all at one sequence: a watcher that wants
// to begin before it gets a [TooOldError], whether or not something that it
// would have got is gone.
type Retention struct {
	// Age is for how long history is kept, by the clock of the log; 0 is for
	// ever.
	Age time.Duration
	// Bytes is how much history is kept, about, as it is stored; 0 is no
	// bound. What the present states take does not count.
	Bytes int64
	// Interval is how often history is looked through; also, at a sixtieth of
	// it, whether the log has grown by an eighth of Bytes. 0 is an hour.
	Interval time.Duration
}

// enabled tells whether there is anything to forget, ever.
func (r Retention) enabled() bool { return r.Age > 0 || r.Bytes > 0 }

// Forgotten returns the sequence up to which history may be gone, as far as
// this store has read the log: 0 when nothing is. It never goes back. Watch
// after it, or later.
func (s *Store) Forgotten() uint64 {
	forgotten, _ := s.index.retention()
	return forgotten
}

// decodeRetention returns what is forgotten.
func decodeRetention(data []byte) (uint64, error) {
	r := new(storev1.Retention)
	if err := proto.Unmarshal(data, r); err != nil {
		return 0, err
	}
	return r.GetForgotten(), nil
}

// checkForgotten returns a *TooOldError when what comes after the sequence may
// be gone, as far as this store knows.
func (s *Store) checkForgotten(after uint64) error {
	if forgotten := s.Forgotten(); after < forgotten {
		return &TooOldError{Oldest: forgotten + 1}
	}
	return nil
}

// checkOldest returns a *TooOldError when what comes after the sequence may be
// gone. Called after the log was read from there, it tells whether that was
// all.
func (s *Store) checkOldest(ctx context.Context, after uint64) error {
	forgotten, err := s.forgottenOfLog(ctx)
	if err != nil {
		return err
	}
	info, err := s.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if oldest := max(forgotten+1, info.State.FirstSeq); after+1 < oldest {
		return &TooOldError{Oldest: oldest}
	}
	return nil
}

// forgottenOfLog returns what Forgotten does, or what the log itself says when
// another process may have written it: nothing is removed before it is said in
// the log, but before this store has read that, it may be.
func (s *Store) forgottenOfLog(ctx context.Context) (uint64, error) {
	forgotten := s.Forgotten()
	if s.server != nil { // the janitor waits for the index
		return forgotten, nil
	}
	m, err := s.stream.GetLastMsgForSubject(ctx, retentionSubject)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return forgotten, nil
	case err != nil:
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	said, err := decodeRetention(m.Data)
	if err != nil {
		return forgotten, nil //nolint:nilerr // as if it were not there; the follower counts and logs it
	}
	return max(forgotten, said), nil
}

// jumped tells whether the log has lost entries between the last sequence that
// is in the index and the next that has come. Something was there only if it
// was forgotten: a server may leave sequences out.
func (s *Store) jumped(ctx context.Context, next uint64) (bool, error) {
	last := s.LastSequence()
	if next == last+1 {
		return false, nil
	}
	forgotten, err := s.forgottenOfLog(ctx)
	return forgotten > last, err
}
