// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
)

// WatchFilter says which entries a watcher gets.
type WatchFilter struct {
	// Tenant: only of this tenant. Required.
	Tenant string
	// Room: only of this room; empty for all of the tenant.
	Room string
}

func (f WatchFilter) matches(key recordingKey) bool {
	return key.tenant == f.Tenant && (f.Room == "" || key.room == f.Room)
}

// Watcher is a running watch. It costs others nothing, however slowly it is
// read.
type Watcher struct {
	fanout *fanout
	filter WatchFilter
	c      chan *Entry
	quit   chan struct{} // closed when the watcher ends
	stop   func() bool   // detaches it from its context
	due    uint64        // the last entry that anybody could see when the watch began
	caught chan struct{} // closed when the watcher is live, and has had that one
	upTo   uint64        // set before caught is closed

	// Guarded by the fan-out's lock once the watcher is live, and before that
	// its own goroutine's: the last sequence that is in c, or that did not
	// concern it.
	last uint64
	era  int // of the fan-out when it began

	// Guarded by the fan-out's lock.
	live    bool // in its group, at place
	place   int
	reading bool // it has a goroutine, which closes c
	ended   bool
	err     error
}

// Watch returns a watcher of every entry that matches and comes after the
// sequence, in order, none missed and none twice: first those that are stored,
// then live ones. After LastSequence it gets live ones only; after 0, all that
// are kept, if nothing is forgotten. It ends with ctx, or by Close.
//
// While it reads what was before, a watcher that is not read waits. Live, it
// may leave Config.WatchQueue entries unread; the next one ends it with a
// *SlowError.
//
// Errors: *TooOldError when events are not kept so far back (see [Retention]);
// *AheadError when the history has not come so far; ErrUnavailable; ErrClosed.
func (s *Store) Watch(ctx context.Context, filter WatchFilter, after uint64) (*Watcher, error) {
	if !isToken(filter.Tenant) {
		return nil, fmt.Errorf("watch: %w: tenant %q", ErrInvalid, filter.Tenant)
	}
	if s.lifetime.Err() != nil {
		return nil, fmt.Errorf("watch: %w", errClosed())
	}
	if after > s.LastSequence() { // another replica may have seen more
		if err := s.Sync(ctx); err != nil {
			return nil, fmt.Errorf("watch: %w", err)
		}
	}
	if last := s.LastSequence(); after > last {
		return nil, fmt.Errorf("watch: %w", &AheadError{Last: last})
	}
	if err := s.checkForgotten(after); err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	w := &Watcher{
		fanout: s.fanout,
		filter: filter,
		c:      make(chan *Entry, s.cfg.WatchQueue),
		quit:   make(chan struct{}),
		caught: make(chan struct{}),
		due:    s.shown.Load(),
		last:   after,
		era:    s.fanout.present(),
	}
	if _, ok := s.fanout.recall(after, filter, 0); !ok {
		if err := s.checkOldest(ctx, after); err != nil {
			return nil, fmt.Errorf("watch: %w", err)
		}
	}
	//nolint:contextcheck // what is read is bounded by the store's own life; ctx ends the watcher
	if !s.fanout.join(w) && !s.fanout.read(w, func() error { return s.catchUp(w) }) {
		return nil, fmt.Errorf("watch: %w", errClosed())
	}
	s.fanout.attach(ctx, w)
	return w, nil
}

// C returns the channel of entries. The store closes it when the watch has
// ended; what is in it then is still to be read. Err then says why.
func (w *Watcher) C() <-chan *Entry { return w.c }

// CaughtUp returns a channel that is closed once all that was before is in C or
// has been read from it: what is in C then, and no more, may be from before.
func (w *Watcher) CaughtUp() <-chan struct{} { return w.caught }

// UpTo returns the sequence up to which everything had been handed out when
// CaughtUp was closed. Not to be called before.
func (w *Watcher) UpTo() uint64 { return w.upTo }

// Err returns why the watch has ended: *SlowError, *TooOldError,
// ErrUnavailable, ErrClosed, or the context's error; nil after Close, and while
// it runs.
func (w *Watcher) Err() error {
	w.fanout.mu.Lock()
	defer w.fanout.mu.Unlock()
	return w.err
}

// Close ends the watch; C is closed soon. It may be called more than once.
func (w *Watcher) Close() { w.fanout.end(w, nil) }

