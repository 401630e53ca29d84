// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtcp"
)

// demuxer is what a goroutine that reads datagrams keeps between them.
type demuxer struct {
	touched []*Stream // whose readers are to be woken
	blocks  [maxRedBlocks]redBlock
}

// flush wakes the readers of the streams that have got something.
func (d *demuxer) flush() {
	for i, st := range d.touched {
		st.wake()
		d.touched[i] = nil
	}
	d.touched = d.touched[:0]
}

func (d *demuxer) touch(st *Stream) {
	for _, known := range d.touched {
		if known == st {
			return
		}
	}
	d.touched = append(d.touched, st)
}

// source is an SSRC that the publisher uses.
type source struct {
	media  int
	repair bool
	// ssrc and rid are those of the stream: of itself, or of the one that is repaired. ssrc is 0 while that is unknown.
	ssrc   uint32
	rid    string
	stream *Stream   // nil until its first packet
	held   []*Packet // retransmissions for a stream that is unknown yet
}

// maxHeld bounds the retransmissions that wait for their stream.
const maxHeld = 64

// declare notes a stream of the offer.
func (s *Session) declare(media int, src Source) {
	if src.SSRC == 0 || len(s.sources) >= maxSources {
		return
	}
	s.sources[src.SSRC] = &source{media: media, ssrc: src.SSRC}
	if src.RTX != 0 {
		s.sources[src.RTX] = &source{media: media, repair: true, ssrc: src.SSRC}
	}
}

// rtp takes an encrypted RTP packet; it reports whether it keeps it.
func (s *Session) rtp(d *demuxer, p *Packet) (taken bool, err error) {
	plain, err := s.in.DecryptRTP(p.buf, p.buf, &p.Header)
	if err != nil {
		s.t.counts.refused.Add(1)
		return false, nil //nolint:nilerr // whoever sent it, it is not the session's publisher's, or it is a double
	}
	p.buf = plain
	s.heard = p.Arrival
	if !p.split() {
		return false, nil
	}
	src := s.sources[p.SSRC]
	if src == nil {
		if src = s.discover(p); src == nil {
			s.t.counts.unknown.Add(1)
			return false, nil
		}
	}
	m := &s.params.Media[src.media]
	s.congestion(m, p)
	if src.repair {
		return s.retransmitted(d, src, m, p)
	}
	return s.deliver(d, src, m, p)
}

// split finds the payload of a decrypted packet.
func (p *Packet) split() bool {
	n := 12 + 4*int(p.buf[0]&15)
	if p.Extension {
		if len(p.buf) < n+4 {
			return false
		}
		n += 4 + 4*int(binary.BigEndian.Uint16(p.buf[n+2:]))
	}
	end := len(p.buf)
	if p.Padding && end > n {
		end -= int(p.buf[end-1])
	}
	if n > len(p.buf) || end < n {
		return false
	}
	p.Payload = p.buf[n:end]
	return true
}

// discover finds out what a new SSRC is (RFC 8843 section 9.2): by its section's MID, by its RID, by its payload type.
// The packet has been authenticated.
func (s *Session) discover(p *Packet) *source {
	if len(s.sources) >= maxSources {
		return nil
	}
	for i := range s.params.Media {
		m := &s.params.Media[i]
		if mid := extension(p, m.MIDExt); mid != "" && mid != m.MID {
			continue
		} else if mid == "" && !s.onlyUser(p.PayloadType, i) {
			continue
		}
		src := &source{media: i, rid: extension(p, m.RIDExt)}
		switch pt := p.PayloadType; {
		case pt == m.PayloadType, pt != 0 && pt == m.RED:
			src.ssrc = p.SSRC
		case pt != 0 && pt == m.RTX:
			src.repair = true
			if rid := extension(p, m.RepairedRIDExt); rid != "" {
				src.rid = rid
			}
		default:
			return nil // nobody negotiated it
		}
		s.sources[p.SSRC] = src
		return src
	}
	return nil
}

