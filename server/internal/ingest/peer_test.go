// SPDX-License-Identifier: Apache-2.0

package ingest_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/impair"
	"github.com/classrec/classrec/server/internal/ingest"
	"github.com/classrec/classrec/server/internal/publisher"
)

// publish starts a publisher of the teacher's clip into s, closed at the end of the test.
func publish(t testing.TB, s *ingest.Server, h ingest.Handler, cfg publisher.Config) (*publisher.Publisher, *ingest.Peer) {
	t.Helper()
	if cfg.Video == nil && cfg.Audio == nil {
		cfg.Video, cfg.Audio = mustClip(t, clips.TeacherVideo), mustClip(t, clips.TeacherAudio)
	}
	var peer *ingest.Peer
	pub, err := publisher.Publish(t.Context(), cfg, exchange(s, h, &peer))
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	t.Cleanup(func() { _ = pub.Close() })
	return pub, peer
}

// waitTrack returns the next track of a kind.
func waitTrack(t testing.TB, h *sink, kind ingest.Kind) *ingest.Track {
	t.Helper()
	for {
		if tr := receive(t, h.tracks, kind.String()+" track"); tr.Kind() == kind {
			return tr
		}
	}
}

func TestPeer_CloseByUs(t *testing.T) {
	t.Parallel()
	s := newServer(t, ingest.Config{})
	h := newSink()
	pub, peer := publish(t, s, h, publisher.Config{})
	receive(t, h.packets, "packet")
	if err := peer.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-h.closed: // it must be there by now
		if err != nil {
			t.Errorf("closed with %v, want nil", err)
		}
	default:
		t.Error("Close has returned before the Handler was told")
	}
	receive(t, peer.Done(), "end")
	receive(t, pub.Failed(), "publisher's end")
	_ = peer.Close() // again: nothing
	select {
	case err := <-h.closed:
		t.Errorf("closed twice, with %v", err)
	default:
	}
}

func TestServer_CloseEndsPeers(t *testing.T) {
	t.Parallel()
	s := newServer(t, ingest.Config{})
	h := newSink()
	publish(t, s, h, publisher.Config{})
	receive(t, h.packets, "packet")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, h.closed, "close"); err != nil {
		t.Errorf("closed with %v, want nil", err)
	}
	if _, _, err := s.Accept(t.Context(), browserOffer, newSink()); !errors.Is(err, ingest.ErrClosed) {
		t.Errorf("accept after close: %v", err)
	}
}

func TestPeer_NeverConnects(t *testing.T) {
	t.Parallel()
	s := newServer(t, ingest.Config{ConnectTimeout: 100 * time.Millisecond})
	h := newSink()
	_, _, err := s.Accept(t.Context(), browserOffer, h)
	if err != nil {
		t.Fatal(err)
	}
	if err := receive(t, h.closed, "close"); !errors.Is(err, ingest.ErrConnectTimeout) {
		t.Errorf("closed with %v, want ErrConnectTimeout", err)
	}
	select {
	case <-h.connected:
		t.Error("connected")
	default:
	}
}

// TestPeer_Lost cuts a publisher off without a good-bye: everything it sends is lost from one moment on.
func TestPeer_Lost(t *testing.T) {
	t.Parallel()
	s := newServer(t, ingest.Config{SilenceTimeout: 500 * time.Millisecond})
	h := newSink()
	link := newLink(t, s, impair.Config{})
	cfg := publisher.Config{Video: mustClip(t, clips.TeacherVideo)}
	pub, err := publisher.Publish(t.Context(), cfg, through(link, s, h))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pub.Close() })
	receive(t, h.packets, "packet")
	link.Cut(true)
	if err := receive(t, h.closed, "close"); !errors.Is(err, ingest.ErrPeerLost) {
		t.Errorf("closed with %v, want ErrPeerLost", err)
	}
}

