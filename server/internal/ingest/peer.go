// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/classrec/classrec/server/internal/transport"
)

// Peer is one publisher. Its methods may be called from any goroutine.
type Peer struct {
	sessions []*transport.Session // one for each of the offer's transports
	cfg      *Config
	log      *slog.Logger
	handler  Handler
	offer    *offer
	watch    *silenceWatch

	stop chan struct{} // closed by Stop
	done chan struct{} // closed when run has ended

	stopOnce sync.Once
	readers  sync.WaitGroup // the goroutines of the tracks
}

// newPeer does the offer / answer exchange. On error the peer is half made; its sessions are then to be closed.
func newPeer(s *Server, o *offer, h Handler) (*Peer, string, error) {
	p := &Peer{
		cfg: &s.cfg, log: s.log, handler: h, offer: o, watch: newSilenceWatch(s, o, h),
		stop: make(chan struct{}),
		done: make(chan struct{}),
	}
	for _, sections := range o.transports {
		session, err := s.transport.Open(o.params(sections))
		if err != nil {
			return p, "", err
		}
		p.sessions = append(p.sessions, session)
	}
	answer, err := p.answer(s.transport)
	return p, answer, err
}

// closeSessions closes the connections.
func (p *Peer) closeSessions() {
	for _, s := range p.sessions {
		s.Close()
	}
}

// Refusals lists the sections that the publisher wanted to send in and that were refused, and why. It does not change.
func (p *Peer) Refusals() []Refusal { return p.offer.refusals() }

// AddCandidate takes a candidate that the publisher trickled: the candidate attribute's value with or without "a=" and
// "candidate:" in front. An empty text or "end" is the end of candidates. No candidate is ever used, however many come:
// the publisher's address is the one that its own checks come from. mid and mline are accepted as they come.
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
	if !isCandidate(text) {
		return fmt.Errorf("%w (mid %q, line %d)", ErrBadCandidate, mid, mline)
	}
	return nil
}

// isCandidate checks the form of a candidate attribute (RFC 8839 section 5.1).
func isCandidate(text string) bool {
	f := strings.Fields(text)
	if len(f) < 8 || f[6] != "typ" {
		return false
	}
	for i, bits := range map[int]int{1: 16, 3: 32, 5: 16} { // component, priority, port
		if _, err := strconv.ParseUint(f[i], 10, bits); err != nil {
			return false
		}
	}
	return true
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
	p.Stop()
	p.closeSessions()
	p.readers.Wait()
	p.watch.end(time.Now())
	p.handler.Closed(err)
}

// event is what one of the sessions has to tell.
type event struct {
	session int
	stream  *transport.Stream // a new one
	ended   bool
	err     error
}

// serve returns why the peer ends: nil when it was told to.
func (p *Peer) serve() error {
	events := make(chan event)
	var listeners sync.WaitGroup
	defer listeners.Wait()
	finished := make(chan struct{})
	defer close(finished)
	for i := range p.sessions {
		listeners.Go(func() { p.listen(i, events, finished) })
	}
	ticker := time.NewTicker(p.cfg.SectionTimeout / 5)
	defer ticker.Stop()
	var counts trackCounts
	connected := false
	for {
		select {
		case <-p.stop:
			return nil
		case now := <-ticker.C:
			if connected {
				p.watch.look(now, now.Sub(p.heard()) < p.cfg.SectionTimeout*3/5)
			}
		case e := <-events:
			if e.ended {
				return p.reason(e.err, connected)
			}
			if !connected {
				connected = true
				p.watch.begin(time.Now())
				p.handler.Connected()
			}
			if e.stream == nil {
				continue
			}
			t := newTrack(p, p.offer.transports[e.session][e.stream.Media()], e.stream)
			if !counts.allow(t.layer, p.cfg.MaxTracks) {
				return ErrTooManyTracks
			}
			p.read(t)
		}
	}
}

// heard is when the publisher last gave a sign of life.
func (p *Peer) heard() time.Time {
	var last time.Time
	for _, s := range p.sessions {
		if at := s.Heard(); at.After(last) {
			last = at
		}
	}
	return last
}

// read hands a track to the Handler.
func (p *Peer) read(t *Track) {
	p.watch.add(t)
	p.readers.Go(func() {
		p.handler.Track(t)
		t.end()
	})
}

// listen passes on what a session has to tell, until it ends or the peer does.
func (p *Peer) listen(i int, events chan<- event, finished <-chan struct{}) {
	s := p.sessions[i]
	connected := s.Connected()
	for {
		e := event{session: i}
		select {
		case <-connected:
			connected = nil
		case e.stream = <-s.Streams():
		case <-s.Done():
			e.ended, e.err = true, s.Err()
		case <-finished:
			return
		}
		select {
		case events <- e:
		case <-finished:
			return
		}
		if e.ended {
			return
		}
	}
}

// trackCounts counts the tracks of a peer; the layers of one picture are one.
type trackCounts struct {
	tracks, streams int
	layers          map[string]bool
}

// allow counts one more, and reports whether there may be so many.
func (c *trackCounts) allow(layer string, most int) bool {
	if c.layers == nil {
		c.layers = map[string]bool{}
	}
	if layer == "" || !c.layers[layer] {
		c.tracks++
	}
	c.layers[layer] = true
	c.streams++
	return c.tracks <= most && c.streams <= most*maxLayers
}

// reason is the transport's error as one of this package.
func (p *Peer) reason(err error, connected bool) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, transport.ErrTooManyStreams):
		return ErrTooManyTracks
	case errors.Is(err, transport.ErrPeerClosed):
		if !connected {
			return fmt.Errorf("%w: closed by peer", ErrConnectTimeout)
		}
		return ErrPeerClosed
	case errors.Is(err, transport.ErrConnect):
		return fmt.Errorf("%w: %w", ErrConnectTimeout, err)
	}
	return ErrPeerLost
}
