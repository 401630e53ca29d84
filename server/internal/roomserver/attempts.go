// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// attempts slows down whoever tries passwords of a room: after attemptsFree wrong ones of one network within a minute it is
// refused, whatever it shows, for a delay that grows with each further wrong one. Right ones cost nothing: a whole school
// may come from one address.
type attempts struct {
	mu   sync.Mutex
	list map[attemptKey]*attempt
}

type attemptKey struct {
	room    talkcloud.RoomID
	network netip.Prefix // of IPv6 the /64
}

type attempt struct {
	wrong  []time.Time // the latest, at most attemptsFree of them
	delay  time.Duration
	until  time.Time // refused until then
	recent time.Time // the last wrong one
}

const (
	attemptsFree   = 5
	attemptsWindow = time.Minute
	minDelay       = time.Minute
	maxDelay       = time.Hour
	maxAttempts    = 100_000
)

// wait returns for how long no password is looked at yet; 0 for one that may be tried.
func (a *attempts) wait(room talkcloud.RoomID, from string, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	one := a.list[attemptKey{room, networkOf(from)}]
	if one == nil {
		return 0
	}
	return max(0, one.until.Sub(now))
}

// failed counts a wrong password, and returns for how long the next is refused; 0 for not at all.
func (a *attempts) failed(room talkcloud.RoomID, from string, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := attemptKey{room, networkOf(from)}
	one := a.list[key]
	if one == nil {
		a.makeRoom(now)
		one = new(attempt)
		a.list[key] = one
	}
	if now.Sub(one.recent) > maxDelay {
		*one = attempt{}
	}
	one.recent = now
	one.wrong = append(one.wrong, now)
	for len(one.wrong) > 0 && now.Sub(one.wrong[0]) >= attemptsWindow {
		one.wrong = one.wrong[1:]
	}
	if len(one.wrong) < attemptsFree && one.delay == 0 {
		return 0
	}
	one.delay = min(maxDelay, max(minDelay, 2*one.delay))
	one.until, one.wrong = now.Add(one.delay), nil
	return one.delay
}

// makeRoom forgets what is over, and when that is not enough, anything.
func (a *attempts) makeRoom(now time.Time) {
	if a.list == nil {
		a.list = make(map[attemptKey]*attempt)
	}
	if len(a.list) < maxAttempts {
		return
	}
	for key, one := range a.list {
		if now.Sub(one.recent) > maxDelay || len(a.list) >= maxAttempts {
			delete(a.list, key)
		}
	}
}

// tryPassword finds the role that a password of a room gives, to somebody at an address. wait is for how long the address
// has to leave the room alone, if it has tried too many.
func (s *Server) tryPassword(id talkcloud.RoomID, passwords map[int]talkcloud.Secret, password string, r *http.Request, wanted *int) (role int, fits bool, wait time.Duration) {
	now, from := s.cfg.Now(), remoteIP(r)
	if isService(r) { // its callers have shown who they are
		role, fits = roleByPassword(passwords, password, wanted)
		return role, fits, 0
	}
	if wait = s.attempts.wait(id, from, now); wait > 0 {
		s.refused[limitPasswordRate].Add(1)
		return 0, false, wait
	}
	if role, fits = roleByPassword(passwords, password, wanted); fits {
		return role, true, 0
	}
	s.refused[limitPassword].Add(1)
	if password == "" { // who knows none tries none
		return 0, false, 0
	}
	if wait = s.attempts.failed(id, from, now); wait > 0 {
		s.log.Warn("too many wrong passwords of a room", "room", id, "from", from, "refused_for", wait)
	}
	return 0, false, wait
}
