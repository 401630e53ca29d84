// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaos_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/chaostest"
)

// verify holds what was acknowledged, and what was on in the rooms, against what there is, once nothing is broken any
// more.
func (c *clustering) verify(took time.Duration) {
	c.t.Helper()
	lists := c.settled()
	lost, doubled := c.againstLists(lists)
	c.askAgain()

	raw := c.abandoned()
	log := c.sameLog()
	wrong := c.ledger.AgainstLog(log, nil)
	unseen, twice := c.againstRooms(log, raw)
	wrong = append(wrong, inOrder(raw)...)
	wrong = append(wrong, c.byHolders(raw)...)
	for _, what := range slices.Concat(lost, doubled, wrong) {
		c.t.Error(what)
	}
	c.report(took, log, raw, len(lost)+unseen, len(doubled)+twice)
}

// settled waits until every recording is where it ends, and returns the lists of all rooms.
func (c *clustering) settled() map[string][]*classrecv1.Recording {
	c.t.Helper()
	lists := map[string][]*classrecv1.Recording{}
	deadline := time.Now().Add(2 * chaostest.Patience)
	for n, r := range c.rooms {
		for {
			list, err := c.caller.ListRoom(c.t.Context(), c.replicas[n%3].api, r.name)
			if err != nil {
				c.t.Fatalf("list %s: %v", r.name, err)
			}
			open := slices.IndexFunc(list, func(rec *classrecv1.Recording) bool {
				return rec.GetState() < classrecv1.RecordingState_RECORDING_STATE_AVAILABLE
			})
			if open < 0 {
				lists[r.name] = list
				break
			}
			if time.Now().After(deadline) {
				c.t.Errorf("%s is %v for ever", list[open].GetName(), list[open].GetState())
				lists[r.name] = list
				break
			}
			chaostest.Pause(c.t.Context(), 200*time.Millisecond)
		}
	}
	return lists
}

// againstLists tells which recordings were acknowledged, and are not listed; and which there are twice, or failed.
func (c *clustering) againstLists(lists map[string][]*classrecv1.Recording) (lost, doubled []string) {
	for _, r := range c.rooms {
		list, names := lists[r.name], c.ledger.Names()[r.name]
		lost = append(lost, chaostest.Lost(names, list)...)
		count := map[string]int{}
		for _, rec := range list {
			if count[rec.GetName()]++; count[rec.GetName()] == 2 {
				doubled = append(doubled, rec.GetName()+" is listed twice")
			}
			if s := rec.GetState(); s == classrecv1.RecordingState_RECORDING_STATE_FAILED {
				c.t.Errorf("%s has failed: %v %s", rec.GetName(), rec.GetEndReason(), rec.GetFailure().GetMessage())
			}
		}
	}
	return lost, doubled
}

// askAgain wants every request id to give what it has given, at another replica.
func (c *clustering) askAgain() {
	c.t.Helper()
	var asking sync.WaitGroup
	limit := make(chan struct{}, 8)
	for request, room := range c.ledger.Requests() {
		limit <- struct{}{}
		asking.Go(func() {
			defer func() { <-limit }()
			err := c.call(c.t.Context(), func(ctx context.Context, api classrecv1.RecordingServiceClient) error {
				resp, err := api.StartRecording(ctx, &classrecv1.StartRecordingRequest{Room: room, RequestId: request})
				if err == nil {
					err = c.ledger.Started(room, request, resp.GetRecording().GetName())
				}
				return err
			})
			if err != nil {
				c.t.Errorf("request id %s, asked again: %v", request, err)
			}
		})
	}
	asking.Wait()
}

// abandoned waits until nobody is in the rooms any more, and holds a lease, and returns the log as the database has it.
func (c *clustering) abandoned() []chaostest.LogMessage {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), chaostest.Patience)
	defer cancel()
	for _, r := range c.rooms {
		if err := r.attendee.Alone(ctx); err != nil {
			c.t.Errorf("a replica has nothing to do in the room any more, and stays: %v", err)
		}
	}
	for {
		log, err := chaostest.ReadRawLog(ctx, c.own.URL())
		if err != nil {
			c.t.Fatalf("read the log from the database: %v", err)
		}
		held := chaostest.Holders(log)
		if len(held) == 0 {
			return log
		}
		if !chaostest.Pause(ctx, 500*time.Millisecond) {
			c.t.Errorf("rooms are leased for ever: %v", held)
			return log
		}
	}
}

