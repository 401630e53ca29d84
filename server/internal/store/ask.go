// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// maxAnswers bounds how many requests of other replicas run at once.
	maxAnswers = 64
	// askCheck is how often who asks looks whether the other is still alive.
	askCheck = 500 * time.Millisecond

	askSubject    = "classrec.ask."
	headerTimeout = "Classrec-Timeout-Ms" // for how long the asker waits
	headerRefused = "Classrec-Refused"    // why there is no answer
)

// Ask sends a tenant's request to another replica and returns what its Answer
// function for that tenant answers. Nothing is stored; a request may be answered though its answer is
// lost. It waits as long as ctx lets it, or, when ctx has no deadline, for
// three times Config.AckTimeout.
//
// Errors: ErrUnavailable when there is no such replica, it does not know the
// tenant or does not answer, or it has too much to do; ctx's error.
func (s *Store) Ask(ctx context.Context, tenant, replica string, request []byte) ([]byte, error) {
	answer, err := s.ask(ctx, tenant, replica, request)
	if err != nil {
		return nil, fmt.Errorf("ask replica %s: %w", replica, err)
	}
	return answer, nil
}

// Answer sets what answers the requests of other replicas for a tenant. It is to
// be called once for each. Each call runs in a goroutine of the store's, 64 at
// most of a tenant: who asks
// beyond that gets ErrUnavailable. Its context ends when the asker waits no
// longer, and when Close begins; Close waits for the calls. With the embedded
// log nobody asks.
func (s *Store) Answer(tenant string, answer func(ctx context.Context, request []byte) []byte) {
	if s.cluster != nil {
		s.running.Go(func() { s.cluster.answer(tenant, answer) })
	}
}

func (s *Store) ask(ctx context.Context, tenant, replica string, request []byte) ([]byte, error) {
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case s.lifetime.Err() != nil:
		return nil, errClosed()
	case !isToken(replica):
		return nil, fmt.Errorf("%w: replica %q", ErrInvalid, replica)
	case !isToken(tenant):
		return nil, fmt.Errorf("%w: tenant %q", ErrInvalid, tenant)
	case s.cluster == nil:
		return nil, fmt.Errorf("%w: there is no other replica", ErrUnavailable)
	}
	patience := 3 * s.cfg.AckTimeout
	if deadline, ok := ctx.Deadline(); ok {
		patience = time.Until(deadline)
	}
	deadline := time.Now().Add(patience)
	m := nats.NewMsg(askSubject + replica + "." + tenant)
	m.Reply = s.conn.NewInbox()
	m.Data = request
	m.Header.Set(headerTimeout, strconv.FormatInt(patience.Milliseconds(), 10))
	replies, err := s.conn.SubscribeSync(m.Reply)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer func() { _ = replies.Unsubscribe() }() // fails only when the connection is gone
	if err := s.conn.PublishMsg(m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	for {
		reply, err := next(ctx, s.lifetime, replies, min(askCheck, time.Until(deadline)))
		switch {
		case err == nil:
			return readAnswer(reply)
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case s.lifetime.Err() != nil:
			return nil, errClosed()
		case !errors.Is(err, context.DeadlineExceeded):
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		case !s.cluster.presence.alive(replica):
			return nil, fmt.Errorf("%w: it is dead", ErrUnavailable)
		case s.conn.Status() != nats.CONNECTED:
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, nats.ErrDisconnected)
		case time.Now().After(deadline):
			return nil, fmt.Errorf("%w: no answer within %v", ErrUnavailable, patience)
		}
	}
}

// next returns the subscription's next message; an error that is
// context.DeadlineExceeded means that there was none for so long.
func next(ctx, lifetime context.Context, sub *nats.Subscription, wait time.Duration) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	defer context.AfterFunc(lifetime, cancel)()
	return sub.NextMsgWithContext(ctx)
}

func readAnswer(reply *nats.Msg) ([]byte, error) {
	switch {
	case len(reply.Data) == 0 && reply.Header.Get("Status") == "503":
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, nats.ErrNoResponders)
	case reply.Header.Get(headerRefused) != "":
		return nil, fmt.Errorf("%w: %s", ErrUnavailable, reply.Header.Get(headerRefused))
	default:
		return reply.Data, nil
	}
}

// answer serves the requests of other replicas until the store is closed.
func (c *cluster) answer(tenant string, answer func(ctx context.Context, request []byte) []byte) {
	requests, err := c.conn.SubscribeSync(askSubject + c.cfg.ReplicaID + "." + tenant)
	if err != nil {
		c.log.Error("requests of other replicas cannot be taken", "error", err)
		return
	}
	var calls sync.WaitGroup
	defer calls.Wait()
	free := make(chan struct{}, maxAnswers)
	for {
		m, err := requests.NextMsgWithContext(c.lifetime)
		switch {
		case c.lifetime.Err() != nil:
			return
		case errors.Is(err, nats.ErrSlowConsumer): // what was dropped, is not answered
			continue
		case err != nil:
			c.log.Error("requests of other replicas cannot be taken", "error", err)
			return
		}
		select {
		case free <- struct{}{}:
			calls.Go(func() {
				defer func() { <-free }()
				c.reply(m, answer)
			})
		default:
			c.refuseAsk(m, "too many requests")
		}
	}
}

func (c *cluster) reply(m *nats.Msg, answer func(ctx context.Context, request []byte) []byte) {
	ctx := c.lifetime
	if ms, err := strconv.ParseInt(m.Header.Get(headerTimeout), 10, 64); err == nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
		defer cancel()
	}
	err := m.Respond(answer(ctx, m.Data))
	if errors.Is(err, nats.ErrMaxPayload) {
		c.refuseAsk(m, "the answer is too big")
	} else if err != nil && c.lifetime.Err() == nil {
		c.log.Warn("the answer to another replica was lost", "error", err)
	}
}

func (c *cluster) refuseAsk(m *nats.Msg, reason string) {
	refusal := nats.NewMsg(m.Reply)
	refusal.Header.Set(headerRefused, reason)
	if err := m.RespondMsg(refusal); err != nil {
		c.log.Warn("the answer to another replica was lost", "error", err)
	}
}
