// SPDX-License-Identifier: Apache-2.0

// Package publisher is a synthetic WebRTC publisher: it plays a short clip in a loop, at real speed, to any server that
// answers an SDP offer. The demo, the tests and the benchmarks use it in place of a person with a camera.
//
// Audio and video are played on one clock, so beeps and clock in the picture stay together for as long as it runs. A
// keyframe request (PLI or FIR) moves the whole clip, audio and video alike, back to the last keyframe of the video.
//
// Signaling is the caller's: [Publish] is given an [Exchange], [PublishWHIP] speaks RFC 9725. Nothing of what is sent is
// encoded here: a [clips.Clip] is a list of ready frames.
package publisher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/classrec/classrec/server/internal/clips"
)

// Exchange takes an SDP offer to the server and brings back its answer.
type Exchange func(ctx context.Context, offerSDP string) (answerSDP string, err error)

// Candidate is one ICE candidate to be trickled. Text is empty at the end of candidates.
type Candidate struct {
	Text  string // "candidate:…"
	Mid   string
	MLine int
}

// Config of a publisher. At least one of Video and Audio is required; the rest has working defaults.
type Config struct {
	Video, Audio *clips.Clip
	// Trickle, when set, is given each candidate after the exchange, and the offer contains none. Calls are serial.
	Trickle func(ctx context.Context, c Candidate) error
	// Loss, when set, is asked for every RTP packet just before the network; true loses it. Calls are serial for each
	// kind of track, but those for audio and video may be at the same time.
	Loss func(Packet) bool
	// ExtraStreams sends the video that many times more, on SSRCs that the offer does not speak of, as a publisher out
	// of order might.
	ExtraStreams int
	// OnKeyframeRequest, when set, is told of each request that arrives. It must not block.
	OnKeyframeRequest func()
	// IgnoreKeyframeRequests leaves requests for keyframes unanswered, as some encoders do: the next one comes when the clip
	// has it. OnKeyframeRequest is told all the same.
	IgnoreKeyframeRequests bool
	// StreamID is the msid of both tracks. Default "publisher".
	StreamID string
	// ConnectTimeout bounds the time from the answer to a connection. Default 15 s.
	ConnectTimeout time.Duration
	// Logger; nil = discard.
	Logger *slog.Logger
}

// Kind of a track.
type Kind int

// The kinds of tracks.
const (
	Audio Kind = iota + 1
	Video
)

// Packet describes one RTP packet to Config.Loss.
type Packet struct {
	Kind           Kind
	SequenceNumber uint16
	Timestamp      uint32
	Resent         bool // sent again on the server's request (NACK), in the numbers of the first time
}

// Errors of this package.
var (
	// ErrNoMedia is returned when there is neither video nor audio to send.
	ErrNoMedia = errors.New("no clip to publish")
	// ErrDisconnected is the reason when the server went away or never connected.
	ErrDisconnected = errors.New("disconnected")
)

// Publisher plays. It is safe for concurrent use.
type Publisher struct {
	cfg Config
	pc  *webrtc.PeerConnection

	commands chan func(*player) // to the player's goroutine
	stop     chan struct{}      // closed by Close
	done     chan struct{}      // closed when everything has ended
	failed   chan struct{}      // closed when the connection has failed
	up       chan struct{}      // closed when the connection stands

	stopOnce, failOnce, upOnce sync.Once
	playing                    sync.WaitGroup // the player
	feedback                   sync.WaitGroup // the readers of RTCP, which end with the connection
	sent                       counters
	bye                        func(context.Context) error // WHIP DELETE, or nil
}

