// SPDX-License-Identifier: Apache-2.0

package engineio

import (
	"errors"
	"sync"
)

// flusher writes for all connections of a server that can be written without waiting. It has at most one goroutine for two
// processors, which leaves the others to what is to be sent, and none while nothing is to be written. A connection that takes no more gets a goroutine of its own, until it does again.
//
// So a broadcast starts no goroutine per connection, and joins in one system call what has
// come together for a connection meanwhile.
type flusher struct {
	env  *env
	wg   *sync.WaitGroup // counts the goroutines
	most int             // goroutines at once

	mu      sync.Mutex
	ready   []*Conn // in order, from first
	first   int
	running int
}

// keepReady is up to how many connections the memory of the queue is kept.
const keepReady = 64

func (f *flusher) add(c *Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ready = append(f.ready, c)
	if f.running < f.most {
		f.running++
		f.wg.Go(f.run)
	}
}

func (f *flusher) take() *Conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.first == len(f.ready) {
		f.ready, f.first = f.ready[:0], 0
		if cap(f.ready) > keepReady {
			f.ready = nil
		}
		f.running--
		return nil
	}
	c := f.ready[f.first]
	f.ready[f.first] = nil
	f.first++
	return c
}

func (f *flusher) run() {
	var w rawWriter
	w.try = w.write
	for c := f.take(); c != nil; c = f.take() {
		f.flush(c, &w)
	}
}

// flush writes once for c, and puts it behind the others if more waits.
func (f *flusher) flush(c *Conn, w *rawWriter) {
	batch, cost, closeMsg := c.next()
	if batch == nil && closeMsg == nil { // cut meanwhile
		c.wrote(nil, cost)
		return
	}
	var joined *[]byte
	switch {
	case closeMsg != nil:
		w.rest = closeFrame(closeMsg)
	case len(batch) == 1:
		w.rest = batch[0]
	case len(batch) > 1:
		joined = f.env.join(batch)
		w.rest = *joined
	}
	err := c.raw.Write(w.try)
	if err == nil {
		err = w.err
	}
	rest := w.rest
	w.rest, w.err = nil, nil
	if err == nil && len(rest) > 0 {
		go c.write(rest, cost) // the buffer of joined is left to it
		return
	}
	if joined != nil {
		f.env.joined.Put(joined)
	}
	if c.wrote(err, cost) {
		f.add(c)
	}
}

// rawWriter writes without waiting.
type rawWriter struct {
	rest []byte
	err  error
	try  func(fd uintptr) bool // the method write
}

func (w *rawWriter) write(fd uintptr) bool {
	n, err := rawWrite(fd, w.rest)
	w.rest = w.rest[n:]
	if err != nil && !errors.Is(err, errWouldBlock) {
		w.err = err
	}
	return true
}
