// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/classrec/classrec/server/internal/recorder"
)

// A beeper sends packets of sound of 20 ms that bear their number, and a video of 10 pictures a second.
type beeper struct {
	t            *testing.T
	audio, video *recorder.Track
	seq          uint16
	n            int           // of the next packet of sound
	at           time.Duration // when it is due, by our clock
	drift        float64       // by how much the sender's clock is slower
	begin        time.Time
	sent         map[int]time.Duration
	pictures     int
}

func newBeeper(t *testing.T, rec *recorder.Recording, video bool) *beeper {
	t.Helper()
	b := &beeper{t: t, begin: time.Now(), sent: map[int]time.Duration{}}
	b.audio = must[*recorder.Track](t)(rec.AddTrack(recorder.TrackInfo{UserID: "u", Kind: recorder.Audio, MimeType: "audio/opus"}))
	if video {
		b.video = must[*recorder.Track](t)(rec.AddTrack(recorder.TrackInfo{UserID: "u", Kind: recorder.Video, MimeType: "video/VP8"}))
	}
	return b
}

// step lets 20 ms of the sender pass; sound is nil for none, and may get lost.
func (b *beeper) step(sound []byte, lost bool) {
	b.t.Helper()
	time.Sleep(time.Until(b.begin.Add(b.at)))
	if sound != nil {
		b.seq++
	}
	if sound != nil && !lost {
		payload := sound
		if len(sound) > 1 {
			payload = binary.BigEndian.AppendUint32([]byte{0xf8}, uint32(b.n))
			b.sent[b.n] = b.at
		}
		p := &rtp.Packet{Header: rtp.Header{SequenceNumber: b.seq, Timestamp: uint32(b.n * 960)}, Payload: payload}
		if err := b.audio.WriteRTP(p, time.Now()); err != nil {
			b.t.Fatal(err)
		}
	}
	if b.video != nil && b.n%5 == 0 {
		p := &rtp.Packet{Header: rtp.Header{SequenceNumber: uint16(b.pictures), Timestamp: uint32(b.n * 1800), Marker: true}, Payload: tinyVP8}
		if err := b.video.WriteRTP(p, time.Now()); err != nil {
			b.t.Fatal(err)
		}
		b.pictures++
	}
	b.n++
	b.at += 20*time.Millisecond + time.Duration(b.drift*20e6/1e6)
}

// heard compares when a player that joins packets plays each with when it was sent, and returns how far off the worst is.
func (b *beeper) heard(blocks []block, from time.Duration) (kept int, worst time.Duration) {
	b.t.Helper()
	at := blocks[0].at
	for _, k := range blocks {
		if d := k.at - at; d < -2*time.Millisecond || d > 2*time.Millisecond {
			b.t.Fatalf("a packet is stamped %v and played at %v: there is a hole", k.at, at)
		}
		length := 20 * time.Millisecond >> (31 - k.data[0]>>3)
		if n := len(k.data); n == 5 {
			kept++
			if sent := b.sent[int(binary.BigEndian.Uint32(k.data[1:]))]; sent > from {
				worst = max(worst, (at - sent).Abs())
			}
		}
		at += length
	}
	return kept, worst
}

var (
	sound = []byte{0xf8, 0}
	dtx   = []byte{0xf8}
)

// TestSound_Holes plays a file as Chromium does, packet after packet, after holes of every kind.
func TestSound_Holes(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for name, tc := range map[string]struct {
		length time.Duration
		sound  func(at time.Duration) []byte
		loss   float64
		drift  float64 // ppm
		kept   float64 // of the sound
		within time.Duration
	}{
		"none":              {length: time.Minute, kept: 1, within: 3 * time.Millisecond},
		"5 percent lost":    {length: 10 * time.Minute, loss: 0.05, kept: 0.94, within: 5 * time.Millisecond},
		"discontinuous":     {length: 10 * time.Minute, sound: every(10), kept: 1, within: 5 * time.Millisecond},
		"an 8 s mute":       {length: time.Minute, sound: but(10*time.Second, 18*time.Second), kept: 1, within: 5 * time.Millisecond},
		"700 ms":            {length: time.Minute, sound: but(10*time.Second, 10700*time.Millisecond), kept: 1, within: 5 * time.Millisecond},
		"20 minutes":        {length: 30 * time.Minute, sound: but(5*time.Minute, 25*time.Minute), kept: 1, within: 5 * time.Millisecond},
		"late":              {length: time.Minute, sound: but(0, 3*time.Second), kept: 1, within: 5 * time.Millisecond},
		"much later":        {length: time.Minute, sound: but(0, 30*time.Second), kept: 1, within: 5 * time.Millisecond},
		"ends early":        {length: time.Minute, sound: but(20*time.Second, time.Hour), kept: 1, within: 5 * time.Millisecond},
		"an hour, too slow": {length: time.Hour, drift: 100, kept: 0.99, within: 35 * time.Millisecond},
		"an hour, too fast": {length: time.Hour, drift: -100, kept: 0.99, within: 35 * time.Millisecond},
		"an hour with loss": {length: time.Hour, loss: 0.05, drift: 20, kept: 0.94, within: 35 * time.Millisecond},
		"a quiet class":     {length: 20 * time.Minute, sound: every(15), kept: 1, within: 5 * time.Millisecond},
	} {
		lost := make([]bool, tc.length/(20*time.Millisecond)+1000)
		for i := range lost {
			lost[i] = random.Float64() < tc.loss
		}
		virtualRun(t, name, func(t *testing.T) {
			dir := t.TempDir()
			rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList})
			b := newBeeper(t, rec, true)
			b.drift = tc.drift
			for b.at < tc.length {
				s := sound
				if tc.sound != nil {
					s = tc.sound(b.at)
				}
				b.step(s, lost[b.n])
			}
			files := stop(t, rec)
			m := demux(t, in(dir, files[0]))
			blocks := m.track(t, "A_OPUS")
			kept, worst := b.heard(blocks, 2*time.Second)
			if want := int(tc.kept * float64(len(b.sent))); kept < want {
				t.Errorf("%d packets of sound, want %d", kept, want)
			}
			if worst > tc.within {
				t.Errorf("a packet is heard %v from its time, want at most %v", worst, tc.within)
			}
			video := m.track(t, "V_VP8")
			if end, shown := blocks[len(blocks)-1].at+20*time.Millisecond, video[len(video)-1].at; end < shown {
				t.Errorf("the sound ends at %v, the last picture comes at %v", end, shown)
			}
			last := time.Duration(0)
			for _, c := range m.Segment.Cluster { // players read files from their beginning
				at := time.Duration(c.Timecode) * time.Millisecond
				if at < last-10*time.Second {
					t.Fatalf("a cluster of %v comes after one of %v", at, last)
				}
				last = max(last, at)
			}
		})
	}
}

// every sends sound in every n-th packet, and between them what a sender that says nothing sends every 400 ms.
func every(n int) func(time.Duration) []byte {
	return func(at time.Duration) []byte {
		switch i := int(at / (20 * time.Millisecond)); {
		case i/20%n == 0:
			return sound
		case i%20 == 0:
			return dtx
		}
		return nil
	}
}

// but sends no sound between two times.
func but(from, to time.Duration) func(time.Duration) []byte {
	return func(at time.Duration) []byte {
		if at >= from && at < to {
			return nil
		}
		return sound
	}
}
