// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/recorder"
)

// TestRecording_Return lets somebody drop out without a word and come back, beside one who stays.
func TestRecording_Return(t *testing.T) {
	for _, format := range []recorder.Format{recorder.MKV, recorder.WebM} {
		for _, away := range []time.Duration{200 * time.Millisecond, 700 * time.Millisecond, 2 * time.Second, 9 * time.Second} {
			virtualRun(t, format.String()+" "+away.String(), func(t *testing.T) {
				dir := t.TempDir()
				begin := time.Now()
				rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Format: format, Type: recorder.TypeList})
				on := func(user, stream string, load func() (*clips.Clip, error)) *feed {
					s := newSource(t, user, load)
					s.info.StreamID = stream
					return addFeed(t, rec, s)
				}
				other := on("other", "1", clips.StudentVideo)
				v, a := on("u", "1", clips.TeacherVideo), on("u", "1", clips.TeacherAudio)
				play(t, 4*time.Second, v, a, other)
				play(t, away, other)
				left := time.Since(begin)
				v2, a2 := on("u", "2", clips.TeacherVideo), on("u", "2", clips.TeacherAudio)
				play(t, 4*time.Second, v2, a2, other)
				for _, f := range []*feed{v, a} { // the network notices only now
					if err := f.track.Close(); err != nil {
						t.Fatal(err)
					}
				}
				play(t, 4*time.Second, v2, a2, other)
				files := stop(t, rec)
				ext := "." + format.String()
				i := slices.Index(names(files), "u"+ext)
				if i < 0 || len(files) != 2 {
					t.Fatalf("files %q", names(files))
				}
				m := demux(t, in(dir, files[i]))
				video, audio := m.track(t, "V_VP8"), m.track(t, "A_OPUS")
				if len(m.Segment.Tracks.TrackEntry) != 2 || len(video) != 12*15 {
					t.Errorf("%d tracks and %d pictures, want 2 and %d", len(m.Segment.Tracks.TrackEntry), len(video), 12*15)
				}
				if at := video[4*15].at; at < left-20*time.Millisecond || at > left+20*time.Millisecond {
					t.Errorf("the first picture after the return is at %v, want %v", at, left)
				}
				if want := int((8*time.Second + left - 20*time.Millisecond) / (20 * time.Millisecond)); len(audio) < want {
					t.Errorf("%d sounds, want %d", len(audio), want)
				}
				wantGaps(t, dir, "u", left-away, left)
			})
		}
	}
}

// wantGaps looks for a gap of both kinds of a user, if it is long enough to be told.
func wantGaps(t *testing.T, dir, user string, from, to time.Duration) {
	t.Helper()
	gaps, _, err := recorder.Notes(dir)
	if err != nil {
		t.Fatal(err)
	}
	opts := must[recorder.Options](t)(recorder.Describe(dir))
	kinds := map[recorder.Kind]bool{}
	for _, g := range gaps {
		begin, end := g.Start.Sub(opts.Begin), g.End.Sub(opts.Begin)
		if g.UserID != user || (begin-from).Abs() > 150*time.Millisecond || (end-to).Abs() > 150*time.Millisecond || g.Reason == "" {
			t.Errorf("gap of %s from %v to %v (%s), want %s from %v to %v", g.UserID, begin, end, g.Reason, user, from, to)
		}
		kinds[g.Kind] = true
	}
	want := 2
	if to-from < 500*time.Millisecond {
		want = 0
	}
	if len(gaps) != want || len(kinds) != want {
		t.Errorf("gaps %v", gaps)
	}
}

