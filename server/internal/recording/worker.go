// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// worker is the one goroutine that works a room. Everything below "owned by
// run" belongs to it; what takes time runs in children that hand back a
// function for run to call.
type worker struct {
	s    *Service
	room string
	log  *slog.Logger

	pokes    chan struct{}     // holds at most one: look at the store again
	entering chan enterRequest // from calls; never closed
	taken    chan *store.Entry // from Run: an unfinished recording of the last life
	results  chan func()       // from children; never closed
	gone     chan struct{}     // closed when run has ended
	children sync.WaitGroup
	holders  int          // calls that need the worker; guarded by Service.mu
	watchers atomic.Int64 // calls that need the room to be joined for as long as they last
	trouble  atomic.Pointer[error]

	// owned by run
	session  *room.Session
	sub      *room.Subscription
	joinedAs talkcloud.UserID // the identity that the session was asked for with
	joining  bool
	retry    retry
	synced   bool               // the session has told what is in the room
	lost     bool               // the room came back without its state
	away     time.Time          // since when the connection is gone; zero when it is there
	class    *talkcloud.Message // ClassBegin as it is in the room; nil when there is none
	op       *operation         // what is being published or deleted; nil when nothing is
	sent     string             // the recording for which ClassBegin was last published
	resumed  string             // the recording that was STARTING when the last life ended
	carried  string             // the recording that was RECORDING when the last life ended, until the room is seen
	grace    time.Time          // until then, look whether it began after all
	evicted  bool               // the recording's own identity is somebody else's now
	waiting  []enterRequest
	password talkcloud.Secret // with which the room was last entered
	polling  map[string]bool  // recordings whose files are being looked for
	idle     time.Time        // since when nothing needs the room; zero when something does
}

// enterRequest asks for the room to be joined.
type enterRequest struct {
	password talkcloud.Secret
	watching bool       // and to be stayed in, until watchers is counted down
	done     chan error // gets one answer; has room for it
}

// passwordOr returns the request's password, or otherwise where it has none.
func (r enterRequest) passwordOr(otherwise talkcloud.Secret) talkcloud.Secret {
	return cmp.Or(r.password, otherwise)
}

func newWorker(s *Service, roomID string) *worker {
	return &worker{
		s: s, room: roomID,
		log:      s.cfg.Logger.With("tenant", s.cfg.Tenant, "room", roomID),
		pokes:    make(chan struct{}, 1),
		entering: make(chan enterRequest),
		taken:    make(chan *store.Entry),
		results:  make(chan func()),
		gone:     make(chan struct{}),
		polling:  map[string]bool{},
	}
}

// poke makes the worker look at the store again.
func (w *worker) poke() {
	select {
	case w.pokes <- struct{}{}:
	default:
	}
}

// enter returns once the room is joined and what is in it is stored. taken says
// that the worker has the request: who is watching then counts watchers down.
func (w *worker) enter(ctx context.Context, password talkcloud.Secret, watching bool) (taken bool, err error) {
	req := enterRequest{password: password, watching: watching, done: make(chan error, 1)}
	select {
	case w.entering <- req:
	case <-w.gone:
		return false, errNotRunning()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	select {
	case err := <-req.done:
		return true, err
	case <-w.gone:
		return true, errNotRunning()
	case <-ctx.Done():
		return true, ctx.Err()
	}
}

// settle returns when the worker has done with what it was at.
func (w *worker) settle(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case w.results <- func() { close(done) }:
		<-done
		return nil
	case <-w.gone:
		return errNotRunning()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// takeUp hands over a recording of the last life. The caller holds the worker.
func (w *worker) takeUp(e *store.Entry) {
	select {
	case w.taken <- e:
	case <-w.gone:
	}
}

// lastTrouble returns why the room cannot be worked now, or nil.
func (w *worker) lastTrouble() error {
	if p := w.trouble.Load(); p != nil {
		return *p
	}
	return nil
}

func (w *worker) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		w.leave()
		w.children.Wait()
		w.s.forget(w)
		close(w.gone)
	}()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		due, done := w.step(ctx)
		if done {
			return
		}
		timer.Reset(until(due))
		select {
		case <-ctx.Done():
			return
		case <-w.pokes:
		case <-timer.C:
		case req := <-w.entering:
			if req.watching {
				w.watchers.Add(1)
			}
			w.retry.at = time.Time{} // somebody waits for it
			w.waiting = append(w.waiting, req)
		case e := <-w.taken:
			w.resume(ctx, e)
		case report := <-w.results:
			report()
		case ev, ok := <-w.events():
			if !ok {
				w.resubscribe()
				continue
			}
			w.observe(ctx, ev)
		}
	}
}

