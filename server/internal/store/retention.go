// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Retention says how many events are kept. The state of recordings does not
// depend on them. The zero value keeps all.
//
// What is forgotten is forgotten for all at one sequence: a watcher that wants
// to begin before it gets a [TooOldError], whether or not something that it
// would have got is gone. The last event is always kept.
type Retention struct {
	// Age is for how long events are kept, by the clock of the database; 0 is for
	// ever.
	Age time.Duration
	// Bytes is how much of events is kept, as the sum of their bodies; 0 is no
	// bound.
	Bytes int64
	// Interval is how often events are looked through; also, at a sixtieth of
	// it, whether they have become more than Bytes by an eighth. 0 is an hour.
	Interval time.Duration
}

const (
	// deliveryAge is for how long a delivery is kept after its last change.
	deliveryAge = 7 * 24 * time.Hour
	// forgetBatch is how many rows are deleted in one transaction: others wait
	// for no more than that.
	forgetBatch = 500
	// forgetPause is between two of them.
	forgetPause = 20 * time.Millisecond
)

func (r Retention) enabled() bool { return r.Age > 0 || r.Bytes > 0 }

// Forgotten returns the sequence up to which events are gone, as far as this
// store knows: 0 when none is. It never goes back. Watch after it, or later.
func (s *Store) Forgotten() uint64 {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	return s.index.forgotten
}

// checkForgotten returns a *TooOldError when what comes after the sequence may
// be gone, as far as this store knows.
func (s *Store) checkForgotten(after uint64) error {
	if forgotten := s.Forgotten(); after < forgotten {
		return &TooOldError{Oldest: forgotten + 1}
	}
	return nil
}

// checkOldest is checkForgotten, after the database was asked where another
// process may have forgotten something.
func (s *Store) checkOldest(ctx context.Context, after uint64) error {
	if s.cluster != nil {
		p, err := s.progress(ctx)
		if err != nil {
			return err
		}
		s.index.forgot(p.forgotten)
	}
	return s.checkForgotten(after)
}

// tend forgets until the store is closed.
func (s *Store) tend() {
	every := s.cfg.Retention.Interval
	for next := time.Now(); ; {
		now := time.Now()
		whole := !now.Before(next)
		if whole {
			next = now.Add(every)
		}
		if err := s.tidy(whole); err != nil && s.lifetime.Err() == nil {
			s.log.Warn("old events could not be forgotten; trying again", "error", err)
		}
		if !sleep(s.lifetime, every/60) {
			return
		}
	}
}

// tidy forgets what is beyond the bounds. Unless whole, only when the events have
// grown far beyond Retention.Bytes.
func (s *Store) tidy(whole bool) error {
	var upTo uint64
	r := s.cfg.Retention
	ctx, cancel := s.bounded(s.cfg.Timeout)
	defer cancel()
	if r.Bytes > 0 {
		slack := int64(0)
		if !whole {
			slack = r.Bytes / 8
		}
		found, err := s.search(ctx, func(_, size, last int64) bool { return last-size > r.Bytes+slack })
		if err != nil {
			return err
		}
		if found > 0 && slack > 0 {
			if found, err = s.search(ctx, func(_, size, last int64) bool { return last-size > r.Bytes }); err != nil {
				return err
			}
		}
		upTo = found
	}
	if r.Age > 0 && whole {
		now := time.Now().UnixMicro()
		if s.db.postgres != nil {
			if err := s.db.row(ctx, []any{&now}, "SELECT "+databaseNow); err != nil {
				return err
			}
		}
		found, err := s.search(ctx, func(at, _, _ int64) bool { return at < now-r.Age.Microseconds() })
		if err != nil {
			return err
		}
		upTo = max(upTo, found)
	}
	if whole {
		upTo = max(upTo, s.Forgotten()) // what an earlier life has not come to remove
	}
	if err := s.forget(upTo); err != nil || !whole {
		return err
	}
	return s.forgetDeliveries()
}

// search returns the last sequence for whose event old holds, 0 for none; it
// does not hold for any that comes after one for which it does not. The last
// event is never found.
func (s *Store) search(ctx context.Context, old func(at, size, last int64) bool) (uint64, error) {
	var last uint64
	var total int64
	if err := s.db.row(ctx, []any{&last, &total}, `SELECT last, size FROM history WHERE one = 1`); err != nil {
		return 0, missing(err)
	}
	low, high := s.Forgotten(), last // low is old, or is none; high is not
	for low+1 < high {
		middle := low + (high-low)/2
		var sequence uint64
		var at, size int64
		err := s.db.row(ctx, []any{&sequence, &at, &size}, `SELECT sequence, time, size FROM event WHERE sequence >= $1 ORDER BY sequence LIMIT 1`, middle)
		switch {
		case errors.Is(err, ErrNotFound):
			high = middle
		case err != nil:
			return 0, err
		case sequence < high && old(at, size, total):
			low = sequence
		default:
			high = middle
		}
	}
	if low == s.Forgotten() {
		return 0, nil
	}
	return low, nil
}

// forget says that events up to a sequence are gone, and then removes them.
func (s *Store) forget(upTo uint64) error {
	if upTo == 0 || upTo < s.Forgotten() {
		return nil
	}
	ctx, cancel := s.bounded(s.cfg.Timeout)
	_, err := s.db.transact(ctx, func(t *tx) error {
		_, err := t.exec(`UPDATE history SET forgotten = $1 WHERE forgotten < $1`, upTo)
		return err
	})
	cancel()
	if err != nil {
		return fmt.Errorf("say what is forgotten: %w", err)
	}
	s.index.forgot(upTo)
	return s.deleteAll(`DELETE FROM event WHERE sequence IN (SELECT sequence FROM event WHERE sequence <= $1 ORDER BY sequence LIMIT $2)`, upTo)
}

func (s *Store) forgetDeliveries() error {
	return s.deleteAll(`DELETE FROM delivery WHERE (tenant, endpoint, id) IN
		(SELECT tenant, endpoint, id FROM delivery WHERE changed < $1 ORDER BY changed LIMIT $2)`, time.Now().Add(-deliveryAge).UnixMicro())
}

// deleteAll deletes rows in small batches, until none is left or the store is
// closed.
func (s *Store) deleteAll(query string, bound any) error {
	for s.lifetime.Err() == nil {
		var n int64
		ctx, cancel := s.bounded(s.cfg.Timeout)
		_, err := s.db.transact(ctx, func(t *tx) (err error) {
			n, err = t.exec(query, bound, forgetBatch)
			return err
		})
		cancel()
		if err != nil || n < forgetBatch {
			return err
		}
		sleep(s.lifetime, forgetPause)
	}
	return nil
}

// syncEvery syncs what SQLite has stored, until the store is closed.
func (s *Store) syncEvery() {
	for sleep(s.lifetime, s.cfg.SyncInterval) {
		if _, err := s.db.write.ExecContext(context.Background(), "PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
			s.log.Warn("the database could not be synced; trying again", "error", err)
		}
	}
}
