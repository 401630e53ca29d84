// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/srtp/v3"
)

// Params are what offer and answer have agreed on for one transport.
type Params struct {
	// Fingerprints of the publisher's certificate, "sha-256 AB:CD:…"; one of them has to match.
	Fingerprints []string
	// Active is set when we begin the DTLS handshake (a=setup:active in the answer, RFC 8842 section 5.3).
	Active bool
	Media  []Media
}

// Media is one accepted section.
type Media struct {
	MID       string
	ClockRate uint32
	// Payload types (0 to 127); RTX and RED are 0 when they are not negotiated.
	PayloadType, RTX, RED uint8
	// NACK is set when lost packets may be asked for.
	NACK bool
	// Identifiers of header extensions (RFC 8285), 0 for those that are not negotiated.
	MIDExt, RIDExt, RepairedRIDExt, TWCCExt uint8
	// Sources are the SSRCs that the offer declares. Others are found by MID, RID or payload type (RFC 8843 section 9.2).
	Sources []Source
}

// Source is one declared stream.
type Source struct {
	SSRC uint32
	RTX  uint32 // the SSRC of its retransmissions (a=ssrc-group:FID), or 0
}

const (
	// maxPaths bounds the addresses that one publisher may send from.
	maxPaths = 16
	// maxEarly bounds the packets that are kept until the keys are there: a lost datagram of the handshake delays them.
	maxEarly = 512
	// maxSources bounds the SSRCs that one session may use, media and retransmissions.
	maxSources = 64
	// feedbackEvery is the shortest time between two RTCP packets, congestionEvery and reportEvery the times between
	// those for congestion control and reception reports.
	feedbackEvery   = 10 * time.Millisecond
	congestionEvery = 100 * time.Millisecond
	reportEvery     = time.Second
)

// Session is one publisher's transport. Its methods may be called from any goroutine.
type Session struct {
	t          *Transport
	params     Params
	ufrag, pwd string
	connected  chan struct{} // closed when keys are there
	done       chan struct{} // closed when the session has ended
	streams    chan *Stream  // new ones, buffered for as many as there may be
	dtls       *dtlsPipe
	securing   sync.WaitGroup

	mu       sync.Mutex
	err      error
	ended    bool
	begun    time.Time
	heard    time.Time
	paths    []*path
	selected *path
	in, out  *srtp.Context
	early    []*Packet
	sources  map[uint32]*source
	open     []*Stream
	rtt      roundTrip
	feedback feedback
}

// feedback is what is to be sent, and when it was.
type feedback struct {
	ssrc       uint32 // ours
	next       time.Time
	reported   time.Time
	congestion time.Time
	arrivals   congestionFeedback
	origin     time.Time // of its times
	packets    []rtcp.Packet
	raw        []byte
	encrypted  []byte
}

// Open makes a session that waits for its publisher. It ends by Close, by the publisher, or by a timeout; who opened it
// reads Streams until Done is closed.
func (t *Transport) Open(p Params) (*Session, error) {
	now := time.Now()
	s := &Session{
		t: t, params: p, ufrag: rand.Text()[:8], pwd: rand.Text(),
		connected: make(chan struct{}), done: make(chan struct{}), streams: make(chan *Stream, t.cfg.MaxStreams),
		dtls: newDTLSPipe(), begun: now, heard: now, sources: map[uint32]*source{}, rtt: newRoundTrip(),
	}
	s.dtls.send = s.write
	var seed [4]byte
	_, _ = rand.Read(seed[:]) // it never fails
	s.feedback.ssrc, s.feedback.origin = binary.BigEndian.Uint32(seed[:]), now
	for i := range p.Media {
		m := &p.Media[i]
		for _, src := range m.Sources {
			s.declare(i, src)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, ErrClosed
	}
	t.sessions[s.ufrag] = s
	return s, nil
}

// Ufrag and Pwd are our ICE credentials for the answer.
func (s *Session) Ufrag() string { return s.ufrag }

// Pwd is the password that belongs to Ufrag.
func (s *Session) Pwd() string { return s.pwd }

// Connected is closed when the secure connection stands.
func (s *Session) Connected() <-chan struct{} { return s.connected }

// Streams gives each new stream, and is never closed.
func (s *Session) Streams() <-chan *Stream { return s.streams }

// Done is closed when the session has ended; its streams end with it.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err says why the session has ended: nil after Close, else [ErrConnect], [ErrSilence], [ErrTooManyStreams] or
// [ErrPeerClosed], possibly wrapped.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Heard is when the publisher last gave a sign of life: media, reports, or a connectivity check.
func (s *Session) Heard() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard
}

