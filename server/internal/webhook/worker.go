// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	"github.com/classrec/classrec/server/internal/store"
)

const (
	pending   = adminv1.WebhookDeliveryState_WEBHOOK_DELIVERY_STATE_PENDING
	delivered = adminv1.WebhookDeliveryState_WEBHOOK_DELIVERY_STATE_DELIVERED
	failed    = adminv1.WebhookDeliveryState_WEBHOOK_DELIVERY_STATE_FAILED
)

const (
	// saveWait is how long a change of an endpoint's state waits for others to
	// be stored with it.
	saveWait = 500 * time.Millisecond
	// finishTimeout bounds how long storing the state at the end may take.
	finishTimeout = time.Second
	// storeWait is the pause before the store is tried again.
	storeWait = 500 * time.Millisecond
	// maxAgain bounds how many deliveries are pending because they were asked
	// for again; more of them wait in the store.
	maxAgain = 10_000
)

// errLost means that another process writes the state of the endpoint.
var errLost = errors.New("another process works for the endpoint")

// worker is one life of the work for an endpoint. The loop alone owns the
// schedule and the state. To it send the follower, who knows what is stored of
// the deliveries and what is asked for again; the reader, who takes events from
// the log; the attempts; and whoever saves the state.
type worker struct {
	*Dispatcher
	e     *endpoint
	lease *store.Lease
	log   *slog.Logger
	id    string // of this life, for whoever writes the state beside it

	stored   *storev1.WebhookEndpointState // the endpoint's state as stored
	revision uint64                        // of stored
	status   *adminv1.WebhookEndpointStatus
	schedule *schedule
	read     uint64 // all events up to here are in the schedule, or settled
	busy     int    // attempts under way
	down     bool   // the last attempt failed

	changes  chan *store.Delivery // from the follower; a nil: all that is kept has come
	arrivals chan arrival         // from the reader
	results  chan result          // from the attempts; never blocks them
	saves    chan saved           // takes one; nil when nothing is being saved
	failures chan error           // takes one: the follower could not begin
	running  sync.WaitGroup
}

// arrival is what the reader has found: the deliveries of a change that are not
// settled, or only that there is nothing else up to read.
type arrival struct {
	deliveries []*delivery
	read       uint64
	skipped    bool // the log did not have all that was before
}

type saved struct {
	state    *storev1.WebhookEndpointState
	revision uint64
	err      error
}

func newWorker(d *Dispatcher, e *endpoint, lease *store.Lease, log *slog.Logger) *worker {
	return &worker{
		Dispatcher: d,
		e:          e,
		lease:      lease,
		log:        log,
		id:         rand.Text(),
		schedule:   newSchedule(),
		changes:    make(chan *store.Delivery),
		arrivals:   make(chan arrival),
		results:    make(chan result, d.cfg.Parallel),
		failures:   make(chan error, 1),
	}
}

// run works until ctx ends or it cannot go on; then nothing of it runs any
// more.
func (w *worker) run(ctx context.Context) error {
	if err := w.claim(ctx); err != nil {
		return err
	}
	defer w.e.count.pending.Store(0)
	inner, cancel := context.WithCancel(ctx)
	// What is being sent when ctx ends may come to its end, and what is known
	// then is stored: each in its time.
	sending, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	storing, stopStoring := context.WithCancel(context.WithoutCancel(ctx))
	defer w.running.Wait()
	defer stopStoring()
	defer stopSending()
	defer cancel()
	w.running.Go(func() { w.follow(inner) })
	err := w.loop(inner, sending, storing)
	cancel()
	defer time.AfterFunc(w.cfg.Grace, stopSending).Stop()
	defer time.AfterFunc(w.cfg.Grace+finishTimeout, stopStoring).Stop()
	for w.busy > 0 {
		err = errors.Join(err, w.end(<-w.results))
	}
	if !errors.Is(err, errLost) {
		w.finish(storing)
	}
	return err
}

// claim reads how far the endpoint has come, and makes its state this worker's:
// whoever worked before finds out when he next writes it.
func (w *worker) claim(ctx context.Context) (err error) {
	if w.stored, w.revision, err = w.e.state.Endpoint(ctx, w.e.Name); err != nil {
		return err
	}
	w.status = w.stored.GetStatus()
	if w.status == nil {
		w.status = new(adminv1.WebhookEndpointStatus)
	}
	w.read = w.stored.GetCursor()
	w.stored = proto.CloneOf(w.stored)
	w.stored.Writer = w.id
	w.revision, err = w.e.state.PutEndpoint(ctx, w.stored, w.revision)
	return err
}

