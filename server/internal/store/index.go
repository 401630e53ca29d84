// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"slices"
	"sync"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// index is the present state of all recordings, as far as the log has been
// followed. One goroutine writes it; any may read.
type index struct {
	mu         sync.RWMutex
	closed     bool
	last       uint64 // the last sequence that is in
	entries    map[recordingKey]*Entry
	rooms      map[roomKey]roomState
	names      map[nameKey]*Entry
	requests   map[nameKey][]*Entry // who holds a request id, by recording id
	lists      map[listKey]ordered
	urls       map[nameKey]int // how many recordings have the URL
	unfinished map[recordingKey]*Entry
	counts     map[StateKey]int          // of recordings
	reserved   map[recordingKey]struct{} // places of live recordings that are not in yet
	forgotten  uint64                    // history up to here may be gone
	said       uint64                    // the sequence at which that is in the log

	sequenceWaits []sequenceWait // by sequence
	entryWaits    map[recordingKey]map[*entryWait]struct{}
}

type roomState struct {
	revision   uint64
	live       *Entry   // nil when no class is on
	unfinished []*Entry // replaced, never changed
	lease      leaseGrant
}

// leaseGrant is who works a room: the last lease message of it.
type leaseGrant struct {
	holder   string // empty: nobody
	sequence uint64 // 0: there never was one
}

// nameKey is a name or a request id of a tenant.
type nameKey struct{ tenant, name string }

// listKey names the list of a filter; empty fields do not restrict. A
// recording is in every list that it matches, so that each page is one
// stretch of one list.
type listKey struct{ tenant, room, user string }

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
		entries:    make(map[recordingKey]*Entry),
		rooms:      make(map[roomKey]roomState),
		names:      make(map[nameKey]*Entry),
		requests:   make(map[nameKey][]*Entry),
		lists:      make(map[listKey]ordered),
		urls:       make(map[nameKey]int),
		unfinished: make(map[recordingKey]*Entry),
		counts:     make(map[StateKey]int),
		reserved:   make(map[recordingKey]struct{}),
		entryWaits: make(map[recordingKey]map[*entryWait]struct{}),
	}
}

// load takes in the last message of each recording of a log that ends at last.
func (x *index) load(messages []message, last uint64) {
	// By record time, each goes to the end of its lists.
	slices.SortFunc(messages, func(a, b message) int {
		return cmp.Or(a.cursor().compare(b.cursor()), cmp.Compare(a.sequence, b.sequence))
	})
	x.mu.Lock()
	defer x.mu.Unlock()
	x.last = last
	for _, m := range messages {
		x.take(m)
	}
}

// advance takes in the next message of the log.
func (x *index) advance(m message) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.take(m)
	x.last = m.sequence
	x.wake(m.key, m.entry)
}

func (x *index) take(m message) {
	if m.retention {
		x.forgotten, x.said = max(x.forgotten, m.forgotten), max(x.said, m.sequence)
	}
	if m.key != (recordingKey{}) {
		r := x.rooms[m.key.roomKey()]
		r.revision = max(r.revision, m.sequence)
		if m.lease != nil && m.sequence > r.lease.sequence {
			r.lease = leaseGrant{m.lease.GetHolder(), m.sequence}
		}
		x.rooms[m.key.roomKey()] = r
	}
	if m.entry != nil {
		x.put(m.key, m.entry)
	}
}

// put replaces the state of one recording.
func (x *index) put(key recordingKey, e *Entry) {
	old := x.entries[key]
	if old != nil && old.Revision >= e.Revision {
		return
	}
	x.entries[key] = e
	if old != nil {
		x.counts[StateKey{key.tenant, old.state()}]--
	}
	x.counts[StateKey{key.tenant, e.state()}]++
	delete(x.reserved, key)
	x.putLive(key, e)
	x.putUnfinished(key, old, e)
	x.putName(key, old, e)
	x.putRequest(key, old, e)
	x.putLists(key, old, e)
	x.putURLs(key.tenant, old, e)
}

func (x *index) putURLs(tenant string, old, e *Entry) {
	if old != nil {
		for _, u := range old.Record.GetRecording().GetUrls() {
			k := nameKey{tenant, u}
			if x.urls[k]--; x.urls[k] == 0 {
				delete(x.urls, k)
			}
		}
	}
	for _, u := range e.Record.GetRecording().GetUrls() {
		x.urls[nameKey{tenant, u}]++
	}
}

func (x *index) putUnfinished(key recordingKey, old, e *Entry) {
	room := x.rooms[key.roomKey()]
	room.unfinished = slices.DeleteFunc(slices.Clone(room.unfinished), func(u *Entry) bool { return u == old })
	if isFinal(e.state()) {
		delete(x.unfinished, key)
	} else {
		x.unfinished[key] = e
		room.unfinished = append(room.unfinished, e)
	}
	x.rooms[key.roomKey()] = room
}

