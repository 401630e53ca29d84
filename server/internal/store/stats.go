// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"maps"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// StateKey is a tenant's recordings in a state.
type StateKey struct {
	Tenant string
	State  classrecv1.RecordingState
}

// Counts returns how many recordings there are, by tenant and state. The log is
// shared: every replica returns the same.
func (s *Store) Counts() map[StateKey]int {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	return maps.Clone(s.index.counts)
}

// LogState is how the stream does that keeps the log.
type LogState struct {
	Bytes, Messages             uint64
	FirstSequence, LastSequence uint64
	// Healthy: the server that keeps it would take a change.
	Healthy bool
	// Clustered: the stream is kept by a NATS cluster; the rest is of that.
	Clustered bool
	// HasLeader: writes are taken.
	HasLeader bool
	// Current, Lagging and Offline are how many of the stream's servers are up to
	// date (the leader among them), behind, and away.
	Current, Lagging, Offline int
	// MaxLag is by how many operations the server that is furthest behind is so.
	MaxLag uint64
}

// LogState asks how the stream does.
//
// Errors: ErrUnavailable when nobody answers within ctx.
func (s *Store) LogState(ctx context.Context) (LogState, error) {
	if s.lifetime.Err() != nil {
		return LogState{}, errClosed()
	}
	info, err := s.stream.Info(ctx)
	if err != nil {
		return LogState{}, fmt.Errorf("%w: ask for the state of the log: %w", ErrUnavailable, err)
	}
	state := LogState{
		Bytes: info.State.Bytes, Messages: info.State.Msgs,
		FirstSequence: info.State.FirstSeq, LastSequence: info.State.LastSeq,
		HasLeader: true, Healthy: true,
	}
	if s.server != nil {
		state.Healthy = s.server.health() == nil
	}
	if s.cluster == nil || info.Cluster == nil {
		return state, nil
	}
	state.Clustered, state.HasLeader = true, info.Cluster.Leader != ""
	state.Healthy = state.HasLeader
	if state.HasLeader {
		state.Current++
	}
	for _, peer := range info.Cluster.Replicas {
		state.MaxLag = max(state.MaxLag, peer.Lag)
		switch {
		case peer.Offline:
			state.Offline++
		case peer.Current:
			state.Current++
		default:
			state.Lagging++
		}
	}
	return state, nil
}

// Failing returns what [Store.Append] has last failed with, an ErrUnavailable, if
// that was since a time and none has succeeded after it.
func (s *Store) Failing(since time.Time) error {
	if time.Unix(0, s.failedAt.Load()).Before(since) {
		return nil
	}
	return s.Err()
}
