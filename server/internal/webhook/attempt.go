// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	"github.com/classrec/classrec/server/internal/store"
)

// result is what came of an attempt.
type result struct {
	d      *delivery
	tried  bool // it was sent: at and answer tell
	at     time.Time
	answer answer
	stored *store.Delivery // its state now; nil when that has not changed
	later  time.Time       // when it was not sent: not before
	err    error           // why the work cannot go on
}

// attempt sends a delivery once and stores what came of it. When ctx ends it is
// broken off, and nothing has happened; when storing ends, nothing is stored any
// more.
func (w *worker) attempt(ctx, storing context.Context, d *delivery) result {
	r := result{d: d}
	if d.entry == nil {
		entry, err := w.e.entry(ctx, d.record)
		if errors.Is(err, store.ErrNotKept) {
			return w.conclude(storing, r, giveUp(d.record, "the log does not have the event any more"))
		}
		if err != nil {
			r.later = time.Now().Add(storeWait)
			return r
		}
		d.entry = entry
	}
	body, err := payload(d.entry, d.record.GetDelivery().GetType(), w.cfg.HandOut)
	if err != nil {
		return w.conclude(storing, r, giveUp(d.record, "the event cannot be encoded"))
	}
	r.at = time.Now()
	r.answer = w.e.target.post(ctx, w.e.Secrets, d.id(), body, r.at)
	if ctx.Err() != nil && !r.answer.delivered() {
		r.later = r.at
		return r
	}
	r.tried = true
	// A quarter shorter or longer, so that what failed at once does not come
	// again at once.
	jitter := 0.75 + rand.Float64()/2 //nolint:gosec // it is no secret
	return w.conclude(storing, r, w.cfg.after(d.record, r.answer, r.at, time.Now(), w.e.RetryFor, jitter))
}

// entry reads the event of a delivery from the log. Errors: [store.ErrNotKept]
// also when the log has another event there.
func (e *endpoint) entry(ctx context.Context, rec *storev1.WebhookDeliveryRecord) (*store.Entry, error) {
	entry, err := e.state.Read(ctx, rec.GetRevision())
	if err != nil {
		return nil, err
	}
	at := entry.Record.GetRecording().GetUpdateTime()
	if eventOf(rec) != (event{entry.Record.GetId(), at.GetSeconds(), at.GetNanos()}) {
		return nil, store.ErrNotKept
	}
	return entry, nil
}

// after returns the state of a delivery after an attempt that began and ended.
func (c Config) after(rec *storev1.WebhookDeliveryRecord, a answer, began, ended time.Time, retryFor time.Duration, jitter float64) *storev1.WebhookDeliveryRecord {
	next := proto.CloneOf(rec)
	d := next.GetDelivery()
	next.Tries++
	d.Attempts++
	d.LastAttemptTime = timestamppb.New(began)
	d.LastStatusCode = int32(min(a.status, 999)) //nolint:gosec // three digits
	d.LastError = a.err
	d.NextAttemptTime = nil
	if a.delivered() {
		d.State = delivered
		return next
	}
	since := d.GetEventTime()
	if t := d.GetRedeliverTime(); t != nil {
		since = t
	}
	deadline := since.AsTime().Add(retryFor)
	if !ended.Before(deadline) {
		d.State = failed
		return next
	}
	wait := max(time.Duration(float64(c.backoff(next.GetTries()))*jitter), a.retryAfter)
	due := ended.Add(wait)
	if due.After(deadline) {
		due = deadline // once more, and no more
	}
	d.NextAttemptTime = timestamppb.New(due)
	return next
}

// backoff is the pause after so many tries, before it is made random.
func (c Config) backoff(tries int32) time.Duration {
	wait := c.RetryMin
	for range tries - 1 {
		if wait >= c.RetryMax {
			break
		}
		wait *= 2
	}
	return min(wait, c.RetryMax)
}

// about is a log for what concerns a delivery.
func about(log *slog.Logger, rec *storev1.WebhookDeliveryRecord) *slog.Logger {
	log = log.With("delivery", rec.GetId(), "room", rec.GetDelivery().GetRoom())
	if name := rec.GetDelivery().GetRecording(); name != "" {
		log = log.With("recording", name)
	}
	if id := rec.GetRequestId(); id != "" {
		log = log.With("request_id", id)
	}
	return log
}

// giveUp returns the state of a delivery that cannot be sent.
func giveUp(rec *storev1.WebhookDeliveryRecord, reason string) *storev1.WebhookDeliveryRecord {
	next := proto.CloneOf(rec)
	next.GetDelivery().State = failed
	next.GetDelivery().LastError = reason
	next.GetDelivery().NextAttemptTime = nil
	return next
}

// askAgain returns the state of a delivery that is asked for again.
func askAgain(rec *storev1.WebhookDeliveryRecord, now time.Time) *storev1.WebhookDeliveryRecord {
	next := proto.CloneOf(rec)
	next.Tries = 0
	next.GetDelivery().State = pending
	next.GetDelivery().NextAttemptTime = nil
	next.GetDelivery().RedeliverTime = timestamppb.New(now)
	return next
}

// conclude stores what came of an attempt, and goes on trying until ctx ends.
func (w *worker) conclude(ctx context.Context, r result, next *storev1.WebhookDeliveryRecord) result {
	revision := r.d.revision
	for troubled := false; ; {
		stored, err := w.e.put(ctx, next, revision)
		if errors.Is(err, store.ErrConflict) {
			now, readErr := w.e.state.Delivery(ctx, next.GetEndpoint(), next.GetId())
			switch {
			case errors.Is(readErr, store.ErrNotKept): // too old; it is kept anew
				revision = 0
				continue
			case readErr != nil:
				err = readErr
			case proto.Equal(now.Record, next): // it was stored, and the answer was lost
				stored, err = now, nil
			case isAsked(now.Record), now.Record.GetDelivery().GetState() != pending:
				stored, err = now, nil
			default:
				r.err = errLost
				return r
			}
		}
		if err == nil {
			r.stored = stored
			return r
		}
		if !troubled && ctx.Err() == nil {
			about(w.log, r.d.record).Warn("webhooks: what became of an event cannot be stored; trying again", "error", err)
		}
		troubled = true
		if !pause(ctx, storeWait) {
			return r
		}
	}
}
