// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
)

// heart puts our key into the bucket of replicas and follows the bucket.
type heart struct {
	*cluster
	presence *presence
	bucket   jetstream.KeyValue
	stream   jetstream.Stream // of the bucket

	life  string    // of this process: a ULID, so that the later one wins
	epoch time.Time // what the times in our puts count from
}

// start begins to beat, and returns when all know us and we know all: when the
// first put of ours is heard.
func (h *heart) start(ctx context.Context) error {
	h.life, h.epoch = ulid.Make().String(), time.Now()
	h.running.Go(h.listen)
	h.running.Go(h.beat)
	h.running.Go(h.tell)
	for !h.presence.valid() || !h.presence.listening() {
		if !sleep(ctx, 10*time.Millisecond) {
			return fmt.Errorf("%w: join the replicas: %w", ErrUnavailable, context.Cause(ctx))
		}
		if h.lifetime.Err() != nil {
			return errClosed()
		}
	}
	return nil
}

// beat puts our key until the store is closed; then it deletes it.
func (h *heart) beat() {
	for h.lifetime.Err() == nil {
		begun := time.Now()
		if err := h.put(begun); err != nil {
			if h.lifetime.Err() == nil {
				h.log.Warn("the other replicas cannot be told that we are alive", "error", err)
			}
		}
		next := begun.Add(h.presence.ttl / 5)
		if due := h.presence.due(); !due.IsZero() && due.Before(next) {
			next = due
		}
		// A beat that fails at once must not be tried at once.
		sleep(h.lifetime, max(time.Until(next), h.presence.ttl/100))
	}
	h.quit()
}

// put tells the others that we are alive. When they may have thought otherwise,
// we are valid again only once we have read what they have done meanwhile.
func (h *heart) put(begun time.Time) error {
	ctx, cancel := context.WithTimeout(h.lifetime, max(h.presence.ttl/4, requestTimeout/2))
	defer cancel()
	value := h.life + " " + strconv.FormatInt(int64(begun.Sub(h.epoch)), 10)
	if _, err := h.bucket.Put(ctx, h.cfg.ReplicaID, []byte(value)); err != nil {
		return err
	}
	if !h.presence.valid() {
		if err := h.Sync(ctx); err != nil {
			return err
		}
	}
	h.presence.extend(begun)
	return nil
}

// quit tells the others at once that we are gone, unless a later process has
// our key.
func (h *heart) quit() {
	h.presence.mu.RLock()
	superseded := h.presence.superseded
	h.presence.mu.RUnlock()
	if superseded {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	if err := h.bucket.Delete(ctx, h.cfg.ReplicaID); err != nil {
		h.log.Warn("the other replicas could not be told that this one ends", "error", err)
	}
}

// listen follows the bucket until the store is closed.
func (h *heart) listen() {
	for h.lifetime.Err() == nil {
		if err := h.listenOnce(); h.lifetime.Err() == nil {
			h.log.Warn("the other replicas cannot be heard; trying again", "error", err)
			sleep(h.lifetime, retryWait)
		}
	}
}

func (h *heart) listenOnce() error {
	ctx, done := h.tails.context(h.lifetime)
	defer done()
	t, err := openTail(ctx, h.stream, jetstream.DeliverLastPerSubjectPolicy, 0)
	if err != nil {
		return err
	}
	defer t.close()
	for {
		m, meta, err := t.read(ctx)
		if err != nil {
			return err
		}
		h.hear(m, meta.Sequence.Stream)
	}
}

// hear takes in one message of the bucket.
func (h *heart) hear(m jetstream.Msg, sequence uint64) {
	replica := m.Subject()[strings.LastIndexByte(m.Subject(), '.')+1:]
	removed := m.Headers().Get("KV-Operation") != ""
	switch {
	case replica != h.cfg.ReplicaID && removed:
		h.presence.gone(replica)
	case replica != h.cfg.ReplicaID:
		h.presence.hear(replica, sequence, time.Now())
	case !removed:
		h.hearSelf(string(m.Data()))
	}
}

func (h *heart) hearSelf(value string) {
	life, offset, _ := strings.Cut(value, " ")
	begun, err := strconv.ParseInt(offset, 10, 64)
	switch {
	case life == h.life && err == nil:
		h.presence.hearSelf(h.epoch.Add(time.Duration(begun)), time.Now())
	case life > h.life:
		if h.presence.supersede() {
			h.log.Error("another process has the id of this replica, which works no room any more", "replica", h.cfg.ReplicaID)
		}
	}
}

// tell says, until the store is closed, that every room has to be looked at
// when a replica came or went, or when our own leases are suspended or back.
func (h *heart) tell() {
	wasValid, living := h.presence.valid(), h.presence.living()
	for {
		h.presence.mu.RLock()
		lapse := time.Until(h.presence.validUntil)
		h.presence.mu.RUnlock()
		if lapse <= 0 {
			lapse = h.presence.ttl
		}
		select {
		case <-h.presence.wake:
		case <-time.After(lapse):
		case <-h.lifetime.Done():
			return
		}
		isValid, now := h.presence.valid(), h.presence.living()
		if isValid != wasValid || !slices.Equal(now, living) {
			h.changes.all()
		}
		if isValid != wasValid && !isValid {
			h.log.Warn("the leases of this replica are suspended: it cannot be told that it is alive")
		} else if isValid != wasValid {
			h.log.Info("this replica is known to be alive")
		}
		if !slices.Equal(now, living) {
			h.log.Info("the living replicas are others now", "replicas", now)
		}
		wasValid, living = isValid, now
	}
}
