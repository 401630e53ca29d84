// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package recorder_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/recorder"
)

// probed is what ffprobe says of a file.
type probed struct {
	Format struct {
		Duration   string `json:"duration"`
		FormatName string `json:"format_name"`
	} `json:"format"`
	Streams []struct {
		CodecName string `json:"codec_name"`
		CodecType string `json:"codec_type"`
		Packets   string `json:"nb_read_packets"`
		Width     int    `json:"width"`
		Height    int    `json:"height"`
	} `json:"streams"`
}

func probe(t *testing.T, path string) probed {
	t.Helper()
	out := tool(t, "ffprobe", "-v", "error", "-count_packets", "-show_format", "-show_streams", "-of", "json", path)
	var p probed
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// tool runs a program, which must succeed and have nothing to complain about.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String()
}

// class records ten seconds: the teacher from the beginning, the student from the third second to the eighth.
func class(t *testing.T, opts recorder.Options, teacher func() (*clips.Clip, error)) (files []recorder.File) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		opts.Chat = true
		r := recorder.New(recorder.Config{})
		rec := must[*recorder.Recording](t)(r.Start(opts))
		tv := addFeed(t, rec, newSource(t, "teacher", teacher))
		ta := addFeed(t, rec, newSource(t, "teacher", clips.TeacherAudio))
		play(t, 2*time.Second, tv, ta)
		sv := addFeed(t, rec, newSource(t, "student", clips.StudentVideo))
		sa := addFeed(t, rec, newSource(t, "student", clips.StudentAudio))
		play(t, 3*time.Second, tv, ta, sv, sa)
		if err := rec.WriteChat(recorder.ChatMessage{UserID: "student", Nickname: "小明", Text: "a < b && c"}); err != nil {
			t.Fatal(err)
		}
		play(t, 3*time.Second, tv, ta, sv, sa)
		_ = sv.track.Close()
		_ = sa.track.Close()
		play(t, 2*time.Second, tv, ta)
		files = stop(t, rec)
	})
	return files
}