// TestRecording_TwoDevices keeps what one person sends at the same time apart: a second device, a shared screen.
func TestRecording_TwoDevices(t *testing.T) {
	virtual(t, func(t *testing.T) {
		dir := t.TempDir()
		rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList})
		on := func(stream, source string, load func() (*clips.Clip, error)) *feed {
			s := newSource(t, "u", load)
			s.info.StreamID, s.info.Source = stream, source
			return addFeed(t, rec, s)
		}
		v, a := on("1", "video", clips.TeacherVideo), on("1", "video", clips.TeacherAudio)
		play(t, 4*time.Second, v, a)
		v2, a2 := on("2", "video", clips.TeacherVideo), on("2", "video", clips.TeacherAudio)
		play(t, 4*time.Second, v, a, v2, a2)
		time.Sleep(3 * time.Second) // both are still, as both have muted
		screen := on("3", "screen", clips.StudentVideo)
		play(t, 4*time.Second, screen)
		files := stop(t, rec)
		if !slices.Equal(names(files), []string{"u.mkv", "u-2.mkv", "u-3.mkv"}) {
			t.Fatalf("files %q", names(files))
		}
		for i, want := range []int{8 * 15, 4 * 15, 4 * 15} {
			if n := len(demux(t, in(dir, files[i])).track(t, "V_VP8")); n != want {
				t.Errorf("%s has %d pictures, want %d", files[i].Name, n, want)
			}
		}
		if gaps, _, err := recorder.Notes(dir); err != nil || len(gaps) != 0 {
			t.Errorf("gaps %v, %v", gaps, err)
		}
	})
}

// TestRecording_WakesUp lets the first device go on after a second one has taken its place.
func TestRecording_WakesUp(t *testing.T) {
	for name, lasts := range map[string]time.Duration{"for good": 8 * time.Second, "with what was stuck": 500 * time.Millisecond} {
		virtualRun(t, name, func(t *testing.T) {
			dir := t.TempDir()
			rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList})
			first := addFeed(t, rec, newSource(t, "u", clips.TeacherVideo))
			play(t, 4*time.Second, first)
			time.Sleep(3 * time.Second)
			s := newSource(t, "u", clips.TeacherVideo)
			s.info.StreamID = "second"
			second := addFeed(t, rec, s)
			play(t, 4*time.Second, second)
			first.begin = first.begin.Add(7 * time.Second)
			play(t, lasts, first, second)
			play(t, 4*time.Second, second)
			files := stop(t, rec)
			want := 1
			if lasts > time.Second {
				want = 2
			}
			if len(files) != want {
				t.Fatalf("files %q, want %d", names(files), want)
			}
			total := 0
			for _, f := range files {
				total += len(demux(t, in(dir, f)).track(t, "V_VP8"))
			}
			if all := (8 + int(lasts/time.Second)*want + 4) * 15; total < all-2 {
				t.Errorf("%d pictures, want %d", total, all)
			}
		})
	}
}

// TestRecording_ReturnInAnotherCodec: one file, where its container can hold both.
func TestRecording_ReturnInAnotherCodec(t *testing.T) {
	for format, want := range map[recorder.Format][]string{recorder.MKV: {"u.mkv"}, recorder.WebM: {"u.webm", "u-2.mkv"}} {
		virtualRun(t, format.String(), func(t *testing.T) {
			dir := t.TempDir()
			rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Format: format, Type: recorder.TypeList})
			v := addFeed(t, rec, newSource(t, "u", clips.TeacherVideo))
			play(t, 4*time.Second, v)
			time.Sleep(2 * time.Second)
			s := newSource(t, "u", clips.TeacherH264)
			s.info.StreamID = "2"
			play(t, 4*time.Second, addFeed(t, rec, s))
			files := stop(t, rec)
			if !slices.Equal(names(files), want) {
				t.Errorf("files %q, want %q", names(files), want)
			}
			gaps, warnings, err := recorder.Notes(dir)
			if err != nil || len(gaps) != 1 || len(warnings) != 1 || !strings.Contains(warnings[0], "another codec (H264)") {
				t.Errorf("gaps %v, warnings %q, %v", gaps, warnings, err)
			}
		})
	}
}
