// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"slices"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/recorder"
)

func TestRecording_List(t *testing.T) {
	for _, format := range []recorder.Format{recorder.MKV, recorder.WebM} {
		t.Run(format.String(), func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				dir := t.TempDir()
				rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Format: format, Type: recorder.TypeList, Chat: true})
				tv := addFeed(t, rec, newSource(t, "teacher", clips.TeacherVideo))
				ta := addFeed(t, rec, newSource(t, "teacher", clips.TeacherAudio))
				play(t, 2*time.Second, tv, ta)
				sv := addFeed(t, rec, newSource(t, "student", clips.StudentVideo))
				sa := addFeed(t, rec, newSource(t, "student", clips.StudentAudio))
				play(t, 4*time.Second, tv, ta, sv, sa)
				if err := rec.WriteChat(recorder.ChatMessage{UserID: "student", Text: "hello"}); err != nil {
					t.Fatal(err)
				}
				play(t, 2*time.Second, tv, ta, sv, sa)
				files := stop(t, rec)
				ext := "." + format.String()
				if want := []string{"teacher" + ext, "student" + ext, "chat.vtt"}; !slices.Equal(names(files), want) {
					t.Fatalf("files %v, want %v", names(files), want)
				}
				teacher, student := demux(t, in(dir, files[0])), demux(t, in(dir, files[1]))
				if n := len(teacher.track(t, "V_VP8")); n != 8*15 {
					t.Errorf("teacher has %d pictures, want %d", n, 8*15)
				}
				if n := len(teacher.track(t, "A_OPUS")); n != 8*50 {
					t.Errorf("teacher has %d sounds, want %d", n, 8*50)
				}
				if at := student.track(t, "V_VP8")[0].at; at < 1990*time.Millisecond || at > 2010*time.Millisecond {
					t.Errorf("the student's first picture is at %v, want 2s", at)
				}
				if d := files[0].Duration; d < 7900*time.Millisecond || d > 8100*time.Millisecond {
					t.Errorf("duration %v, want 8s", d)
				}
			})
		})
	}
}
