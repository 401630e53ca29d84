// SPDX-License-Identifier: Apache-2.0

package mixer

import (
	"image"
	"time"

	"github.com/classrec/classrec/server/internal/ffmpeg"
)

// Seen is a cell as a test names it: the person or "screen", and the number of the input or "card".
type Seen struct {
	Who      string
	Input    int
	Rect     image.Rectangle
	Speaking bool
}

// Speech says who speaks from a time on.
type Speech struct {
	At   time.Duration
	User string
}

// SeenAt is the picture of a time, in order.
func SeenAt(job Job, speeches []Speech, at time.Duration) (cells []Seen) {
	p := newPeople(job)
	var inner []speech
	for _, s := range speeches {
		inner = append(inner, speech{s.At, p.index[s.User]})
	}
	for _, sc := range scenes(job, p, inner) {
		if at < sc.from || at >= sc.to {
			continue
		}
		for _, c := range sc.cells {
			seen := Seen{Who: "screen", Input: c.input, Rect: c.rect, Speaking: c.speaking}
			if !c.screen {
				seen.Who = p.list[c.person].name
			}
			cells = append(cells, seen)
		}
	}
	return cells
}

// Scenes is how often the picture is arranged anew.
func Scenes(job Job) int { return len(scenes(job, newPeople(job), nil)) }

// Listen returns who speaks when, of mean squares of each 100 ms for each person.
func Listen(people int, levels func(at time.Duration, person int) float64, length time.Duration) (at []time.Duration, who []int) {
	l := newListener(people)
	squares := make([]float64, people)
	for t := time.Duration(0); t < length; t += levelEvery {
		for p := range squares {
			squares[p] = levels(t, p)
		}
		l.measure(t, squares)
	}
	for _, s := range l.speeches {
		at, who = append(at, s.at), append(who, s.person)
	}
	return at, who
}

// Limit passes sound through the limiter.
func Limit(in []float32) []byte {
	var l limiter
	var out []byte
	for ; len(in) >= blockFrames*channels; in = in[blockFrames*channels:] {
		out = l.block(out, in[:blockFrames*channels])
	}
	return l.block(out, make([]float32, blockFrames*channels))
}

// Piece is a decoded piece of sound.
type Piece = ffmpeg.Frame

// Placed returns where each piece begins, in frames of the class, and how many frames of it are kept.
func Placed(offset time.Duration, pieces []Piece) (begins, frames []int64) {
	v := &voice{input: Input{Offset: offset}, next: frameAt(offset)}
	for _, p := range pieces {
		v.place(frameAt(offset+p.At), p.Data)
		begins, frames = append(begins, v.begins), append(frames, int64(len(v.left)/frameBytes))
	}
	return begins, frames
}

// Scaled is a grey picture in another size.
func Scaled(pix []byte, size, to image.Point) []byte {
	src, dst := newPicture(size), newPicture(to)
	copy(src.data, pix)
	dst.draw(src, image.Rectangle{Max: to})
	return dst.data[:to.X*to.Y]
}

// ASSText is a name as it is written into a script.
func ASSText(name string) string { return assText(name) }
