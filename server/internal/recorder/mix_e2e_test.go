// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package recorder_test

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/recorder"
)

// streamOf makes a source that is another stream of its user.
func streamOf(t *testing.T, user, stream string, load func() (*clips.Clip, error)) *source {
	t.Helper()
	s := newSource(t, user, load)
	s.info.StreamID = stream
	return s
}

// mixedClass is a class in which things happen: see TestE2E_Mix.
func mixedClass(t *testing.T, opts recorder.Options) []recorder.File {
	t.Helper()
	var files []recorder.File
	synctest.Test(t, func(t *testing.T) {
		rec := must[*recorder.Recording](t)(recorder.New(recorder.Config{}).Start(opts))
		state(rec, "teacher", "王老师", nil)
		tv, ta := addFeed(t, rec, newSource(t, "teacher", clips.TeacherVideo)), addFeed(t, rec, newSource(t, "teacher", clips.TeacherAudio))
		play(t, 2*time.Second, tv, ta)
		state(rec, "student", "小明", nil)
		sv, sa := addFeed(t, rec, newSource(t, "student", clips.StudentVideo)), addFeed(t, rec, newSource(t, "student", clips.StudentAudio))
		play(t, 2*time.Second, tv, ta, sv, sa)
		state(rec, "student", "小明", func(s *recorder.StreamState) { s.VideoMuted = true })
		play(t, 2*time.Second, tv, ta, sv, sa)
		state(rec, "student", "小明", nil)
		play(t, 2*time.Second, tv, ta, sv, sa)
		shared := func(s *recorder.StreamState) { s.Stream, s.Screen = "teacher-screen", true }
		state(rec, "teacher", "王老师", shared)
		scr := addFeed(t, rec, streamOf(t, "teacher", "teacher-screen", clips.Bench720p))
		play(t, 2*time.Second, tv, ta, sv, sa, scr)
		_ = scr.track.Close()
		state(rec, "teacher", "王老师", func(s *recorder.StreamState) { shared(s); s.Ended = true })
		play(t, 2*time.Second, tv, ta, sv, sa)
		_, _ = sv.track.Close(), sa.track.Close()
		state(rec, "student", "小明", func(s *recorder.StreamState) { s.Ended = true })
		play(t, 2*time.Second, tv, ta)
		play(t, 2*time.Second, ta) // the teacher's camera has died
		files = stop(t, rec)
	})
	return files
}

// TestE2E_Mix looks at what is to be seen at times of a class: alone, two, one with the video off, a shared screen, and
// again alone, in landscape and in portrait; names are in Chinese.
func TestE2E_Mix(t *testing.T) {
	t.Parallel()
	type part struct {
		what string
		rect image.Rectangle
	}
	for _, tt := range []struct {
		layout recorder.Layout
		size   image.Point
		want   map[float64][]part
	}{
		{recorder.Landscape, image.Pt(1280, 720), map[float64][]part{
			1:  {{"video", image.Rect(0, 0, 1280, 720)}},
			3:  {{"video", image.Rect(0, 180, 640, 540)}, {"video", image.Rect(720, 180, 1200, 540)}, {"black", image.Rect(0, 0, 1280, 110)}},
			5:  {{"video", image.Rect(0, 180, 640, 540)}, {"card", image.Rect(640, 180, 1280, 540)}},
			7:  {{"video", image.Rect(0, 180, 640, 540)}, {"video", image.Rect(720, 180, 1200, 540)}},
			9:  {{"video", image.Rect(0, 72, 1024, 648)}, {"video", image.Rect(1024, 0, 1280, 144)}, {"video", image.Rect(1072, 144, 1232, 288)}, {"black", image.Rect(1024, 300, 1280, 720)}},
			11: {{"video", image.Rect(0, 180, 640, 540)}, {"video", image.Rect(720, 180, 1200, 540)}, {"black", image.Rect(0, 0, 1280, 110)}},
			13: {{"video", image.Rect(0, 0, 1280, 720)}},
			15: {{"card", image.Rect(0, 0, 1280, 720)}},
		}},
		{recorder.Portrait, image.Pt(720, 1280), map[float64][]part{
			1: {{"video", image.Rect(0, 440, 720, 840)}, {"black", image.Rect(0, 0, 720, 430)}},
			3: {{"video", image.Rect(0, 120, 720, 520)}, {"video", image.Rect(0, 700, 720, 1220)}},
			5: {{"video", image.Rect(0, 120, 720, 520)}, {"card", image.Rect(0, 758, 720, 1160)}},
			9: {{"video", image.Rect(0, 118, 720, 520)}, {"video", image.Rect(80, 640, 640, 960)}, {"video", image.Rect(160, 960, 560, 1280)}},
		}},
	} {
		t.Run(fmt.Sprint(tt.size), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			files := mixedClass(t, recorder.Options{Dir: dir, Type: recorder.TypeMix, Layout: tt.layout})
			if got := names(files); !slices.Equal(got, []string{"recording.mp4", "recording.mp3"}) {
				t.Fatalf("files %v", got)
			}
			if _, warnings, err := recorder.Notes(dir); err != nil || len(warnings) > 0 {
				t.Errorf("warnings %q, %v", warnings, err)
			}
			for at, parts := range tt.want {
				f := frameAt(t, in(dir, files[0]), tt.size, at)
				for _, p := range parts {
					if got := f.look(p.rect); got != p.what {
						t.Errorf("at %v s, %v is %s, want %s: %+v", at, p.rect, got, p.what, f.measure(p.rect))
					}
				}
				keepPicture(t, in(dir, files[0]), at)
			}
		})
	}
}

