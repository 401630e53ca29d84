// SPDX-License-Identifier: Apache-2.0

package store

import "context"

// What the tests see of the inside.

// Forget forgets events up to a sequence.
func Forget(s *Store, upTo uint64) error { return s.forget(upTo) }

// Tidy forgets what is beyond the bounds.
func Tidy(s *Store) error { return s.tidy(true) }

// Events returns how many events are kept.
func Events(ctx context.Context, s *Store) (n int, err error) {
	err = s.db.row(ctx, []any{&n}, `SELECT count(*) FROM event`)
	return n, err
}

// Spoil flips a bit in the bodies of recordings.
func Spoil(ctx context.Context, s *Store, ids ...string) error {
	_, err := s.db.transact(ctx, func(t *tx) error {
		for _, id := range ids {
			var body []byte
			if err := t.row([]any{&body}, `SELECT body FROM recording WHERE id = $1`, id); err != nil {
				return err
			}
			body[len(body)/2] ^= 4
			if _, err := t.exec(`UPDATE recording SET body = $1 WHERE id = $2`, body, id); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// Fanned returns the sequence up to which watchers have been told.
func Fanned(s *Store) uint64 {
	s.fanout.mu.Lock()
	defer s.fanout.mu.Unlock()
	return s.fanout.last
}
