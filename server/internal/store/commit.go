// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// Headers of nats-server: conditional publish, and atomic batch publish
// (NATS ADR-50).
const (
	headerExpectedSequence = "Nats-Expected-Last-Subject-Sequence"
	headerExpectedSubject  = "Nats-Expected-Last-Subject-Sequence-Subject"
	headerBatchID          = "Nats-Batch-Id"
	headerBatchSequence    = "Nats-Batch-Sequence"
	headerBatchCommit      = "Nats-Batch-Commit"
)

// Error codes of nats-server.
const (
	codeWrongLastSequence         = 10071
	codeWrongLastSequenceConstant = 10164
	codeBatchTooManyInflight      = 10210
	codeBatchIncomplete           = 10176
)

// minBatch is from how many waiting Appends on a shared write is cheaper. The
// server stages an atomic batch in files of its own before it stores it, about
// 15 ms of disk work however many messages it carries; a message alone takes
// about 0.45 ms.
const minBatch = 32

const (
	// healthWait is how long a write goes unanswered before the embedded
	// server is asked whether it can write at all.
	healthWait = 100 * time.Millisecond
	// healWait is how long a server that has failed again is left alone.
	healWait = time.Second
)

// committer writes Appends to the log, one write at a time. All Appends that
// have come during a write go next; when they are many, together, as one atomic
// batch, which the server syncs once, before it acknowledges it.
type committer struct {
	*Store
	// What we have had acknowledged and the index may not have yet.
	recent  map[roomKey]uint64
	acked   uint64
	batchID string
	batches int

	replies  *nats.Subscription // to inbox.>
	inbox    string
	requests int
	healed   time.Time // when the server was last restarted
}

// commit runs until the store is closed.
func (s *Store) commit(replies *nats.Subscription, inbox string) {
	defer s.gate.close()
	c := &committer{
		Store:   s,
		recent:  make(map[roomKey]uint64),
		batchID: rand.Text(),
		replies: replies,
		inbox:   inbox,
	}
	var calls []*appendCall
	for {
		if len(calls) == 0 {
			select {
			case call := <-s.appends:
				calls = append(calls, call)
			case <-c.healLater():
			case <-s.lifetime.Done():
				return
			}
		}
		for more := true; more && len(calls) < maxBatch; {
			select {
			case call := <-s.appends:
				calls = append(calls, call)
			default:
				more = false
			}
		}
		if s.lifetime.Err() != nil {
			return
		}
		if err := c.heal(); err != nil {
			for _, call := range calls {
				c.answer(call, 0, err)
			}
			calls = nil
			continue
		}
		calls = c.write(calls)
	}
}

// healLater returns a channel that gets a value when it is time to heal though
// nobody appends: readers may wait for it at the gate. It is nil when the last
// write went well.
func (c *committer) healLater() <-chan time.Time {
	if c.server == nil || c.failed.Load() == nil {
		return nil
	}
	return time.After(healWait)
}