// still is a picture's planes Y, U and V.
type still struct {
	size image.Point
	data []byte
}

func frameAt(t *testing.T, path string, size image.Point, at float64) still {
	t.Helper()
	out := tool(t, "ffmpeg", "-v", "error", "-ss", fmt.Sprint(at), "-i", path, "-frames:v", "1", "-pix_fmt", "yuv420p", "-f", "rawvideo", "-")
	if len(out) != size.X*size.Y*3/2 {
		t.Fatalf("a picture of %d bytes", len(out))
	}
	return still{size, []byte(out)}
}

// light is what there is of each light in a part of a picture, of 1.
type light struct{ black, card, white float64 }

func (s still) measure(r image.Rectangle) (l light) {
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			switch v := s.data[y*s.size.X+x]; {
			case v < 22:
				l.black++
			case v >= 38 && v <= 50:
				l.card++
			case v > 180:
				l.white++
			}
		}
	}
	n := float64(r.Dx() * r.Dy())
	return light{l.black / n, l.card / n, l.white / n}
}

// look tells what a part of a picture shows. A card has a name on it.
func (s still) look(r image.Rectangle) string {
	l := s.measure(r)
	switch {
	case l.black > 0.98:
		return "black"
	case l.card > 0.85 && l.white > 0.001:
		return "card"
	case l.card > 0.85:
		return "card without a name"
	case l.black < 0.5:
		return "video"
	}
	return "mostly black"
}

// keepPicture keeps a picture to be looked at, if the environment says where.
func keepPicture(t *testing.T, path string, at float64) {
	t.Helper()
	if dir := os.Getenv("CLASSREC_TEST_PICTURES"); dir != "" {
		name := strings.ReplaceAll(t.Name(), "/", "-") + fmt.Sprintf("-%v.png", at)
		tool(t, "ffmpeg", "-y", "-v", "error", "-ss", fmt.Sprint(at), "-i", path, "-frames:v", "1", filepath.Join(dir, name))
	}
}

// TestE2E_MixOfMany mixes for a moment 5, 9 and 20 people, sound only, picture only, with a file that is broken, and
// with an ffmpeg that cannot draw text.
func TestE2E_MixOfMany(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name           string
		people         int
		video, audio   bool
		broken         string // what ffmpeg fails with
		files, warning int
	}{
		{"five", 5, true, true, "", 2, 0},
		{"nine", 9, true, true, "", 2, 0},
		{"twenty", 20, true, true, "", 2, 0},
		{"sound only", 3, false, true, "", 2, 0},
		{"picture only", 2, true, false, "", 1, 0},
		{"a broken file", 3, true, true, "学生2号.mkv", 2, 2},
		{"no text", 2, true, true, "ass=", 2, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			files := crowd(t, dir, tt.people, tt.video, tt.audio, tt.broken)
			if len(files) != tt.files {
				t.Fatalf("files %v", names(files))
			}
			for _, f := range files {
				tool(t, "ffmpeg", "-v", "error", "-i", in(dir, f), "-f", "null", "-")
			}
			if _, warnings, err := recorder.Notes(dir); err != nil || len(warnings) != tt.warning {
				t.Errorf("warnings %q, %v", warnings, err)
			}
			if got := must[[]os.DirEntry](t)(os.ReadDir(dir)); len(got) != tt.files+1 {
				t.Errorf("left over: %v", got)
			}
			keepPicture(t, in(dir, files[0]), 2)
		})
	}
}

// crowd records people for three seconds, and mixes them. ffmpeg fails where broken is among what it is told.
func crowd(t *testing.T, dir string, people int, video, audio bool, broken string) (files []recorder.File) {
	t.Helper()
	var cfg recorder.Config
	if broken != "" {
		cfg.FFmpegPath = filepath.Join(t.TempDir(), "ffmpeg")
		script := "#!/bin/sh\ncase \"$*\" in *" + broken + "*) echo broken >&2; exit 1;; esac\nexec ffmpeg \"$@\"\n"
		if err := os.WriteFile(cfg.FFmpegPath, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		rec := must[*recorder.Recording](t)(recorder.New(cfg).Start(recorder.Options{Dir: dir, Type: recorder.TypeMix}))
		var feeds []*feed
		for i := range people {
			user := fmt.Sprint("user", i)
			name := fmt.Sprintf("学生%d号", i+1)
			state(rec, user, name, nil)
			var sources []*source
			if video {
				sources = append(sources, newSource(t, user, []func() (*clips.Clip, error){clips.StudentVideo, clips.TeacherVideo, clips.TeacherH264}[i%3]))
			}
			if audio {
				sources = append(sources, newSource(t, user, clips.StudentAudio))
			}
			for _, s := range sources {
				s.info.Nickname = name
				feeds = append(feeds, addFeed(t, rec, s))
			}
		}
		play(t, 3*time.Second, feeds...)
		files = stop(t, rec)
	})
	return files
}

