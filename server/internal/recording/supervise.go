// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"context"
	"time"
)

// supervise sees to it that every unfinished recording has a worker, here or
// in another process, until ctx ends.
func (s *Service) supervise(ctx context.Context) {
	changes := s.store.Changes(s.cfg.Tenant)
	defer changes.Close()
	tick := time.NewTicker(s.cfg.SuperviseEvery)
	defer tick.Stop()
	defer s.beat.Store(0)
	s.superviseAll(false)
	for {
		select {
		case <-ctx.Done():
			return
		case <-changes.C():
			rooms, all := changes.Take()
			if all {
				s.superviseAll(false)
				continue
			}
			for _, roomID := range rooms {
				s.pokeRoom(roomID)
			}
		case <-tick.C:
			s.superviseAll(true)
		}
	}
}

// pokeRoom makes the room's worker look at the store, if there is one.
func (s *Service) pokeRoom(roomID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w, ok := s.workers[roomID]; ok {
		w.poke()
	}
}

// superviseAll makes all workers look at where they stand, and gives a worker
// to each room with unfinished recordings that no living process works. Of
// several processes that see it, the first by rank takes a room at once; the
// others only late, when it is still not taken at a later tick.
func (s *Service) superviseAll(late bool) {
	s.beat.Store(time.Now().UnixNano())
	s.mu.Lock()
	worked := make(map[string]bool, len(s.workers))
	for roomID, w := range s.workers {
		if t := w.tenure.Load(); t != nil {
			t.check()
		}
		w.poke()
		worked[roomID] = true
	}
	s.mu.Unlock()
	for _, e := range s.store.Unfinished() {
		roomID := e.Record.GetRecording().GetRoom()
		if e.Record.GetTenant() != s.cfg.Tenant || worked[roomID] {
			continue
		}
		worked[roomID] = true
		if holder, alive := s.store.Holder(s.cfg.Tenant, roomID); alive && holder != s.store.ReplicaID() {
			continue
		}
		if !late && s.store.Rank(s.cfg.Tenant, roomID) > 0 {
			continue
		}
		w, err := s.hold(roomID)
		if err != nil {
			return
		}
		s.release(w)
	}
}
