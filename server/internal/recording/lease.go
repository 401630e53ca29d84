// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"context"
	"errors"
	"time"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	"github.com/classrec/classrec/server/internal/store"
)

const (
	// remoteStay is for how long a room is stayed in for the watchers of
	// another replica, unless that asks again; it does at a third of it.
	remoteStay = 15 * time.Second
	// releaseTimeout bounds giving a lease back at the end. Who cannot, is
	// taken for dead soon.
	releaseTimeout = 2 * time.Second
)

// tenure is a time in which a worker holds its room's lease and others still
// count on it. Only then does it act in the room.
type tenure struct {
	lease *store.Lease
	ctx   context.Context // ends when the lease is lost, or may be
	end   context.CancelFunc
}

// check ends the tenure when the lease is not held any more, or when we cannot
// tell. It may be called from any goroutine.
func (t *tenure) check() {
	if t.lease.State() != store.Held {
		t.end()
	}
}

// term returns the present tenure, nil when there is none: then the room is
// not acted in.
func (w *worker) term(ctx context.Context) *tenure {
	t := w.tenure.Load()
	if t == nil {
		return nil
	}
	t.check()
	if t.ctx.Err() == nil {
		return t
	}
	w.endOp() // what was under way was cut off; the room tells what came of it
	switch t.lease.State() {
	case store.Held:
		return w.serve(ctx, t.lease) // nobody took it while we were in doubt
	case store.Suspended:
		return nil // but stay in the room: we may be back before anyone else
	case store.Lost:
		w.log.Info("leaving the room to another process")
		w.quit()
	}
	return nil
}

func (w *worker) serve(ctx context.Context, lease *store.Lease) *tenure {
	t := &tenure{lease: lease}
	t.ctx, t.end = context.WithCancel(ctx)
	w.tenure.Store(t)
	return t
}

// quit forgets all that belongs to a tenure.
func (w *worker) quit() {
	if t := w.tenure.Load(); t != nil {
		t.end()
	}
	w.tenure.Store(nil)
	w.leave()
	w.retry, w.view, w.unwanted = retry{}, roomView{}, false
}

// lease returns what to write as; nil without a tenure.
func (w *worker) lease() *store.Lease {
	if t := w.tenure.Load(); t != nil {
		return t.lease
	}
	return nil
}

// follow is what the worker does without the lease: get it when it is free and
// wanted; else have its holder do what is wanted.
func (w *worker) follow(ctx context.Context) (due time.Time, done bool) {
	if w.tenure.Load() != nil {
		// The lease is in doubt, as the log is: who calls is to try again, here or elsewhere.
		w.answer(public(store.ErrUnavailable))
		return time.Time{}, false
	}
	if w.acquiring {
		return time.Time{}, false
	}
	watched, until := w.watched()
	holder, alive := w.s.store.Holder(w.s.cfg.Tenant, w.room)
	mine := !alive || holder == w.s.store.ReplicaID()
	switch {
	case len(w.waiting) == 0 && !watched && (!mine || len(w.s.store.UnfinishedIn(w.s.cfg.Tenant, w.room)) == 0):
		return until, w.s.retire(w)
	case w.s.now().Before(w.leasing.at):
		return w.leasing.at, false
	case mine:
		w.acquire(ctx)
		return time.Time{}, false
	}
	return sooner(until, w.delegate(ctx, holder)), false
}

func (w *worker) acquire(ctx context.Context) {
	w.acquiring = true
	w.children.Go(func() {
		lease, err := w.s.store.Acquire(ctx, w.s.cfg.Tenant, w.room)
		select {
		case w.results <- func() { w.acquired(ctx, lease, err) }:
		case <-ctx.Done():
			if err == nil {
				w.release(lease) //nolint:contextcheck // ctx has ended; what it got has to be given back
			}
		}
	})
}

func (w *worker) acquired(ctx context.Context, lease *store.Lease, err error) {
	w.acquiring = false
	switch {
	case err == nil:
		w.leasing, w.began = retry{}, w.s.now()
		w.serve(ctx, lease)
		if live := w.live(); live != nil && (lease.Resumed(live) || live.Revision <= w.s.since) {
			w.resume(live)
		}
	case errors.Is(err, store.ErrLeased), errors.Is(err, store.ErrConflict):
		w.poke() // somebody was faster: look again
	default:
		w.leasing.next(w.s.now())
		w.answer(public(err))
	}
}

