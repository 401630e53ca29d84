// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	"github.com/classrec/classrec/server/internal/store"
)

// What is being done is asked of each worker, and told in words by it: nothing is
// kept for those who may ask. A worker that does not answer in time waits for the
// store, which is what there is to tell of it then.

// inspectTimeout is how long a worker may take to answer.
const inspectTimeout = time.Second

// storing is a worker's wait for the store to take a change.
type storing struct {
	since   time.Time
	attempt int   // those that have failed
	err     error // of the last one; nil while the first is under way
}

// Replica returns this process's name among those that share the log.
func (s *Service) Replica() string { return s.store.ReplicaID() }

// Inspect returns what the workers of this process do, by room; of one room, or of
// all with an empty id. It waits for each for a second at most.
func (s *Service) Inspect(ctx context.Context, roomID string) []*adminv1.Room {
	s.mu.Lock()
	var workers []*worker
	for id, w := range s.workers {
		if roomID == "" || id == roomID {
			workers = append(workers, w)
		}
	}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	rooms := make([]*adminv1.Room, len(workers))
	var asked sync.WaitGroup
	for i, w := range workers {
		asked.Go(func() { rooms[i] = w.inspect(ctx) })
	}
	asked.Wait()
	slices.SortFunc(rooms, func(a, b *adminv1.Room) int { return cmp.Compare(a.GetRoom(), b.GetRoom()) })
	return rooms
}

// inspect has run describe what it does, or says why it does not.
func (w *worker) inspect(ctx context.Context) *adminv1.Room {
	answer := make(chan *adminv1.Room, 1)
	select {
	case w.results <- func() { answer <- w.describe() }:
		select {
		case room := <-answer:
			return room
		case <-w.gone: // it was the last thing that run has taken
		case <-ctx.Done():
		}
	case <-w.gone:
	case <-ctx.Done():
	}
	room := w.outline()
	st := w.storing.Load()
	if st == nil {
		room.Doing = "does not answer, or has just ended"
		return room
	}
	room.Doing, room.Why = "stores a change", "what happened in the room is to be in the log"
	room.WaitsFor, room.Since = "the log to take it", stamp(st.since)
	if st.err != nil {
		room.LastError = fmt.Sprintf("attempt %d: %s", st.attempt, Public(st.err))
	}
	return room
}

// Public is an error as callers see it, without its causes.
func Public(err error) string { return public(err).Error() }

// outline is what is known of a room without its worker's goroutine.
func (w *worker) outline() *adminv1.Room {
	s := w.s
	room := &adminv1.Room{Tenant: s.cfg.Tenant, Room: w.room, WatcherCount: count(int(w.watchers.Load()))}
	if holder, alive := s.store.Holder(s.cfg.Tenant, w.room); alive {
		room.LeaseHolder, room.LeaseHeld = holder, holder == s.store.ReplicaID()
	}
	if err := w.lastTrouble(); err != nil {
		room.LastError = err.Error()
	}
	looks := s.pollers.in(w.room)
	for _, e := range s.store.UnfinishedIn(s.cfg.Tenant, w.room) {
		r := &adminv1.RoomRecording{
			Name: e.Record.GetRecording().GetName(), RequestId: e.Record.GetRequestId(),
			State: stateOf(e), Since: e.Record.GetRecording().GetUpdateTime(),
			Deadline: stamp(deadlineOf(e.Record, s.cfg.limits())),
		}
		if l, ok := looks[e.Record.GetId()]; ok {
			r.LookCount, r.NextLookTime = count(l.times), stamp(l.next)
			if l.err != nil {
				r.LookError = Public(l.err)
			}
		}
		room.Recordings = append(room.Recordings, r)
	}
	return room
}

// describe tells what run does. It is called there.
func (w *worker) describe() *adminv1.Room {
	room := w.outline()
	room.WorkerTime, room.NextTime = stamp(w.began), stamp(w.due)
	room.WaitingCallCount, room.ClassOn = count(len(w.waiting)), w.view.class != nil
	switch {
	case w.session == nil && w.joining:
		room.Session = adminv1.SessionState_SESSION_STATE_JOINING
	case w.session == nil:
		room.Session = adminv1.SessionState_SESSION_STATE_OUT
	case w.view.contact == absent:
		room.Session, room.AwaySince = adminv1.SessionState_SESSION_STATE_AWAY, stamp(w.view.missed)
	default:
		room.Session = adminv1.SessionState_SESSION_STATE_ONLINE
	}
	live := w.live()
	switch t := w.tenure.Load(); {
	case t == nil && w.acquiring:
		room.Doing, room.Why, room.WaitsFor = "takes the room's lease", w.reason(live), "the log to grant it"
	case t == nil && room.GetLeaseHolder() != "" && !room.GetLeaseHeld():
		room.Doing, room.Why = "leaves the room to replica "+room.GetLeaseHolder(), "that one has its lease"
		room.WaitsFor = "what it stores"
	case t == nil:
		room.Doing, room.Why, room.WaitsFor = "is about to take the room's lease", w.reason(live), "the pause after a failure to be over"
	case t.ctx.Err() != nil:
		room.Doing, room.Why = "acts no more in the room", "its lease may be another's by now: this process could not tell the others that it is alive"
		room.WaitsFor, room.Session = "the log to answer", adminv1.SessionState_SESSION_STATE_AWAY
	case live != nil:
		w.describeLive(room, live)
	default:
		w.describeOther(room)
	}
	return room
}

