// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/recorder"
)

// mixing is a Config with which a mix may be recorded, and comes to nothing in the end.
func mixing(t *testing.T) recorder.Config {
	t.Helper()
	never, err := exec.LookPath("false")
	if err != nil {
		t.Fatal(err)
	}
	return recorder.Config{FFmpegPath: never}
}

// state tells the recording of a stream.
func state(rec *recorder.Recording, user, name string, change func(*recorder.StreamState)) {
	s := recorder.StreamState{Stream: user + "-camera", User: user, Name: name, Teacher: user == "teacher"}
	if change != nil {
		change(&s)
	}
	rec.StreamChanged(s, time.Now())
}

// TestRecording_States notes what becomes of streams, and where in the files each begins, while the class goes on; and
// nothing of it in classes of other types, or after the end.
func TestRecording_States(t *testing.T) {
	virtual(t, func(t *testing.T) {
		dir := t.TempDir()
		rec := must[*recorder.Recording](t)(recorder.New(mixing(t)).Start(recorder.Options{Dir: dir, Type: recorder.TypeMix}))
		first := addFeed(t, rec, newSource(t, "u", clips.TeacherVideo))
		rec.StreamChanged(recorder.StreamState{Stream: "u-camera", User: "u", Name: "王\n\"<"}, time.Now())
		play(t, 3*time.Second, first)
		_ = first.track.Close()
		s := newSource(t, "u", clips.TeacherVideo)
		s.info.StreamID = "u-screen"
		second := addFeed(t, rec, s)
		rec.StreamChanged(recorder.StreamState{Stream: "u-screen", User: "u", Screen: true}, time.Now())
		play(t, 2*time.Second, second)
		got := string(must[[]byte](t)(os.ReadFile(filepath.Join(dir, ".streams.jsonl"))))
		want := `{"at":0,"stream":"u-camera","user":"u","name":"王\n\"\u003c"}` + "\n" + `{"at":3000000000,"stream":"u-screen","user":"u","screen":true}` + "\n"
		if got != want {
			t.Errorf("noted %s, want %s", got, want)
		}
		manifest := string(must[[]byte](t)(os.ReadFile(filepath.Join(dir, "recording.json"))))
		at := 0
		for _, part := range []string{`"streamId": "u-camera"`, `"from": 0`, `"streamId": "u-screen"`, `"from": 3`} {
			n := strings.Index(manifest[at:], part)
			if n < 0 {
				t.Errorf("the manifest has no %s in its place: %s", part, manifest)
			}
			at += max(n, 0)
		}
		if _, err := rec.Stop(t.Context()); !errors.Is(err, recorder.ErrConvert) {
			t.Errorf("stopped with %v", err)
		}
		rec.StreamChanged(recorder.StreamState{Stream: "late"}, time.Now())

		other := start(t, recorder.Config{}, recorder.Options{Type: recorder.TypeList, Dir: t.TempDir()})
		other.StreamChanged(recorder.StreamState{Stream: "x"}, time.Now())
		stop(t, other)
	})
}

// TestRecording_StatesBounded notes more than there is room for while the disk refuses.
func TestRecording_StatesBounded(t *testing.T) {
	virtual(t, func(t *testing.T) {
		dir := t.TempDir()
		r := recorder.New(mixing(t))
		disk := &recorder.Disk{}
		r.SetDisk(disk)
		rec := must[*recorder.Recording](t)(r.Start(recorder.Options{Dir: dir, Type: recorder.TypeMix}))
		for i := range 10_000 {
			rec.StreamChanged(recorder.StreamState{Stream: fmt.Sprint(i)}, time.Now())
			if i%1000 == 0 {
				time.Sleep(time.Second)
			}
		}
		time.Sleep(1010 * time.Millisecond) // until all that waits is in one place
		disk.SetLeft(100 << 20)
		time.Sleep(2 * time.Minute)
		lines := strings.Split(strings.TrimSpace(string(must[[]byte](t)(os.ReadFile(filepath.Join(dir, ".streams.jsonl"))))), "\n")
		if len(lines) != 4096 || !strings.Contains(lines[len(lines)-1], `"9999"`) {
			t.Errorf("%d states, the last is %s", len(lines), lines[len(lines)-1])
		}
		_, _ = rec.Stop(t.Context()) // there was no media
	})
}
