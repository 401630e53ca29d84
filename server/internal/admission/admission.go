// SPDX-License-Identifier: Apache-2.0

// Package admission decides what may begin, so that what runs is not hurt by what
// arrives: it counts rooms and watchers, and meters calls, of each tenant and of
// the whole process.
//
// It guarantees that the counts are exact: of all that ask at once, as many are
// admitted as there is place for. They are of what this process has now, and so
// begin at nothing with it. Live recordings are counted by package store, where
// they are.
//
// It leaves to others: what is asked about (package recording) and how a refusal
// is told (package recording, too).
package admission

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits bound what is there at once, and how many calls are taken; 0 is no
// bound.
type Limits struct {
	// Recordings that are live: STARTING, RECORDING or STOPPING.
	Recordings int
	// Rooms that are worked in.
	Rooms int
	// Watchers: open streams of WatchClassBegin.
	Watchers int
	// CallsPerSecond, of each [Call] by itself; those of one second may come at
	// once.
	CallsPerSecond float64
}

// The names of the limits, as they are told.
const (
	LimitRecordings     = "recordings"
	LimitRooms          = "rooms"
	LimitWatchers       = "watchers"
	LimitCallsPerSecond = "calls-per-second"
)

// Call is a kind of calls that are metered together, so that a flood of one kind
// does not take another's place.
type Call int

// The kinds of calls.
const (
	Start Call = iota // StartRecording
	Watch             // WatchClassBegin
	Read              // GetRecording, ListRecordings
	calls
)

const (
	// retryPlace is when trying again may help where places are taken.
	retryPlace = 5 * time.Second
	// retryCall is that at least, where calls come too fast: whoever is told less
	// comes back in the same burst.
	retryCall = 100 * time.Millisecond
)

// Error is a refusal.
type Error struct {
	// Limit is the name of the limit, and Value what it is.
	Limit string
	Value float64
	// OfTenant: the limit is the tenant's, and not that of the whole process.
	OfTenant bool
	// RetryAfter is when trying again may help.
	RetryAfter time.Duration
}

// Error says which limit was met.
func (e *Error) Error() string {
	whose := "this server"
	if e.OfTenant {
		whose = "the tenant"
	}
	what := map[string]string{
		LimitRecordings:     "recordings at a time",
		LimitRooms:          "rooms at a time",
		LimitWatchers:       "watchers at a time",
		LimitCallsPerSecond: "calls of a kind in a second",
	}[e.Limit]
	return fmt.Sprintf("the limit of %s is %s %s", whose, strconv.FormatFloat(e.Value, 'f', -1, 64), what)
}

// Full is a refusal because places are taken.
func Full(limit string, value int, ofTenant bool) *Error {
	return &Error{Limit: limit, Value: float64(value), OfTenant: ofTenant, RetryAfter: retryPlace}
}

// Process is what all tenants of a process have together.
type Process struct {
	mu sync.Mutex // of it and of its tenants
	holder
}

// Tenant is what one tenant has. A nil one bounds nothing. Its methods may be
// called from any goroutine.
type Tenant struct {
	process *Process
	holder
}

// holder is what a tenant, or all of them, have; guarded by the process's lock.
type holder struct {
	limits          Limits
	rooms, watchers int
	meters          [calls]*rate.Limiter
}

func newHolder(l Limits) holder {
	h := holder{limits: l}
	for i := range h.meters {
		every, burst := rate.Inf, 0
		if l.CallsPerSecond > 0 {
			every, burst = rate.Limit(l.CallsPerSecond), max(1, int(l.CallsPerSecond))
		}
		h.meters[i] = rate.NewLimiter(every, burst)
	}
	return h
}

// NewProcess returns a process that has nothing yet.
func NewProcess(l Limits) *Process { return &Process{holder: newHolder(l)} }

// Tenant returns a tenant of the process that has nothing yet.
func (p *Process) Tenant(l Limits) *Tenant { return &Tenant{process: p, holder: newHolder(l)} }

// Limits are those of the tenant, and of the process.
func (t *Tenant) Limits() (tenant, process Limits) {
	if t == nil {
		return Limits{}, Limits{}
	}
	return t.limits, t.process.limits
}

// Call takes a call, or refuses it with an *Error.
func (t *Tenant) Call(kind Call) error {
	if t == nil {
		return nil
	}
	t.process.mu.Lock()
	defer t.process.mu.Unlock()
	now := time.Now()
	ours := t.meters[kind].ReserveN(now, 1)
	if wait := ours.DelayFrom(now); wait > 0 {
		ours.CancelAt(now)
		return tooFast(t.limits, true, wait)
	}
	all := t.process.meters[kind].ReserveN(now, 1)
	if wait := all.DelayFrom(now); wait > 0 {
		all.CancelAt(now)
		ours.CancelAt(now)
		return tooFast(t.process.limits, false, wait)
	}
	return nil
}

func tooFast(l Limits, ofTenant bool, wait time.Duration) *Error {
	return &Error{Limit: LimitCallsPerSecond, Value: l.CallsPerSecond, OfTenant: ofTenant, RetryAfter: max(wait, retryCall)}
}

// Room takes a place for a room, or refuses it with an *Error; what was not asked
// for is never refused, and counts. release gives the place back, and is to be
// called once.
func (t *Tenant) Room(asked bool) (release func(), err error) {
	return t.take(LimitRooms, asked, func(h *holder) (*int, int) { return &h.rooms, h.limits.Rooms })
}

// Watcher takes a place for a watcher, or refuses it with an *Error. release gives
// the place back, and is to be called once.
func (t *Tenant) Watcher() (release func(), err error) {
	return t.take(LimitWatchers, true, func(h *holder) (*int, int) { return &h.watchers, h.limits.Watchers })
}

func (t *Tenant) take(limit string, asked bool, of func(*holder) (count *int, most int)) (release func(), err error) {
	if t == nil {
		return func() {}, nil
	}
	t.process.mu.Lock()
	defer t.process.mu.Unlock()
	ours, most := of(&t.holder)
	all, mostOfAll := of(&t.process.holder)
	switch {
	case asked && most > 0 && *ours >= most:
		return nil, Full(limit, most, true)
	case asked && mostOfAll > 0 && *all >= mostOfAll:
		return nil, Full(limit, mostOfAll, false)
	}
	*ours++
	*all++
	return func() {
		t.process.mu.Lock()
		defer t.process.mu.Unlock()
		*ours--
		*all--
	}, nil
}
