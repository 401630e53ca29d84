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
	codeWrongLastSequenceConstant = 10164 // another message of the subject is being stored, or just was
	codeBatchTooManyInflight      = 10210
	codeBatchIncomplete           = 10176
	codeNoPeers                   = 10005
	codeClusterNotAvailable       = 10008
	codeClusterNotLeader          = 10009
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

var (
	// errNoAnswer is part of the error of a write that nobody has answered.
	errNoAnswer = errors.New("the write was not acknowledged")
	// errNotSent is part of it when nobody has got it, either.
	errNotSent = errors.New("nobody takes it")
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
	deadline time.Time // of the present write, in a cluster
	down     error     // why the last write was not answered, if so
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
		if c.cluster != nil && c.down != nil {
			c.failQueued(calls)
			calls = nil
		}
	}
}

// failQueued answers the calls, and all that have queued, with what the last
// write failed with: none of them waits for a time of its own.
func (c *committer) failQueued(calls []*appendCall) {
	for _, call := range calls {
		call.result <- appendResult{err: c.down}
	}
	for {
		select {
		case call := <-c.appends:
			call.result <- appendResult{err: c.down}
		default:
			return
		}
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
	c.deadline = time.Now().Add(c.patience())
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
	if len(ready) >= minBatch && c.writeBatch(ready) {
		return later
	}
	for i, call := range ready {
		c.deadline = time.Now().Add(c.patience()) // each has its own: many take their time
		c.writeOne(call)
		if c.cluster != nil && c.down != nil {
			c.failQueued(ready[i+1:])
			break
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
	if call.lease != nil && call.lease.State() == Lost {
		return ErrFenced
	}
	revision, live := c.index.room(call.key.roomKey())
	if revision = max(revision, c.recent[call.key.roomKey()]); revision != call.revision {
		return fmt.Errorf("%w: it is at revision %d, not %d", ErrConflict, revision, call.revision)
	}
	if call.live && live != nil && live.Record.GetId() != call.key.id {
		return ErrRoomLive
	}
	if c.cluster != nil && call.request != "" && c.index.get(call.key) == nil &&
		!c.claims.begin(nameKey{call.key.tenant, call.request}, call.key.id, c.cfg.AckTimeout/2) {
		return fmt.Errorf("%w: its request id has to be claimed again", ErrConflict)
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
	var ack pubAck
	var err error
	if c.cluster == nil {
		ack, err = c.request(c.message(call), c.cfg.AckTimeout)
	} else {
		ack, err = c.insist(call)
	}
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
			ack, err = c.request(m, c.answerWait())
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
	case err != nil && c.cluster != nil:
		for _, call := range calls {
			call.resent = true // it may have been stored
		}
		return false
	case err == nil:
		err = ack.err()
	}
	if err == nil && ack.Count != len(calls) {
		err = fmt.Errorf("%w: %d of %d messages of a batch were acknowledged", ErrUnavailable, ack.Count, len(calls))
	}
	for i, call := range calls {
		c.answer(call, ack.Sequence-uint64(len(calls)-1-i), err) //nolint:gosec // an index is not negative
	}
	return true
}

func (c *committer) answer(call *appendCall, sequence uint64, err error) {
	if c.down = nil; errors.Is(err, errNoAnswer) {
		c.down = err
	}
	if err != nil {
		if errors.Is(err, ErrUnavailable) {
			c.failed.Store(&err)
			c.failedAt.Store(time.Now().UnixNano())
		}
		call.result <- appendResult{err: err, refused: errors.Is(err, ErrConflict)}
		return
	}
	c.failed.Store(nil)
	c.recent[call.key.roomKey()] = sequence
	c.acked = max(c.acked, sequence)
	call.result <- appendResult{sequence: sequence}
}

// insist writes a call to a cluster: a message that was lost because a server
// went, or because the log has no leader for a while, is sent again. Of all
// that is sent for a call the condition lets one be stored; when a later one
// is refused for that, submit finds out.
func (c *committer) insist(call *appendCall) (ack pubAck, err error) {
	for {
		ack, err = c.request(c.message(call), c.answerWait())
		switch {
		case err == nil && ack.Error.isInFlight():
			// It may be one that was acknowledged already: the leader answers before it has tidied up.
			if time.Now().Add(inFlightPoll).Before(c.deadline) && sleep(c.lifetime, inFlightPoll) {
				continue
			}
			// It has been there for so long that it is as good as no answer: a
			// leader that is left alone stores nothing.
			return ack, fmt.Errorf("%w: %w: another write of the room is not done with", ErrUnavailable, errNoAnswer)
		case err == nil && !ack.Error.isTemporary():
			return ack, nil
		case err == nil: // a cluster without a majority may answer as well as not
			err = fmt.Errorf("%w: %w", errNoAnswer, ack.err())
		case errors.Is(err, ErrInvalid), c.lifetime.Err() != nil:
			return ack, err
		case !errors.Is(err, errNotSent):
			call.resent = true
		}
		if time.Now().Add(setupWait / 4).After(c.deadline) {
			return ack, err
		}
		sleep(c.lifetime, setupWait/4)
	}
}

// answerWait is how long one message is waited for.
func (c *committer) answerWait() time.Duration {
	if c.cluster == nil {
		return c.cfg.AckTimeout
	}
	return min(2*requestTimeout, max(time.Until(c.deadline), 0))
}

// request sends a message and waits for the server's answer.
func (c *committer) request(m *nats.Msg, wait time.Duration) (pubAck, error) {
	var ack pubAck
	c.requests++
	m.Reply = c.inbox + "." + strconv.Itoa(c.requests)
	if err := c.conn.PublishMsg(m); err != nil {
		if errors.Is(err, nats.ErrMaxPayload) {
			return ack, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		if errors.Is(err, nats.ErrReconnectBufExceeded) {
			err = fmt.Errorf("%w: %w", errNotSent, err)
		}
		return ack, fmt.Errorf("%w: %w: %w", ErrUnavailable, errNoAnswer, err)
	}
	reply, err := c.reply(m.Reply, wait)
	if errors.Is(err, nats.ErrNoResponders) {
		err = fmt.Errorf("%w: %w", errNotSent, err)
	}
	if err != nil {
		return ack, fmt.Errorf("%w: %w: %w", ErrUnavailable, errNoAnswer, err)
	}
	if err := json.Unmarshal(reply.Data, &ack); err != nil {
		return ack, fmt.Errorf("%w: acknowledgement: %w", ErrUnavailable, err)
	}
	return ack, nil
}

// reply waits for the answer to a request. A server that has failed at the
// disk does not answer, so it is asked how it is from time to time.
func (c *committer) reply(subject string, wait time.Duration) (*nats.Msg, error) {
	deadline := time.Now().Add(wait)
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
			return nil, fmt.Errorf("none within %v", wait)
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

// isInFlight tells whether e refuses a message because another one of its
// subject is not done with, whatever the sequences are; nothing was stored.
func (e *apiError) isInFlight() bool {
	return e != nil && e.Code == codeWrongLastSequenceConstant
}

// isTemporary tells whether e refuses a message because the log has no leader
// just now, so that nothing was stored.
func (e *apiError) isTemporary() bool {
	return e != nil && (e.Code == codeClusterNotAvailable || e.Code == codeClusterNotLeader)
}

// mayRetryAlone tells whether e refuses a batch for one of its messages, or
// for being a batch, so that nothing of it was stored.
func (e *apiError) mayRetryAlone() bool {
	return e != nil && (e.isConflict() || e.Code == codeBatchTooManyInflight || e.Code == codeBatchIncomplete)
}
