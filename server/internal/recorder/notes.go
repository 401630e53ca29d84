// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"slices"
	"strings"
	"time"
)

// Bounds of what a recording says about itself. They are those of the API.
const (
	maxGaps      = 256
	maxWarnings  = 32
	maxNoteBytes = 256
)

// Gap is a time within a recording for which there is no media of a person.
type Gap struct {
	UserID string    `json:"userId"`         // empty for everybody
	Kind   Kind      `json:"kind,omitempty"` // 0 for sound and picture
	Start  time.Time `json:"start"`          // on the clock of Config.Now
	End    time.Time `json:"end,omitzero"`   // the same; zero while it lasts
	// Reason is a sentence for a reader, at most 256 bytes. It must not hold secrets.
	Reason string `json:"reason"`
}

// notes is what a recording says about itself, besides its files.
type notes struct {
	gaps     []Gap
	warnings []string
	changed  bool // since the manifest was saved
}

// Gap notes a gap. It may be called from any goroutine, and does not wait for the disk. Where a gap of the same user,
// kind, start and reason is noted already, only its End is taken: a gap is noted without End when it begins, and again
// when it has ended. One without End at Stop ends there. A start before the recording's beginning is moved to it. Beyond
// 256 gaps the rest is left out, and a warning says so. After Stop nothing is noted.
func (rec *Recording) Gap(g Gap) {
	rec.mu.Lock()
	stopped := rec.stopped
	rec.mu.Unlock()
	if !stopped {
		rec.noteGap(g)
	}
}

// noteGap notes a gap that was found while the end is being written, too.
func (rec *Recording) noteGap(g Gap) {
	g.Start, g.End, g.Reason = rec.within(g.Start), rec.within(g.End), clipText(oneLine(g.Reason), maxNoteBytes)
	rec.mu.Lock()
	defer rec.mu.Unlock()
	n := &rec.notes
	n.changed = true
	for i := range n.gaps {
		if o := &n.gaps[i]; o.UserID == g.UserID && o.Kind == g.Kind && o.Start.Equal(g.Start) && o.Reason == g.Reason {
			o.End = g.End
			return
		}
	}
	if len(n.gaps) >= maxGaps {
		n.warn("there are more than 256 gaps; only the first are listed")
		return
	}
	n.gaps = append(n.gaps, g)
}

// within is a time on the manifest's clock, not before the recording's beginning. The zero time stays.
func (rec *Recording) within(at time.Time) time.Time {
	switch {
	case at.IsZero():
		return at
	case at.Before(rec.opts.Begin):
		at = rec.opts.Begin
	}
	return at.UTC().Round(0)
}

// Warn notes what is odd about the recording, in a sentence for a reader: at most 256 bytes, without secrets. The same
// sentence is noted once. Beyond 32 warnings the rest is left out. After Stop nothing is noted.
func (rec *Recording) Warn(text string) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if !rec.stopped {
		rec.notes.warn(text)
	}
}

// noteWarning notes what was found while the end is being written, too.
func (rec *Recording) noteWarning(text string) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.notes.warn(text)
}

func (n *notes) warn(text string) {
	text = clipText(oneLine(text), maxNoteBytes)
	if text == "" || len(n.warnings) >= maxWarnings || slices.Contains(n.warnings, text) {
		return
	}
	n.warnings = append(n.warnings, text)
	n.changed = true
}

// takeNotes hands the notes to the manifest; false when nothing is new.
func (rec *Recording) takeNotes() bool {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if !rec.notes.changed {
		return false
	}
	rec.notes.changed = false
	m := rec.writer.manifest
	m.Gaps, m.Warnings = slices.Clone(rec.notes.gaps), slices.Clone(rec.notes.warnings)
	return true
}

// closeGaps lets the gaps that last end now.
func (n *notes) closeGaps(now time.Time) {
	for i := range n.gaps {
		if g := &n.gaps[i]; g.End.IsZero() {
			g.End, n.changed = now.UTC().Round(0), true
		}
	}
}

// Notes returns the gaps, in order of their start, and the warnings of the recording in dir, whether it is finished or
// not. ErrNoManifest when there is none. After a crash a gap may be without End: it lasts to the recording's end.
func Notes(dir string) (gaps []Gap, warnings []string, err error) {
	m, err := loadManifest(dir)
	if err != nil {
		return nil, nil, err
	}
	slices.SortStableFunc(m.Gaps, func(a, b Gap) int { return a.Start.Compare(b.Start) })
	return m.Gaps, m.Warnings, nil
}

// clipText cuts valid UTF-8 to n bytes, between characters, and marks the cut with an ellipsis.
func clipText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const ellipsis = "…"
	return strings.ToValidUTF8(s[:n-len(ellipsis)], "") + ellipsis
}
