// SPDX-License-Identifier: Apache-2.0

package store

import (
	"slices"
	"sync"
	"time"
)

// presence is which replicas are alive, as far as is heard here. Each replica
// puts its key into a bucket every fifth of the TTL; all follow the bucket, in
// order, their own puts among the others'.
//
// A replica counts itself as alive until 3/4 TTL after it began the last put
// that was acknowledged. Another one counts it as dead when it hears a put of
// its own that it began a TTL after it last heard that one, and has heard
// itself all the time between. So the first knows before the others do: what
// was acknowledged to it before their put, they have heard before their put.
type presence struct {
	self string
	ttl  time.Duration
	wake chan struct{} // capacity 1: who is alive may have changed

	mu         sync.RWMutex
	validUntil time.Time // of ourselves
	superseded bool      // a later process has our id
	heardSelf  time.Time // when the last put of ours began that we have heard
	since      time.Time // from when we have heard ourselves without a break
	others     map[string]*other
}

// other is another replica that has a key.
type other struct {
	sequence uint64    // of its last put
	heard    time.Time // when we heard it
	dead     bool
}

func newPresence(self string, ttl time.Duration) *presence {
	return &presence{self: self, ttl: ttl, wake: make(chan struct{}, 1), others: make(map[string]*other)}
}

// signal wakes who tells of changes. The lock may be held.
func (p *presence) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// valid tells whether all others still count us as alive.
func (p *presence) valid() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.isValid(time.Now())
}

func (p *presence) isValid(now time.Time) bool { return !p.superseded && now.Before(p.validUntil) }

// extend makes us valid because of a put that was begun and acknowledged.
func (p *presence) extend(begun time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := begun.Add(3 * p.ttl / 4); until.After(p.validUntil) {
		p.validUntil = until
	}
	p.signal()
}

// supersede ends our being valid for ever: a later process has our id. It
// returns false when that was known.
func (p *presence) supersede() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.superseded
	p.superseded = true
	p.signal()
	return !known
}

// hear takes in a put of another replica.
func (p *presence) hear(replica string, sequence uint64, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.others[replica]
	if o == nil {
		o = new(other)
		p.others[replica] = o
		p.signal()
	}
	if sequence <= o.sequence { // the bucket is read anew
		return
	}
	if o.dead {
		p.signal()
	}
	o.sequence, o.heard, o.dead = sequence, now, false
}

// gone takes in that a replica has deleted its key.
func (p *presence) gone(replica string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.others, replica)
	p.signal()
}

// hearSelf takes in a put of ours that was begun at the time given. Who has
// been silent for a TTL before is dead.
func (p *presence) hearSelf(begun, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since.IsZero() || begun.Sub(p.heardSelf) > p.ttl/2 {
		p.since = now
	}
	p.heardSelf = begun
	for replica, o := range p.others {
		silent := begun.Sub(later(o.heard, p.since))
		switch {
		case o.dead && silent > 20*p.ttl: // its key is gone, too
			delete(p.others, replica)
		case !o.dead && silent >= p.ttl:
			o.dead = true
			p.signal()
		}
	}
}

// listening tells whether we hear ourselves.
func (p *presence) listening() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return !p.since.IsZero()
}

// due returns when the next replica can be found dead, zero when none.
func (p *presence) due() (at time.Time) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, o := range p.others {
		if end := later(o.heard, p.since).Add(p.ttl); !o.dead && (at.IsZero() || end.Before(at)) {
			at = end
		}
	}
	return at
}

// alive tells whether a replica is taken for alive. One without a key has
// deleted it, or has been silent for longer than the bucket keeps keys.
func (p *presence) alive(replica string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	o := p.others[replica]
	return replica == p.self || o != nil && !o.dead
}

// living returns the replicas that are taken for alive, ourselves among them,
// by id.
func (p *presence) living() []string {
	p.mu.RLock()
	defer p.mu.RUnlock()
	all := []string{p.self}
	for replica, o := range p.others {
		if !o.dead {
			all = append(all, replica)
		}
	}
	slices.Sort(all)
	return all
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