func TestE2E_Formats(t *testing.T) {
	t.Parallel()
	type want struct {
		name     string
		codecs   []string
		duration float64
	}
	const late = 6 // the student is there from 2 s to 8 s
	for name, tt := range map[string]struct {
		opts    recorder.Options
		teacher func() (*clips.Clip, error)
		files   []want
	}{
		"list mkv": {recorder.Options{Type: recorder.TypeList}, clips.TeacherVideo, []want{
			{"teacher.mkv", []string{"vp8", "opus"}, 10}, {"student.mkv", []string{"vp8", "opus"}, late}, {"chat.vtt", nil, 0},
		}},
		"list webm": {recorder.Options{Type: recorder.TypeList, Format: recorder.WebM}, clips.TeacherVideo, []want{
			{"teacher.webm", []string{"vp8", "opus"}, 10}, {"student.webm", []string{"vp8", "opus"}, late}, {"chat.vtt", nil, 0},
		}},
		"list webm of h264": {recorder.Options{Type: recorder.TypeList, Format: recorder.WebM}, clips.TeacherH264, []want{
			{"teacher.mkv", []string{"h264", "opus"}, 10}, {"student.webm", []string{"vp8", "opus"}, late}, {"chat.vtt", nil, 0},
		}},
		"list mp4": {recorder.Options{Type: recorder.TypeList, Format: recorder.MP4}, clips.TeacherVideo, []want{
			{"teacher.mp4", []string{"h264", "aac"}, 10}, {"student.mp4", []string{"h264", "aac"}, late}, {"chat.vtt", nil, 0},
		}},
		"list mp4 of h264": {recorder.Options{Type: recorder.TypeList, Format: recorder.MP4}, clips.TeacherH264, []want{
			{"teacher.mp4", []string{"h264", "aac"}, 10}, {"student.mp4", []string{"h264", "aac"}, late}, {"chat.vtt", nil, 0},
		}},
		"file mkv": {recorder.Options{Type: recorder.TypeFile}, clips.TeacherVideo, []want{
			{"recording.mkv", []string{"vp8", "opus", "vp8", "opus", "webvtt"}, 10}, {"chat.vtt", nil, 0},
		}},
		"file webm": {recorder.Options{Type: recorder.TypeFile, Format: recorder.WebM}, clips.TeacherVideo, []want{
			{"recording.webm", []string{"vp8", "opus", "vp8", "opus", "webvtt"}, 10}, {"chat.vtt", nil, 0},
		}},
		"file webm of h264": {recorder.Options{Type: recorder.TypeFile, Format: recorder.WebM}, clips.TeacherH264, []want{
			{"recording.mkv", []string{"h264", "opus", "vp8", "opus", "webvtt"}, 10}, {"chat.vtt", nil, 0},
		}},
		"file mp4": {recorder.Options{Type: recorder.TypeFile, Format: recorder.MP4}, clips.TeacherH264, []want{
			{"recording.mp4", []string{"h264", "aac", "h264", "aac", "mov_text"}, 10}, {"chat.vtt", nil, 0},
		}},
		"mp3": {recorder.Options{Type: recorder.TypeMP3}, clips.TeacherVideo, []want{
			{"recording.mp3", []string{"mp3"}, 10}, {"chat.vtt", nil, 0},
		}},
		"mix": {recorder.Options{Type: recorder.TypeMix}, clips.TeacherVideo, []want{
			{"recording.mp4", []string{"h264", "aac"}, 10}, {"recording.mp3", []string{"mp3"}, 10}, {"chat.vtt", nil, 0},
		}},
		"mix portrait": {recorder.Options{Type: recorder.TypeMix, Layout: recorder.Portrait}, clips.TeacherH264, []want{
			{"recording.mp4", []string{"h264", "aac"}, 10}, {"recording.mp3", []string{"mp3"}, 10}, {"chat.vtt", nil, 0},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			tt.opts.Dir = dir
			files := class(t, tt.opts, tt.teacher)
			if len(files) != len(tt.files) {
				t.Fatalf("files %v", names(files))
			}
			for i, w := range tt.files {
				if files[i].Name != w.name {
					t.Fatalf("file %d is %s, want %s", i, files[i].Name, w.name)
				}
				path := filepath.Join(dir, w.name)
				p := probe(t, path)
				if w.codecs == nil {
					continue
				}
				var got []string
				for _, s := range p.Streams {
					got = append(got, s.CodecName)
				}
				slices.Sort(got)
				slices.Sort(w.codecs)
				if !slices.Equal(got, w.codecs) {
					t.Errorf("%s: codecs %v, want %v", w.name, got, w.codecs)
				}
				if d, _ := strconv.ParseFloat(p.Format.Duration, 64); math.Abs(d-w.duration) > 0.2 {
					t.Errorf("%s: duration %s, want %v", w.name, p.Format.Duration, w.duration)
				}
				if d := files[i].Duration.Seconds(); math.Abs(d-w.duration) > 0.2 {
					t.Errorf("%s: we say %vs, want %v", w.name, d, w.duration)
				}
				tool(t, "ffmpeg", "-v", "error", "-i", path, "-map", "0:v?", "-map", "0:a?", "-f", "null", "-")
				if len(got) == 5 {
					text := tool(t, "ffmpeg", "-v", "error", "-i", path, "-map", "0:s", "-f", "srt", "-")
					if !strings.Contains(text, "小明") || !strings.Contains(text, "a < b && c") || !strings.Contains(text, "00:00:05,0") {
						t.Errorf("%s: the chat came out as %q", w.name, text)
					}
				}
				tool(t, "ffmpeg", "-v", "error", "-ss", "5", "-i", path, "-frames:v", "1", "-f", "null", "-")
			}
			if left := must[[]string](t)(filepath.Glob(filepath.Join(dir, "*"))); len(left) != len(files)+1 {
				t.Errorf("left over beside the files and the manifest: %v", left)
			}
		})
	}
}

