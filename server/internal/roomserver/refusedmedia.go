// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"github.com/classrec/classrec/server/internal/recorder"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// maxRefusedMedia bounds the people of a class whose refusal is remembered.
const maxRefusedMedia = 256

// refuseMedia notes that somebody could not publish: it is a gap of the class that goes on, until the same person can. The
// room's mutex is held.
func (r *room) refuseMedia(user talkcloud.UserID, reason string) {
	c := r.class.Load()
	if c == nil || len(c.refused) >= maxRefusedMedia {
		return
	}
	if _, known := c.refused[user]; known {
		return
	}
	gap := recorder.Gap{UserID: string(user), Start: r.server.cfg.Now(), Reason: "the publisher was refused: " + reason}
	if c.refused == nil {
		c.refused = make(map[talkcloud.UserID]recorder.Gap)
	}
	c.refused[user] = gap
	c.rec.Gap(gap)
}

// admitMedia ends that gap. The room's mutex is held.
func (r *room) admitMedia(user talkcloud.UserID) {
	c := r.class.Load()
	if c == nil {
		return
	}
	if gap, known := c.refused[user]; known {
		delete(c.refused, user)
		gap.End = r.server.cfg.Now()
		c.rec.Gap(gap)
	}
}

// refuseMediaIn does the same for a room that may not be there.
func (s *Server) refuseMediaIn(id talkcloud.RoomID, user talkcloud.UserID, reason string) {
	s.mu.Lock()
	r := s.rooms[id]
	s.mu.Unlock()
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuseMedia(user, reason)
}
