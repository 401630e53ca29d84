// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"slices"
	"sync"
)

// fanout hands each entry to the watchers that it concerns. All share the one
// Entry. It never waits for a watcher.
type fanout struct {
	queue   int // capacity of a watcher's channel
	keep    int // how many entries history holds, at least, once there are as many
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	era     int   // how often it was cut
	ended   error // what the last cut told watchers
	groups  map[WatchFilter]*group
	behind  []*Watcher // live, and not told that they have caught up
	history []*Entry   // the last entries, by revision: all with base < revision <= last
	base    uint64
	last    uint64
}

// group is all live watchers with one filter.
type group struct{ watchers []*Watcher }

func newFanout(queue, keep int) *fanout {
	return &fanout{queue: queue, keep: keep, groups: make(map[WatchFilter]*group)}
}

// load sets the history, which holds all entries with base < revision <= last.
func (f *fanout) load(base, last uint64, history []*Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.base, f.last, f.history = base, last, history
}

// publish hands the next event to the live watchers. One that has no room for it
// is ended.
func (f *fanout) publish(m message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.era != f.era {
		return // of what was cut off
	}
	f.last = m.sequence
	if m.entry != nil {
		f.offer(m)
	}
	f.tell()
}

func (f *fanout) offer(m message) {
	e := m.entry
	f.history = append(f.history, e)
	if len(f.history) > f.keep+f.keep/8 { // some at a time: what is left is moved
		drop := len(f.history) - f.keep
		f.base = f.history[drop-1].Revision
		n := copy(f.history, f.history[drop:])
		clear(f.history[n:])
		f.history = f.history[:n]
	}
	for _, filter := range [...]WatchFilter{{m.key.tenant, m.key.room}, {m.key.tenant, ""}} {
		g := f.groups[filter]
		if g == nil {
			continue
		}
		for i := 0; i < len(g.watchers); {
			w := g.watchers[i]
			if w.offer(e) {
				i++
				continue
			}
			f.drop(w, &SlowError{Resume: w.last}) // another takes its place
		}
	}
}

// tell closes caught of the live watchers that have had what was due, or that it
// did not concern. The lock is held.
func (f *fanout) tell() {
	f.behind = slices.DeleteFunc(f.behind, func(w *Watcher) bool {
		if w.ended {
			return true
		}
		if max(w.last, f.last) < w.due {
			return false
		}
		w.upTo = max(w.last, f.last)
		close(w.caught)
		return true
	})
}

// cut ends all watchers, with the error, or a *TooOldError where it is nil: what
// comes next does not follow on what they have had. load has set the history
// from which it goes on. It returns the era that begins.
func (f *fanout) cut(err error) (era int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		err = &TooOldError{Oldest: f.last + 1}
	}
	f.era++
	f.ended = err
	for _, g := range f.groups {
		for _, w := range slices.Clone(g.watchers) {
			f.drop(w, err)
		}
	}
	return f.era
}

// present returns the era.
func (f *fanout) present() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.era
}

// stale returns what ends a watcher that was begun before a cut.
func (f *fanout) stale(w *Watcher) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.era != f.era {
		return f.ended
	}
	return nil
}

// join makes w live, if what it has not seen yet is in the history and fits
// its channel.
func (f *fanout) join(w *Watcher) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || w.ended || w.era != f.era || w.last < f.base {
		return false
	}
	room := cap(w.c) - len(w.c) // looked at once: the reader makes more at any time
	missed := f.after(w.last, w.filter, room+1)
	if len(missed) > room {
		return false
	}
	for _, e := range missed {
		w.offer(e)
	}
	g := f.groups[w.filter]
	if g == nil {
		g = new(group)
		f.groups[w.filter] = g
	}
	w.place = len(g.watchers)
	w.live = true
	g.watchers = append(g.watchers, w)
	f.behind = append(f.behind, w)
	f.tell()
	return true
}

// recall returns at most max entries after the sequence that match, from the
// history; ok is false when the history does not reach back so far.
func (f *fanout) recall(after uint64, filter WatchFilter, max int) (entries []*Entry, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if after < f.base {
		return nil, false
	}
	return f.after(after, filter, max), true
}

func (f *fanout) after(sequence uint64, filter WatchFilter, max int) []*Entry {
	i, _ := slices.BinarySearchFunc(f.history, sequence+1, func(e *Entry, s uint64) int {
		return cmp.Compare(e.Revision, s)
	})
	var entries []*Entry
	for _, e := range f.history[i:] {
		if len(entries) == max {
			break
		}
		if filter.matches(e.key()) {
			entries = append(entries, e)
		}
	}
	return entries
}

// drop ends a live watcher.
func (f *fanout) drop(w *Watcher, err error) {
	g := f.groups[w.filter]
	n := len(g.watchers) - 1
	g.watchers[w.place] = g.watchers[n]
	g.watchers[w.place].place = w.place
	g.watchers[n] = nil
	g.watchers = g.watchers[:n]
	if n == 0 {
		delete(f.groups, w.filter)
	}
	w.live = false
	w.finish(err)
}

// end ends w, whether it is live or still reading what was before.
func (f *fanout) end(w *Watcher, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case w.ended:
	case w.live:
		f.drop(w, err)
	default:
		w.finish(err)
	}
}

// close ends all live watchers; those that are not live end themselves.
func (f *fanout) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for _, g := range f.groups {
		for _, w := range slices.Clone(g.watchers) {
			f.drop(w, errClosed())
		}
	}
}

// wait waits for the goroutines of watchers that are not live yet.
func (f *fanout) wait() { f.running.Wait() }
