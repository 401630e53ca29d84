// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"slices"
	"time"
)

const (
	// A missing packet is waited for as many round trips as minPatience to maxPatience allow.
	patienceTrips = 8
	minPatience   = 3 * time.Second
	maxPatience   = 4 * time.Second
	// maxAsks bounds how often one packet is asked for.
	maxAsks = 12
	// maxMissing bounds the packets of one stream that are asked for; older ones are given up. A hole that is larger than
	// maxJump is none: the source counts anew.
	maxMissing = 2048
	maxJump    = 4096
	// strangers is how many packets in a row from far off mean that the source counts anew.
	strangers = 3
	// A packet is not asked for before others may have overtaken it: minReorder, and more where it has happened.
	minReorder = 15 * time.Millisecond
	maxReorder = 120 * time.Millisecond
)

// roundTrip estimates the time from asking for a packet to its coming (RFC 6298).
type roundTrip struct {
	smooth, vary time.Duration
	measured     bool
}

// newRoundTrip knows nothing yet, and is careful.
func newRoundTrip() roundTrip {
	return roundTrip{smooth: 200 * time.Millisecond, vary: 50 * time.Millisecond}
}

// first is told how long the handshake took for one turn.
func (r *roundTrip) first(trip time.Duration) {
	if trip > 0 && !r.measured {
		r.smooth, r.vary = min(trip, 2*time.Second), trip/4
	}
}

func (r *roundTrip) add(sample time.Duration) {
	sample = min(max(sample, time.Millisecond), 3*time.Second)
	if !r.measured {
		r.measured, r.smooth, r.vary = true, sample, sample/2
		return
	}
	r.vary += ((r.smooth - sample).Abs() - r.vary) / 4
	r.smooth += (sample - r.smooth) / 8
}

// again is how long an answer may take before a packet is asked for once more: longer each time, since the estimate may
// be wrong.
func (r *roundTrip) again(asked int) time.Duration {
	wait := r.smooth + max(4*r.vary, r.smooth/4, 20*time.Millisecond)
	for range asked - 1 {
		wait += wait / 2
	}
	return min(wait, maxPatience/2)
}

// patience is how long a missing packet is waited for.
func (r *roundTrip) patience() time.Duration {
	return min(max(patienceTrips*r.smooth, minPatience), maxPatience)
}

// arrivalKind is what a sequence number is when it comes.
type arrivalKind int

const (
	fresh    arrivalKind = iota // newer than all before
	repaired                    // it had been missing
	doubled                     // it had come, or had been given up
)

// gap is one missing packet.
type gap struct {
	n           int64 // its number, extended
	since       time.Time
	last, prior time.Time // when it was asked for
	asked       int
}

// lossTracker knows which packets of a stream are missing. It is guarded by its session.
type lossTracker struct {
	started  bool
	next     int64 // the number after the newest
	first    int64
	missing  []gap // in the order of their numbers
	strange  int
	lastOdd  uint16
	reorder  time.Duration // how long others may overtake
	received uint64
	lost     uint64 // given up, since whoever counts them took it
}

// extend gives a number its place beside the newest.
func (l *lossTracker) extend(seq uint16) int64 { return l.next + int64(int16(seq-uint16(l.next))) } //nolint:gosec // arithmetic modulo 2^16

// arrived notes a packet.
func (l *lossTracker) arrived(seq uint16, now time.Time, rtt *roundTrip) arrivalKind {
	if !l.started {
		l.started, l.next, l.first = true, int64(seq)+1<<16+1, int64(seq)+1<<16
		l.received = 1
		return fresh
	}
	n := l.extend(seq)
	if d := n - l.next; d > maxJump || d < -maxJump {
		return l.odd(seq)
	}
	l.strange = 0
	if n < l.next {
		return l.late(n, now, rtt)
	}
	for ; l.next < n; l.next++ {
		l.missing = append(l.missing, gap{n: l.next, since: now})
	}
	l.next++
	l.received++
	if over := len(l.missing) - maxMissing; over > 0 {
		l.lost += uint64(over)
		l.missing = slices.Delete(l.missing, 0, over)
	}
	return fresh
}

// odd takes a packet from far off.
func (l *lossTracker) odd(seq uint16) arrivalKind {
	if l.strange > 0 && seq == l.lastOdd {
		return doubled
	}
	l.strange, l.lastOdd = l.strange+1, seq
	if l.strange < strangers {
		return fresh // who orders them will see
	}
	l.lost += uint64(len(l.missing))
	*l = lossTracker{reorder: l.reorder, lost: l.lost}
	return l.arrived(seq, time.Time{}, nil)
}

// late takes a packet older than the newest.
func (l *lossTracker) late(n int64, now time.Time, rtt *roundTrip) arrivalKind {
	i, found := slices.BinarySearchFunc(l.missing, n, func(g gap, n int64) int { return int(g.n - n) })
	if !found {
		return doubled
	}
	g := l.missing[i]
	l.missing = slices.Delete(l.missing, i, i+1)
	l.received++
	switch sample := now.Sub(g.last); {
	case g.asked == 0:
		l.reorder = min(max(l.reorder, now.Sub(g.since)*5/4), maxReorder) // it was only overtaken
	case g.asked > 1 && sample < rtt.smooth/2:
		rtt.add(now.Sub(g.prior)) // too soon to be the answer to the last time
	default:
		rtt.add(sample)
	}
	return repaired
}

// due lists what is to be asked for now, and gives up what has been waited for long enough.
func (l *lossTracker) due(now time.Time, rtt *roundTrip, ask []uint16) []uint16 {
	patience, wait := rtt.patience(), max(l.reorder, minReorder)
	kept := l.missing[:0]
	for _, g := range l.missing {
		age := now.Sub(g.since)
		if age >= patience {
			l.lost++
			continue
		}
		if g.asked == 0 && age >= wait || g.asked > 0 && g.asked < maxAsks && now.Sub(g.last) >= rtt.again(g.asked) {
			g.prior, g.last = g.last, now
			g.asked++
			ask = append(ask, uint16(g.n)) //nolint:gosec // modulo 2^16
		}
		kept = append(kept, g)
	}
	l.missing = kept
	return ask
}

// expire gives up what nobody can be asked for.
func (l *lossTracker) expire(now time.Time) {
	old := 0
	for old < len(l.missing) && now.Sub(l.missing[old].since) >= maxReorder {
		old++
	}
	l.lost += uint64(old)
	l.missing = slices.Delete(l.missing, 0, old)
}

// misses reports whether a packet is missing.
func (l *lossTracker) misses(seq uint16) bool {
	_, found := slices.BinarySearchFunc(l.missing, l.extend(seq), func(g gap, n int64) int { return int(g.n - n) })
	return found
}

// expect notes that all packets before one are due, before it is counted itself: what its redundancy brings is then
// known to be missing.
func (l *lossTracker) expect(seq uint16, now time.Time) {
	n := l.extend(seq)
	if d := n - l.next; d < 0 || d > maxJump {
		return
	}
	for ; l.next < n; l.next++ {
		l.missing = append(l.missing, gap{n: l.next, since: now})
	}
}
