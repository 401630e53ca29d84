// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/classrec/classrec/server/internal/recorder"
)

// A minimal VP8 key frame of 320x240 behind its payload descriptor, 20 ms of Opus silence, and 20 ms of something else.
var (
	tinySound = []byte{0xf8, 0xff, 0xfd}
	tinyVP8   = []byte{0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00, 0, 0}
	tinyOpus  = []byte{0xf8, 0xff, 0xfe}
)

// crystal is a stream of tiny frames whose clock is off.
type crystal struct {
	track *recorder.Track
	info  recorder.TrackInfo
	body  []byte
	step  time.Duration
	ppm   float64
	n     int
	last  time.Time // arrival; a network keeps the order, mostly
}

func (c *crystal) rtp(d time.Duration) uint32 {
	return 0xfffff000 + uint32(int64(d.Seconds()*float64(c.info.ClockRate)*(1+c.ppm/1e6)))
}

func ppm(d time.Duration, ppm float64) time.Duration { return d + time.Duration(float64(d)*ppm/1e6) }

// TestSync_Hour records an hour of a sender whose audio, video and NTP clocks all run differently, behind a
// network with jitter. At every moment what was captured together must be stamped together, and both with the
// server's time, to which chat belongs.
func TestSync_Hour(t *testing.T) {
	const (
		hour  = time.Hour
		worst = 50 * time.Millisecond
	)
	lasts := map[string]time.Duration{"sender reports": hour, "no reports": hour} // the others: a third of it
	for name, tt := range map[string]struct {
		audio, video, ntp float64 // parts per million
		report            func(at time.Duration, now time.Time) (ntp time.Time, ok bool)
	}{
		"sender reports": {100, -100, 80, func(at time.Duration, now time.Time) (time.Time, bool) {
			return now.Add(-3 * time.Hour), true
		}},
		"the other way round": {-100, 100, -100, func(at time.Duration, now time.Time) (time.Time, bool) {
			return now.Add(1000 * time.Hour), true
		}},
		"no reports": {100, -100, 0, func(time.Duration, time.Time) (time.Time, bool) { return time.Time{}, false }},
		"reports from half time on": {100, -100, 80, func(at time.Duration, now time.Time) (time.Time, bool) {
			return now, at > hour/6
		}},
		"reports end": {100, 90, 80, func(at time.Duration, now time.Time) (time.Time, bool) { return now, at < hour/8 }},
		"nonsense reports": {100, -100, 0, func(at time.Duration, now time.Time) (time.Time, bool) {
			return now.Add(time.Duration(rand.Int64N(1e13))), true
		}},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				dir := t.TempDir()
				rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList})
				begin := time.Now()
				random := rand.New(rand.NewPCG(1, 2))
				streams := []*crystal{
					{info: recorder.TrackInfo{Kind: recorder.Audio, MimeType: "audio/opus", ClockRate: 48000}, body: []byte{0x1c, 0xff, 0xfe}, step: 60 * time.Millisecond, ppm: tt.audio},
					{info: recorder.TrackInfo{Kind: recorder.Video, MimeType: "video/VP8", ClockRate: 90000}, body: tinyVP8, step: 120 * time.Millisecond, ppm: tt.video},
				}
				for _, s := range streams {
					s.track = must[*recorder.Track](t)(rec.AddTrack(s.info))
				}
				length := hour / 3
				if d, ok := lasts[name]; ok {
					length = d
				}
				for at := time.Duration(0); at < length; at += 60 * time.Millisecond {
					for i, s := range streams {
						if at%s.step != 0 {
							continue
						}
						arrival := begin.Add(at + 10*time.Millisecond + time.Duration(random.Int64N(int64(60*time.Millisecond))))
						if arrival.Before(s.last) {
							arrival = s.last
						}
						s.last = arrival
						p := &rtp.Packet{Header: rtp.Header{SequenceNumber: uint16(s.n), Timestamp: s.rtp(at), Marker: true}, Payload: s.body}
						if i == 0 {
							p.Payload = binary.BigEndian.AppendUint32(slices.Clone(s.body), uint32(s.n))
						}
						if err := s.track.WriteRTP(p, arrival); err != nil {
							t.Fatal(err)
						}
						s.n++
						if due := at - time.Duration(i)*1440*time.Millisecond; due >= 0 && due%(6*time.Second) == 0 {
							if ntp, ok := tt.report(at, begin.Add(ppm(at, tt.ntp))); ok {
								s.track.WriteSenderReport(ntp, s.rtp(at), arrival)
							}
						}
					}
					time.Sleep(60 * time.Millisecond)
				}
				files := stop(t, rec)
				m := demux(t, in(dir, files[0]))
				var most time.Duration
				video := m.track(t, "V_VP8")
				audio := map[int]time.Duration{} // by the packet's number
				for _, b := range withoutSilence(m.track(t, "A_OPUS")) {
					audio[int(binary.BigEndian.Uint32(b.data[3:]))] = b.at
				}
				// Sound is put right in the first second of finding out: that may cost a few packets.
				if len(audio) < streams[0].n-3 || len(video) != streams[1].n {
					t.Fatalf("%d sounds and %d pictures, want %d and %d", len(audio), len(video), streams[0].n, streams[1].n)
				}
				for i, at := range audio {
					if sent := time.Duration(i) * streams[0].step; sent > time.Second {
						most = max(most, (at - sent).Abs())
					}
				}
				for i, b := range video[time.Second/streams[1].step:] {
					most = max(most, (b.at - time.Duration(i+int(time.Second/streams[1].step))*streams[1].step).Abs())
				}
				if most > worst {
					t.Errorf("a frame is %v off the server's clock, want at most %v", most, worst)
				}
				// Both are that near to the server's clock; together they are nearer.
				most = 0
				for i, b := range video {
					if at, ok := audio[2*i]; ok && i > 8 {
						most = max(most, (b.at - at).Abs())
					}
				}
				if most > worst {
					t.Errorf("audio and video are %v apart, want at most %v", most, worst)
				}
				t.Logf("audio and video at most %v apart", most)
			})
		})
	}
}
