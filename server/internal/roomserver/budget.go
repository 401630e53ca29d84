// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"net/netip"
	"time"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// What is sent to a room waits in the send queue of everybody there, and a queue that is full ends its connection. So that
// no sender can fill the queues of others, what is caused is bounded: for each participant, for those who lead the class
// together, and for all others together. The shares are of Config.SendQueueBytes; together they leave an eighth of it free.
const (
	shareOfOne     = 4 // a quarter at once, and a quarter of that each second
	shareOfLeader  = 2
	shareOfLeaders = 2
	// All but the leaders have three eighths.
	othersEighths = 3
)

// deliveriesPerSecond is how many frames a participant causes in a second, on average over ten; those who lead a class cause
// ten times as many.
const deliveriesPerSecond = 20_000

// bucket fills with what is taken, and runs out with time.
type bucket struct {
	level float64
	since time.Time
}

// holds reports whether n more fit, with what has run out by now.
func (b *bucket) holds(now time.Time, n, most, perSecond float64) bool {
	if !b.since.IsZero() {
		b.level = max(0, b.level-max(0, now.Sub(b.since).Seconds())*perSecond)
	}
	b.since = now
	return n <= 0 || b.level+n <= most
}

func (b *bucket) add(n float64) { b.level += n }

// causes is what a participant has caused lately.
type causes struct {
	bytes, deliveries bucket
}

// roomCauses is what those in a room have caused together.
type roomCauses struct {
	leaders, others bucket
	joins           map[netip.Prefix]*bucket // by network of the newcomer; nil before the first
}

// spend takes what an event costs that is told to others: so many bytes in each queue. It refuses what would be too much.
// The room's mutex is held.
func (r *room) spend(p *participant, t target, bytes int) error {
	told := r.audience(t, p)
	if p.ours || told == 0 {
		return nil
	}
	queue, now := float64(r.server.cfg.SendQueueBytes), time.Now()
	one, all, most := queue/shareOfOne, &r.causes.others, queue*othersEighths/8
	frames := float64(deliveriesPerSecond)
	if p.leads() {
		one, all, most, frames = queue/shareOfLeader, &r.causes.leaders, queue/shareOfLeaders, 10*frames
	}
	n := float64(bytes)
	fits := p.causes.bytes.holds(now, n, one, one/4) && all.holds(now, n, most, most/2) &&
		p.causes.deliveries.holds(now, float64(told), 10*frames, frames)
	if !fits {
		return r.server.over(limitFanOut, "a participant fills %d bytes of the others' queues at most at once, and a quarter of that in a second", int(one))
	}
	p.causes.bytes.add(n)
	all.add(n)
	p.causes.deliveries.add(float64(told))
	return nil
}

// audience is how many others may be told.
func (r *room) audience(t target, sender *participant) int {
	switch {
	case t.none:
		return 0
	case len(t.users) > 0:
		n := 0
		for _, id := range t.users {
			if p := r.people[id]; p != nil && p != sender {
				n++
			}
		}
		return n
	}
	return len(r.list) - 1
}

// mayAnnounce bounds what joining again and again makes the others hear: by the network that it comes from, since each
// time it may be somebody else. The room's mutex is held.
func (r *room) mayAnnounce(p *participant, bytes int) error {
	if p.ours || r.big || len(r.list) == 0 {
		return nil
	}
	if r.causes.joins == nil {
		r.causes.joins = make(map[netip.Prefix]*bucket)
	}
	network := networkOf(p.from)
	b := r.causes.joins[network]
	if b == nil {
		b = new(bucket)
		r.causes.joins[network] = b
	}
	most := float64(r.server.cfg.SendQueueBytes) / shareOfOne
	if !b.holds(time.Now(), float64(bytes), most, most/4) {
		return r.server.over(limitFanOut, "too many join this room from one address")
	}
	b.add(float64(bytes))
	return nil
}

// networkOf is what counts as one address: of IPv6 the /64.
func networkOf(address string) netip.Prefix {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}
	}
	ip, bits := ip.Unmap().WithZone(""), 32
	if ip.Is6() {
		bits = 64
	}
	network, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return network
}

// rank orders those who may do something to others: nobody does it to who stands above.
func (p *participant) rank() int {
	if p.ours {
		return 3
	}
	return rankOf(p.role)
}

func rankOf(role int8) int {
	switch role {
	case talkcloud.RoleTeacher:
		return 2
	case talkcloud.RoleAssistant:
		return 1
	}
	return 0
}
