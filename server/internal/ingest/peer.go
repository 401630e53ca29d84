// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
)

// maxCandidates bounds how many trickled candidates of one peer are tried; more are ignored.
const maxCandidates = 64

// Peer is one publisher. Its methods may be called from any goroutine.
type Peer struct {
	pcs     []*webrtc.PeerConnection // one for each of the offer's transports
	cfg     *Config
	log     *slog.Logger
	handler Handler
	offer   *offer

	changed chan struct{} // buffered 1: the connection's state has changed
	tracks  chan *Track   // from pion's goroutines to run
	stop    chan struct{} // closed by Stop
	done    chan struct{} // closed when run has ended

	stopOnce   sync.Once
	candidates atomic.Int32
	readers    sync.WaitGroup // the goroutines of the tracks
}

// newPeer does the offer / answer exchange. On error the peer may be nil or half made; its transports are then to be
// closed.
func newPeer(ctx context.Context, s *Server, o *offer, h Handler) (*Peer, string, error) {
	p := &Peer{
		cfg: &s.cfg, log: s.log, handler: h, offer: o,
		changed: make(chan struct{}, 1),
		tracks:  make(chan *Track),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
	}
	for _, sections := range o.transports {
		pc, err := s.newTransport(p, sections)
		if err != nil {
			return p, "", err
		}
		p.pcs = append(p.pcs, pc)
	}
	answer, err := p.answer(ctx)
	return p, answer, err
}

// newTransport makes the connection for the sections of one transport.
func (s *Server) newTransport(p *Peer, sections []*section) (*webrtc.PeerConnection, error) {
	api, err := s.newAPI(sections)
	if err != nil {
		return nil, err
	}
	pc, err := api.NewPeerConnection(webrtc.Configuration{Certificates: []webrtc.Certificate{s.cert}})
	if err != nil {
		return nil, fmt.Errorf("make peer connection: %w", err)
	}
	pc.OnConnectionStateChange(func(webrtc.PeerConnectionState) {
		select {
		case p.changed <- struct{}{}:
		default: // run has yet to look, and will see the latest state
		}
	})
	pc.OnTrack(func(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		if remote.Codec().MimeType == webrtc.MimeTypeRTX {
			return // retransmissions on an SSRC that the offer does not tie to a track
		}
		section, layer := sectionOf(pc, sections, remote, receiver)
		if section == nil {
			return // nobody negotiated it
		}
		select {
		case p.tracks <- newTrack(p, pc, section, layer, remote, receiver):
		case <-p.stop:
		}
	})
	return pc, nil
}

// sectionOf finds the section that a track came in, and of what picture it is a layer. Streams that the offer does not
// declare are told by their payload type.
func sectionOf(
	pc *webrtc.PeerConnection, sections []*section, remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver,
) (found *section, layer string) {
	for _, tr := range pc.GetTransceivers() {
		if tr.Receiver() != receiver || tr.Mid() == "" {
			continue
		}
		for _, s := range sections {
			if len(s.rids) > 0 && tr.Mid() == s.label {
				return s, s.label
			}
			for i := range max(1, len(s.streams)) {
				if tr.Mid() != s.labelOf(i) {
					continue
				}
				if len(s.streams) > 0 && s.streams[i].layer != "" {
					layer = s.label + " " + s.streams[i].layer
				}
				return s, layer
			}
		}
	}
	for _, s := range sections {
		if s.kind() == remote.Kind().String() && uint8(remote.PayloadType()) == s.chosen[0].pt {
			return s, ""
		}
	}
	return nil, ""
}

// closeTransports closes the connections and waits for what pion runs for them.
func (p *Peer) closeTransports() {
	for _, pc := range p.pcs {
		if err := pc.GracefulClose(); err != nil {
			p.log.Debug("close of a peer connection", "error", err)
		}
	}
}

// Refusals lists the sections that the publisher wanted to send in and that were refused, and why. It does not change.
func (p *Peer) Refusals() []Refusal { return p.offer.refusals() }

// transport returns the connection that a candidate is for: by its mid, by its section's place, or else the first.
func (p *Peer) transport(mid string, mline int) *webrtc.PeerConnection {
	for i, sections := range p.offer.transports {
		for _, s := range sections {
			if mid != "" && s.mid == mid || mid == "" && s.index == mline {
				return p.pcs[i]
			}
		}
	}
	return p.pcs[0]
}