// offer puts e into the channel, if it has room; an entry that the watcher has
// had is taken as done. The fan-out's lock is held.
func (w *Watcher) offer(e *Entry) bool {
	if e.Revision <= w.last {
		return true
	}
	select {
	case w.c <- e:
		w.last = e.Revision
		return true
	default:
		return false
	}
}

// finish ends a watcher that is not live. The fan-out's lock is held.
func (w *Watcher) finish(err error) {
	w.ended, w.err = true, err
	close(w.quit)
	if w.stop != nil {
		w.stop()
	}
	if !w.reading {
		close(w.c)
	}
}

// read starts a goroutine that reads what was before w; false when the fan-out
// is closed.
func (f *fanout) read(w *Watcher, catchUp func() error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	w.reading = true
	f.running.Go(func() {
		err := catchUp()
		f.mu.Lock()
		defer f.mu.Unlock()
		w.reading = false
		switch {
		case w.ended:
			close(w.c)
		case err != nil && w.live:
			f.drop(w, err)
		case err != nil:
			w.finish(err)
		}
	})
	return true
}

// attach ends w when ctx is done.
func (f *fanout) attach(ctx context.Context, w *Watcher) {
	stop := context.AfterFunc(ctx, func() { f.end(w, context.Cause(ctx)) })
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.ended {
		stop()
		return
	}
	w.stop = stop
}

// catchUp hands w what was before, until it is live; nil when it is, or when it
// has ended.
func (s *Store) catchUp(w *Watcher) error {
	for !s.fanout.join(w) {
		if err := s.fanout.stale(w); err != nil {
			return err
		}
		chunk, ok := s.fanout.recall(w.last, w.filter, page)
		upTo := w.last
		if !ok {
			var err error
			chunk, upTo, err = s.replay(w)
			if s.lifetime.Err() != nil {
				return errClosed()
			}
			if err != nil {
				return err
			}
		}
		for _, e := range chunk {
			select {
			case w.c <- e:
				w.last = e.Revision
			case <-w.quit:
				return nil
			case <-s.lifetime.Done():
				return errClosed()
			}
		}
		w.last = max(w.last, upTo)
		select {
		case <-w.quit:
			return nil
		case <-s.lifetime.Done():
			return errClosed()
		default:
		}
	}
	return nil
}

// replay reads the next events for w; upTo is the sequence up to which there is
// nothing else for it.
func (s *Store) replay(w *Watcher) (chunk []*Entry, upTo uint64, err error) {
	select {
	case s.replays <- struct{}{}:
		defer func() { <-s.replays }()
	case <-w.quit:
		return nil, w.last, nil
	case <-s.lifetime.Done():
		return nil, 0, errClosed()
	}
	ctx, cancel := s.bounded(s.cfg.Timeout)
	defer cancel()
	last := s.LastSequence()
	found, err := s.eventsFor(ctx, w.filter, w.last, last)
	if err != nil {
		return nil, 0, err
	}
	// They may have been forgotten while they were read.
	if err := s.checkOldest(ctx, w.last); err != nil {
		return nil, 0, err
	}
	for _, m := range found {
		if m.entry != nil && w.filter.matches(m.key) {
			chunk = append(chunk, m.entry)
		}
	}
	if len(found) < page {
		return chunk, last, nil
	}
	return chunk, found[len(found)-1].sequence, nil
}

// eventsFor reads up to a page of events, which include those that match.
func (s *Store) eventsFor(ctx context.Context, f WatchFilter, after, upTo uint64) (found []message, err error) {
	if f.Room == "" { // the order of sequences is that of the table
		return s.events(ctx, after, upTo)
	}
	err = s.db.query(ctx, func(row scanner) error {
		m, err := s.scanEvent(row)
		found = append(found, m)
		return err
	}, `SELECT sequence, tenant, room, recording, time, body, crc FROM event
		WHERE tenant = $1 AND room = $2 AND sequence > $3 AND sequence <= $4 ORDER BY sequence LIMIT $5`, f.Tenant, f.Room, after, upTo, page)
	return found, err
}

// Passed returns a sequence up to which nothing is left for the watcher: all
// that concerned it has been read from C, and the rest did not concern it. So
// it moves on while nothing comes, and a watcher that resumes from it is not
// too old for having been patient. 0 while there is something to read. Only
// whoever reads C may call it.
func (w *Watcher) Passed() uint64 {
	w.fanout.mu.Lock()
	defer w.fanout.mu.Unlock()
	if !w.live || len(w.c) > 0 {
		return 0
	}
	return max(w.last, w.fanout.last)
}
