// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// maxHistory bounds how many changes of one recording are read. A recording has
// some ten; one whose room loses its state again and again has more.
const maxHistory = 10_000

// History returns all changes of a recording that the log still has, in order;
// the last one is its present state. complete says that none before them was
// forgotten.
//
// Errors: ErrNotFound; ErrUnavailable when the log cannot be read; ctx's error.
func (s *Store) History(ctx context.Context, tenant, room, id string) (changes []*Entry, complete bool, err error) {
	key := recordingKey{tenant, room, id}
	if s.index.get(key) == nil {
		return nil, false, ErrNotFound
	}
	select {
	case s.replays <- struct{}{}:
		defer func() { <-s.replays }()
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	case <-s.lifetime.Done():
		return nil, false, errClosed()
	}
	bounded, cancel := context.WithTimeout(ctx, s.cfg.AckTimeout)
	defer cancel()
	last := s.LastSequence()
	err = s.scan(bounded, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{key.subject()},
		DeliverPolicy:  jetstream.DeliverAllPolicy,
	}, maxHistory, func(m message) {
		if m.entry != nil && m.sequence <= last && (len(changes) == 0 || m.sequence > changes[len(changes)-1].Revision) {
			changes = append(changes, m.entry)
		}
	})
	switch {
	case ctx.Err() != nil:
		return nil, false, context.Cause(ctx)
	case err != nil:
		return nil, false, fmt.Errorf("read the changes of a recording: %w", err)
	case len(changes) == 0:
		return nil, false, ErrNotFound
	}
	// A record's first change is as old as it is itself; any later one has been
	// changed since.
	first := changes[0].Record.GetRecording()
	return changes, first.GetCreateTime().AsTime().Equal(first.GetUpdateTime().AsTime()), nil
}
