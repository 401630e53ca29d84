// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/recorder"
)

// isIn tells whether the block is the frame, as Matroska stores it: H264 with lengths for start codes.
func isIn(b block, f clips.Frame) bool {
	if bytes.Equal(b.data, f.Data) {
		return true
	}
	start := []byte{0, 0, 0, 1}
	var units []byte
	for rest := b.data; len(rest) > 4; {
		n := int(rest[0])<<24 | int(rest[1])<<16 | int(rest[2])<<8 | int(rest[3])
		if n > len(rest)-4 {
			return false
		}
		units = append(append(units, start...), rest[4:4+n]...)
		rest = rest[4+n:]
	}
	return bytes.Equal(units, f.Data)
}

func TestTrack_Network(t *testing.T) {
	for name, load := range map[string]func() (*clips.Clip, error){
		"vp8": clips.TeacherVideo, "h264": clips.TeacherH264, "opus": clips.TeacherAudio,
	} {
		for network, pass := range map[string]func() func(*rtp.Packet) []*rtp.Packet{
			"clean": func() func(*rtp.Packet) []*rtp.Packet {
				return func(p *rtp.Packet) []*rtp.Packet { return []*rtp.Packet{p} }
			},
			"every 7th packet swapped": func() func(*rtp.Packet) []*rtp.Packet {
				var kept *rtp.Packet
				n := 0
				return func(p *rtp.Packet) []*rtp.Packet {
					if n++; n%7 == 0 && n < 600 {
						kept = p
						return nil
					}
					out := []*rtp.Packet{p}
					if kept != nil {
						out = append(out, kept)
						kept = nil
					}
					return out
				}
			},
			"every packet doubled": func() func(*rtp.Packet) []*rtp.Packet {
				var before *rtp.Packet
				return func(p *rtp.Packet) []*rtp.Packet {
					out := []*rtp.Packet{p, p}
					if before != nil {
						out = append(out, before)
					}
					before = p
					return out
				}
			},
			"padding in between": func() func(*rtp.Packet) []*rtp.Packet {
				var shift uint16
				return func(p *rtp.Packet) []*rtp.Packet {
					q := *p
					q.SequenceNumber += shift
					if !p.Marker {
						return []*rtp.Packet{&q}
					}
					shift++
					pad := &rtp.Packet{Header: rtp.Header{SequenceNumber: q.SequenceNumber + 1, Timestamp: q.Timestamp, SSRC: q.SSRC}}
					return []*rtp.Packet{&q, pad}
				}
			},
		} {
			t.Run(name+"/"+network, func(t *testing.T) {
				virtual(t, func(t *testing.T) {
					dir := t.TempDir()
					rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList})
					f := addFeed(t, rec, newSource(t, "teacher", load))
					f.pass = pass()
					play(t, 10*time.Second, f)
					m := demux(t, in(dir, stop(t, rec)[0]))
					got := m.blocks[1]
					sent := f.clip.Play()
					n := 0
					for at := sent.Next(); at.Time < 10*time.Second; at = sent.Next() {
						if n >= len(got) {
							t.Fatalf("%d frames, and then no more", n)
						}
						if !isIn(got[n], at) {
							t.Fatalf("frame %d is not what was sent", n)
						}
						if d := got[n].at - at.Time; d.Abs() > 5*time.Millisecond {
							t.Fatalf("frame %d is at %v, want %v", n, got[n].at, at.Time)
						}
						n++
					}
					if len(got) != n {
						t.Errorf("%d frames, want %d", len(got), n)
					}
				})
			})
		}
	}
}

// TestTrack_Loss loses packets for good: the picture pauses until the next keyframe, which is asked for, and no
// frame that is written is damaged.
func TestTrack_Loss(t *testing.T) {
	for name, load := range map[string]func() (*clips.Clip, error){"vp8": clips.Bench720p, "h264": clips.TeacherH264} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				dir := t.TempDir()
				rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList})
				f := addFeed(t, rec, newSource(t, "teacher", load))
				random := rand.New(rand.NewPCG(3, 4))
				f.pass = func(p *rtp.Packet) []*rtp.Packet {
					if random.IntN(100) == 0 {
						return nil
					}
					return []*rtp.Packet{p}
				}
				play(t, 30*time.Second, f)
				asked := f.asked.Load()
				m := demux(t, in(dir, stop(t, rec)[0]))
				if asked < 5 {
					t.Errorf("asked for %d keyframes in 30 s of losses", asked)
				}
				got := m.blocks[1]
				if len(got) < 60 {
					t.Fatalf("%d frames are left", len(got))
				}
				sent := f.clip.Play()
				n, gap := 0, false
				for at := sent.Next(); at.Time < 30*time.Second && n < len(got); at = sent.Next() {
					if d := got[n].at - at.Time; d.Abs() > 5*time.Millisecond {
						gap = true
						continue
					}
					if !isIn(got[n], at) {
						t.Fatalf("the frame at %v is damaged", at.Time)
					}
					if gap && !got[n].key {
						t.Fatalf("after a gap the picture goes on at %v without a keyframe", at.Time)
					}
					gap = false
					n++
				}
				if n != len(got) {
					t.Errorf("%d of %d frames are at no time when one was sent", len(got)-n, len(got))
				}
			})
		})
	}
}

