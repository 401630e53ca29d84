// SPDX-License-Identifier: Apache-2.0

package ingest_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"go.uber.org/goleak"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/ingest"
	"github.com/classrec/classrec/server/internal/publisher"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newServer returns a server on loopback, closed at the end of the test.
func newServer(t testing.TB, cfg ingest.Config) *ingest.Server {
	t.Helper()
	s, err := ingest.New(cfg)
	if err != nil {
		t.Fatalf("new server: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close server: %v", err)
		}
	})
	return s
}

// packet is what a sink has read.
type packet struct {
	kind ingest.Kind
	rtp  *rtp.Packet
	at   time.Time
}

// sink is a Handler that reads all tracks and keeps what comes.
type sink struct {
	connected chan struct{}      // closed by Connected
	closed    chan error         // gets the reason
	tracks    chan *ingest.Track // each new track
	packets   chan packet        // the packets; full = dropped
	calls     sync.Map           // what was called, to see that nothing is called twice
}

func newSink() *sink {
	return &sink{
		connected: make(chan struct{}),
		closed:    make(chan error, 2),
		tracks:    make(chan *ingest.Track, 16),
		packets:   make(chan packet, 4096),
	}
}

func (s *sink) Connected() { close(s.connected) }

func (s *sink) Closed(err error) { s.closed <- err }

func (s *sink) Track(tr *ingest.Track) {
	s.tracks <- tr
	for {
		p, at, err := tr.ReadRTP()
		if err != nil {
			s.calls.Store(tr, err)
			return
		}
		select {
		case s.packets <- packet{tr.Kind(), p, at}:
		default:
		}
	}
}

// exchange is a publisher's exchange straight into the server. The peer is left in *peer.
func exchange(s *ingest.Server, h ingest.Handler, peer **ingest.Peer) publisher.Exchange {
	return func(ctx context.Context, offer string) (string, error) {
		p, answer, err := s.Accept(ctx, offer, h)
		if peer != nil {
			*peer = p
		}
		return answer, err
	}
}

// receive waits for a value, and fails the test when none comes within 10 s.
func receive[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("no %s within 10 s", what)
		var none T // not reached
		return none
	}
}

func mustClip(t testing.TB, clip func() (*clips.Clip, error)) *clips.Clip {
	t.Helper()
	c, err := clip()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestServer_RoundTrip(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		video func() (*clips.Clip, error)
		want  ingest.Codec
	}{
		"VP8":  {clips.TeacherVideo, ingest.Codec{MimeType: "video/VP8", ClockRate: 90000}},
		"H264": {clips.TeacherH264, ingest.Codec{MimeType: "video/H264", ClockRate: 90000}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, ingest.Config{})
			h := newSink()
			var peer *ingest.Peer
			pub, err := publisher.Publish(t.Context(), publisher.Config{
				Video: mustClip(t, tc.video), Audio: mustClip(t, clips.TeacherAudio),
			}, exchange(s, h, &peer))
			if err != nil {
				t.Fatal(err)
			}
			receive(t, h.connected, "connection")
			reports := map[ingest.Kind]ingest.SenderReport{}
			for range 2 {
				tr := receive(t, h.tracks, "track")
				c := tr.Codec()
				c.FmtpLine = ""
				want := tc.want
				if tr.Kind() == ingest.Audio {
					want = ingest.Codec{MimeType: "audio/opus", ClockRate: 48000, Channels: 2}
				}
				if c != want {
					t.Errorf("%s codec = %+v, want %+v", tr.Kind(), c, want)
				}
				reports[tr.Kind()] = receive(t, tr.SenderReports(), "sender report")
			}
			if skew := time.Until(reports[ingest.Audio].NTP).Abs(); skew > 10*time.Second {
				t.Errorf("sender report is off by %v", skew)
			}
			seen := map[ingest.Kind]int{}
			for seen[ingest.Audio] < 10 || seen[ingest.Video] < 10 {
				p := receive(t, h.packets, "packet")
				if len(p.rtp.Payload) == 0 || p.at.IsZero() {
					t.Fatalf("empty packet %+v", p)
				}
				seen[p.kind]++
			}
			if err := pub.Close(); err != nil {
				t.Error(err)
			}
			if err := receive(t, h.closed, "close"); !errors.Is(err, ingest.ErrPeerClosed) {
				t.Errorf("closed with %v, want ErrPeerClosed", err)
			}
			h.calls.Range(func(_, end any) bool {
				if err, ok := end.(error); !ok || !errors.Is(err, io.EOF) {
					t.Errorf("track ended with %v, want io.EOF", end)
				}
				return true
			})
		})
	}
}
