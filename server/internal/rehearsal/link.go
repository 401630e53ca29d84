// SPDX-License-Identifier: Apache-2.0

package rehearsal

import (
	"context"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// link is the network between the service and its platform.
type link struct {
	mu      sync.Mutex
	slow    time.Duration
	absent  bool
	closed  bool
	changed chan struct{} // closed and replaced when slow changes
	conns   map[*linked]struct{}
	running sync.WaitGroup // of all conns
}

func (l *link) init() {
	l.changed, l.conns = make(chan struct{}), map[*linked]struct{}{}
}

func (l *link) setSlow(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slow = max(d, 0)
	close(l.changed)
	l.changed = make(chan struct{})
}

// pace returns by how much answers are late, and what is closed when that
// changes.
func (l *link) pace() (slow time.Duration, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.slow, l.changed
}

func (l *link) setAbsent(absent bool) {
	l.mu.Lock()
	l.absent = absent
	l.mu.Unlock()
	if absent {
		l.drop()
	}
}

// drop cuts all connections.
func (l *link) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.cut()
	}
}

func (l *link) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.drop()
	l.running.Wait()
}

// through makes connections of dial's go through the link.
func (l *link) through(dial DialFunc) DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		l.mu.Lock()
		refused := l.absent || l.closed
		l.mu.Unlock()
		if refused {
			return nil, errRefused(network)
		}
		far, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		c := &linked{link: l, far: far, late: make(chan chunk, maxLate), gone: make(chan struct{})}
		var near net.Conn
		near, c.mid = net.Pipe()
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.absent || l.closed { // since just now
			c.cut()
			return nil, errRefused(network)
		}
		l.conns[c] = struct{}{}
		l.running.Go(c.run)
		return near, nil
	}
}

func errRefused(network string) error {
	return &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
}

const (
	// chunkBytes is how much is carried at once, and maxLate how many such
	// chunks may be on their way to the service; then the platform has to wait.
	chunkBytes = 4 << 10
	maxLate    = 256
)

// linked is one connection through the link.
type linked struct {
	link *link
	far  net.Conn   // to the platform
	mid  net.Conn   // whose other end the service has
	late chan chunk // on its way to the service; closed by hear
	gone chan struct{}
	once sync.Once // closes gone
}

// chunk is what the platform has said at a time.
type chunk struct {
	data []byte
	at   time.Time
}

// cut ends the connection for both sides.
func (c *linked) cut() {
	c.once.Do(func() { close(c.gone) })
	_ = c.far.Close() // both may be closed already
	_ = c.mid.Close()
}

func (c *linked) run() {
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(c.far, c.mid) // how it ends is told by its ending
		c.cut()
	})
	both.Go(c.hear)
	both.Go(c.deliver)
	both.Wait()
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	delete(c.link.conns, c)
}

// hear takes what the platform says.
func (c *linked) hear() {
	defer close(c.late)
	for {
		buf := make([]byte, chunkBytes)
		n, err := c.far.Read(buf)
		if n > 0 {
			select {
			case c.late <- chunk{buf[:n], time.Now()}:
			case <-c.gone:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// deliver gives it to the service when its time has come, and ends with it.
func (c *linked) deliver() {
	defer c.cut()
	for chunk := range c.late {
		if !c.wait(chunk.at) {
			return
		}
		if _, err := c.mid.Write(chunk.data); err != nil {
			return
		}
	}
}

// wait returns when what was said at a time may arrive; false when the
// connection has ended.
func (c *linked) wait(at time.Time) bool {
	for {
		slow, changed := c.link.pace()
		left := time.Until(at.Add(slow))
		if slow == 0 || left <= 0 {
			return true
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-changed:
		case <-c.gone:
		}
		timer.Stop()
		select {
		case <-c.gone:
			return false
		default:
		}
	}
}
