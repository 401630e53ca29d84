// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"strings"

	"golang.org/x/text/width"
)

// columns are rows of text that are printed one below the other. Unlike
// text/tabwriter it knows that Chinese characters are two places wide.
type columns struct{ rows [][]string }

func (c *columns) add(cells ...string) { c.rows = append(c.rows, cells) }

// write prints the rows; the last cell of each is not padded.
func (c *columns) write(w io.Writer) error {
	var widths []int
	for _, row := range c.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], places(cell))
		}
	}
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
