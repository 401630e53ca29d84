// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"maps"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
)

// Somebody outside may say that there is something to see: the platform calls
// back. Nobody knows who it was, so a nudge only ends waiting: what is looked at
// is what would have been looked at anyway, and what is found there is what
// counts. A room that has nothing unfinished is not entered for a nudge.

// nudge is one of them, for a room.
type nudge struct {
	room string
	kind storev1.Nudge
}

// FilesMayBeThere makes those who look for files of the room's recordings look
// at once, and often again. Config.NudgeEvery bounds how often it has an effect.
// It does not block. Where another process works the room, it is told.
func (s *Service) FilesMayBeThere(roomID string) {
	s.nudgeAnywhere(nudge{roomID, storev1.Nudge_NUDGE_FILES})
}

// ClassMayHaveChanged makes the room's worker, if there is one, come back to the
// room at once where it is away. Config.NudgeEvery bounds how often it has an
// effect. It does not block. Where another process works the room, it is told.
func (s *Service) ClassMayHaveChanged(roomID string) {
	s.nudgeAnywhere(nudge{roomID, storev1.Nudge_NUDGE_CLASS})
}

// nudgeAnywhere nudges who works the room, here or in another process. One for
// another is dropped when there are too many: it would only have saved waiting.
func (s *Service) nudgeAnywhere(n nudge) {
	if s.elsewhere(n.room) == "" {
		s.nudge(n)
		return
	}
	select {
	case s.nudges <- n:
	default:
	}
}

// elsewhere returns which other replica works a room; "" for none.
func (s *Service) elsewhere(roomID string) (replica string) {
	if holder, alive := s.store.Holder(s.cfg.Tenant, roomID); alive && holder != s.store.ReplicaID() {
		return holder
	}
	return ""
}

// nudge does it here.
func (s *Service) nudge(n nudge) {
	if n.kind == storev1.Nudge_NUDGE_FILES {
		s.pollers.nudge(n.room, s.now(), s.cfg.NudgeEvery)
		return
	}
	s.mu.Lock()
	w, ok := s.workers[n.room]
	s.mu.Unlock()
	if ok && !w.nudged.Swap(true) {
		w.poke()
	}
}

const (
	// maxNudges is how many nudges may wait to be forwarded, and of how many it
	// is remembered when they were.
	maxNudges = 1000
	// nudgeTimeout bounds the forwarding of one.
	nudgeTimeout = 2 * time.Second
)

// forwardNudges tells other replicas of nudges for their rooms, one at a time,
// until ctx ends. Of several of one room within Config.NudgeEvery, it tells one.
func (s *Service) forwardNudges(ctx context.Context) {
	told := map[nudge]time.Time{}
	for {
		var n nudge
		select {
		case n = <-s.nudges:
		case <-ctx.Done():
			return
		}
		now := s.now()
		if len(told) >= maxNudges {
			maps.DeleteFunc(told, func(_ nudge, at time.Time) bool { return now.Sub(at) >= s.cfg.NudgeEvery })
		}
		if now.Sub(told[n]) < s.cfg.NudgeEvery || len(told) >= maxNudges {
			continue
		}
		told[n] = now
		if err := s.forward(ctx, n); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Debug("a nudge is lost", "tenant", s.cfg.Tenant, "room", n.room, "error", err)
		}
	}
}

func (s *Service) forward(ctx context.Context, n nudge) error {
	replica := s.elsewhere(n.room)
	if replica == "" {
		s.nudge(n) // it has come to us meanwhile
		return nil
	}
	raw, err := proto.Marshal(&storev1.EnterRequest{Tenant: s.cfg.Tenant, Room: n.room, Nudge: n.kind})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, nudgeTimeout)
	defer cancel()
	_, err = s.store.Ask(ctx, s.cfg.Tenant, replica, raw)
	return err
}

// heed does what a nudge is for. It returns when to look again for one that has
// come too early.
func (w *worker) heed() (due time.Time) {
	if !w.nudged.Load() {
		return time.Time{}
	}
	now := w.s.now()
	if due := w.heeded.Add(w.s.cfg.NudgeEvery); now.Before(due) {
		return due
	}
	w.heeded = now
	w.nudged.Store(false)
	w.retry.at = time.Time{}
	if w.session != nil {
		w.session.Hurry()
	}
	return time.Time{}
}

// pollers are those who look for files, by room. The zero value is ready.
type pollers struct {
	mu    sync.Mutex
	rooms map[string]map[*poller]struct{}
}

// poller is one who looks for the files of one recording.
type poller struct {
	id     string        // of the recording
	nudges chan struct{} // holds at most one

	// Guarded by pollers.mu.
	last   time.Time // when it was last nudged
	looked looked
}

// looked is what a poller has done so far.
type looked struct {
	times int
	next  time.Time // when it looks next, unless it is nudged
	err   error     // of the last look
}

// enter adds somebody who looks for files in a room until leave is called.
func (p *pollers) enter(roomID, id string) (one *poller, leave func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rooms == nil {
		p.rooms = map[string]map[*poller]struct{}{}
	}
	if p.rooms[roomID] == nil {
		p.rooms[roomID] = map[*poller]struct{}{}
	}
	one = &poller{id: id, nudges: make(chan struct{}, 1)}
	p.rooms[roomID][one] = struct{}{}
	return one, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.rooms[roomID], one)
		if len(p.rooms[roomID]) == 0 {
			delete(p.rooms, roomID)
		}
	}
}

// note keeps what a look has come to, and when the next is.
func (p *pollers) note(one *poller, next time.Time, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one.looked.times++
	one.looked.next, one.looked.err = next, err
}

// in returns what those who look for files in a room have done, by recording id.
func (p *pollers) in(roomID string) map[string]looked {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[string]looked, len(p.rooms[roomID]))
	for one := range p.rooms[roomID] {
		all[one.id] = one.looked
	}
	return all
}

// nudge nudges all who look for files in a room. One that comes too soon after
// another is forgotten: after that, they look often anyway.
func (p *pollers) nudge(roomID string, now time.Time, every time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for one := range p.rooms[roomID] {
		if now.Sub(one.last) < every {
			continue
		}
		one.last = now
		select {
		case one.nudges <- struct{}{}:
		default:
		}
	}
}

// Derive makes a key for another purpose, which tells nothing of this one.
func (k Key) Derive(purpose string) Key {
	mac := hmac.New(sha256.New, k[:])
	mac.Write([]byte(purpose))
	return Key(mac.Sum(nil))
}
