// SPDX-License-Identifier: Apache-2.0

package room

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Session is one holder's share of a stay in a room. It is safe for concurrent use.
type Session struct {
	core     *core
	released atomic.Bool
}

// Room returns the room.
func (s *Session) Room() talkcloud.RoomID { return s.core.key.Room }

// User returns our id in the room: the one that was asked for, one that was made, or the
// platform's own choice.
func (s *Session) User() talkcloud.UserID { return s.core.user }

// Alone returns since when nobody else has been in the room, by our clock; ok is false when somebody
// is, and when so many were when we joined (1,000) that nobody can tell. While the connection is lost
// it is as last seen.
func (s *Session) Alone() (since time.Time, ok bool) {
	at := s.core.alone.Load()
	return time.Unix(0, at), at != 0
}

// Done is closed when the session has ended; Err then tells why.
func (s *Session) Done() <-chan struct{} { return s.core.done }

// Err returns the reason for which the session has ended, nil before.
func (s *Session) Err() error {
	select {
	case <-s.core.done:
		return s.core.err
	default:
		return nil
	}
}

// Subscribe begins a view of the session's events; when it returns, the snapshot can be taken. The
// subscription goes on until it is closed or the session ends, also when this share was released
// and others hold the session. On a session that has ended it gives [Ended] alone. With keys, of
// what is published and deleted it gives only messages with these (see [talkcloud.Message.Key]);
// the snapshot has them all.
func (s *Session) Subscribe(keys ...string) *Subscription {
	c := s.core
	sub := newSubscription(c, keys)
	begun := make(chan struct{})
	if c.do(func() { c.subscribe(sub); close(begun) }) {
		<-begun
	} else {
		sub.offer(&Event{Kind: Ended, Err: c.err, At: c.endedAt})
	}
	return sub
}

// Publish publishes a message and returns its echo: ours, by id and, when the platform tells it, by
// sender. Publishes of the same data under the same id at the same time may share one echo. While
// the connection is lost it waits for it to come back, within the echo timeout. toID must reach
// ourselves: ToAll, or our own id.
//
// A refusal is a [*talkcloud.RefusedError]: the message was not published. An error that wraps
// [ErrNotConfirmed] leaves it open. Any other says that it was not sent. Every error has a
// [talkcloud.Kind], but for [ErrReleased].
func (s *Session) Publish(ctx context.Context, m talkcloud.Message) (talkcloud.Message, error) {
	return s.change(ctx, Published, m)
}

// Delete deletes a message and returns the echo, with the rules of Publish. The deletion of the
// same message by someone else meanwhile is taken for the echo. When the connection was lost
// meanwhile and the message is gone afterwards, the echo is the message as given, without a ts.
func (s *Session) Delete(ctx context.Context, m talkcloud.Message) (talkcloud.Message, error) {
	return s.change(ctx, Deleted, m)
}

// Release gives this share back. The last one leaves the room, after Linger; Release does not wait
// for it. It may be called more than once.
func (s *Session) Release() {
	if s.released.CompareAndSwap(false, true) {
		s.core.manager.release(s.core)
	}
}

func (s *Session) change(ctx context.Context, kind Kind, m talkcloud.Message) (talkcloud.Message, error) {
	c := s.core
	if s.released.Load() {
		return talkcloud.Message{}, ErrReleased
	}
	op := "publish "
	if kind == Deleted {
		op = "delete "
	}
	op += m.Key() + " in room " + string(c.key.Room)

	if ctx.Err() != nil {
		return talkcloud.Message{}, unsent(ctx, op)
	}
	select {
	case c.manager.turns <- struct{}{}:
		defer func() { <-c.manager.turns }()
	case <-c.done:
		return talkcloud.Message{}, c.err
	case <-ctx.Done():
		return talkcloud.Message{}, unsent(ctx, op)
	}
	waitCtx, cancel := context.WithTimeout(ctx, c.manager.cfg.EchoTimeout)
	defer cancel()
	w := newWait(kind, m)
	if !c.do(func() { c.await(w) }) {
		return talkcloud.Message{}, c.err
	}
	settled := false
	defer func() {
		if !settled {
			c.do(func() { c.abandon(w) })
		}
	}()

	var conn *talkcloud.Conn
	select {
	case conn = <-w.conn:
	case r := <-w.result:
		settled = true
		return r.message, r.failure(op)
	case <-waitCtx.Done():
		return talkcloud.Message{}, unsent(ctx, op)
	}

	sent := make(chan error, 1)
	go func() {
		defer close(sent)
		if kind == Deleted {
			sent <- conn.Delete(waitCtx, m)
		} else {
			sent <- conn.Publish(waitCtx, m)
		}
	}()
	defer func() {
		cancel()
		for range sent { // until it has returned
		}
	}()
	ack := (<-chan error)(sent)
	for {
		select {
		case r := <-w.result:
			settled = true
			return r.message, r.failure(op)
		case err := <-ack:
			if final(err) {
				return talkcloud.Message{}, err
			}
			ack = nil
		case <-waitCtx.Done():
			return talkcloud.Message{}, unconfirmed(ctx, op)
		}
	}
}

// final reports whether an error of sending settles the matter. With a connection lost, or an ack
// that did not come, the echo may still come, or the list after joining again tell.
func final(err error) bool {
	if err == nil {
		return false
	}
	switch talkcloud.KindOf(err) {
	case talkcloud.KindUnavailable, talkcloud.KindDeadline, talkcloud.KindCanceled:
		var refused *talkcloud.RefusedError
		return errors.As(err, &refused)
	default:
		return true
	}
}

func unsent(ctx context.Context, op string) error {
	e := &talkcloud.Error{Op: op, Source: talkcloud.SourceSocket, Kind: talkcloud.KindUnavailable, Message: "the connection to the room is lost"}
	if err := ctx.Err(); err != nil {
		e.Kind, e.Err = talkcloud.KindOf(err), err
	}
	return e
}

func unconfirmed(ctx context.Context, op string) error {
	e := &talkcloud.Error{Op: op, Source: talkcloud.SourceSignaling, Kind: talkcloud.KindDeadline, Err: ErrNotConfirmed}
	if err := ctx.Err(); err != nil {
		e.Kind, e.Err = talkcloud.KindOf(err), fmt.Errorf("%w: %w", ErrNotConfirmed, err)
	}
	return e
}