func TestTrack_RequestKeyframe(t *testing.T) {
	t.Parallel()
	s := newServer(t, ingest.Config{KeyframeInterval: 300 * time.Millisecond})
	h := newSink()
	requests := make(chan time.Time, 16)
	pub, _ := publish(t, s, h, publisher.Config{
		Video: mustClip(t, clips.TeacherVideo),
		OnKeyframeRequest: func() {
			select {
			case requests <- time.Now():
			default:
			}
		},
	})
	tr := waitTrack(t, h, ingest.Video)
	before := pub.Stats().Keyframes
	for range 100 {
		tr.RequestKeyframe() // one now, and one for all the rest at the interval's end
	}
	first := receive(t, requests, "keyframe request")
	second := receive(t, requests, "second keyframe request")
	if gap := second.Sub(first); gap < 250*time.Millisecond {
		t.Errorf("two requests within %v", gap)
	}
	for range 20 { // well over a second of packets
		receive(t, h.packets, "packet")
	}
	if n := len(requests); n != 0 {
		t.Errorf("%d more requests", n)
	}
	if after := pub.Stats().Keyframes; after <= before {
		t.Errorf("keyframes %d before, %d after", before, after)
	}
	for { // and one of them comes through: VP8 keyframes have bit 0 of the frame header clear (RFC 6386 section 9.1)
		p := receive(t, h.packets, "packet")
		if b := p.rtp.Payload; b[0]&0x10 != 0 && vp8Header(b)&1 == 0 {
			return
		}
	}
}

// vp8Header returns the first byte behind the payload descriptor (RFC 7741 section 4.2) of a publisher's packet.
func vp8Header(b []byte) byte {
	i := 1
	if b[0]&0x80 != 0 { // X
		i = 2
		if b[1]&0x80 != 0 { // I
			i++
			if b[2]&0x80 != 0 { // M
				i++
			}
		}
	}
	return b[i]
}

// TestTrack_LossIsRepaired loses every tenth video packet once; NACK brings it back, late.
func TestTrack_LossIsRepaired(t *testing.T) {
	t.Parallel()
	s := newServer(t, ingest.Config{})
	h := newSink()
	var mu sync.Mutex
	lost := map[uint16]bool{}
	publish(t, s, h, publisher.Config{
		Video: mustClip(t, clips.TeacherVideo),
		Loss: func(p publisher.Packet) bool {
			mu.Lock()
			defer mu.Unlock()
			if p.Kind != publisher.Video || p.Resent || p.SequenceNumber%10 != 0 || lost[p.SequenceNumber] {
				return false
			}
			lost[p.SequenceNumber] = true
			return true
		},
	})
	seen := map[uint16]int{}
	repaired := 0
	for n := 0; repaired < 3; n++ {
		if n == 500 {
			t.Fatalf("of %d packets lost, %d came back", len(lost), repaired)
		}
		p := receive(t, h.packets, "packet")
		seq := p.rtp.SequenceNumber
		if seen[seq]++; seen[seq] > 1 {
			t.Errorf("packet %d came %d times", seq, seen[seq])
		}
		mu.Lock()
		if lost[seq] {
			repaired++
		}
		mu.Unlock()
	}
}

func TestPublisher_Trickle(t *testing.T) {
	t.Parallel()
	s := newServer(t, ingest.Config{})
	h := newSink()
	var peer *ingest.Peer
	n := 0
	pub, err := publisher.Publish(t.Context(), publisher.Config{
		Audio: mustClip(t, clips.StudentAudio),
		Trickle: func(_ context.Context, c publisher.Candidate) error {
			n++
			if c.Text == "" {
				return peer.AddCandidate("end", "end", -1)
			}
			return peer.AddCandidate("a="+c.Text, c.Mid, c.MLine)
		},
	}, exchange(s, h, &peer))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pub.Close() }()
	if n < 2 {
		t.Errorf("%d candidates were trickled", n)
	}
	receive(t, h.packets, "packet")
}

// TestServer_AllAddresses publishes to a server that listens everywhere: on each address of the machine, on one port.
func TestServer_AllAddresses(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{"0.0.0.0:0", ":0"} {
		s := newServer(t, ingest.Config{UDPListen: listen})
		ports := map[int]bool{}
		for _, a := range s.Addrs() {
			addr, _ := a.(*net.UDPAddr)
			ports[addr.Port] = true
		}
		if len(ports) != 1 {
			t.Errorf("%s: listens on %v", listen, s.Addrs())
		}
		h := newSink()
		publish(t, s, h, publisher.Config{Audio: mustClip(t, clips.StudentAudio)})
		receive(t, h.packets, "packet")
	}
}

// undeclared is an exchange that takes the SSRCs out of the offer, as some publishers send none.
func undeclared(x publisher.Exchange) publisher.Exchange {
	return func(ctx context.Context, offer string) (string, error) {
		var kept []string
		for _, line := range strings.SplitAfter(offer, "\n") {
			if !strings.HasPrefix(line, "a=ssrc") {
				kept = append(kept, line)
			}
		}
		return x(ctx, strings.Join(kept, ""))
	}
}

