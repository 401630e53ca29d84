// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"fmt"
	"time"
)

// Who drops out and comes back has a new session before the old one has ended: the network needs half a minute to notice.
// The new session is to go on in the place of the old one; but two devices of one person, both there, are to have a place
// each. What decides is life: from when the first frame of the new track is to be written, the old session is watched for
// claimTime. If it gives a packet in that time, after claimGrace for those that were on their way, both go on beside each
// other. If it gives none, the new track takes its place. The frames that come meanwhile wait in memory.
//
// An old session that wakes up later gets a place of its own, when it lasts for wakeTime: packets that were stuck
// somewhere make no file.
const (
	claimTime  = time.Second
	claimGrace = 300 * time.Millisecond
	wakeTime   = 2 * time.Second
	// minAbsence is the shortest hole that is told as a gap when somebody comes back.
	minAbsence = 500 * time.Millisecond
	// maxAbsence is the longest, of who has closed the old session or was taken out: who is away for longer has left.
	maxAbsence = 30 * time.Second
)

// claim is what is to be done with a frame of a track.
type claim int

const (
	claimNow   claim = iota // write it
	claimLater              // keep it: it is not decided where it goes
	claimNever              // it is late for a place that has been given away
)

// claim decides about the next frame of a track; last says that there is no later.
func (w *writer) claim(t *Track, last bool) claim {
	if w.slots[t] != nil || t.claimed {
		return claimNow
	}
	now := min(max(w.r.cfg.Now().Sub(w.opts.Begin), 0), maxDuration)
	if t.claiming == 0 {
		t.claiming = max(now, 1)
	}
	waited := now - t.claiming
	if t.replaced {
		switch lives := now-t.sender.lastPacket() < claimTime; {
		case waited < wakeTime && !last:
			return claimLater
		case waited < wakeTime || !lives:
			t.claiming = 0
			return claimNever
		}
		t.replaced, t.claimed = false, true
		return claimNow
	}
	rival := w.rival(t)
	switch {
	case rival == nil:
	case rival.sender.lastPacket() > t.claiming+claimGrace: // it lives
	case waited < claimTime && !last:
		return claimLater
	case rival.sender.lastPacket() > t.claiming-claimGrace: // the recording ends, or it has just stopped
	default:
		rival.replaced, rival.claiming, rival.claimed = true, 0, false
		delete(w.slots, rival)
	}
	t.claimed = true
	return claimNow
}

// rival returns the track that holds the place which t would go on in, if it has not ended.
func (w *writer) rival(t *Track) *Track {
	for _, o := range w.outputs {
		for _, s := range o.slots {
			if s.isOf(t) && s.StreamID != t.info.StreamID && !s.free() && s.owner != t {
				return s.owner
			}
		}
	}
	return nil
}

// goOn gives a slot to another track.
func (w *writer) goOn(o *output, s *slot, f frame) {
	w.absent(o, s, f)
	s.owner, s.StreamID = f.track, f.track.info.StreamID
}

// absent notes for how long there was nothing before the first frame of who comes back.
func (w *writer) absent(o *output, s *slot, f frame) {
	away := f.ts - o.origin - s.media
	if away < minAbsence || away > maxAbsence && (s.owner == nil || !s.owner.replaced) {
		return
	}
	w.gap(Gap{
		UserID: s.UserID, Kind: f.track.info.Kind, Start: w.opts.Begin.Add(o.origin + s.media), End: w.opts.Begin.Add(f.ts),
		Reason: fmt.Sprintf("the publisher was away for %v and came back", away.Round(100*time.Millisecond)),
	})
}
