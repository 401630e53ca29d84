// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/recorder"
)

// TestRecording_FileNames records people of all sorts of nicknames.
func TestRecording_FileNames(t *testing.T) {
	people := []struct{ id, nickname, want string }{
		{"1", "小明", "小明"},
		{"2", "小明", "小明-2"},
		{"3", "Müller", "Müller"},
		{"4", "MU\u0308LLER", "MÜLLER-2"}, // decomposed, and in capitals
		{"5", "../../etc/passwd", "etc_passwd"},
		{"6", `..\..\x:y*?"<>|`, "x_y"},
		{"7", "", "7"},
		{"8", "...", "8"},
		{"./", "\x00\n/", "user"},
		{"10", "con", "con_"},
		{"11", "Chat", "Chat-2"},
		{"12", "recording", "recording-2"},
		{"13", "a\u202egnp.exe", "agnp_exe"},
		{"14", "🎉 party", "🎉_party"},
		{"15", strings.Repeat("课", 100), strings.Repeat("课", 32)},
		{"16", "STRASSE", "STRASSE"},
		{"17", "straße", "straße-2"},
		{"18", "before", "before-2"}, // of the recording that this one continues
		{"19", "-rf", "rf"},
	}
	virtual(t, func(t *testing.T) {
		dir := t.TempDir()
		rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList, Avoid: []string{"Before"}})
		var want []string
		for _, p := range people {
			s := newSource(t, p.id, clips.StudentAudio)
			s.info.Nickname = p.nickname
			play(t, time.Second, addFeed(t, rec, s))
			want = append(want, p.want+".mkv")
		}
		files := stop(t, rec)
		if !slices.Equal(names(files), want) {
			t.Errorf("files %q, want %q", names(files), want)
		}
		for i, f := range files {
			if !filepath.IsLocal(f.Name) || filepath.Base(f.Name) != f.Name || len(f.Name) > 110 || !utf8.ValidString(f.Name) {
				t.Errorf("%q is no name for a file", f.Name)
			}
			if f.UserID != people[i].id || f.Nickname != people[i].nickname {
				t.Errorf("%s is of %q, %q", f.Name, f.UserID, f.Nickname)
			}
		}
		all, err := recorder.FileNames(dir)
		if err != nil || len(all) != len(people)+1 || !slices.Contains(all, "小明-2") || !slices.Contains(all, "Before") {
			t.Errorf("names for the next recording: %q, %v", all, err)
		}
	})
}
