// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"time"

	"github.com/classrec/classrec/server/internal/ingest"
	"github.com/classrec/classrec/server/internal/recorder"
)

// silenceKey names a silence of a session: a section may have one after the other.
type silenceKey struct {
	section int
	start   time.Time
}

// Silent is called when a section of the offer gives nothing that can be recorded, and when that is over. It is a gap of
// each class that goes on meanwhile.
func (m *mediaSession) Silent(s ingest.Silence) {
	r := m.room
	r.mu.Lock()
	if m.silent == nil {
		m.silent = make(map[silenceKey]ingest.Silence)
	}
	key := silenceKey{s.Section, s.Start}
	if s.End.IsZero() {
		m.silent[key] = s
	} else {
		delete(m.silent, key)
	}
	c := r.class.Load()
	r.mu.Unlock()
	log := r.server.log.With("room", r.id, "user", m.user, "kind", s.Kind.String(), "section", s.Section)
	switch {
	case !s.End.IsZero():
		log.Info("publisher's media are over their silence", "duration", s.End.Sub(s.Start).Round(time.Millisecond))
	case s.Never:
		log.Warn("publisher is connected, but gives nothing that can be recorded", "reason", s.Reason)
	default:
		log.Info("publisher's media are silent", "reason", s.Reason)
	}
	if c != nil {
		c.rec.Gap(m.gapOf(s))
	}
}

func (m *mediaSession) gapOf(s ingest.Silence) recorder.Gap {
	kind := recorder.Audio
	if s.Kind == ingest.Video {
		kind = recorder.Video
	}
	return recorder.Gap{UserID: string(m.user), Kind: kind, Start: s.Start, End: s.End, Reason: s.Reason}
}

// noteSilences tells a class that begins of the silences that last. The room's mutex is held.
func (r *room) noteSilences(c *class) {
	for _, st := range r.streams {
		if st.session == nil {
			continue
		}
		for _, s := range st.session.silent {
			c.rec.Gap(st.session.gapOf(s))
		}
	}
}
