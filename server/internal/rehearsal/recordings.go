// SPDX-License-Identifier: Apache-2.0

package rehearsal

import (
	"context"
	"fmt"
	"strings"
	"sync"
)

// States are those of recordings, in the order in which they come.
func States() []string {
	return []string{"STARTING", "RECORDING", "STOPPING", "PROCESSING", "AVAILABLE", "FAILED"}
}

// recordings are the states that recordings have come to. The zero value is
// ready.
type recordings struct {
	mu      sync.Mutex
	last    map[string]string // by id: the state that it is in
	seen    []change          // that nobody has awaited yet, the oldest first
	changed chan struct{}     // closed and replaced with each change; nil until somebody waits
}

type change struct{ room, state string }

// maxChanges is how many changes are kept for who awaits them.
const maxChanges = 10_000

// RecordingIs tells that the recording of an id, in a room, is in a state. It is
// for the service.
func (r *Rehearsal) RecordingIs(room, id, state string) {
	s := &r.recordings
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = map[string]string{}
	}
	if s.last[id] == state {
		return
	}
	s.last[id] = state
	if len(s.seen) >= maxChanges {
		s.seen = append([]change(nil), s.seen[maxChanges/2:]...)
	}
	s.seen = append(s.seen, change{room, state})
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// AwaitRecording waits until a recording of a room has come to a state, and
// passes over those that it has returned for already. The error says what else
// has happened in the room.
func (r *Rehearsal) AwaitRecording(ctx context.Context, room, state string) error {
	for {
		changed := r.recordings.take(room, state)
		if changed == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w; %s", context.Cause(ctx), r.recordings.describe(room))
		}
	}
}

// take takes a change; or else returns what is closed at the next one.
func (s *recordings) take(room, state string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range s.seen {
		if c == (change{room, state}) {
			s.seen = append(s.seen[:i], s.seen[i+1:]...)
			return nil
		}
	}
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

// describe says what nobody has awaited.
func (s *recordings) describe(room string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var states []string
	for _, c := range s.seen {
		if c.room == room {
			states = append(states, c.state)
		}
	}
	if len(states) == 0 {
		return "nothing else has happened to recordings of the room"
	}
	return "recordings of the room were " + strings.Join(states, ", ")
}
