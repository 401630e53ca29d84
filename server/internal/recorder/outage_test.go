// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/recorder"
)

// TestTrack_Outage loses everything for a while: as the network does, as a process that is stopped does, and as a machine
// that is paused does, whose clock stands still too.
func TestTrack_Outage(t *testing.T) {
	for name, tt := range map[string]struct {
		lasts  time.Duration
		frozen bool // our clock stands
		told   bool
	}{
		"half a second":        {500 * time.Millisecond, false, false},
		"29 seconds":           {29 * time.Second, false, true},
		"29 seconds, paused":   {29 * time.Second, true, true},
		"5 seconds, paused":    {5 * time.Second, true, true},
		"20 minutes":           {20 * time.Minute, false, true},
		"three hours, paused":  {3 * time.Hour, true, true},
		"1.5 seconds, stopped": {1500 * time.Millisecond, false, true},
	} {
		virtualRun(t, name, func(t *testing.T) {
			var behind atomic.Int64
			now := func() time.Time { return time.Now().Add(-time.Duration(behind.Load())) }
			dir := t.TempDir()
			begin := now()
			rec := start(t, recorder.Config{Now: now}, recorder.Options{Dir: dir, Type: recorder.TypeList})
			sources := []*source{newSource(t, "u", clips.TeacherVideo), newSource(t, "u", clips.TeacherAudio)}
			var tracks []*recorder.Track
			for _, s := range sources {
				tracks = append(tracks, must[*recorder.Track](t)(rec.AddTrack(s.info)))
			}
			send := func(d time.Duration, lost bool) {
				for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
					for i, s := range sources {
						for !s.begin.Add(s.peek().Time).After(time.Now()) {
							for _, p := range s.frame() {
								if lost {
									continue
								}
								if err := tracks[i].WriteRTP(p, now()); err != nil {
									t.Fatal(err)
								}
							}
						}
					}
				}
			}
			send(10*time.Second, false)
			send(tt.lasts, true)
			if tt.frozen {
				behind.Store(int64(tt.lasts))
			}
			send(10*time.Second, false)
			stop(t, rec)
			gaps, _, err := recorder.Notes(dir)
			if err != nil {
				t.Fatal(err)
			}
			kinds := map[recorder.Kind]bool{}
			for _, g := range gaps {
				kinds[g.Kind] = true
				lasts, from := g.End.Sub(g.Start), g.Start.Sub(begin)
				wantFrom := 10 * time.Second
				if tt.frozen {
					wantFrom -= tt.lasts // it ended when the clock went on
				}
				// The video waits for a keyframe, which is not of the gap.
				if g.UserID != "u" || (lasts-tt.lasts).Abs() > 200*time.Millisecond && from > 0 || (from-max(wantFrom, 0)).Abs() > 200*time.Millisecond {
					t.Errorf("gap from %v, %v (%s), want from %v, %v", from, lasts, g.Reason, wantFrom, tt.lasts)
				}
			}
			if tt.told != (len(gaps) == 2 && len(kinds) == 2) || !tt.told && len(gaps) > 0 {
				t.Errorf("gaps %v", gaps)
			}
		})
	}
}