// heal restarts the embedded server when the last write has failed for an
// error of the disk, at most once in healWait.
func (c *committer) heal() error {
	if c.server == nil || c.failed.Load() == nil {
		return nil
	}
	err := c.server.health()
	if err == nil {
		return nil
	}
	if time.Since(c.healed) >= healWait {
		c.healed = time.Now()
		c.log.Warn("the log could not be written; recovering it", "error", err)
		err = c.server.restart()
		if err == nil {
			c.gate.abandon()
			return nil
		}
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// write stores the calls and answers them; it returns those that have to wait
// for the next write because another one of their room was in this.
func (c *committer) write(calls []*appendCall) (later []*appendCall) {
	if c.index.lastSequence() >= c.acked {
		clear(c.recent)
	}
	rooms := make(map[roomKey]struct{}, len(calls))
	ready := make([]*appendCall, 0, len(calls))
	for _, call := range calls {
		room := call.key.roomKey()
		if _, taken := rooms[room]; taken {
			later = append(later, call)
			continue
		}
		if err := c.refuse(call); err != nil {
			call.result <- appendResult{err: err}
			continue
		}
		rooms[room] = struct{}{}
		ready = append(ready, call)
	}
	if len(ready) < minBatch || !c.writeBatch(ready) {
		for _, call := range ready {
			c.writeOne(call)
		}
	}
	return later
}

// refuse tells why a call cannot succeed, as far as is known here; another
// process is kept out by the server.
func (c *committer) refuse(call *appendCall) error {
	if call.ctx.Err() != nil {
		return context.Cause(call.ctx)
	}
	revision, live := c.index.room(call.key.roomKey())
	if revision = max(revision, c.recent[call.key.roomKey()]); revision != call.revision {
		return fmt.Errorf("%w: it is at revision %d, not %d", ErrConflict, revision, call.revision)
	}
	if call.live && live != nil && live.Record.GetId() != call.key.id {
		return ErrRoomLive
	}
	return nil
}

func (c *committer) message(call *appendCall) *nats.Msg {
	m := nats.NewMsg(call.key.subject())
	m.Data = call.data
	m.Header.Set(headerExpectedSequence, strconv.FormatUint(call.revision, 10))
	m.Header.Set(headerExpectedSubject, call.key.roomKey().subjects())
	return m
}

func (c *committer) writeOne(call *appendCall) {
	ack, err := c.request(c.message(call))
	if err == nil {
		err = ack.err()
	}
	if err == nil {
		c.gate.stored(ack.Sequence)
	}
	c.answer(call, ack.Sequence, err)
}

// writeBatch stores all calls or none. It returns false when the server has
// refused the batch in a way that lets each be tried alone; else it has
// answered the calls.
func (c *committer) writeBatch(calls []*appendCall) bool {
	c.batches++
	id := c.batchID + "-" + strconv.Itoa(c.batches)
	c.gate.begin()
	var ack pubAck
	var err error
	for i, call := range calls {
		m := c.message(call)
		m.Header.Set(headerBatchID, id)
		m.Header.Set(headerBatchSequence, strconv.Itoa(i+1))
		if i < len(calls)-1 {
			err = c.conn.PublishMsg(m)
		} else {
			m.Header.Set(headerBatchCommit, "1")
			ack, err = c.request(m)
		}
		if err != nil {
			break
		}
	}
	switch {
	case err != nil && c.server != nil && c.server.health() != nil:
		// Consumers may be able to read what the disk has not taken: the gate
		// stays shut until the log is recovered.
	default:
		c.gate.end(ack.Sequence)
	}
	switch {
	case err == nil && ack.Error.mayRetryAlone():
		return false
	case err == nil:
		err = ack.err()
	}
	if err == nil && ack.Count != len(calls) {
		err = fmt.Errorf("%w: %d of %d messages of a batch were acknowledged", ErrUnavailable, ack.Count, len(calls))
	}
	for i, call := range calls {
		c.answer(call, ack.Sequence-uint64(len(calls)-1-i), err)
	}
	return true
}

func (c *committer) answer(call *appendCall, sequence uint64, err error) {
	if err != nil {
		if errors.Is(err, ErrUnavailable) {
			c.failed.Store(&err)
		}
		call.result <- appendResult{err: err}
		return
	}
	c.failed.Store(nil)
	c.recent[call.key.roomKey()] = sequence
	c.acked = max(c.acked, sequence)
	call.result <- appendResult{sequence: sequence}
}

// request sends a message and waits for the server's answer.
func (c *committer) request(m *nats.Msg) (pubAck, error) {
	var ack pubAck
	c.requests++
	m.Reply = c.inbox + "." + strconv.Itoa(c.requests)
	if err := c.conn.PublishMsg(m); err != nil {
		if errors.Is(err, nats.ErrMaxPayload) {
			return ack, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		return ack, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	reply, err := c.reply(m.Reply)
	if err != nil {
		return ack, fmt.Errorf("%w: the write was not acknowledged: %w", ErrUnavailable, err)
	}
	if err := json.Unmarshal(reply.Data, &ack); err != nil {
		return ack, fmt.Errorf("%w: acknowledgement: %w", ErrUnavailable, err)
	}
	return ack, nil
}

// reply waits for the answer to a request. A server that has failed at the
// disk does not answer, so it is asked how it is from time to time.
func (c *committer) reply(subject string) (*nats.Msg, error) {
	deadline := time.Now().Add(c.cfg.AckTimeout)
	for {
		ctx, cancel := context.WithTimeout(c.lifetime, min(healthWait, time.Until(deadline)))
		reply, err := c.replies.NextMsgWithContext(ctx)
		cancel()
		switch {
		case err == nil && reply.Subject != subject: // to a request that was given up
		case err == nil && len(reply.Data) == 0 && reply.Header.Get("Status") == "503":
			return nil, nats.ErrNoResponders
		case err == nil:
			return reply, nil
		case c.lifetime.Err() != nil:
			return nil, ErrClosed
		case !errors.Is(err, context.DeadlineExceeded):
			return nil, err
		case time.Now().After(deadline):
			return nil, fmt.Errorf("no answer within %v", c.cfg.AckTimeout)
		case c.server != nil:
			if err := c.server.health(); err != nil {
				return nil, err
			}
		}
	}
}

// pubAck is JetStream's answer to a published message.
type pubAck struct {
	Error    *apiError `json:"error"`
	Stream   string    `json:"stream"`
	Sequence uint64    `json:"seq"`
	Count    int       `json:"count"` // of an atomic batch
}

type apiError struct {
	Code        int    `json:"err_code"`
	Description string `json:"description"`
}

// err returns the error that the answer is, if it is one.
func (a pubAck) err() error {
	switch {
	case a.Error == nil && a.Stream == streamName && a.Sequence > 0:
		return nil
	case a.Error == nil:
		return fmt.Errorf("%w: the write was acknowledged without a sequence", ErrUnavailable)
	case a.Error.isConflict():
		return fmt.Errorf("%w: %s", ErrConflict, a.Error.Description)
	default:
		return fmt.Errorf("%w: %s (%d)", ErrUnavailable, a.Error.Description, a.Error.Code)
	}
}

func (e *apiError) isConflict() bool {
	return e.Code == codeWrongLastSequence || e.Code == codeWrongLastSequenceConstant
}

// mayRetryAlone tells whether e refuses a batch for one of its messages, or
// for being a batch, so that nothing of it was stored.
func (e *apiError) mayRetryAlone() bool {
	return e != nil && (e.isConflict() || e.Code == codeBatchTooManyInflight || e.Code == codeBatchIncomplete)
}
