// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// worker is the one goroutine of this process that works a room: it acts there
// while it holds the room's lease (lease.go). Everything below "owned by run"
// belongs to it; what takes time runs in children that hand back a function for
// run to call.
type worker struct {
	s    *Service
	room string
	log  *slog.Logger

	pokes    chan struct{}     // holds at most one: look at the store again
	entering chan enterRequest // from calls; never closed
	results  chan func()       // from children; never closed
	gone     chan struct{}     // closed when run has ended
	children sync.WaitGroup
	place    func()                 // gives its place among the rooms back; called with Service.mu held
	holders  int                    // calls that need the worker; guarded by Service.mu
	starts   atomic.Int32           // calls of Start: a start that fails ends one of them, whose line has the error
	watchers atomic.Int64           // calls that need the room to be joined for as long as they last
	looking  atomic.Bool            // it has one of Service.looks: nothing but a stop wants it
	remote   atomic.Int64           // until when another replica's calls do, in Unix nanoseconds
	tenure   atomic.Pointer[tenure] // nil while another process has the room; written by run
	nudged   atomic.Bool            // somebody says that there may be something to see in the room
	trouble  atomic.Pointer[error]
	storing  atomic.Pointer[storing] // nil unless run waits for the store

	// owned by run
	began     time.Time // when it got the room
	acquiring bool      // the lease is asked for
	leasing   retry     // when it was not to be had
	asking    bool      // the holder is asked to stay in the room
	asked     time.Time
	presence                   // in the room, since it was joined
	joinedAs  talkcloud.UserID // the identity that the session was asked for with
	joining   bool
	retry     retry
	view      roomView
	op        *operation // what is being published or deleted; nil when nothing is
	judged    string     // the recording that is STARTING for which the class that is on was looked at
	unwanted  bool       // the class that is on is of nobody's recording, and ours: it is to be deleted
	waiting   []enterRequest
	password  talkcloud.Secret // with which the room was last entered
	polling   map[string]bool  // recordings whose files are being looked for
	heeded    time.Time        // when nudged last had an effect
	due       time.Time        // when run looks again, whatever happens
	idle      time.Time        // since when nothing needs the room; zero when something does
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
		results:  make(chan func()),
		gone:     make(chan struct{}),
		began:    s.now(),
		polling:  map[string]bool{},
	}
}

// settle gives the place of a look back: the worker is there for more than that,
// or is gone.
func (w *worker) settle() {
	if w.looking.CompareAndSwap(true, false) {
		<-w.s.looks
	}
}

// poke makes the worker look at the store again.
func (w *worker) poke() {
	select {
	case w.pokes <- struct{}{}:
	default:
	}
}

// enter returns once the room is joined and what is in it is stored, or when the
// log takes nothing for [storePatience]. taken says that the worker has the
// request: who is watching then counts watchers down.
func (w *worker) enter(ctx context.Context, password talkcloud.Secret, watching bool) (taken bool, err error) {
	req := enterRequest{password: password, watching: watching, done: make(chan error, 1)}
	look := time.NewTicker(storeLook)
	defer look.Stop()
	for entering := w.entering; ; {
		select {
		case entering <- req:
			entering, taken = nil, true
		case err := <-req.done:
			return taken, err
		case <-w.gone:
			return taken, errNotRunning()
		case <-ctx.Done():
			return taken, ctx.Err()
		case <-look.C:
			if st := w.storing.Load(); st != nil && w.s.cfg.Clock.Since(st.since) > storePatience {
				return taken, fmt.Errorf("the room waits for the log: %w", store.ErrUnavailable)
			}
		}
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
	observing, end := outlasting(ctx, w.s.cfg.Grace)
	defer end()
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		w.finish(observing)
		w.leave()
		w.children.Wait()
		w.resign() //nolint:contextcheck // it outlives ctx
		w.s.forget(w)
		close(w.gone)
	}()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		moved := w.s.cfg.Clock.Moved()
		due, done := w.step(ctx)
		if done {
			return
		}
		w.due = due
		timer.Reset(w.s.until(due))
		select {
		case <-ctx.Done():
			return
		case <-w.pokes:
		case <-timer.C:
		case <-moved:
		case req := <-w.entering:
			if req.watching {
				w.watchers.Add(1)
			}
			w.retry.at = time.Time{} // somebody waits for it
			w.waiting = append(w.waiting, req)
		case report := <-w.results:
			report()
		case ev, ok := <-w.events():
			if !ok {
				w.resubscribe()
				continue
			}
			w.observe(observing, ev)
		}
	}
}

// outlasting is a context that ends so much later than ctx.
func outlasting(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	later, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(by, cancel) })
	return later, func() {
		stop()
		cancel()
	}
}

