// SPDX-License-Identifier: Apache-2.0

package mixer_test

import (
	"fmt"
	"image"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/mixer"
)

// camera and voice are the two tracks of a publisher's stream, and screen is that of a shared one.
func camera(user, stream string, from, to time.Duration) mixer.Input {
	return mixer.Input{Video: true, User: user, End: to, Width: 640, Height: 360, Parts: []mixer.Part{{Stream: stream, From: from}}}
}

func voice(user, stream string, from, to time.Duration) mixer.Input {
	return mixer.Input{User: user, End: to, Parts: []mixer.Part{{Stream: stream, From: from}}}
}

const s = time.Second

// TestScenes tells what happens in a class, and what is to be seen at times. Persons are named as they are shown, with
// the number of the input that their cell shows, -1 for a card.
func TestScenes(t *testing.T) {
	t.Parallel()
	type seen map[time.Duration]string
	for _, tt := range []struct {
		name   string
		inputs []mixer.Input
		states []mixer.StreamState
		speech []mixer.Speech
		want   seen
	}{
		{"nobody", nil, nil, nil, seen{0: "", 59 * s: ""}},
		{
			"without states, people are there as long as their media",
			[]mixer.Input{camera("a", "1", 0, 60*s), voice("a", "1", 0, 60*s), camera("b", "2", 10*s, 20*s), voice("b", "2", 10*s, 20*s)},
			nil, nil,
			seen{0: "a:0", 10 * s: "a:0 b:2", 19 * s: "a:0 b:2", 20 * s: "a:0"},
		},
		{
			"who has left has no cell, although media go on for a while",
			[]mixer.Input{camera("a", "1", 0, 60*s), camera("b", "2", 1*s, 30*s)},
			[]mixer.StreamState{
				{At: 0, Stream: "1", User: "a"},
				{At: 1 * s, Stream: "2", User: "b", Name: "小明"},
				{At: 20 * s, Stream: "2", User: "b", Name: "小明", Ended: true},
			},
			nil,
			seen{0: "a:0", 5 * s: "a:0 小明:1", 20 * s: "a:0"},
		},
		{
			"who is there and sends nothing yet is a card",
			[]mixer.Input{camera("a", "1", 0, 60*s), camera("b", "2", 15*s, 60*s)},
			[]mixer.StreamState{{Stream: "1", User: "a"}, {At: 10 * s, Stream: "2", User: "b"}},
			nil,
			seen{9 * s: "a:0", 10 * s: "a:0 b:-1", 15 * s: "a:0 b:1"},
		},
		{
			"muted video is a card, muted sound is not",
			[]mixer.Input{camera("a", "1", 0, 60*s), voice("a", "1", 0, 60*s)},
			[]mixer.StreamState{
				{Stream: "1", User: "a"},
				{At: 10 * s, Stream: "1", User: "a", VideoMuted: true},
				{At: 20 * s, Stream: "1", User: "a", AudioMuted: true},
			},
			nil,
			seen{0: "a:0", 10 * s: "a:-1", 20 * s: "a:0"},
		},
		{
			"audio only, and video only",
			[]mixer.Input{voice("a", "1", 0, 60*s), camera("b", "2", 0, 60*s)},
			nil, nil,
			seen{30 * s: "a:-1 b:1"},
		},
		{
			"a teacher who comes late is the first",
			[]mixer.Input{camera("a", "1", 0, 60*s), camera("t", "2", 9*s, 60*s)},
			[]mixer.StreamState{{Stream: "1", User: "a"}, {At: 9 * s, Stream: "2", User: "t", Teacher: true}},
			nil,
			seen{0: "a:0", 9 * s: "t:1 a:0"},
		},
		{
			"one cell for who comes back with another stream, in another file",
			[]mixer.Input{camera("a", "1", 0, 30*s), camera("a", "2", 20*s, 60*s)},
			[]mixer.StreamState{
				{Stream: "1", User: "a"}, {At: 20 * s, Stream: "2", User: "a"}, {At: 30 * s, Stream: "1", User: "a", Ended: true},
			},
			nil,
			seen{10 * s: "a:0", 25 * s: "a:1", 40 * s: "a:1"},
		},
		{
			"one cell for who comes back in the same track, which is the screen's in between",
			[]mixer.Input{{
				Video: true, User: "a", End: 60 * s, Width: 640, Height: 360,
				Parts: []mixer.Part{{"1", 0}, {"2", 20 * s}, {"3", 40 * s}},
			}},
			[]mixer.StreamState{
				{Stream: "1", User: "a"},
				{At: 19 * s, Stream: "1", User: "a", Ended: true},
				{At: 19 * s, Stream: "2", User: "a", Screen: true},
				{At: 40 * s, Stream: "2", User: "a", Screen: true, Ended: true},
				{At: 40 * s, Stream: "3", User: "a"},
			},
			nil,
			seen{10 * s: "a:0", 30 * s: "screen:0", 50 * s: "a:0"},
		},
		{
			"the same of two cameras of which nothing else is known",
			[]mixer.Input{
				{Video: true, User: "a", End: 60 * s, Width: 640, Height: 360, Parts: []mixer.Part{{"1", 0}, {"2", 20 * s}}},
				{Video: true, User: "a", End: 60 * s, Width: 640, Height: 360, Parts: []mixer.Part{{"3", 10 * s}}},
			},
			[]mixer.StreamState{{Stream: "1", User: "a", Screen: true}, {Stream: "3", User: "a"}, {At: 0, Stream: "2", User: "a", VideoMuted: true}},
			nil,
			seen{15 * s: "screen:0 a:1", 30 * s: "a:1"},
		},
		{
			"a shared screen, who speaks beside it on top, and its end",
			[]mixer.Input{camera("t", "1", 0, 60*s), camera("a", "2", 0, 60*s), camera("t", "3", 10*s, 50*s)},
			[]mixer.StreamState{
				{Stream: "1", User: "t", Teacher: true},
				{Stream: "2", User: "a"},
				{At: 10 * s, Stream: "3", User: "t", Teacher: true, Screen: true},
				{At: 40 * s, Stream: "3", User: "t", Teacher: true, Screen: true, VideoMuted: true},
				{At: 45 * s, Stream: "3", User: "t", Teacher: true, Screen: true},
				{At: 50 * s, Stream: "3", User: "t", Teacher: true, Screen: true, Ended: true},
			},
			[]mixer.Speech{{5 * s, "t"}, {20 * s, "a"}},
			seen{
				9 * s: "t:0! a:1", 10 * s: "screen:2 t:0!^ a:1", 20 * s: "screen:2 t:0 a:1!^", 40 * s: "t:0 a:1!",
				45 * s: "screen:2 t:0 a:1!^", 50 * s: "t:0 a:1!",
			},
		},
		{
			"of two screens the later one is large",
			[]mixer.Input{camera("t", "1", 0, 60*s), camera("a", "2", 10*s, 30*s)},
			[]mixer.StreamState{{Stream: "1", User: "t", Screen: true}, {At: 10 * s, Stream: "2", User: "a", Screen: true}},
			nil,
			seen{5 * s: "screen:0", 10 * s: "screen:1", 30 * s: "screen:0"},
		},
		{
			"nobody is marked who is alone",
			[]mixer.Input{camera("a", "1", 0, 60*s)},
			nil,
			[]mixer.Speech{{5 * s, "a"}},
			seen{10 * s: "a:0"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			job := mixer.Job{Length: 60 * s, Inputs: tt.inputs, States: tt.states}
			for at, want := range tt.want {
				if got := describe(mixer.SeenAt(job, tt.speech, at)); got != want {
					t.Errorf("at %v: %q, want %q", at, got, want)
				}
			}
		})
	}
}