// onsets returns the seconds at which the picture begins to flash and the sound to beep.
func onsets(t *testing.T, path string, crop string) (flashes, beeps []float64) {
	t.Helper()
	picture := tool(t, "ffmpeg", "-v", "error", "-i", path, "-map", "0:v:0", "-vf", "crop="+crop+",signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=-", "-f", "null", "-")
	was := 0.0
	for _, m := range regexp.MustCompile(`pts_time:([0-9.]+)\s+lavfi.signalstats.YAVG=([0-9.]+)`).FindAllStringSubmatch(picture, -1) {
		at, _ := strconv.ParseFloat(m[1], 64)
		light, _ := strconv.ParseFloat(m[2], 64)
		if light > 190 && was <= 190 {
			flashes = append(flashes, at)
		}
		was = light
	}
	out, err := exec.Command("ffmpeg", "-hide_banner", "-nostats", "-i", path, "-map", "0:a:0", "-af", "silencedetect=noise=-40dB:d=0.3", "-f", "null", "-").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, m := range regexp.MustCompile(`silence_end: ([0-9.]+)`).FindAllStringSubmatch(string(out), -1) {
		at, _ := strconv.ParseFloat(m[1], 64)
		beeps = append(beeps, at)
	}
	return flashes, beeps
}

// TestE2E_Sync sees the flashes and hears the beeps of what was recorded, and of what ffmpeg made of it.
func TestE2E_Sync(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		opts recorder.Options
		file string
		crop string // the flashing part of the teacher's picture, where it is at some time
	}{
		"mkv":  {recorder.Options{Type: recorder.TypeList}, "teacher.mkv", "iw:ih/4:0:ih*3/4"},
		"webm": {recorder.Options{Type: recorder.TypeFile, Format: recorder.WebM}, "recording.webm", "iw:ih/4:0:ih*3/4"},
		"mp4":  {recorder.Options{Type: recorder.TypeList, Format: recorder.MP4}, "teacher.mp4", "iw:ih/4:0:ih*3/4"},
		// Alone first, then beside the student, and alone again.
		"mix": {recorder.Options{Type: recorder.TypeMix}, "recording.mp4", "1280:160:0:550 640:80:0:455"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.opts.Dir = t.TempDir()
			class(t, tt.opts, clips.TeacherVideo)
			var flashes, beeps []float64
			for crop := range strings.FieldsSeq(tt.crop) {
				seen, heard := onsets(t, filepath.Join(tt.opts.Dir, tt.file), crop)
				flashes, beeps = append(flashes, seen...), heard
			}
			for second := 1; second < 10; second++ {
				for what, at := range map[string][]float64{"flash": flashes, "beep": beeps} {
					if !slices.ContainsFunc(at, func(s float64) bool { return math.Abs(s-float64(second)) < 0.05 }) {
						t.Errorf("no %s within 50 ms of second %d: %v", what, second, at)
					}
				}
			}
		})
	}
}

