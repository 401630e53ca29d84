// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"encoding/json"
	"testing"

	"github.com/classrec/classrec/server/internal/impair"
)

// TestLayers has browsers send one picture in several qualities, or in layers, and looks whether the best is kept.
func TestLayers(t *testing.T) {
	for _, tt := range []struct {
		publisher string
		session
	}{
		{chromium, session{Simulcast: true}},
		{firefox, session{Simulcast: true}},
		{chromium, session{Scalability: "L3T3_KEY", Codec: "video/VP9"}},
	} {
		t.Run(tt.publisher+tt.Scalability, func(t *testing.T) {
			tt.Width, tt.Height, tt.FrameRate = 960, 540, 15 // the least of which Chromium makes three qualities
			s := newMediaServer(t, tt.publisher)
			p := startPublisher(t, s, tt.publisher)
			p.proxy.through(endpoint("room", "u"), impair.Config{})
			p.publish(t, "room", "u", tt.session)
			end := class(t, s)
			var sent struct{ Layers []struct{ Width, Frames int } }
			eventually(t, "a few seconds are sent", func() bool { // a browser begins with the smallest, and climbs
				sent = callInto[struct{ Layers []struct{ Width, Frames int } }](t, p.remote, "stats", "u")
				best := 0
				for _, l := range sent.Layers {
					if l.Width == tt.Width {
						best = l.Frames
					}
				}
				return best > 100
			})
			p.call(t, "end", "u")
			recording := end()
			if n := len(recording.GetFiles()); n != 1 {
				t.Fatalf("%d files: %v", n, recording.GetFiles())
			}
			file := download(t, s.HTTP(), recording.GetFiles()[0])
			var shown struct {
				Frames []struct {
					Width, Height int
				}
			}
			out := tool(t, "ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "frame=width,height", "-of", "json", file)
			if err := json.Unmarshal([]byte(out), &shown); err != nil {
				t.Fatal(err)
			}
			best := 0
			for _, f := range shown.Frames {
				if f.Width == tt.Width {
					best++
				}
			}
			h := count(t, file)
			t.Logf("sent %+v; %d frames in the file, %d pictures, %d of the best quality", sent.Layers, h.frames, len(shown.Frames), best)
			if best < 25 || best < len(shown.Frames)*8/10 || len(shown.Frames) > h.frames { // the counts of SVC are of layers
				t.Errorf("%d pictures of %d frames, %d of them of the best quality", len(shown.Frames), h.frames, best)
			}
		})
	}
}
