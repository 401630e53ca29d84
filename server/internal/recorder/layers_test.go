// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/classrec/classrec/server/internal/recorder"
)

// quality is one layer of a simulcast, 25 pictures a second of VP8.
type quality struct {
	track *recorder.Track
	width byte // in units of 16 pixels
	asked bool // for a keyframe
	asks  int
	quiet bool
	n     uint32
}

// send sends the next picture.
func (q *quality) send(t *testing.T) {
	q.n++
	if q.quiet {
		return
	}
	payload := []byte{0x10, 0x11, 0, 0, q.width}
	if q.asked || q.n == 1 {
		payload = []byte{0x10, 0x10, 0, 0, 0x9d, 1, 0x2a, q.width << 4, q.width >> 4, 180, 0}
		q.asked = false
	}
	p := &rtp.Packet{Header: rtp.Header{SSRC: uint32(q.width), SequenceNumber: uint16(q.n), Timestamp: q.n * 3600, Marker: true}, Payload: payload}
	if err := q.track.WriteRTP(p, time.Now()); err != nil {
		t.Fatal(err)
	}
}

// TestSimulcast has three qualities of one picture, of which the best come and go.
func TestSimulcast(t *testing.T) {
	virtual(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "r")
		rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList})
		var all []*quality
		for _, width := range []byte{20, 40, 80} { // 320, 640, 1280
			q := &quality{width: width}
			q.track = must[*recorder.Track](t)(rec.AddTrack(recorder.TrackInfo{
				UserID: "u", StreamID: "s", Kind: recorder.Video, MimeType: "video/VP8", Simulcast: "camera",
				RequestKeyframe: func() { q.asked = true; q.asks++ },
			}))
			all = append(all, q)
		}
		for i := range 20 * 25 {
			switch i {
			case 4 * 25:
				all[2].quiet = true
			case 8 * 25:
				all[1].quiet = true
			case 12 * 25:
				all[2].quiet = false
			}
			for _, q := range all {
				q.send(t)
			}
			time.Sleep(40 * time.Millisecond)
		}
		files := stop(t, rec)
		if len(files) != 1 {
			t.Fatalf("files %v, want one", names(files))
		}
		m := demux(t, in(dir, files[0]))
		if e := m.Segment.Tracks.TrackEntry; len(e) != 1 || e[0].Video.PixelWidth != 1280 {
			t.Errorf("tracks %+v", e)
		}
		follow(t, m.blocks[1])
		for _, q := range all {
			if q.asks > 8 {
				t.Errorf("%d keyframes asked of the layer of %d", q.asks, int(q.width)*16)
			}
		}
	})
}

// follow checks which layer was recorded when, that each change is made with a keyframe, and that none is long.
func follow(t *testing.T, blocks []block) {
	t.Helper()
	widthOf := func(b block) int {
		if b.key {
			return int(b.data[6]) | int(b.data[7])<<8
		}
		return int(b.data[3]) * 16
	}
	want := []int{320, 1280, 640, 320, 1280} // the first picture comes of the layer that comes first
	var got []int
	for i, b := range blocks {
		if w := widthOf(b); len(got) == 0 || got[len(got)-1] != w {
			if !b.key {
				t.Errorf("at %v the picture changes to %d without a keyframe", b.at, w)
			}
			got = append(got, w)
		}
		if i > 0 && b.at-blocks[i-1].at > 2700*time.Millisecond {
			t.Errorf("%v without a picture at %v", b.at-blocks[i-1].at, b.at)
		}
	}
	for i := range got {
		if got[i] == 640 && i == 1 { // on the way up
			got = append(got[:i:i], got[i+1:]...)
			break
		}
	}
	if len(got) != len(want) {
		t.Fatalf("layers %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("layers %v, want %v", got, want)
		}
	}
}

// TestKeyframes_Missing has publishers who send no keyframe at all, and one and no more.
func TestKeyframes_Missing(t *testing.T) {
	virtual(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "r")
		r := recorder.New(recorder.Config{})
		rec := must[*recorder.Recording](t)(r.Start(recorder.Options{Dir: dir, Type: recorder.TypeList}))
		var all []*quality
		for i, user := range []string{"none", "once"} {
			all = append(all, &quality{width: 20, n: uint32(1 - i), track: must[*recorder.Track](t)(rec.AddTrack(recorder.TrackInfo{
				UserID: user, StreamID: "s", Kind: recorder.Video, MimeType: "video/VP8",
			}))})
		}
		begin := time.Now()
		for i := range 90 * 25 {
			if i == 20*25 {
				all[0].asked = true // at last
			}
			for _, q := range all {
				q.send(t)
			}
			time.Sleep(40 * time.Millisecond)
		}
		stop(t, rec)
		gaps, warnings, err := recorder.Notes(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(gaps) != 1 || gaps[0].UserID != "none" || gaps[0].Kind != recorder.Video || gaps[0].Start.Sub(begin) > time.Second ||
			(gaps[0].End.Sub(begin)-20*time.Second).Abs() > time.Second {
			t.Errorf("gaps %+v", gaps)
		}
		if len(warnings) != 2 { // after its keyframe, the first sends none for a minute too
			t.Errorf("warnings %q", warnings)
		}
		if n := r.Stats().Keyless; n != 3 {
			t.Errorf("counted %d times", n)
		}
	})
}