// describe names cells: ! speaks, ^ is on top beside a screen.
func describe(cells []mixer.Seen) string {
	text := ""
	for i, c := range cells {
		if i > 0 {
			text += " "
		}
		text += c.Who + ":" + strconv.Itoa(c.Input)
		if c.Speaking {
			text += "!"
		}
		if cells[0].Who == "screen" && i > 0 && c.Speaking && c.Rect.Min == image.Pt(1024, 0) {
			text += "^"
		}
	}
	return text
}

// TestScenes_Many arranges a class of three hours with twenty people who come, go and mute, in bounded time.
func TestScenes_Many(t *testing.T) {
	t.Parallel()
	const length = 3 * time.Hour
	job := mixer.Job{Length: length}
	for p := range 20 {
		user := fmt.Sprint("user", p)
		job.Inputs = append(job.Inputs, camera(user, user, 0, length), voice(user, user, 0, length))
		for at := time.Duration(p) * s; at < length; at += time.Minute {
			muted := int(at/time.Minute)%2 == 1
			job.States = append(job.States, mixer.StreamState{At: at, Stream: user, User: user, VideoMuted: muted})
		}
	}
	slices.SortStableFunc(job.States, func(a, b mixer.StreamState) int { return int(a.At - b.At) })
	begun := time.Now()
	if n := mixer.Scenes(job); n < 3000 {
		t.Errorf("%d scenes", n)
	}
	if took := time.Since(begun); took > 10*s {
		t.Errorf("took %v", took)
	}
}
