// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtcp"
)

// maxNacks bounds the numbers in one packet; the rest goes into the next.
const maxNacks = 256

// tick sends the feedback that is due. The mutex is held.
func (s *Session) tick(now time.Time) {
	f := &s.feedback
	if now.Before(f.next) || s.out == nil || s.ended {
		return
	}
	f.next = now.Add(feedbackEvery)
	packets := f.packets[:0]
	if now.Sub(f.reported) >= reportEvery && len(s.open) > 0 {
		f.reported = now
		packets = append(packets, s.receiverReport(now))
	}
	for _, st := range s.open {
		packets = st.nacks(now, packets)
	}
	f.packets = packets[:0]
	congestion := len(f.arrivals.arrivals) > 0 && now.Sub(f.congestion) >= congestionEvery
	if !congestion && len(packets) == 0 {
		return
	}
	f.raw = f.raw[:0]
	if err := s.compound(packets); err != nil {
		s.t.log.Debug("feedback not sent", "error", err)
		return
	}
	if congestion {
		f.congestion = now
		f.raw = f.arrivals.append(f.raw, f.ssrc)
	}
	s.sendRaw()
}

// nacks adds what is to be asked for.
func (s *Stream) nacks(now time.Time, packets []rtcp.Packet) []rtcp.Packet {
	if len(s.loss.missing) == 0 {
		return packets
	}
	t := s.session.t
	var ask []uint16
	if s.media.NACK {
		var numbers [maxNacks]uint16
		ask = s.loss.due(now, &s.session.rtt, numbers[:0])
	} else {
		s.loss.expire(now)
	}
	if s.loss.lost > 0 {
		t.counts.lost.Add(s.loss.lost)
		s.loss.lost = 0
	}
	t.counts.requested.Add(uint64(len(ask)))
	for len(ask) > 0 {
		n := min(len(ask), maxNacks)
		packets = append(packets, &rtcp.TransportLayerNack{
			SenderSSRC: s.session.feedback.ssrc, MediaSSRC: s.ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(ask[:n]),
		})
		ask = ask[n:]
	}
	return packets
}

// receiverReport is about all streams (RFC 3550 section 6.4.2).
func (s *Session) receiverReport(now time.Time) *rtcp.ReceiverReport {
	rr := &rtcp.ReceiverReport{SSRC: s.feedback.ssrc}
	for _, st := range s.open[:min(len(s.open), 31)] {
		rr.Reports = append(rr.Reports, st.reception(now))
	}
	return rr
}

// reception is the report on one stream.
func (s *Stream) reception(now time.Time) rtcp.ReceptionReport {
	l := &s.loss
	expected := l.next - l.first
	r := rtcp.ReceptionReport{
		SSRC:               s.ssrc,
		LastSequenceNumber: uint32(l.next - 1 - 1<<16), //nolint:gosec // cycles and number, modulo 2^32
		Jitter:             uint32(s.jitter),
		TotalLost:          uint32(min(max(expected-int64(l.received), 0), 1<<23-1)), //nolint:gosec // within range
	}
	since, got := expected-s.expected, int64(l.received-s.got) //nolint:gosec // counts of one second
	if lost := since - got; since > 0 && lost > 0 {
		r.FractionLost = uint8(min(lost*256/since, 255)) //nolint:gosec // within range
	}
	s.expected, s.got = expected, l.received
	if !s.lastSRAt.IsZero() {
		r.LastSenderReport = uint32(s.lastSR >> 16)                 //nolint:gosec // the middle 32 bits
		r.Delay = uint32(now.Sub(s.lastSRAt) * 65536 / time.Second) //nolint:gosec // within a day
	}
	return r
}

// compound puts packets together, after a reception report, which may be empty (RFC 3550 section 6.1).
func (s *Session) compound(packets []rtcp.Packet) error {
	f := &s.feedback
	if len(packets) == 0 || !isReport(packets[0]) {
		f.raw = append(f.raw, 0x80, 201, 0, 1)
		f.raw = binary.BigEndian.AppendUint32(f.raw, f.ssrc)
	}
	for _, p := range packets {
		raw, err := p.Marshal()
		if err != nil {
			return err
		}
		f.raw = append(f.raw, raw...)
	}
	return nil
}

func isReport(p rtcp.Packet) bool {
	_, ok := p.(*rtcp.ReceiverReport)
	return ok
}

// sendRTCP sends a packet. The mutex is held.
func (s *Session) sendRTCP(packet rtcp.Packet) {
	s.feedback.raw = s.feedback.raw[:0]
	if err := s.compound([]rtcp.Packet{packet}); err != nil {
		s.t.log.Debug("feedback not sent", "error", err)
		return
	}
	s.sendRaw()
}

// sendRaw encrypts and sends what has been put together. The mutex is held.
func (s *Session) sendRaw() {
	if s.out == nil || s.ended || s.selected == nil {
		return
	}
	encrypted, err := s.out.EncryptRTCP(s.feedback.encrypted[:0], s.feedback.raw, nil)
	if err != nil {
		s.t.log.Debug("feedback not sent", "error", err)
		return
	}
	s.feedback.encrypted = encrypted
	if err := s.selected.write(encrypted); err != nil {
		s.t.log.Debug("feedback not sent", "error", err)
	}
}
