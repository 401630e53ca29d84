// SPDX-License-Identifier: Apache-2.0

package talkcloud

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"github.com/classrec/classrec/server/internal/socketio"
	"github.com/classrec/classrec/server/internal/tracing"
)

// Conn is one connection of one participant in one room. It ends when it is closed, when the
// connection is lost, or when the platform ends it; it never comes back by itself. It is safe for
// concurrent use, with one consumer of its events.
type Conn struct {
	client *Client
	member *membership
	sock   *socketio.Client
	reply  JoinReply

	events  chan Event // made by the first Events, closed by its goroutine
	start   sync.Once
	closing chan struct{} // made with events; closed by Close
	stop    sync.Once
	done    sync.WaitGroup
}

// UserID returns our id in the room: the one that was asked for, or the platform's own choice.
func (c *Conn) UserID() UserID { return c.member.join.UserID }

// Room returns the room.
func (c *Conn) Room() RoomID { return c.member.room }

// Reply returns what the room was like when we joined.
func (c *Conn) Reply() JoinReply { return c.reply }

// TakeReply is Reply, and forgets it, so that a connection that lives for hours does not keep the
// list of a large room. It must not be called together with Reply from elsewhere.
func (c *Conn) TakeReply() JoinReply {
	reply := c.reply
	c.reply = JoinReply{}
	return reply
}

// Incoming gives the raw events of the socket, for [ParseEvent]. It is closed when the connection
// has ended. Use this or Events, not both: it spares a goroutine.
func (c *Conn) Incoming() <-chan RawEvent { return c.sock.Events() }

// Events gives what the platform tells us, in order, decoded; what cannot be decoded is left out.
// It is closed when the connection has ended. A consumer that stops reading ends the connection,
// once the socket's queue is full.
func (c *Conn) Events() <-chan Event {
	c.start.Do(func() {
		c.events, c.closing = make(chan Event), make(chan struct{})
		c.done.Go(c.decode)
	})
	return c.events
}

func (c *Conn) decode() {
	defer close(c.events)
	for raw := range c.sock.Events() {
		event, ok := ParseEvent(raw)
		if !ok {
			continue
		}
		select {
		case c.events <- event:
		case <-c.closing:
			return
		}
	}
}

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.sock.Done() }

// Err tells why the connection has ended: an [*Error] of [KindUnavailable], or nil while it lives
// and after Close.
func (c *Conn) Err() error {
	err := c.sock.Err()
	if err == nil || errors.Is(err, socketio.ErrClosed) {
		return nil
	}
	return c.client.socketError(context.Background(), "stay in room "+string(c.member.room), err)
}

// Close leaves the room and waits until the connection is gone. It may be called more than once.
func (c *Conn) Close() error {
	c.start.Do(func() {}) // Events after Close gives nil, which never yields
	c.stop.Do(func() {
		if c.closing != nil {
			close(c.closing)
		}
	})
	_ = c.sock.Close() // what it was closed with tells nobody anything
	c.done.Wait()
	return nil
}

// Publish publishes a message: nil means that it was sent and not refused, not that it took
// effect. That is confirmed by its echo alone, a Published event with our id. Publish waits for
// the ack at most EchoTimeout; a missing ack is no error, since the platform need not send one.
// A refusal is a [*RefusedError], a lost connection an [*Error] of [KindUnavailable].
func (c *Conn) Publish(ctx context.Context, m Message) error {
	return c.send(ctx, EventPubMsg, "publish "+m.Key(), m)
}

// Delete deletes a message, with the rules of Publish.
func (c *Conn) Delete(ctx context.Context, m Message) error {
	return c.send(ctx, EventDelMsg, "delete "+m.Key(), m)
}

// SendChat sends a line of chat to everyone, with the rules of Publish.
func (c *Conn) SendChat(ctx context.Context, text string) error {
	return c.send(ctx, EventSendMessage, "chat", chatPayload(text))
}

func (c *Conn) send(ctx context.Context, event, op string, payload any) (err error) {
	ctx, end := tracing.Start(ctx, event, tracing.Room.String(string(c.member.room)))
	defer func() { end(err) }()
	op += " in room " + string(c.member.room)
	raw, err := json.Marshal(payload)
	if err != nil {
		return &Error{Op: op, Source: SourceSignaling, Kind: KindInvalidArgument, Message: "the message is not valid JSON"}
	}
	ackCtx, cancel := context.WithTimeout(ctx, c.client.cfg.EchoTimeout)
	defer cancel()
	args, err := c.sock.Call(ackCtx, event, json.RawMessage(raw))
	switch {
	case err == nil:
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		return nil
	default:
		return c.client.socketError(ctx, op, err)
	}
	if refusal, refused := refusalOf(args); refused {
		return newRefused(op, event, SourceSignaling, refusal, c.client.scrubber(c.member.password))
	}
	return nil
}

// Call sends any event and returns its ack as it came. The context bounds the wait.
func (c *Conn) Call(ctx context.Context, event string, args ...any) ([]json.RawMessage, error) {
	ack, err := c.sock.Call(ctx, event, args...)
	if err != nil {
		return nil, c.client.socketError(ctx, event+" in room "+string(c.member.room), err)
	}
	return ack, nil
}

// Emit sends any event without asking for an ack.
func (c *Conn) Emit(ctx context.Context, event string, args ...any) error {
	if err := c.sock.Emit(ctx, event, args...); err != nil {
		return c.client.socketError(ctx, event+" in room "+string(c.member.room), err)
	}
	return nil
}
