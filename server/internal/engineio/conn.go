// SPDX-License-Identifier: Apache-2.0

package engineio

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// Conn is one connection, of either end. Its methods may be called from any goroutine, [Conn.Serve] once.
type Conn struct {
	ws       *websocket.Conn
	env      *env
	id       string
	revision Revision
	client   *clientBeat // nil on a server's connection

	seen     atomic.Int64 // env time at which the peer was last heard
	writing  atomic.Int64 // env time at which the write in progress began, 0 = none
	expectBy atomic.Int64 // env time by which Expect is to be called off, 0 = none
	closeBy  atomic.Int64 // env time at which a closing connection is cut, 0 = not closing
	pinged   atomic.Int64 // env time of the last ping
	unread   bool         // reading has failed, so the peer is gone; owned by Serve

	mu       sync.Mutex
	queue    [][]byte      // what waits to be written; starts in slot, so that one waiting frame allocates nothing
	slot     [1][]byte     //
	queued   int           // cost of queue and of the write in progress
	writer   bool          // a writer goroutine runs
	idle     chan struct{} // made by who waits for the writer, closed by the writer when it ends
	err      error         // why the connection ended or is ending; set once
	cut      bool          // nothing may be written any more
	closeMsg []byte        // body of the close frame that the writer sends when the queue is empty; nil = none
}

// env is what all connections of a server, or the one of a client, share.
type env struct {
	epoch            time.Time
	pingInterval     time.Duration
	pingTimeout      time.Duration
	maxMessageBytes  int64
	sendQueueBytes   int
	writeTimeout     time.Duration
	ping             *Frame
	readBuffers      sync.Pool // *bytes.Buffer, for the message being read
	writeBuffers     sync.Pool // *[]byte, for frames that are written together
	webSocketBuffers sync.Pool // owned by the WebSocket library
}

// frameCost is what a waiting frame costs beyond its bytes.
const frameCost = 64

// writeBatchBytes is how much is written at once when several frames wait.
const writeBatchBytes = 16 << 10

// keepBufferBytes is the size up to which a read buffer is used again.
const keepBufferBytes = 64 << 10

// now is the monotonic time since the env was made, never 0.
func (e *env) now() int64 { return int64(time.Since(e.epoch)) + 1 }

func newConn(ws *websocket.Conn, e *env, id string, rev Revision) *Conn {
	c := &Conn{ws: ws, env: e, id: id, revision: rev}
	c.queue = c.slot[:0]
	now := e.now()
	c.pinged.Store(now)
	c.seen.Store(now)
	ws.SetReadLimit(e.maxMessageBytes)
	ws.SetCloseHandler(c.closeReceived)
	ws.SetPingHandler(c.pingReceived)
	return c
}

// ID is the session id that the server gave the connection.
func (c *Conn) ID() string { return c.id }

// Revision is the revision that the connection speaks.
func (c *Conn) Revision() Revision { return c.revision }

// RemoteAddr is the network address of the peer.
func (c *Conn) RemoteAddr() string { return c.ws.RemoteAddr().String() }

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
	if c.client != nil {
		return c.enqueue(f.text())
	}
	return c.enqueue(f.wire)
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
	c.closeMsg = websocket.FormatCloseMessage(code, reason)
	c.closeBy.Store(c.env.now() + int64(c.env.writeTimeout))
	c.startWriterLocked()
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
	c.queue, c.slot[0] = nil, nil
	nc := c.ws.NetConn()
	// Closing TLS properly would write, and so could block on the very peer that does not read.
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	if t, ok := nc.(*net.TCPConn); ok && errors.Is(c.err, ErrSlowPeer) {
		_ = t.SetLinger(0) // the kernel need not keep what the peer never reads
	}
	_ = nc.Close()
}

// Serve reads until the connection ends and calls handle with every message, one after the other. The message is valid
// only during the call. An error from handle ends the connection with that error; the peer is sent close
// code 1007 for [ErrMalformed], 1003 for [ErrBinary], else 1011, and no text. Serve returns why the connection ended,
// never nil, after everything that belongs to the connection is released.
func (c *Conn) Serve(handle func(message []byte) error) error {
	if c.client != nil {
		c.client.start()
		defer c.client.stop()
	}
	var err error
	for err == nil {
		var kind int
		var r io.Reader
		if kind, r, err = c.ws.NextReader(); err != nil {
			err = c.readError(err)
			break
		}
		c.seen.Store(c.env.now())
		err = c.receive(kind, r, handle)
	}
	return c.end(err)
}

