// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"context"
	"time"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/store"
)

// reconciler is the second line of defense against recordings that last for
// ever. Workers keep the deadlines; it looks at the store now and then for what
// has outlived its deadline all the same.
type reconciler struct {
	s       *Service
	overdue map[string]time.Time // by id: since when it is seen to be out of time
}

func newReconciler(s *Service) *reconciler {
	return &reconciler{s: s, overdue: map[string]time.Time{}}
}

// run looks every so often, until ctx ends.
func (r *reconciler) run(ctx context.Context) {
	tick := time.NewTicker(r.s.cfg.ReconcileEvery)
	defer tick.Stop()
	for {
		moved := r.s.cfg.Clock.Moved()
		select {
		case <-tick.C:
			r.look(ctx)
		case <-moved:
			r.look(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// look moves the recordings that have been out of time for longer than a worker
// needs. The time counts from when it was first seen: of the last life's
// recordings, workers have yet to learn. What another process works, that one
// looks after.
func (r *reconciler) look(ctx context.Context) {
	still := make(map[string]time.Time, len(r.overdue))
	for _, e := range r.s.store.Unfinished() {
		if e.Record.GetTenant() != r.s.cfg.Tenant || ctx.Err() != nil {
			continue
		}
		if holder, alive := r.s.store.Holder(r.s.cfg.Tenant, e.Record.GetRecording().GetRoom()); alive && holder != r.s.store.ReplicaID() {
			continue
		}
		now := r.s.now()
		if now.Before(deadlineOf(e.Record, r.s.cfg.limits())) {
			continue
		}
		since, seen := r.overdue[e.Record.GetId()]
		if !seen {
			since = now
		}
		still[e.Record.GetId()] = since
		if now.Sub(since) >= r.s.cfg.ReconcileGrace+r.s.cfg.grace(stateOf(e)) {
			r.s.reconcile(ctx, e)
		}
	}
	r.overdue = still
}

// handOver is how long a worker may take to begin with what the reconciler wants.
const handOver = 5 * time.Second

// reconcile moves a recording that is out of time: by its worker, which goes on
// from there, or, should that not answer, without it.
func (s *Service) reconcile(ctx context.Context, e *store.Entry) {
	rec := e.Record
	w, err := s.hold(rec.GetRecording().GetRoom())
	if err != nil {
		return // Run is ending
	}
	defer s.release(w)
	ev := s.outOfTime(rec, w.lastTrouble())
	if ev == nil {
		return
	}
	s.logOf(rec).Warn("recording has outlived its deadline; it is moved on", "state", stateWord(rec), "sequence", store.SequenceOf(e.Revision))
	if w.hand(ctx, func() { w.apply(ctx, rec.GetId(), ev) }) || ctx.Err() != nil {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, handOver)
	defer cancel()
	if _, _, err := s.change(bounded, nil, rec.GetRecording().GetRoom(), rec.GetId(), ev); err != nil {
		s.logOf(rec).Error("cannot move it on", "error", err)
	}
}

// hand has the worker's goroutine do something; false says that it will not.
func (w *worker) hand(ctx context.Context, do func()) bool {
	bounded, cancel := context.WithTimeout(ctx, handOver)
	defer cancel()
	select {
	case w.results <- do:
		return true
	case <-w.gone:
	case <-bounded.Done():
	}
	return false
}

// outOfTime returns what happens to a recording whose deadline has passed, nil
// when its state has none. trouble is what kept it, nil when that is not known.
func (s *Service) outOfTime(rec *storev1.Record, trouble error) event {
	switch rec.GetRecording().GetState() {
	case starting:
		return startFailed{status: s.cfg.Status(errStartTimeout(trouble))}
	case recording:
		if rec.GetUnwanted() {
			return stopAsked{reason: classrecv1.EndReason_END_REASON_START_FAILED}
		}
		return stopAsked{reason: classrecv1.EndReason_END_REASON_MAX_DURATION}
	case stopping:
		return outOfTime{}
	case processing:
		return notListed{status: s.cfg.Status(errFilesNotListed(trouble))}
	default:
		return nil
	}
}
