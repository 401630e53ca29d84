// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaos_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/classrec/classrec/server/internal/chaostest"
)

const mib = 1 << 20

// figure is one of those that are sampled.
type figure struct {
	name, word string
	unit       float64
	of         func(sample) float64
	// flat says that it must not grow with time. slack is how much more than a tenth it may differ: a few rooms are on at
	// one time, and none at another.
	flat  bool
	slack float64
	// kept is what is kept for ever of each class: its place in the record list and in the log.
	kept float64
}

func classesOf(s sample) float64 { return s.classes }

func figures() []figure {
	return []figure{
		{"rss", " MiB", mib, func(s sample) float64 { return s.rss }, true, 6 * mib, 8 << 10},
		{"heap", " MiB", mib, func(s sample) float64 { return s.heap }, true, 3 * mib, 4 << 10},
		{"goroutines", "", 1, func(s sample) float64 { return s.goroutines }, true, 40, 0},
		{"fds", "", 1, func(s sample) float64 { return s.fds }, true, 8, 0},
		{"log", " MiB", mib, func(s sample) float64 { return s.log }, true, 2 * mib, 4 << 10},
		{"files", " MiB", mib, func(s sample) float64 { return s.files }, false, 0, 0}, // recordings, which are to stay
	}
}

func median(samples []sample, of func(sample) float64) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	return chaostest.Quantile(values, 0.5)
}

// plot draws every figure over time, each in a panel of its own that begins at zero.
func plot(samples []sample) string {
	const width, panel, left, right, top = 760, 90, 110, 20, 34
	all := figures()
	end := time.Second
	if len(samples) > 0 {
		end = max(end, samples[len(samples)-1].at)
	}
	var b strings.Builder
	height := top + panel*len(all) + 30
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="%d" y="18" font-size="13">classrecd under churn: %d samples in %v</text>`+"\n", left, len(samples), end.Round(time.Second))
	for i, f := range all {
		most := slices.MaxFunc(append([]sample{{}}, samples...), func(a, b sample) int { return int(f.of(a) - f.of(b)) })
		scale := max(f.of(most)*1.15, 1)
		base := float64(top + panel*(i+1) - 14)
		fmt.Fprintf(&b, `<text x="8" y="%.0f">%s%s</text>`+"\n", base-30, f.name, strings.Replace(f.word, " MiB", ", MiB", 1))
		fmt.Fprintf(&b, `<path d="M%d %.0fH%d" stroke="#999" fill="none"/>`+"\n", left, base, width-right)
		fmt.Fprintf(&b, `<text x="%d" y="%.0f" text-anchor="end" fill="#666">%.4g</text>`+"\n", left-6, base-float64(panel-14)*f.of(most)/scale+4, f.of(most)/f.unit)
		fmt.Fprintf(&b, `<text x="%d" y="%.0f" text-anchor="end" fill="#666">0</text>`+"\n", left-6, base+4)
		b.WriteString(`<polyline fill="none" stroke="#1565c0" points="`)
		for _, s := range samples {
			x := left + float64(width-left-right)*float64(s.at)/float64(end)
			fmt.Fprintf(&b, "%.1f,%.1f ", x, base-float64(panel-14)*f.of(s)/scale)
		}
		b.WriteString(`"/>` + "\n")
	}
	for i := range 7 {
		x := left + (width-left-right)*i/6
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle" fill="#666">%v</text>`+"\n", x, height-10, (end * time.Duration(i) / 6).Round(time.Second))
	}
	b.WriteString("</svg>\n")
	return b.String()
}
