// SPDX-License-Identifier: Apache-2.0

package mixer_test

import (
	"image"
	"testing"

	"github.com/classrec/classrec/server/internal/mixer"
)

// TestScaled scales a picture that is dark at the left and light at the right, up, down and far down.
func TestScaled(t *testing.T) {
	t.Parallel()
	size := image.Pt(640, 360)
	pix := make([]byte, size.X*size.Y)
	for i := range pix {
		pix[i] = byte(i % size.X * 200 / size.X)
	}
	for _, to := range []image.Point{size, image.Pt(1280, 720), image.Pt(426, 240), image.Pt(256, 144), image.Pt(64, 36), image.Pt(2, 2)} {
		got := mixer.Scaled(pix, size, to)
		for y := range to.Y {
			for x := range to.X {
				want := (2*x + 1) * 100 / to.X
				if v := int(got[y*to.X+x]); v < want-3 || v > want+3 {
					t.Fatalf("in %v, pixel %d,%d is %d, want %d", to, x, y, v, want)
				}
			}
		}
	}
}

// TestScaled_Fine scales a fine pattern far down: it becomes grey, and no coarse pattern.
func TestScaled_Fine(t *testing.T) {
	t.Parallel()
	size := image.Pt(640, 360)
	pix := make([]byte, size.X*size.Y)
	for i := range pix {
		pix[i] = byte((i%size.X + i/size.X) % 2 * 200)
	}
	for i, v := range mixer.Scaled(pix, size, image.Pt(128, 72)) {
		if v < 90 || v > 110 {
			t.Fatalf("pixel %d is %d", i, v)
		}
	}
}

func TestASSText(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"王老师":            "王老师",
		"a\nb\tc":        "a b c",
		`a\Nb`:           "a\\\u2060Nb",
		`{\b1}x`:         "\\{\\\u2060b1\\}x",
		"\xff":           "\ufffd",
		"Дмитрий, مرحبا": "Дмитрий, مرحبا",
		"0123456789012345678901234567890123456789x": "0123456789012345678901234567890123456789…",
	} {
		if got := mixer.ASSText(name); got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
}
