// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package recorder_test

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/recorder"
)

// TestE2E_Chat has ffprobe read the chat from MP4, as it stands there, and ffmpeg decode that of Matroska.
func TestE2E_Chat(t *testing.T) {
	t.Parallel()
	for _, format := range []recorder.Format{recorder.MP4, recorder.MKV} {
		t.Run(format.String(), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				rec := must[*recorder.Recording](t)(recorder.New(recorder.Config{}).Start(recorder.Options{
					Dir: dir, Type: recorder.TypeFile, Format: format, Chat: true,
				}))
				say := func(text string) {
					t.Helper()
					if err := rec.WriteChat(recorder.ChatMessage{UserID: "u", Nickname: "<b>Li", Text: text}); err != nil {
						t.Fatal(err)
					}
				}
				v := addFeed(t, rec, newSource(t, "u", clips.TeacherH264))
				play(t, 2*time.Second, v)
				for i := range 64 { // within a second
					play(t, 10*time.Millisecond, v)
					say("line " + strconv.Itoa(i))
				}
				play(t, 2*time.Second, v)
				say(`if a<b and c>d {\an8}up <i>x</i> C:\new`)
				play(t, 10*time.Second, v)
				say("大家好\n👋")
				play(t, 7*time.Second, v)
				stop(t, rec)
			})
			path := filepath.Join(dir, "recording."+format.String())
			if format == recorder.MKV {
				text := tool(t, "ffmpeg", "-v", "error", "-i", path, "-map", "0:s", "-f", "ass", "-")
				if !strings.Contains(text, `<b>Li: if a<b and c>d`) || !strings.Contains(text, `\{\an8\}up <i>x</i> C:\`+"\u2060new") {
					t.Errorf("the chat is decoded as %s", text)
				}
				return
			}
			text := tool(t, "ffmpeg", "-v", "error", "-i", path, "-map", "0:s", "-c", "copy", "-f", "data", "-")
			for _, want := range []string{`<b>Li: if a<b and c>d {\an8}up <i>x</i> C:\new`, "<b>Li: 大家好\n👋", "line 0\n", "line 63"} {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not in the track: %q", want, text)
				}
			}
			var shown int
			out := tool(t, "ffprobe", "-v", "error", "-select_streams", "s", "-show_entries", "packet=pts_time,duration_time,size", "-of", "csv=p=0", path)
			for line := range strings.Lines(out) {
				fields := strings.Split(strings.TrimSpace(line), ",")
				if fields[2] == "2" {
					continue // nothing is shown
				}
				lasts, err := strconv.ParseFloat(fields[1], 64)
				if err != nil {
					t.Fatalf("packet %q: %v", line, err)
				}
				if shown++; lasts < 1 || lasts > 5.01 {
					t.Errorf("a cue lasts %v s", lasts)
				}
			}
			t.Log(out)
			if shown != 3 {
				t.Errorf("%d cues, want 3: %s", shown, out)
			}
		})
	}
}
