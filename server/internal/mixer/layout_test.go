// SPDX-License-Identifier: Apache-2.0

package mixer_test

import (
	"fmt"
	"image"
	"slices"
	"testing"

	"github.com/classrec/classrec/server/internal/mixer"
)

var (
	landscape = image.Pt(1280, 720)
	portrait  = image.Pt(720, 1280)
)

func TestArrange(t *testing.T) {
	t.Parallel()
	none := image.Rectangle{}
	for _, tt := range []struct {
		name    string
		size    image.Point
		screen  bool
		people  int
		speaker int
		want    mixer.Arrangement
	}{
		{"nobody", landscape, false, 0, -1, mixer.Arrangement{}},
		{"one", landscape, false, 1, -1, mixer.Arrangement{Cells: []image.Rectangle{image.Rect(0, 0, 1280, 720)}}},
		{"two, side by side", landscape, false, 2, 0, mixer.Arrangement{Cells: []image.Rectangle{
			image.Rect(0, 0, 640, 720), image.Rect(640, 0, 1280, 720),
		}}},
		{"three, the third in the middle", landscape, false, 3, 1, mixer.Arrangement{Cells: []image.Rectangle{
			image.Rect(0, 0, 640, 360), image.Rect(640, 0, 1280, 360), image.Rect(320, 360, 960, 720),
		}}},
		{"two, one above the other", portrait, false, 2, -1, mixer.Arrangement{Cells: []image.Rectangle{
			image.Rect(0, 0, 720, 640), image.Rect(0, 640, 720, 1280),
		}}},
		{"a screen alone", landscape, true, 0, -1, mixer.Arrangement{Screen: image.Rect(0, 0, 1280, 720)}},
		{"a screen and its speaker", landscape, true, 1, 0, mixer.Arrangement{
			Screen: image.Rect(0, 0, 1024, 720), Cells: []image.Rectangle{image.Rect(1024, 0, 1280, 144)},
		}},
		{"a screen, the second speaks", landscape, true, 3, 1, mixer.Arrangement{
			Screen: image.Rect(0, 0, 1024, 720), Cells: []image.Rectangle{
				image.Rect(1024, 144, 1280, 288), image.Rect(1024, 0, 1280, 144), image.Rect(1024, 288, 1280, 432),
			},
		}},
		{"a screen, the seventh of seven speaks", landscape, true, 7, 6, mixer.Arrangement{
			Screen: image.Rect(0, 0, 1024, 720), Cells: []image.Rectangle{
				image.Rect(1024, 144, 1280, 288), image.Rect(1024, 288, 1280, 432), image.Rect(1024, 432, 1280, 576),
				image.Rect(1024, 576, 1280, 720), none, none, image.Rect(1024, 0, 1280, 144),
			},
		}},
		{"a screen above one", portrait, true, 1, 0, mixer.Arrangement{
			Screen: image.Rect(0, 0, 720, 640), Cells: []image.Rectangle{image.Rect(0, 640, 720, 1280)},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := mixer.Arrange(tt.size, tt.screen, tt.people, tt.speaker)
			if got.Screen != tt.want.Screen || !slices.Equal(got.Cells, tt.want.Cells) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// TestArrange_Rules holds for any number of people: cells are within the picture and do not overlap, of one size, even,
// and not needlessly small; the speaker has one, and as many others as there is place for.
func TestArrange_Rules(t *testing.T) {
	t.Parallel()
	for _, size := range []image.Point{landscape, portrait} {
		for _, screen := range []bool{false, true} {
			for people := range 40 {
				for _, speaker := range []int{-1, 0, people - 1} {
					t.Run(fmt.Sprint(size, screen, people, speaker), func(t *testing.T) {
						t.Parallel()
						checkArrangement(t, size, screen, people, speaker)
					})
				}
			}
		}
	}
}

func checkArrangement(t *testing.T, size image.Point, screen bool, people, speaker int) {
	t.Helper()
	a := mixer.Arrange(size, screen, people, speaker)
	if screen == a.Screen.Empty() || len(a.Cells) != people {
		t.Fatalf("%v", a)
	}
	var cells []image.Rectangle
	for _, c := range a.Cells {
		if !c.Empty() {
			cells = append(cells, c)
		}
	}
	most := 25
	if screen {
		most = 5
		if size == portrait {
			most = 6
		}
	}
	if len(cells) != min(people, most) {
		t.Errorf("%d cells of %d people", len(cells), people)
	}
	if speaker >= 0 && speaker < people && a.Cells[speaker].Empty() {
		t.Error("the speaker has none")
	}
	for i, c := range cells {
		if !c.In(image.Rectangle{Max: size}) || (c.Min.X|c.Min.Y|c.Max.X|c.Max.Y)&1 != 0 || c.Size() != cells[0].Size() {
			t.Errorf("cell %v", c)
		}
		if c.Overlaps(a.Screen) || slices.ContainsFunc(cells[:i], c.Overlaps) {
			t.Errorf("cell %v overlaps", c)
		}
	}
	if n := len(cells); n > 0 && !screen { // a picture of 16:9 in each covers a third of what there is at least
		w := min(cells[0].Dx(), cells[0].Dy()*16/9)
		if covered := n * w * w * 9 / 16; covered < size.X*size.Y*3/10 {
			t.Errorf("%d of %d pixels are covered", covered, size.X*size.Y)
		}
	}
}
