// SPDX-License-Identifier: Apache-2.0

package mixer

import "image"

// The most cells: in a grid, and beside a shared screen in landscape and in portrait. Who has no place is heard.
const (
	maxGrid   = 25
	maxColumn = 5
	maxRows   = 6
)

// Arrangement is where things are.
type Arrangement struct {
	Screen image.Rectangle   // empty without one
	Cells  []image.Rectangle // by person; empty for who has no place
}

// Arrange lays out a picture for n participants, of whom the speaker (an index, or -1 for none) always has a cell.
//
// Without a screen they share the picture in a grid, in their order, at most 25. In landscape a screen takes four fifths
// of the width, with at most five participants in a column on its right, the speaker at the top. In portrait it takes the
// upper half, with at most six participants in a grid below. A screen without participants takes the whole picture.
//
// Coordinates are even, as YUV 4:2:0 requires.
func Arrange(size image.Point, screen bool, n, speaker int) Arrangement {
	a := Arrangement{Cells: make([]image.Rectangle, n)}
	all := image.Rectangle{Max: size}
	switch {
	case !screen:
		a.seat(firstWith(n, speaker, maxGrid), grid(all, min(n, maxGrid)))
	case n == 0:
		a.Screen = all
	case size.X >= size.Y:
		split := even(size.X * 4 / 5)
		a.Screen = image.Rect(0, 0, split, size.Y)
		a.seat(speakerFirst(n, speaker, maxColumn), column(image.Rect(split, 0, size.X, size.Y), min(n, maxColumn)))
	default:
		split := even(size.Y / 2)
		a.Screen = image.Rect(0, 0, size.X, split)
		a.seat(speakerFirst(n, speaker, maxRows), grid(image.Rect(0, split, size.X, size.Y), min(n, maxRows)))
	}
	return a
}

// seat gives places to persons.
func (a *Arrangement) seat(persons []int, places []image.Rectangle) {
	for i, p := range persons {
		a.Cells[p] = places[i]
	}
}

// firstWith is the first persons, and the speaker instead of the last one if need be.
func firstWith(n, speaker, most int) []int {
	var persons []int
	for p := range min(n, most) {
		persons = append(persons, p)
	}
	if speaker >= most {
		persons[most-1] = speaker
	}
	return persons
}

// speakerFirst is the speaker and then the others.
func speakerFirst(n, speaker, most int) []int {
	var persons []int
	if speaker >= 0 {
		persons = append(persons, speaker)
	}
	for p := 0; p < n && len(persons) < most; p++ {
		if p != speaker {
			persons = append(persons, p)
		}
	}
	return persons
}

// column is n cells of 16:9 one below the other, from the top.
func column(r image.Rectangle, n int) []image.Rectangle {
	height := min(even(r.Dx()*9/16), even(r.Dy()/max(n, 1)))
	cells := make([]image.Rectangle, n)
	for i := range cells {
		cells[i] = image.Rect(r.Min.X, r.Min.Y+i*height, r.Max.X, r.Min.Y+(i+1)*height)
	}
	return cells
}

// grid is n cells of one size, those of a last row that is not full in its middle.
func grid(r image.Rectangle, n int) []image.Rectangle {
	if n == 0 {
		return nil
	}
	columns := bestColumns(r, n)
	rows := (n + columns - 1) / columns
	w, h := even(r.Dx()/columns), even(r.Dy()/rows)
	cells := make([]image.Rectangle, n)
	for i := range cells {
		row := i / columns
		inRow := min(columns, n-row*columns)
		x := r.Min.X + even((r.Dx()-inRow*w)/2) + i%columns*w
		y := r.Min.Y + even((r.Dy()-rows*h)/2) + row*h
		cells[i] = image.Rect(x, y, x+w, y+h)
	}
	return cells
}

// bestColumns is the number of columns that makes pictures of 16:9 largest; of equals, side by side where the picture
// is wide and one above the other where it is high.
func bestColumns(r image.Rectangle, n int) int {
	best, area := 1, 0
	for columns := 1; columns <= n; columns++ {
		rows := (n + columns - 1) / columns
		size := fit(image.Pt(16, 9), image.Pt(r.Dx()/columns, r.Dy()/rows))
		if got := size.X * size.Y; got > area || got == area && r.Dx() >= r.Dy() {
			best, area = columns, got
		}
	}
	return best
}

// fit is the largest even size of a picture's shape in a cell.
func fit(picture, cell image.Point) image.Point {
	if picture.X <= 0 || picture.Y <= 0 {
		return image.Point{}
	}
	size := image.Pt(cell.X, cell.X*picture.Y/picture.X)
	if size.Y > cell.Y {
		size = image.Pt(cell.Y*picture.X/picture.Y, cell.Y)
	}
	return image.Pt(max(even(size.X), 2), max(even(size.Y), 2))
}

// within is a size in the middle of a cell.
func within(size image.Point, cell image.Rectangle) image.Rectangle {
	at := cell.Min.Add(image.Pt(even((cell.Dx()-size.X)/2), even((cell.Dy()-size.Y)/2)))
	return image.Rectangle{Min: at, Max: at.Add(size)}
}

func even(n int) int { return n &^ 1 }
