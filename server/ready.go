// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

const (
	// readyEvery is how often readiness is looked at for gRPC health and the
	// metric; /readyz looks when it is asked, but no more often than readyLeast.
	readyEvery = 2 * time.Second
	readyLeast = 250 * time.Millisecond
	// readyTimeout bounds one look at each of what is looked at. A disk that takes
	// longer is not one to record on.
	readyTimeout = 3 * time.Second
	// aliveWithin is how long the loop that looks after all recordings may take
	// for one turn, which is begun every 2 s, until the process counts as stuck.
	aliveWithin = time.Minute
	// holdAgainst is for how long a change that the log did not take makes us not
	// ready.
	holdAgainst = 10 * time.Second
	// probeName is the file in the data directory that is written to see whether
	// it can be.
	probeName = "probe"
)

// readiness knows whether calls can be served.
type readiness struct {
	mu      sync.Mutex
	looked  time.Time
	last    error
	probing chan struct{}          // holds one while the data directory is written to
	waiting atomic.Pointer[string] // what the start waits for
}

// wait says what the start waits for; "": for nothing in particular.
func (r *readiness) wait(what string) { r.waiting.Store(&what) }

var errNotServing = errors.New("the server is starting or stopping")

// ready says whether calls can be served; an error has all reasons against it,
// one a line, and is for everybody to see.
func (s *Server) ready(ctx context.Context) error {
	r := &s.readiness
	if what := r.waiting.Load(); what != nil && *what != "" {
		return errors.New("the server is starting: " + *what)
	}
	if !s.serving.Load() {
		return errNotServing
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.looked) < readyLeast {
		return r.last
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	// Each is asked at the same time: the one must not use up the other's.
	disk := make(chan error, 1)
	go func() { disk <- r.probe(ctx, s.cfg.path(probeName)) }()
	var log error
	if s.store != nil {
		log = s.storeReady(ctx)
	}
	err := errors.Join(<-disk, log)
	if !s.serving.Load() {
		return errNotServing
	}
	r.last, r.looked = err, time.Now()
	return err
}

// storeReady says whether the database takes changes. One that was refused is held
// against it for a while only: were nobody sent here, nobody would find out that
// it takes them again.
func (s *Server) storeReady(ctx context.Context) error {
	state, err := s.store.State(ctx)
	switch {
	case err != nil:
		return errors.New("the database cannot be read: it does not answer")
	case !state.Writable:
		return errors.New("the database cannot be written: it is a standby")
	case s.store.Failing(time.Now().Add(-holdAgainst)) != nil:
		return errors.New("the database cannot be written")
	}
	return nil
}

// probe writes a small file to the disk. A disk that hangs holds one goroutine,
// however often it is asked.
func (r *readiness) probe(ctx context.Context, path string) error {
	select {
	case r.probing <- struct{}{}:
	default:
		return errors.New("the data directory cannot be written: an earlier write hangs")
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-r.probing }()
		done <- writeProbe(path)
	}()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("the data directory cannot be written: %w", err)
		}
		return nil
	case <-ctx.Done():
		return errors.New("the data directory cannot be written: it takes too long")
	}
}

// writeProbe writes, and syncs what it writes. It writes beside the file of the
// last time, which it then replaces: were that one cut off and written again, it
// would get its own space back, also where there is no other. Its errors do not
// tell paths.
func writeProbe(path string) error {
	next := path + ".new"
	err := func() error {
		f, err := os.OpenFile(next, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		_, err = f.WriteString("classrecd writes here to see whether it can\n")
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			return err
		}
		return os.Rename(next, path)
	}()
	if err == nil {
		return nil
	}
	_ = os.Remove(next) // it may not be there
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	var between *os.LinkError
	if errors.As(err, &between) {
		return between.Err
	}
	return err
}

// isReady is what was last known.
func (s *Server) isReady() bool {
	s.readiness.mu.Lock()
	defer s.readiness.mu.Unlock()
	return s.serving.Load() && s.readiness.last == nil
}

// processAlive says that the process is not stuck.
func (s *Server) processAlive() error {
	if !s.serving.Load() {
		return nil
	}
	for _, t := range s.tenants {
		if idle := t.recordings.Idle(); idle > aliveWithin {
			return fmt.Errorf("the loop that looks after recordings has not turned for %s", idle.Round(time.Second))
		}
	}
	return nil
}

// openReadiness makes gRPC health follow readiness.
func (s *Server) openReadiness(context.Context) error {
	log := s.cfg.Logger.With("part", "readiness")
	s.parts.add(part{name: "readiness", run: func(ctx context.Context) error {
		tick := time.NewTicker(readyEvery)
		defer tick.Stop()
		was := ""
		for {
			if err := s.ready(ctx); ctx.Err() == nil {
				status, is := healthv1.HealthCheckResponse_SERVING, ""
				if err != nil {
					status, is = healthv1.HealthCheckResponse_NOT_SERVING, err.Error()
				}
				for _, g := range s.grpcServers() {
					g.setHealth(status)
				}
				switch {
				case is != "" && was == "":
					log.Warn("not ready", "error", is)
				case is == "" && was != "":
					log.Info("ready again")
				}
				was = is
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
		}
	}})
	return nil
}