// TestE2E_MixAgain mixes what a crash has left; a server that stops meanwhile leaves nothing running, and the next one
// begins again.
func TestE2E_MixAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		crash(t, dir, recorder.Options{Type: recorder.TypeMix, Chat: true}, 20*time.Second)
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := recorder.New(recorder.Config{}).Recover(ctx, dir)
		ended <- err
	}()
	for { // until the picture is being made
		if made := must[[]string](t)(filepath.Glob(filepath.Join(dir, ".converting-*.mp4"))); len(made) > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("broken off with %v", err)
	}
	if running := ffmpegsIn(t, dir); len(running) > 0 {
		t.Errorf("still running: %q", running)
	}
	files := must[[]recorder.File](t)(recorder.New(recorder.Config{}).Recover(t.Context(), dir))
	if got := names(files); !slices.Equal(got, []string{"recording.mp4", "recording.mp3", "chat.vtt"}) {
		t.Errorf("files %v", got)
	}
	if f := files[0]; f.VideoCodec != "H264" || f.AudioCodec != "AAC" || f.Width != 1280 || f.Height != 720 || f.Duration < 18*time.Second {
		t.Errorf("the first is %+v", f)
	}
	tool(t, "ffmpeg", "-v", "error", "-i", in(dir, files[0]), "-f", "null", "-")
	if left := must[[]os.DirEntry](t)(os.ReadDir(dir)); len(left) != len(files)+1 {
		t.Errorf("left over: %v", left)
	}
}

// ffmpegsIn lists the processes that work in a directory.
func ffmpegsIn(t *testing.T, dir string) (running []string) {
	t.Helper()
	for _, cwd := range must[[]string](t)(filepath.Glob("/proc/[0-9]*/cwd")) {
		if at, err := os.Readlink(cwd); err == nil && at == dir {
			line, _ := os.ReadFile(filepath.Join(filepath.Dir(cwd), "cmdline")) // it may have ended
			running = append(running, string(line))
		}
	}
	return running
}

// TestE2E_MixedSound hears everybody's beeps where they belong, those two seconds apart to within 10 ms: with a sender whose clock
// runs fast, packets that are lost, one who comes late, and one who is mute for a while.
func TestE2E_MixedSound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const seconds = 300
	synctest.Test(t, func(t *testing.T) {
		rec := must[*recorder.Recording](t)(recorder.New(recorder.Config{}).Start(recorder.Options{Dir: dir, Type: recorder.TypeMP3}))
		first := addFeed(t, rec, newSource(t, "teacher", clips.TeacherAudio))
		first.rate *= 1.0001 // 30 ms in all
		lossy(first)
		play(t, 7*time.Second, first)
		late := addFeed(t, rec, newSource(t, "student", clips.StudentAudio))
		lossy(late)
		play(t, 20*time.Second, first, late)
		pass := late.pass
		late.pass = func(*rtp.Packet) []*rtp.Packet { return nil }
		play(t, 13*time.Second, first, late)
		late.pass = pass
		play(t, (seconds-40)*time.Second, first, late)
		stop(t, rec)
	})
	beeps := heard(t, in(dir, recorder.File{Name: "recording.mp3"}))
	if len(beeps) < seconds-1 || len(beeps) > seconds {
		t.Fatalf("%d beeps in %d s", len(beeps), seconds)
	}
	for i, at := range beeps {
		if off := at - math.Round(beeps[0]) - float64(i); math.Abs(off) > 0.030 {
			t.Fatalf("beep %d is at %v s", i, at)
		}
		if i >= 2 && math.Abs(at-beeps[i-2]-2) > 0.010 {
			t.Errorf("beep %d is %v s after the one before the last", i, at-beeps[i-2])
		}
	}
}

// lossy loses a packet in twenty of those that have no beginning or end of a beep.
func lossy(f *feed) {
	rng := rand.New(rand.NewPCG(1, 2))
	f.pass = func(p *rtp.Packet) []*rtp.Packet {
		in := time.Since(f.begin) % time.Second
		if quiet := in > 200*time.Millisecond && in < 900*time.Millisecond; quiet && rng.IntN(20) == 0 {
			return nil
		}
		return []*rtp.Packet{p}
	}
}

// heard is when beeps begin, in seconds.
func heard(t *testing.T, path string) (at []float64) {
	t.Helper()
	out := tool(t, "ffmpeg", "-v", "error", "-i", path, "-ac", "1", "-ar", "48000", "-f", "s16le", "-")
	quiet := 48000
	for i := 0; i+1 < len(out); i += 2 {
		if v := int16(uint16(out[i]) | uint16(out[i+1])<<8); v > 2000 || v < -2000 {
			if quiet > 14400 { // 300 ms
				at = append(at, float64(i/2)/48000)
			}
			quiet = 0
		}
		quiet++
	}
	return at
}
