// SPDX-License-Identifier: Apache-2.0

package store

import "sync"

// maxChangedRooms bounds what a Changes remembers; beyond it, all rooms count
// as changed.
const maxChangedRooms = 16384

// changesHub hands the rooms that have changed to those who asked for it. It
// never waits for them.
type changesHub struct {
	mu   sync.Mutex
	subs map[*Changes]struct{}
}

// Changes collects which rooms of a tenant have changed. What is not taken
// gathers: a room is named once, however often it has changed.
type Changes struct {
	hub    *changesHub
	tenant string
	c      chan struct{}

	// Guarded by the hub's lock.
	rooms map[string]struct{}
	all   bool
}

// Changes returns which rooms of the tenant change from now on: their records,
// or who holds their lease. A change is named after all reads show it. The
// caller closes it.
func (s *Store) Changes(tenant string) *Changes {
	c := &Changes{
		hub:    &s.hub,
		tenant: tenant,
		c:      make(chan struct{}, 1),
		rooms:  make(map[string]struct{}),
	}
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if s.hub.subs == nil {
		s.hub.subs = make(map[*Changes]struct{})
	}
	s.hub.subs[c] = struct{}{}
	return c
}

// C returns a channel that has a value when Take has something. It is never
// closed.
func (c *Changes) C() <-chan struct{} { return c.c }

// Take returns the rooms that have changed since it was last called, in no
// order. all means that every room has to be looked at again: a replica came
// or went, our own leases were suspended or are back, or too many rooms have
// changed to name them; rooms is nil then.
func (c *Changes) Take() (rooms []string, all bool) {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	select {
	case <-c.c:
	default:
	}
	all, c.all = c.all, false
	if !all && len(c.rooms) > 0 {
		rooms = make([]string, 0, len(c.rooms))
		for room := range c.rooms {
			rooms = append(rooms, room)
		}
	}
	clear(c.rooms)
	return rooms, all
}

// Close ends it: C gets nothing more. It may be called more than once.
func (c *Changes) Close() {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	delete(c.hub.subs, c)
}

// room takes in that a room has changed.
func (h *changesHub) room(key roomKey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.subs {
		if c.tenant != key.tenant {
			continue
		}
		if !c.all {
			if c.rooms[key.room] = struct{}{}; len(c.rooms) > maxChangedRooms {
				c.all = true
				clear(c.rooms)
			}
		}
		c.signal()
	}
}

// all takes in that every room has to be looked at.
func (h *changesHub) all() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.subs {
		c.all = true
		clear(c.rooms)
		c.signal()
	}
}

func (c *Changes) signal() {
	select {
	case c.c <- struct{}{}:
	default:
	}
}
