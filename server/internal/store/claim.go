// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// requestsTTL is for how long a claim is kept: far longer than it takes
	// until every replica knows the recording.
	requestsTTL = 24 * time.Hour
	// claimPoll is how often the index is looked at for a recording that
	// another replica is about to store.
	claimPoll = 20 * time.Millisecond
	// keptClaims is from how many claims on, those that are over are
	// forgotten.
	keptClaims = 1024
)

// claims is what this process knows of request ids.
type claims struct {
	mu   sync.Mutex
	held map[nameKey]*claim // the last one of ours
	seen map[nameKey]sighting
}

// claim is one of ours. Its Append has to begin within half of
// Config.AckTimeout and is given up after another whole one. Another replica
// waits for twice as long as that takes until it takes the claim over.
type claim struct {
	room, id string
	revision uint64    // in the bucket
	begun    time.Time // before it was asked for
	appended bool      // its Append has begun
}

// sighting is when this process first saw a claim of another.
type sighting struct {
	revision uint64
	first    time.Time
}

// claimed is a claim as it is stored.
type claimed struct {
	Room string `json:"room"`
	ID   string `json:"id"`
}

// Claim makes sure that of all recordings that are asked for with one request
// id, on whichever replicas and in whichever rooms, one is made. Call it
// before the Append that makes the recording known, then look
// [Store.ByRequestID]: a recording that it finds is the answer, instead of
// another one. In one process, the calls of one request id have to take
// turns, from their Claim to the end of their Append.
//
// In a cluster, the first Append of a recording with a request id fails with
// ErrConflict unless it begins within half of Config.AckTimeout after its
// Claim: claim again, then. A recording that has been claimed and is not
// stored is waited for, for twice Config.AckTimeout at most, then the claim is
// taken over; [Store.Unclaim] spares others that. With the embedded log it
// does nothing.
//
// Errors: ErrUnavailable, ctx's error.
func (s *Store) Claim(ctx context.Context, tenant, requestID, room, id string) error {
	if s.cluster == nil || requestID == "" {
		return nil
	}
	if err := s.cluster.claim(ctx, nameKey{tenant, requestID}, room, id); err != nil {
		return fmt.Errorf("claim request id: %w", err)
	}
	return nil
}

// Unclaim gives a claim up whose recording will not be stored after all. It
// does nothing when the claim is not ours or its Append has begun.
//
// Errors: ErrUnavailable, ctx's error: then the claim runs out by itself.
func (s *Store) Unclaim(ctx context.Context, tenant, requestID, id string) error {
	if s.cluster == nil || requestID == "" {
		return nil
	}
	key := nameKey{tenant, requestID}
	revision, ok := s.claims.abandon(key, id)
	if !ok {
		return nil
	}
	err := s.cluster.tryBucket(ctx, func(ctx context.Context) error {
		return s.cluster.requests.Delete(ctx, bucketKey(key), jetstream.LastRevision(revision))
	})
	if err != nil && !isConflict(err) {
		return fmt.Errorf("unclaim request id: %w", err)
	}
	return nil
}

func (c *cluster) claim(ctx context.Context, key nameKey, room, id string) error {
	value, err := json.Marshal(claimed{Room: room, ID: id})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if c.claims.fresh(key, id, c.cfg.AckTimeout/4) {
		return nil
	}
	for {
		own := &claim{room: room, id: id, begun: time.Now()}
		err := c.tryBucket(ctx, func(ctx context.Context) (err error) {
			own.revision, err = c.requests.Create(ctx, bucketKey(key), value)
			return err
		})
		if errors.Is(err, jetstream.ErrKeyExists) {
			var done bool
			if done, err = c.claimHeld(ctx, key, own, value); done && err == nil {
				return nil
			}
		}
		switch {
		case err == nil && own.revision > 0:
			c.claims.hold(key, own, c.cfg.AckTimeout)
			return nil
		case err != nil && !isConflict(err):
			return err
		}
	}
}

// claimHeld deals with a claim that is there. done: the claim's recording is
// known, and is the answer. Otherwise own.revision is set when the claim was
// taken over, or all has to begin anew.
func (c *cluster) claimHeld(ctx context.Context, key nameKey, own *claim, value []byte) (done bool, err error) {
	var entry jetstream.KeyValueEntry
	err = c.tryBucket(ctx, func(ctx context.Context) (err error) {
		entry, err = c.requests.Get(ctx, bucketKey(key))
		return err
	})
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, nil // it was deleted, or the server that was asked lags behind
	}
	if err != nil {
		return false, err
	}
	var other claimed
	if err := json.Unmarshal(entry.Value(), &other); err != nil {
		c.log.Error("a claim cannot be understood and is taken over", "error", err)
	} else if other.ID != own.id {
		if done, err := c.awaitClaimed(ctx, key, other, entry.Revision()); done || err != nil {
			return done, err
		}
	}
	own.begun = time.Now()
	return false, c.tryBucket(ctx, func(ctx context.Context) (err error) {
		own.revision, err = c.requests.Update(ctx, bucketKey(key), value, entry.Revision())
		return err
	})
}

