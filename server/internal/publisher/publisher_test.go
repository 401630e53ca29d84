// SPDX-License-Identifier: Apache-2.0

package publisher_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"go.uber.org/goleak"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/ingest"
	"github.com/classrec/classrec/server/internal/publisher"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// packet is one that has arrived.
type packet struct {
	kind ingest.Kind
	*rtp.Packet
}

// far is the server's side of one publisher.
type far struct {
	packets chan packet // full = dropped
	reports chan report
	closed  chan error
}

type report struct {
	kind ingest.Kind
	ingest.SenderReport
}

func (f *far) Connected()       {}
func (f *far) Closed(err error) { f.closed <- err }

func (f *far) Track(tr *ingest.Track) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for r := range tr.SenderReports() {
			select {
			case f.reports <- report{tr.Kind(), r}:
			default:
			}
		}
	}()
	for {
		p, _, err := tr.ReadRTP()
		if err != nil {
			<-done
			return
		}
		select {
		case f.packets <- packet{tr.Kind(), p}:
		default:
		}
	}
}

// newFar returns a server's side and the exchange that leads to it.
func newFar(t testing.TB) (*far, publisher.Exchange) {
	t.Helper()
	s, err := ingest.New(ingest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	f := &far{packets: make(chan packet, 4096), reports: make(chan report, 64), closed: make(chan error, 1)}
	return f, func(ctx context.Context, offer string) (string, error) {
		_, answer, err := s.Accept(ctx, offer, f)
		return answer, err
	}
}

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

func mustPublish(t testing.TB, cfg publisher.Config, x publisher.Exchange) *publisher.Publisher {
	t.Helper()
	p, err := publisher.Publish(t.Context(), cfg, x)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// find returns the one frame of the clip that begins with data, or -1 when there are several: silence sounds alike.
func find(t testing.TB, c *clips.Clip, data []byte) int {
	t.Helper()
	found := -1
	for i, f := range c.Frames {
		if !bytes.HasPrefix(f.Data, data) {
			continue
		}
		if found >= 0 {
			return -1
		}
		found = i
	}
	if found < 0 {
		t.Fatalf("packet is of no frame of the %s clip", c.MimeType)
	}
	return found
}

// TestPublisher_StaysTogether asks for keyframes and looks whether, on the publisher's own clock as its sender reports
// give it, the sound that is heard still belongs to the picture that is seen.
func TestPublisher_StaysTogether(t *testing.T) {
	t.Parallel()
	f, x := newFar(t)
	video, audio := mustClip(t, clips.TeacherVideo), mustClip(t, clips.TeacherAudio)
	p := mustPublish(t, publisher.Config{Video: video, Audio: audio}, x)

	var last [3]*ingest.SenderReport
	offset := map[ingest.Kind]time.Duration{} // of the clip's beginning, from an instant common to both
	base := time.Now()
	stamps := map[ingest.Kind]uint32{}
	checked := 0
	requests := 0
	for checked < 40 {
		select {
		case r := <-f.reports:
			last[r.kind] = &r.SenderReport
			if requests < 3 && last[ingest.Audio] != nil && last[ingest.Video] != nil {
				requests++
				if err := p.RequestKeyframe(t.Context()); err != nil {
					t.Fatal(err)
				}
				clear(offset)
			}
			continue
		case pk := <-f.packets:
			if before, ok := stamps[pk.kind]; ok && int32(pk.Timestamp-before) < 0 {
				t.Fatalf("%s goes back from %d to %d", pk.kind, before, pk.Timestamp)
			}
			stamps[pk.kind] = pk.Timestamp
			sr := last[pk.kind]
			if sr == nil {
				continue
			}
			clip, data, rate := audio, pk.Payload, 48000
			if pk.kind == ingest.Video {
				var vp8 codecs.VP8Packet
				if _, err := vp8.Unmarshal(pk.Payload); err != nil {
					t.Fatal(err)
				}
				if vp8.S != 1 || vp8.PID != 0 {
					continue
				}
				clip, data, rate = video, vp8.Payload, 90000
			}
			i := find(t, clip, data)
			if i < 0 {
				continue
			}
			at := sr.NTP.Sub(base) + time.Duration(int32(pk.Timestamp-sr.RTP))*time.Second/time.Duration(rate)
			offset[pk.kind] = at - clip.Frames[i].Time
			a, ok := offset[ingest.Audio]
			v, ok2 := offset[ingest.Video]
			if !ok || !ok2 || requests < 3 {
				continue
			}
			checked++
			skew := (a - v) % video.Duration
			if skew > video.Duration/2 {
				skew -= video.Duration
			}
			if skew < -video.Duration/2 {
				skew += video.Duration
			}
			// A sender report tells when its last packet was written, which on a busy machine is late. What went
			// wrong in the publisher would be a frame's place in the clip: up to two seconds.
			if skew.Abs() > 200*time.Millisecond {
				t.Errorf("sound is %v off the picture", skew)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("nothing comes")
		}
	}
}

func TestPublisher_Mute(t *testing.T) {
	t.Parallel()
	f, x := newFar(t)
	p := mustPublish(t, publisher.Config{Video: mustClip(t, clips.StudentVideo), Audio: mustClip(t, clips.StudentAudio)}, x)
	for receive(t, f.packets, "audio").kind != ingest.Audio {
	}
	if err := p.Mute(t.Context(), publisher.Audio, true); err != nil {
		t.Fatal(err)
	}
	before := p.Stats()
	for p.Stats().VideoPackets < before.VideoPackets+20 {
		receive(t, f.packets, "video")
	}
	if after := p.Stats(); after.AudioPackets > before.AudioPackets+1 {
		t.Errorf("%d audio packets sent while muted", after.AudioPackets-before.AudioPackets)
	}
	var quiet uint32
	for len(f.packets) > 0 {
		if pk := <-f.packets; pk.kind == ingest.Audio {
			quiet = pk.Timestamp
		}
	}
	if err := p.Mute(t.Context(), publisher.Audio, false); err != nil {
		t.Fatal(err)
	}
	for {
		if pk := receive(t, f.packets, "audio again"); pk.kind == ingest.Audio {
			if quiet != 0 && pk.Timestamp-quiet < 960*3 {
				t.Errorf("time stood still while muted: %d", pk.Timestamp-quiet)
			}
			return
		}
	}
}

func TestPublisher_SwitchVideo(t *testing.T) {
	t.Parallel()
	f, x := newFar(t)
	p := mustPublish(t, publisher.Config{Video: mustClip(t, clips.StudentVideo), Audio: mustClip(t, clips.StudentAudio)}, x)
	waitSize(t, f, 320, 240)
	if err := p.SwitchVideo(t.Context(), mustClip(t, clips.TeacherVideo)); err != nil {
		t.Fatal(err)
	}
	waitSize(t, f, 640, 360)
	if err := p.SwitchVideo(t.Context(), mustClip(t, clips.TeacherH264)); err == nil {
		t.Error("another codec is accepted")
	}
}

// waitSize waits for a VP8 keyframe of that size (RFC 6386 section 9.1).
func waitSize(t testing.TB, f *far, width, height int) {
	t.Helper()
	for {
		pk := receive(t, f.packets, "keyframe")
		var vp8 codecs.VP8Packet
		if pk.kind != ingest.Video {
			continue
		}
		if _, err := vp8.Unmarshal(pk.Payload); err != nil {
			t.Fatal(err)
		}
		if b := vp8.Payload; vp8.S == 1 && len(b) > 10 && b[0]&1 == 0 {
			if w, h := int(b[6])|int(b[7]&0x3f)<<8, int(b[8])|int(b[9]&0x3f)<<8; w == width && h == height {
				return
			}
		}
	}
}

func TestPublish_Fails(t *testing.T) {
	t.Parallel()
	audio := mustClip(t, clips.StudentAudio)
	refused := errors.New("refused")
	for name, tc := range map[string]struct {
		cfg      publisher.Config
		exchange publisher.Exchange
		want     error
	}{
		"no media": {publisher.Config{}, nil, publisher.ErrNoMedia},
		"refused":  {publisher.Config{Audio: audio}, func(context.Context, string) (string, error) { return "", refused }, refused},
		"garbage":  {publisher.Config{Audio: audio}, func(context.Context, string) (string, error) { return "hello", nil }, nil},
		"nobody answers": {publisher.Config{Audio: audio, ConnectTimeout: 50 * time.Millisecond}, func(ctx context.Context, offer string) (string, error) {
			s, err := ingest.New(ingest.Config{})
			if err != nil {
				return "", err
			}
			defer func() { _ = s.Close() }()
			_, answer, err := s.Accept(ctx, offer, &far{closed: make(chan error, 1)})
			return answer, err
		}, publisher.ErrDisconnected},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := publisher.Publish(t.Context(), tc.cfg, tc.exchange)
			if err == nil || (tc.want != nil && !errors.Is(err, tc.want)) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if p != nil {
				t.Error("a publisher beside the error")
			}
		})
	}
}

func TestPublisher_CloseIsFinal(t *testing.T) {
	t.Parallel()
	f, x := newFar(t)
	p := mustPublish(t, publisher.Config{Audio: mustClip(t, clips.StudentAudio)}, x)
	receive(t, f.packets, "packet")
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := p.Mute(t.Context(), publisher.Audio, true); !errors.Is(err, publisher.ErrDisconnected) {
		t.Errorf("mute after close: %v", err)
	}
	if err := receive(t, f.closed, "close"); !errors.Is(err, ingest.ErrPeerClosed) {
		t.Errorf("the server is told %v", err)
	}
}

func TestPublishWHIP_Answers(t *testing.T) {
	t.Parallel()
	deleted := make(chan struct{}, 1)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodDelete:
			deleted <- struct{}{}
		case r.URL.Path == "/refused":
			w.WriteHeader(http.StatusForbidden)
		case r.URL.Path == "/nowhere": // 201 without a Location
			w.WriteHeader(http.StatusCreated)
		case r.URL.Path == "/garbage":
			w.Header().Set("Location", "/session")
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte("hello"))
		}
	}))
	defer web.Close()
	for path, want := range map[string]string{"/refused": "403", "/nowhere": "location", "/garbage": "answer", "/html": "200"} {
		_, err := publisher.PublishWHIP(t.Context(), publisher.Config{Audio: mustClip(t, clips.StudentAudio)},
			publisher.WHIP{URL: web.URL + path, Client: web.Client()})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to speak of %s", path, err, want)
		}
	}
	receive(t, deleted, "DELETE of the session that could not be used")
}