// sameLog reads all events at every replica, and wants them to be the same.
func (c *clustering) sameLog() (log []chaostest.Event) {
	c.t.Helper()
	for n, r := range c.replicas {
		events, err := c.caller.ReadLog(c.t.Context(), r.api)
		if err != nil {
			c.t.Fatalf("read the log at replica %d: %v", n, err)
		}
		if n == 0 {
			log = events
		} else if !slices.Equal(log, events) {
			c.t.Errorf("replica %d has %d events in its log, another one %d, or others", n, len(events), len(log))
		}
	}
	return log
}

// againstRooms compares the classes that were on in the rooms with those that the log has: each once. A class of a
// teacher that did not wait may not be seen, when nobody was there to see it.
func (c *clustering) againstRooms(log []chaostest.Event, raw []chaostest.LogMessage) (unseen, twice int) {
	type class struct {
		room string
		ts   string
	}
	logged, was := map[class]int{}, map[class]int{}
	missable := map[class]bool{}
	for _, ev := range log {
		if ev.Action == classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD {
			ts, _, _ := strings.Cut(ev.Recording[strings.LastIndex(ev.Recording, "/")+1:], "-")
			logged[class{ev.Room, ts}]++
		}
	}
	for _, r := range c.rooms {
		for _, each := range r.attendee.Classes() {
			at := class{r.name, fmt.Sprint(each.TS)}
			was[at]++
			missable[at] = c.hasty[at.room+" "+at.ts] && !c.attended(r.name, each, raw)
			if missable[at] {
				c.missable++
			}
		}
	}
	for each, n := range was {
		switch {
		case logged[each] < n && missable[each]:
			c.missed++
		case logged[each] < n:
			c.t.Errorf("in %s, %d classes were on that had begun at %s, and the log has %d of them", each.room, n, each.ts, logged[each])
			unseen += n - logged[each]
		case logged[each] > n:
			c.t.Errorf("in %s, %d classes were on that had begun at %s, and the log has %d of them", each.room, n, each.ts, logged[each])
			twice += logged[each] - n
		}
	}
	for each, n := range logged {
		if was[each] == 0 {
			c.t.Errorf("the log has a class in %s, begun at %s, that nobody has seen there", each.room, each.ts)
			twice += n
		}
	}
	return unseen, twice
}

// attended tells whether a class was seen from its beginning to its end by a replica that was well, and had had the room's
// lease for a while: then it has to be in the log, however short it was.
func (c *clustering) attended(room string, class chaostest.Attended, raw []chaostest.LogMessage) bool {
	const (
		enough = 2 * time.Second // to be in the room when the lease is there, to look what is on, and to write
		// A database that was away is found again within as long as a lease lasts. What could not be
		// written goes with the lease.
		settle = 10 * time.Second
	)
	if class.With.IsZero() || class.Begun.Sub(class.With) < enough {
		return false
	}
	from, to := class.Begun.Add(-enough), class.Ended.Add(enough)
	holder, since := chaostest.HolderAt(raw, room, class.Begun)
	if since.After(from) || overlaps(c.away, from, class.Ended.Add(settle)) {
		return false
	}
	for _, r := range c.replicas {
		if slices.ContainsFunc(r.node.Lives(), func(l *chaostest.Life) bool { return holder != "" && l.Replica() == holder }) {
			return !overlaps(r.sick, from, to)
		}
	}
	return false
}

// byHolders tells where a replica says that it has written, as the room's worker, what came while another one held the
// lease. The messages do not tell who has written them.
func (c *clustering) byHolders(raw []chaostest.LogMessage) (wrong []string) {
	writers := c.writers()
	holder := map[string]string{}
	for _, m := range raw {
		if m.Lease != nil {
			holder[m.Room] = m.Lease.GetHolder()
			continue
		}
		w, ok := writers[m.Sequence]
		if !ok {
			continue // by a call, or by one that was killed before it could say so
		}
		c.signed++
		if w.room != m.Room || w.replica != holder[m.Room] {
			wrong = append(wrong, fmt.Sprintf("%d, in %s, was written by %s for %s, while the lease was held by %q",
				m.Sequence, m.Room, w.replica, w.room, holder[m.Room]))
		}
	}
	if c.signed == 0 {
		wrong = append(wrong, "no replica says what it has written")
	}
	return wrong
}

// writer is who has written a message of the log, by its own word.
type writer struct{ replica, room string }

