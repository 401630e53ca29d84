// SPDX-License-Identifier: Apache-2.0

package roomserver_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/classrec/classrec/server/internal/roomserver"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// lines is a log that can be waited for.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	select {
	case l <- string(p):
	default:
	}
	return len(p), nil
}

// waitFor waits for a line that contains the text.
func (l lines) waitFor(t *testing.T, text string) {
	t.Helper()
	patience := roomservertest.Context(t).Done()
	for {
		select {
		case got := <-l:
			if strings.Contains(got, text) {
				return
			}
		case <-patience:
			t.Fatalf("the log never said %q", text)
		}
	}
}

// blockFile puts a directory in a file's place, so that it cannot be replaced; it returns what undoes that.
func blockFile(t *testing.T, path string) (unblock func()) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err := errors.Join(err, os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := errors.Join(os.Remove(path), os.WriteFile(path, raw, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRecord_FullAtTheEnd: what the disk refuses when a class ends is tried again, and the class is listed with its
// files as soon as the disk takes it.
func TestRecord_FullAtTheEnd(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"class.json", "recording.json"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said := make(lines, 1000)
			s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) { c.Logger = slog.New(slog.NewTextHandler(said, nil)) }))
			teacher := s.Join(t, "42", "teacher")
			teacher.Publish(t, clip(t))
			ts := teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList})
			untilBlocks(t, s, "*/*.mkv", 30)
			unblock := blockFile(t, filepath.Join(s.Dir, "recordings", "42", mustJSON(t, ts), name))
			teacher.EndClass(t)
			for range 2 { // it goes on trying
				said.waitFor(t, "recording not listed yet")
			}
			if items, err := s.Client(t).RecordList(roomservertest.Context(t), talkcloud.RecordListQuery{Room: "42"}); err == nil && len(items) > 0 {
				t.Errorf("listed as %+v", items)
			}
			unblock()
			item := recorded(t, s, "42", ts)
			f := fileOf(t, item, "teacher")
			if _, raw := fetch(t, s, f.URL); int64(len(raw)) != f.Size || demux(t, raw).blocks < 30 {
				t.Errorf("%d bytes of %d", len(raw), f.Size)
			}
		})
	}
}

// TestRecord_FullAtClose: a server that is closed meanwhile does not wait for the disk; the next one lists the class.
func TestRecord_FullAtClose(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	teacher := s.Join(t, "42", "teacher")
	teacher.Publish(t, clip(t))
	ts := teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList})
	untilBlocks(t, s, "*/*.mkv", 30)
	unblock := blockFile(t, filepath.Join(s.Dir, "recordings", "42", mustJSON(t, ts), "class.json"))
	teacher.EndClass(t)
	s.Stop()
	unblock()
	s.Start()
	if err := s.Room().Recover(roomservertest.Context(t)); err != nil {
		t.Fatal(err)
	}
	fileOf(t, recorded(t, s, "42", ts), "teacher")
}

// TestRecord_PowerCut: the manifest of a class that was on is empty, broken or gone, and everything else is there.
func TestRecord_PowerCut(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	const room = "Room б 1" // a room whose name needs escaping
	teacher := s.Join(t, room, "teacher")
	teacher.Publish(t, clip(t))
	ts := teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList, Convert: talkcloud.ConvertWebM})
	untilBlocks(t, s, "*/*.webm", 30)
	for name, text := range map[string]string{"empty": "", "zeros": "\x00\x00\x00", "half": `{"room":"Roo`, "gone": "-"} {
		crashed := s.Snapshot()
		path := filepath.Join(crashed, "recordings", roomserver.RoomDir(room), mustJSON(t, ts), "class.json")
		if text == "-" {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		second := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) { c.Dir = crashed }))
		if err := second.Room().Recover(roomservertest.Context(t)); err != nil {
			t.Fatal(err)
		}
		f := fileOf(t, recorded(t, second, room, ts), "teacher")
		if _, raw := fetch(t, second, f.URL); demux(t, raw).blocks < 10 {
			t.Errorf("%s: %+v", name, f)
		}
		raw, err := os.ReadFile(path)
		var m struct{ Convert int }
		if err != nil || json.Unmarshal(raw, &m) != nil || m.Convert != talkcloud.ConvertWebM || !strings.Contains(string(raw), `"finished": true`) {
			t.Errorf("%s: manifest %s, %v", name, raw, err)
		}
	}
}

// TestRecord_RoomAgain: a publisher whose file the disk refuses for a while is recorded after that.
func TestRecord_RoomAgain(t *testing.T) {
	t.Parallel()
	said := make(lines, 1000)
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) { c.Logger = slog.New(slog.NewTextHandler(said, nil)) }))
	teacher := s.Join(t, "42", "teacher")
	ts := teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList})
	inTheWay := filepath.Join(s.Dir, "recordings", "42", mustJSON(t, ts), "teacher.mkv")
	if err := os.Mkdir(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	teacher.Publish(t, clip(t))
	said.waitFor(t, "track is not recorded for now")
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	said.waitFor(t, "track is recorded again")
	untilBlocks(t, s, "*/*.mkv", 30)
	teacher.EndClass(t)
	_, raw := fetch(t, s, fileOf(t, recorded(t, s, "42", ts), "teacher").URL)
	if m := demux(t, raw); m.blocks < 30 || len(m.codecs) != 2 {
		t.Errorf("%d blocks of %v", m.blocks, m.codecs)
	}
}
