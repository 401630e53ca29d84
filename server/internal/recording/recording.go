// SPDX-License-Identifier: Apache-2.0

// Package recording is the domain: what a recording is, how it lives, and who
// may change it.
//
// A call never drives a room. It writes what it wants to the store (STARTING,
// STOPPING) and waits for the recording to leave that state. Each room has at
// most one worker, a goroutine that alone talks to the room and alone writes
// progress: what it does is decided by the stored state and by what it sees in
// the room, never by who asked. A start, a crash, a dropped connection and a
// class begun by the teacher's own client therefore take one path. The
// decisions are pure functions (transition.go), tested as a table.
//
// It guarantees that what a call has returned is stored, that a room has at
// most one live recording, that one request_id starts at most one recording,
// and that every state but the final ones has a deadline (reconcile.go). It
// leaves storing to package store, connections to package room, the wire to
// package talkcloud, and error codes to package service.
package recording

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Service holds the recordings of one tenant. Its methods may be called from
// any goroutine; they answer UNAVAILABLE unless [Service.Run] is running.
type Service struct {
	cfg      Config
	store    *store.Store
	rooms    *room.Manager
	platform *talkcloud.Client
	pollers  pollers
	late     latecomers
	nudges   chan nudge    // for other replicas; never closed
	looks    chan struct{} // holds one for each worker that is looking; never closed

	begun chan struct{} // closed when Run is running for the first time
	begin sync.Once

	mu      sync.Mutex
	ctx     context.Context // of Run; nil when it is not running
	beat    atomic.Int64    // when the supervisor last began a turn, in Unix nanoseconds
	since   uint64          // the log's last sequence when Run began
	workers map[string]*worker
	running sync.WaitGroup
}

// New returns a service that keeps its recordings in st, enters rooms through
// rooms and reads the record list through platform. The caller retains
// ownership of all three, and closes them after Run has returned.
func New(st *store.Store, rooms *room.Manager, platform *talkcloud.Client, cfg Config) *Service {
	if cfg.Fetchable == nil {
		cfg.Fetchable = platform.CheckFile
	}
	cfg = cfg.withDefaults()
	return &Service{
		cfg:      cfg,
		store:    st,
		rooms:    rooms,
		platform: platform,
		nudges:   make(chan nudge, maxNudges),
		looks:    make(chan struct{}, cfg.MaxLooks),
		begun:    make(chan struct{}),
		workers:  map[string]*worker{},
	}
}

// Run takes up every recording that is not finished, and serves until ctx
// ends. It returns nil when all workers have stopped; what they were at is
// stored, and is taken up by the next Run.
func (s *Service) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	if s.ctx != nil {
		s.mu.Unlock()
		return errors.New("recording: Run is running already")
	}
	s.ctx, s.since = ctx, s.store.LastSequence()
	s.mu.Unlock()
	s.begin.Do(func() { close(s.begun) })

	s.store.Answer(s.cfg.Tenant, s.answer) //nolint:contextcheck // each answer has its own
	var beside sync.WaitGroup
	beside.Go(func() { newReconciler(s).run(ctx) })
	beside.Go(func() { s.forwardNudges(ctx) })
	beside.Go(func() { s.lookForLate(ctx) })
	s.supervise(ctx)
	beside.Wait()

	s.mu.Lock()
	s.ctx = nil
	s.mu.Unlock()
	s.running.Wait()
	return nil
}

// purpose is what a worker is held for.
type purpose int

const (
	needed purpose = iota // for what has begun: there is always place
	asked                 // a call asks for the room: there has to be place
	look                  // a stop comes by, to see whether a class is on
)

// hold returns the worker of a room, which runs until it is released by all
// and has nothing to do.
func (s *Service) hold(roomID string) (*worker, error) {
	w, _, err := s.holdFor(roomID, needed)
	return w, err
}

// holdToLook is hold for a room of which nothing is known. No limit refuses that;
// so that nobody gets any number of rooms by it, whoever is too many waits until
// others have looked.
func (s *Service) holdToLook(ctx context.Context, roomID string) (*worker, error) {
	s.mu.Lock()
	if w := s.workers[roomID]; w != nil {
		w.holders++
		s.mu.Unlock()
		return w, nil
	}
	running := s.ctx
	s.mu.Unlock()
	if running == nil {
		return nil, errNotRunning()
	}
	select {
	case s.looks <- struct{}{}:
	case <-running.Done():
		return nil, errNotRunning()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	w, begun, err := s.holdFor(roomID, look)
	if !begun {
		<-s.looks
	}
	return w, err
}

// holdFor is hold for a purpose; begun tells that the room was not worked before.
func (s *Service) holdFor(roomID string, why purpose) (w *worker, begun bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil || s.ctx.Err() != nil {
		return nil, false, errNotRunning()
	}
	w, ok := s.workers[roomID]
	if !ok || why == asked && w.looking.Load() {
		leave, err := s.cfg.Admission.Room(why == asked)
		if err != nil {
			return nil, false, public(err)
		}
		if ok {
			w.place()
		} else {
			w = newWorker(s, roomID)
			w.looking.Store(why == look)
			s.workers[roomID] = w
			s.running.Add(1)
			go func(ctx context.Context) {
				defer s.running.Done()
				w.run(ctx)
			}(s.ctx)
		}
		w.place = leave
	}
	if why != look {
		w.settle()
	}
	w.holders++
	return w, !ok, nil
}

func (s *Service) release(w *worker) {
	s.mu.Lock()
	w.holders--
	s.mu.Unlock()
	w.poke()
}

// retire forgets the worker, unless somebody holds it.
func (s *Service) retire(w *worker) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.holders > 0 {
		return false
	}
	delete(s.workers, w.room)
	w.place()
	w.settle()
	return true
}

