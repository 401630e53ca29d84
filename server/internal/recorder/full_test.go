// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/recorder"
)

// blockManifest puts a directory in the manifest's place, so that it cannot be written; it returns what undoes that.
func blockManifest(t *testing.T, dir string) (unblock func()) {
	t.Helper()
	path := filepath.Join(dir, "recording.json")
	raw := must[[]byte](t)(os.ReadFile(path))
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := errors.Join(os.Remove(path), os.WriteFile(path, raw, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRecording_Unsaved: a disk that refuses the last manifest leaves the recording to another Stop.
func TestRecording_Unsaved(t *testing.T) {
	virtual(t, func(t *testing.T) {
		dir := t.TempDir()
		rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList})
		f := addFeed(t, rec, newSource(t, "u", clips.TeacherVideo))
		play(t, 2*time.Second, f)
		unblock := blockManifest(t, dir)
		for range 2 {
			files, err := rec.Stop(t.Context())
			if !errors.Is(err, recorder.ErrUnsaved) || !errors.Is(err, recorder.ErrWrite) || len(files) != 1 {
				t.Errorf("on a disk that refuses the manifest: %v, %v", names(files), err)
			}
		}
		unblock()
		files, err := rec.Stop(t.Context())
		if errors.Is(err, recorder.ErrUnsaved) || len(files) != 1 {
			t.Fatalf("afterwards: %v, %v", names(files), err)
		}
		demux(t, in(dir, files[0]))
		again, err := recorder.New(recorder.Config{}).Recover(t.Context(), dir)
		if errors.Is(err, recorder.ErrUnsaved) || !slices.Equal(again, files) {
			t.Errorf("Recover: %v, %v; Stop said %v", again, err, files)
		}
	})
}

// TestRecording_RoomAgain: when the disk has room again, the recording goes on in the same files.
func TestRecording_RoomAgain(t *testing.T) {
	for name, left := range map[string]int64{"at once": 0, "in the head": 100, "in media": 200_000} {
		virtualRun(t, name, func(t *testing.T) {
			dir := t.TempDir()
			r, disk := recorder.New(recorder.Config{}), &recorder.Disk{Left: left}
			r.SetDisk(disk)
			rec := must[*recorder.Recording](t)(r.Start(recorder.Options{Dir: dir, Type: recorder.TypeList, Chat: true}))
			video, audio := addFeed(t, rec, newSource(t, "t", clips.TeacherVideo)), addFeed(t, rec, newSource(t, "t", clips.TeacherAudio))
			var refused error
			send := func(d time.Duration) {
				for begin := time.Now(); time.Since(begin) < d; {
					for _, f := range []*feed{video, audio} {
						for f.at().Before(time.Now()) {
							for _, p := range f.frame() {
								refused = f.track.WriteRTP(p, time.Now())
							}
						}
					}
					time.Sleep(20 * time.Millisecond)
				}
			}
			send(30 * time.Second)
			if !errors.Is(refused, syscall.ENOSPC) {
				t.Fatalf("the disk is full: %v", refused)
			}
			if err := rec.WriteChat(recorder.ChatMessage{UserID: "u", Text: "lost"}); !errors.Is(err, recorder.ErrWrite) {
				t.Errorf("chat on a full disk: %v", err)
			}
			asked := video.asked.Load()
			disk.SetLeft(1 << 30)
			send(45 * time.Second)
			if refused != nil {
				t.Errorf("the disk has room: %v", refused)
			}
			if video.asked.Load() == asked {
				t.Error("no keyframe was asked for")
			}
			if err := rec.WriteChat(recorder.ChatMessage{UserID: "u", Text: "kept"}); err != nil {
				t.Errorf("chat: %v", err)
			}
			files, err := rec.Stop(t.Context())
			if !errors.Is(err, recorder.ErrWrite) || !errors.Is(err, syscall.ENOSPC) || len(files) != 2 {
				t.Fatalf("Stop: %v, %v", names(files), err)
			}
			m := demux(t, in(dir, files[0]))
			if m.duration() < 74*time.Second || m.duration() != files[0].Duration {
				t.Errorf("duration %v, listed %v", m.duration(), files[0].Duration)
			}
			for _, codec := range []string{"V_VP8", "A_OPUS"} {
				blocks := m.track(t, codec)
				before, resumed := 0, -1
				for i, b := range blocks {
					if b.at < 20*time.Second {
						before++
					} else if resumed < 0 {
						resumed = i
					}
				}
				if resumed < 0 || blocks[resumed].at > 65*time.Second || !blocks[resumed].key || len(blocks)-resumed < 100 || left > 1000 && before < 10 {
					t.Errorf("%s: %d blocks, %d before the disk was full, resumed at %d", codec, len(blocks), before, resumed)
				}
			}
			chat := string(must[[]byte](t)(os.ReadFile(filepath.Join(dir, "chat.vtt"))))
			if !strings.HasPrefix(chat, "WEBVTT\n\n") || !strings.Contains(chat, "kept") {
				t.Errorf("chat: %q", chat)
			}
		})
	}
}
