// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/recorder"
)

// TestListen has Chromium play files whose sound had holes of every kind, from the beginning: each flash is seen when its
// beep is heard.
func TestListen(t *testing.T) {
	t.Parallel()
	const (
		length = 16 * time.Second
		within = 0.06
		// What a picture and a buffer of sound last; and that of a busy machine, on the median of all.
		measured = 0.05
	)
	for _, format := range []recorder.Format{recorder.WebM, recorder.MP4} {
		t.Run(format.String(), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var files []recorder.File
			synctest.Test(t, func(t *testing.T) { files = flashAndBeep(t, dir, format, length) })
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Access-Control-Allow-Origin", "*")
				http.ServeFile(w, r, filepath.Join(dir, filepath.Base(r.URL.Path)))
			}))
			defer web.Close()
			page := openPage(t, "listener", "player.html")
			got := callInto[struct{ Flashes, Beeps []float64 }](t, page, "listen", web.URL+"/"+files[0].Name, 15.5)
			var off []float64
			for _, beep := range got.Beeps {
				nearest := math.Inf(1)
				for _, flash := range got.Flashes {
					if d := beep - flash; math.Abs(d) < math.Abs(nearest) {
						nearest = d
					}
				}
				off = append(off, nearest)
			}
			if len(got.Beeps) < 6 || len(got.Flashes) < 10 {
				t.Fatalf("%d beeps at %.2f, %d flashes at %.2f", len(got.Beeps), got.Beeps, len(got.Flashes), got.Flashes)
			}
			t.Logf("beeps after their flashes by %.3f s", off)
			last := slices.Clone(off[len(off)-4:]) // after all of the holes
			slices.Sort(last)
			if median := (last[1] + last[2]) / 2; math.Abs(median) > within+measured {
				t.Errorf("after the holes, a beep is heard %.3f s from its flash", median)
			}
		})
	}
}

// flashAndBeep records somebody who flashes and beeps once a second. Of the sound is missing: the first second; three
// seconds and a half of mute; a fifth of the packets of three seconds; what is silent, for a second.
func flashAndBeep(t *testing.T, dir string, format recorder.Format, length time.Duration) []recorder.File {
	t.Helper()
	rec := must[*recorder.Recording](t)(recorder.New(recorder.Config{}).Start(recorder.Options{Dir: dir, Format: format, Type: recorder.TypeList}))
	video, audio := must[*clips.Clip](t)(clips.TeacherVideo()), must[*clips.Clip](t)(clips.TeacherAudio())
	v := must[*recorder.Track](t)(rec.AddTrack(recorder.TrackInfo{UserID: "u", Kind: recorder.Video, MimeType: video.MimeType, ClockRate: video.ClockRate}))
	a := must[*recorder.Track](t)(rec.AddTrack(recorder.TrackInfo{UserID: "u", Kind: recorder.Audio, MimeType: audio.MimeType, Channels: audio.Channels}))
	pictures, sounds := video.Play(), audio.Play()
	picture, sound := pictures.Next(), sounds.Next()
	random := rand.New(rand.NewPCG(1, 2))
	payloader := codecs.VP8Payloader{}
	var vseq, aseq uint16
	for begin := time.Now(); time.Since(begin) < length; time.Sleep(time.Millisecond) {
		now := time.Since(begin)
		for ; picture.Time <= now; picture = pictures.Next() {
			parts := payloader.Payload(1200, slices.Clone(picture.Data))
			for i, part := range parts {
				p := &rtp.Packet{Header: rtp.Header{SequenceNumber: vseq, Timestamp: uint32(picture.Time.Seconds() * 90000), Marker: i == len(parts)-1}, Payload: part}
				vseq++
				if err := v.WriteRTP(p, time.Now()); err != nil {
					t.Fatal(err)
				}
			}
		}
		for ; sound.Time <= now; sound = sounds.Next() {
			at := sound.Time
			if at < time.Second || at > 3*time.Second && at < 6400*time.Millisecond || at > 9*time.Second && at < 10*time.Second && len(sound.Data) <= 3 {
				continue
			}
			p := &rtp.Packet{Header: rtp.Header{SequenceNumber: aseq, Timestamp: uint32(at.Seconds() * 48000)}, Payload: sound.Data}
			aseq++
			if at > 6400*time.Millisecond && at < 9*time.Second && random.IntN(5) == 0 {
				continue
			}
			if err := a.WriteRTP(p, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return must[[]recorder.File](t)(rec.Stop(t.Context()))
}