// until returns how long to sleep for a time; a zero time is far away.
func until(at time.Time) time.Duration {
	if at.IsZero() {
		return time.Hour
	}
	return max(0, time.Until(at))
}

// child runs work in a goroutine of its own, and what it returns in run.
func (w *worker) child(ctx context.Context, work func() func()) {
	w.children.Add(1)
	go func() {
		defer w.children.Done()
		report := work()
		select {
		case w.results <- report:
		case <-ctx.Done():
		}
	}()
}

// step does what the present state asks for. It returns when to look again,
// and whether the worker's work is done.
func (w *worker) step(ctx context.Context) (due time.Time, done bool) {
	live := w.live()
	if live != nil && w.overdue(ctx, live) {
		live = w.live()
	}
	if w.synced {
		w.answer(nil)
	}
	needed := live != nil || len(w.waiting) > 0 || w.watchers.Load() > 0
	if needed {
		w.idle = time.Time{}
		due = sooner(due, w.beInRoom(ctx, live))
	} else {
		if w.idle.IsZero() {
			w.idle = time.Now()
		}
		switch end := w.idle.Add(w.s.cfg.Linger); {
		case w.session == nil && !w.joining && len(w.polling) == 0:
			return due, w.s.retire(w)
		case w.session != nil && !time.Now().Before(end):
			w.leave()
			w.poke()
		case w.session != nil:
			due = sooner(due, end)
		}
	}
	if live != nil {
		due = sooner(due, w.work(ctx, live))
		due = sooner(due, w.deadline(live))
	}
	return due, false
}

func sooner(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// deadline returns when a recording is out of time; zero for never.
func (w *worker) deadline(e *store.Entry) time.Time {
	d := e.Record.GetDeadline()
	switch {
	case d == nil:
		return time.Time{}
	case e.Record.GetId() == w.resumed && d.AsTime().Before(w.grace):
		return w.grace
	}
	return d.AsTime()
}

// overdue moves a recording whose deadline has passed.
func (w *worker) overdue(ctx context.Context, live *store.Entry) bool {
	at := w.deadline(live)
	if at.IsZero() || time.Now().Before(at) {
		return false
	}
	rec := live.Record
	switch rec.GetRecording().GetState() {
	case starting:
		w.failStart(ctx, rec.GetId(), errStartTimeout(w.lastTrouble()))
	case recording:
		w.apply(ctx, rec.GetId(), stopAsked{reason: classrecv1.EndReason_END_REASON_MAX_DURATION})
	case stopping:
		w.apply(ctx, rec.GetId(), outOfTime{})
	default:
		return false
	}
	return true
}

// live returns the room's live recording, nil when there is none.
func (w *worker) live() *store.Entry {
	live, _ := w.s.store.Live(w.s.cfg.Tenant, w.room)
	return live
}

// isStarting tells a live recording whose begin is not confirmed.
func isStarting(live *store.Entry) bool { return live != nil && stateOf(live) == starting }

func (w *worker) failStart(ctx context.Context, id string, err error) {
	w.apply(ctx, id, startFailed{status: w.s.cfg.Status(err)})
}

// resume takes up a recording of the last life.
func (w *worker) resume(ctx context.Context, e *store.Entry) {
	switch e.Record.GetRecording().GetState() {
	case starting:
		w.resumed, w.grace = e.Record.GetId(), time.Now().Add(w.s.cfg.StartTimeout)
	case recording:
		w.carried = e.Record.GetId()
	case processing:
		w.poll(ctx, e)
	default:
	}
}

// apply changes a recording by what happened, and stores it. It tries until
// the store takes it or ctx ends: what happened is not forgotten because the
// store is slow.
func (w *worker) apply(ctx context.Context, id string, ev event) {
	w.persist(ctx, func() error {
		e, changed, err := w.s.change(ctx, w.room, id, ev)
		if err != nil || !changed {
			return err
		}
		w.log.Info("recording is "+stateWord(e.Record), "recording", e.Record.GetRecording().GetName(), "request_id", e.Record.GetRequestId(), "sequence", sequenceOf(e.Revision))
		if stateOf(e) == processing {
			w.evicted = false
			w.poll(ctx, e)
		}
		return nil
	})
}

// persist calls write until it succeeds or ctx ends.
func (w *worker) persist(ctx context.Context, write func() error) {
	var r retry
	for {
		err := write()
		switch {
		case err == nil, ctx.Err() != nil:
			return
		case errors.Is(err, store.ErrConflict):
			continue // somebody else wrote in between: look again
		case errors.Is(err, store.ErrNotFound):
			w.log.Error("recording is not in the store", "error", err)
			return
		}
		r.next()
		w.log.Error("cannot store", "error", err, "attempt", r.attempt)
		select {
		case <-time.After(until(r.at)):
		case <-ctx.Done():
			return
		}
	}
}
