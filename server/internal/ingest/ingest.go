// SPDX-License-Identifier: Apache-2.0

// Package ingest takes WebRTC publishers in and gives RTP packets out.
//
// A [Server] owns one UDP socket for each local address it listens on, shared by all peers, and a TCP port of the same
// number for publishers whose network has no UDP. [Server.Accept] answers one SDP offer with one complete answer: every
// candidate of ours is inside, so that the publisher needs no trickling from us, and we need none from it: its address
// is learned from its own connectivity checks, and nothing is ever sent to another (ICE-lite, RFC 8445 section 2.5).
// Media arrives as [Track] values at the caller's [Handler]. [Server.WHIP] is the same thing behind HTTP, RFC 9725.
//
// Guaranteed: each peer ends, by [Peer.Close], by the publisher, by a handshake that takes too long or by silence, and
// its Handler hears of it exactly once and last; a malformed offer is [ErrBadOffer] and never a panic; all bounds (peers,
// tracks of a peer, bytes of an offer) are in [Config].
//
// What is lost on the way is asked for again, video and audio, until it has come or [Track.Patience] has passed.
//
// Left to others: who may publish, in which room, and what is done with the packets. Packets are handed over in the order
// of arrival, each once; those that had been lost come late, under their original numbers. Reordering is the reader's.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	"github.com/classrec/classrec/server/internal/transport"
)

// Handler is told what happens to one peer. Calls for one peer come from the peer's own goroutines: Connected first and
// at most once, then Track once for each remote track, each in a goroutine of its own, and Closed exactly once, after
// every Track call has returned. No call may wait for [Peer.Close] of the same peer ([Peer.Stop] is allowed anywhere).
type Handler interface {
	// Connected tells that the secure connection stands. It must not block.
	Connected()
	// Track hands over a new remote track. The call may read it until [io.EOF]; when it returns, whatever still
	// arrives on the track is discarded.
	Track(*Track)
	// Closed tells that the peer is gone. The error is nil after Peer.Close, Peer.Stop or Server.Close, and else
	// [ErrPeerClosed], [ErrPeerLost], [ErrConnectTimeout] or [ErrTooManyTracks] (possibly wrapped).
	Closed(err error)
}

// Preferrer is a [Handler] that would rather have certain codecs than those that the publisher puts first.
type Preferrer interface {
	// PreferredCodecs names codecs ("H264") that go before the publisher's order, where the offer has them. It is called
	// once, before the offer is answered.
	PreferredCodecs() []string
}

// Errors of this package. Those marked (peer) are the reasons given to [Handler.Closed].
var (
	// ErrBadOffer is returned for an offer that cannot be answered: not SDP, too large, or with nothing in it that can be
	// received. Errors that wrap it say why, in words that may be logged and told to the publisher: they hold no
	// credentials.
	ErrBadOffer = errors.New("bad offer")
	// ErrUnsupportedOffer is returned, together with ErrBadOffer, for a well-formed offer of which no section has a codec
	// in common with us. A single such section is refused alone; see [Peer.Refusals].
	ErrUnsupportedOffer = errors.New("no codec in common")
	// ErrBadCandidate is returned by AddCandidate for text that is no candidate.
	ErrBadCandidate = errors.New("bad candidate")
	// ErrTooManyPeers is returned when Config.MaxPeers peers are there already.
	ErrTooManyPeers = errors.New("too many peers")
	// ErrClosed is returned by a Server or Peer that has been closed.
	ErrClosed = errors.New("closed")
	// ErrConnectTimeout (peer): the connection did not come about within Config.ConnectTimeout, or failed to.
	ErrConnectTimeout = errors.New("peer did not connect in time")
	// ErrPeerLost (peer): a connected peer fell silent for Config.SilenceTimeout.
	ErrPeerLost = errors.New("peer lost")
	// ErrTooManyTracks (peer): it sent more streams than Config.MaxTracks, whatever its offer had said.
	ErrTooManyTracks = errors.New("too many tracks")
	// ErrPeerClosed (peer): the publisher closed the connection.
	ErrPeerClosed = errors.New("closed by peer")
)

