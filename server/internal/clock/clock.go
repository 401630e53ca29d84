// SPDX-License-Identifier: Apache-2.0

// Package clock is the time of day as a test may move it on. A nil [Clock] is
// the system's, and costs nothing; one that is not nil is ahead of the system's
// by what it has been advanced, and else goes as fast.
//
// Who waits for a time sleeps as always, by the difference to [Clock.Now], and
// besides for [Clock.Moved], taken before that difference was computed: then
// no advance is missed. It leaves alone what waits for others to answer: their
// time does not move.
package clock

import (
	"context"
	"sync"
	"time"
)

// Clock tells the time. Its zero value shows the system's. It is safe for
// concurrent use.
type Clock struct {
	mu    sync.Mutex
	ahead time.Duration
	moved chan struct{} // closed at the next advance; nil until somebody asks
}

// Now is the present time.
func (c *Clock) Now() time.Time {
	if c == nil {
		return time.Now()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

// Since is how long ago t was.
func (c *Clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// Until is how far away t is.
func (c *Clock) Until(t time.Time) time.Duration { return t.Sub(c.Now()) }

// Moved is closed when the clock is next advanced; nil, which never is, for the
// system's clock.
func (c *Clock) Moved() <-chan struct{} {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.moved == nil {
		c.moved = make(chan struct{})
	}
	return c.moved
}

// Advance moves the clock on. Time never goes back: d of 0 and less does
// nothing. The system's clock cannot be moved.
func (c *Clock) Advance(d time.Duration) {
	if c == nil || d <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
	if c.moved != nil {
		close(c.moved)
		c.moved = nil
	}
}

// WithTimeout is [context.WithTimeout] by this clock. On one that can be moved,
// the context's own Err is context.Canceled; its [context.Cause] is
// context.DeadlineExceeded on either.
func (c *Clock) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if c == nil {
		return context.WithTimeout(ctx, d)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	at := c.Now().Add(d)
	var over sync.WaitGroup
	over.Go(func() {
		for {
			moved := c.Moved()
			left := c.Until(at)
			if left <= 0 {
				cancel(context.DeadlineExceeded)
				return
			}
			timer := time.NewTimer(left)
			select {
			case <-timer.C:
			case <-moved:
			case <-ctx.Done():
			}
			timer.Stop()
			if ctx.Err() != nil {
				return
			}
		}
	})
	return ctx, func() {
		cancel(context.Canceled)
		over.Wait()
	}
}
