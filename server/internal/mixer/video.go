// SPDX-License-Identifier: Apache-2.0

package mixer

import (
	"context"
	"errors"
	"image"
	"io"
	"math"
	"time"

	"github.com/classrec/classrec/server/internal/ffmpeg"
)

// How long a picture is shown when none follows it for longer than hole: what is frozen for long is not shown, except
// for a shared screen, which changes when somebody does something.
const (
	hole = 2 * time.Second
	hold = time.Second
)

// keepFor is how long a video that is not seen is kept open for when it will be seen again.
const keepFor = 15 * time.Second

// never is a time that does not come.
const never = time.Duration(math.MaxInt64)

// video is a track of pictures that is seen at some times.
type video struct {
	input   Input
	number  int
	seen    []seen // by time
	decoder *ffmpeg.Decoder
	begun   bool // and nothing is read yet
	failed  bool

	now, next     *picture // of one size; next is not read yet when its time is never
	nowAt, nextAt time.Duration
	sequence      int // counts the pictures that have become now
	hasNow        bool
}

// seen is a time at which a video is on the picture.
type seen struct {
	from, to time.Duration
	cell     image.Point
	screen   bool
}

// videos finds out what is seen when.
func videos(job Job, scenes []scene) map[int]*video {
	list := map[int]*video{}
	for _, sc := range scenes {
		for _, c := range sc.cells {
			if c.input < 0 {
				continue
			}
			v := list[c.input]
			if v == nil {
				v = &video{input: job.Inputs[c.input], number: c.input, nextAt: never}
				list[c.input] = v
			}
			v.seen = append(v.seen, seen{sc.from, sc.to, c.rect.Size(), c.screen})
		}
	}
	return list
}

// at returns the picture that is to be seen at a time, nil if there is none, and its number. Times do not go back.
func (v *video) at(ctx context.Context, m *mix, t time.Duration, screen bool) (*picture, int) {
	if v.open(ctx, m, t); v.begun {
		v.begun = false
		v.read(ctx, m)
	}
	for v.nextAt <= t {
		v.now, v.next = v.next, v.now
		v.nowAt, v.hasNow = v.nextAt, true
		v.sequence++
		v.read(ctx, m)
	}
	if !v.hasNow || !screen && v.nextAt-v.nowAt > hole && t-v.nowAt > hold {
		return nil, 0
	}
	return v.now, v.sequence
}

// open begins to decode, if that is not done yet, in the size that is seen longest from now on. It does not wait for a
// picture: several videos begin at a time.
func (v *video) open(ctx context.Context, m *mix, t time.Duration) {
	if v.decoder != nil || v.failed {
		return
	}
	shape, bars := image.Pt(v.input.Width, v.input.Height), v.input.Resized
	if shape.X <= 0 || shape.Y <= 0 {
		shape, bars = image.Pt(16, 9), true // it is not known
	}
	size := fit(shape, v.cellFrom(t))
	from := max(t-v.input.Offset, 0)
	if t <= v.input.Parts[0].From+time.Second {
		from = 0 // no need to seek
	}
	d, err := m.FFmpeg.Pictures(ctx, ffmpeg.Source{
		Dir: m.Dir, File: v.input.File, Stream: v.input.Stream, From: from, Width: size.X, Height: size.Y, Bars: bars,
	})
	if err != nil {
		v.fail(m, err)
		return
	}
	v.decoder = d
	if v.next == nil || v.next.size != size {
		v.now, v.next = newPicture(size), newPicture(size)
	}
	v.begun, v.hasNow = true, false
}

// cellFrom is the size of the cell that is seen longest, from a time to where the video is next closed.
func (v *video) cellFrom(t time.Duration) image.Point {
	for len(v.seen) > 0 && v.seen[0].to <= t {
		v.seen = v.seen[1:]
	}
	lasts := map[image.Point]time.Duration{}
	var best image.Point
	for i, s := range v.seen {
		if i > 0 && s.from-v.seen[i-1].to > keepFor {
			break
		}
		lasts[s.cell] += s.to - s.from
		if lasts[s.cell] > lasts[best] {
			best = s.cell
		}
	}
	return best
}

// read reads the next picture.
func (v *video) read(ctx context.Context, m *mix) {
	v.nextAt = never
	if v.failed {
		return
	}
	f, err := v.decoder.Next(v.next.data)
	switch {
	case errors.Is(err, io.EOF), err != nil && ctx.Err() != nil:
	case err != nil:
		v.fail(m, err)
	case len(f.Data) != len(v.next.data):
		v.fail(m, errors.New("pictures of another size than was asked for"))
	default:
		v.next.data, v.nextAt = f.Data, v.input.Offset+f.At
	}
}

// fail leaves the rest of the video out.
func (v *video) fail(m *mix, err error) {
	v.failed = true
	m.warn("The picture of %s is not in the mix from %s on: it cannot be decoded.",
		m.people.list[m.people.index[v.input.User]].name, clockTime(max(v.nowAt, v.input.Parts[0].From)))
	m.Logger.Warn("recording: video cannot be decoded", "file", v.input.File, "error", err)
}

// rest closes a video that is not seen for a while from t on.
func (v *video) rest(t time.Duration) {
	for len(v.seen) > 0 && v.seen[0].to <= t {
		v.seen = v.seen[1:]
	}
	if len(v.seen) == 0 || v.seen[0].from > t+keepFor {
		v.close()
	}
}

func (v *video) close() {
	if v.decoder != nil {
		v.decoder.Close()
	}
	v.decoder, v.nextAt, v.begun, v.hasNow = nil, never, false, false
	v.now, v.next = nil, nil
}
