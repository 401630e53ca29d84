// SPDX-License-Identifier: Apache-2.0

package socketio

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/classrec/classrec/server/internal/engineio"
)

// Conn is the server's end of one connection. Its methods may be called from any goroutine and, but for [Conn.Call], never block.
type Conn struct {
	eng       *engineio.Conn
	server    *Server
	calls     calls
	connected atomic.Bool

	// opening is held while the peer is told that it is connected: what it says at once finds this end connected too.
	opening sync.Mutex

	// The rest belongs to the session.
	handler Handler       // nil until accepted
	request *http.Request // revision 4: until the peer's CONNECT
}

// ID identifies the connection; it is unique and cannot be guessed.
func (c *Conn) ID() string { return c.eng.ID() }

// Revision is the Engine.IO revision that the peer speaks, 3 or 4.
func (c *Conn) Revision() int { return int(c.eng.Revision()) }

// RemoteAddr is the network address of the peer.
func (c *Conn) RemoteAddr() string { return c.eng.RemoteAddr() }

// Emit queues an event, see [Conn.Send].
func (c *Conn) Emit(name string, args ...any) error {
	f, err := NewFrame(name, args...)
	if err != nil {
		return err
	}
	return c.Send(f)
}

// Send queues an event. nil says that it was queued, not that it arrived. On a connection that has ended or is ending the error is the
// reason, [ErrClosed] for one that this side closed. A full queue ends the connection with [ErrSlowPeer].
func (c *Conn) Send(f *Frame) error {
	if !c.isConnected() {
		return c.notConnected()
	}
	return c.eng.Send(f.frame)
}

// Call emits an event and waits for the peer's acknowledgement, until ctx or the connection ends. It must not be called by the
// connection's own handler, which would wait for itself.
func (c *Conn) Call(ctx context.Context, name string, args ...any) ([]json.RawMessage, error) {
	if !c.isConnected() {
		return nil, c.notConnected()
	}
	return c.calls.call(ctx, c.eng, name, args)
}

// connect tells the peer that it is connected, and is so from then on.
func (c *Conn) connect(reply *engineio.Frame) {
	c.opening.Lock()
	defer c.opening.Unlock()
	if c.eng.Send(reply) == nil {
		c.connected.Store(true)
	}
}

func (c *Conn) isConnected() bool {
	if c.connected.Load() {
		return true
	}
	c.opening.Lock()
	defer c.opening.Unlock()
	return c.connected.Load()
}

func (c *Conn) notConnected() error {
	if err := c.eng.Err(); err != nil {
		return err
	}
	return ErrNotConnected
}

// Disconnect ends the connection for good: what is queued is sent, then the event unless its name is empty, then a disconnect packet,
// after which the vendor's clients do not come back. It returns at once. The peer has the write timeout to take
// it all. An event that cannot be encoded is left out.
func (c *Conn) Disconnect(event string, args ...any) {
	if event != "" && c.isConnected() {
		_ = c.Emit(event, args...) // the disconnect follows in any case
	}
	_ = c.eng.Send(packetFrame(Packet{Type: PacketDisconnect, Namespace: RootNamespace})) // fails only if already ending
	c.eng.Close(ErrClosed, closeNormal, "")
}

// Close ends the connection without a disconnect packet: what is queued is sent, then a WebSocket close frame. It returns at once; the
// handler's Close tells when it is done. Always nil.
func (c *Conn) Close() error {
	c.eng.Close(ErrClosed, closeNormal, "")
	return nil
}

// closeNormal is the WebSocket close code for an ordinary end (RFC 6455 section 7.4.1).
const closeNormal = 1000

// session is what the Engine.IO server calls with what happens on a connection.
type session Conn

func (s *session) Close(err error) {
	c := (*Conn)(s)
	c.calls.fail(err)
	c.server.logger.Debug("connection ended", "id", c.ID(), "reason", err)
	if c.handler != nil {
		c.handler.Close(err)
	}
}

func (s *session) Message(message []byte) error {
	c := (*Conn)(s)
	p, err := ParsePacket(message)
	if err != nil {
		return err
	}
	if p.Namespace != RootNamespace {
		if p.Type == PacketConnect {
			return c.refuse(p.Namespace, "Invalid namespace")
		}
		return nil // it was refused, and has nothing to say
	}
	if p.Type == PacketConnect {
		if r := c.request; r != nil {
			c.request = nil
			c.eng.Expect(0)
			c.server.admit(c, r)
		}
		return nil // protocol 4 may repeat what is connected already
	}
	if c.handler == nil {
		return errNoConnect
	}
	switch p.Type {
	case PacketEvent:
		ev, err := newEvent(c.eng, p)
		if err != nil {
			return err
		}
		c.handler.Event(ev)
	case PacketAck:
		reply, err := splitArray(p.Data)
		if err != nil {
			return err
		}
		c.calls.answered(p.ID, reply)
	case PacketDisconnect:
		c.eng.Close(ErrDisconnected, closeNormal, "")
	case PacketConnect, PacketError, PacketBinaryEvent, PacketBinaryAck:
		return errUnexpected
	}
	return nil
}

// refuse tells the peer that it may not connect a namespace.
func (c *Conn) refuse(namespace, message string) error {
	var body any = message // protocol 4
	if c.eng.Revision() == engineio.Revision4 {
		body = map[string]string{"message": message}
	}
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return c.eng.Send(packetFrame(Packet{Type: PacketError, Namespace: namespace, Data: data}))
}