// onlyUser reports whether a section is the only one that a payload type can belong to: the only one that has it, or of
// those the only one whose streams are not declared.
func (s *Session) onlyUser(pt uint8, media int) bool {
	users, undeclared, last := 0, 0, -1
	for i := range s.params.Media {
		m := &s.params.Media[i]
		if pt != m.PayloadType && (pt == 0 || pt != m.RTX && pt != m.RED) {
			continue
		}
		users++
		if len(m.Sources) == 0 {
			undeclared, last = undeclared+1, i
		} else if users == 1 {
			last = i
		}
	}
	return last == media && (users == 1 || undeclared == 1)
}

// extension returns a header extension as text.
func extension(p *Packet, id uint8) string {
	if id == 0 || !p.Extension {
		return ""
	}
	return string(p.GetExtension(id))
}

// congestion notes the packet for transport-wide congestion control.
func (s *Session) congestion(m *Media, p *Packet) {
	if m.TWCCExt == 0 || !p.Extension {
		return
	}
	if seq := p.GetExtension(m.TWCCExt); len(seq) >= 2 {
		s.feedback.arrivals.add(p.SSRC, binary.BigEndian.Uint16(seq), p.Arrival.Sub(s.feedback.origin))
	}
}

// deliver takes a packet of a stream under its own number.
func (s *Session) deliver(d *demuxer, src *source, m *Media, p *Packet) (taken bool, err error) {
	st, err := s.streamOf(d, src)
	if st == nil {
		return false, err
	}
	st.measure(p)
	if m.RED != 0 && p.PayloadType == m.RED {
		s.unpack(d, st, m, p)
	} else if p.PayloadType != m.PayloadType {
		p.Payload = nil // its number counts
	}
	return s.put(d, st, p), nil
}

// retransmitted takes a packet in the retransmission format (RFC 4588 section 4), whose payload begins with the number.
func (s *Session) retransmitted(d *demuxer, src *source, m *Media, p *Packet) (taken bool, err error) {
	if p.PayloadType != m.RTX || len(p.Payload) < 2 {
		return false, nil // a probe of the bandwidth
	}
	if src.ssrc == 0 && !s.repairs(src) {
		if len(src.held) >= maxHeld {
			return false, nil
		}
		src.held = append(src.held, p)
		return true, nil
	}
	primary := s.sources[src.ssrc]
	if primary == nil {
		return false, nil
	}
	st, err := s.streamOf(d, primary)
	if st == nil {
		return false, err
	}
	p.SSRC, p.PayloadType = src.ssrc, m.PayloadType
	p.SequenceNumber = binary.BigEndian.Uint16(p.Payload)
	p.Payload = p.Payload[2:]
	return s.put(d, st, p), nil
}

// repairs finds the stream that a source of retransmissions belongs to, when it can be told: the one with its RID, or
// the section's only one.
func (s *Session) repairs(src *source) bool {
	found := uint32(0)
	for ssrc, other := range s.sources {
		if other.media != src.media || other.repair || other.rid != src.rid && src.rid != "" {
			continue
		}
		if found != 0 {
			return false
		}
		found = ssrc
	}
	src.ssrc = found
	return found != 0
}

// streamOf returns the stream of a source, which begins with its first packet. It is nil when there may be no more.
func (s *Session) streamOf(d *demuxer, src *source) (*Stream, error) {
	if src.stream != nil {
		return src.stream, nil
	}
	if len(s.open) >= s.t.cfg.MaxStreams {
		return nil, ErrTooManyStreams
	}
	src.stream = newStream(s, src.media, src.ssrc, src.rid)
	s.open = append(s.open, src.stream)
	s.streams <- src.stream // there is room for all
	for _, other := range s.sources {
		if !other.repair || other.media != src.media || len(other.held) == 0 {
			continue
		}
		held := other.held
		other.held = nil
		for _, p := range held {
			if taken, _ := s.retransmitted(d, other, &s.params.Media[src.media], p); !taken {
				s.t.give(p)
			}
		}
	}
	return src.stream, nil
}

