// SPDX-License-Identifier: Apache-2.0

package recorder

import "time"

const (
	// jitterSize bounds how many packets wait for a missing one: some seconds of a large picture. The ring begins with
	// jitterStart places. Both are powers of two.
	jitterSize  = 4096
	jitterStart = 64
	// jitterFree is how many buffers are kept to be used again.
	jitterFree = 32
	// jitterBytes bounds their size.
	jitterBytes = 4 << 20
	// jitterWait is how long a missing packet is waited for where nobody says how long it may still come.
	jitterWait = 300 * time.Millisecond
	// muchLater is a distance of RTP timestamps, some seconds of any clock, that no late packet has to the newest: what has
	// it and an earlier number has wrapped.
	muchLater = 450_000
	// restartAfter is how many packets in a row from far off mean that the source counts anew.
	restartAfter = 3
)

// packet is what the recorder needs of an RTP packet.
type packet struct {
	seq     uint16
	marker  bool
	ts      uint32
	payload []byte
	arrival time.Duration
}

// jitterBuffer puts packets in order. A packet in order passes through without a copy. Packets after a gap are
// copied and wait for the gap to be filled, as long as wait says; then the gap is lost. Duplicates and packets
// that come after their gap was given up are dropped. Sequence numbers wrap.
type jitterBuffer struct {
	out  func(p packet, lost bool) // lost: packets before this one are missing for good
	wait func() time.Duration      // how long a missing packet may still come; nil is jitterWait

	started bool
	next    uint16 // the sequence number that out waits for
	newest  uint16 // the latest that came
	stamp   uint32 // its RTP timestamp
	ring    []*packet
	count   int
	bytes   int
	since   time.Duration // arrival of the oldest waiting packet
	lost    bool          // the next packet comes after a loss
	missing uint64        // packets given up, since whoever counts them took it
	strange int           // packets in a row from far off
	free    []*packet
}

// push takes a packet; its payload is only borrowed.
func (j *jitterBuffer) push(p packet) {
	if !j.started {
		j.started, j.next, j.newest, j.stamp = true, p.seq, p.seq, p.ts
	}
	d := int(int16(p.seq - j.next))
	if d < -jitterSize*4 || d > jitterSize*4 || d < 0 && int32(p.ts-j.stamp) > muchLater {
		if j.strange++; j.strange < restartAfter {
			return
		}
		j.flush()
		j.next, j.newest, j.stamp, j.lost, d = p.seq, p.seq, p.ts, true, 0
	}
	j.strange = 0
	if int16(p.seq-j.newest) > 0 {
		j.newest, j.stamp = p.seq, p.ts
	}
	switch {
	case d == 0:
		j.deliver(p)
		j.drain()
	case d < 0: // a duplicate, or given up already
	default:
		for d >= jitterSize || j.bytes+len(p.payload) > jitterBytes && j.count > 0 {
			if j.count == 0 {
				j.missing += uint64(d) // d is positive here
				j.next, j.lost = p.seq, true
			} else {
				j.skip()
			}
			if d = int(int16(p.seq - j.next)); d <= 0 {
				j.push(p)
				return
			}
		}
		j.reach(d)
		j.keep(p)
		j.expire(p.arrival)
	}
}

// expire gives up gaps that have been waited for long enough.
func (j *jitterBuffer) expire(now time.Duration) {
	if j.count == 0 || now-j.since < jitterWait {
		return
	}
	wait := jitterWait
	if j.wait != nil {
		wait = j.wait()
	}
	for j.count > 0 && now-j.since >= wait {
		j.skip()
	}
}

// newer reports whether a number is later than all that came.
func (j *jitterBuffer) newer(seq uint16) bool { return !j.started || int16(seq-j.newest) > 0 }

// place is where a number is kept.
func (j *jitterBuffer) place(seq uint16) **packet { return &j.ring[int(seq)&(len(j.ring)-1)] }

// reach makes the ring large enough for a packet so far ahead of next.
func (j *jitterBuffer) reach(ahead int) {
	size := max(len(j.ring), jitterStart)
	for size <= ahead {
		size *= 2
	}
	if size == len(j.ring) {
		return
	}
	old := j.ring
	j.ring = make([]*packet, size)
	for _, p := range old {
		if p != nil {
			*j.place(p.seq) = p
		}
	}
}

// flush gives out all that waits.
func (j *jitterBuffer) flush() {
	for j.count > 0 {
		j.skip()
	}
}

func (j *jitterBuffer) keep(p packet) {
	slot := j.place(p.seq)
	if *slot != nil {
		return // a duplicate: within the ring's reach the slot belongs to one number
	}
	var c *packet
	if n := len(j.free); n > 0 {
		c, j.free = j.free[n-1], j.free[:n-1]
	} else {
		c = new(packet)
	}
	payload := append(c.payload[:0], p.payload...)
	*c = p
	c.payload = payload
	*slot = c
	if j.count == 0 {
		j.since = p.arrival
	}
	j.count++
	j.bytes += len(payload)
}

// skip gives up the present gap.
func (j *jitterBuffer) skip() {
	for *j.place(j.next) == nil {
		j.next++
		j.missing++
	}
	j.lost = true
	j.drain()
}

// drain gives out packets up to the next gap.
func (j *jitterBuffer) drain() {
	if j.count == 0 {
		return
	}
	for {
		slot := j.place(j.next)
		p := *slot
		if p == nil {
			break
		}
		*slot = nil
		j.count--
		j.bytes -= len(p.payload)
		j.deliver(*p)
		if len(j.free) < jitterFree {
			j.free = append(j.free, p)
		}
	}
	if j.count == 0 {
		return
	}
	for i := j.next; ; i++ {
		if p := *j.place(i); p != nil {
			j.since = p.arrival
			return
		}
	}
}

func (j *jitterBuffer) deliver(p packet) {
	j.next = p.seq + 1
	lost := j.lost
	j.lost = false
	j.out(p, lost)
}
