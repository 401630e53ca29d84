// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// leaderProof is how recently the leader of the log has to have heard from
	// most of its group when it tells the last sequence. None of them begins
	// an election before it has heard nothing for 4 s (nats-server's
	// minElectionTimeout).
	leaderProof = 3 * time.Second
	// lagging is after how long without a sequence that the log has, the
	// follower begins anew.
	lagging = time.Second
)

// syncer asks for the log's last sequence, one question at a time.
type syncer struct {
	wake chan struct{} // capacity 1: next is wanted

	mu   sync.Mutex
	next *syncRound // gathers those who wait for the next question; nil: nobody
}

// syncRound is one question.
type syncRound struct {
	done     chan struct{} // closed when sequence or err is set
	sequence uint64
	err      error
}

// Sync returns when reads show all that was stored before the call, by
// whichever process. Calls that come while one asks the log share the next
// question. With the embedded log it returns at once: nothing else is stored,
// and Append returns only when reads show it.
//
// The answer is the log leader's, and counts only if that has heard from most
// of its group within 3 s. A leader that was cut off from the others and not
// from us can still be believed for a moment, until it has missed them: reads
// may lag then, but nothing is ever stored on them that should not be.
//
// Errors: ErrUnavailable, after Config.AckTimeout at most; ctx's error.
func (s *Store) Sync(ctx context.Context) error {
	if s.cluster == nil {
		return nil
	}
	if err := s.cluster.sync(ctx); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

func (c *cluster) sync(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r := c.syncer.join()
	select {
	case <-r.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.lifetime.Done():
		return errClosed()
	}
	if r.err != nil {
		return r.err
	}
	return c.catchUp(ctx, r.sequence)
}

// catchUp waits until the index has the sequence, which the log has.
func (c *cluster) catchUp(ctx context.Context, sequence uint64) error {
	done := c.index.waitSequence(sequence)
	lag := time.NewTicker(lagging)
	defer lag.Stop()
	deadline := time.NewTimer(c.cfg.AckTimeout)
	defer deadline.Stop()
	for {
		select {
		case <-done:
			if c.lifetime.Err() != nil {
				return errClosed()
			}
			return nil
		case <-lag.C:
			c.tails.stop() // it may have lost something on its way
		case <-deadline.C:
			return fmt.Errorf("%w: the log cannot be followed to sequence %d", ErrUnavailable, sequence)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// join returns the round that is asked next.
func (y *syncer) join() *syncRound {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.next == nil {
		y.next = &syncRound{done: make(chan struct{})}
		select {
		case y.wake <- struct{}{}:
		default:
		}
	}
	return y.next
}

// take returns the round that waits, nil when none does.
func (y *syncer) take() *syncRound {
	y.mu.Lock()
	defer y.mu.Unlock()
	r := y.next
	y.next = nil
	return r
}

// answerSyncs asks for each round until the store is closed. Once the log
// could not be asked, those that waited meanwhile are told at once, and the
// next ones wait for one question only, until it can be.
func (c *cluster) answerSyncs() {
	patience := c.cfg.AckTimeout
	for {
		select {
		case <-c.syncer.wake:
		case <-c.lifetime.Done():
			return
		}
		r := c.syncer.take()
		if r == nil {
			continue
		}
		r.sequence, r.err = c.askLast(patience)
		close(r.done)
		patience = c.cfg.AckTimeout
		if r.err == nil {
			continue
		}
		patience = min(patience, requestTimeout)
		if queued := c.syncer.take(); queued != nil {
			queued.err = r.err
			close(queued.done)
		}
	}
}

// askLast asks the log's leader for its last sequence, as often as it takes.
func (c *cluster) askLast(patience time.Duration) (uint64, error) {
	ctx, cancel := context.WithTimeout(c.lifetime, patience)
	defer cancel()
	for {
		sequence, err := c.askLastOnce(ctx)
		if err == nil {
			return sequence, nil
		}
		if !sleep(ctx, setupWait/4) {
			return 0, fmt.Errorf("%w: the log's last sequence: %w", ErrUnavailable, err)
		}
	}
}

// streamInfo is what is wanted of JetStream's answer about a stream.
type streamInfo struct {
	Error *apiError `json:"error"`
	State struct {
		Last uint64 `json:"last_seq"`
	} `json:"state"`
	Cluster *struct {
		Leader   string `json:"leader"`
		Replicas []struct {
			Active time.Duration `json:"active"` // since it was heard; 0 is never
		} `json:"replicas"`
	} `json:"cluster"`
}

func (c *cluster) askLastOnce(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if c.conn.Status() != nats.CONNECTED {
		return 0, nats.ErrDisconnected
	}
	reply, err := c.conn.RequestWithContext(ctx, "$JS.API.STREAM.INFO."+streamName, nil)
	if err != nil {
		return 0, err
	}
	var info streamInfo
	if err := json.Unmarshal(reply.Data, &info); err != nil {
		return 0, err
	}
	if info.Error != nil {
		return 0, fmt.Errorf("%s (%d)", info.Error.Description, info.Error.Code)
	}
	if g := info.Cluster; g != nil && len(g.Replicas) > 0 {
		heard := 1 // the leader itself
		for _, r := range g.Replicas {
			if r.Active > 0 && r.Active < leaderProof {
				heard++
			}
		}
		if g.Leader == "" || 2*heard <= len(g.Replicas)+1 {
			return 0, errors.New("it has no leader that most of its group has heard of")
		}
	}
	return info.State.Last, nil
}
