// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaostest

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// Event is what identifies an event of the log: two with the same sequence have to be the same.
type Event struct {
	Sequence  uint64
	Action    classrecv1.ClassBeginAction
	Room      string
	Recording string
	Time      int64     // the platform's, in Unix seconds
	Stored    time.Time // when it was about to be stored, by the service's clock
}

// EventOf is what identifies an event.
func EventOf(ev *classrecv1.ClassBeginEvent) Event {
	return Event{
		Sequence: ev.GetSequence(), Action: ev.GetAction(), Room: ev.GetRoom(), Recording: ev.GetRecording().GetName(),
		Time: ev.GetTime().GetSeconds(), Stored: ev.GetRecording().GetUpdateTime().AsTime(),
	}
}

// Watcher watches from the beginning of the log, is cut off again and again, and resumes each time from the last
// sequence that it has. It keeps every event as it came. Run and Finish belong to one goroutine.
type Watcher struct {
	// Protocol is how it watches.
	Protocol Protocol
	// Room is the one that is watched; "-" for all.
	Room string
	// Stall makes every third stream one that is not read for so long, once it is synced; 0: none.
	Stall time.Duration
	// Stay makes streams last up to so long, whatever comes; 0: they are short.
	Stay time.Duration

	tb       testing.TB
	nodes    []*Node
	last     uint64 // to resume from
	synced   uint64 // where Finish has ended
	hopeless bool   // the server does not know where to resume

	mu     sync.Mutex
	events []Event
	counts WatchCounts
}

// WatchCounts is what has happened to a watcher.
type WatchCounts struct {
	Streams  int // from which at least one message has come
	Refused  int // attempts that found nobody
	Canceled int // streams that the watcher has left
	Cut      int // connections that the watcher has cut
	Ended    int // streams that the server's end has ended, or the network
	TooSlow  int // streams that the server has ended because they were not read
}

// Add sums up.
func (c *WatchCounts) Add(o WatchCounts) {
	c.Streams += o.Streams
	c.Refused += o.Refused
	c.Canceled += o.Canceled
	c.Cut += o.Cut
	c.Ended += o.Ended
	c.TooSlow += o.TooSlow
}

// NewWatcher makes a watcher that does not watch yet. Each of its streams is from any one of the nodes, which share a
// log.
func NewWatcher(tb testing.TB, protocol Protocol, room string, nodes ...*Node) *Watcher {
	return &Watcher{Protocol: protocol, Room: room, tb: tb, nodes: nodes, last: beforeFirst}
}

// beforeFirst is the sequence from which a watch resumes with the first event of the log.
const beforeFirst = 1

// Run watches until ctx ends, or the server does not know the last sequence any more, which fails the test.
func (w *Watcher) Run(ctx context.Context) {
	for n := 1; ctx.Err() == nil && !w.hopeless; n++ {
		p := plan{messages: 1 + rand.IntN(12), time: rand.N(700 * time.Millisecond), cut: rand.IntN(2) == 0}
		if w.Stay > 0 {
			p.messages, p.time = 1<<20, UpTo(w.Stay)
		}
		if w.Stall > 0 && n%3 == 0 {
			p = plan{messages: 1 << 20, time: 5 * time.Second, stall: w.Stall}
		}
		w.once(ctx, p)
		Pause(ctx, rand.N(20*time.Millisecond)+1)
	}
}

// Finish watches on until all has come that was in the log when it began.
func (w *Watcher) Finish(ctx context.Context) error {
	for ctx.Err() == nil && !w.hopeless {
		if w.once(ctx, plan{messages: 1 << 30, time: time.Hour, untilSynced: true}) {
			return nil
		}
		Pause(ctx, 20*time.Millisecond)
	}
	return ctx.Err()
}

// Events are those that have come.
func (w *Watcher) Events() []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.events
}

// Synced is the sequence up to which the server, by its own word, had told everything when Finish returned.
func (w *Watcher) Synced() uint64 { return w.synced }

// Counts is what has happened so far.
func (w *Watcher) Counts() WatchCounts {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts
}

func (w *Watcher) count(what func(*WatchCounts)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	what(&w.counts)
}

// plan is how a stream is to end.
type plan struct {
	messages    int           // after so many
	time        time.Duration // or so long
	cut         bool          // by cutting the connection, not by canceling the call
	stall       time.Duration // when synced, do not read for so long, before time begins
	untilSynced bool          // then it has ended well
}