// put queues a packet, unless it is a double.
func (s *Session) put(d *demuxer, st *Stream, p *Packet) (taken bool) {
	switch st.loss.arrived(p.SequenceNumber, p.Arrival, &s.rtt) {
	case doubled:
		return false
	case repaired:
		s.t.counts.repaired.Add(1)
	case fresh:
	}
	if !st.push(p) {
		s.t.counts.overrun.Add(1)
		return false
	}
	s.t.counts.packets.Add(1)
	d.touch(st)
	return true
}

// unpack takes the blocks of a RED packet apart: the primary one becomes the packet's payload, the others take the places
// of packets that are missing.
func (s *Session) unpack(d *demuxer, st *Stream, m *Media, p *Packet) {
	blocks, ok := parseRED(p.Payload, d.blocks[:0])
	if !ok {
		p.Payload = nil
		return
	}
	last := len(blocks) - 1
	if st.loss.started {
		st.loss.expect(p.SequenceNumber, p.Arrival)
		for i, b := range blocks[:last] {
			seq := p.SequenceNumber - uint16(last-i) //nolint:gosec // at most maxRedBlocks
			if b.payloadType != m.PayloadType || len(b.data) == 0 || b.offset == 0 || !st.loss.misses(seq) {
				continue
			}
			c := s.t.take()
			c.Header, c.Arrival = p.Header, p.Arrival
			c.Extension, c.Extensions = false, nil
			c.PayloadType, c.Marker, c.SequenceNumber, c.Timestamp = m.PayloadType, false, seq, p.Timestamp-b.offset
			c.buf = append(c.buf[:0], b.data...)
			c.Payload = c.buf
			if s.put(d, st, c) {
				s.t.counts.fromRED.Add(1)
			} else {
				s.t.give(c)
			}
		}
	}
	p.PayloadType, p.Payload = m.PayloadType, blocks[last].data
	if p.PayloadType != blocks[last].payloadType {
		p.Payload = nil
	}
}

// measure keeps the interarrival jitter (RFC 3550 appendix A.8).
func (s *Stream) measure(p *Packet) {
	rate := int64(s.media.ClockRate)
	if rate == 0 {
		return
	}
	at := p.Arrival.Sub(s.session.feedback.origin)
	transit := int64(at/time.Microsecond)*rate/1e6 - int64(p.Timestamp)
	if s.transit != 0 {
		d := int64(int32(transit - s.transit)) //nolint:gosec // timestamps wrap
		s.jitter += (float64(max(d, -d)) - s.jitter) / 16
	}
	s.transit = transit
}

// rtcp takes an encrypted RTCP packet.
func (s *Session) rtcp(p *Packet) {
	var header rtcp.Header
	plain, err := s.in.DecryptRTCP(nil, p.buf, &header)
	if err != nil {
		s.t.counts.refused.Add(1)
		return
	}
	s.heard = p.Arrival
	packets, err := rtcp.Unmarshal(plain)
	if err != nil {
		return
	}
	for _, packet := range packets {
		sr, ok := packet.(*rtcp.SenderReport)
		if !ok {
			continue
		}
		if src := s.sources[sr.SSRC]; src != nil && !src.repair && src.stream != nil {
			src.stream.report(sr.NTPTime, sr.RTPTime, p.Arrival)
		}
	}
}

// report replaces a report that nobody has taken. Calls are serial.
func (s *Stream) report(ntp uint64, rtp uint32, at time.Time) {
	s.lastSR, s.lastSRAt = ntp, at
	select {
	case <-s.reports:
	default:
	}
	s.reports <- SenderReport{NTP: ntpTime(ntp), RTP: rtp, Arrival: at}
}