// TestTrack_NoKeyframe: when a keyframe does not come however often it is asked for, the picture goes on at last.
func TestTrack_NoKeyframe(t *testing.T) {
	virtual(t, func(t *testing.T) {
		dir := t.TempDir()
		rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList})
		track := must[*recorder.Track](t)(rec.AddTrack(recorder.TrackInfo{UserID: "u", Kind: recorder.Video, MimeType: "video/VP8"}))
		delta := append([]byte{0x10, 0x11}, make([]byte, 20)...)
		for i := range 200 {
			body := delta
			if i == 0 {
				body = tinyVP8
			}
			time.Sleep(50 * time.Millisecond)
			if i == 20 {
				continue
			}
			p := &rtp.Packet{Header: rtp.Header{SequenceNumber: uint16(i), Timestamp: uint32(i * 4500), Marker: true}, Payload: body}
			if err := track.WriteRTP(p, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		got := demux(t, in(dir, stop(t, rec)[0])).blocks[1]
		// 20 before the loss, then five seconds of nothing, then the rest: about 98.
		if n := len(got); n < 94 || n > 102 {
			t.Errorf("%d frames, want about 98", n)
		}
	})
}

// TestTrack_Pause covers what a muted microphone or camera does: timestamps that go on, and such that stand still.
func TestTrack_Pause(t *testing.T) {
	for name, tt := range map[string]struct {
		pause    time.Duration
		advances bool
		within   time.Duration // of the right place, from a second after the pause on
	}{
		"short, clock goes on":        {700 * time.Millisecond, true, 5 * time.Millisecond},
		"ten minutes, clock goes on":  {10 * time.Minute, true, 5 * time.Millisecond},
		"an hour, clock goes on":      {time.Hour, true, 5 * time.Millisecond},
		"three seconds, clock stands": {3 * time.Second, false, 50 * time.Millisecond},
		"ten minutes, clock stands":   {10 * time.Minute, false, 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				dir := t.TempDir()
				rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList})
				track := must[*recorder.Track](t)(rec.AddTrack(recorder.TrackInfo{UserID: "u", Kind: recorder.Audio, MimeType: "audio/opus"}))
				begin := time.Now()
				var ts uint32
				seq := uint16(0)
				send := func(n int) {
					for range n {
						p := &rtp.Packet{Header: rtp.Header{SequenceNumber: seq, Timestamp: ts}, Payload: tinySound}
						if err := track.WriteRTP(p, time.Now()); err != nil {
							t.Fatal(err)
						}
						seq++
						ts += 960
						time.Sleep(20 * time.Millisecond)
					}
				}
				send(500)
				time.Sleep(tt.pause)
				if tt.advances {
					ts += uint32(tt.pause.Seconds() * 48000)
				}
				resumed := time.Since(begin)
				send(500)
				got := withoutSilence(demux(t, in(dir, stop(t, rec)[0])).blocks[1])
				if len(got) != 1000 {
					t.Fatalf("%d frames, want 1000", len(got))
				}
				for i := 560; i < 1000; i++ {
					want := resumed + time.Duration(i-500)*20*time.Millisecond
					if d := (got[i].at - want).Abs(); d > tt.within {
						t.Fatalf("frame %d is at %v, want %v", i, got[i].at, want)
					}
				}
			})
		})
	}
}

// TestTrack_NewSource changes SSRC, sequence and timestamps in the middle of a track.
func TestTrack_NewSource(t *testing.T) {
	for _, ssrc := range []uint32{1, 2} {
		virtualRun(t, map[uint32]string{1: "same ssrc", 2: "new ssrc"}[ssrc], func(t *testing.T) {
			dir := t.TempDir()
			rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList})
			f := addFeed(t, rec, newSource(t, "teacher", clips.TeacherVideo))
			play(t, 4*time.Second, f)
			f.ssrc, f.seq, f.ts = ssrc, f.seq+30000, f.ts+0x50000000
			play(t, 4*time.Second, f)
			got := demux(t, in(dir, stop(t, rec)[0])).blocks[1]
			if len(got) < 85 {
				t.Fatalf("%d frames of 120", len(got))
			}
			for _, b := range got {
				i := (b.at + 10*time.Millisecond) * 15 / time.Second
				if want := i * time.Second / 15; (b.at - want).Abs() > 20*time.Millisecond {
					t.Fatalf("a frame at %v, which is at no frame's time", b.at)
				}
			}
		})
	}
}

func virtualRun(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { virtual(t, f) })
}

func TestRecording_AddTrackRefuses(t *testing.T) {
	virtual(t, func(t *testing.T) {
		rec := start(t, recorder.Config{}, recorder.Options{})
		for name, tt := range map[string]struct {
			info recorder.TrackInfo
			want error
		}{
			"codec":      {recorder.TrackInfo{Kind: recorder.Video, MimeType: "video/H263"}, recorder.ErrUnsupportedCodec},
			"kind":       {recorder.TrackInfo{Kind: recorder.Audio, MimeType: "video/VP8"}, recorder.ErrUnsupportedCodec},
			"nothing":    {recorder.TrackInfo{}, recorder.ErrUnsupportedCodec},
			"channels":   {recorder.TrackInfo{Kind: recorder.Audio, MimeType: "audio/opus", Channels: 6}, recorder.ErrInvalidOptions},
			"clock rate": {recorder.TrackInfo{Kind: recorder.Audio, MimeType: "audio/opus", ClockRate: 1 << 31}, recorder.ErrInvalidOptions},
		} {
			if _, err := rec.AddTrack(tt.info); !errors.Is(err, tt.want) {
				t.Errorf("%s: %v, want %v", name, err, tt.want)
			}
		}
	})
}