// forget removes a worker whose context has ended.
func (s *Service) forget(w *worker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.workers[w.room] == w {
		delete(s.workers, w.room)
		w.place()
		w.settle()
	}
}

// Begun is closed when Run has begun to take calls.
func (s *Service) Begun() <-chan struct{} { return s.begun }

// Serving tells whether calls are taken: Run is running.
func (s *Service) Serving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ctx != nil && s.ctx.Err() == nil
}

// Idle returns how long ago the loop began a turn that looks after all
// recordings, which it does every Config.SuperviseEvery; 0 when Run is not
// running. It takes no lock, so that it can tell of one that is never given back.
func (s *Service) Idle() time.Duration {
	if at := s.beat.Load(); at != 0 {
		return time.Since(time.Unix(0, at))
	}
	return 0
}

// Rooms returns how many rooms have a worker now.
func (s *Service) Rooms() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.workers)
}

// change stores what an event makes of a recording, whatever others write in
// between: as the room's worker, or, with no lease, as a call that says what is
// wanted. changed is false when the event means nothing in its state; the entry
// is the present one in either case.
func (s *Service) change(ctx context.Context, lease *store.Lease, roomID, id string, ev event) (e *store.Entry, changed bool, err error) {
	for {
		if e, err = s.store.Get(ctx, s.cfg.Tenant, roomID, id); err != nil {
			return nil, false, err
		}
		rec := next(e.Record, ev, s.now(), s.cfg.limits())
		if rec == nil {
			return e, false, nil
		}
		if e.Record.GetEvent().GetAction() == classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD && rec.GetAddSequence() == 0 {
			rec.AddSequence = e.Revision
		}
		before := e.Record
		e, err = s.append(ctx, lease, rec, e.Revision)
		if err == nil {
			s.cfg.Hooks.changed(before, rec, s.now())
		}
		if !errors.Is(err, store.ErrConflict) {
			return e, err == nil, err
		}
	}
}

// append stores a record as the room's worker, or, with no lease, as a call.
func (s *Service) append(ctx context.Context, lease *store.Lease, rec *storev1.Record, revision uint64) (*store.Entry, error) {
	var e *store.Entry
	var err error
	if lease == nil {
		e, err = s.store.Append(ctx, rec, revision)
	} else {
		e, err = s.store.AppendAs(ctx, lease, rec, revision)
	}
	if err == nil {
		call(s.cfg.Hooks.Stored, e.Record)
	}
	return e, err
}

// A call waits for what has to be stored no longer than storePatience while the
// log cannot be written; it looks every storeLook whether that is so.
const (
	storePatience = 5 * time.Second
	storeLook     = time.Second
)

// wait returns the recording once until says so. It gives up when the log cannot
// be written for long: then nobody can store what is waited for.
func (s *Service) wait(ctx context.Context, e *store.Entry, until func(*store.Entry) bool) (*store.Entry, error) {
	var failing time.Time // since when, as far as we have seen
	for {
		rec := e.Record
		look, cancel := context.WithTimeout(ctx, storeLook)
		now, err := s.store.Wait(look, rec.GetTenant(), rec.GetRecording().GetRoom(), rec.GetId(), until)
		over := look.Err() != nil
		cancel()
		if err == nil || ctx.Err() != nil || !over {
			return now, err
		}
		switch err := s.store.Err(); {
		case err == nil:
			failing = time.Time{}
		case failing.IsZero():
			failing = time.Now()
		case time.Since(failing) >= storePatience:
			return nil, err
		}
	}
}

// now is the time of day.
func (s *Service) now() time.Time { return s.cfg.Clock.Now().UTC() }

// until returns how long to sleep for a time; a zero time is far away.
func (s *Service) until(at time.Time) time.Duration {
	if at.IsZero() {
		return time.Hour
	}
	return max(0, s.cfg.Clock.Until(at))
}
