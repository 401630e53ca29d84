// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// inFlightPoll is how often it is looked whether what is in another's way has
// been stored.
const inFlightPoll = 2 * time.Millisecond

// cluster is what a store does because other processes share its log.
type cluster struct {
	*Store
	presence *presence
	heart    *heart
	syncer   *syncer
	requests jetstream.KeyValue
}

func newCluster(s *Store) *cluster {
	return &cluster{
		Store:    s,
		presence: newPresence(s.cfg.ReplicaID, s.cfg.LeaseTTL),
		syncer:   &syncer{wake: make(chan struct{}, 1)},
	}
}

// start runs what keeps this process among the replicas, until the store is
// closed.
func (c *cluster) start(ctx context.Context) error {
	c.running.Go(c.answerSyncs)
	c.running.Go(c.check)
	return c.heart.start(ctx)
}

// check asks the log from time to time whether it can be read and whether the
// index has all of it, though nobody calls: watchers wait for it. A leader that
// is left alone answers that for a while and stores nothing, so all is well
// only while our beats are stored too.
func (c *cluster) check() {
	for sleep(c.lifetime, min(c.cfg.LeaseTTL/3, 2*time.Second)) {
		err := c.sync(c.lifetime)
		switch {
		case c.lifetime.Err() != nil:
			return
		case err != nil:
			err = fmt.Errorf("%w: %w", errNoAnswer, err)
			c.failed.CompareAndSwap(nil, &err)
		case c.presence.valid():
			if p := c.failed.Load(); p != nil && errors.Is(*p, errNoAnswer) {
				c.failed.CompareAndSwap(p, nil)
			}
		}
	}
}

// explain returns what a refusal by the server means, once the index shows why
// it came; ctx bounds that. The leader refuses also for what it is about to
// store, before it has. A call whose message was sent more than once may have
// been stored before it was refused, or be what is about to be stored.
func (c *cluster) explain(ctx context.Context, call *appendCall, refusal appendResult) appendResult {
	moved := false
	for begun := time.Now(); !moved && time.Since(begun) < requestTimeout; {
		if err := c.sync(ctx); err != nil {
			return appendResult{err: err}
		}
		revision, _ := c.index.room(call.key.roomKey())
		if moved = revision > call.revision; !moved {
			sleep(ctx, inFlightPoll)
		}
	}
	switch {
	case !call.resent:
		return refusal
	case !moved:
		return appendResult{err: fmt.Errorf("%w: it is not known whether it was stored", ErrUnavailable)}
	}
	// What has made the room move.
	m, err := c.stream.GetMsg(ctx, call.revision+1, jetstream.WithGetMsgSubject(call.key.roomKey().subjects()))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound): // history has been forgotten
		return refusal
	case err != nil:
		return appendResult{err: fmt.Errorf("%w: %w", ErrUnavailable, err)}
	case m.Subject == call.key.subject() && bytes.Equal(m.Data, call.data):
		return appendResult{sequence: m.Sequence}
	default:
		return refusal
	}
}

// grant writes that l's room is ours.
func (c *cluster) grant(ctx context.Context, l *Lease) error {
	last, revision := c.index.lease(l.room)
	if last.holder != "" && last.holder != c.cfg.ReplicaID && c.presence.alive(last.holder) {
		return fmt.Errorf("%w by replica %s", ErrLeased, last.holder)
	}
	if !c.presence.valid() {
		return fmt.Errorf("%w: this replica is not known to be alive", ErrUnavailable)
	}
	l.clean, l.takeover = last.sequence, last.holder != ""
	sequence, err := c.writeLease(ctx, l.room, c.cfg.ReplicaID, revision, nil)
	if err != nil {
		return err
	}
	c.leases.mu.Lock()
	defer c.leases.mu.Unlock()
	l.token = sequence
	return nil
}

// free writes that l's room is nobody's.
func (c *cluster) free(ctx context.Context, l *Lease) error {
	_, revision := c.index.lease(l.room)
	_, err := c.writeLease(ctx, l.room, "", revision, l)
	if err != nil && l.State() == Lost {
		return ErrFenced
	}
	return err
}

func (c *cluster) writeLease(ctx context.Context, room roomKey, holder string, revision uint64, l *Lease) (uint64, error) {
	data, err := leaseMessage(room, holder)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return c.submit(ctx, &appendCall{
		ctx:      ctx,
		key:      recordingKey{room.tenant, room.room, leaseID},
		data:     data,
		revision: revision,
		lease:    l,
		result:   make(chan appendResult, 1),
	})
}

// state tells what the grant is worth.
func (c *cluster) state(room roomKey, token uint64) LeaseState {
	last, _ := c.index.lease(room)
	switch {
	case token == 0 || last.sequence != token:
		return Lost
	case !c.presence.valid():
		return Suspended
	default:
		return Held
	}
}

func (c *cluster) holder(room roomKey) (replica string, alive bool) {
	last, _ := c.index.lease(room)
	switch last.holder {
	case "":
		return "", false
	case c.cfg.ReplicaID:
		return last.holder, c.presence.valid()
	default:
		return last.holder, c.presence.alive(last.holder)
	}
}
