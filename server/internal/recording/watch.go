// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/admission"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// AllRooms is the room of a watch that follows them all.
const AllRooms = "-"

// Watch is one caller's stream of class events. It belongs to one goroutine.
type Watch struct {
	s       *Service
	worker  *worker                // nil for all rooms
	counted bool                   // among the worker's watchers
	told    bool                   // Hooks.Watching knows of it
	visible func(room string) bool // nil: all
	place   func()                 // gives its place among the watchers back; nil once that is done
	log     *store.Watcher
	pending []*classrecv1.ClassBeginEvent // the snapshot that is still to be sent
	caught  <-chan struct{}               // nil once synced has been sent
	resume  uint64                        // the revision up to which everything has been sent
	silence *time.Timer
}

// WatchMessage is one message of a watch.
type WatchMessage struct {
	response *classrecv1.WatchClassBeginResponse
	entry    *store.Entry // instead of response: an event that all watchers get
}

// Response returns the message. Nobody may change it.
func (m WatchMessage) Response() *classrecv1.WatchClassBeginResponse {
	if m.entry != nil {
		return eventMessage(loggedEvent(m.entry))
	}
	return m.response
}

// Encoded returns what encode made of the message; where many watchers get the
// same message, encode runs once for all of them, and the result is shared.
func (m WatchMessage) Encoded(encode func(*classrecv1.WatchClassBeginResponse) any) any {
	if m.entry == nil {
		return encode(m.response)
	}
	return m.entry.Shared(func(*store.Entry) any { return encode(m.Response()) })
}

// Watch begins a stream. For a room, it returns when the room is joined and
// what is in it is known. Rooms that are not visible are passed over; nil: all
// are. The caller closes the watch. Errors: see WatchClassBegin in the API.
func (s *Service) Watch(ctx context.Context, req *classrecv1.WatchClassBeginRequest, visible func(room string) bool) (*Watch, error) {
	if err := s.cfg.Admission.Call(admission.Watch); err != nil {
		return nil, public(err)
	}
	place, err := s.cfg.Admission.Watcher()
	if err != nil {
		return nil, public(err)
	}
	w := &Watch{s: s, visible: visible, place: place, silence: time.NewTimer(s.cfg.Heartbeat)}
	if err := s.store.Sync(ctx); err != nil {
		w.Close()
		return nil, public(err)
	}
	filter := store.WatchFilter{Tenant: s.cfg.Tenant}
	if roomID := req.GetRoom(); roomID != AllRooms {
		filter.Room = roomID
		worker, _, err := s.holdFor(roomID, asked)
		if err != nil {
			w.Close()
			return nil, err
		}
		w.worker = worker
		if w.counted, err = worker.enter(ctx, talkcloud.Secret(req.GetRoomPassword()), true); err != nil {
			w.Close()
			return nil, public(err)
		}
	}
	if err := w.open(ctx, filter, req.GetAfterSequence()); err != nil {
		w.dropped(err)
		w.Close()
		return nil, public(err)
	}
	return w, nil
}

func (w *Watch) open(ctx context.Context, filter store.WatchFilter, after uint64) error {
	if after == 0 {
		if err := w.s.store.Sync(ctx); err != nil {
			return err
		}
		last, live := w.s.store.Snapshot(filter)
		for _, e := range live {
			if e.Record.GetRecording().GetName() != "" && w.sees(e) {
				w.pending = append(w.pending, presentEvent(e))
			}
		}
		// In the order of the log, so that whoever is cut off in the middle can
		// resume from the last one.
		slices.SortFunc(w.pending, func(a, b *classrecv1.ClassBeginEvent) int {
			return cmp.Compare(a.GetSequence(), b.GetSequence())
		})
		after = last
	} else {
		after = store.RevisionOf(after)
	}
	log, err := w.s.store.Watch(ctx, filter, after)
	if err != nil {
		return watchError(err)
	}
	w.log, w.caught, w.resume = log, log.CaughtUp(), after
	w.told = true
	call(w.s.cfg.Hooks.Watching, 1)
	return nil
}

// Next returns the next message, waiting for it: an event, synced, or after a
// silence a heartbeat. The error is ctx's, or the stream's end (see
// WatchClassBegin in the API).
func (w *Watch) Next(ctx context.Context) (WatchMessage, error) {
	if len(w.pending) > 0 {
		ev := w.pending[0]
		w.pending = w.pending[1:]
		return WatchMessage{response: eventMessage(ev)}, nil
	}
	if w.caught == nil && len(w.log.C()) > 0 { // in a burst, nothing is waited for
		if msg, ok, err := w.take(<-w.log.C()); ok || err != nil {
			return msg, err
		}
	}
	w.silence.Reset(w.s.cfg.Heartbeat)
	for {
		select {
		case <-ctx.Done():
			return WatchMessage{}, ctx.Err()
		case <-w.silence.C:
			// Other rooms' events move the place to resume from too: it does not
			// become too old in a room where nothing happens.
			w.resume = max(w.resume, w.log.Passed())
			return WatchMessage{response: w.s.heartbeatMessage(w.resume)}, nil
		case <-w.caught:
			if len(w.log.C()) == 0 {
				w.caught = nil
				w.resume = max(w.resume, w.log.UpTo())
				return WatchMessage{response: syncedMessage(w.resume)}, nil
			}
			if msg, ok, err := w.take(<-w.log.C()); ok || err != nil {
				return msg, err
			}
		case e := <-w.log.C():
			if msg, ok, err := w.take(e); ok || err != nil {
				return msg, err
			}
		}
	}
}

