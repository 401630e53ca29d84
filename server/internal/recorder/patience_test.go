// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/recorder"
)

// TestTrack_Patience loses every 50th packet, and has it come again 1.5 s later: nothing is missing in the file.
func TestTrack_Patience(t *testing.T) {
	for name, load := range map[string]func() (*clips.Clip, error){"video": clips.TeacherVideo, "audio": clips.TeacherAudio} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				dir := t.TempDir()
				rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList})
				s := newSource(t, "teacher", load)
				s.info.Patience = func() time.Duration { return 2 * time.Second }
				f := addFeed(t, rec, s)
				type late struct {
					p  *rtp.Packet
					at time.Time
				}
				var lost []late
				sent := 0
				frames := map[uint32]bool{}
				var payloads [][]byte
				f.pass = func(p *rtp.Packet) (out []*rtp.Packet) {
					frames[p.Timestamp] = true
					payloads = append(payloads, p.Payload)
					for len(lost) > 0 && !time.Now().Before(lost[0].at) {
						out, lost = append(out, lost[0].p), lost[1:]
					}
					if sent++; sent%50 == 10 {
						lost = append(lost, late{p, time.Now().Add(1500 * time.Millisecond)})
						return out
					}
					return append(out, p)
				}
				play(t, 20*time.Second, f)
				f.pass = nil
				for _, l := range lost {
					f.send(t, l.p)
				}
				m := demux(t, in(dir, stop(t, rec)[0]))
				if got := len(m.blocks[1]); got != len(frames) {
					t.Errorf("%d of %d frames are in the file", got, len(frames))
				}
				if n := different(m.blocks[1], payloads); name == "audio" && n > 0 {
					t.Errorf("%d frames are not those that were sent", n)
				}
			})
		})
	}
}

// different counts the frames of sound that are not those that were sent.
func different(blocks []block, payloads [][]byte) (n int) {
	for i, p := range payloads {
		if i >= len(blocks) || !bytes.Equal(blocks[i].data, p) {
			n++
		}
	}
	return n
}

// TestRecording_StopWaits ends a recording while a packet is missing: it waits for it as long as it may come, takes
// nothing newer, and not for ever.
func TestRecording_StopWaits(t *testing.T) {
	for name, comes := range map[string]bool{"comes": true, "does not come": false} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				dir := t.TempDir()
				rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList})
				s := newSource(t, "teacher", clips.TeacherAudio)
				s.info.Patience = func() time.Duration { return 2 * time.Second }
				f := addFeed(t, rec, s)
				var missing *rtp.Packet
				var payloads [][]byte
				f.pass = func(p *rtp.Packet) []*rtp.Packet {
					payloads = append(payloads, p.Payload)
					if len(p.Payload) > 10 && len(payloads) > 50 && missing == nil {
						missing = p
						return nil
					}
					return []*rtp.Packet{p}
				}
				play(t, 2*time.Second, f)
				lost := 1
				ended := make(chan []recorder.File)
				begun := time.Now()
				go func() { ended <- must[[]recorder.File](t)(rec.Stop(context.Background())) }()
				time.Sleep(time.Second)
				for _, p := range f.frame() { // newer than the end
					if err := f.track.WriteRTP(p, time.Now()); err != nil {
						t.Errorf("newer packet: %v", err)
					}
				}
				if comes {
					if err := f.track.WriteRTP(missing, time.Now()); err != nil {
						t.Errorf("missing packet: %v", err)
					}
					lost = 0
				}
				files := <-ended
				if took := time.Since(begun); took < time.Second || took > 4*time.Second {
					t.Errorf("stopping took %v", took)
				}
				if err := f.track.WriteRTP(missing, time.Now()); !errors.Is(err, recorder.ErrStopped) {
					t.Errorf("write after the end: %v", err)
				}
				m := demux(t, in(dir, files[0]))
				if got := len(m.blocks[1]); got != len(payloads) {
					t.Errorf("%d frames, want %d", got, len(payloads))
				}
				if n := different(m.blocks[1], payloads); n != lost {
					t.Errorf("%d frames are not those that were sent, want %d", n, lost)
				}
			})
		})
	}
}

// TestTrack_PatienceIsBounded never gives a packet, to a track that would wait for a minute: what waits is bounded.
func TestTrack_PatienceIsBounded(t *testing.T) {
	virtual(t, func(t *testing.T) {
		rec := start(t, recorder.Config{}, recorder.Options{Type: recorder.TypeList})
		s := newSource(t, "teacher", clips.TeacherVideo)
		s.info.Patience = func() time.Duration { return time.Minute }
		f := addFeed(t, rec, s)
		most := 0
		for n := range 40000 {
			p := &rtp.Packet{Header: rtp.Header{SequenceNumber: uint16(n), Timestamp: uint32(n) * 300, SSRC: 1}, Payload: make([]byte, 1200)}
			if n%10000 == 10 {
				continue
			}
			if err := f.track.WriteRTP(p, time.Now()); err != nil {
				t.Fatal(err)
			}
			count, bytes := f.track.Waiting()
			if most = max(most, count); count > 4096 || bytes > 4<<20 {
				t.Fatalf("%d packets of %d bytes wait", count, bytes)
			}
		}
		if most < 2000 {
			t.Errorf("only %d packets have waited", most)
		}
	})
}
