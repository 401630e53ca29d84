// SPDX-License-Identifier: Apache-2.0

package room

import (
	"slices"
	"sync"
)

// maxPending is how many events a subscriber may leave untaken before it is cut off.
const maxPending = 256

// Subscription is one view of a session's events. The first is a [Snapshot], followed by
// [Disconnected] if the connection is lost just then. It holds at most 256 untaken events.
type Subscription struct {
	// C gives the events. It is closed after [Ended], after Close, and when the subscriber was too
	// slow; Err tells which.
	C <-chan *Event

	c       chan *Event // one more than maxPending, so that Ended always fits
	session *core
	keys    []string // of the messages that are wanted; none: all
	once    sync.Once

	mu     sync.Mutex
	closed bool
	err    error
}

func newSubscription(session *core, keys []string) *Subscription {
	c := make(chan *Event, maxPending+1)
	return &Subscription{C: c, c: c, session: session, keys: keys}
}

// wants tells whether the event is one that was asked for.
func (s *Subscription) wants(e *Event) bool {
	message := e.Kind == Published || e.Kind == Deleted
	return !message || len(s.keys) == 0 || slices.Contains(s.keys, e.Message.Key())
}

// Err tells why C was closed: [ErrSlow], or the reason in the event Ended; nil before, and after
// Close.
func (s *Subscription) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close ends the subscription. What was not taken from C may still be. It may be called more than
// once, and after the session has ended.
func (s *Subscription) Close() {
	s.once.Do(func() {
		s.finish(nil)
		s.session.do(func() { delete(s.session.subs, s) })
	})
}

// offer gives an event without waiting. It reports whether the subscription goes on.
func (s *Subscription) offer(e *Event) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
	case e.Kind == Ended:
		s.c <- e // there is room for it: nothing else takes the last place
		s.close(e.Err)
	case len(s.c) >= maxPending:
		s.session.manager.counts.slow.Add(1)
		s.close(ErrSlow)
	default:
		s.c <- e
	}
	return !s.closed
}

func (s *Subscription) finish(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.close(err)
	}
}

func (s *Subscription) close(err error) {
	s.closed, s.err = true, err
	close(s.c)
}