// loop works until ctx ends, or it cannot go on.
func (w *worker) loop(ctx, sending, storing context.Context) error {
	r, err := w.takeStock(ctx)
	if err != nil {
		return err
	}
	w.running.Go(func() { r.run(ctx) })
	save := time.NewTicker(saveWait)
	defer save.Stop()
	for {
		w.send(sending, storing)
		w.e.count.pending.Store(int64(len(w.schedule.pending)))
		arrivals, changes := w.arrivals, w.changes
		if w.schedule.window >= w.cfg.Window {
			arrivals = nil
		}
		if len(w.schedule.pending)-w.schedule.window >= maxAgain {
			changes = nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case a := <-arrivals:
			w.arrive(a)
		case d := <-changes:
			w.change(d)
		case r := <-w.results:
			if err := w.end(r); err != nil {
				return err
			}
		case s := <-w.saves:
			if err := w.saved(s); err != nil {
				return err
			}
		case <-save.C:
			if w.lease.State() == store.Lost {
				return errLost
			}
			w.save(storing)
		case <-w.due():
		}
	}
}

// takeStock reads what is stored of the deliveries. Those that are pending
// though the cursor has passed them are taken up: they were asked for again, or
// a crash has taken back that they were settled. The others are for the reader.
func (w *worker) takeStock(ctx context.Context) (*reader, error) {
	r := &reader{worker: w, after: w.read, settled: make(map[string]event), known: make(map[string]*store.Delivery)}
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case err := <-w.failures:
			return nil, err
		case d := <-w.changes:
			if d == nil {
				return r, nil
			}
			isPending := d.Record.GetDelivery().GetState() == pending
			switch after := d.Record.GetRevision() > w.read; {
			case after && isPending:
				r.known[d.Record.GetId()] = d
			case after:
				r.settled[d.Record.GetId()] = eventOf(d.Record)
			case isPending:
				w.schedule.add(newDelivery(d, nil))
			}
		}
	}
}