// receive takes one WebSocket message. It is apart from Serve to keep small the stack with which a connection waits.
func (c *Conn) receive(kind int, r io.Reader, handle func([]byte) error) error {
	buf, ok := c.env.readBuffers.Get().(*bytes.Buffer)
	if !ok {
		buf = new(bytes.Buffer)
	}
	defer func() {
		if buf.Cap() <= keepBufferBytes {
			buf.Reset()
			c.env.readBuffers.Put(buf)
		}
	}()
	if _, err := buf.ReadFrom(r); err != nil {
		return c.readError(err)
	}
	c.seen.Store(c.env.now())
	if c.closeBy.Load() != 0 {
		return nil // closing: only the peer's close frame still matters
	}
	text := buf.Bytes()
	if kind != websocket.TextMessage {
		return ErrBinary
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
		return &CloseError{Code: websocket.CloseNoStatusReceived, Reason: "engine.io close packet"}
	case PacketPong, PacketNoop:
		return nil
	case PacketOpen, PacketUpgrade:
	}
	return fmt.Errorf("%w: unexpected type %q", ErrMalformed, byte(p.Type))
}

// pong answers a ping. In revision 3 only clients ping, in revision 4 only servers.
func (c *Conn) pong(data []byte) error {
	if (c.revision == Revision3) == (c.client != nil) {
		return fmt.Errorf("%w: ping from the wrong side", ErrMalformed)
	}
	if err := c.Send(newFrame(opText, PacketPong, data)); err != nil && c.closeBy.Load() == 0 {
		return err
	}
	return nil
}

// pingReceived answers a ping of WebSocket itself (RFC 6455 section 5.5.2).
func (c *Conn) pingReceived(data string) error {
	c.seen.Store(c.env.now())
	if c.client != nil {
		return c.client.writeControl(c, websocket.PongMessage, []byte(data))
	}
	wire := append(appendHeader(make([]byte, 0, maxHeaderBytes+len(data)), opPong, len(data)), data...)
	if err := c.enqueue(wire); err != nil && c.closeBy.Load() == 0 {
		return err
	}
	return nil
}

// closeReceived answers the peer's close frame with its own code (RFC 6455 section 5.5.1), or does nothing if it is the answer to ours.
func (c *Conn) closeReceived(code int, _ string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && c.closeMsg == nil {
		c.closeMsg = websocket.FormatCloseMessage(code, "")
		c.closeBy.Store(c.env.now() + int64(closeWait))
		c.startWriterLocked()
	}
	return nil
}

// readError turns an error of the WebSocket library into one of ours, and notes that nothing more will be read.
func (c *Conn) readError(err error) error {
	c.unread = true
	var ce *websocket.CloseError
	switch {
	case errors.As(err, &ce):
		return &CloseError{Code: ce.Code, Reason: ce.Text}
	case errors.Is(err, websocket.ErrReadLimit):
		return fmt.Errorf("%w: over %d bytes", ErrMessageTooBig, c.env.maxMessageBytes)
	default:
		return fmt.Errorf("read: %w", err)
	}
}

// closeCode is what the peer is told about the error that ends the connection.
func closeCode(err error) int {
	var ce *CloseError
	switch {
	case errors.Is(err, ErrMalformed):
		return websocket.CloseInvalidFramePayloadData
	case errors.Is(err, ErrBinary):
		return websocket.CloseUnsupportedData
	case errors.As(err, &ce):
		return websocket.CloseNormalClosure
	default:
		return websocket.CloseInternalServerErr
	}
}

// end releases the connection once nothing is read any more, and returns why it ended.
func (c *Conn) end(err error) error {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
		if !c.unread {
			c.closeMsg = websocket.FormatCloseMessage(closeCode(err), "")
			c.closeBy.Store(c.env.now() + int64(c.env.writeTimeout))
			c.startWriterLocked()
		}
	}
	var ce *CloseError
	if c.unread && !(errors.As(err, &ce) && ce.Code != websocket.CloseAbnormalClosure) {
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
	_ = c.ws.Close()
	return reason
}