// finish takes what the session has seen until now, as far as ctx lasts.
func (w *worker) finish(ctx context.Context) {
	if w.sub == nil {
		return
	}
	w.sub.Close()
	for ev := range w.sub.C {
		if ctx.Err() != nil || w.lease() == nil || w.sub == nil {
			return
		}
		w.observe(ctx, ev)
	}
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
	t := w.term(ctx)
	if t == nil {
		return w.follow(ctx)
	}
	heed := w.heed() //nolint:contextcheck // what it hurries ends with its session
	live := w.live()
	if live != nil && w.overdue(ctx, live) {
		live = w.live()
	}
	for _, e := range w.s.store.UnfinishedIn(w.s.cfg.Tenant, w.room) {
		if stateOf(e) == processing {
			w.poll(ctx, t, e)
		}
	}
	if w.view.contact != unseen {
		w.answer(nil)
	}
	watched, until := w.watched()
	if doubting, end := w.doubting(live); doubting {
		watched, until = true, sooner(until, end)
	}
	if live != nil || watched || len(w.polling) > 0 {
		w.settle()
	}
	if live != nil || len(w.waiting) > 0 || watched {
		w.idle = time.Time{}
		due = sooner(until, w.beInRoom(ctx, t, live))
	} else {
		if w.idle.IsZero() {
			w.idle = w.s.now()
		}
		switch end := w.idle.Add(w.s.cfg.Linger); {
		case w.session == nil && !w.joining && len(w.polling) == 0:
			return w.retire(ctx, t)
		case w.session != nil && !w.s.now().Before(end):
			w.leave()
			w.poke()
		case w.session != nil:
			due = sooner(due, end)
		}
	}
	due = sooner(due, w.work(ctx, t, live))
	if live != nil {
		due = sooner(due, w.deadline(live))
	}
	return sooner(due, heed), false
}

// watched tells whether calls need the room to be joined for as long as they
// last, and when to look again, if not only at a poke.
func (w *worker) watched() (watched bool, until time.Time) {
	if remote := time.Unix(0, w.remote.Load()); w.s.now().Before(remote) {
		return true, remote
	}
	return w.watchers.Load() > 0, time.Time{}
}

func sooner(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// deadline returns when a recording is out of time. What was asked for before
// the worker began is tried before it is given up.
func (w *worker) deadline(e *store.Entry) time.Time {
	at := deadlineOf(e.Record, w.s.cfg.limits())
	if due := w.began.Add(w.s.cfg.grace(stateOf(e))); at.Before(due) {
		return due
	}
	return at
}

// overdue moves a recording whose deadline has passed.
func (w *worker) overdue(ctx context.Context, live *store.Entry) bool {
	at := w.deadline(live)
	if w.s.now().Before(at) {
		return false
	}
	ev := w.s.outOfTime(live.Record, w.lastTrouble())
	if ev == nil {
		return false
	}
	if stateOf(live) == starting && w.view.ours.id == live.Record.GetId() && w.view.ours.open {
		w.view.doubt, w.view.again = w.s.now().Add(w.s.cfg.DoubtTime), true // its echo may come yet
	}
	w.apply(ctx, live.Record.GetId(), ev)
	return true
}

// live returns the room's live recording, nil when there is none.
func (w *worker) live() *store.Entry {
	live, _ := w.s.store.Live(w.s.cfg.Tenant, w.room)
	return live
}

// liveRecord is the record of live, nil when there is none.
func (w *worker) liveRecord() *storev1.Record {
	if live := w.live(); live != nil {
		return live.Record
	}
	return nil
}

// isStarting tells a live recording whose begin is not confirmed.
func isStarting(live *store.Entry) bool { return live != nil && stateOf(live) == starting }

func (w *worker) failStart(ctx context.Context, id string, err error) {
	w.apply(ctx, id, startFailed{status: w.s.cfg.Status(err)})
}

// resume takes up the room's live recording, on which another process has
// worked, or this one in its last life.
func (w *worker) resume(e *store.Entry) { w.view.taken, w.view.unmet = e.Record.GetId(), true }

// apply changes a recording by what happened, and stores it. It tries until
// the store takes it, the lease is lost or ctx ends: what happened is not
// forgotten because the store is slow.
func (w *worker) apply(ctx context.Context, id string, ev event) {
	lease := w.lease()
	if lease == nil {
		return // it came late: the room is another's
	}
	log := w.log
	if e, err := w.s.store.Get(ctx, w.s.cfg.Tenant, w.room, id); err == nil {
		log = w.s.logOf(e.Record)
	}
	w.persist(ctx, log, func() error {
		e, changed, err := w.s.change(ctx, lease, w.room, id, ev)
		if err != nil || !changed {
			return err
		}
		w.s.logOf(e.Record).Info("recording is "+stateWord(e.Record), "sequence", store.SequenceOf(e.Revision))
		if stateOf(e) == processing {
			w.view.evicted = false
			w.poke()
		}
		return nil
	})
}

// persist calls write until it succeeds, the lease is lost or ctx ends.
func (w *worker) persist(ctx context.Context, log *slog.Logger, write func() error) {
	var r retry
	begun := w.s.now()
	defer w.storing.Store(nil)
	for {
		w.storing.Store(&storing{since: begun, attempt: r.attempt, err: r.err})
		err := write()
		switch {
		case err == nil, ctx.Err() != nil:
			return
		case errors.Is(err, store.ErrFenced):
			log.Info("another process has the room")
			w.poke()
			return
		case errors.Is(err, store.ErrConflict):
			continue // somebody else wrote in between: look again
		case errors.Is(err, store.ErrNotFound):
			log.Error("recording is not in the store", "error", err)
			return
		case errors.Is(err, store.ErrRoomLive):
			log.Info("another recording of the room has begun meanwhile")
			w.poke() // it is to be judged by what is in the room
			return
		case errors.Is(err, store.ErrInvalid):
			log.Error("it cannot be stored, and never will be: it is passed over", "error", err)
			return
		}
		r.next(w.s.now())
		r.err = err
		log.Error("cannot store", "error", err, "attempt", r.attempt)
		select {
		case <-time.After(w.s.until(r.at)):
		case <-ctx.Done():
			return
		}
	}
}
