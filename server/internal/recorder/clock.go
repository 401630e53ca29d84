// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"sync"
	"sync/atomic"
	"time"
)

// One clock for everything. All times below are durations since the recording began, on the server's clock.
//
//	RTP time of a track ──sender reports──▶ the sender's NTP clock ──least delay of arrival──▶ server clock
//
// Sender reports tie a track's RTP clock to its sender's clock, so audio and video of one sender stay together
// whatever their own clocks do. The sender's clock is tied to ours by the packets that came through fastest in
// the last ten seconds, which follows its drift. A track without reports, or whose reports contradict the
// arrival of its packets, is tied to our clock by arrival alone. What a track's frames are stamped with moves
// to a new estimate slowly (2 % of the elapsed time; 25 % in its first two seconds), except when it is wrong by
// more than maxSlewed.
const (
	longWindow  = 10 * time.Second
	shortWindow = time.Second
	// A delay that is larger than the least known one by this much for all of shortWindow is no jitter: the
	// source has paused without advancing its timestamps, or has restarted them.
	sustainedDelay = 300 * time.Millisecond
	// A single packet that is this late is taken at once as a new relation of the clocks.
	impossibleDelay = 10 * time.Second
	maxSlewed       = 200 * time.Millisecond
	slewDivisor     = 50
	// A track that has just begun knows little of the least delay, and moves faster.
	settling        = 2 * time.Second
	settlingDivisor = 4
	// Sender reports that differ from the arrival of the packets by more than this are not believed.
	maxReportError = 5 * time.Second
	// Nor are such that move a track's clock by more than this against the report before.
	maxReportStep = 100 * time.Millisecond
	// A frame may not be stamped later than it came plus this much, nor earlier than it came minus maxBehind.
	maxAhead  = time.Second
	maxBehind = 15 * time.Second
)

// slidingMin keeps the least sample of a window, in two halves.
type slidingMin struct {
	half      time.Duration
	start     time.Duration // of the current half
	cur, prev time.Duration
	hasPrev   bool
	ok        bool
}

func (m *slidingMin) add(at, v time.Duration) {
	switch age := at - m.start; {
	case !m.ok || age >= 2*m.half:
		*m = slidingMin{half: m.half, start: at, cur: v, ok: true}
	case age >= m.half:
		m.prev, m.hasPrev = m.cur, true
		m.start, m.cur = m.start+m.half, v
	case v < m.cur:
		m.cur = v
	}
}

func (m *slidingMin) min() time.Duration {
	if m.hasPrev && m.prev < m.cur {
		return m.prev
	}
	return m.cur
}

// offsetFilter estimates what must be added to a source's clock to get ours. Its samples are arrival minus
// source time: the true offset plus the delay of that packet.
type offsetFilter struct {
	long, short slidingMin
	// steady says that the source's clock does not pause: a delay that lasts is the network's.
	steady bool
}

func newOffsetFilter() offsetFilter {
	return offsetFilter{long: slidingMin{half: longWindow / 2}, short: slidingMin{half: shortWindow / 2}}
}

func (f *offsetFilter) add(arrival, sample time.Duration) {
	if f.long.ok && sample > f.long.min()+impossibleDelay {
		steady := f.steady
		*f = newOffsetFilter()
		f.steady = steady
	}
	f.long.add(arrival, sample)
	f.short.add(arrival, sample)
	if !f.steady && f.short.hasPrev && f.short.min() > f.long.min()+sustainedDelay {
		short := f.short
		*f = newOffsetFilter()
		f.long.add(arrival, short.min())
		f.short = short
	}
}

// senderClock ties the NTP clock of one sender to ours. The tracks of the sender share it.
type senderClock struct {
	newest atomic.Int64 // arrival of the newest packet, in ns

	mu     sync.Mutex
	epoch  time.Time // NTP time of the first report; the sender's clock is counted from here
	filter offsetFilter
}

// arrived notes that a packet of the sender has come.
func (s *senderClock) arrived(at time.Duration) { s.newest.Store(int64(at)) }

// lastPacket is when the newest packet of the sender came, by the recording's clock.
func (s *senderClock) lastPacket() time.Duration { return time.Duration(s.newest.Load()) }

