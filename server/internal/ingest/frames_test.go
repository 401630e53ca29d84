// SPDX-License-Identifier: Apache-2.0

package ingest_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/impair"
	"github.com/classrec/classrec/server/internal/ingest"
	"github.com/classrec/classrec/server/internal/publisher"
	"github.com/classrec/classrec/server/internal/recorder"
)

// recordingHandler writes what comes into a recording.
type recordingHandler struct {
	*sink
	recording *recorder.Recording
	t         testing.TB
}

func (h recordingHandler) Track(tr *ingest.Track) {
	c := tr.Codec()
	out, err := h.recording.AddTrack(recorder.TrackInfo{
		UserID: "teacher", StreamID: tr.StreamID(), Kind: recorder.Kind(tr.Kind()),
		MimeType: c.MimeType, ClockRate: c.ClockRate, Channels: c.Channels, FmtpLine: c.FmtpLine,
		RequestKeyframe: tr.RequestKeyframe, Patience: tr.Patience,
	})
	if err != nil {
		h.t.Error(err)
		return
	}
	h.tracks <- tr
	for {
		p, at, err := tr.ReadRTP()
		if err != nil || out.WriteRTP(p, at) != nil {
			return
		}
		tr.Release()
	}
}

// TestRecord_FramesKept counts, in the file, the frames that were sent through bad networks.
func TestRecord_FramesKept(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	for name, tc := range map[string]struct {
		conditions impair.Conditions
		least      float64 // share of the pictures
	}{
		"1 % at 300 ms":  {impair.Conditions{Loss: 0.01, Delay: 150 * ms}, 0.99},
		"2 % at 60 ms":   {impair.Conditions{Loss: 0.02, Delay: 30 * ms}, 0.99},
		"10 % at 100 ms": {impair.Conditions{Loss: 0.10, Delay: 50 * ms}, 0.97},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent, kept := framesKept(t, tc.conditions)
			t.Logf("%d of %d pictures", kept, sent)
			if share := float64(kept) / float64(sent); share < tc.least || kept > sent {
				t.Errorf("%d of %d pictures are in the file", kept, sent)
			}
		})
	}
}

// framesKept sends for ten seconds and returns how many pictures were sent, and how many are in the file.
func framesKept(t *testing.T, conditions impair.Conditions) (sent, kept int) {
	dir := filepath.Join(t.TempDir(), "recording")
	rec, err := recorder.New(recorder.Config{}).Start(recorder.Options{Dir: dir, Type: recorder.TypeFile, Begin: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, ingest.Config{})
	h := recordingHandler{newSink(), rec, t}
	l := newLink(t, s, impair.Config{Seed: 3, Up: conditions, Down: conditions})
	var mu sync.Mutex
	times := map[uint32]bool{}
	pub, err := publisher.Publish(t.Context(), publisher.Config{
		Video: mustClip(t, clips.TeacherVideo), Audio: mustClip(t, clips.TeacherAudio),
		Loss: func(p publisher.Packet) bool {
			mu.Lock()
			defer mu.Unlock()
			if p.Kind == publisher.Video {
				times[p.Timestamp] = true
			}
			return false
		},
	}, through(l, s, h))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pub.Close() }()
	receive(t, h.tracks, "track")
	receive(t, h.tracks, "track")
	<-time.After(10 * time.Second)
	if err := pub.Mute(t.Context(), publisher.Video, true); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	sent = len(times)
	mu.Unlock()
	<-time.After(conditions.Delay + 100*time.Millisecond)
	files, err := rec.Stop(context.Background()) // waits for what is missing
	if err != nil || len(files) == 0 {
		t.Fatalf("%v: %v", files, err)
	}
	f, err := os.Open(filepath.Join(dir, files[0].Name))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	found, err := recorder.Inspect(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, tr := range found.Tracks {
		if tr.Codec == "V_VP8" {
			kept = tr.Frames
		}
	}
	return sent, kept
}
