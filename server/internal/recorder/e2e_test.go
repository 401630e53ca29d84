//go:build e2e

// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
	const late = 8 // the student leaves at 8 s
	for name, tt := range map[string]struct {
		opts    recorder.Options
		teacher func() (*clips.Clip, error)
		files   []want
	}{
		"list mkv": {recorder.Options{Type: recorder.TypeList}, clips.TeacherVideo, []want{
			{"teacher.mkv", []string{"vp8", "opus"}, 10}, {"student.mkv", []string{"vp8", "opus"}, late}, {"chat.vtt", nil, 0}}},
		"list webm": {recorder.Options{Type: recorder.TypeList, Format: recorder.WebM}, clips.TeacherVideo, []want{
			{"teacher.webm", []string{"vp8", "opus"}, 10}, {"student.webm", []string{"vp8", "opus"}, late}, {"chat.vtt", nil, 0}}},
		"list webm of h264": {recorder.Options{Type: recorder.TypeList, Format: recorder.WebM}, clips.TeacherH264, []want{
			{"teacher.mkv", []string{"h264", "opus"}, 10}, {"student.webm", []string{"vp8", "opus"}, late}, {"chat.vtt", nil, 0}}},
		"list mp4": {recorder.Options{Type: recorder.TypeList, Format: recorder.MP4}, clips.TeacherVideo, []want{
			{"teacher.mp4", []string{"h264", "opus"}, 10}, {"student.mp4", []string{"h264", "opus"}, late}, {"chat.vtt", nil, 0}}},
		"list mp4 of h264": {recorder.Options{Type: recorder.TypeList, Format: recorder.MP4}, clips.TeacherH264, []want{
			{"teacher.mp4", []string{"h264", "opus"}, 10}, {"student.mp4", []string{"h264", "opus"}, late}, {"chat.vtt", nil, 0}}},
		"file mkv": {recorder.Options{Type: recorder.TypeFile}, clips.TeacherVideo, []want{
			{"recording.mkv", []string{"vp8", "opus", "vp8", "opus", "subrip"}, 10}}},
		"file webm": {recorder.Options{Type: recorder.TypeFile, Format: recorder.WebM}, clips.TeacherVideo, []want{
			{"recording.webm", []string{"vp8", "opus", "vp8", "opus", "webvtt"}, 10}}},
		"file webm of h264": {recorder.Options{Type: recorder.TypeFile, Format: recorder.WebM}, clips.TeacherH264, []want{
			{"recording.mkv", []string{"h264", "opus", "vp8", "opus", "subrip"}, 10}}},
		"file mp4": {recorder.Options{Type: recorder.TypeFile, Format: recorder.MP4}, clips.TeacherH264, []want{
			{"recording.mp4", []string{"h264", "opus", "h264", "opus", "mov_text"}, 10}}},
		"mp3": {recorder.Options{Type: recorder.TypeMP3}, clips.TeacherVideo, []want{
			{"recording.mp3", []string{"mp3"}, 10}, {"chat.vtt", nil, 0}}},
		"mix": {recorder.Options{Type: recorder.TypeMix}, clips.TeacherVideo, []want{
			{"recording.mp4", []string{"h264", "aac"}, 10}, {"recording.mp3", []string{"mp3"}, 10}, {"chat.vtt", nil, 0}}},
		"mix portrait": {recorder.Options{Type: recorder.TypeMix, Layout: recorder.Portrait}, clips.TeacherH264, []want{
			{"recording.mp4", []string{"h264", "aac"}, 10}, {"recording.mp3", []string{"mp3"}, 10}, {"chat.vtt", nil, 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := keep(t)
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

func keep(t *testing.T) string {
	d := "/tmp/e2eout/" + strings.ReplaceAll(t.Name(), "/", "_")
	os.MkdirAll(d, 0o755)
	return d
}