func newSenderClock() *senderClock {
	s := &senderClock{filter: newOffsetFilter()}
	s.filter.steady = true
	return s
}

// since converts an NTP time to the sender's clock. Nonsense is refused: a clock two days off the first report.
func (s *senderClock) since(ntp time.Time) (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch.IsZero() {
		s.epoch = ntp
	}
	d := ntp.Sub(s.epoch)
	return d, d > -48*time.Hour && d < maxDuration
}

func (s *senderClock) add(arrival, sample time.Duration) {
	s.mu.Lock()
	s.filter.add(arrival, sample)
	s.mu.Unlock()
}

func (s *senderClock) offset() (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.filter.long.min(), s.filter.long.ok
}

// trackClock stamps the frames of one RTP stream. Not safe for concurrent use; its Track guards it.
type trackClock struct {
	rate   int64
	sender *senderClock

	started bool
	last    uint32 // newest RTP timestamp
	ext     int64  // the same, unwrapped, counted from the first
	arrival time.Duration

	own      offsetFilter  // RTP time to ours, by arrival
	heard    bool          // there was a report
	reported bool          // and it is believed
	toSender time.Duration // RTP time to the sender's clock, by the last report

	applied   time.Duration // RTP time to ours, as frames are stamped
	slewed    time.Duration // RTP time up to which applied has been moved
	isApplied bool
}

func newTrackClock(rate uint32, sender *senderClock) *trackClock {
	return &trackClock{rate: int64(rate), sender: sender, own: newOffsetFilter()}
}

// restart forgets the RTP clock, as for a new SSRC.
func (c *trackClock) restart() { *c = *newTrackClock(uint32(c.rate), c.sender) }

// unwrap extends ts by its distance to the newest timestamp.
func (c *trackClock) unwrap(ts uint32) int64 {
	if !c.started {
		c.started, c.last, c.ext = true, ts, 0
	}
	return c.ext + int64(int32(ts-c.last))
}

func (c *trackClock) media(ext int64) time.Duration {
	return time.Duration(ext/c.rate)*time.Second + time.Duration(ext%c.rate)*time.Second/time.Duration(c.rate)
}

// observe takes the arrival of a packet with media in it.
func (c *trackClock) observe(ts uint32, arrival time.Duration) {
	ext := c.unwrap(ts)
	if ext > c.ext {
		c.last, c.ext = ts, ext
	} else if c.media(c.ext-ext) > impossibleDelay {
		c.last, c.ext = ts, ext // the source has set its clock back
	}
	c.arrival = arrival
	media := c.media(ext)
	c.own.add(arrival, arrival-media)
	if c.reported {
		c.sender.add(arrival, arrival-media-c.toSender)
	}
}

// report takes a sender report: at ntp on the sender's clock, the RTP clock showed rtp.
func (c *trackClock) report(ntp time.Time, rtp uint32) {
	at, ok := c.sender.since(ntp)
	if !ok {
		c.reported = false
		return
	}
	toSender := at - c.media(c.unwrap(rtp))
	// A report is believed when it agrees with the one before.
	c.reported = c.heard && (toSender-c.toSender).Abs() < maxReportStep
	c.toSender, c.heard = toSender, true
}

func (c *trackClock) target() time.Duration {
	own := c.own.long.min()
	if !c.reported {
		return own
	}
	offset, ok := c.sender.offset()
	if !ok {
		return own
	}
	if t := c.toSender + offset; t > own-maxReportError && t < own+maxReportError {
		return t
	}
	return own
}

// at stamps a frame with the RTP timestamp ts, which observe has seen.
func (c *trackClock) at(ts uint32) time.Duration {
	media := c.media(c.unwrap(ts))
	target := c.target()
	diff := target - c.applied
	if !c.isApplied || diff > maxSlewed || diff < -maxSlewed {
		c.applied, c.isApplied = target, true
	} else {
		step := min(max(media-c.slewed, 0), time.Second)
		if media < settling {
			step /= settlingDivisor
		} else {
			step /= slewDivisor
		}
		c.applied += min(max(diff, -step), step)
	}
	c.slewed = media
	out := media + c.applied
	if out > c.arrival+maxAhead || out < c.arrival-maxBehind {
		out = c.arrival
		c.applied = out - media
	}
	return max(out, 0)
}
