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
func (w *worker) work(ctx context.Context, live *store.Entry) (due time.Time) {
	if !w.synced || w.op != nil || w.session == nil {
		return time.Time{}
	}
	rec := live.Record
	switch stateOf(live) {
	case starting:
		return w.begin(ctx, rec)
	case recording:
		if w.class == nil {
			return w.retry.or(func() { w.publish(ctx, rec) })
		}
	case stopping:
		if w.class == nil {
			w.apply(ctx, rec.GetId(), ended{gone: true})
			w.poke()
			return time.Time{}
		}
		return w.retry.or(func() { w.delete(ctx) })
	default:
	}
	return time.Time{}
}

// begin publishes ClassBegin for a recording that is STARTING, once.
func (w *worker) begin(ctx context.Context, rec *storev1.Record) (due time.Time) {
	id := rec.GetId()
	switch {
	case w.sent == id, w.joinedAs != talkcloud.UserID(rec.GetJoin().GetUserId()):
	case w.resumed == id && time.Now().After(rec.GetDeadline().AsTime()):
		// Asked for in the last life, and not begun then: nobody waits for it.
		w.failStart(ctx, id, errStartTimeout(nil))
		w.poke()
	default:
		w.publish(ctx, rec)
	}
	return time.Time{}
}

// publish sends ClassBegin with what the recording's own carried.
func (w *worker) publish(ctx context.Context, rec *storev1.Record) {
	id := rec.GetId()
	w.sent = id
	msg := talkcloud.ClassBegin{}.Message()
	msg.Data = talkcloud.TextData(rec.GetClassBeginData())
	w.operate(ctx, "ClassBegin is not confirmed",
		func(s *room.Session) error { _, err := s.Publish(ctx, msg); return err },
		func(err error) { w.failStart(ctx, id, err) })
}

// delete deletes ClassBegin.
func (w *worker) delete(ctx context.Context) {
	w.operate(ctx, "the delete of ClassBegin is not confirmed",
		func(s *room.Session) error { _, err := s.Delete(ctx, talkcloud.ClassEnd()); return err },
		func(error) {})
}

// operate has a child send something; failed is called in run.
func (w *worker) operate(ctx context.Context, trouble string, send func(*room.Session) error, failed func(error)) {
	op, session := &operation{}, w.session
	w.op = op
	w.child(ctx, func() func() {
		err := send(session)
		return func() {
			if w.op != op {
				return // the session is another one by now
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
			w.retry.next()
			w.log.Warn(trouble, "error", err)
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
