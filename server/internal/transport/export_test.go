// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"net/netip"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

// Sender is a publisher without a handshake: its session has keys from the beginning.
type Sender struct {
	session *Session
	out     *srtp.Context
	demux   demuxer
}

// Keyed gives a session keys.
func Keyed(s *Session) (*Sender, error) {
	key, salt := make([]byte, 16), make([]byte, 12)
	var contexts [3]*srtp.Context
	for i := range contexts {
		var err error
		if contexts[i], err = srtp.CreateContext(key, salt, srtp.ProtectionProfileAeadAes128Gcm, srtp.SRTPReplayProtection(replayWindow)); err != nil {
			return nil, err
		}
	}
	return &Sender{session: s, out: contexts[2]}, s.keyed(contexts[0], contexts[1])
}

// Send has the session receive a packet.
func (s *Sender) Send(p *rtp.Packet, at time.Time) error {
	raw, err := p.Marshal()
	if err != nil {
		return err
	}
	if raw, err = s.out.EncryptRTP(nil, raw, nil); err != nil {
		return err
	}
	c := s.session.t.take()
	c.buf, c.Arrival = append(c.buf[:0], raw...), at
	if !s.session.receive(&s.demux, c, nil) {
		s.session.t.give(c)
	}
	s.demux.flush()
	return nil
}

// Loss is the tracker of a stream without a network.
type Loss struct {
	tracker lossTracker
	rtt     roundTrip
}

// NewLoss returns one that knows the round trip.
func NewLoss(rtt time.Duration) *Loss {
	l := &Loss{rtt: newRoundTrip()}
	l.rtt.add(rtt)
	return l
}

// Arrived notes a packet; it reports whether it is to be delivered.
func (l *Loss) Arrived(seq uint16, at time.Time) bool {
	return l.tracker.arrived(seq, at, &l.rtt) != doubled
}

// Due lists what is asked for.
func (l *Loss) Due(at time.Time) []uint16 { return l.tracker.due(at, &l.rtt, nil) }

// Lost is how many were given up.
func (l *Loss) Lost() uint64 { return l.tracker.lost }

// RoundTrip is the present estimate.
func (l *Loss) RoundTrip() time.Duration { return l.rtt.smooth }

// Patience is how long one is waited for.
func (l *Loss) Patience() time.Duration { return l.rtt.patience() }

// Paths are the addresses that a session may be sent to.
func (s *Session) Paths() (out []netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.paths {
		out = append(out, p.addr)
	}
	return out
}

// ParseRED returns the blocks of a payload.
func ParseRED(payload []byte) (data [][]byte, ok bool) {
	blocks, ok := parseRED(payload, nil)
	for _, b := range blocks {
		data = append(data, b.data)
	}
	return data, ok
}

// Congestion is congestionFeedback without a session.
type Congestion struct{ c congestionFeedback }

// Add notes a packet.
func (c *Congestion) Add(seq uint16, at time.Duration) { c.c.add(1, seq, at) }

// Append returns the next feedback packet, or nothing.
func (c *Congestion) Append() []byte { return c.c.append(nil, 2) }