// take makes a message of a change; ok is false when the change is no event.
// A nil entry is the log's end.
func (w *Watch) take(e *store.Entry) (msg WatchMessage, ok bool, err error) {
	if e == nil {
		err := watchError(w.log.Err())
		w.dropped(err)
		return WatchMessage{}, false, public(err)
	}
	w.resume = e.Revision
	if delivered := w.s.cfg.Hooks.Delivered; delivered != nil && w.caught == nil && !e.Stored.IsZero() {
		delivered(max(0, time.Since(e.Stored)))
	}
	return WatchMessage{entry: e}, e.Record.GetEvent() != nil && w.sees(e), nil
}

func (w *Watch) sees(e *store.Entry) bool {
	return w.visible == nil || w.visible(e.Record.GetRecording().GetRoom())
}

// Close ends the watch and lets go of its room.
func (w *Watch) Close() {
	w.silence.Stop()
	if w.place != nil {
		w.place()
		w.place = nil
	}
	if w.told {
		w.told = false
		call(w.s.cfg.Hooks.Watching, -1)
	}
	if w.log != nil {
		w.log.Close()
	}
	if w.worker != nil {
		if w.counted {
			w.worker.watchers.Add(-1)
		}
		w.s.release(w.worker)
	}
}

// dropped tells of a watch that ends because it is behind.
func (w *Watch) dropped(err error) {
	if known := (*Error)(nil); errors.As(err, &known) && (known.Reason == reasonTooSlow || known.Reason == reasonTooOld) {
		call(w.s.cfg.Hooks.Dropped, known.Reason == reasonTooOld)
	}
}

func watchError(err error) error {
	var slow *store.SlowError
	var old *store.TooOldError
	var ahead *store.AheadError
	switch {
	case errors.As(err, &slow):
		return errTooSlow(store.SequenceOf(slow.Resume))
	case errors.As(err, &old):
		return errTooOld(store.SequenceOf(old.Oldest))
	case errors.As(err, &ahead):
		return errUnknownSequence(store.SequenceOf(ahead.Last))
	case err == nil:
		return errNotRunning()
	}
	return err
}

func syncedMessage(revision uint64) *classrecv1.WatchClassBeginResponse {
	return &classrecv1.WatchClassBeginResponse{Payload: &classrecv1.WatchClassBeginResponse_Synced{
		Synced: &classrecv1.WatchSynced{Sequence: store.SequenceOf(revision)},
	}}
}

func (s *Service) heartbeatMessage(revision uint64) *classrecv1.WatchClassBeginResponse {
	return &classrecv1.WatchClassBeginResponse{Payload: &classrecv1.WatchClassBeginResponse_Heartbeat{
		Heartbeat: &classrecv1.WatchHeartbeat{Sequence: store.SequenceOf(revision), Time: timestamppb.New(s.now())},
	}}
}

func eventMessage(ev *classrecv1.ClassBeginEvent) *classrecv1.WatchClassBeginResponse {
	return &classrecv1.WatchClassBeginResponse{Payload: &classrecv1.WatchClassBeginResponse_Event{Event: ev}}
}

// loggedEvent returns the event that a change was. Entries are shared, so it
// is a copy; the recording in it is the entry's own and is not changed.
func loggedEvent(e *store.Entry) *classrecv1.ClassBeginEvent {
	ev := e.Record.GetEvent()
	return &classrecv1.ClassBeginEvent{
		Sequence:   store.SequenceOf(e.Revision),
		Action:     ev.GetAction(),
		Room:       ev.GetRoom(),
		Recording:  e.Record.GetRecording(),
		MessageId:  ev.GetMessageId(),
		Time:       ev.GetTime(),
		InList:     ev.GetInList(),
		FromUserId: ev.GetFromUserId(),
		Data:       ev.GetData(),
	}
}

// presentEvent returns the ADD of a class that is on, for a snapshot.
func presentEvent(e *store.Entry) *classrecv1.ClassBeginEvent {
	r := e.Record.GetRecording()
	revision := e.Record.GetAddSequence()
	if revision == 0 {
		revision = e.Revision
	}
	return &classrecv1.ClassBeginEvent{
		Sequence:   store.SequenceOf(revision),
		Action:     classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD,
		Room:       r.GetRoom(),
		Recording:  r,
		MessageId:  talkcloud.MessageClassBegin,
		Time:       r.GetRecordTime(),
		InList:     true,
		FromUserId: r.GetUserId(),
		Data:       e.Record.GetClassBeginData(),
	}
}