func TestPeer_UndeclaredSSRCs(t *testing.T) {
	t.Parallel()
	s := newServer(t, ingest.Config{})
	h := newSink()
	pub, err := publisher.Publish(t.Context(), publisher.Config{
		Video: mustClip(t, clips.TeacherVideo), Audio: mustClip(t, clips.TeacherAudio),
		Loss: func(p publisher.Packet) bool {
			return !p.Resent && p.Kind == publisher.Video && p.SequenceNumber%5 == 0
		},
	}, undeclared(exchange(s, h, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pub.Close() }()
	seen := map[ingest.Kind]int{}
	for seen[ingest.Audio] < 50 || seen[ingest.Video] < 50 {
		seen[receive(t, h.packets, "packet").kind]++
	}
	if n := len(h.tracks); n != 2 {
		t.Errorf("%d tracks, want 2", n)
	}
}

func TestPeer_TooManyTracks(t *testing.T) {
	t.Parallel()
	s := newServer(t, ingest.Config{MaxTracks: 2})
	h := newSink()
	pub, err := publisher.Publish(t.Context(), publisher.Config{Video: mustClip(t, clips.TeacherVideo), ExtraStreams: 3},
		undeclared(exchange(s, h, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pub.Close() }()
	if err := receive(t, h.closed, "close"); !errors.Is(err, ingest.ErrTooManyTracks) {
		t.Errorf("closed with %v, want ErrTooManyTracks", err)
	}
}

func TestServer_MaxPeers(t *testing.T) {
	t.Parallel()
	s := newServer(t, ingest.Config{MaxPeers: 2})
	var first *ingest.Peer
	for range 2 {
		p, _, err := s.Accept(t.Context(), browserOffer, newSink())
		if err != nil {
			t.Fatal(err)
		}
		first = p
	}
	if _, _, err := s.Accept(t.Context(), browserOffer, newSink()); !errors.Is(err, ingest.ErrTooManyPeers) {
		t.Errorf("third peer: %v", err)
	}
	_ = first.Close()
	waitAccept(t, s)
}

// waitAccept accepts a peer as soon as there is a place: it is given back just after the peer's end.
func waitAccept(t testing.TB, s *ingest.Server) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; {
		_, _, err := s.Accept(t.Context(), browserOffer, newSink())
		switch {
		case err == nil:
			return
		case time.Now().After(deadline):
			t.Fatalf("no place became free: %v", err)
		}
	}
}

// ignorer is a Handler whose Track returns at once.
type ignorer struct{ *sink }

func (i ignorer) Track(tr *ingest.Track) { i.tracks <- tr }

// stopper stops its own peer from within Track.
type stopper struct {
	*sink
	peer chan *ingest.Peer
}

func (s stopper) Track(*ingest.Track) { p := <-s.peer; p.Stop(); s.peer <- p }

func TestHandler_TrackReturnsEarly(t *testing.T) {
	t.Parallel()
	s := newServer(t, ingest.Config{})
	h := ignorer{newSink()}
	_, peer := publish(t, s, h, publisher.Config{})
	receive(t, h.tracks, "track")
	receive(t, h.tracks, "track")
	if err := peer.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestHandler_StopsItsPeer(t *testing.T) {
	t.Parallel()
	s := newServer(t, ingest.Config{})
	h := stopper{newSink(), make(chan *ingest.Peer, 1)}
	_, peer := publish(t, s, h, publisher.Config{})
	h.peer <- peer
	if err := receive(t, h.closed, "close"); err != nil {
		t.Errorf("closed with %v, want nil", err)
	}
}

func TestNew_Config(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]ingest.Config{
		"address": {UDPListen: "nowhere"},
		"port":    {UDPListen: "127.0.0.1:99999"},
		"ip":      {PublicIPs: []string{"example.org"}},
		"codec":   {VideoCodecs: []string{"H263"}},
	} {
		if s, err := ingest.New(cfg); err == nil {
			_ = s.Close()
			t.Errorf("%s: no error", name)
		}
	}
	s := newServer(t, ingest.Config{UDPListen: "0.0.0.0:0", PublicIPs: []string{"203.0.113.7"}})
	_, answer, err := s.Accept(t.Context(), browserOffer, newSink())
	if err != nil {
		t.Fatal(err)
	}
	mustContain(t, answer, " 203.0.113.7 ")
}