// follow tells the loop what is stored of the deliveries, and each change.
func (w *worker) follow(ctx context.Context) {
	began, revision := false, uint64(0)
	for ctx.Err() == nil {
		changed := w.e.state.Changed()
		found, err := w.e.state.ChangedSince(ctx, w.e.Name, revision, maxPageSize)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !began: // the work cannot begin without
			w.failures <- err
			return
		case err != nil:
			w.log.Warn("webhooks: the deliveries cannot be followed; trying again", "error", err)
			pause(ctx, storeWait)
			continue
		}
		if len(found) < maxPageSize && !began {
			began = true
			found = append(found, nil)
		}
		for _, d := range found {
			select {
			case w.changes <- d:
			case <-ctx.Done():
				return
			}
			if d != nil {
				revision = d.Revision
			}
		}
		if len(found) >= maxPageSize {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// arrive takes in what the reader has found.
func (w *worker) arrive(a arrival) {
	for _, d := range a.deliveries {
		w.schedule.add(d)
	}
	w.read = a.read
	if a.skipped {
		w.status.SkipCount++
		w.e.count.skipped.Add(1)
	}
}

// change takes in what somebody has stored. What this process has stored itself
// it knows; what is asked for again has not been tried since.
func (w *worker) change(d *store.Delivery) {
	if d == nil || !isAsked(d.Record) {
		return
	}
	known := w.schedule.pending[d.Record.GetId()]
	switch {
	case known == nil:
		w.schedule.add(newDelivery(d, nil))
	case !proto.Equal(known.record.GetDelivery().GetRedeliverTime(), d.Record.GetDelivery().GetRedeliverTime()):
		w.schedule.again(known, d)
	}
}

// isAsked tells a delivery that was asked for again and not tried since.
func isAsked(rec *storev1.WebhookDeliveryRecord) bool {
	d := rec.GetDelivery()
	return d.GetState() == pending && d.GetRedeliverTime() != nil && rec.GetTries() == 0
}

// due returns a channel that gets a value when something is to be sent.
func (w *worker) due() <-chan time.Time {
	at, ok := w.schedule.next()
	if !ok || w.busy >= w.cfg.Parallel || w.lease.State() != store.Held {
		return nil // each save is an occasion to look again
	}
	return time.After(time.Until(at))
}

// send begins the attempts that are due, unless another replica may be about to
// do so.
func (w *worker) send(ctx, storing context.Context) {
	for w.busy < w.cfg.Parallel && w.lease.State() == store.Held {
		d := w.schedule.take(time.Now())
		if d == nil {
			return
		}
		w.busy++
		w.running.Go(func() { w.results <- w.attempt(ctx, storing, d) })
	}
}

// end takes in what came of an attempt.
func (w *worker) end(r result) error {
	w.busy--
	if r.tried {
		w.count(r)
	}
	settled := false
	switch {
	case r.stored != nil:
		r.d.take(r.stored)
		state := r.stored.Record.GetDelivery()
		settled = state.GetState() != pending
		if state.GetState() == failed {
			w.e.count.givenUp.Add(1)
			about(w.log, r.d.record).Warn("webhooks: an event is given up", "error", state.GetLastError())
		}
	case !r.later.IsZero():
		r.d.due = r.later
	}
	if again := r.d.again; again != nil {
		r.d.again = nil
		if again.Revision > r.d.revision {
			r.d.take(again)
			settled = false
		}
	}
	w.schedule.done(r.d, settled)
	return r.err
}

// count keeps what is told of the endpoint.
func (w *worker) count(r result) {
	at := timestamppb.New(r.at)
	if r.answer.delivered() {
		w.e.count.delivered.Add(1)
		w.status.LastSuccessTime = at
		if w.down {
			w.log.Info("webhooks: the endpoint takes events again")
		}
		w.down = false
		return
	}
	w.e.count.failed.Add(1)
	w.status.LastFailureTime, w.status.LastError = at, r.answer.err
	if !w.down {
		w.log.Warn("webhooks: the endpoint does not take events; trying again", "error", r.answer.err)
	}
	w.down = true
}

// present is the endpoint's state as it is now.
func (w *worker) present() *storev1.WebhookEndpointState {
	cursor, oldest := w.schedule.progress(w.read)
	status := proto.CloneOf(w.status)
	status.PendingCount = int32(min(len(w.schedule.pending), 1<<30))
	status.ReadSequence = store.SequenceOf(w.read)
	status.OldestPendingTime = nil
	if oldest != nil {
		status.OldestPendingTime = oldest.record.GetDelivery().GetEventTime()
	}
	return &storev1.WebhookEndpointState{Tenant: w.e.Tenant, Endpoint: w.e.Name, Cursor: cursor, Status: status, Writer: w.id}
}

// save begins to store the state, when it has changed.
func (w *worker) save(ctx context.Context) {
	state, revision := w.present(), w.revision
	if w.saves != nil || proto.Equal(state, w.stored) {
		return
	}
	saves := make(chan saved, 1)
	w.saves = saves
	w.running.Go(func() { saves <- w.put(ctx, state, revision) })
}

func (w *worker) put(ctx context.Context, state *storev1.WebhookEndpointState, revision uint64) saved {
	stored, err := w.e.state.PutEndpoint(ctx, state, revision)
	if errors.Is(err, store.ErrConflict) {
		now, at, readErr := w.e.state.Endpoint(ctx, w.e.Name)
		switch {
		case readErr != nil:
			err = readErr
		case now.GetWriter() == w.id: // it was stored before, and the answer was lost
			stored, err = w.e.state.PutEndpoint(ctx, state, at)
		default:
			err = errLost
		}
	}
	return saved{state: state, revision: stored, err: err}
}

// saved ends a save.
func (w *worker) saved(s saved) error {
	w.saves = nil
	switch {
	case s.err == nil:
		w.stored, w.revision = s.state, s.revision
	case errors.Is(s.err, errLost):
		return s.err
	default:
		w.log.Warn("webhooks: the state of the endpoint cannot be stored; trying again", "error", s.err)
	}
	return nil
}

// finish stores what is known at the end.
func (w *worker) finish(ctx context.Context) {
	if w.saves != nil {
		if w.saved(<-w.saves) != nil {
			return
		}
	}
	state := w.present()
	if proto.Equal(state, w.stored) {
		return
	}
	if s := w.put(ctx, state, w.revision); s.err != nil {
		w.log.Warn("webhooks: the state of the endpoint could not be stored; some events will be sent again", "error", s.err)
	}
}

// pause waits; false when ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
