// SPDX-License-Identifier: Apache-2.0

package engineio

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/gorilla/websocket"
)

// startWriterLocked starts a writer unless one runs. Who ends the connection waits for it, see [Conn.end].
func (c *Conn) startWriterLocked() {
	if c.writer || c.cut {
		return
	}
	c.writer = true
	go c.write()
}

// write writes what is queued, then the close frame if there is one to send, and ends.
func (c *Conn) write() {
	done := 0 // cost of what was written in the last round
	for {
		c.mu.Lock()
		c.queued -= done
		batch, closeMsg := c.takeLocked()
		if batch == nil && closeMsg == nil {
			c.writer = false
			if c.idle != nil {
				close(c.idle)
				c.idle = nil
			}
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()

		done = 0
		for _, b := range batch {
			done += len(b) + frameCost
		}
		c.writing.Store(c.env.now())
		err := c.writeBatch(batch, closeMsg)
		c.writing.Store(0)
		if err != nil {
			c.Cut(fmt.Errorf("write: %w", err))
		}
	}
}

// takeLocked takes the frames to be written next or, when there are none left, the close frame.
func (c *Conn) takeLocked() (batch [][]byte, closeMsg []byte) {
	if c.cut {
		return nil, nil
	}
	if len(c.queue) == 0 {
		c.queue, c.slot[0] = c.slot[:0], nil
		closeMsg, c.closeMsg = c.closeMsg, nil
		if closeMsg != nil {
			c.closeSent()
		}
		return nil, closeMsg
	}
	n, size := 0, 0
	for n < len(c.queue) && (n == 0 || size+len(c.queue[n]) <= writeBatchBytes) {
		size += len(c.queue[n])
		n++
	}
	batch, c.queue = c.queue[:n:n], c.queue[n:]
	return batch, nil
}

// closeSent gives the peer a last moment to answer the close frame.
func (c *Conn) closeSent() {
	c.closeBy.Store(c.env.now() + int64(closeWait))
	if c.client != nil {
		c.client.wake()
	}
}

// writeBatch writes several frames, or a close frame.
//
// A server's frames go straight to the network connection, because the library would make a system call for each. That is sound
// next to what the library itself writes there (close frames after protocol errors): every write carries whole frames, and a
// network connection does not mix concurrent writes.
func (c *Conn) writeBatch(batch [][]byte, closeMsg []byte) error {
	if c.client != nil {
		return c.client.write(c, batch, closeMsg)
	}
	nc := c.ws.NetConn()
	if closeMsg != nil {
		wire := appendHeader(make([]byte, 0, maxHeaderBytes+len(closeMsg)), opClose, len(closeMsg))
		_, err := nc.Write(append(wire, closeMsg...))
		return err
	}
	if len(batch) == 1 {
		_, err := nc.Write(batch[0])
		return err
	}
	buf, ok := c.env.writeBuffers.Get().(*[]byte)
	if !ok {
		buf = new([]byte)
		*buf = make([]byte, 0, writeBatchBytes)
	}
	joined := (*buf)[:0]
	for _, b := range batch {
		joined = append(joined, b...)
	}
	_, err := nc.Write(joined)
	c.env.writeBuffers.Put(buf)
	return err
}

// write writes to a server, which wants every frame masked; the library does that.
func (b *clientBeat) write(c *Conn, batch [][]byte, closeMsg []byte) error {
	if closeMsg != nil {
		return b.writeControl(c, websocket.CloseMessage, closeMsg)
	}
	for _, text := range batch {
		if err := c.ws.SetWriteDeadline(time.Now().Add(c.env.writeTimeout)); err != nil {
			return err
		}
		if err := c.ws.WriteMessage(websocket.TextMessage, text); err != nil {
			return slow(err)
		}
	}
	return nil
}

func (b *clientBeat) writeControl(c *Conn, kind int, data []byte) error {
	return slow(c.ws.WriteControl(kind, data, time.Now().Add(c.env.writeTimeout)))
}

// slow names the error of a write that the peer let time out.
func slow(err error) error {
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return fmt.Errorf("%w: %w", ErrSlowPeer, err)
	}
	return err
}
