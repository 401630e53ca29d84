// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/impair"
)

// network is a condition under which is measured.
type network struct {
	name string
	impair.Config
	// What must be kept of what was sent, and how many packets may be sent again for one that was lost.
	frames, audio, resent float64
}

// lossy loses in both directions, with half a round trip's delay in each.
func lossy(loss float64, rtt time.Duration) impair.Config {
	c := impair.Conditions{Loss: loss, Delay: rtt / 2}
	return impair.Config{Seed: 11, Up: c, Down: c}
}

// clean and bad are what each publisher is tried on in `make e2e`.
var (
	clean = network{"clean", impair.Config{}, 0.99, 0.99, 0}
	bad   = network{"10 % loss, 100 ms round trip", lossy(0.10, 100*time.Millisecond), 0.85, 0.95, 1.5}
)

// measured is what became of a session.
type measured struct {
	passed
	keptFrames, keptAudio int
	size                  string
	layers                []layer // that a browser says it has sent
}

// layer is a size of the picture that a browser has sent.
type layer struct{ Width, Height, Frames int }

// held is what a file holds.
type held struct {
	frames, audio int    // without filled silence
	silence       int    // packets
	size          string // of most pictures
}

// count counts the packets of a file by ffprobe. Silence that was filled in is told by its length: what publishers send
// here is a tone.
func count(t *testing.T, file string) (h held) {
	t.Helper()
	var p struct {
		Packets []struct {
			Kind string `json:"codec_type"`
			Size string
		}
	}
	out := tool(t, "ffprobe", "-v", "error", "-show_entries", "packet=codec_type,size", "-of", "json", file)
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		t.Fatalf("ffprobe %s: %v", file, err)
	}
	for _, packet := range p.Packets {
		switch {
		case packet.Kind == "video":
			h.frames++
		case packet.Kind == "audio" && packet.Size == "3":
			h.silence++
		case packet.Kind == "audio":
			h.audio++
		}
	}
	sizes := map[string]int{}
	for size := range strings.Lines(tool(t, "ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "frame=width,height", "-of", "csv=p=0:s=x", file)) {
		size = strings.TrimRight(size, "x\n") // more columns follow where there is side data
		if sizes[size]++; sizes[size] > sizes[h.size] {
			h.size = size
		}
	}
	return h
}

// wellFormed has the tools of Debian's mkvtoolnix read a file: they find no fault.
func wellFormed(t *testing.T, file string) {
	t.Helper()
	for _, args := range [][]string{
		{"mkvinfo", "--ui-language", "en_US", "--all", file},
		{"mkvmerge", "--ui-language", "en_US", "--output", file + ".merged.mkv", file},
	} {
		out, err := exec.CommandContext(testContext(t), args[0], args[1:]...).CombinedOutput()
		if err != nil {
			t.Errorf("%s %s: %v\n%.2000s", args[0], file, err, out)
		}
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "Warning") || strings.Contains(line, "Error") || strings.Contains(line, "nknown element") {
				t.Errorf("%s %s: %s", args[0], file, line)
			}
		}
	}
}

// class begins a class in the room "room" that is recorded into a Matroska file for each person, and returns what ends it.
func class(t *testing.T, s *apitest.Server) (end func() *classrecv1.Recording) {
	t.Helper()
	r := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room": "room", "format": "RECORDING_FORMAT_MKV"}`})
	return func() *classrecv1.Recording {
		t.Helper()
		s.Must(t, apitest.Call{Name: apitest.Stop, Request: fmt.Sprintf(`{"name": %q}`, r.GetName())})
		return available(t, s, r.GetName())
	}
}

// repairs is how long a publisher stays when it has sent everything, so that what was lost can be asked for.
const repairs = 3 * time.Second

// measure has a publisher send so many frames in each network at once, into one class.
func measure(t *testing.T, publisher string, o session, frames int, networks ...network) []measured {
	t.Helper()
	s := newMediaServer(t, publisher)
	p := startPublisher(t, s, publisher)
	end := class(t, s)
	var routes []*route
	for i, n := range networks {
		user := fmt.Sprint("u", i)
		routes = append(routes, p.proxy.through(endpoint("room", user), n.Config))
		p.publish(t, "room", user, o)
	}
	for _, r := range routes {
		eventually(t, "the frames are sent", func() bool { return r.passed().frames >= frames })
	}
	for i := range networks {
		p.call(t, "quiet", fmt.Sprint("u", i))
	}
	<-time.After(repairs)
	var sent []passed
	var layers [][]layer
	for i := range networks {
		said := callInto[struct {
			Resent *int
			Layers []layer
		}](t, p.remote, "stats", fmt.Sprint("u", i))
		layers = append(layers, said.Layers)
		passed := routes[i].passed()
		if said.Resent != nil { // browsers probe the network with what looks like packets sent again
			passed.resent = *said.Resent
		}
		sent = append(sent, passed)
		p.call(t, "end", fmt.Sprint("u", i))
	}
	recording := end()
	var results []measured
	for i := range routes {
		file := download(t, s.HTTP(), fileNamed(t, recording, fmt.Sprintf("u%d.mkv", i)))
		wellFormed(t, file)
		tool(t, "ffmpeg", "-v", "error", "-nostdin", "-i", file, "-enc_time_base:v", "1:90000", "-f", "null", "-")
		h := count(t, file)
		results = append(results, measured{sent[i], h.frames, h.audio, h.size, layers[i]})
	}
	return results
}

