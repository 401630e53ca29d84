// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// StateKey is a tenant's recordings in a state.
type StateKey struct {
	Tenant string
	State  classrecv1.RecordingState
}

// Counts returns how many recordings there are, by tenant and state; of all
// replicas the same. It is empty when the database cannot be read within a
// second.
func (s *Store) Counts() map[StateKey]int {
	ctx, cancel := context.WithTimeout(s.lifetime, time.Second)
	defer cancel()
	counts := make(map[StateKey]int)
	err := s.db.query(ctx, func(row scanner) error {
		var key StateKey
		var n int
		if err := row.Scan(&key.Tenant, &key.State, &n); err != nil {
			return failed(err)
		}
		counts[key] = n
		return nil
	}, `SELECT tenant, state, n FROM tally WHERE n > 0`)
	if err != nil {
		return map[StateKey]int{}
	}
	return counts
}

// State is how the database does.
type State struct {
	// Bytes is what it takes: of SQLite the pages in use, of PostgreSQL the
	// whole database.
	Bytes uint64
	// FirstSequence is the oldest event that is kept, LastSequence the newest.
	FirstSequence, LastSequence uint64
	// Writable: it would take a change.
	Writable bool
	// Shared: several processes may use it, of which Replicas are alive.
	Shared   bool
	Replicas int
}

// State asks how the database does.
//
// Errors: ErrUnavailable when it does not answer within ctx.
func (s *Store) State(ctx context.Context) (State, error) {
	if s.lifetime.Err() != nil {
		return State{}, errClosed()
	}
	asking, done := s.asking(ctx)
	defer done()
	p, err := s.progress(asking)
	if err != nil {
		return State{}, s.because(ctx, err)
	}
	state := State{FirstSequence: min(p.forgotten+1, p.last), LastSequence: p.last, Writable: true}
	if s.cluster == nil {
		err = s.db.row(asking, []any{&state.Bytes}, `SELECT page_count * page_size FROM pragma_page_count, pragma_page_size`)
		return state, s.because(ctx, err)
	}
	state.Shared, state.Replicas = true, len(s.cluster.presence.all())
	var standby bool
	if err := s.db.row(asking, []any{&standby}, `SELECT pg_is_in_recovery()`); err == nil {
		state.Writable = !standby
	}
	_ = s.db.row(asking, []any{&state.Bytes}, `SELECT pg_database_size(current_database())`) // not every database knows
	return state, nil
}
