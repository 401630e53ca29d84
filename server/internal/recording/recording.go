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
// and that no state but RECORDING lasts for ever. It leaves storing to package
// store, connections to package room, the wire to package talkcloud, and error
// codes to package service.
package recording

import (
	"context"
	"errors"
	"sync"
	"time"

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
	requests keyedMutex // by request id: look-up and intent are one step

	mu      sync.Mutex
	ctx     context.Context // of Run; nil when it is not running
	workers map[string]*worker
	running sync.WaitGroup
}

// New returns a service that keeps its recordings in st, enters rooms through
// rooms and reads the record list through platform. The caller retains
// ownership of all three, and closes them after Run has returned.
func New(st *store.Store, rooms *room.Manager, platform *talkcloud.Client, cfg Config) *Service {
	return &Service{
		cfg:      cfg.withDefaults(),
		store:    st,
		rooms:    rooms,
		platform: platform,
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
	s.ctx = ctx
	s.mu.Unlock()

	for _, e := range s.store.Unfinished() {
		if e.Record.GetTenant() != s.cfg.Tenant {
			continue
		}
		w, err := s.hold(e.Record.GetRecording().GetRoom())
		if err != nil {
			break
		}
		w.takeUp(e)
		s.release(w)
	}
	<-ctx.Done()

	s.mu.Lock()
	s.ctx = nil
	s.mu.Unlock()
	s.running.Wait()
	return nil
}

// hold returns the worker of a room, which runs until it is released by all
// and has nothing to do.
func (s *Service) hold(roomID string) (*worker, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil || s.ctx.Err() != nil {
		return nil, errNotRunning()
	}
	w, ok := s.workers[roomID]
	if !ok {
		w = newWorker(s, roomID)
		s.workers[roomID] = w
		s.running.Add(1)
		go func(ctx context.Context) {
			defer s.running.Done()
			w.run(ctx)
		}(s.ctx)
	}
	w.holders++
	return w, nil
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
	return true
}

// forget removes a worker whose context has ended.
func (s *Service) forget(w *worker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.workers[w.room] == w {
		delete(s.workers, w.room)
	}
}

// Serving tells whether calls are taken: Run is running.
func (s *Service) Serving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ctx != nil && s.ctx.Err() == nil
}

// Rooms returns how many rooms have a worker now.
func (s *Service) Rooms() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.workers)
}

// keyedMutex is a mutex for each key; a key that nobody holds costs nothing.
type keyedMutex struct {
	mu    sync.Mutex
	locks map[string]*keyLock
}

type keyLock struct {
	held  chan struct{} // holds one token while locked
	users int
}

// lock waits for the key, and returns how to unlock it.
func (k *keyedMutex) lock(ctx context.Context, key string) (unlock func(), err error) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*keyLock{}
	}
	l, ok := k.locks[key]
	if !ok {
		l = &keyLock{held: make(chan struct{}, 1)}
		k.locks[key] = l
	}
	l.users++
	k.mu.Unlock()

	leave := func() {
		k.mu.Lock()
		if l.users--; l.users == 0 {
			delete(k.locks, key)
		}
		k.mu.Unlock()
	}
	select {
	case l.held <- struct{}{}:
		return func() { <-l.held; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// change stores what an event makes of a recording, whatever others write in
// between. changed is false when the event means nothing in its state; the
// entry is the present one in either case.
func (s *Service) change(ctx context.Context, roomID, id string, ev event) (e *store.Entry, changed bool, err error) {
	lim := limits{stop: s.cfg.StopDeadline, processing: s.cfg.ProcessingTimeout}
	for {
		revision := s.store.RoomRevision(s.cfg.Tenant, roomID)
		if e, err = s.store.Get(s.cfg.Tenant, roomID, id); err != nil {
			return nil, false, err
		}
		rec := next(e.Record, ev, now(), lim)
		if rec == nil {
			return e, false, nil
		}
		if e.Record.GetEvent().GetAction() == classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD && rec.GetAddSequence() == 0 {
			rec.AddSequence = e.Revision
		}
		e, err = s.store.Append(ctx, rec, revision)
		if !errors.Is(err, store.ErrConflict) {
			return e, err == nil, err
		}
	}
}

// wait returns the recording once until says so.
func (s *Service) wait(ctx context.Context, e *store.Entry, until func(*store.Entry) bool) (*store.Entry, error) {
	rec := e.Record
	return s.store.Wait(ctx, rec.GetTenant(), rec.GetRecording().GetRoom(), rec.GetId(), until)
}

func now() time.Time { return time.Now().UTC() }