// writers are those of all messages that workers say that they have written, by its sequence.
func (c *clustering) writers() map[uint64]writer {
	writers := map[uint64]writer{}
	for _, r := range c.replicas {
		var lives []map[uint64]string // the rooms of what each has written
		c.eachLine(r, func(line []byte) {
			var entry struct {
				Msg, Room string
				Sequence  uint64
			}
			switch {
			case json.Unmarshal(line, &entry) != nil:
			case entry.Msg == "life":
				lives = append(lives, map[uint64]string{})
			case strings.HasPrefix(entry.Msg, "recording is ") && entry.Sequence > 0:
				lives[len(lives)-1][entry.Sequence-1] = entry.Room // the API's is one more
			}
		})
		for n, life := range r.node.Lives() {
			for sequence, room := range lives[n] {
				if life.Replica() != "" {
					writers[sequence] = writer{life.Replica(), room}
				}
			}
		}
	}
	return writers
}

// inOrder tells where sequences are missing in the log, or twice.
func inOrder(raw []chaostest.LogMessage) (wrong []string) {
	for i, m := range raw {
		if m.Sequence != uint64(i+1) {
			wrong = append(wrong, fmt.Sprintf("%d is the message number %d", m.Sequence, i+1))
		}
	}
	return wrong
}

// takeover is how long a room, in which a class was on, had nobody.
type takeover struct {
	from     silence
	room     string
	leased   time.Duration // until another replica had the lease
	rejoined time.Duration // until one was in the room; 0: nobody had to
}

// takeovers finds in the log who has taken the rooms over of a replica that was killed, frozen or cut off from the database.
func (c *clustering) takeovers(raw []chaostest.LogMessage) (all []takeover) {
	byRoom := map[string][]chaostest.LogMessage{}
	for _, m := range raw {
		byRoom[m.Room] = append(byRoom[m.Room], m)
	}
	for _, from := range c.silent {
		for _, r := range c.rooms {
			holder, on, next := "", false, time.Time{}
			for _, m := range byRoom[r.name] {
				if m.At.After(from.at) {
					if m.Lease != nil {
						if m.Lease.GetHolder() != "" && m.Lease.GetHolder() != from.replica {
							next = m.At
						}
						break // else it has come back itself
					}
					continue
				}
				if m.Lease != nil {
					holder = m.Lease.GetHolder()
					continue
				}
				s := m.Record.GetRecording().GetState()
				on = s >= classrecv1.RecordingState_RECORDING_STATE_STARTING && s <= classrecv1.RecordingState_RECORDING_STATE_STOPPING
			}
			if holder != from.replica || !on {
				continue
			}
			if !from.back.IsZero() && (next.IsZero() || next.After(from.back)) {
				if from.back.Sub(from.at) > takeoverBound && !c.troubled(from.at, from.back) {
					c.t.Errorf("%s was of a replica that could not be heard for %v, with a class, and nobody has taken it over",
						r.name, from.back.Sub(from.at))
				}
				continue // it was back in time
			}
			if next.IsZero() {
				c.t.Errorf("%s was of a replica that was killed, with a class, and nobody has taken it over", r.name)
				continue
			}
			over := takeover{from: from, room: r.name, leased: next.Sub(from.at)}
			if join := r.attendee.JoinAfter(next); !join.IsZero() {
				over.rejoined = join.Sub(from.at)
			}
			all = append(all, over)
		}
	}
	return all
}

// troubled tells whether something was wrong with the database in that time, or just before.
func (c *clustering) troubled(from, to time.Time) bool {
	from = from.Add(-2 * time.Second)
	return overlaps(c.away, from, to)
}

// finish has all watchers come to the end of the log, and counts what they have missed.
func (c *clustering) finish(log []chaostest.Event) (missed, twice, wrong, delivered int) {
	var finishing sync.WaitGroup
	watchers := slices.Concat(c.all, c.watchers)
	for _, w := range watchers {
		finishing.Go(func() {
			ctx, cancel := context.WithTimeout(c.t.Context(), chaostest.Patience)
			defer cancel()
			if err := w.Finish(ctx); err != nil {
				c.t.Errorf("watch of %s over %s is not synced: %v", w.Room, w.Protocol, err)
			}
		})
	}
	finishing.Wait()
	for _, w := range watchers {
		want := log
		if w.Room != "-" {
			want = slices.DeleteFunc(slices.Clone(log), func(ev chaostest.Event) bool { return ev.Room != w.Room })
		}
		m, d, x := chaostest.Compare(want, w.Events())
		if m+d+x > 0 {
			c.t.Errorf("watch of %s over %s: %d missed, %d twice, %d wrong, of %d", w.Room, w.Protocol, m, d, x, len(want))
		}
		missed, twice, wrong, delivered = missed+m, twice+d, wrong+x, delivered+len(w.Events())
	}
	return missed, twice, wrong, delivered
}

