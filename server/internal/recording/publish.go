// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"context"
	"errors"
	"slices"
	"time"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// operation is a publish or delete of ClassBegin that is under way.
type operation struct {
	adds bool               // it is a publish
	end  context.CancelFunc // of waiting for its confirmation
}

// work does what the state of the live recording asks for, nil for none.
func (w *worker) work(ctx context.Context, t *tenure, live *store.Entry) (due time.Time) {
	if w.view.contact == unseen || w.op != nil || w.session == nil {
		return time.Time{}
	}
	if live == nil {
		if w.unwanted && w.view.class != nil {
			return w.retry.or(w.s.now(), func() { w.delete(ctx, t, &storev1.Record{Recording: &classrecv1.Recording{Room: w.room}}) })
		}
		return time.Time{}
	}
	rec := live.Record
	switch stateOf(live) {
	case starting:
		return w.begin(ctx, t, rec)
	case recording:
		if w.view.class == nil {
			return w.retry.or(w.s.now(), func() { w.publish(ctx, t, rec) })
		}
		return w.lonely(ctx, rec)
	case stopping:
		if w.view.class == nil {
			w.apply(ctx, rec.GetId(), ended{gone: true})
			w.poke()
			return time.Time{}
		}
		return w.retry.or(w.s.now(), func() { w.delete(ctx, t, rec) })
	default:
	}
	return time.Time{}
}

// lonely ends a class that was begun again after its room had lost its state,
// when nobody has been in the room for [Config.AloneTime]: there is nobody left
// whom it could be for.
func (w *worker) lonely(ctx context.Context, rec *storev1.Record) (due time.Time) {
	since, alone := w.session.Alone()
	if !alone || !begunAgain(rec) {
		return time.Time{}
	}
	due = since.Add(w.s.cfg.AloneTime)
	if w.s.now().Before(due) {
		return due
	}
	w.s.logOf(rec).Info("the class was begun again in an empty room, and nobody has come: it is ended")
	w.apply(ctx, rec.GetId(), stopAsked{reason: classrecv1.EndReason_END_REASON_ENDED_WHILE_AWAY})
	w.poke()
	return time.Time{}
}

// begunAgain reports whether a recording is one of several parts, the last of
// them begun again by us.
func begunAgain(rec *storev1.Record) bool {
	return len(rec.GetRecordTs()) > 1 && rec.GetRecording().GetOrigin() == classrecv1.RecordingOrigin_RECORDING_ORIGIN_API &&
		slices.ContainsFunc(rec.GetRecording().GetGaps(), func(g *classrecv1.RecordingGap) bool { return g.GetUserId() == "" })
}

// begin publishes ClassBegin for a recording that is STARTING: once, and again
// only after a connection was lost on which it had been sent, and the room did
// not show it afterwards. An echo that does not come in time may yet come: until
// then, the recording stays STARTING.
func (w *worker) begin(ctx context.Context, t *tenure, rec *storev1.Record) (due time.Time) {
	id := rec.GetId()
	if w.view.class != nil && w.judged != id { // it was seen before the start was asked for
		w.begun(ctx, *w.view.class, true)
		w.poke()
		return time.Time{}
	}
	switch {
	case w.joinedAs != talkcloud.UserID(rec.GetJoin().GetUserId()):
	case w.view.ours.id == id && !w.view.ours.repeat:
	case w.s.now().After(rec.GetDeadline().AsTime()):
		// Asked for in another life, and not begun then: nobody waits for it.
		w.failStart(ctx, id, errStartTimeout(nil))
		w.poke()
	default:
		return w.retry.or(w.s.now(), func() { w.publish(ctx, t, rec) })
	}
	return time.Time{}
}

// publish sends ClassBegin with what the recording's own carried.
func (w *worker) publish(ctx context.Context, t *tenure, rec *storev1.Record) {
	id := rec.GetId()
	w.view.ours = publication{id: id, user: w.session.User(), data: rec.GetClassBeginData(), open: true}
	msg := talkcloud.ClassBegin{}.Message()
	msg.Data = talkcloud.TextData(rec.GetClassBeginData())
	w.operate(ctx, t, true,
		func(ctx context.Context, s *room.Session) (err error) {
			traced, end := w.s.trace(ctx, rec, "publish ClassBegin")
			defer func() { end(err) }()
			_, err = s.Publish(traced, msg)
			return err
		},
		func(err error) { w.unpublished(ctx, rec, err) })
}

// unpublished takes that a ClassBegin was not confirmed. Only a refusal says
// that it was not published.
func (w *worker) unpublished(ctx context.Context, rec *storev1.Record, err error) {
	unsure, log := isUnsure(err), w.s.logOf(rec)
	switch {
	case unsure && !isUnavailable(err):
		log.Info("ClassBegin is not confirmed yet", "error", err)
		return
	case unsure:
		w.view.ours.repeat = true // the room has been looked at since, or it was not sent
		log.Info("ClassBegin is published again", "error", err)
		return
	}
	w.view.ours.open = false
	if w.starts.Load() == 0 { // otherwise it ends a call, whose line has it
		log.Warn("ClassBegin is not published", "error", err)
	}
	w.failStart(ctx, rec.GetId(), err)
}

// isUnsure reports whether an error of publishing leaves open whether it was
// done, or whether it can be.
func isUnsure(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Kind == KindDeadlineExceeded || isUnavailable(err)) && !errors.As(err, new(*talkcloud.RefusedError))
}

func isUnavailable(err error) bool { return talkcloud.KindOf(err) == talkcloud.KindUnavailable }

// delete deletes ClassBegin, for a recording that is STOPPING, or for nobody's.
func (w *worker) delete(ctx context.Context, t *tenure, rec *storev1.Record) {
	w.operate(ctx, t, false,
		func(ctx context.Context, s *room.Session) (err error) {
			traced, end := w.s.trace(ctx, rec, "delete ClassBegin")
			defer func() { end(err) }()
			_, err = s.Delete(traced, talkcloud.ClassEnd())
			return err
		},
		func(err error) { w.s.logOf(rec).Warn("the delete of ClassBegin is not confirmed", "error", err) })
}

// operate has a child send something; failed is called in run. What it does is
// taken from the room's events alone, which are in order: it is over when that
// event has come by, or when it has failed.
func (w *worker) operate(ctx context.Context, t *tenure, adds bool, send func(context.Context, *room.Session) error, failed func(error)) { //nolint:contextcheck // t's is made of ctx
	waiting, end := context.WithCancel(t.ctx)
	op, session := &operation{adds: adds, end: end}, w.session
	w.op = op
	w.child(ctx, func() func() {
		err := send(waiting, session)
		end()
		return func() {
			if w.op != op || err == nil {
				return // the session is another one by now, the room another's, or the event is to come yet
			}
			w.op = nil
			err = public(err)
			w.trouble.Store(&err)
			w.retry.next(w.s.now())
			failed(err)
		}
	})
}

// sawEcho notes that the room's ClassBegin has come, or gone.
func (w *worker) sawEcho(added bool) {
	if w.op != nil && w.op.adds == added {
		w.endOp()
		w.retry = retry{}
	}
}

// endOp forgets what is under way.
func (w *worker) endOp() {
	if w.op != nil {
		w.op.end()
		w.op = nil
	}
}
