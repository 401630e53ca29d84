// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/recorder"
)

// crash makes dir what a kill -9 leaves of a recording after d.
func crash(t *testing.T, dir string, opts recorder.Options, d time.Duration) {
	t.Helper()
	opts.Dir = t.TempDir()
	rec := start(t, recorder.Config{}, opts)
	tv, ta := addFeed(t, rec, newSource(t, "teacher", clips.TeacherVideo)), addFeed(t, rec, newSource(t, "teacher", clips.TeacherAudio))
	sa := addFeed(t, rec, newSource(t, "student", clips.StudentAudio))
	play(t, d/2, tv, ta, sa)
	if err := rec.WriteChat(recorder.ChatMessage{UserID: "u", Text: "first"}); err != nil {
		t.Fatal(err)
	}
	play(t, d/4, tv, ta, sa)
	if err := rec.WriteChat(recorder.ChatMessage{UserID: "u", Text: "second"}); err != nil {
		t.Fatal(err)
	}
	play(t, d-d/2-d/4, tv, ta, sa)
	if err := os.CopyFS(dir, os.DirFS(opts.Dir)); err != nil {
		t.Fatal(err)
	}
	stop(t, rec)
}

// TestRecover_Kill: what is on disk lacks less than a second, plays as it is, and is finished by Recover.
func TestRecover_Kill(t *testing.T) {
	for name, opts := range map[string]recorder.Options{
		"list mkv":  {Type: recorder.TypeList, Chat: true},
		"list webm": {Type: recorder.TypeList, Format: recorder.WebM, Chat: true},
		"file mkv":  {Type: recorder.TypeFile, Chat: true},
	} {
		virtualRun(t, name, func(t *testing.T) {
			const length = 10*time.Second + 350*time.Millisecond
			dir := t.TempDir()
			crash(t, dir, opts, length)
			paths := must[[]string](t)(filepath.Glob(filepath.Join(dir, "*.[mw]*")))
			for _, p := range paths {
				m := demuxLoose(t, p)
				for n, blocks := range m.blocks {
					if last := blocks[len(blocks)-1].at; m.Segment.Tracks.TrackEntry[n-1].TrackType != 17 && last < length-time.Second {
						t.Errorf("%s: track %d ends at %v, more than a second before the crash", p, n, last)
					}
				}
			}
			before := map[string]int{}
			for _, p := range paths {
				before[filepath.Base(p)] = len(demuxLoose(t, p).Segment.Cluster)
			}
			r := recorder.New(recorder.Config{})
			files := must[[]recorder.File](t)(r.Recover(t.Context(), dir))
			media := 0
			for _, f := range files {
				if f.MediaType == "text/vtt" {
					continue
				}
				media++
				m := demux(t, in(dir, f))
				if sum := sha256.Sum256(m.raw); f.SHA256 != hex.EncodeToString(sum[:]) {
					t.Errorf("%s: sha256 %s, want %x", f.Name, f.SHA256, sum)
				}
				if m.duration() != f.Duration || f.Duration < length-time.Second || int64(len(m.raw)) != f.Size {
					t.Errorf("%+v: duration %v, size %d", f, m.duration(), len(m.raw))
				}
				if n := len(m.Segment.Cluster) - before[f.Name]; n < 0 || n > 1 { // one of silence, up to the pictures' end
					t.Errorf("%s: %d clusters, before %d", f.Name, len(m.Segment.Cluster), before[f.Name])
				}
			}
			if media != len(paths) {
				t.Errorf("files %v", names(files))
			}
			if again := must[[]recorder.File](t)(r.Recover(t.Context(), dir)); !slices.Equal(again, files) {
				t.Errorf("a second Recover gives %v, the first %v", again, files)
			}
		})
	}
}

// TestRecover_AnyByte cuts the files at every kind of place, as a power cut may.
func TestRecover_AnyByte(t *testing.T) {
	virtual(t, func(t *testing.T) {
		crashed := t.TempDir()
		crash(t, crashed, recorder.Options{Type: recorder.TypeList, Chat: true}, 3*time.Second)
		whole := must[[]byte](t)(os.ReadFile(filepath.Join(crashed, "student.mkv")))
		chat := must[[]byte](t)(os.ReadFile(filepath.Join(crashed, "chat.vtt")))
		random := rand.New(rand.NewPCG(5, 6))
		blocks, cues := 0, 0
		cuts := []int{0, 1, 100, 4095, 4096, 4097, 4110, len(whole) - 1, len(whole)}
		for range 100 {
			cuts = append(cuts, 4096+random.IntN(len(whole)-4096))
		}
		slices.Sort(cuts)
		for _, cut := range cuts {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(crashed)); err != nil {
				t.Fatal(err)
			}
			damaged := slices.Clone(whole[:cut])
			if cut > 4096 && cut%3 == 0 { // a file system may leave zeros
				damaged = append(damaged, make([]byte, 5000)...)
			}
			vtt := chat[:len(chat)*cut/len(whole)]
			for name, data := range map[string][]byte{"student.mkv": damaged, "chat.vtt": vtt} {
				if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			files, err := recorder.New(recorder.Config{}).Recover(t.Context(), dir)
			if err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			got := 0
			for _, f := range files {
				switch f.Name {
				case "student.mkv":
					got = len(demux(t, in(dir, f)).blocks[1])
				case "chat.vtt":
					n := cuesOf(must[[]byte](t)(os.ReadFile(in(dir, f))))
					if n < cues {
						t.Errorf("cut at %d: %d cues of chat, and %d in a shorter file", cut, n, cues)
					}
					cues = n
				}
			}
			if got < blocks-1 { // zeros may complete a last block, which cannot be told from a whole one
				t.Errorf("cut at %d: %d blocks, and %d in a shorter file", cut, got, blocks)
			}
			blocks = got
		}
		if blocks < 100 || cues != 2 {
			t.Errorf("%d blocks and %d cues of the whole file", blocks, cues)
		}
	})
}

// cuesOf counts the cues that are whole.
func cuesOf(vtt []byte) (n int) {
	for i := range vtt {
		if vtt[i] == '>' && i > 1 && vtt[i-1] == '-' {
			n++
		}
	}
	return n
}

func TestRecover_Refuses(t *testing.T) {
	t.Parallel()
	r := recorder.New(recorder.Config{})
	dir := t.TempDir()
	if _, err := r.Recover(t.Context(), dir); !errors.Is(err, recorder.ErrNoManifest) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("empty directory: %v", err)
	}
	for name, text := range map[string]string{
		"half a manifest": `{"version":1,"state":"recor`,
		"other version":   `{"version":99}`,
		"path":            `{"version":1,"state":"recording","outputs":[{"name":"../x.mkv","room":4096}]}`,
		"no head":         `{"version":1,"state":"recording","outputs":[{"name":"x.mkv","room":-1,"streams":[{"type":1}]}]}`,
		"huge head":       `{"version":1,"state":"recording","outputs":[{"name":"x.mkv","room":99999999999,"streams":[{"type":1}]}]}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, "recording.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "x.mkv"), make([]byte, 5000), 0o600); err != nil {
			t.Fatal(err)
		}
		if files, err := r.Recover(t.Context(), dir); err == nil {
			t.Errorf("%s: recovered %v", name, files)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ok := `{"version":1,"state":"recording","outputs":[{"name":"x.mkv","room":4096}]}`
	if err := os.WriteFile(filepath.Join(dir, "recording.json"), []byte(ok), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Recover(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}
