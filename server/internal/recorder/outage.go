// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"fmt"
	"time"
)

const (
	// minOutage is the shortest time without media that is told as a gap.
	minOutage = time.Second
	// outageRate is how many packets a second must be missing at least, and outagePackets how many are enough however
	// long it was, since their numbers wrap; with fewer, the source has paused.
	outageRate    = 2
	outagePackets = 500
)

// outage notices that packets of a long time are missing: the network was down, or this process or the machine stood
// still. How long it was is told by the media's own clock, which goes on when ours does not. A source that pauses
// advances its timestamps too, but not its sequence numbers.
type outage struct {
	begun bool
	seq   uint16
	media time.Duration // RTP time, unwrapped
}

// passed looks at the next packet in order. missing is how long the media is that is lost before it; 0 for less than
// minOutage.
func (o *outage) passed(seq uint16, media time.Duration) (missing time.Duration) {
	if o.begun {
		lost := time.Duration(seq-o.seq) - 1
		if d := media - o.media; d >= minOutage && lost >= min(outageRate*d/time.Second, outagePackets) {
			missing = d
		}
	}
	o.begun, o.seq, o.media = true, seq, media
	return missing
}

// tellOutage notes a gap before a packet when media of a long time is missing.
func (t *Track) tellOutage(p packet) {
	media := t.clock.media(t.clock.unwrap(p.ts))
	missing := t.outage.passed(p.seq, media)
	if missing == 0 {
		return
	}
	end := max(media+t.clock.target(), 0)
	t.rec.noteGap(Gap{
		UserID: t.info.UserID, Kind: t.info.Kind, Start: t.rec.opts.Begin.Add(max(end-missing, 0)), End: t.rec.opts.Begin.Add(end),
		Reason: fmt.Sprintf("%v of media did not arrive", missing.Round(100*time.Millisecond)),
	})
}
