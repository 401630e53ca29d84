// SPDX-License-Identifier: Apache-2.0

package mixer

import (
	"image"
)

// picture is planar YUV 4:2:0 in limited range. Its sides are even.
type picture struct {
	size image.Point
	data []byte // Y, U, V
}

// color is one of YUV.
type color struct{ y, u, v byte }

// The colors of what is drawn.
func black() color  { return color{16, 128, 128} }
func paper() color  { return color{44, 132, 126} } // of a card: a dark grey blue
func accent() color { return color{150, 60, 50} }  // around who speaks: green
func white() byte   { return 235 }

func newPicture(size image.Point) *picture {
	return &picture{size: size, data: make([]byte, size.X*size.Y*3/2)}
}

// plane is one of a picture's three.
type plane struct {
	pix    []byte
	stride int
	shift  int // of coordinates: 1 for U and V
}

func (p *picture) planes() [3]plane {
	n := p.size.X * p.size.Y
	return [3]plane{{p.data[:n], p.size.X, 0}, {p.data[n : n*5/4], p.size.X / 2, 1}, {p.data[n*5/4:], p.size.X / 2, 1}}
}

// row is a part of a line, in the plane's own coordinates.
func (p plane) row(y, from, to int) []byte { return p.pix[y*p.stride+from : y*p.stride+to] }

// scaled is a rectangle in the plane's coordinates.
func (p plane) scaled(r image.Rectangle) image.Rectangle {
	return image.Rect(r.Min.X>>p.shift, r.Min.Y>>p.shift, r.Max.X>>p.shift, r.Max.Y>>p.shift)
}

// fill paints a rectangle.
func (p *picture) fill(r image.Rectangle, c color) {
	for i, plane := range p.planes() {
		v := [3]byte{c.y, c.u, c.v}[i]
		s := plane.scaled(r)
		for y := s.Min.Y; y < s.Max.Y; y++ {
			row := plane.row(y, s.Min.X, s.Max.X)
			for x := range row {
				row[x] = v
			}
		}
	}
}

// frame paints the border of a rectangle, inside of it.
func (p *picture) frame(r image.Rectangle, width int, c color) {
	inner := r.Inset(width)
	p.fill(image.Rect(r.Min.X, r.Min.Y, r.Max.X, inner.Min.Y), c)
	p.fill(image.Rect(r.Min.X, inner.Max.Y, r.Max.X, r.Max.Y), c)
	p.fill(image.Rect(r.Min.X, inner.Min.Y, inner.Min.X, inner.Max.Y), c)
	p.fill(image.Rect(inner.Max.X, inner.Min.Y, r.Max.X, inner.Max.Y), c)
}

// draw copies a picture into a rectangle, at the rectangle's size.
func (p *picture) draw(src *picture, r image.Rectangle) {
	from, to := src.planes(), p.planes()
	for i := range to {
		s := to[i].scaled(r)
		if src.size == r.Size() {
			for y := range s.Dy() {
				copy(to[i].row(s.Min.Y+y, s.Min.X, s.Max.X), from[i].row(y, 0, s.Dx()))
			}
			continue
		}
		scale(to[i], s, from[i], image.Pt(src.size.X>>from[i].shift, src.size.Y>>from[i].shift))
	}
}

// scale makes a plane larger or smaller, bilinearly; what becomes much smaller is averaged first, by halves.
func scale(dst plane, r image.Rectangle, src plane, size image.Point) {
	for size.X >= 2*r.Dx() && size.Y >= 2*r.Dy() && size.X > 1 && size.Y > 1 {
		src, size = halve(src, size)
	}
	xs := taps(r.Dx(), size.X)
	ys := taps(r.Dy(), size.Y)
	for y, ty := range ys {
		above, below := src.row(ty.at, 0, size.X), src.row(ty.next, 0, size.X)
		out := dst.row(r.Min.Y+y, r.Min.X, r.Max.X)
		v := ty.weight
		for x, tx := range xs {
			a := int32(above[tx.at])*(256-v) + int32(below[tx.at])*v
			b := int32(above[tx.next])*(256-v) + int32(below[tx.next])*v
			out[x] = byte((a*(256-tx.weight) + b*tx.weight + 1<<15) >> 16) //nolint:gosec // a mean of bytes
		}
	}
}

// tap is where a pixel comes from: two neighbors, and the weight of the second, of 256.
type tap struct {
	at, next int
	weight   int32
}

func taps(to, from int) []tap {
	list := make([]tap, to)
	for i := range list {
		center := max(((2*i+1)*from*128)/to-128, 0) // of 256ths of a pixel
		at := min(center>>8, from-1)
		list[i] = tap{at, min(at+1, from-1), int32(center & 0xff)}
	}
	return list
}

// halve averages four pixels into one.
func halve(src plane, size image.Point) (plane, image.Point) {
	size = image.Pt(size.X/2, size.Y/2)
	out := plane{make([]byte, size.X*size.Y), size.X, src.shift}
	for y := range size.Y {
		above, below := src.row(2*y, 0, 2*size.X), src.row(2*y+1, 0, 2*size.X)
		row := out.row(y, 0, size.X)
		for x := range row {
			row[x] = byte((int(above[2*x]) + int(above[2*x+1]) + int(below[2*x]) + int(below[2*x+1]) + 2) / 4) //nolint:gosec // the same
		}
	}
	return out, size
}

// mask is how much of a text is at each pixel.
type mask struct {
	size image.Point // even
	pix  []byte
}

// write paints a text in white, at a point, within a rectangle.
func (p *picture) write(text *mask, at image.Point, within image.Rectangle) {
	r := image.Rectangle{Min: at, Max: at.Add(text.size)}.Intersect(within)
	for i, plane := range p.planes() {
		ink := int(white())
		if i > 0 {
			ink = 128
		}
		s := plane.scaled(r)
		for y := s.Min.Y; y < s.Max.Y; y++ {
			row := plane.row(y, s.Min.X, s.Max.X)
			alpha := text.pix[(y<<plane.shift-at.Y)*text.size.X:]
			for x := range row {
				if a := int(alpha[(s.Min.X+x)<<plane.shift-at.X]); a > 0 {
					row[x] = byte((int(row[x])*(255-a) + ink*a) / 255) //nolint:gosec // the same
				}
			}
		}
	}
}

// shade makes a rectangle darker, for a text on it.
func (p *picture) shade(r image.Rectangle) {
	for i, plane := range p.planes() {
		dark := 16
		if i > 0 {
			dark = 128
		}
		s := plane.scaled(r)
		for y := s.Min.Y; y < s.Max.Y; y++ {
			row := plane.row(y, s.Min.X, s.Max.X)
			for x := range row {
				row[x] = byte((int(row[x])*2 + dark*3) / 5) //nolint:gosec // the same
			}
		}
	}
}

// roundUp is the next even number of at least n that is no larger than most.
func roundUp(n, most int) int { return min(n+n&1, even(most)) }
