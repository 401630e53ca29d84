// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/classrec/classrec/client"
)

// rateSpan is over how long the rate is taken.
const rateSpan = 5 * time.Second

// progress shows how far files are. Its calls do not overlap.
type progress struct {
	w     io.Writer
	bar   bool // a line that is drawn over; else lines
	width func() int
	now   func() time.Time

	files   []client.DownloadProgress
	begun   map[int]bool
	drawn   time.Time
	samples []sample // of the last rateSpan
	shown   bool     // a bar is on the line
}

// sample is how much had come over the network at a time.
type sample struct {
	at      time.Time
	fetched int64
}

// progress is told by the client.
func (p *progress) progress(f client.DownloadProgress) {
	p.files[f.File] = f
	if p.bar {
		p.draw(f.Complete)
		return
	}
	switch first := !p.begun[f.File]; {
	case f.Complete && f.Done == f.Resumed:
		p.line(fmt.Sprintf("%s: is there already (%s)", f.Name, amount(f.Size)))
	case f.Complete:
		p.line(fmt.Sprintf("%s: done (%s)", f.Name, amount(f.Size)))
	case first && f.Resumed > 0:
		p.line(fmt.Sprintf("%s: goes on at %s of %s", f.Name, amount(f.Resumed), amount(f.Size)))
	case first:
		p.line(fmt.Sprintf("%s: %s", f.Name, amount(f.Size)))
	}
	if p.begun == nil {
		p.begun = map[int]bool{}
	}
	p.begun[f.File] = true
}

// amount is a size for a reader, and a word for one that is not known.
func amount(n int64) string {
	if n <= 0 {
		return "unknown size"
	}
	return size(n)
}

// draw draws the bar, ten times a second at most.
func (p *progress) draw(now bool) {
	at := p.now()
	if !now && at.Sub(p.drawn) < 100*time.Millisecond {
		return
	}
	p.drawn, p.shown = at, true
	_, _ = fmt.Fprintf(p.w, "\r%s\x1b[K", p.text(at, p.width()))
}

// text is the bar: how much of it, how fast, how long still.
func (p *progress) text(at time.Time, width int) string {
	var done, resumed, total int64
	known, complete := true, 0
	for _, f := range p.files {
		done, resumed, total = done+f.Done, resumed+f.Resumed, total+f.Size
		known = known && (f.Size > 0 || f.Complete)
		if f.Complete {
			complete++
		}
	}
	rate := p.rate(at, done-resumed)
	parts := []string{}
	if known && total > 0 {
		parts = append(parts, fmt.Sprintf("%3d%%", done*100/total), size(done)+" of "+size(total))
	} else {
		parts = append(parts, bytesSoFar(done))
	}
	if rate > 0 {
		parts = append(parts, size(int64(rate))+"/s")
		if known && total > done {
			parts = append(parts, span(time.Duration(float64(total-done)/rate*float64(time.Second)))+" left")
		}
	}
	if len(p.files) > 1 {
		parts = append(parts, fmt.Sprintf("%d of %d files", complete, len(p.files)))
	}
	text := strings.Join(parts, "  ")
	if room := width - places(text) - 4; known && total > 0 && room >= 10 {
		room = min(room, 40)
		filled := int(int64(room) * done / total)
		text = "[" + strings.Repeat("#", filled) + strings.Repeat("-", room-filled) + "] " + text
	}
	return cutTo(text, width-1)
}

func bytesSoFar(n int64) string {
	if n == 0 {
		return "0 B"
	}
	return size(n)
}

// rate is bytes a second over the last while; 0: not known yet.
func (p *progress) rate(at time.Time, fetched int64) float64 {
	if n := len(p.samples); n > 0 && fetched < p.samples[n-1].fetched {
		p.samples = nil // a file was begun anew
	}
	p.samples = append(p.samples, sample{at, fetched})
	for len(p.samples) > 2 && at.Sub(p.samples[0].at) > rateSpan {
		p.samples = p.samples[1:]
	}
	first := p.samples[0]
	if seconds := at.Sub(first.at).Seconds(); seconds > 0.2 {
		return float64(fetched-first.fetched) / seconds
	}
	return 0
}

// cutTo is the beginning of a text that fits into so many places.
func cutTo(text string, width int) string {
	n := 0
	for i, r := range text {
		if n += places(string(r)); n > width {
			return text[:i]
		}
	}
	return text
}

// interrupt says something between bars.
func (p *progress) interrupt(text string) {
	if p.shown {
		_, _ = io.WriteString(p.w, "\r\x1b[K")
	}
	p.line(text)
	if p.shown {
		p.draw(true)
	}
}

func (p *progress) line(text string) { _, _ = fmt.Fprintln(p.w, clean(text)) }

// end leaves the bar as it is.
func (p *progress) end() {
	if p.shown {
		_, _ = fmt.Fprintln(p.w)
	}
}
