// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"context"
	"time"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// operation is a publish or delete of ClassBegin that is under way. It is over
// when it has failed, or when it is confirmed and its echo has come by as an
// event too: what it did is taken from the events alone, which are in order.
type operation struct {
	confirmed bool
	seen      bool
}

// work does what the state of the live recording asks for.
func (w *worker) work(ctx context.Context, t *tenure, live *store.Entry) (due time.Time) {
	if !w.synced || w.op != nil || w.session == nil {
		return time.Time{}
	}
	rec := live.Record
	switch stateOf(live) {
	case starting:
		return w.begin(ctx, t, rec)
	case recording:
		if w.class == nil {
			return w.retry.or(w.s.now(), func() { w.publish(ctx, t, rec) })
		}
	case stopping:
		if w.class == nil {
			w.apply(ctx, rec.GetId(), ended{gone: true})
			w.poke()
			return time.Time{}
		}
		return w.retry.or(w.s.now(), func() { w.delete(ctx, t, rec) })
	default:
	}
	return time.Time{}
}

// begin publishes ClassBegin for a recording that is STARTING, once.
func (w *worker) begin(ctx context.Context, t *tenure, rec *storev1.Record) (due time.Time) {
	id := rec.GetId()
	switch {
	case w.sent == id, w.joinedAs != talkcloud.UserID(rec.GetJoin().GetUserId()):
	case w.s.now().After(rec.GetDeadline().AsTime()):
		// Asked for in another life, and not begun then: nobody waits for it.
		w.failStart(ctx, id, errStartTimeout(nil))
		w.poke()
	default:
		w.publish(ctx, t, rec)
	}
	return time.Time{}
}

// publish sends ClassBegin with what the recording's own carried.
func (w *worker) publish(ctx context.Context, t *tenure, rec *storev1.Record) {
	id := rec.GetId()
	w.sent = id
	msg := talkcloud.ClassBegin{}.Message()
	msg.Data = talkcloud.TextData(rec.GetClassBeginData())
	w.operate(ctx,
		func(s *room.Session) (err error) { //nolint:contextcheck // t's is made of ctx
			traced, end := w.s.trace(t.ctx, rec, "publish ClassBegin")
			defer func() { end(err) }()
			_, err = s.Publish(traced, msg)
			return err
		},
		func(err error) {
			if w.starts.Load() == 0 { // otherwise it ends a call, whose line has it
				w.s.logOf(rec).Warn("ClassBegin is not confirmed", "error", err)
			}
			w.failStart(ctx, id, err)
		})
}

// delete deletes ClassBegin, for a recording that is STOPPING.
func (w *worker) delete(ctx context.Context, t *tenure, rec *storev1.Record) {
	w.operate(ctx,
		func(s *room.Session) (err error) { //nolint:contextcheck // t's is made of ctx
			traced, end := w.s.trace(t.ctx, rec, "delete ClassBegin")
			defer func() { end(err) }()
			_, err = s.Delete(traced, talkcloud.ClassEnd())
			return err
		},
		func(err error) { w.s.logOf(rec).Warn("the delete of ClassBegin is not confirmed", "error", err) })
}

// operate has a child send something; failed is called in run.
func (w *worker) operate(ctx context.Context, send func(*room.Session) error, failed func(error)) {
	op, session := &operation{}, w.session
	w.op = op
	w.child(ctx, func() func() {
		err := send(session)
		return func() {
			if w.op != op {
				return // the session is another one by now, or the room another's
			}
			if err == nil {
				op.confirmed = true
				w.retry = retry{}
				w.settleOp()
				return
			}
			w.op = nil
			err = public(err)
			w.trouble.Store(&err)
			w.retry.next(w.s.now())
			failed(err)
		}
	})
}

// sawEcho notes that the room's ClassBegin has come or gone.
func (w *worker) sawEcho() {
	if w.op != nil {
		w.op.seen = true
		w.settleOp()
	}
}

func (w *worker) settleOp() {
	if w.op.confirmed && w.op.seen {
		w.op = nil
	}
}
