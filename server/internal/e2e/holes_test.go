// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/impair"
)

// together is how far a beep may be from its flash.
const together = 60 * time.Millisecond

// TestHoles has Chromium flash and beep once a second, with DTX, and fall silent in every way that leaves a hole in the
// sound. After each, beeps and flashes are together, also for players that join the packets of the sound.
func TestHoles(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	p := startPublisher(t, s, chromium)
	const user = "beat"
	r := p.proxy.through(endpoint("room", user), impair.Config{})
	endMKV := class(t, s)
	p.publish(t, "room", user, session{Beat: 1, DTX: true}) // between two beeps nothing is sent
	pause := func(d time.Duration) { <-time.After(d) }
	pause(3 * time.Second)
	for _, hole := range []struct {
		begin, end func()
		lasts      time.Duration
	}{
		{func() { p.call(t, "quiet", user, "audio") }, func() { p.call(t, "loud", user) }, 3400 * time.Millisecond},
		{func() { p.call(t, "mute", user, true) }, func() { p.call(t, "mute", user, false) }, 3400 * time.Millisecond},
		{func() { r.link.Cut(true) }, func() { r.link.Cut(false) }, 2400 * time.Millisecond},
	} {
		hole.begin()
		pause(hole.lasts)
		hole.end()
		pause(3 * time.Second)
	}
	p.call(t, "end", user)
	recording := endMKV()
	file := fileNamed(t, recording, user+".mkv")
	here := download(t, s.HTTP(), file)
	wellFormed(t, here)
	seen, heard := flashes(t, here), beeps(t, here)
	if len(seen) == 0 || len(heard) == 0 {
		t.Fatalf("%d flashes, %d beeps", len(seen), len(heard))
	}
	if err := inStep(seen, heard); err != nil {
		t.Errorf("%v\nflashes %.2f\nbeeps %.2f", err, seen, heard)
	}
}

// flashes are when the picture of a file turns white, in s.
func flashes(t *testing.T, file string) (all []float64) {
	t.Helper()
	white := false
	for line := range strings.Lines(tool(t, "ffprobe", "-v", "error", "-f", "lavfi", "-i", "movie="+file+",signalstats",
		"-show_entries", "frame=pts_time:frame_tags=lavfi.signalstats.YAVG", "-of", "csv=p=0")) {
		var at, brightness float64
		if _, err := fmt.Sscanf(line, "%f,%f", &at, &brightness); err != nil {
			t.Fatalf("ffprobe says %q: %v", line, err)
		}
		if brightness > 120 && !white {
			all = append(all, at)
		}
		white = brightness > 120
	}
	return all
}

// beeps are when a beep begins in a file, in s, as players hear it that join the packets of sound whatever their times are.
func beeps(t *testing.T, file string) (all []float64) {
	t.Helper()
	joined := file + ".wav"
	tool(t, "ffmpeg", "-v", "error", "-nostdin", "-i", file, "-vn", joined)
	const end = "lavfi.silence_end="
	for line := range strings.Lines(tool(t, "ffmpeg", "-v", "error", "-nostdin", "-i", joined,
		"-af", "silencedetect=noise=-20dB:d=0.25,ametadata=mode=print:file=-", "-f", "null", "-")) {
		if text, found := strings.CutPrefix(strings.TrimSpace(line), end); found {
			all = append(all, must[float64](t)(strconv.ParseFloat(text, 64)))
		}
	}
	return all
}

// inStep compares the beeps with the flashes nearest to them. One that is lost alone leaves the other without: no hole is
// of whole seconds, so what is out of step is never near by chance.
func inStep(flashes, beeps []float64) error {
	var apart []float64
	for _, beep := range beeps {
		nearest := slices.MinFunc(flashes, func(a, b float64) int { return cmp.Compare(math.Abs(a-beep), math.Abs(b-beep)) })
		if d := beep - nearest; math.Abs(d) < 0.5 {
			apart = append(apart, d)
		}
	}
	if len(apart) < 10 || len(apart) < len(beeps)-3 {
		return fmt.Errorf("of %d beeps, %d have a flash near", len(beeps), len(apart))
	}
	first, last := middle(apart[:3]), middle(apart[len(apart)-3:])
	if math.Abs(first) > together.Seconds() || math.Abs(last) > together.Seconds() {
		return fmt.Errorf("beeps are %.3f s after their flashes first, %.3f s last, of %.3f", first, last, apart)
	}
	return nil
}

func middle(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return sorted[len(sorted)/2]
}
