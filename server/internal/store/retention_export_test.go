// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"time"
)

// Tidy runs the janitor once, as if it were time to.
func Tidy(s *Store, r Retention) error {
	r.Interval = time.Hour
	return (&janitor{Store: s, retention: r}).run(s.lifetime)
}

// Say says in the log what is forgotten, and removes nothing: what is left of a
// janitor that was killed in between.
func Say(s *Store, mark uint64) error {
	return (&janitor{Store: s}).say(s.lifetime, mark)
}

// Forget says it and removes.
func Forget(s *Store, mark uint64) error {
	if mark > s.Forgotten() {
		if err := Say(s, mark); err != nil {
			return err
		}
	}
	_, err := (&janitor{Store: s, kept: make(map[string]uint64)}).remove(s.lifetime, s.Forgotten())
	return err
}

// Messages returns how many messages the log holds.
func Messages(ctx context.Context, s *Store) (uint64, error) {
	info, err := s.stream.Info(ctx)
	if err != nil {
		return 0, err
	}
	return info.State.Msgs, nil
}

// Hold holds the follower back until the returned function is called.
func Hold(s *Store) (release func()) {
	s.gate.begin()
	return func() { s.gate.end(s.index.lastSequence()) }
}

// IsTooOld tells the oldest sequence that err names.
func IsTooOld(err error) (oldest uint64, ok bool) {
	var old *TooOldError
	if errors.As(err, &old) {
		return old.Oldest, true
	}
	return 0, false
}

// SyncInterval is how often the embedded server syncs its files.
func SyncInterval(s *Store) time.Duration {
	return s.server.server.JetStreamConfig().SyncInterval
}
