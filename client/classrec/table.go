// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"slices"
	"strings"

	"golang.org/x/text/width"
)

// columns are rows of text that are printed one below the other. Unlike
// text/tabwriter it knows that Chinese characters are two places wide.
type columns struct{ rows [][]string }

func (c *columns) add(cells ...string) { c.rows = append(c.rows, cells) }

// widths are how wide the columns are.
func (c *columns) widths() []int {
	var widths []int
	for _, row := range c.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], places(cell))
		}
	}
	return widths
}

// fit makes rows under a heading no wider than so many places: it shortens the
// long column, or where that is not enough leaves out spare ones, in their order.
func (c *columns) fit(width int, long string, spare ...[]string) {
	for {
		widths := c.widths()
		over := -width - 2
		for _, w := range widths {
			over += w + 2
		}
		i := slices.Index(c.rows[0], long)
		switch {
		case over <= 0:
			return
		case i >= 0 && widths[i]-over >= shortest:
			for _, row := range c.rows {
				row[i] = shorten(row[i], widths[i]-over)
			}
			return
		case len(spare) == 0:
			return
		}
		for _, title := range spare[0] {
			if i := slices.Index(c.rows[0], title); i >= 0 {
				for n, row := range c.rows {
					c.rows[n] = slices.Delete(row, i, i+1)
				}
			}
		}
		spare = spare[1:]
	}
}

// shortest is how many places a shortened column keeps.
const shortest = 8

// shorten is a text of at most so many places; an ellipsis is for what is missing.
func shorten(text string, width int) string {
	if places(text) <= width {
		return text
	}
	return cutTo(text, width-1) + "…"
}

// write prints the rows; the last cell of each is not padded.
func (c *columns) write(w io.Writer) error {
	widths := c.widths()
	var b strings.Builder
	for _, row := range c.rows {
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-places(cell)+2))
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// places is how wide a terminal shows a text; colors take no place.
func places(text string) int {
	n := 0
	inColor := false
	for _, r := range text {
		if inColor = inColor || r == '\x1b'; inColor {
			inColor = r != 'm'
			continue
		}
		switch width.LookupRune(r).Kind() {
		case width.EastAsianWide, width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}
