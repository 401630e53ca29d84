// SPDX-License-Identifier: Apache-2.0

package mixer

import "time"

// How it is decided who speaks.
const (
	// levelEvery is how often the level of everybody's sound is measured.
	levelEvery = 100 * time.Millisecond
	// levelFloor is the mean square, of full scale, below which somebody is silent: -46 dB.
	levelFloor = 2.5e-5
	// levelKeep is how much of the mean so far is kept at each measurement, so that it follows within half a second.
	levelKeep = 0.8
	// louder is how much above the speaker's mean square somebody else has to be: 3 dB.
	louder = 2
	// speakFor is how long somebody has to be the loudest to become the speaker, and speakAtLeast how long the speaker
	// stays at least.
	speakFor     = 800 * time.Millisecond
	speakAtLeast = 2 * time.Second
)

// listener finds out who speaks, from measurements of everybody's sound.
type listener struct {
	means    []float64 // by person
	speaker  int       // -1 before anybody has spoken
	since    time.Duration
	loudest  int
	loudFrom time.Duration
	speeches []speech
}

func newListener(people int) *listener {
	return &listener{means: make([]float64, people), speaker: -1, loudest: -1}
}

// measure takes the mean squares of all for the time from at on, each of full scale 1. Who is the loudest for a while
// becomes the speaker, from the time when that began.
func (l *listener) measure(at time.Duration, squares []float64) {
	loudest := -1
	for p, square := range squares {
		l.means[p] = levelKeep*l.means[p] + (1-levelKeep)*square
		if l.means[p] >= levelFloor && (loudest < 0 || l.means[p] > l.means[loudest]) {
			loudest = p
		}
	}
	if loudest >= 0 && l.speaker >= 0 && l.means[loudest] < louder*l.means[l.speaker] {
		loudest = l.speaker
	}
	if loudest != l.loudest {
		l.loudest, l.loudFrom = loudest, at
	}
	if loudest < 0 || loudest == l.speaker || at+levelEvery-l.loudFrom < speakFor {
		return
	}
	from := l.loudFrom
	if l.speaker >= 0 {
		from = max(from, l.since+speakAtLeast)
	}
	if from > at {
		return
	}
	l.speaker, l.since = loudest, from
	l.speeches = append(l.speeches, speech{from, loudest})
}
