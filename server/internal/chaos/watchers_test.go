// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/chaostest"
)

// apiRooms have classes by the API, wireRooms by a teacher in the room, whose messages are large. In the last calmRooms of
// them the teacher takes time.
const (
	apiRooms  = 8
	wireRooms = 6
	calmRooms = 2
	bulk      = 8 << 10 // of each message there
)

// watching is one run of the test.
type watching struct {
	t        *testing.T
	node     *chaostest.Node
	api      classrecv1.RecordingServiceClient
	watchers []*chaostest.Watcher
	late     []*chaostest.Watcher // each has read the log once, from its beginning

	caller chaostest.Caller
	ledger chaostest.Ledger

	mu     sync.Mutex
	taught []taught // classes begun on the wire
	unseen unseen   // those of them that the log does not have
}

// TestWatchers has watchers of every kind cut off again and again, while classes begin and end and the process is closed
// and killed, and holds what each has got against the log.
func TestWatchers(t *testing.T) {
	reconnects := setting(t, "CHAOS_RECONNECTS", 300, 10_000)
	w := &watching{t: t, node: chaostest.NewNode(t, program, workDir(t))}
	w.api = w.node.API(t)
	w.node.Begin()
	w.await(t.Context())
	begun := time.Now()

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var classes, watches sync.WaitGroup
	for n := range apiRooms {
		classes.Go(func() { w.holdClasses(ctx, fmt.Sprintf("api-%d", n)) })
	}
	for n := range wireRooms {
		pause := 20 * time.Millisecond
		if n >= wireRooms-calmRooms {
			pause = 400 * time.Millisecond
		}
		classes.Go(func() { w.teach(ctx, fmt.Sprintf("wire-%d", n), pause) })
	}
	w.makeWatchers()
	for _, each := range w.watchers {
		watches.Go(func() { each.Run(ctx) })
	}
	kills, closes, slow := 2, 1, 1 // at least
	if long {
		kills, closes, slow = 12, 4, 10
	}
	watches.Go(func() { w.comeLate(ctx) })
	killed, closed := 0, 0
	for next := w.nextEnd(); ; {
		chaostest.Pause(ctx, 200*time.Millisecond)
		sum := w.counts()
		if sum.Streams-len(w.watchers) >= reconnects && killed >= kills && closed >= closes && sum.TooSlow >= slow || t.Failed() {
			break
		}
		if time.Since(begun) > time.Hour {
			t.Fatalf("only %+v in an hour", sum)
		}
		if time.Now().Before(next) {
			continue
		}
		if (killed+closed)%4 == 3 {
			closed++
			if err := w.node.Terminate(t.Context(), 30*time.Second); err != nil {
				t.Errorf("told to end: %v", err)
			}
		} else {
			killed++
			w.node.Kill()
		}
		w.node.Begin()
		w.await(ctx)
		next = w.nextEnd()
	}
	calm := 3 * time.Second // in which what is begun is cut off by nothing
	if long {
		calm = 10 * time.Second
	}
	chaostest.Pause(ctx, calm)
	cancel()
	watches.Wait()
	classes.Wait()
	took := time.Since(begun)

	log := w.quiet()
	for _, wrong := range w.ledger.AgainstLog(log, nil) {
		t.Error("the log: " + wrong)
	}
	w.againstTaught(log)
	w.readAgain(log)
	var finishing sync.WaitGroup
	for _, each := range w.watchers {
		finishing.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), chaostest.Patience)
			defer cancel()
			if err := each.Finish(ctx); err != nil {
				t.Errorf("watch of %s over %s is not synced: %v", each.Room, each.Protocol, err)
			}
		})
	}
	finishing.Wait()
	w.report(log, took, killed, closed)
	if err := w.node.Terminate(t.Context(), 30*time.Second); err != nil {
		t.Errorf("the last process, told to end: %v", err)
	}
}

// nextEnd is when the process ends next.
func (w *watching) nextEnd() time.Time {
	return time.Now().Add(3*time.Second + chaostest.UpTo(5*time.Second))
}

func (w *watching) await(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, chaostest.Patience)
	defer cancel()
	if err := w.node.AwaitUp(ctx); err != nil {
		w.t.Fatalf("the process does not serve: %v", err)
	}
}

// makeWatchers makes some of every kind; those of the rooms of the wire keep the service there.
func (w *watching) makeWatchers() {
	for i, protocol := range []chaostest.Protocol{chaostest.GRPC, chaostest.NDJSON, chaostest.SSE} {
		for n := range 4 {
			all := chaostest.NewWatcher(w.t, protocol, "-", w.node)
			if protocol == chaostest.GRPC && n > 0 || protocol == chaostest.NDJSON && n == 0 {
				all.Stall = 5 * time.Second
			}
			w.watchers = append(w.watchers, all,
				chaostest.NewWatcher(w.t, protocol, fmt.Sprintf("api-%d", n), w.node),
				chaostest.NewWatcher(w.t, protocol, fmt.Sprintf("wire-%d", (4*i+n)%wireRooms), w.node))
		}
	}
}