// Server accepts publishers. It is safe for concurrent use.
type Server struct {
	cfg       Config
	log       *slog.Logger
	transport *transport.Transport
	silent    atomic.Uint64 // silences of sections

	mu      sync.Mutex
	closed  bool
	peers   map[*Peer]struct{}
	wg      sync.WaitGroup // one for each peer's run
	slots   int            // peers and peers being made
	refused uint64         // for want of a slot
}

// New opens the UDP socket and returns a Server that is ready to Accept. Close it to free the socket.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("ingest: %w", err)
	}
	t, err := transport.Listen(transport.Config{
		Listen: cfg.UDPListen, PublicIPs: cfg.PublicIPs, NoTCP: cfg.NoTCP, MaxTCP: cfg.MaxTCP, ReadBufferBytes: cfg.ReadBufferBytes,
		MaxStreams: cfg.MaxTracks*maxLayers + 1, ConnectTimeout: cfg.ConnectTimeout, SilenceTimeout: cfg.SilenceTimeout,
		Logger: cfg.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("ingest: %w", err)
	}
	s := &Server{cfg: cfg, log: cfg.Logger, transport: t, peers: make(map[*Peer]struct{})}
	return s, nil
}

// Addrs returns the local UDP addresses that media is received on.
func (s *Server) Addrs() []net.Addr { return s.transport.Addrs() }

// Accept answers an offer. The answer is complete when it is returned: it contains every candidate of ours, and no
// candidate of the publisher's is needed (those it sends may be given to [Peer.AddCandidate]). ctx bounds Accept only,
// not the life of the peer. h is told everything about the peer, possibly before Accept has returned; when Accept
// returns an error h is never called.
//
// Errors: [ErrBadOffer] (and with it ErrUnsupportedOffer), [ErrTooManyPeers], [ErrClosed], and the context's.
func (s *Server) Accept(ctx context.Context, offerSDP string, h Handler) (*Peer, string, error) {
	var prefer []string
	if pr, ok := h.(Preferrer); ok {
		prefer = pr.PreferredCodecs()
	}
	offer, err := parseOffer(offerSDP, &s.cfg, prefer)
	if err != nil {
		return nil, "", err
	}
	if err := s.reserve(); err != nil {
		return nil, "", err
	}
	p, answer, err := newPeer(s, offer, h)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = s.start(p)
	}
	if err != nil {
		p.Stop()
		p.closeSessions()
		s.release()
		return nil, "", err
	}
	return p, answer, nil
}

// Peers is how many publishers are connected, or connecting.
func (s *Server) Peers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.peers)
}

// Refused is how many peers were refused because there were Config.MaxPeers already.
func (s *Server) Refused() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

// Close closes all peers, waits until every Handler has returned, and frees the sockets. The error is always nil.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.wg.Wait()
		return nil
	}
	s.closed = true
	for p := range s.peers {
		p.Stop()
	}
	s.mu.Unlock()
	s.wg.Wait()
	s.transport.Close()
	return nil
}

// Stats is what a Server has received since it was made.
type Stats struct {
	transport.Stats
	// Silences counts the times that a section gave nothing recordable for Config.SectionTimeout.
	Silences uint64
}

// Stats returns the counts of now.
func (s *Server) Stats() Stats { return Stats{s.transport.Stats(), s.silent.Load()} }

// reserve takes one of the MaxPeers places before anything expensive is done.
func (s *Server) reserve() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("accept: %w", ErrClosed)
	}
	if s.slots >= s.cfg.MaxPeers {
		s.refused++
		return fmt.Errorf("accept: %w (%d)", ErrTooManyPeers, s.cfg.MaxPeers)
	}
	s.slots++
	s.wg.Add(1)
	return nil
}

// release gives the place back.
func (s *Server) release() {
	s.mu.Lock()
	s.slots--
	s.mu.Unlock()
	s.wg.Done()
}

// start sets the peer's goroutine going, in the place taken by reserve.
func (s *Server) start(p *Peer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("accept: %w", ErrClosed)
	}
	s.peers[p] = struct{}{}
	go func() {
		p.run()
		s.mu.Lock()
		delete(s.peers, p)
		s.mu.Unlock()
		s.release()
	}()
	return nil
}
