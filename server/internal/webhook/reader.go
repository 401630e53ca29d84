// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"errors"
	"time"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	"github.com/classrec/classrec/server/internal/store"
)

// reader takes events from the log and makes deliveries of them.
type reader struct {
	*worker
	after   uint64                     // all events up to here were handed on
	settled map[string]event           // deliveries after that which are settled already
	known   map[string]*store.Delivery // those which are pending already
}

// idleWatch is after how much silence the log is watched anew, which tells how
// far it has come though there was nothing in it for us. Else it might seem that
// the log had forgotten something of ours.
const idleWatch = 10 * time.Minute

// run reads until ctx ends.
func (r *reader) run(ctx context.Context) {
	troubled := false
	for ctx.Err() == nil {
		err := r.watch(ctx)
		var slow *store.SlowError
		var old *store.TooOldError
		var ahead *store.AheadError
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			troubled = false
		case errors.As(err, &slow): // the window was full
			troubled = false
		case errors.As(err, &old):
			r.log.Error("webhooks: the log has forgotten events before they were sent",
				"after_sequence", store.SequenceOf(r.after), "oldest_sequence", store.SequenceOf(old.Oldest))
			r.skip(ctx, old.Oldest-1)
		case errors.As(err, &ahead):
			r.log.Error("webhooks: the log ends before what was read of it; going on from its end",
				"after_sequence", store.SequenceOf(r.after), "last_sequence", store.SequenceOf(ahead.Last))
			r.skip(ctx, ahead.Last)
		default:
			if !troubled {
				r.log.Warn("webhooks: the log cannot be read; trying again", "error", err)
			}
			troubled = true
			pause(ctx, storeWait)
		}
	}
}

// watch reads until the watch ends, and returns why; nil after a silence.
func (r *reader) watch(ctx context.Context) error {
	w, err := r.store.Watch(ctx, store.WatchFilter{Tenant: r.e.Tenant}, r.after)
	if err != nil {
		return err
	}
	defer w.Close()
	caught := w.CaughtUp()
	silence := time.NewTimer(idleWatch)
	defer silence.Stop()
	for {
		silence.Reset(idleWatch)
		select {
		case <-silence.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-caught:
			if len(w.C()) == 0 { // else it is as if it had not come yet
				caught = nil
				r.hand(ctx, arrival{read: max(r.after, w.UpTo())})
			} else if entry, ok := <-w.C(); ok {
				r.take(ctx, entry)
			}
		case entry, ok := <-w.C():
			if !ok {
				return w.Err()
			}
			r.take(ctx, entry)
		}
	}
}

// take makes deliveries of a change.
func (r *reader) take(ctx context.Context, entry *store.Entry) {
	a := arrival{read: entry.Revision}
	room := entry.Record.GetRecording().GetRoom()
	for _, typ := range typesOf(entry.Record) {
		id := idOf(entry.Revision, typ)
		rec := newRecord(r.e, entry, typ)
		settled := r.settled[id] == eventOf(rec)
		known := r.known[id]
		if known != nil && eventOf(known.Record) != eventOf(rec) {
			known = nil
		}
		delete(r.known, id)
		delete(r.settled, id)
		if settled || known == nil && (!r.e.wants(typ) || !r.e.wantsRoom(room)) {
			continue
		}
		if known == nil {
			known = r.create(ctx, rec)
		}
		if known == nil || known.Record.GetDelivery().GetState() != pending {
			continue
		}
		d := newDelivery(known, entry)
		d.windowed = true
		a.deliveries = append(a.deliveries, d)
	}
	r.hand(ctx, a)
}

// hand gives the loop what was found; it waits while the window is full.
func (r *reader) hand(ctx context.Context, a arrival) {
	select {
	case r.arrivals <- a:
		r.after = a.read
	case <-ctx.Done():
	}
}

// event tells which event a delivery is of. Its id alone does not: a log that
// has lost its end, as a power cut can do where it is not synced at once, gives
// the same revision again.
type event struct {
	recording string
	seconds   int64
	nanos     int32
}

func eventOf(rec *storev1.WebhookDeliveryRecord) event {
	at := rec.GetDelivery().GetEventTime()
	return event{rec.GetRecordingId(), at.GetSeconds(), at.GetNanos()}
}

// create stores a new delivery and returns what is stored then: somebody may
// have done so before. It is nil when ctx has ended.
func (r *reader) create(ctx context.Context, rec *storev1.WebhookDeliveryRecord) *store.Delivery {
	revision := uint64(0)
	for troubled := false; ctx.Err() == nil; {
		stored, err := r.e.put(ctx, rec, revision)
		if errors.Is(err, store.ErrConflict) {
			stored, err = r.e.state.Delivery(ctx, rec.GetEndpoint(), rec.GetId())
			if err == nil && eventOf(stored.Record) != eventOf(rec) {
				revision = stored.Revision
				continue
			}
		}
		if err == nil {
			return stored
		}
		if errors.Is(err, store.ErrNotKept) {
			revision = 0
			continue
		}
		if !troubled && ctx.Err() == nil {
			about(r.log, rec).Warn("webhooks: a delivery cannot be stored; trying again", "error", err)
		}
		troubled = true
		pause(ctx, storeWait)
	}
	return nil
}

// skip goes on after a gap. What was taken from there before and is pending
// still is handed on: the event itself may be there.
func (r *reader) skip(ctx context.Context, to uint64) {
	a := arrival{read: to, skipped: true}
	for id, known := range r.known {
		if known.Record.GetRevision() <= to {
			a.deliveries = append(a.deliveries, newDelivery(known, nil))
			delete(r.known, id)
		}
	}
	clear(r.settled)
	r.hand(ctx, a)
}
