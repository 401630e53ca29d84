// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"github.com/classrec/classrec/server/internal/recorder"
)

const (
	// groupBytes bounds the group of pictures that is kept of a stream, and groupPackets its number of packets.
	groupBytes   = 8 << 20
	groupPackets = 1 << 14
	// groupAge is how long a group may be before a keyframe is asked for, so that it stays short.
	groupAge = 10 * time.Second
	// groupsBytes bounds the groups of all streams of a Server.
	groupsBytes = 256 << 20
)

// groups counts the bytes of all groups that are kept.
type groups struct{ bytes atomic.Int64 }

// group is the present group of pictures of a stream that is not recorded: what came since its last keyframe, so that a
// class that begins has a picture at once. It is empty when it would be too large: then nothing is kept until the next
// keyframe. It belongs to one goroutine.
type group struct {
	of      *groups
	mime    string
	packets []keptPacket
	bytes   int
	prelude int // how many packets at the end have no picture, and would go with the next
	asked   time.Time
}

type keptPacket struct {
	*rtp.Packet
	arrival time.Time
}

// add keeps a packet, which the group owns from then on. It reports whether a keyframe should be asked for.
func (g *group) add(p *rtp.Packet, arrival time.Time) (ask bool) {
	role := recorder.RoleOf(g.mime, p.Payload)
	if role == recorder.BeginsKeyframe && !g.continues(p) {
		first := p.SequenceNumber
		if n := g.prelude; n > 0 {
			first = g.packets[len(g.packets)-n].SequenceNumber
		}
		g.drop(first)
	}
	switch {
	case role == recorder.BeforePicture:
		g.prelude++
	case role == recorder.BeginsKeyframe, len(g.packets) > g.prelude:
		g.prelude = 0
	default:
		g.clear() // a picture whose keyframe is not here
		return g.due(arrival)
	}
	g.packets = append(g.packets, keptPacket{p, arrival})
	g.bytes += len(p.Payload)
	total := g.of.bytes.Add(int64(len(p.Payload)))
	if g.bytes > groupBytes || len(g.packets) > groupPackets || total > groupsBytes {
		g.clear()
		return g.due(arrival)
	}
	return arrival.Sub(g.packets[0].arrival) > groupAge && g.due(arrival)
}

// continues reports whether a packet is of the keyframe that the group begins with: one in several slices begins several
// times.
func (g *group) continues(p *rtp.Packet) bool {
	return len(g.packets) > g.prelude && g.packets[len(g.packets)-1].Timestamp == p.Timestamp
}

// due reports whether a keyframe may be asked for again.
func (g *group) due(now time.Time) bool {
	if now.Sub(g.asked) < groupAge {
		return false
	}
	g.asked = now
	return true
}

// drop lets go of what was sent before a sequence number.
func (g *group) drop(first uint16) {
	g.packets = slices.DeleteFunc(g.packets, func(k keptPacket) bool {
		if distance(k, first) >= 0 {
			return false
		}
		g.bytes -= len(k.Payload)
		g.of.bytes.Add(-int64(len(k.Payload)))
		return true
	})
}

// clear lets go of everything.
func (g *group) clear() {
	g.of.bytes.Add(-int64(g.bytes))
	g.packets, g.bytes, g.prelude = nil, 0, 0
}

// take returns the group in the order of sending, and keeps it no longer.
func (g *group) take() []keptPacket {
	packets := g.packets
	g.clear()
	if len(packets) > 0 {
		newest := packets[len(packets)-1].SequenceNumber
		slices.SortStableFunc(packets, func(a, b keptPacket) int {
			return distance(a, newest) - distance(b, newest)
		})
	}
	return packets
}

// distance is how far a packet is from a sequence number, which wraps (RFC 3550 section A.1).
func distance(k keptPacket, from uint16) int {
	return int(int16(k.SequenceNumber - from)) //nolint:gosec // that is the arithmetic
}
