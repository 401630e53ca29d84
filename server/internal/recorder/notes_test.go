// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/classrec/classrec/server/internal/recorder"
)

// TestRecording_Notes looks at gaps and warnings in the manifest, while the recording goes on and at its end.
func TestRecording_Notes(t *testing.T) {
	virtual(t, func(t *testing.T) {
		dir := t.TempDir()
		begin := time.Now()
		rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList})
		time.Sleep(10 * time.Second)
		lasting := recorder.Gap{UserID: "u", Kind: recorder.Video, Start: begin.Add(4 * time.Second), Reason: "no\nkeyframe"}
		rec.Gap(lasting)
		rec.Gap(recorder.Gap{UserID: "v", Start: begin.Add(-time.Hour), End: begin.Add(2 * time.Second), Reason: "refused"})
		rec.Gap(recorder.Gap{UserID: "w", Kind: recorder.Audio, Start: begin.Add(time.Second), Reason: "silent"})
		rec.Warn("odd")
		rec.Warn("odd")
		rec.Warn(strings.Repeat("课", 200))
		time.Sleep(time.Second)
		gaps, warnings, err := recorder.Notes(dir)
		if err != nil || len(gaps) != 3 || len(warnings) != 2 {
			t.Fatalf("while it goes on: %v, %v, %v", gaps, warnings, err)
		}
		if got := gaps[2]; !got.End.IsZero() || got.Reason != "no keyframe" {
			t.Errorf("the gap that lasts is %+v", got)
		}
		lasting.End = begin.Add(10500 * time.Millisecond)
		rec.Gap(lasting)
		stop(t, rec)
		rec.Gap(recorder.Gap{UserID: "late"})
		rec.Warn("late")
		gaps, warnings, err = recorder.Notes(dir)
		if err != nil {
			t.Fatal(err)
		}
		want := []recorder.Gap{
			{UserID: "v", Start: begin.UTC().Round(0), End: begin.Add(2 * time.Second), Reason: "refused"},
			{UserID: "w", Kind: recorder.Audio, Start: begin.Add(time.Second), End: begin.Add(11 * time.Second), Reason: "silent"},
			{UserID: "u", Kind: recorder.Video, Start: begin.Add(4 * time.Second), End: lasting.End, Reason: "no keyframe"},
		}
		if !slices.EqualFunc(gaps, want, func(a, b recorder.Gap) bool {
			return a.UserID == b.UserID && a.Kind == b.Kind && a.Start.Equal(b.Start) && a.End.Equal(b.End) && a.Reason == b.Reason
		}) {
			t.Errorf("gaps %v, want %v", gaps, want)
		}
		if len(warnings) != 2 || len(warnings[1]) > 256 || !strings.HasSuffix(warnings[1], "课…") || !utf8.ValidString(warnings[1]) {
			t.Errorf("warnings %q", warnings)
		}
	})
}

// TestRecording_NotesBounded notes more than there is room for.
func TestRecording_NotesBounded(t *testing.T) {
	virtual(t, func(t *testing.T) {
		dir := t.TempDir()
		rec := start(t, recorder.Config{}, recorder.Options{Dir: dir})
		for i := range 1000 {
			rec.Gap(recorder.Gap{UserID: strconv.Itoa(i), Start: time.Now(), Reason: "x"})
			rec.Warn(strconv.Itoa(i))
		}
		stop(t, rec)
		gaps, warnings, err := recorder.Notes(dir)
		if err != nil || len(gaps) != 256 || len(warnings) != 32 {
			t.Errorf("%d gaps and %d warnings, %v", len(gaps), len(warnings), err)
		}
		if info, err := os.Stat(filepath.Join(dir, "recording.json")); err != nil || info.Size() > 128<<10 {
			t.Errorf("the manifest has %v bytes, %v", info.Size(), err)
		}
	})
}