// Publish offers the clip by way of exchange, waits until the connection stands, and plays until Close. ctx bounds the
// setup only.
func Publish(ctx context.Context, cfg Config, exchange Exchange) (*Publisher, error) {
	if cfg.Video == nil && cfg.Audio == nil {
		return nil, ErrNoMedia
	}
	if cfg.StreamID == "" {
		cfg.StreamID = "publisher"
	}
	if cfg.ConnectTimeout <= 0 {
		cfg.ConnectTimeout = 15 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Publisher{
		cfg:      cfg,
		commands: make(chan func(*player)),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
		failed:   make(chan struct{}),
		up:       make(chan struct{}),
	}
	if err := p.connect(ctx, exchange); err != nil {
		_ = p.Close() // the error that ended it is the one to tell
		return nil, err
	}
	return p, nil
}

// connect makes the connection and starts the player.
func (p *Publisher) connect(ctx context.Context, exchange Exchange) (err error) {
	api, err := p.newAPI()
	if err != nil {
		return err
	}
	if p.pc, err = api.NewPeerConnection(webrtc.Configuration{}); err != nil {
		return fmt.Errorf("make peer connection: %w", err)
	}
	p.pc.OnConnectionStateChange(p.stateChanged)
	pl, err := p.newPlayer() //nolint:contextcheck // it plays until Close; ctx bounds the setup alone
	if err != nil {
		return err
	}
	if err := p.negotiate(ctx, exchange); err != nil {
		return err
	}
	timeout, cancel := context.WithTimeoutCause(ctx, p.cfg.ConnectTimeout, errors.New("no connection in time"))
	defer cancel()
	select {
	case <-p.up:
	case <-p.failed:
		return fmt.Errorf("connect: %w", ErrDisconnected)
	case <-timeout.Done():
		return fmt.Errorf("connect: %w: %w", ErrDisconnected, context.Cause(timeout))
	}
	p.playing.Go(func() { pl.run(p.commands, p.stop, p.failed) })
	return nil
}

// negotiate exchanges offer and answer.
func (p *Publisher) negotiate(ctx context.Context, exchange Exchange) error {
	candidates := make(chan *webrtc.ICECandidate, 64) // all of a machine's addresses, then nil
	p.pc.OnICECandidate(func(c *webrtc.ICECandidate) {
		select {
		case candidates <- c:
		case <-p.stop:
		}
	})
	offer, err := p.pc.CreateOffer(nil)
	if err != nil {
		return fmt.Errorf("create offer: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(offer); err != nil {
		return fmt.Errorf("apply offer: %w", err)
	}
	text := offer.SDP
	if p.cfg.Trickle == nil {
		select {
		case <-gathered:
		case <-ctx.Done():
			return fmt.Errorf("gather candidates: %w", ctx.Err())
		}
		text = p.pc.LocalDescription().SDP
	}
	answer, err := exchange(ctx, text)
	if err != nil {
		return fmt.Errorf("exchange offer: %w", err)
	}
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		return fmt.Errorf("apply answer: %w", err)
	}
	if p.cfg.Trickle == nil {
		return nil
	}
	for {
		select {
		case c := <-candidates:
			if c == nil {
				return p.trickle(ctx, Candidate{})
			}
			init := c.ToJSON()
			out := Candidate{Text: init.Candidate}
			if init.SDPMid != nil {
				out.Mid = *init.SDPMid
			}
			if init.SDPMLineIndex != nil {
				out.MLine = int(*init.SDPMLineIndex)
			}
			if err := p.trickle(ctx, out); err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("gather candidates: %w", ctx.Err())
		}
	}
}

func (p *Publisher) trickle(ctx context.Context, c Candidate) error {
	if err := p.cfg.Trickle(ctx, c); err != nil {
		return fmt.Errorf("send candidate: %w", err)
	}
	return nil
}

// stateChanged is called by pion.
func (p *Publisher) stateChanged(s webrtc.PeerConnectionState) {
	switch s {
	case webrtc.PeerConnectionStateConnected:
		p.upOnce.Do(func() { close(p.up) })
	case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
		p.failOnce.Do(func() { close(p.failed) })
	case webrtc.PeerConnectionStateNew, webrtc.PeerConnectionStateConnecting,
		webrtc.PeerConnectionStateDisconnected, webrtc.PeerConnectionStateUnknown:
	}
}

// Failed is closed when the connection has ended, by the server or by Close. The publisher is still to be closed.
func (p *Publisher) Failed() <-chan struct{} { return p.failed }

// Close ends playing: it says good-bye (DELETE, after PublishWHIP), closes the connection and waits until all goroutines
// have ended. The error is that of the good-bye. Further calls do nothing.
func (p *Publisher) Close() error {
	first := false
	p.stopOnce.Do(func() { first = true; close(p.stop) })
	if !first {
		<-p.done
		return nil
	}
	defer close(p.done)
	p.playing.Wait() // nothing is written any more
	var err error
	if p.bye != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err = p.bye(ctx)
	}
	if p.pc != nil {
		if cerr := p.pc.GracefulClose(); cerr != nil {
			p.cfg.Logger.Debug("close of a peer connection", "error", cerr)
		}
	}
	p.feedback.Wait()
	return err
}
