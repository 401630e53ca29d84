// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// limit is one of those in Config that somebody can run into, by the name that Stats has.
type limit int

const (
	limitRooms limit = iota
	limitParticipants
	limitRoomPeople
	limitMessageSize
	limitMessageRate
	limitChatRate
	limitSavedMessages
	limitProperties
	limitStreams
	limitPublishers
	limitDisk
	limitPassword
	limitPasswordRate
	limitClassRate
	limitFanOut
	limits // how many there are
)

func limitNames() [limits]string {
	return [limits]string{
		"rooms", "participants", "room_people", "message_size", "message_rate", "chat_rate", "saved_messages",
		"properties", "streams", "publishers", "disk", "password", "password_rate",
		"class_rate", "fan_out",
	}
}

// refusals counts what was refused.
type refusals [limits]atomic.Uint64

func (r *refusals) stats() map[string]uint64 {
	stats := make(map[string]uint64, limits)
	for l, name := range limitNames() {
		stats[name] = r[l].Load()
	}
	return stats
}

// over counts a refusal, and words it.
func (s *Server) over(l limit, format string, args ...any) error {
	s.refused[l].Add(1)
	message := fmt.Sprintf(format, args...)
	switch l {
	case limitDisk:
		return refuse(codeWriteFailed, reasonDisk, message)
	case limitPassword, limitPasswordRate:
		return refuse(codePassword, reasonPassword, message)
	default:
		return refuse(codeQuota, reasonLimit, message)
	}
}

// fromService is the key of a context value: the request is the service's own, for which there is always room.
type fromService struct{}

// ServiceHandler is [Server.Handler] for the service that runs in the same process: the limits that strangers could use up
// (rooms, participants, messages a second) do not hold for it, so that a class can be ended in a room that is full.
func (s *Server) ServiceHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), fromService{}, true)))
	})
}

func isService(r *http.Request) bool {
	is, _ := r.Context().Value(fromService{}).(bool)
	return is
}

// fromStrangers is the key of a context value: the request is from where rooms without passwords are not open.
type fromStrangers struct{}

// PasswordsHandler is [Server.Handler] for where nobody may come in who has shown nothing: a room that has no passwords
// cannot be entered, by checkroom (4008), joinRoom or WHIP (403).
func (s *Server) PasswordsHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), fromStrangers{}, true)))
	})
}

func isStranger(r *http.Request) bool {
	is, _ := r.Context().Value(fromStrangers{}).(bool)
	return is
}

// rateWindow is the time over which the messages of a participant are averaged.
const rateWindow = 10 * time.Second

// pace is how much a participant has sent lately: a bucket that each message fills by one, and that runs out by
// Config.MessagesPerSecond. It belongs to the goroutine of the connection.
type pace struct {
	level float32
	since int64 // Unix nanoseconds
}

// allow takes one more message, unless they are too many.
func (p *pace) allow(perSecond int) bool {
	if perSecond < 0 {
		return true
	}
	now := time.Now().UnixNano()
	if p.since != 0 {
		gone := time.Duration(now - p.since).Seconds()
		p.level = max(0, p.level-float32(gone)*float32(perSecond))
	}
	p.since = now
	if p.level+1 > float32(perSecond)*float32(rateWindow/time.Second) {
		return false
	}
	p.level++
	return true
}

// space is what is left on the disk.
type space struct {
	dir string

	mu    sync.Mutex
	min   int64 // Config.MinFree
	asked time.Time
	err   error
}

// spaceFor is for how long one look at the disk is good.
const spaceFor = 500 * time.Millisecond

// errDiskLow is the same to the recorder as a disk that is full: it can become better.
var errDiskLow = fmt.Errorf("the disk has less than what is to be left free: %w", syscall.ENOSPC)

// check returns errDiskLow while there is too little. A disk that does not tell has enough.
func (s *space) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.min <= 0 {
		return nil
	}
	if now := time.Now(); s.asked.IsZero() || now.Sub(s.asked) >= spaceFor {
		s.asked, s.err = now, nil
		var st syscall.Statfs_t
		if err := syscall.Statfs(s.dir, &st); err == nil && uint64(st.Bavail)*uint64(st.Bsize) < uint64(s.min) { //nolint:gosec,unconvert // none is negative; the types differ by system
			s.err = errDiskLow
		}
	}
	return s.err
}

// entries remembers who has shown a password of a room, because joinRoom has none on the wire: from which address, with
// which role. Only somebody with a password can add to them, and maxEntries bounds them still.
type entries struct {
	mu   sync.Mutex
	list map[entry]time.Time // until when
}

type entry struct {
	room talkcloud.RoomID
	from string
	role int
}

const (
	// entryFor is for how long a password that was shown is good, from its last use on.
	entryFor   = 24 * time.Hour
	maxEntries = 100_000
)

func (e *entries) add(one entry, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.list == nil {
		e.list = make(map[entry]time.Time)
	}
	if _, known := e.list[one]; !known && len(e.list) >= maxEntries {
		for old, until := range e.list {
			if now.After(until) || len(e.list) >= maxEntries { // one that is good has to go when all are
				delete(e.list, old)
			}
		}
	}
	e.list[one] = now.Add(entryFor)
}

// has tells whether it was added, and renews it.
func (e *entries) has(one entry, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	until, known := e.list[one]
	if !known || now.After(until) {
		delete(e.list, one)
		return false
	}
	e.list[one] = now.Add(entryFor)
	return true
}

// mayEnter tells whether somebody may join a room that has passwords, as what he says that he is. joinRoom carries no
// password: checkroom was shown it, from the same address.
func (s *Server) mayEnter(p *participant, id talkcloud.RoomID, role *int) error {
	if p.ours {
		return nil
	}
	room, _, _ := s.book.lookup(id)
	if len(room.Passwords) == 0 {
		if p.stranger {
			return s.over(limitPassword, openRoomHere)
		}
		return nil
	}
	if room.StudentsOpen && !p.stranger && role != nil && *role == talkcloud.RoleStudent {
		return nil
	}
	if role != nil && s.entries.has(entry{room: id, from: p.from, role: *role}, time.Now()) {
		return nil
	}
	return s.over(limitPassword, "the room has passwords: checkroom with one comes first, from the same address, and gives the role")
}

// mayEnd tells whether a class may be ended from an address by who is not in the room.
func (s *Server) mayEnd(id talkcloud.RoomID, from string) bool {
	room, _, _ := s.book.lookup(id)
	passwords := room.Passwords
	for role := range passwords {
		if s.entries.has(entry{room: id, from: from, role: role}, time.Now()) {
			return true
		}
	}
	return len(passwords) == 0
}

// openRoomHere is said of a room without passwords at [Server.PasswordsHandler].
const openRoomHere = "at this address only rooms that have passwords can be entered"
