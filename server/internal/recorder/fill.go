// SPDX-License-Identifier: Apache-2.0

package recorder

import "time"

// Many players, Chromium's among them, take the times of a track of sound from its first packet alone and then play
// packet after packet: where there is a hole, all that follows comes too early for the picture. So tracks of sound have no
// holes. What is missing is silence of the same length, and each packet is stamped with the end of the one before.
//
// How long a hole is, is told by the packets' own times. Where the clock of a sender and ours drift apart, the difference
// is made good in steps of driftStep, when it has grown to maxDrift.
const (
	minHole   = 10 * time.Millisecond
	maxDrift  = 20 * time.Millisecond
	driftStep = 10 * time.Millisecond
	// maxOverlap is how early a packet may be and be kept: what is earlier belongs to time that has been filled.
	maxOverlap = 100 * time.Millisecond
	// longHole is a hole in which a drift is made good too.
	longHole = time.Second
	// fillLag is how long sound is waited for before its time is filled while other tracks of the file go on: longer
	// than lost packets are, for which it is maxDrain at most. It is also how late sound may begin and be preceded by
	// silence.
	fillLag = maxDrain + time.Second
)

// sound writes a frame of sound after silence for what is missing before it.
func (o *output) sound(s *slot, f frame) error {
	if f.lasts <= 0 {
		return nil // malformed
	}
	if s.last < 0 && f.ts > fillLag {
		s.end = f.ts // players do wait for the first packet
	}
	due := f.ts - s.end
	switch jump := due - s.lag; {
	case jump >= longHole:
		jump = due
		fallthrough
	case jump >= minHole:
		if err := o.quiet(s, s.end+jump); err != nil {
			return err
		}
	}
	due = f.ts - s.end
	defer func() { s.lag = f.ts + f.lasts - s.end }()
	s.skipping = due <= -maxOverlap || s.skipping && due <= -minHole
	switch {
	case s.skipping:
		return nil
	case due <= -maxDrift:
		return o.quiet(s, s.end+f.lasts-driftStep)
	case due >= maxDrift:
		if err := o.quiet(s, s.end+driftStep); err != nil {
			return err
		}
	}
	return o.follow(s, f)
}

// follow writes a frame at the end of its track.
func (o *output) follow(s *slot, f frame) error {
	f.ts = s.end
	err := o.simple(s, f)
	s.end = f.ts + f.lasts
	return err
}

// quiet writes silence up to a time, as exactly as packets can.
func (o *output) quiet(s *slot, until time.Duration) error {
	for s.end < until {
		data, lasts := silence(s.Codec, until-s.end)
		if lasts == 0 {
			return nil
		}
		if err := o.follow(s, frame{lasts: lasts, key: true, data: data}); err != nil {
			return err
		}
	}
	return nil
}

// fill lets the sound that has begun reach a time at least.
func (o *output) fill(until time.Duration) error {
	for _, s := range o.slots {
		if s.Type != trackAudio || s.last < 0 || s.end >= until {
			continue
		}
		if err := o.quiet(s, until); err != nil {
			return err
		}
		s.lag = 0
	}
	return nil
}
