// SPDX-License-Identifier: Apache-2.0

package mixer_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/mixer"
)

const ms = time.Millisecond

// TestPlaced puts pieces of sound, 20 ms each, at their times.
func TestPlaced(t *testing.T) {
	t.Parallel()
	pcm := make([]byte, 960*4)
	piece := func(at time.Duration) mixer.Piece { return mixer.Piece{At: at, Data: pcm} }
	for _, tt := range []struct {
		name   string
		offset time.Duration
		at     []time.Duration
		begins []int64 // ms
		frames []int64
	}{
		{"one after the other", 0, []time.Duration{0, 20 * ms, 40 * ms}, []int64{0, 20, 40}, []int64{960, 960, 960}},
		{"times that jitter do not cut", 0, []time.Duration{0, 21 * ms, 39 * ms, 62 * ms}, []int64{0, 20, 40, 60}, []int64{960, 960, 960, 960}},
		{"a hole stays one", 0, []time.Duration{0, 120 * ms, 140 * ms}, []int64{0, 120, 140}, []int64{960, 960, 960}},
		{"a small hole too", 0, []time.Duration{0, 26 * ms}, []int64{0, 26}, []int64{960, 960}},
		{"what overlaps is cut", 0, []time.Duration{0, 10 * ms, 30 * ms}, []int64{0, 20, 30}, []int64{960, 480, 960}},
		{"what has been heard is left out", 0, []time.Duration{0, 20 * ms, 0, 40 * ms}, []int64{0, 20, 40, 40}, []int64{960, 960, 0, 960}},
		{"a file that begins late", 3 * time.Second, []time.Duration{0, 20 * ms}, []int64{3000, 3020}, []int64{960, 960}},
		{"and whose sound begins later", 3 * time.Second, []time.Duration{500 * ms}, []int64{3500}, []int64{960}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var pieces []mixer.Piece
			for _, at := range tt.at {
				pieces = append(pieces, piece(at))
			}
			begins, frames := mixer.Placed(tt.offset, pieces)
			for i := range begins {
				begins[i] /= 48
			}
			if !slices.Equal(begins, tt.begins) || !slices.Equal(frames, tt.frames) {
				t.Errorf("begin at %v with %v frames, want %v with %v", begins, frames, tt.begins, tt.frames)
			}
		})
	}
}

// TestPlaced_Drift plays an hour of a sender whose clock is off by 0.02 %: nothing is ever more than 3.5 ms from where it
// belongs.
func TestPlaced_Drift(t *testing.T) {
	t.Parallel()
	for _, fast := range []float64{1.0002, 0.9998} {
		var pieces []mixer.Piece
		pcm := make([]byte, 960*4)
		for i := range 3600 * 50 {
			at := time.Duration(float64(i) * 20 * fast * float64(ms)).Truncate(ms)
			pieces = append(pieces, mixer.Piece{At: at, Data: pcm})
		}
		begins, _ := mixer.Placed(0, pieces)
		for i, b := range begins {
			if off := b - int64(pieces[i].At/ms)*48; off > 7*24 || off < -7*24 { // a cut piece begins later
				t.Fatalf("at a speed of %v, piece %d of %v is off by %d frames", fast, i, pieces[i].At, off)
			}
		}
	}
}

// TestLimit adds up sounds that are too loud: nothing is clipped, what was not too loud is unchanged, and there are no
// jumps.
func TestLimit(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	const frames = 48000
	in := make([]float32, 2*frames)
	for i := range frames {
		level := float32(0.5)
		if i >= frames/2 && i < frames*3/4 {
			level = 3
		}
		v := level * float32(math.Sin(float64(i)*2*math.Pi*440/48000))
		in[2*i], in[2*i+1] = v, v*rng.Float32()
	}
	out := mixer.Limit(in)
	if len(out) != len(in)*2 {
		t.Fatalf("%d bytes of %d samples", len(out), len(in))
	}
	peak, last := 0.0, 0.0
	for i := range frames {
		got := float64(int16(binary.LittleEndian.Uint16(out[4*i:]))) / 32768
		peak = max(peak, math.Abs(got))
		if want := float64(in[2*i]); i < frames/2-480 && math.Abs(got-want) > 1e-3 {
			t.Fatalf("sample %d is %v and was %v", i, got, want)
		}
		if step := math.Abs(got - last); step > 0.25 {
			t.Fatalf("sample %d jumps by %v", i, step)
		}
		if want := float64(in[2*i]); want != 0 && got != 0 && math.Signbit(want) != math.Signbit(got) {
			t.Fatalf("sample %d has turned over", i)
		}
		last = got
	}
	if peak > 0.951 || peak < 0.9 {
		t.Errorf("the peak is %v", peak)
	}
}

// TestLimit_FromTheStart is as loud at once.
func TestLimit_FromTheStart(t *testing.T) {
	t.Parallel()
	in := make([]float32, 960*2)
	for i := range in {
		in[i] = 10
	}
	out := mixer.Limit(in)
	for i := 0; i < len(out); i += 2 {
		if got := int16(binary.LittleEndian.Uint16(out[i:])); got < 20000 {
			t.Fatalf("sample %d is %d", i/2, got)
		}
	}
}

func TestListen(t *testing.T) {
	t.Parallel()
	const loud, quiet, silent = 0.01, 0.0002, 0.000001
	for _, tt := range []struct {
		name   string
		levels func(at time.Duration, person int) float64
		at     []time.Duration
		who    []int
	}{
		{"nobody", func(time.Duration, int) float64 { return silent }, nil, nil},
		{"one, from when that began", func(at time.Duration, p int) float64 {
			if p == 1 && at >= 3*s {
				return loud
			}
			return silent
		}, []time.Duration{3 * s}, []int{1}},
		{"in turns", func(at time.Duration, p int) float64 {
			if int(at/(5*s))%2 == p {
				return loud
			}
			return silent
		}, []time.Duration{0, 5500 * ms, 10500 * ms, 15500 * ms}, []int{0, 1, 0, 1}},
		{"a cough is no speech", func(at time.Duration, p int) float64 {
			if p == 0 || at > 9*s && at < 9300*ms {
				return loud * float64(1+7*p)
			}
			return silent
		}, []time.Duration{0}, []int{0}},
		{"who is hardly louder does not take over", func(at time.Duration, p int) float64 {
			if p == 1 && at < 3*s {
				return silent
			}
			return loud * (1 + 0.5*float64(p))
		}, []time.Duration{0}, []int{0}},
		{"nobody speaks for less than two seconds", func(at time.Duration, p int) float64 {
			if int(at/(1500*ms))%2 == p {
				return loud
			}
			return silent
		}, []time.Duration{0, 2 * s, 4 * s, 6 * s, 9 * s, 11 * s, 13 * s, 17 * s, 19 * s}, []int{0, 1, 0, 1, 0, 1, 0, 1, 0}},
		{"the quiet one, when the loud one is done", func(at time.Duration, p int) float64 {
			if p == 0 && at < 10*s {
				return loud
			}
			return quiet * float64(p)
		}, []time.Duration{0, 12 * s}, []int{0, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			at, who := mixer.Listen(2, tt.levels, 20*s)
			if !slices.Equal(who, tt.who) {
				t.Fatalf("%v speak at %v, want %v at %v", who, at, tt.who, tt.at)
			}
			for i := range at {
				if d := at[i] - tt.at[i]; d < -time.Second || d > time.Second {
					t.Errorf("%v speak at %v, want %v", who, at, tt.at)
				}
				if i > 0 && at[i]-at[i-1] < 2*s {
					t.Errorf("%v speak at %v", who, at)
				}
			}
		})
	}
}
