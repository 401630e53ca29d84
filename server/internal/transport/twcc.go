// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"encoding/binary"
	"slices"
	"time"
)

// Transport-wide congestion control: the times of arrival of all packets of a session, from which its sender estimates the
// bandwidth (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1). It is built here and not by pion's recorder,
// which allocates for each packet.
const (
	// maxArrivals bounds what is kept until the next feedback, and maxFeedback the numbers that one packet tells of.
	maxArrivals = 2048
	maxFeedback = 512
	deltaUnit   = 250 * time.Microsecond
	baseUnit    = 64 * time.Millisecond
)

// congestionFeedback is what has come since the last feedback. It is guarded by its session.
type congestionFeedback struct {
	started  bool
	next     int64 // the number after those that have been told of
	newest   int64
	arrivals []arrival // in the order of their numbers
	count    uint8     // of feedback packets
	ssrc     uint32    // of the last packet that came
	symbols  []uint8
	deltas   []byte
}

type arrival struct {
	n  int64
	at time.Duration // since the session began
}

// add notes a packet. One that is older than what has been told of is left out.
func (c *congestionFeedback) add(ssrc uint32, seq uint16, at time.Duration) {
	if !c.started {
		c.started, c.next, c.newest = true, int64(seq)+1<<16, int64(seq)+1<<16
	}
	n := c.newest + int64(int16(seq-uint16(c.newest))) //nolint:gosec // arithmetic modulo 2^16
	c.newest, c.ssrc = max(c.newest, n), ssrc
	if n < c.next || len(c.arrivals) >= maxArrivals {
		return
	}
	i := len(c.arrivals)
	for i > 0 && c.arrivals[i-1].n > n {
		i--
	}
	if i > 0 && c.arrivals[i-1].n == n {
		return
	}
	c.arrivals = slices.Insert(c.arrivals, i, arrival{n, at})
}

// append adds a feedback packet to buf, about as many numbers as fit; nothing when there is none. sender is our SSRC.
func (c *congestionFeedback) append(buf []byte, sender uint32) []byte {
	if len(c.arrivals) == 0 {
		return buf
	}
	if c.arrivals[0].n-c.next >= maxFeedback { // a jump: the sender counts anew
		c.next = c.arrivals[0].n
	}
	base, first := c.next, int64(c.arrivals[0].at/baseUnit)
	last := time.Duration(first) * baseUnit
	c.symbols, c.deltas = c.symbols[:0], c.deltas[:0]
	used := 0
	for _, a := range c.arrivals {
		delta := int64((a.at - last + deltaUnit/2) / deltaUnit)
		if a.n-base >= maxFeedback || delta < -1<<15 || delta >= 1<<15 {
			break // it is the next packet's
		}
		for int64(len(c.symbols)) < a.n-base {
			c.symbols = append(c.symbols, 0)
		}
		if delta >= 0 && delta < 256 {
			c.symbols, c.deltas = append(c.symbols, 1), append(c.deltas, uint8(delta))
		} else {
			c.symbols, c.deltas = append(c.symbols, 2), binary.BigEndian.AppendUint16(c.deltas, uint16(delta)) //nolint:gosec // it is within 16 bits
		}
		last += time.Duration(delta) * deltaUnit
		used++
	}
	c.arrivals = slices.Delete(c.arrivals, 0, used)
	c.next = base + int64(len(c.symbols))
	return c.marshal(buf, sender, uint16(base), first) //nolint:gosec // modulo 2^16
}

// marshal writes the packet (section 3.1).
func (c *congestionFeedback) marshal(buf []byte, sender uint32, base uint16, first int64) []byte {
	start := len(buf)
	buf = append(buf, 0x8f, 205, 0, 0)
	buf = binary.BigEndian.AppendUint32(buf, sender)
	buf = binary.BigEndian.AppendUint32(buf, c.ssrc)
	buf = binary.BigEndian.AppendUint16(buf, base)
	buf = binary.BigEndian.AppendUint16(buf, uint16(len(c.symbols)))           //nolint:gosec // at most maxFeedback
	buf = binary.BigEndian.AppendUint32(buf, uint32(first)<<8|uint32(c.count)) //nolint:gosec // 24 bits of it
	c.count++
	buf = appendChunks(buf, c.symbols)
	buf = append(buf, c.deltas...)
	for (len(buf)-start)%4 != 0 {
		buf = append(buf, 0)
	}
	binary.BigEndian.PutUint16(buf[start+2:], uint16((len(buf)-start)/4-1)) //nolint:gosec // a few hundred
	return buf
}

// appendChunks writes the status of each number: a run of one status, or seven of two bits each (sections 3.1.3, 3.1.4).
func appendChunks(buf []byte, symbols []uint8) []byte {
	for len(symbols) > 0 {
		run := 1
		for run < len(symbols) && symbols[run] == symbols[0] {
			run++
		}
		if run >= 7 || run == len(symbols) {
			buf = binary.BigEndian.AppendUint16(buf, uint16(symbols[0])<<13|uint16(run))
			symbols = symbols[run:]
			continue
		}
		chunk := uint16(3) << 14
		n := min(7, len(symbols))
		for i := range n {
			chunk |= uint16(symbols[i]) << (12 - 2*i)
		}
		buf = binary.BigEndian.AppendUint16(buf, chunk)
		symbols = symbols[n:]
	}
	return buf
}
