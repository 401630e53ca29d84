// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"fmt"
	"time"
)

// maxKeyframeAge is how long a picture may go on without a keyframe, although keyframes are asked for, before it is told.
const maxKeyframeAge = time.Minute

// starvation is what is known of a picture whose publisher sends no keyframes.
type starvation struct {
	since time.Duration // nothing is recorded since; told when open
	open  bool          // a gap is noted that has no end yet
	told  bool          // that there are no keyframes to seek to
}

// watchKeyframes tells of a picture that cannot be recorded for want of a keyframe, and of one in which nobody can seek.
// The track's mutex is held.
func (t *Track) watchKeyframes(now time.Duration) {
	if t.depacketizer == nil || !t.begun || now-t.clock.arrival > time.Second || t.layers != nil && !t.layers.recorded(t) {
		return
	}
	s := &t.starved
	switch {
	case t.waitKey && !s.open && now-t.waitSince >= maxFreeze:
		s.open, s.since = true, t.waitSince
		t.rec.r.counts.keyless.Add(1)
		t.rec.opts.Logger.Warn("recording: picture cannot be decoded, no keyframe comes", "user", t.info.UserID, "codec", t.codec)
		t.noteStarved(0)
	case !t.waitKey && !s.told && now-t.lastKey >= maxKeyframeAge:
		s.told = true
		t.rec.r.counts.keyless.Add(1)
		t.rec.opts.Logger.Warn("recording: publisher sends no keyframes", "user", t.info.UserID, "codec", t.codec)
		t.rec.Warn(fmt.Sprintf("The picture of %s has no keyframes for long times: one cannot seek in it.", t.info.UserID))
	}
}

// fed notes that the picture is recorded again.
func (t *Track) fed(now time.Duration) {
	if t.starved.open {
		t.starved.open = false
		t.noteStarved(now)
	}
}

// noteStarved notes the gap; until is 0 while it lasts.
func (t *Track) noteStarved(until time.Duration) {
	g := Gap{UserID: t.info.UserID, Kind: Video, Start: t.rec.opts.Begin.Add(t.starved.since), Reason: "no keyframe came"}
	if until > 0 {
		g.End = t.rec.opts.Begin.Add(until)
	}
	t.rec.Gap(g)
}

// recorded reports whether the track is the layer that is recorded, or none is yet.
func (g *layers) recorded(t *Track) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.chosen == nil || g.chosen.track == t
}
