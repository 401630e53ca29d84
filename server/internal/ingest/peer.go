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
	pc      *webrtc.PeerConnection
	cfg     *Config
	log     *slog.Logger
	handler Handler
	offer   offer

	changed chan struct{} // buffered 1: the connection's state has changed
	tracks  chan *Track   // from pion's goroutines to run
	stop    chan struct{} // closed by Stop
	done    chan struct{} // closed when run has ended

	stopOnce   sync.Once
	candidates atomic.Int32
	readers    sync.WaitGroup // the goroutines of the tracks
}

// newPeer does the offer / answer exchange. On error the peer may be nil or half made; its pc is then to be closed.
func newPeer(ctx context.Context, s *Server, o offer, h Handler) (*Peer, string, error) {
	api, err := s.newAPI()
	if err != nil {
		return nil, "", err
	}
	pc, err := api.NewPeerConnection(webrtc.Configuration{Certificates: []webrtc.Certificate{s.cert}})
	if err != nil {
		return nil, "", fmt.Errorf("make peer connection: %w", err)
	}
	p := &Peer{
		pc: pc, cfg: &s.cfg, log: s.log, handler: h, offer: o,
		changed: make(chan struct{}, 1),
		tracks:  make(chan *Track),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
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
		select {
		case p.tracks <- newTrack(p, remote, receiver):
		case <-p.stop:
		}
	})
	answer, err := p.answer(ctx)
	return p, answer, err
}

// answer applies the offer and makes the complete answer.
func (p *Peer) answer(ctx context.Context) (string, error) {
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: p.offer.text}); err != nil {
		return "", fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	for _, tr := range p.pc.GetTransceivers() {
		if err := oneCodec(tr, p.cfg.VideoCodecs); err != nil {
			return "", err
		}
	}
	answer, err := p.pc.CreateAnswer(nil)
	if err != nil {
		return "", fmt.Errorf("%w: create answer: %w", ErrBadOffer, err)
	}
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(answer); err != nil {
		return "", fmt.Errorf("%w: apply answer: %w", ErrBadOffer, err)
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return "", fmt.Errorf("gather candidates: %w", ctx.Err())
	}
	return p.pc.LocalDescription().SDP, nil
}

// oneCodec narrows what a section is answered with to its best codec and that codec's retransmissions. A publisher told
// of several could change between them in mid-stream, which no recording can follow.
func oneCodec(tr *webrtc.RTPTransceiver, preferred []string) error {
	if d := tr.Direction(); d != webrtc.RTPTransceiverDirectionRecvonly && d != webrtc.RTPTransceiverDirectionSendrecv {
		return nil
	}
	names := []string{"opus"}
	if tr.Kind() == webrtc.RTPCodecTypeVideo {
		names = preferred
	}
	offered := tr.Receiver().GetParameters().Codecs
	for _, name := range names {
		for _, c := range offered {
			if !strings.EqualFold(c.MimeType, tr.Kind().String()+"/"+name) {
				continue
			}
			keep := []webrtc.RTPCodecParameters{c}
			for _, rtx := range offered {
				if rtx.MimeType == webrtc.MimeTypeRTX && rtx.SDPFmtpLine == fmt.Sprintf("apt=%d", c.PayloadType) {
					keep = append(keep, rtx)
				}
			}
			if err := tr.SetCodecPreferences(keep); err != nil {
				return fmt.Errorf("%w: %w", ErrBadOffer, err)
			}
			return nil
		}
	}
	return fmt.Errorf("%w: section %s: %w", ErrBadOffer, tr.Mid(), ErrUnsupportedOffer)
}

// AddCandidate takes a candidate that the publisher trickled: the candidate attribute's value with or without "a=" and
// "candidate:" in front. An empty text or "end" is the end of candidates. mid and mline are accepted as they come (-1
// too): all sections share one transport. Beyond a bound, candidates are ignored; they are a help, not needed.
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
	if err := p.pc.AddICECandidate(webrtc.ICECandidateInit{Candidate: text}); err != nil {
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
	if cerr := p.pc.GracefulClose(); cerr != nil {
		p.log.Debug("close of a peer connection", "error", cerr)
	}
	p.readers.Wait()
	p.handler.Closed(err)
}

// serve returns why the peer ends: nil when it was told to.
func (p *Peer) serve() error {
	timeout := time.NewTimer(p.cfg.ConnectTimeout)
	defer timeout.Stop()
	connected := false
	tracks := 0
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
			if tracks++; tracks > p.cfg.MaxTracks {
				return ErrTooManyTracks
			}
			p.readers.Go(t.readReports)
			p.readers.Go(func() {
				p.handler.Track(t)
				t.end()
			})
		case <-p.changed:
			switch state := p.pc.ConnectionState(); state {
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