// report prints the figures, and fails the test for a takeover that has taken too long.
func (c *clustering) report(took time.Duration, log []chaostest.Event, raw []chaostest.LogMessage, lost, doubled int) {
	say := func(format string, args ...any) { chaostest.Print(c.t, "replicas: "+format, args...) }
	missed, twice, wrong, delivered := c.finish(log)
	bound := takeoverBound
	if !long {
		bound *= 2
	}
	// Of kills, and of what a replica comes back from.
	var leased, rejoined [2][]time.Duration
	var without []time.Duration
	for _, over := range c.takeovers(raw) {
		from, to := over.from.at.Add(-2*time.Second), over.from.at.Add(over.leased)
		switch {
		case overlaps(c.away, from, to):
			without = append(without, over.leased)
			continue
		case over.leased > bound:
			c.t.Errorf("%s was taken over %v after its replica was last heard, at %v", over.room, over.leased, over.from.at.UTC().Format(time.StampMilli))
		}
		kind := 0
		if !over.from.back.IsZero() {
			kind = 1
		}
		leased[kind] = append(leased[kind], over.leased)
		if over.rejoined > 0 {
			rejoined[kind] = append(rejoined[kind], over.rejoined)
		}
	}
	teachers := 0
	for _, r := range c.rooms {
		if r.kind == byTeacher {
			teachers += len(r.attendee.Classes())
		}
	}
	say("rooms %d, in %v; %v", len(c.rooms), took.Round(time.Second), c.done)
	say("calls %d, made again %v, slowest that was answered %v; though nothing was away UNAVAILABLE %d, no answer %d; starts that found a class on %d",
		c.calls.Load(), c.caller.Retries(), time.Duration(c.slowest.Load()).Round(time.Millisecond), c.refused.Load(), c.mute.Load(), c.strays.Load())
	if n := c.refused.Load() + c.mute.Load(); n > maxRefused() {
		c.t.Errorf("%d times a replica that was well did not do what was asked of it, and nothing was away", n)
	}
	say("recordings acknowledged %d, classes of teachers %d; lost %d, doubled %d", c.ledger.Len(), teachers, lost, doubled)
	say("classes of less than 300 ms %d, during which no replica was well and in the room %d, of which seen by nobody %d",
		len(c.hasty), c.missable, c.missed)
	say("messages in the log %d, out of order: %d; rooms left to another %d times",
		len(raw), len(inOrder(raw)), c.said("leaving the room to another process"))
	say("messages of which a worker says that it has written them %d", c.signed)
	say("events %d, watchers %d, reconnects %d, delivered %d: missed %d, twice %d, in another form or order %d",
		len(log), len(c.all)+len(c.watchers), c.reconnects(), delivered, missed, twice, wrong)
	quantiles := func(all []time.Duration) string {
		const unit = 10 * time.Millisecond
		return fmt.Sprintf("%d, p50 %v, max %v", len(all), chaostest.Quantile(all, 0.5).Round(unit), chaostest.Quantile(all, 1).Round(unit))
	}
	say("takeovers of rooms with a class, from the kill to the lease: %s; to being in the room: %s", quantiles(leased[0]), quantiles(rejoined[0]))
	say("the same from being cut off from the database, or frozen: %s; to being in the room: %s", quantiles(leased[1]), quantiles(rejoined[1]))
	say("both without the database meanwhile: %s", quantiles(without))
	if len(leased[0])+len(leased[1])+len(without) == 0 {
		c.t.Error("no room with a class was taken over")
	}
}

func (c *clustering) reconnects() int {
	var sum chaostest.WatchCounts
	for _, w := range slices.Concat(c.all, c.watchers) {
		sum.Add(w.Counts())
	}
	return sum.Streams - len(c.all) - len(c.watchers)
}

// said counts the lines of the replicas' logs that have a text.
func (c *clustering) said(text string) (n int) {
	for _, r := range c.replicas {
		c.eachLine(r, func(line []byte) {
			if bytes.Contains(line, []byte(text)) {
				n++
			}
		})
	}
	return n
}

// eachLine goes through the log of a replica.
func (c *clustering) eachLine(r *replica, take func(line []byte)) {
	file, err := os.Open(filepath.Join(c.dir, fmt.Sprintf("replica-%d", r.number), "log"))
	if err != nil {
		c.t.Error(err)
		return
	}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		take(lines.Bytes())
	}
	if err := errors.Join(lines.Err(), file.Close()); err != nil {
		c.t.Error(err)
	}
}