// reason is what a worker is there for.
func (w *worker) reason(live *store.Entry) string {
	switch {
	case live != nil:
		return "a recording is " + strings.ToUpper(stateWord(live.Record))
	case len(w.waiting) > 0:
		return "calls want to know what is in the room"
	case w.watchers.Load() > 0:
		return "somebody watches the room"
	case len(w.s.store.UnfinishedIn(w.s.cfg.Tenant, w.room)) > 0:
		return "a recording is not finished"
	}
	return "nothing needs it any more"
}

// describeLive tells of a class that is on, begins or ends.
func (w *worker) describeLive(room *adminv1.Room, live *store.Entry) {
	room.Since = live.Record.GetRecording().GetUpdateTime()
	switch state := stateOf(live); {
	case w.session == nil && w.joining:
		room.Doing, room.WaitsFor = "joins the room", "the platform to let us in"
	case w.session == nil:
		room.Doing, room.WaitsFor = "joins the room again", "the pause after a failure to be over"
	case w.view.contact == absent:
		room.Doing, room.WaitsFor, room.Since = "makes the connection to the room again", "the platform to let us in", stamp(w.view.missed)
	case w.view.contact == unseen:
		room.Doing, room.WaitsFor = "looks at what is in the room", "the list of its messages"
	case w.op != nil && state == stopping:
		room.Doing, room.WaitsFor = "has deleted ClassBegin", "the platform's echo"
	case w.op != nil:
		room.Doing, room.WaitsFor = "has published ClassBegin", "the platform's echo"
	case state == starting && w.view.ours.id == live.Record.GetId():
		room.Doing, room.WaitsFor = "has published ClassBegin", "the platform to confirm it, or the deadline"
	case state == starting:
		room.Doing, room.WaitsFor = "is about to publish ClassBegin", "the room to be joined as the recording asks for"
	case state == stopping:
		room.Doing, room.WaitsFor = "deletes ClassBegin again", "the pause after a failure to be over"
	case w.view.class == nil:
		room.Doing, room.WaitsFor = "publishes ClassBegin again", "the pause after a failure to be over"
	default:
		room.Doing, room.WaitsFor = "stays in the room", "the end of the class: by StopRecording, in the room, or by the deadline"
	}
	switch stateOf(live) {
	case starting:
		room.Why = "StartRecording has asked for a class"
	case stopping:
		room.Why = "the end of the class is wanted: " + endWords(live.Record.GetStopReason())
	default:
		room.Why = "the class " + live.Record.GetRecording().GetName() + " is on"
		if w.view.class == nil && w.view.contact != unseen {
			room.Why = "the room has lost its state, ClassBegin too, and the class is to go on"
		}
	}
}

// describeOther tells of a room without a class.
func (w *worker) describeOther(room *adminv1.Room) {
	room.Why = w.reason(nil)
	switch {
	case w.session == nil && w.joining:
		room.Doing, room.WaitsFor = "joins the room", "the platform to let us in"
	case len(w.waiting) > 0, w.session == nil && w.watchers.Load() > 0:
		room.Doing, room.WaitsFor = "is about to join the room", "the pause after a failure to be over, or what is in the room"
	case w.watchers.Load() > 0:
		room.Doing, room.WaitsFor = "stays in the room", "a class that somebody begins"
	case len(w.polling) > 0:
		room.Doing, room.WaitsFor = "looks for the files of a class that is over", "the platform to list them, or the deadline"
		if rs := room.GetRecordings(); len(rs) > 0 {
			room.Since = rs[0].GetSince()
		}
	case w.session != nil:
		room.Doing, room.WaitsFor, room.Since = "stays in the room for a moment", "somebody who needs it", stamp(w.idle)
	default:
		room.Doing, room.WaitsFor = "gives the room's lease back", "the log"
	}
}

// stamp is a time, unset when it is zero.
func stamp(at time.Time) *timestamppb.Timestamp {
	if at.IsZero() {
		return nil
	}
	return timestamppb.New(at)
}

// count is a number as the API has it.
func count(n int) int32 { return int32(min(max(n, 0), 1<<30)) }
