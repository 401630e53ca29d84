// SPDX-License-Identifier: Apache-2.0

package engineio

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"
)

// Conn is one connection, of either end. Its methods may be called from any goroutine, [Conn.Serve] only on a client's connection, once.
type Conn struct {
	env      *env
	id       string
	revision Revision
	socket   transport
	client   *clientBeat     // nil on a server's connection
	raw      syscall.RawConn // nil if the network connection has none (TLS, pipes), and on a client's connection
	flusher  *flusher        // of the server, if raw is not nil

	seen     atomic.Int64 // env time at which the peer was last heard
	pinged   atomic.Int64 // env time of the last ping
	writing  atomic.Int64 // env time at which the write in progress began that may block, 0 = none
	expectBy atomic.Int64 // env time until which Expect waits, 0 = for nothing
	closeBy  atomic.Int64 // env time at which a closing connection is cut, 0 = not closing

	mu       sync.Mutex
	queue    [][]byte      // what waits to be written; starts in slot, so that one waiting frame allocates nothing
	slot     [1][]byte     //
	queued   int           // cost of queue and of the write in progress
	writer   bool          // a writer is at work or has its turn to come
	idle     chan struct{} // made by who waits for the writer, closed by the writer when it ends
	err      error         // why the connection ended or is ending; set once
	cut      bool          // nothing may be written any more
	closeMsg []byte        // body of the close frame that the writer sends when the queue is empty; nil = none
}

// env is what all connections of a server, or the one of a client, share.
type env struct {
	epoch           time.Time
	pingInterval    time.Duration
	pingTimeout     time.Duration
	maxMessageBytes int64
	sendQueueBytes  int
	writeTimeout    time.Duration
	ping            *Frame
	inputs          sync.Pool // *input
	joined          sync.Pool // *[]byte, for frames that are written together
	upgrades        sync.Pool // owned by the WebSocket library
}

// frameCost is what a waiting frame costs beyond its bytes.
const frameCost = 64

// batchBytes is how much is written at once when several frames wait.
const batchBytes = 16 << 10

// now is the monotonic time since the env was made, never 0.
func (e *env) now() int64 { return int64(time.Since(e.epoch)) + 1 }

func newConn(e *env, id string, rev Revision) *Conn {
	c := &Conn{env: e, id: id, revision: rev}
	c.queue = c.slot[:0]
	now := e.now()
	c.pinged.Store(now)
	c.seen.Store(now)
	return c
}

// ID is the session id that the server gave the connection.
func (c *Conn) ID() string { return c.id }

// Revision is the revision that the connection speaks.
func (c *Conn) Revision() Revision { return c.revision }

// RemoteAddr is the network address of the peer.
func (c *Conn) RemoteAddr() string { return c.socket.netConn().RemoteAddr().String() }

// Err tells why the connection ended or is ending; nil while it is open.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Expect cuts the connection with [ErrHandshakeTimeout] unless it is called again within d. Zero calls it off.
func (c *Conn) Expect(d time.Duration) {
	if d <= 0 {
		c.expectBy.Store(0)
		return
	}
	c.expectBy.Store(c.env.now() + int64(d))
}

// Send queues a frame and returns at once. A nil error says that the frame was queued, not that it arrived.
// On a connection that has ended or is ending it returns the reason. When the queue is full the connection is cut and
// the error is [ErrSlowPeer]; a frame larger than the whole queue is taken when nothing else waits.
func (c *Conn) Send(f *Frame) error {
	return c.enqueue(c.socket.frame(f))
}

func (c *Conn) enqueue(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	cost := len(b) + frameCost
	if c.queued > 0 && c.queued+cost > c.env.sendQueueBytes {
		c.cutLocked(ErrSlowPeer)
		return ErrSlowPeer
	}
	c.queued += cost
	c.queue = append(c.queue, b)
	c.startWriterLocked()
	return nil
}