// retire gives the lease back and ends the worker, unless it is needed after
// all.
func (w *worker) retire(ctx context.Context, t *tenure) (due time.Time, done bool) {
	if w.s.now().Before(w.leasing.at) {
		return w.leasing.at, false
	}
	switch err := t.lease.Release(ctx); {
	case err == nil:
		w.leasing = retry{}
		w.quit()
		return time.Time{}, w.s.retire(w)
	case errors.Is(err, store.ErrConflict):
		w.poke()
		return time.Time{}, false
	}
	w.leasing.next(w.s.now())
	return w.leasing.at, false
}

// resign gives the lease back when the process stops, so that another can go on
// at once.
func (w *worker) resign() {
	if t := w.tenure.Load(); t != nil {
		t.end()
		w.release(t.lease)
	}
}

// release gives a lease back, whatever is written in the room meanwhile.
func (w *worker) release(lease *store.Lease) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	for {
		err := lease.Release(ctx)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			w.log.Warn("cannot give the room back; others will take it when they miss us", "error", err)
		}
		return
	}
}

// delegate has the holder of the lease enter the room for our calls, and stay
// for our watchers.
func (w *worker) delegate(ctx context.Context, holder string) (due time.Time) {
	for _, req := range w.waiting {
		w.child(ctx, func() func() {
			err := w.s.askEnter(ctx, holder, w.room, req)
			return func() {
				if errors.Is(err, store.ErrUnavailable) { // it has died, or has it no more
					w.leasing.next(w.s.now())
					w.waiting = append(w.waiting, req)
					return
				}
				w.leasing = retry{}
				req.done <- err
			}
		})
	}
	w.waiting = nil
	if w.watchers.Load() == 0 || w.asking {
		return time.Time{}
	}
	if again := w.asked.Add(remoteStay / 3); w.s.now().Before(again) {
		return again
	}
	w.asking = true
	w.child(ctx, func() func() {
		err := w.s.askEnter(ctx, holder, w.room, enterRequest{watching: true})
		return func() {
			w.asking, w.asked = false, w.s.now()
			if err != nil {
				w.log.Warn("the process that has the room does not stay in it for our watchers; asking again", "holder", holder, "error", err)
			}
		}
	})
	return time.Time{}
}

// askEnter has another replica enter the room. What is in it is stored then,
// and shown by the store here too. The error wraps store.ErrUnavailable when
// somebody else is to be asked.
func (s *Service) askEnter(ctx context.Context, holder, roomID string, req enterRequest) error {
	sealed, err := s.cfg.Key.seal(roomID, req.password)
	if err != nil {
		return public(err)
	}
	raw, err := proto.Marshal(&storev1.EnterRequest{Tenant: s.cfg.Tenant, Room: roomID, SealedPassword: sealed, Watching: req.watching})
	if err != nil {
		return public(err)
	}
	answer, err := s.store.Ask(ctx, s.cfg.Tenant, holder, raw)
	if err != nil {
		return err
	}
	resp := new(storev1.EnterResponse)
	if err := proto.Unmarshal(answer, resp); err != nil {
		return public(err)
	}
	if resp.GetElsewhere() {
		return store.ErrUnavailable
	}
	if resp.GetStatus().GetCode() != 0 {
		return failed(resp.GetStatus())
	}
	return public(s.store.Sync(ctx))
}

// answer takes an EnterRequest of another replica.
func (s *Service) answer(ctx context.Context, raw []byte) []byte {
	req, resp := new(storev1.EnterRequest), new(storev1.EnterResponse)
	switch err := proto.Unmarshal(raw, req); {
	case err != nil || req.GetTenant() != s.cfg.Tenant:
		resp.Elsewhere = true
	case req.GetNudge() != storev1.Nudge_NUDGE_UNSPECIFIED:
		s.nudge(nudge{req.GetRoom(), req.GetNudge()})
	default:
		resp.Elsewhere, resp.Status = s.enterFor(ctx, req)
	}
	out, err := proto.Marshal(resp)
	if err != nil {
		return nil
	}
	return out
}

func (s *Service) enterFor(ctx context.Context, req *storev1.EnterRequest) (elsewhere bool, st *statuspb.Status) {
	if holder, _ := s.store.Holder(s.cfg.Tenant, req.GetRoom()); holder != s.store.ReplicaID() {
		return true, nil
	}
	w, err := s.hold(req.GetRoom())
	if err != nil {
		return true, nil
	}
	defer s.release(w)
	password, err := s.cfg.Key.open(req.GetRoom(), req.GetSealedPassword())
	if err != nil {
		return false, s.cfg.Status(public(err))
	}
	if req.GetWatching() {
		w.remote.Store(s.now().Add(remoteStay).UnixNano())
	}
	if _, err := w.enter(ctx, password, false); err != nil {
		return false, s.cfg.Status(public(err))
	}
	return false, nil
}