// once is one stream; it tells whether it was synced.
func (w *Watcher) once(ctx context.Context, p plan) (synced bool) {
	ctx, cancel := withoutDeadline(ctx)
	defer cancel()
	s := newStream(w.nodes[rand.IntN(len(w.nodes))], w.Protocol)
	defer s.close()
	if err := s.open(ctx, w.Room, w.last); err != nil {
		w.ended(ctx, err, false)
		return false
	}
	var left atomic.Bool
	leave := func() {
		if left.Swap(true) {
			return
		}
		if p.cut {
			w.count(func(c *WatchCounts) { c.Cut++ })
			s.cut()
			return
		}
		w.count(func(c *WatchCounts) { c.Canceled++ })
		cancel()
	}
	timer := time.AfterFunc(p.stall+p.time, leave)
	defer timer.Stop()
	for n := 1; ; n++ {
		m, err := s.recv()
		if err != nil {
			if !left.Load() {
				w.ended(ctx, err, n > 1)
			}
			return false
		}
		if n == 1 {
			w.count(func(c *WatchCounts) { c.Streams++ })
		}
		w.take(m)
		if m.GetSynced() != nil {
			if p.untilSynced {
				w.synced = m.GetSynced().GetSequence()
				return true
			}
			Pause(ctx, p.stall+1)
		}
		if n == p.messages {
			leave()
			return false
		}
	}
}

// withoutDeadline is a context that ends with ctx, and has no deadline to tell the server: whose clock may be the first
// to say that the time is over.
func withoutDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	undated, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	return undated, func() {
		stop()
		cancel()
	}
}

// take keeps a message, and where to resume: the sequence of a synced or a heartbeat is as good as an event's.
func (w *Watcher) take(m *classrecv1.WatchClassBeginResponse) {
	if ev := m.GetEvent(); ev != nil {
		w.mu.Lock()
		w.events = append(w.events, EventOf(ev))
		w.mu.Unlock()
		w.last = ev.GetSequence()
		return
	}
	if rand.IntN(2) == 0 {
		w.last = max(m.GetSynced().GetSequence(), m.GetHeartbeat().GetSequence())
	}
}

// ended judges what a stream has ended in.
func (w *Watcher) ended(ctx context.Context, err error, begun bool) {
	if ctx.Err() != nil {
		return
	}
	d := client.Details(err)
	switch d.Code {
	case codes.ResourceExhausted:
		resume, err := strconv.ParseUint(d.Metadata["resume_sequence"], 10, 64)
		if d.Reason != "WATCHER_TOO_SLOW" || err != nil || resume < w.last {
			w.tb.Errorf("watch of %s over %s, after %d: %s, %v", w.Room, w.Protocol, w.last, d.Message, d.Metadata)
		} else {
			w.last = resume
		}
		w.count(func(c *WatchCounts) { c.TooSlow++ })
	case codes.Unavailable, codes.Internal, codes.Unknown, codes.Canceled:
		if d.Reason != "" && d.Code != codes.Unavailable {
			w.tb.Errorf("watch of %s over %s, after %d: %v %s", w.Room, w.Protocol, w.last, d.Code, d.Message)
		}
		w.count(func(c *WatchCounts) {
			if begun {
				c.Ended++
			} else {
				c.Refused++
			}
		})
	default:
		w.hopeless = d.Code == codes.OutOfRange
		w.tb.Errorf("watch of %s over %s, after %d: %v %s", w.Room, w.Protocol, w.last, d.Code, d.Message)
	}
}

// Compare tells what of the log a watcher has missed, got twice, and got in another form or out of order.
func Compare(log, got []Event) (missed, twice, wrong int) {
	want := make(map[uint64]Event, len(log))
	for _, ev := range log {
		want[ev.Sequence] = ev
	}
	seen := make(map[uint64]bool, len(got))
	last := uint64(0)
	for _, ev := range got {
		switch {
		case seen[ev.Sequence]:
			twice++
		case want[ev.Sequence] != ev, ev.Sequence < last:
			wrong++
		}
		seen[ev.Sequence] = true
		last = max(last, ev.Sequence)
	}
	for sequence := range want {
		if !seen[sequence] {
			missed++
		}
	}
	return missed, twice, wrong
}
