// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"slices"
	"sync"
	"time"
)

const (
	// layerStall is how long the recorded layer may be silent before a smaller one that comes takes its place.
	layerStall = 1500 * time.Millisecond
	// layerGain is how much more than the recorded layer's bytes one with a picture of the same size must send to be the
	// better one, as a divisor: a quarter.
	layerGain = 4
)

// layers are the tracks of a simulcast, of which one at a time is recorded. A change is made with a keyframe, so nothing
// is lost by it. Its mutex is taken with that of a track held, never the other way round.
type layers struct {
	lead *Track // under which the writer knows them

	mu     sync.Mutex
	all    []*layer
	chosen *layer
	order  time.Duration // the latest time of the frames that were admitted
}

// layer is what is known of one track.
type layer struct {
	track   *Track
	area    int           // of the picture, in pixels; 0 before the first keyframe
	arrival time.Duration // of the newest frame
	bytes   int           // in the present second, and in the one before
	second  time.Duration
	rate    int
}

// joinLayers makes t one of the layers that its info names; false when it is the first, or the only one. The recording's
// mutex is held.
func (rec *Recording) joinLayers(t *Track) bool {
	if t.info.Simulcast == "" || t.depacketizer == nil {
		return false
	}
	for _, o := range rec.tracks {
		same := o.info.UserID == t.info.UserID && o.info.StreamID == t.info.StreamID && o.info.Simulcast == t.info.Simulcast
		if o.layers != nil && same && o.codec == t.codec {
			t.layers = o.layers
			o.layers.mu.Lock()
			o.layers.all = append(o.layers.all, &layer{track: t})
			o.layers.mu.Unlock()
			return true
		}
	}
	t.layers = &layers{lead: t, all: []*layer{{track: t}}}
	return false
}

func (g *layers) of(t *Track) *layer {
	i := slices.IndexFunc(g.all, func(l *layer) bool { return l.track == t })
	return g.all[i] // it joined when it was made, and never leaves
}

// better reports whether l is worth more than other: a larger picture, or one of the same size with more bytes for it.
func (l *layer) better(other *layer) bool {
	if l.area != other.area {
		return l.area > other.area
	}
	return l.rate > other.rate+other.rate/layerGain
}

func (l *layer) stalled(now time.Duration) bool {
	return now-l.arrival > layerStall || l.track.gone.Load()
}

// admit decides whether a frame is recorded, and makes it one of the lead's.
func (g *layers) admit(t *Track, f *frame, arrival time.Duration) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.of(t)
	l.note(t, arrival)
	if f.key {
		l.area = t.config.width * t.config.height
	}
	switch {
	case l == g.chosen:
	case !f.key:
		return false
	case g.chosen == nil, g.chosen.stalled(arrival), l.better(g.chosen):
		if g.chosen != nil && arrival < 0 {
			t.rec.withdraw(g.lead) // what was replayed of the other is not needed for this one
			g.order = 0
		}
		g.chosen = l
	default:
		return false
	}
	if f.order = max(f.order, g.order); !f.reordered {
		f.ts = max(f.ts, g.order) // the clocks of layers agree to some milliseconds
	}
	g.order, f.track = f.order, g.lead
	return true
}

// note counts a frame.
func (l *layer) note(t *Track, arrival time.Duration) {
	l.arrival = arrival
	if arrival-l.second >= time.Second {
		l.rate, l.bytes, l.second = l.bytes, 0, arrival
	}
	l.bytes += len(t.frame)
}

// wants reports whether keyframes of the track are of use: it is recorded, or would be.
func (g *layers) wants(t *Track, now time.Duration) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.of(t)
	return g.chosen == nil || l == g.chosen || l.area == 0 || g.takesOver(l, now)
}

// climbs reports whether the track would be recorded if it had a keyframe. g may be nil.
func (g *layers) climbs(t *Track, now time.Duration) bool {
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.takesOver(g.of(t), now)
}

// takesOver reports whether l should take the place of the chosen layer: it is the best of those that come, or the chosen
// one has stopped.
func (g *layers) takesOver(l *layer, now time.Duration) bool {
	if g.chosen == nil || l == g.chosen || l.stalled(now) {
		return false
	}
	for _, o := range g.all {
		if o != l && !o.stalled(now) && !l.better(o) {
			return false
		}
	}
	return true
}
