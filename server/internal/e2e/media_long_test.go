// SPDX-License-Identifier: Apache-2.0

//go:build e2e && media

package e2e_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/impair"
)

// The tests of this file are run by `make media`. They print the rows of the tables in docs/media.md.

// networks are those of the table.
func networks() []network {
	burst, late := lossy(0.05, 50*time.Millisecond), lossy(0, 60*time.Millisecond)
	burst.Up.Burst = 4
	late.Up.Jitter, late.Up.Reorder, late.Up.ReorderBy, late.Up.Duplicate = 60*time.Millisecond, 0.05, 40*time.Millisecond, 0.01
	return []network{
		clean,
		{"1 %, 300 ms", lossy(0.01, 300*time.Millisecond), 0.99, 0.99, 1.5},
		{"2 %, 50 ms", lossy(0.02, 50*time.Millisecond), 0.99, 0.99, 1.5},
		{"5 %, 50 ms", lossy(0.05, 50*time.Millisecond), 0.98, 0.99, 1.5},
		{"5 % in bursts of 4, 50 ms", burst, 0.97, 0.99, 1.5},
		{"10 %, 100 ms", lossy(0.10, 100*time.Millisecond), 0.97, 0.99, 1.5},
		{"0 to 60 ms of jitter, 5 % overtaken, 1 % doubled", late, 0.99, 0.99, 0},
	}
}

// media prints a row.
func media(format string, args ...any) {
	fmt.Fprintf(os.Stdout, "MEDIA "+format+"\n", args...)
}

// TestMedia_Networks has each publisher send in each codec that it encodes through each network.
func TestMedia_Networks(t *testing.T) {
	for publisher, codecs := range map[string][]string{
		chromium:  {"video/VP8", "video/VP9", "video/H264", "video/AV1"},
		firefox:   {"video/VP8", "video/VP9", "video/H264"},
		aiortc:    {"video/VP8", "video/H264"},
		gstreamer: {"video/VP8", "video/VP9", "video/H264", "video/H264 with B-frames"},
	} {
		for _, codec := range codecs {
			t.Run(publisher+" "+codec, func(t *testing.T) {
				all := networks()
				for i, m := range measure(t, publisher, session{Codec: codec, Width: 320, Height: 180}, 300, all...) {
					n := all[i]
					media("| %s | %s | %s | %d | %d (%.1f %%) | %d | %d (%.1f %%) | %d for %d |", publisher, m.codec, n.name,
						m.frames, m.keptFrames, 100*float64(m.keptFrames)/float64(m.frames),
						m.audio, m.keptAudio, 100*float64(m.keptAudio)/float64(m.audio), m.resent, m.lost)
					m.check(t, publisher, n)
				}
			})
		}
	}
}

// TestMedia_Joins has each publisher join a hundred times through a network that loses 15 %. Every file has both tracks.
func TestMedia_Joins(t *testing.T) {
	const joins, together = 100, 10
	for _, publisher := range []string{chromium, firefox, aiortc, gstreamer} {
		t.Run(publisher, func(t *testing.T) {
			both := 0
			for round := range joins / together {
				var all []network
				for i := range together {
					n := network{name: fmt.Sprint("join ", round*together+i), Config: lossy(0.15, 50*time.Millisecond)}
					n.Seed = uint64(round*together + i) //nolint:gosec // is not negative
					all = append(all, n)
				}
				for i, m := range join(t, publisher, session{Width: 160, Height: 120, FrameRate: 10}, all) {
					if m.keptFrames > 0 && m.keptAudio > 0 {
						both++
					} else {
						t.Errorf("%s: %d of %d frames, %d of %d packets of sound", all[i].name, m.keptFrames, m.frames, m.keptAudio, m.audio)
					}
				}
			}
			media("%s: %d of %d joins at 15 %% loss have both tracks", publisher, both, joins)
		})
	}
}

// TestMedia_Handshakes loses one datagram at each place of each publisher's handshake.
func TestMedia_Handshakes(t *testing.T) {
	for _, publisher := range []string{chromium, firefox, aiortc, gstreamer} {
		t.Run(publisher, func(t *testing.T) {
			all := handshakes(5)
			whole := 0
			for i, m := range join(t, publisher, session{Width: 160, Height: 120, FrameRate: 10}, all) {
				if m.keptFrames >= m.frames*9/10 && m.keptAudio >= m.audio*9/10 {
					whole++
				} else {
					t.Errorf("%s: %d of %d frames, %d of %d packets of sound", all[i].name, m.keptFrames, m.frames, m.keptAudio, m.audio)
				}
			}
			media("%s: %d of %d joins that lost one datagram of the handshake are whole", publisher, whole, len(all))
		})
	}
}

// TestMedia_Layers has browsers send several layers: the best one is in the file.
func TestMedia_Layers(t *testing.T) {
	for _, c := range []struct {
		publisher string
		session
	}{
		{chromium, session{Codec: "video/VP8", Simulcast: true}},
		{chromium, session{Codec: "video/H264", Simulcast: true}},
		{firefox, session{Codec: "video/VP8", Simulcast: true}},
		{chromium, session{Codec: "video/VP9", Scalability: "L3T3_KEY"}},
		{chromium, session{Codec: "video/VP9", Scalability: "L3T3"}},
		{chromium, session{Codec: "video/AV1", Scalability: "L1T3"}},
	} {
		t.Run(fmt.Sprint(c.publisher, " ", c.Codec[len("video/"):], " ", c.Scalability), func(t *testing.T) {
			c.Width, c.Height = 1280, 720
			if c.Codec == "video/AV1" { // takes long
				c.Width, c.Height = 640, 360
			}
			for _, m := range measure(t, c.publisher, c.session, 200, network{"clean", impair.Config{}, 0, 0.98, 0}) {
				media("| %s | %s | simulcast %v | %s | %s | %d of %d pictures of all layers |", c.publisher, m.codec, c.Simulcast, c.Scalability, m.size, m.keptFrames, m.frames)
				best := layer{}
				for _, l := range m.layers { // a busy machine's browser leaves the largest out
					if l.Frames > 50 && l.Width > best.Width {
						best = l
					}
				}
				if m.size != fmt.Sprintf("%dx%d", best.Width, best.Height) {
					t.Errorf("recorded are %s, sent were %+v", m.size, m.layers)
				}
			}
		})
	}
}