// comeLate has one watcher after the other read the log from its beginning to where it is then.
func (w *watching) comeLate(ctx context.Context) {
	protocols := []chaostest.Protocol{chaostest.GRPC, chaostest.NDJSON, chaostest.SSE}
	for n := 0; chaostest.Pause(ctx, 500*time.Millisecond); n++ {
		late := chaostest.NewWatcher(w.t, protocols[n%len(protocols)], "-", w.node)
		if late.Finish(ctx) == nil {
			w.late = append(w.late, late)
		}
	}
}

// holdClasses has one class after the other by the API. What has begun ends also when the test does.
func (w *watching) holdClasses(ctx context.Context, room string) {
	patient := context.WithoutCancel(ctx)
	for n := 1; ctx.Err() == nil; n++ {
		name, request := "", fmt.Sprintf("%s-%d", room, n)
		err := w.caller.Try(patient, func(ctx context.Context) error {
			resp, err := w.api.StartRecording(ctx, &classrecv1.StartRecordingRequest{Room: room, RequestId: request})
			name = resp.GetRecording().GetName()
			return err
		})
		if err == nil {
			err = w.ledger.Started(room, request, name)
		}
		if err != nil {
			w.t.Errorf("start in %s: %v", room, err)
			return
		}
		chaostest.Pause(ctx, chaostest.UpTo(400*time.Millisecond))
		err = w.caller.Try(patient, func(ctx context.Context) error {
			_, err := w.api.StopRecording(ctx, &classrecv1.StopRecordingRequest{Name: name})
			return err
		})
		if err != nil {
			w.t.Errorf("stop %s: %v", name, err)
			return
		}
		w.ledger.Stopped(name)
		chaostest.Pause(ctx, chaostest.UpTo(400*time.Millisecond))
	}
}

// quiet waits until nothing happens any more, and returns the log.
func (w *watching) quiet() []chaostest.Event {
	w.t.Helper()
	for deadline := time.Now().Add(chaostest.Patience); ; {
		before, err := w.caller.ReadLog(w.t.Context(), w.api)
		chaostest.Pause(w.t.Context(), 2*time.Second)
		after, err2 := w.caller.ReadLog(w.t.Context(), w.api)
		if err := errors.Join(err, err2); err != nil {
			w.t.Fatalf("read the log: %v", err)
		}
		if len(before) == len(after) {
			return after
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("the log still grows, %v after the last class", chaostest.Patience)
		}
	}
}

// rereads is how often the whole log is read at the end, as quickly as it comes.
const rereads = 20

// readAgain wants the log to be the same each time that it is read.
func (w *watching) readAgain(log []chaostest.Event) {
	for range rereads {
		again, err := w.caller.ReadLog(w.t.Context(), w.api)
		if err != nil {
			w.t.Fatalf("read the log: %v", err)
		}
		if !slices.Equal(again, log) {
			w.t.Errorf("the log was read with %d events, and again with %d", len(log), len(again))
		}
	}
}

func (w *watching) counts() (sum chaostest.WatchCounts) {
	for _, each := range w.watchers {
		sum.Add(each.Counts())
	}
	return sum
}

// report prints the figures, and fails the test for what is missing or doubled.
func (w *watching) report(log []chaostest.Event, took time.Duration, killed, closed int) {
	var missed, twice, wrong, delivered int
	for _, each := range w.watchers {
		want := log
		if each.Room != "-" {
			want = slices.DeleteFunc(slices.Clone(log), func(ev chaostest.Event) bool { return ev.Room != each.Room })
		}
		m, d, x := chaostest.Compare(want, each.Events())
		if m+d+x > 0 {
			w.t.Errorf("watch of %s over %s: %d missed, %d twice, %d wrong, of %d", each.Room, each.Protocol, m, d, x, len(want))
		}
		missed, twice, wrong, delivered = missed+m, twice+d, wrong+x, delivered+len(each.Events())
	}
	for _, late := range w.late {
		known := slices.DeleteFunc(slices.Clone(log), func(ev chaostest.Event) bool { return ev.Sequence > late.Synced() })
		m, d, x := chaostest.Compare(known, late.Events())
		if m+d+x > 0 {
			w.t.Errorf("reading from the beginning over %s, told to have all up to %d: %d missed, %d twice, %d wrong, of %d",
				late.Protocol, late.Synced(), m, d, x, len(known))
		}
		missed, twice, wrong, delivered = missed+m, twice+d, wrong+x, delivered+len(late.Events())
	}
	sum := w.counts()
	say := func(format string, args ...any) { chaostest.Print(w.t, format, args...) }
	say("watchers %d, reconnects %d in %v: calls canceled %d, connections cut %d, ended by the server's end %d, too slow %d; found nobody %d",
		len(w.watchers), sum.Streams-len(w.watchers), took.Round(time.Second), sum.Canceled, sum.Cut, sum.Ended, sum.TooSlow, sum.Refused)
	say("watchers: process killed %d times, closed %d times; classes by the API %d, on the wire %d", killed, closed, w.ledger.Len(), len(w.taught))
	say("watchers: of those on the wire not in the log: begun while the service came or went %d, not stored yet when the process ended %d, more than it keeps up with %d, for no reason %d",
		w.unseen.passing, w.unseen.cutOff, w.unseen.overrun, w.unseen.lost)
	say("watchers: the log was read from its beginning %d times meanwhile, %d times afterwards", len(w.late), rereads)
	say("watchers: events in the log %d, delivered %d, missed %d, twice %d, in another form or order %d", len(log), delivered, missed, twice, wrong)
}