// TestE2E_Hard records what is hard on players: losses, pauses, another size of picture; and decodes it all.
func TestE2E_Hard(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]recorder.Options{
		"mkv": {Type: recorder.TypeList}, "mp4": {Type: recorder.TypeList, Format: recorder.MP4},
		"mix": {Type: recorder.TypeMix, Layout: recorder.Portrait}, "mp3": {Type: recorder.TypeMP3},
	} {
		for codec, load := range map[string][2]func() (*clips.Clip, error){
			"vp8": {clips.StudentVideo, clips.Bench720p}, "h264": {clips.TeacherH264, clips.TeacherH264},
		} {
			t.Run(name+" of "+codec, func(t *testing.T) {
				t.Parallel()
				opts := opts
				opts.Dir = t.TempDir()
				var files []recorder.File
				synctest.Test(t, func(t *testing.T) {
					rec := must[*recorder.Recording](t)(recorder.New(recorder.Config{}).Start(opts))
					v, a := addFeed(t, rec, newSource(t, "u", load[0])), addFeed(t, rec, newSource(t, "u", clips.TeacherAudio))
					n := 0
					v.pass = func(p *rtp.Packet) []*rtp.Packet {
						if n++; n%131 == 0 {
							return nil
						}
						return []*rtp.Packet{p}
					}
					a.pass = v.pass
					time.Sleep(3 * time.Second)
					v.begin, a.begin = time.Now(), time.Now()
					play(t, 8*time.Second, v, a)
					time.Sleep(time.Minute) // both mute
					s := newSource(t, "u", load[1])
					s.seq, s.ts = v.seq, v.rtpTime(time.Since(v.begin))
					v.source = s
					s = newSource(t, "u", clips.TeacherAudio)
					s.seq, s.ts = a.seq, a.rtpTime(time.Since(a.begin))
					a.source = s
					play(t, 8*time.Second, v, a)
					files = stop(t, rec)
				})
				want := 76.0
				if opts.Type == recorder.TypeMP3 || opts.Type == recorder.TypeMix {
					want = 79 // with what is before anybody came
				}
				for _, f := range files {
					path := filepath.Join(opts.Dir, f.Name)
					tool(t, "ffmpeg", "-v", "error", "-i", path, "-fps_mode", "passthrough", "-enc_time_base:v", "1:1000", "-f", "null", "-")
					tool(t, "ffmpeg", "-v", "error", "-ss", "71", "-i", path, "-t", "1", "-f", "null", "-")
					if d, _ := strconv.ParseFloat(probe(t, path).Format.Duration, 64); math.Abs(d-want) > 0.3 {
						t.Errorf("%s: duration %v, want %v", f.Name, d, want)
					}
				}
			})
		}
	}
}

// TestE2E_ConversionFails keeps the files as recorded when ffmpeg fails, and when it is gone by then.
func TestE2E_ConversionFails(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{"fails": "#!/bin/sh\necho broken >&2\nexit 3\n", "is gone": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, bin := t.TempDir(), filepath.Join(t.TempDir(), "ffmpeg")
			if err := os.WriteFile(bin, []byte("#!/bin/sh\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				rec := must[*recorder.Recording](t)(recorder.New(recorder.Config{FFmpegPath: bin}).Start(recorder.Options{Dir: dir, Type: recorder.TypeMix}))
				a := addFeed(t, rec, newSource(t, "u", clips.TeacherAudio))
				play(t, 2*time.Second, a)
				if err := os.Remove(bin); err != nil {
					t.Fatal(err)
				}
				if script != "" {
					if err := os.WriteFile(bin, []byte(script), 0o700); err != nil {
						t.Fatal(err)
					}
				}
				files, err := rec.Stop(t.Context())
				if !errors.Is(err, recorder.ErrConvert) || script != "" && !strings.Contains(err.Error(), "broken") {
					t.Errorf("Stop: %v", err)
				}
				if !slices.Equal(names(files), []string{"u.mkv"}) {
					t.Fatalf("files %v", names(files))
				}
				demux(t, in(dir, files[0]))
			})
		})
	}
}

// TestE2E_RecoverConverts finishes a recording whose process died before the conversion.
func TestE2E_RecoverConverts(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]recorder.Options{
		"mp4": {Type: recorder.TypeFile, Format: recorder.MP4, Chat: true}, "mix": {Type: recorder.TypeMix, Chat: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				crash(t, dir, opts, 5*time.Second)
			})
			canceled, cancel := context.WithCancel(t.Context())
			cancel()
			r := recorder.New(recorder.Config{})
			if _, err := r.Recover(canceled, dir); !errors.Is(err, context.Canceled) {
				t.Errorf("Recover, canceled: %v", err)
			}
			files := must[[]recorder.File](t)(r.Recover(t.Context(), dir))
			if files[0].Name != "recording.mp4" {
				t.Fatalf("files %v", names(files))
			}
			path := in(dir, files[0])
			tool(t, "ffmpeg", "-v", "error", "-i", path, "-map", "0:v", "-map", "0:a", "-f", "null", "-")
			if d, _ := strconv.ParseFloat(probe(t, path).Format.Duration, 64); d < 4 || d > 5.2 {
				t.Errorf("duration %v, want nearly 5", d)
			}
		})
	}
}
