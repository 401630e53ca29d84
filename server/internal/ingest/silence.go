// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"sync"
	"time"
)

// Silence is a time in which an accepted section gave nothing that can be recorded, although its publisher is connected.
type Silence struct {
	Section int // its place in the offer, counted from 0
	Kind    Kind
	Start   time.Time // of the connection, or of the last packet
	End     time.Time // zero while it lasts
	Never   bool      // there was nothing from the beginning
	Reason  string    // for people; holds nothing secret
}

// SilenceHandler is a [Handler] that wants to know of sections that give nothing for Config.SectionTimeout. Calls come
// from the peer's goroutine and must not block.
type SilenceHandler interface {
	// Silent is called when a silence has lasted that long, and again, with its End, when it is over: when something
	// came, or when the peer ends.
	Silent(Silence)
}

// silenceWatch notices silent sections. Its methods but add and the tracks' are called by the peer's goroutine.
type silenceWatch struct {
	server   *Server
	handler  SilenceHandler // nil when nobody wants to know
	begun    time.Time
	sections []*watchedSection
}

// watchedSection is an accepted section in which the publisher sends.
type watchedSection struct {
	section *section
	silence *Silence // that lasts, and has been told

	mu     sync.Mutex
	tracks []*Track
}

func newSilenceWatch(s *Server, o *offer, h Handler) *silenceWatch {
	w := &silenceWatch{server: s}
	w.handler, _ = h.(SilenceHandler)
	if wrapped, ok := h.(*whipSession); ok {
		w.handler, _ = wrapped.Handler.(SilenceHandler)
	}
	for _, sec := range o.sections {
		if sec.accepted() && sec.sends {
			w.sections = append(w.sections, &watchedSection{section: sec})
		}
	}
	return w
}

// begin is called when the connection stands.
func (w *silenceWatch) begin(now time.Time) { w.begun = now }

// add ties a track to its section.
func (w *silenceWatch) add(t *Track) {
	for _, s := range w.sections {
		if s.section == t.section {
			s.mu.Lock()
			s.tracks = append(s.tracks, t)
			s.mu.Unlock()
		}
	}
}

// last is when something recordable last came, zero when nothing has.
func (s *watchedSection) last() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	var last time.Time
	for _, t := range s.tracks {
		if at := t.lastMedia(); at.After(last) {
			last = at
		}
	}
	return last
}

// look is called from time to time; alive says that the publisher gives signs of life.
func (w *silenceWatch) look(now time.Time, alive bool) {
	for _, s := range w.sections {
		last := s.last()
		start := last
		if last.IsZero() {
			start = w.begun
		}
		switch {
		case s.silence != nil && last.After(s.silence.Start):
			w.over(s, last)
		case s.silence == nil && alive && now.Sub(start) >= w.server.cfg.SectionTimeout:
			s.silence = &Silence{
				Section: s.section.index, Kind: kindOf(s.section.kind()), Start: start, Never: last.IsZero(),
				Reason: "nothing was received from the publisher",
			}
			w.server.silent.Add(1)
			w.tell(*s.silence)
		}
	}
}

// over tells the end of a silence.
func (w *silenceWatch) over(s *watchedSection, at time.Time) {
	silence := *s.silence
	silence.End, s.silence = at, nil
	w.tell(silence)
}

// end is called when the peer has ended.
func (w *silenceWatch) end(now time.Time) {
	for _, s := range w.sections {
		if s.silence != nil {
			w.over(s, now)
		}
	}
}

func (w *silenceWatch) tell(s Silence) {
	if w.handler != nil {
		w.handler.Silent(s)
	}
}
