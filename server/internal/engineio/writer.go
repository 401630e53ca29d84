// SPDX-License-Identifier: Apache-2.0

package engineio

import "fmt"

// A connection has a writer while something waits to be sent. It is either a turn in the flusher of the server, which never
// blocks, or a goroutine of its own, which may.

// startWriterLocked makes sure that what waits is written. Who ends the connection waits for it, see [Conn.end].
func (c *Conn) startWriterLocked() {
	if c.writer || c.cut {
		return
	}
	c.writer = true
	if c.raw != nil {
		c.flusher.add(c)
		return
	}
	go c.write(nil, 0)
}

// write writes rest, which next has given, then what is queued, then the close frame if there is one to send, and ends.
func (c *Conn) write(rest []byte, cost int) {
	c.writing.Store(c.env.now())
	more := true
	if rest != nil {
		more = c.wrote(c.socket.write([][]byte{rest}), cost)
	}
	for more {
		batch, cost, closeMsg := c.next()
		c.writing.Store(c.env.now())
		var err error
		switch {
		case batch != nil:
			err = c.socket.write(batch)
		case closeMsg != nil:
			err = c.socket.writeClose(closeMsg)
		}
		more = c.wrote(err, cost)
	}
}

// next takes what is to be written next: frames, or when there are none left the close frame, or nothing if the connection was cut.
func (c *Conn) next() (batch [][]byte, cost int, closeMsg []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.cut:
		return nil, 0, nil
	case len(c.queue) > 0:
		n, size := 0, 0
		for n < len(c.queue) && (n == 0 || size+len(c.queue[n]) <= batchBytes) {
			size += len(c.queue[n])
			n++
		}
		batch, c.queue = c.queue[:n:n], c.queue[n:]
		return batch, size + n*frameCost, nil
	default:
		closeMsg, c.closeMsg = c.closeMsg, nil
		c.closeBy.Store(c.env.now() + int64(closeWait)) // the peer's last moment to answer
		c.wake()
		return nil, 0, closeMsg
	}
}

// wrote accounts for what next has given and reports whether more waits. If not, the writer has ended.
func (c *Conn) wrote(err error, cost int) (more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.cutLocked(fmt.Errorf("write: %w", err))
	}
	c.queued -= cost
	if !c.cut && (len(c.queue) > 0 || c.closeMsg != nil) {
		return true
	}
	c.queue, c.slot[0] = c.slot[:0], nil
	c.writer = false
	c.writing.Store(0)
	if c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
	return false
}

// join returns frames as one buffer.
func (e *env) join(frames [][]byte) *[]byte {
	buf, ok := e.joined.Get().(*[]byte)
	if !ok {
		buf = new([]byte)
		*buf = make([]byte, 0, batchBytes)
	}
	*buf = (*buf)[:0]
	for _, frame := range frames {
		*buf = append(*buf, frame...)
	}
	return buf
}