// check compares what was kept with what must be.
func (m measured) check(t *testing.T, publisher string, n network) {
	t.Helper()
	line := fmt.Sprintf("%s, %s, %s: %d of %d frames, %d of %d packets of sound, %d sent again for %d lost, %s",
		publisher, m.codec, n.name, m.keptFrames, m.frames, m.keptAudio, m.audio, m.resent, m.lost, m.size)
	t.Log(line)
	if float64(m.keptFrames) < n.frames*float64(m.frames) {
		t.Errorf("too few frames, want %.1f %%: %s", 100*n.frames, line)
	}
	if float64(m.keptAudio) < n.audio*float64(m.audio) {
		t.Errorf("too little sound, want %.1f %%: %s", 100*n.audio, line)
	}
	if n.resent > 0 && float64(m.resent) > n.resent*float64(m.lost) {
		t.Errorf("too much sent again, want %.1f for each: %s", n.resent, line)
	}
}

// TestPublishers has each independent publisher send through a clean and a bad network, and counts in the files what was
// sent.
func TestPublishers(t *testing.T) {
	for _, publisher := range []string{chromium, firefox, aiortc, gstreamer} {
		t.Run(publisher, func(t *testing.T) {
			networks := []network{clean, bad}
			for i, m := range measure(t, publisher, session{}, 100, networks...) {
				m.check(t, publisher, networks[i])
			}
		})
	}
}

// join has a publisher join once in each network, all at the same time, send a little, and leave. It returns what is in
// the files.
func join(t *testing.T, publisher string, o session, networks []network) []measured {
	t.Helper()
	s := newMediaServer(t, publisher)
	p := startPublisher(t, s, publisher)
	end := class(t, s)
	routes := make([]*route, len(networks))
	failed := make([]bool, len(networks))
	var joining sync.WaitGroup
	for i, n := range networks {
		user := fmt.Sprint("u", i)
		routes[i] = p.proxy.through(endpoint("room", user), n.Config)
		joining.Go(func() {
			if _, err := p.try(testContext(t), "publish", user, p.request("room", user, o)); err != nil {
				failed[i] = true
				t.Errorf("%s: %v; the relay saw %+v", n.name, err, routes[i].link.Stats())
			}
		})
	}
	joining.Wait()
	for i, r := range routes {
		if failed[i] {
			continue
		}
		eventually(t, networks[i].name+": media is sent", func() bool { return r.passed().frames >= 20 && r.passed().audio >= 50 })
	}
	for i := range networks {
		if !failed[i] {
			p.call(t, "quiet", fmt.Sprint("u", i))
		}
	}
	<-time.After(repairs)
	for i := range networks {
		if !failed[i] {
			p.call(t, "end", fmt.Sprint("u", i))
		}
	}
	recording := end()
	results := make([]measured, len(networks))
	for i, r := range routes {
		results[i].passed = r.passed()
		if failed[i] {
			continue
		}
		name := fmt.Sprintf("u%d.mkv", i)
		if !slices.ContainsFunc(recording.GetFiles(), func(f *classrecv1.RecordingFile) bool { return nameOf(t, f) == name }) {
			t.Errorf("%s: no file; gaps %v", networks[i].name, recording.GetGaps())
			continue
		}
		h := count(t, download(t, s.HTTP(), fileNamed(t, recording, name)))
		results[i] = measured{passed: r.passed(), keptFrames: h.frames, keptAudio: h.audio, size: h.size}
	}
	return results
}

// handshakes are networks that lose one datagram each, at one place of the handshake.
func handshakes(places int) (all []network) {
	for n := range places {
		for up, way := range map[bool]string{true: "to", false: "from"} {
			all = append(all, network{
				name:   fmt.Sprintf("DTLS datagram %d %s the server lost", n+1, way),
				Config: impair.Config{Drop: impair.Nth(up, impair.DTLS, n)},
			})
		}
	}
	return all
}

// TestHandshake loses one datagram at each place of the handshake: every file has picture and sound, from the beginning.
func TestHandshake(t *testing.T) {
	for _, publisher := range []string{chromium, aiortc} {
		t.Run(publisher, func(t *testing.T) {
			networks := handshakes(4)
			for i, m := range join(t, publisher, session{Width: 160, Height: 120, FrameRate: 10}, networks) {
				line := fmt.Sprintf("%s, %s: %d of %d frames, %d of %d packets of sound", publisher, networks[i].name, m.keptFrames, m.frames, m.keptAudio, m.audio)
				t.Log(line)
				if m.keptFrames < m.frames*9/10 || m.keptAudio < m.audio*9/10 {
					t.Error(line)
				}
			}
		})
	}
}
