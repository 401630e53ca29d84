// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"io"
	"sync"
	"time"

	"github.com/pion/rtcp"
)

// maxQueue bounds the packets that wait for a stream's reader; newer ones are dropped.
const maxQueue = 2048

// SenderReport is the publisher's statement which of its wall-clock times belongs to which RTP timestamp (RFC 3550
// section 6.4.1).
type SenderReport struct {
	NTP     time.Time // on the publisher's clock, which need not be right
	RTP     uint32
	Arrival time.Time // on ours, with a monotonic reading
}

// ntpTime converts the 64-bit format: seconds since 1900 and a binary fraction (RFC 3550 section 4).
func ntpTime(ntp uint64) time.Time {
	const since1900 = 2208988800
	fraction := ((ntp & 0xffffffff) * uint64(time.Second)) >> 32
	return time.Unix(int64(ntp>>32)-since1900, int64(fraction))
}

// Stream is one stream of RTP packets. Read and Release are for one goroutine; the other methods may be called from any.
type Stream struct {
	session *Session
	media   *Media
	index   int
	ssrc    uint32
	rid     string

	// guarded by the session's mutex
	loss     lossTracker
	reports  chan SenderReport
	lastSR   uint64
	lastSRAt time.Time
	jitter   float64 // in units of the RTP clock (RFC 3550 section 6.4.1)
	transit  int64
	expected int64  // at the last report
	got      uint64 // likewise

	mu      sync.Mutex
	cond    sync.Cond
	queue   []*Packet
	waiting bool
	ended   bool

	batch []*Packet // the reader's
	taken int
}

func newStream(s *Session, index int, ssrc uint32, rid string) *Stream {
	st := &Stream{
		session: s, media: &s.params.Media[index], index: index, ssrc: ssrc, rid: rid, reports: make(chan SenderReport, 1),
	}
	st.cond.L = &st.mu
	return st
}

// Media is the index in Params.Media of the section that the stream belongs to.
func (s *Stream) Media() int { return s.index }

// SSRC of the stream.
func (s *Stream) SSRC() uint32 { return s.ssrc }

// RID is the stream's restriction identifier (RFC 8852), empty where there is none.
func (s *Stream) RID() string { return s.rid }

// Read waits for the next packet, in the order of arrival. Packets of another payload type than the negotiated one, and
// such as bear padding only, come with an empty payload: their numbers are known, so nobody waits for them. The packet
// belongs to the caller, who may give it back by Release. The error is [io.EOF] when the stream has ended, and final.
func (s *Stream) Read() (*Packet, error) {
	if s.taken == len(s.batch) && !s.next() {
		return nil, io.EOF
	}
	p := s.batch[s.taken]
	s.batch[s.taken] = nil
	s.taken++
	return p, nil
}

// next takes all that waits; false when the stream has ended.
func (s *Stream) next() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) == 0 {
		if s.ended {
			return false
		}
		s.waiting = true
		s.cond.Wait()
		s.waiting = false
	}
	s.batch, s.queue, s.taken = s.queue, s.batch[:0], 0
	return true
}

// Release gives back a packet that Read has returned. Nothing of it may be used any more.
func (s *Stream) Release(p *Packet) { s.session.t.give(p) }

// SenderReports gives the publisher's reports; of those that nobody takes, the latest is kept. The channel
// is closed when the stream has ended.
func (s *Stream) SenderReports() <-chan SenderReport { return s.reports }

// Patience is how long a missing packet may still come: as long as it is asked for, and some time for the answer.
func (s *Stream) Patience() time.Duration {
	s.session.mu.Lock()
	defer s.session.mu.Unlock()
	if !s.media.NACK {
		return minReorder + maxReorder
	}
	return s.session.rtt.patience() + s.session.rtt.smooth + 200*time.Millisecond
}

// RoundTrip is the time that an answer of the publisher takes at present.
func (s *Stream) RoundTrip() time.Duration {
	s.session.mu.Lock()
	defer s.session.mu.Unlock()
	return s.session.rtt.smooth
}

// RequestKeyframe asks for a keyframe (PLI, RFC 4585 section 6.3.1). How often is the caller's care.
func (s *Stream) RequestKeyframe() {
	s.session.mu.Lock()
	defer s.session.mu.Unlock()
	s.session.sendRTCP(&rtcp.PictureLossIndication{SenderSSRC: s.session.feedback.ssrc, MediaSSRC: s.ssrc})
}

// push adds a packet; it reports whether there was room.
func (s *Stream) push(p *Packet) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || len(s.queue) >= maxQueue {
		return false
	}
	s.queue = append(s.queue, p)
	return true
}

// wake lets the reader go on.
func (s *Stream) wake() {
	s.mu.Lock()
	waiting := s.waiting
	s.mu.Unlock()
	if waiting {
		s.cond.Signal()
	}
}

// end is called when the session has ended, once, and nothing is received any more.
func (s *Stream) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.cond.Signal()
	close(s.reports)
}