// Close ends the connection in order: what is queued is sent, then a WebSocket close frame with the code and reason; the
// peer has the write timeout to take it, and a second to answer. Close returns at once; [Conn.Serve] returns when
// it is done. The error is what Serve and Send return from now on, nil stands for [ErrClosed]. Only the first reason counts.
func (c *Conn) Close(err error, code int, reason string) {
	if err == nil {
		err = ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	c.closeLocked(closeBody(code, reason), c.env.writeTimeout)
}

// closeLocked has the close frame written after what is queued, and bounds what that takes.
func (c *Conn) closeLocked(body []byte, within time.Duration) {
	c.closeMsg = body
	c.closeBy.Store(c.env.now() + int64(within))
	c.wake()
	c.startWriterLocked()
}

// wake has a client's heart look at what is due. A server's beats often enough.
func (c *Conn) wake() {
	if c.client != nil {
		c.client.wake()
	}
}

// Cut ends the connection now: what is queued is dropped. The error is as in [Conn.Close].
func (c *Conn) Cut(err error) {
	if err == nil {
		err = ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutLocked(err)
}

func (c *Conn) cutLocked(err error) {
	if c.err == nil {
		c.err = err
	}
	if c.cut {
		return
	}
	c.cut = true
	c.queue = nil // slot may be in the writer's hands
	nc := c.socket.netConn()
	// Closing TLS properly would write, and so could block on the very peer that does not read.
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	if t, ok := nc.(*net.TCPConn); ok && errors.Is(c.err, ErrSlowPeer) {
		_ = t.SetLinger(0) // the kernel need not keep what the peer never reads
	}
	_ = nc.Close()
}

// Serve reads, on a client's connection, until it ends, and calls handle with every message, one after the other. The message is valid
// only during the call. An error from handle is treated as one from [Session]. Serve returns why the connection ended, never nil, after
// everything that belongs to it is released. A server serves its connections itself.
func (c *Conn) Serve(handle func(message []byte) error) error {
	c.client.start()
	defer c.client.stop()
	return c.end(c.socket.read(handle))
}

// heard notes that the peer lives.
func (c *Conn) heard() { c.seen.Store(c.env.now()) }

// closing reports whether the connection is about to end, so that only the peer's close frame still matters.
func (c *Conn) closing() bool { return c.closeBy.Load() != 0 }

// receive takes one WebSocket message.
func (c *Conn) receive(text []byte, handle func([]byte) error) error {
	c.heard()
	if c.closing() {
		return nil
	}
	if !utf8.Valid(text) {
		return fmt.Errorf("%w: not UTF-8", ErrMalformed)
	}
	p, err := ParsePacket(text)
	if err != nil {
		return err
	}
	switch p.Type {
	case PacketMessage:
		return handle(p.Data)
	case PacketPing:
		return c.pong(p.Data)
	case PacketClose:
		return &CloseError{Code: codeNoStatus, Reason: "engine.io close packet"}
	case PacketPong, PacketNoop:
		return nil
	case PacketOpen, PacketUpgrade:
	}
	return fmt.Errorf("%w: unexpected type %q", ErrMalformed, byte(p.Type))
}

// pong answers a ping. In revision 3 only clients ping, in revision 4 only servers.
func (c *Conn) pong(data []byte) error {
	if c.pings() {
		return fmt.Errorf("%w: ping from the wrong side", ErrMalformed)
	}
	return c.enqueueControl(c.socket.frame(newFrame(PacketPong, data)))
}

// enqueueControl queues the answer to a ping. It is no error that a connection about to end does not take it.
func (c *Conn) enqueueControl(b []byte) error {
	c.heard()
	if err := c.enqueue(b); err != nil && !c.closing() {
		return err
	}
	return nil
}

// closeReceived answers the peer's close frame with its own code (RFC 6455 section 5.5.1), unless it is the answer to ours.
// Nothing is taken to be sent after it.
func (c *Conn) closeReceived(ce *CloseError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = ce
		c.closeLocked(closeBody(ce.Code, ""), closeWait)
	}
}

// closeCode is what the peer is told about the error that ends the connection.
func closeCode(err error) int {
	var ce *CloseError
	switch {
	case errors.Is(err, errFraming):
		return codeProtocol
	case errors.Is(err, ErrMalformed):
		return codeInvalid
	case errors.Is(err, ErrBinary):
		return codeUnsupported
	case errors.Is(err, ErrMessageTooBig):
		return codeTooBig
	case errors.As(err, &ce):
		return codeNormal
	default:
		return codeInternal
	}
}

// end releases the connection once nothing is read any more, and returns why it ended.
func (c *Conn) end(err error) error {
	var re *readError
	var ce *CloseError
	unread := errors.As(err, &re)
	answered := unread && errors.As(err, &ce) && ce.Code != codeAbnormal // the peer has sent a close frame

	c.mu.Lock()
	if c.err == nil {
		c.err = err
		if answered {
			c.err = ce
		}
		if !unread {
			c.closeLocked(closeBody(closeCode(err), ""), c.env.writeTimeout)
		}
	}
	if unread && !answered {
		c.cutLocked(err) // there is nobody to flush to
	}
	if c.writer {
		c.idle = make(chan struct{})
		idle := c.idle
		c.mu.Unlock()
		<-idle
		c.mu.Lock()
	}
	c.cut = true
	reason := c.err
	c.mu.Unlock()
	_ = c.socket.netConn().Close()
	return reason
}
