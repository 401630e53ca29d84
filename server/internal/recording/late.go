// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"context"
	"sync"
	"time"

	"github.com/classrec/classrec/server/internal/store"
)

// A platform that does not say when a recording is finished may list files later
// than it seems to be, and may list the same files under new URLs. So recordings
// that are over are looked at a few times more, with pauses that grow, and
// whenever a list shows something else of them.

const (
	// firstLook is when the first of these looks is; each of the next ones is four
	// times as late: after 1, 4, 16, 64 and 256 minutes.
	firstLook = time.Minute
	maxLooks  = 5
	// maxLate is how many recordings wait for a look. When there are more, the newest
	// are not looked at: a list finds what is late too.
	maxLate = 10_000
)

// latecomers are the recordings to be looked at again. The zero value is ready.
type latecomers struct {
	mu  sync.Mutex
	due map[lateKey]lateLook
}

type lateKey struct{ room, id string }

type lateLook struct {
	at    time.Time
	tries int
}

// add has a recording looked at from now on.
func (l *latecomers) add(roomID, id string, now time.Time) {
	l.put(lateKey{roomID, id}, lateLook{at: now.Add(firstLook)})
}

func (l *latecomers) put(key lateKey, look lateLook) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.due == nil {
		l.due = map[lateKey]lateLook{}
	}
	if _, known := l.due[key]; !known && len(l.due) >= maxLate {
		return
	}
	l.due[key] = look
}

// take returns those whose time has come, and removes them.
func (l *latecomers) take(now time.Time) map[lateKey]lateLook {
	l.mu.Lock()
	defer l.mu.Unlock()
	ready := map[lateKey]lateLook{}
	for key, look := range l.due {
		if !now.Before(look.at) {
			ready[key] = look
			delete(l.due, key)
		}
	}
	return ready
}

// lookForLate looks, one recording at a time, until ctx ends.
func (s *Service) lookForLate(ctx context.Context) {
	tick := time.NewTicker(s.cfg.LateEvery)
	defer tick.Stop()
	for {
		moved := s.cfg.Clock.Moved()
		select {
		case <-tick.C:
		case <-moved:
		case <-ctx.Done():
			return
		}
		for key, look := range s.late.take(s.now()) {
			if ctx.Err() != nil {
				return
			}
			e, err := s.store.Get(ctx, s.cfg.Tenant, key.room, key.id)
			if err != nil || !isFinal(stateOf(e)) {
				continue
			}
			s.takeLate(ctx, e)
			if look.tries++; look.tries < maxLooks {
				look.at = s.now().Add(firstLook << (2 * look.tries))
				s.late.put(key, look)
			}
		}
	}
}

// takeLate asks the platform for the files of a recording that is over, and takes
// in what is new.
func (s *Service) takeLate(ctx context.Context, e *store.Entry) {
	bounded, cancel := context.WithTimeout(ctx, fileCheckTimeout)
	defer cancel()
	found, err := s.findFiles(bounded, e.Record)
	if err != nil {
		s.logOf(e.Record).Debug("the platform cannot be asked for files that come late", "error", err)
		return
	}
	s.takeIn(bounded, e, found)
}

// takeIn takes what is listed into a recording that is over: files that are new,
// once they can be fetched, and new URLs of those that are known.
func (s *Service) takeIn(ctx context.Context, e *store.Entry, found findings) {
	r := e.Record.GetRecording()
	known := r.GetFiles()
	files, fresh := merged(known, found.files)
	if len(fresh) > 0 || r.GetState() == failedSt {
		look := search{s: s, rec: e.Record, told: true}
		look.files = fresh
		if r.GetState() == failedSt {
			look.files = files
		}
		if look.fetchable(ctx) != nil {
			return
		}
	}
	if len(files) == 0 || sameURLs(files, known) && r.GetState() != failedSt {
		return
	}
	_, changed, err := s.change(ctx, nil, r.GetRoom(), e.Record.GetId(), relisted{files: files, warnings: found.warnings})
	if err != nil {
		s.logOf(e.Record).Warn("files that came late cannot be stored", "error", err)
		return
	}
	if changed {
		s.logOf(e.Record).Info("the platform lists the files of a recording otherwise than before", "new", len(fresh), "files", len(files))
	}
}
