// SPDX-License-Identifier: Apache-2.0

package engineio

import (
	"sync"
	"time"
)

// beat does what is due at time now: it cuts the connection if the peer is silent, does not read, or does not close, and pings
// where it is this side that pings. It returns the env time at which it wants to be called again at the latest.
func (c *Conn) beat(now int64) (next int64) {
	e := c.env
	next = now + int64(e.pingInterval+e.pingTimeout)
	// due reports whether at has come; 0 is never.
	due := func(at int64) bool {
		if at != 0 && at > now {
			next = min(next, at)
		}
		return at != 0 && at <= now
	}
	after := func(since int64, d time.Duration) int64 {
		if since == 0 {
			return 0
		}
		return since + int64(d)
	}
	switch {
	case due(c.closeBy.Load()):
		c.Cut(ErrClosed)
	case due(c.expectBy.Load()):
		c.Cut(ErrHandshakeTimeout)
	case due(after(c.writing.Load(), e.writeTimeout)):
		c.Cut(ErrSlowPeer)
	case due(after(c.seen.Load(), e.pingInterval+e.pingTimeout)):
		c.Cut(ErrPingTimeout)
	case c.pings() && due(after(c.pinged.Load(), e.pingInterval)):
		c.pinged.Store(now)
		_ = c.Send(e.ping) // a connection that takes no ping has ended, or is ending
		next = min(next, after(now, e.pingInterval))
	}
	return next
}

// pings reports whether this side of the connection sends the pings.
func (c *Conn) pings() bool { return (c.revision == Revision3) == (c.client != nil) }

// clientBeat is the heart of a client's connection: a timer, and no goroutine while nothing is due.
type clientBeat struct {
	conn *Conn

	mu      sync.Mutex
	timer   *time.Timer // nil before start
	woken   bool        // something has changed since the last look at what is due
	stopped bool
}

func (b *clientBeat) start() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.timer = time.AfterFunc(0, b.run)
}

func (b *clientBeat) run() {
	b.mu.Lock()
	b.woken = false
	b.mu.Unlock()
	now := b.conn.env.now()
	wait := time.Duration(b.conn.beat(now) - now)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.woken {
		wait = 0
	}
	if !b.stopped {
		b.timer.Reset(wait)
	}
}

// wake has what is due looked at again, now.
func (b *clientBeat) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.woken = true
	if b.timer != nil && !b.stopped {
		b.timer.Reset(0)
	}
}

// stop ends the beats.
func (b *clientBeat) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
	b.timer.Stop()
}
