// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaostest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// Ledger is what callers were told, whatever process has told them, to be held against what is there. Its zero value is
// ready for use.
type Ledger struct {
	mu        sync.Mutex
	byRequest map[string]string // the recording's name
	byName    map[string]*acknowledged
}

// acknowledged is a recording that somebody was told of.
type acknowledged struct {
	room, request string
	stopped       bool
}

// Started notes the answer to a StartRecording with a request id. The error is for one that contradicts an earlier one:
// one id has one recording, and no two have the same.
func (l *Ledger) Started(room, request, name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byRequest == nil {
		l.byRequest, l.byName = map[string]string{}, map[string]*acknowledged{}
	}
	if before, ok := l.byRequest[request]; ok && before != name {
		return fmt.Errorf("request id %s has started %s, and now %s", request, before, name)
	}
	if other, ok := l.byName[name]; ok {
		if other.request != request {
			return fmt.Errorf("%s was started for request id %s, and for %s", name, other.request, request)
		}
		return nil
	}
	l.byRequest[request] = name
	l.byName[name] = &acknowledged{room: room, request: request}
	return nil
}

// Stopped notes the answer to a StopRecording.
func (l *Ledger) Stopped(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.byName[name]; a != nil {
		a.stopped = true
	}
}

// Len is how many recordings were acknowledged.
func (l *Ledger) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.byName)
}

// Names are the recordings that were acknowledged, by room.
func (l *Ledger) Names() map[string][]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := map[string][]string{}
	for name, a := range l.byName {
		names[a.room] = append(names[a.room], name)
	}
	return names
}

// Requests are the rooms of all request ids whose recordings were acknowledged.
func (l *Ledger) Requests() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	rooms := map[string]string{}
	for _, a := range l.byName {
		rooms[a.request] = a.room
	}
	return rooms
}

// Lost returns those of some names that a list does not have exactly once.
func Lost(names []string, list []*classrecv1.Recording) (lost []string) {
	count := map[string]int{}
	for _, r := range list {
		count[r.GetName()]++
	}
	for _, name := range names {
		if count[name] != 1 {
			lost = append(lost, fmt.Sprintf("%s, acknowledged, is listed %d times", name, count[name]))
		}
	}
	return lost
}

// AgainstLog tells in words where the log of all events contradicts what was acknowledged, or itself: every class that
// was started begins, once at least, and ends once if it was stopped; sequences grow; whatever begins ends, unless
// goingOn has it.
func (l *Ledger) AgainstLog(log []Event, goingOn map[string]bool) (contradictions []string) {
	say := func(format string, args ...any) {
		contradictions = append(contradictions, fmt.Sprintf(format, args...))
	}
	begins, ends := map[string]int{}, map[string]int{}
	last := uint64(0)
	for _, ev := range log {
		if ev.Sequence <= last {
			say("%d comes after %d", ev.Sequence, last)
		}
		last = ev.Sequence
		if ev.Action == classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD {
			begins[ev.Recording]++
		} else {
			ends[ev.Recording]++
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(l.byName)) {
		if begins[name] == 0 {
			say("%s, acknowledged, does not begin", name)
		}
		if l.byName[name].stopped && ends[name] != 1 {
			say("%s was stopped, and ends %d times", name, ends[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(begins)) {
		if ends[name] != 1 && !goingOn[name] {
			say("%s begins %d times, and ends %d times", name, begins[name], ends[name])
		}
	}
	return contradictions
}

// Caller makes calls that go on until a process answers them that does not go away meanwhile. Its zero value is ready
// for use.
type Caller struct {
	mu      sync.Mutex
	retries map[codes.Code]int
}

// The most that one answer is waited for, and that a call goes on without one. They are for a machine that others use
// too.
const (
	answerWithin = 30 * time.Second
	// Patience is how long anything may take that has to come.
	Patience = 90 * time.Second
)

// Try makes a call. UNAVAILABLE and DEADLINE_EXCEEDED, which say that it may be made again, are no answers; any other
// error is returned, and so is the last one when patience has run out.
func (c *Caller) Try(ctx context.Context, call func(context.Context) error) error {
	for deadline := time.Now().Add(Patience); ; {
		attempt, cancel := context.WithTimeout(ctx, answerWithin)
		err := call(attempt)
		cancel()
		code := status.Code(err)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case code != codes.Unavailable && code != codes.DeadlineExceeded:
			return err
		case time.Now().After(deadline):
			return fmt.Errorf("after %v still: %w", Patience, err)
		}
		c.mu.Lock()
		if c.retries == nil {
			c.retries = map[codes.Code]int{}
		}
		c.retries[code]++
		c.mu.Unlock()
		if !Pause(ctx, UpTo(40*time.Millisecond)) {
			return ctx.Err()
		}
	}
}

// Retries are how often calls were made again, by what they were answered.
func (c *Caller) Retries() map[codes.Code]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.retries)
}

// ListRoom lists a room whole.
func (c *Caller) ListRoom(ctx context.Context, api classrecv1.RecordingServiceClient, room string) (all []*classrecv1.Recording, err error) {
	for token := ""; ; {
		err := c.Try(ctx, func(ctx context.Context) error {
			resp, err := api.ListRecordings(ctx, &classrecv1.ListRecordingsRequest{Room: room, PageSize: 1000, PageToken: token})
			if err == nil {
				all = append(all, resp.GetRecordings()...)
				token = resp.GetNextPageToken()
			}
			return err
		})
		if err != nil || token == "" {
			return all, err
		}
	}
}

// ReadLog reads all events of all rooms that the log has now.
func (c *Caller) ReadLog(ctx context.Context, api classrecv1.RecordingServiceClient) (events []Event, err error) {
	err = c.Try(ctx, func(ctx context.Context) error {
		stream, err := api.WatchClassBegin(ctx, &classrecv1.WatchClassBeginRequest{Room: "-", AfterSequence: beforeFirst})
		if err != nil {
			return err
		}
		for events = nil; ; {
			m, err := stream.Recv()
			switch {
			case err != nil:
				return err
			case m.GetSynced() != nil:
				return nil
			case m.GetEvent() != nil:
				events = append(events, EventOf(m.GetEvent()))
			}
		}
	})
	return events, err
}