// state is the worst of the transports' states, as far as it decides anything: failed, then closed; and connected as
// soon as one is.
func (p *Peer) state() webrtc.PeerConnectionState {
	state := webrtc.PeerConnectionStateNew
	for _, pc := range p.pcs {
		switch s := pc.ConnectionState(); s {
		case webrtc.PeerConnectionStateFailed:
			return s
		case webrtc.PeerConnectionStateClosed, webrtc.PeerConnectionStateConnected:
			if state != webrtc.PeerConnectionStateClosed {
				state = s
			}
		case webrtc.PeerConnectionStateNew, webrtc.PeerConnectionStateConnecting,
			webrtc.PeerConnectionStateDisconnected, webrtc.PeerConnectionStateUnknown:
		}
	}
	return state
}

// AddCandidate takes a candidate that the publisher trickled: the candidate attribute's value with or without "a=" and
// "candidate:" in front. An empty text or "end" is the end of candidates. mid and mline are accepted as they come (-1
// too): they matter only to a publisher whose sections do not share one transport. Beyond a bound, candidates are ignored; they are a help, not needed.
// Errors: [ErrBadCandidate], [ErrClosed].
func (p *Peer) AddCandidate(candidate, mid string, mline int) error {
	select {
	case <-p.stop:
		return fmt.Errorf("add candidate: %w", ErrClosed)
	default:
	}
	text := strings.TrimSpace(candidate)
	text = strings.TrimPrefix(text, "a=")
	text = strings.TrimPrefix(text, "candidate:")
	if text == "" || text == "end" || text == "end-of-candidates" {
		return nil
	}
	if _, err := ice.UnmarshalCandidate(text); err != nil &&
		!errors.Is(err, ice.ErrUnknownCandidateTyp) && !errors.Is(err, ice.ErrDetermineNetworkType) {
		return fmt.Errorf("%w (mid %q, line %d): %w", ErrBadCandidate, mid, mline, err)
	}
	if p.candidates.Add(1) > maxCandidates {
		return nil
	}
	if err := p.transport(mid, mline).AddICECandidate(webrtc.ICECandidateInit{Candidate: text}); err != nil {
		return fmt.Errorf("%w (mid %q, line %d): %w", ErrBadCandidate, mid, mline, err)
	}
	return nil
}

// Stop asks the peer to close and returns at once. It may be called from anywhere, also from a [Handler].
func (p *Peer) Stop() { p.stopOnce.Do(func() { close(p.stop) }) }

// Done is closed when the peer has ended and its Handler has been told.
func (p *Peer) Done() <-chan struct{} { return p.done }

// Close closes the peer and waits until it has ended and every call of its Handler has returned. It must not be called
// from that Handler. It always returns nil.
func (p *Peer) Close() error {
	p.Stop()
	<-p.done
	return nil
}

// run is the peer's life: it alone calls Connected and Closed, and starts the goroutines of the tracks.
func (p *Peer) run() {
	defer close(p.done)
	err := p.serve()
	p.Stop() // frees a pion goroutine that has a track to hand over
	p.closeTransports()
	p.readers.Wait()
	p.handler.Closed(err)
}

// serve returns why the peer ends: nil when it was told to.
func (p *Peer) serve() error {
	timeout := time.NewTimer(p.cfg.ConnectTimeout)
	defer timeout.Stop()
	connected := false
	tracks, streams, layers := 0, 0, map[string]bool{}
	connect := func() {
		if !connected {
			connected = true
			timeout.Stop()
			p.handler.Connected()
		}
	}
	for {
		select {
		case <-p.stop:
			return nil
		case <-timeout.C:
			return ErrConnectTimeout
		case t := <-p.tracks:
			connect() // media came, so the connection stands, whether or not we have been told
			if seen := t.layer != "" && layers[t.layer]; !seen {
				tracks++
			}
			layers[t.layer] = true
			if streams++; tracks > p.cfg.MaxTracks || streams > p.cfg.MaxTracks*maxLayers {
				return ErrTooManyTracks
			}
			p.readers.Go(t.readReports)
			p.readers.Go(func() {
				p.handler.Track(t)
				t.end()
			})
		case <-p.changed:
			switch state := p.state(); state {
			case webrtc.PeerConnectionStateConnected:
				connect()
			case webrtc.PeerConnectionStateFailed:
				if !connected {
					return fmt.Errorf("%w: connection failed", ErrConnectTimeout)
				}
				return ErrPeerLost
			case webrtc.PeerConnectionStateClosed:
				return ErrPeerClosed
			case webrtc.PeerConnectionStateNew, webrtc.PeerConnectionStateConnecting,
				webrtc.PeerConnectionStateDisconnected, webrtc.PeerConnectionStateUnknown:
				// on the way, or silent and not yet given up
			}
		}
	}
}
