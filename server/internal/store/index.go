// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"slices"
	"sync"
)

// index is what is unfinished, and who works which room, as far as the history
// has been followed. One goroutine at a time writes it; any may read.
type index struct {
	mu         sync.RWMutex
	closed     bool
	last       uint64 // the last sequence that is in
	unfinished map[recordingKey]*Entry
	rooms      map[roomKey]roomState     // those of which there is something
	reserved   map[recordingKey]struct{} // places of live recordings that are not in yet
	live       int                       // live recordings and reserved places
	lives      map[string]int            // the same by tenant
	forgotten  uint64

	sequenceWaits []sequenceWait // by sequence
	entryWaits    map[recordingKey]map[*entryWait]struct{}
}

type roomState struct {
	live       *Entry   // nil when no class is on
	unfinished []*Entry // replaced, never changed
	lease      leaseGrant
}

// leaseGrant is who works a room.
type leaseGrant struct {
	holder string // empty: nobody
	epoch  uint64 // the sequence of the event
}

type sequenceWait struct {
	sequence uint64
	done     chan struct{} // closed by the index: it is in, or the store is closed
}

type entryWait struct {
	until func(*Entry) bool
	found *Entry        // set before done is closed; nil when the store is closed
	done  chan struct{} // closed by the index
}

func newIndex() *index {
	return &index{
		unfinished: make(map[recordingKey]*Entry),
		rooms:      make(map[roomKey]roomState),
		reserved:   make(map[recordingKey]struct{}),
		lives:      make(map[string]int),
		entryWaits: make(map[recordingKey]map[*entryWait]struct{}),
	}
}

// load replaces all by the state of one moment.
func (x *index) load(last, forgotten uint64, unfinished []*Entry, leases map[roomKey]leaseGrant) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.last, x.forgotten = last, forgotten
	clear(x.unfinished)
	clear(x.rooms)
	x.live = 0
	clear(x.lives)
	for key := range x.reserved {
		x.count(key.tenant, 1)
	}
	for room, lease := range leases {
		x.rooms[room] = roomState{lease: lease}
	}
	for _, e := range unfinished {
		x.put(e.key(), e)
		x.wake(e.key(), e)
	}
	x.wake(recordingKey{}, nil)
}

// advance takes in the next event.
func (x *index) advance(m message) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if m.lease != nil {
		r := x.rooms[m.key.roomKey()]
		r.lease = leaseGrant{m.lease.GetHolder(), m.sequence}
		x.setRoom(m.key.roomKey(), r)
	}
	if m.entry != nil {
		x.put(m.key, m.entry)
	}
	x.last = m.sequence
	x.wake(m.key, m.entry)
}

func (x *index) setRoom(key roomKey, r roomState) {
	if r.live == nil && len(r.unfinished) == 0 && r.lease.holder == "" {
		delete(x.rooms, key)
		return
	}
	x.rooms[key] = r
}

// put replaces the state of one recording.
func (x *index) put(key recordingKey, e *Entry) {
	old := x.unfinished[key]
	r := x.rooms[key.roomKey()]
	r.unfinished = slices.DeleteFunc(slices.Clone(r.unfinished), func(u *Entry) bool { return u == old })
	if r.live != nil && r.live == old {
		r.live = nil
	}
	if isFinal(e.state()) {
		delete(x.unfinished, key)
	} else {
		x.unfinished[key] = e
		r.unfinished = append(r.unfinished, e)
	}
	if isLive(e.state()) {
		r.live = e
		x.count(key.tenant, 1)
	}
	if old != nil && isLive(old.state()) {
		x.count(key.tenant, -1)
	}
	if _, ok := x.reserved[key]; ok {
		delete(x.reserved, key)
		x.count(key.tenant, -1)
	}
	x.setRoom(key.roomKey(), r)
}

// wake ends the waits that are over.
func (x *index) wake(key recordingKey, e *Entry) {
	n := 0
	for n < len(x.sequenceWaits) && x.sequenceWaits[n].sequence <= x.last {
		close(x.sequenceWaits[n].done)
		n++
	}
	x.sequenceWaits = slices.Delete(x.sequenceWaits, 0, n)
	if e == nil {
		return
	}
	for w := range x.entryWaits[key] {
		if w.until(e) {
			w.found = e
			x.endWait(key, w)
		}
	}
}

func (x *index) endWait(key recordingKey, w *entryWait) {
	close(w.done)
	x.forget(key, w)
}

func (x *index) forget(key recordingKey, w *entryWait) {
	delete(x.entryWaits[key], w)
	if len(x.entryWaits[key]) == 0 {
		delete(x.entryWaits, key)
	}
}

// close ends all waits; later ones end at once.
func (x *index) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	for _, w := range x.sequenceWaits {
		close(w.done)
	}
	x.sequenceWaits = nil
	for key, waits := range x.entryWaits {
		for w := range waits {
			x.endWait(key, w)
		}
	}
}

func (x *index) lastSequence() uint64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.last
}

func (x *index) room(key roomKey) roomState {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.rooms[key]
}

// get returns an unfinished recording; nil for any other.
func (x *index) get(key recordingKey) *Entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.unfinished[key]
}

// snapshot returns the last sequence and, of that moment, all live recordings
// that match, by revision.
func (x *index) snapshot(f WatchFilter) (last uint64, live []*Entry) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if f.Room != "" {
		if e := x.rooms[roomKey{f.Tenant, f.Room}].live; e != nil {
			live = append(live, e)
		}
		return x.last, live
	}
	for key, e := range x.unfinished {
		if key.tenant == f.Tenant && isLive(e.state()) {
			live = append(live, e)
		}
	}
	slices.SortFunc(live, func(a, b *Entry) int { return cmp.Compare(a.Revision, b.Revision) })
	return x.last, live
}

func (x *index) allUnfinished() []*Entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	all := make([]*Entry, 0, len(x.unfinished))
	for _, e := range x.unfinished {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *Entry) int { return cmp.Compare(a.Revision, b.Revision) })
	return all
}

// waitSequence returns a channel that is closed when the sequence is in, or
// when the store is closed.
func (x *index) waitSequence(sequence uint64) <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	w := sequenceWait{sequence: sequence, done: make(chan struct{})}
	if x.closed || sequence <= x.last {
		close(w.done)
		return w.done
	}
	i, _ := slices.BinarySearchFunc(x.sequenceWaits, sequence, func(w sequenceWait, s uint64) int {
		return cmp.Compare(w.sequence, s)
	})
	x.sequenceWaits = slices.Insert(x.sequenceWaits, i, w)
	return w.done
}

// waitEntry registers a wait for the recording, from its next change on, or
// from now where it is unfinished.
func (x *index) waitEntry(key recordingKey, until func(*Entry) bool) *entryWait {
	x.mu.Lock()
	defer x.mu.Unlock()
	w := &entryWait{until: until, done: make(chan struct{})}
	e := x.unfinished[key]
	switch {
	case e != nil && until(e):
		w.found = e
		close(w.done)
	case x.closed:
		close(w.done)
	default:
		if x.entryWaits[key] == nil {
			x.entryWaits[key] = make(map[*entryWait]struct{})
		}
		x.entryWaits[key][w] = struct{}{}
	}
	return w
}

// leave gives a wait up.
func (x *index) leave(key recordingKey, w *entryWait) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.forget(key, w)
}

// forgot takes in up to where events are forgotten.
func (x *index) forgot(upTo uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.forgotten = max(x.forgotten, upTo)
}