func (x *index) putLive(key recordingKey, e *Entry) {
	r := x.rooms[key.roomKey()]
	switch {
	case isLive(e.state()):
		if r.live == nil || r.live.Revision < e.Revision {
			r.live = e
		}
	case r.live != nil && r.live.Record.GetId() == key.id:
		r.live = nil
	}
	x.rooms[key.roomKey()] = r
}

func (x *index) putName(key recordingKey, old, e *Entry) {
	name := e.Record.GetRecording().GetName()
	if old != nil {
		k := nameKey{key.tenant, old.Record.GetRecording().GetName()}
		if k.name != name && x.names[k] == old {
			delete(x.names, k)
		}
	}
	k := nameKey{key.tenant, name}
	if other := x.names[k]; name != "" && (other == nil || other.Revision < e.Revision) {
		x.names[k] = e
	}
}

// heldRequest returns the request id that e holds: a start that failed before
// it had a name frees its own.
func heldRequest(e *Entry) string {
	if e.state() == classrecv1.RecordingState_RECORDING_STATE_FAILED && e.Record.GetRecording().GetName() == "" {
		return ""
	}
	return e.Record.GetRequestId()
}

func (x *index) putRequest(key recordingKey, old, e *Entry) {
	if old != nil {
		if id := heldRequest(old); id != "" {
			k := nameKey{key.tenant, id}
			x.requests[k] = slices.DeleteFunc(x.requests[k], func(h *Entry) bool { return h == old })
			if len(x.requests[k]) == 0 {
				delete(x.requests, k)
			}
		}
	}
	if id := heldRequest(e); id != "" {
		k := nameKey{key.tenant, id}
		holders := x.requests[k]
		i, _ := slices.BinarySearchFunc(holders, e, func(a, b *Entry) int {
			return cmp.Or(cmp.Compare(a.Record.GetId(), b.Record.GetId()),
				cmp.Compare(a.Record.GetRecording().GetRoom(), b.Record.GetRecording().GetRoom()))
		})
		x.requests[k] = slices.Insert(holders, i, e)
	}
}

// listKeys returns the lists that e is in, each once.
func listKeys(key recordingKey, e *Entry) []listKey {
	if e == nil || e.Record.GetRecording().GetName() == "" {
		return nil
	}
	keys := []listKey{{key.tenant, "", ""}, {key.tenant, key.room, ""}}
	add := func(user string) {
		if k := (listKey{key.tenant, "", user}); user != "" && !slices.Contains(keys, k) {
			keys = append(keys, k, listKey{key.tenant, key.room, user})
		}
	}
	add(e.Record.GetRecording().GetUserId())
	for _, f := range e.Record.GetRecording().GetFiles() {
		add(f.GetUserId())
	}
	return keys
}

func (x *index) putLists(key recordingKey, old, e *Entry) {
	keys := listKeys(key, e)
	moved := old != nil && CursorOf(old) != CursorOf(e)
	for _, k := range listKeys(key, old) {
		if moved || !slices.Contains(keys, k) {
			if x.lists[k] = x.lists[k].remove(old); len(x.lists[k]) == 0 {
				delete(x.lists, k)
			}
		}
	}
	for _, k := range keys {
		x.lists[k] = x.lists[k].put(e)
	}
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

// retention returns the sequence up to which history may be gone, and the one
// at which that is in the log.
func (x *index) retention() (forgotten, said uint64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.forgotten, x.said
}

// room returns the room's revision and its live recording, nil if none.
func (x *index) room(key roomKey) (revision uint64, live *Entry) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	r := x.rooms[key]
	return r.revision, r.live
}

// lease returns who works the room, and the room's revision at that moment.
func (x *index) lease(key roomKey) (grant leaseGrant, revision uint64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	r := x.rooms[key]
	return r.lease, r.revision
}

func (x *index) get(key recordingKey) *Entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.entries[key]
}

func (x *index) byName(key nameKey) *Entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.names[key]
}

func (x *index) knowsURL(key nameKey) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.urls[key] > 0
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

func (x *index) byRequest(key nameKey) *Entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	holders := x.requests[key]
	if len(holders) == 0 {
		return nil
	}
	return holders[len(holders)-1]
}

func (x *index) unfinishedIn(room roomKey) []*Entry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.rooms[room].unfinished
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

func (x *index) list(tenant string, f Filter, after Cursor, limit int) ([]*Entry, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.lists[listKey{tenant, f.Room, f.UserID}].page(after, f.RecordTime, f.Visible, limit)
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

// waitEntry registers a wait for the recording; nil if there is none.
func (x *index) waitEntry(key recordingKey, until func(*Entry) bool) *entryWait {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.entries[key]
	if e == nil {
		return nil
	}
	w := &entryWait{until: until, done: make(chan struct{})}
	switch {
	case until(e):
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