// Close ends the session and waits for its goroutines.
func (s *Session) Close() {
	s.end(nil)
	s.securing.Wait()
}

// end ends the session, once.
func (s *Session) end(err error) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.ended, s.err = true, err
	streams, early := s.open, s.early
	s.early = nil
	s.mu.Unlock()
	s.t.forget(s)
	for _, p := range early {
		s.t.give(p)
	}
	for _, st := range streams {
		st.end()
	}
	close(s.done)
}

// poll is called every tickEvery.
func (s *Session) poll(now time.Time) {
	s.mu.Lock()
	secure, heard, begun := s.in != nil, s.heard, s.begun
	if secure && !s.ended {
		s.tick(now)
	}
	s.mu.Unlock()
	switch {
	case !secure && now.Sub(begun) >= s.t.cfg.ConnectTimeout:
		s.end(ErrConnect)
	case secure && now.Sub(heard) >= s.t.cfg.SilenceTimeout:
		s.end(ErrSilence)
	}
}

// checked is told of an authenticated connectivity check. The first one starts the handshake.
func (s *Session) checked(p *path, nominated bool, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.heard = now
	known := s.knownPath(p)
	if known == nil {
		s.addPath(p)
		known = p
	}
	if nominated || s.selected == nil {
		s.selected = known
	}
	if len(s.paths) == 1 && !s.dtls.started {
		s.dtls.started = true
		s.securing.Go(s.secure)
	}
}

func (s *Session) knownPath(p *path) *path {
	for _, known := range s.paths {
		if known.same(p) {
			return known
		}
	}
	return nil
}

// addPath takes an address that the publisher sends from, in place of an old one when there are many.
func (s *Session) addPath(p *path) {
	if len(s.paths) >= maxPaths {
		old := s.paths[0]
		if old == s.selected {
			old = s.paths[1]
		}
		s.dropPath(old)
	}
	s.paths = append(s.paths, p)
	if p.tcp != nil {
		p.tcp.own(s)
	} else {
		p.socket.learn(p, s)
	}
}

func (s *Session) dropPath(p *path) {
	for i, known := range s.paths {
		if !known.same(p) {
			continue
		}
		s.paths = append(s.paths[:i:i], s.paths[i+1:]...)
		if p.socket != nil {
			p.socket.unlearn(p.addr, s)
		}
		if known == s.selected && len(s.paths) > 0 {
			s.selected = s.paths[len(s.paths)-1]
		}
		return
	}
}

// lostPath is told that a TCP connection has ended.
func (s *Session) lostPath(p *path) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropPath(p)
}

// write sends a datagram to the publisher.
func (s *Session) write(data []byte) error {
	s.mu.Lock()
	p := s.selected
	s.mu.Unlock()
	if p == nil {
		return nil
	}
	return p.write(data)
}

// receive takes a datagram from one of the publisher's addresses; it reports whether it keeps the packet.
func (s *Session) receive(d *demuxer, p *Packet, _ *path) (taken bool) {
	switch {
	case isDTLS(p.buf):
		s.mu.Lock()
		s.heard = p.Arrival
		s.mu.Unlock()
		s.dtls.push(p.buf)
		return false
	case !isMedia(p.buf):
		return false
	}
	s.mu.Lock()
	taken, err := s.media(d, p)
	s.mu.Unlock()
	if err != nil {
		s.end(err)
	}
	return taken
}

// media takes an SRTP or SRTCP packet.
func (s *Session) media(d *demuxer, p *Packet) (taken bool, err error) {
	if s.ended {
		return false, nil
	}
	if s.in == nil {
		if len(s.early) >= maxEarly {
			return false, nil
		}
		s.early = append(s.early, p)
		return true, nil
	}
	if isRTCP(p.buf) {
		s.rtcp(p)
	} else {
		taken, err = s.rtp(d, p)
	}
	s.tick(p.Arrival)
	return taken, err
}

// keyed is called with the keys of the two directions: what came early is taken now.
func (s *Session) keyed(in, out *srtp.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil
	}
	s.in, s.out = in, out
	s.heard = time.Now()
	close(s.connected)
	early := s.early
	s.early = nil
	var d demuxer
	defer d.flush()
	for _, p := range early {
		taken, err := s.media(&d, p)
		if !taken {
			s.t.give(p)
		}
		if err != nil {
			return fmt.Errorf("early media: %w", err)
		}
	}
	return nil
}