// awaitClaimed waits until the claimed recording is known, or cannot come any
// more; holds tells whether it holds its request id.
func (c *cluster) awaitClaimed(ctx context.Context, key nameKey, other claimed, revision uint64) (holds bool, err error) {
	over := c.claims.see(key, revision).Add(2 * c.cfg.AckTimeout)
	if c.claims.idle(key, other.ID) {
		over = time.Time{} // it was our own, and is given up
	}
	for {
		last := time.Now().After(over)
		if err := c.sync(ctx); err != nil {
			return false, err
		}
		// Only what is not there yet is waited for.
		for {
			if e := c.index.get(recordingKey{key.tenant, other.Room, other.ID}); e != nil {
				return heldRequest(e) == key.name, nil
			}
			if last {
				return false, nil
			}
			if time.Now().After(over) {
				break
			}
			if !sleep(ctx, claimPoll) {
				return false, context.Cause(ctx)
			}
			if c.lifetime.Err() != nil {
				return false, errClosed()
			}
		}
	}
}

// tryBucket calls fn until the bucket has answered, for Config.AckTimeout at
// most.
func (c *cluster) tryBucket(ctx context.Context, fn func(context.Context) error) error {
	if c.lifetime.Err() != nil {
		return errClosed()
	}
	patient, cancel := context.WithTimeout(ctx, c.patience())
	defer cancel()
	defer context.AfterFunc(c.lifetime, cancel)() //nolint:contextcheck // the store's end ends it, too
	for {
		once, cancel := context.WithTimeout(patient, requestTimeout)
		err := fn(once)
		cancel()
		switch {
		case err == nil, errors.Is(err, jetstream.ErrKeyExists), errors.Is(err, jetstream.ErrKeyNotFound), isConflict(err):
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !sleep(patient, setupWait/4):
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
}

// isConflict tells whether a bucket has refused a change because its key has
// another revision.
func isConflict(err error) bool {
	var refused *jetstream.APIError
	return errors.As(err, &refused) && (&apiError{Code: int(refused.ErrorCode)}).isConflict()
}

// isInFlight tells whether a message was refused only because another one of
// its subject is not done with.
func isInFlight(err error) bool {
	var refused *jetstream.APIError
	return errors.As(err, &refused) && (&apiError{Code: int(refused.ErrorCode)}).isInFlight()
}

// bucketKey is a key of any request id.
func bucketKey(key nameKey) string {
	sum := sha256.Sum256([]byte(key.tenant + "\x00" + key.name))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// hold makes a claim the one of its request id.
func (t *claims) hold(key nameKey, own *claim, kept time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held == nil {
		t.held = make(map[nameKey]*claim)
	}
	if len(t.held) >= keptClaims {
		for k, c := range t.held {
			if time.Since(c.begun) > 4*kept {
				delete(t.held, k)
			}
		}
	}
	t.held[key] = own
}

// fresh tells whether we hold the claim of the id, for not longer than age.
func (t *claims) fresh(key nameKey, id string, age time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.held[key]
	return c != nil && c.id == id && time.Since(c.begun) < age
}

// idle tells whether the claim of the id was ours and its Append never began;
// after that it cannot begin any more.
func (t *claims) idle(key nameKey, id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.held[key]
	if c == nil || c.id != id || c.appended {
		return false
	}
	delete(t.held, key)
	return true
}

// abandon forgets a claim whose Append has not begun.
func (t *claims) abandon(key nameKey, id string) (revision uint64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.held[key]
	if c == nil || c.id != id || c.appended {
		return 0, false
	}
	delete(t.held, key)
	return c.revision, true
}

// begin tells whether an Append may begin that makes the recording known.
func (t *claims) begin(key nameKey, id string, within time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.held[key]
	if c == nil || c.id != id || time.Since(c.begun) > within {
		return false
	}
	c.appended = true
	return true
}

// unstored takes in that an Append was refused: nothing of it can come.
func (t *claims) unstored(key nameKey, id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.held[key]; c != nil && c.id == id {
		c.appended = false
	}
}

// see returns when this process first saw the claim.
func (t *claims) see(key nameKey, revision uint64) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s, ok := t.seen[key]; ok && s.revision == revision {
		return s.first
	}
	if t.seen == nil {
		t.seen = make(map[nameKey]sighting)
	}
	if len(t.seen) >= keptClaims {
		for k, s := range t.seen {
			if time.Since(s.first) > time.Hour {
				delete(t.seen, k)
			}
		}
	}
	now := time.Now()
	t.seen[key] = sighting{revision: revision, first: now}
	return now
}
