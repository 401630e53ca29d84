// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

const (
	// aliveEvery is how often a server notes that it is alive, and so how much
	// later than that it may have died.
	aliveEvery = time.Second
	// maxLives is how many earlier servers are remembered. One that dies young
	// has not gone on with what an earlier one recorded, so the last is not
	// enough.
	maxLives = 64
)

// alive is a directory with a file for each server that has run on the same
// data: its name says when that began, in nanoseconds, and its time of change
// when it was last alive. Nothing is synced: what is lost with the machine makes
// a gap in a recording begin early, and nothing else.
type alive struct {
	dir   string
	log   *slog.Logger
	began time.Time
	lives []life // earlier ones, the oldest first
	err   bool   // the log knows that it cannot be noted
}

// life is one run of a server.
type life struct{ began, last time.Time }

// load reads the earlier lives, and forgets the oldest.
func (a *alive) load() {
	entries, err := os.ReadDir(a.dir) // sorted: all names have one length
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Warn("cannot read when the server was last alive; gaps in recordings will have no beginning", "error", err)
	}
	for i, e := range entries {
		if i < len(entries)-maxLives {
			_ = os.Remove(filepath.Join(a.dir, e.Name())) // or at the next start
			continue
		}
		nanos, err := strconv.ParseInt(e.Name(), 10, 64)
		if err != nil {
			continue
		}
		if info, err := e.Info(); err == nil {
			a.lives = append(a.lives, life{began: time.Unix(0, nanos), last: info.ModTime()})
		}
	}
}

// lastAfter returns when the server that was alive at a time was last alive;
// zero when that is not known, as for a nil a.
func (a *alive) lastAfter(at time.Time) time.Time {
	if a == nil {
		return time.Time{}
	}
	for i := len(a.lives) - 1; i >= 0; i-- {
		if !a.lives[i].began.After(at) {
			return a.lives[i].last
		}
	}
	return time.Time{}
}

// run notes it until ctx ends, and then once more.
func (a *alive) run(ctx context.Context) error {
	tick := time.NewTicker(aliveEvery)
	defer tick.Stop()
	for {
		a.note()
		select {
		case <-tick.C:
		case <-ctx.Done():
			a.note()
			return nil
		}
	}
}

func (a *alive) note() {
	now := time.Now()
	path := filepath.Join(a.dir, strconv.FormatInt(a.began.UnixNano(), 10))
	err := os.Chtimes(path, now, now)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(a.dir, 0o700); err == nil {
			err = os.WriteFile(path, nil, 0o600)
		}
	}
	if err != nil && !a.err {
		a.log.Warn("cannot note that the server is alive; gaps in recordings will begin too early", "error", err)
	}
	a.err = err != nil
}

// openAlive comes when the embedded platform is there, and so stops before it
// does: with it ends what is recorded.
func (s *Server) openAlive() {
	s.alive = &alive{dir: s.cfg.path("lives"), log: s.cfg.Logger.With("part", "alive"), began: time.Now()}
	s.alive.load()
	s.parts.add(part{name: "note of being alive", run: s.alive.run})
}
