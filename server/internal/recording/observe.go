// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// observe takes what the session saw.
func (w *worker) observe(ctx context.Context, ev *room.Event) {
	switch ev.Kind {
	case room.Snapshot:
		w.snapshot(ctx, ev)
	case room.Published:
		if ev.Message.Key() == talkcloud.MessageClassBegin {
			w.begun(ctx, ev.Message, ev.InList)
		}
	case room.Deleted:
		switch ev.Message.Key() {
		case talkcloud.MessageClassBegin, talkcloud.MessageAllAll:
			w.ended(ctx, ev.Message, ev.InList)
		}
	case room.Connected:
		w.view.contact, w.view.loss = present, kept
		if ev.StateLost {
			w.view.loss = emptied
		}
		if w.view.ours.open && w.op == nil && !w.view.ours.repeat {
			// What had been sent may be gone with the connection. If it is not, it is in
			// the list, which comes next: before it is published again.
			w.view.ours.repeat = true
			w.retry.next(w.s.now())
		}
		w.trouble.Store(nil)
	case room.Disconnected:
		w.view.contact, w.view.missed = absent, ev.At
		if ev.Err != nil {
			err := public(ev.Err)
			w.trouble.Store(&err)
		}
	case room.Ended:
		w.sessionEnded(ctx, ev.Err)
	}
}

func (w *worker) snapshot(ctx context.Context, ev *room.Event) {
	w.endOp()
	w.view = w.view.joined(w.liveRecord(), ev.Vacant, w.s.cfg.RoomsStartEmpty)
	for _, m := range ev.Messages {
		if m.Key() == talkcloud.MessageClassBegin {
			w.begun(ctx, m, true)
			return
		}
	}
	w.ended(ctx, talkcloud.Message{}, true)
}

// begun takes a ClassBegin that is in the room.
func (w *worker) begun(ctx context.Context, msg talkcloud.Message, inList bool) {
	rec := w.liveRecord()
	seen := sighting{msg: msg, inList: inList, made: w.s.cfg.Key.made(msg.FromID), earlier: w.earlier(ctx, msg)}
	w.judged = rec.GetId()
	verdict := w.view.begun(rec, seen)
	if verdict == ignored {
		w.log.Info("a ClassBegin is passed over: it is the echo of one that is over, or that another replaces", "from", msg.FromID, "ts", int64(msg.TS))
		return
	}
	if verdict == lookAgain {
		w.log.Info("a ClassBegin may be the echo of one that is over: looking at the room's list")
		w.leave()
		w.view.doubt = w.s.now().Add(w.s.cfg.DoubtTime)
		return
	}
	if n := len(msg.DataText()); n > maxData {
		w.log.Warn("the data of a ClassBegin is kept only in part", "bytes", n, "kept", maxData)
	}
	w.view.class, w.unwanted = &msg, false
	w.sawEcho(true)
	w.take(ctx, verdict, rec, seen)
}

// take does what the verdict on a ClassBegin says.
func (w *worker) take(ctx context.Context, verdict verdict, rec *storev1.Record, seen sighting) {
	msg := seen.msg
	switch verdict {
	case confirms:
		w.view.ours.open = false
		w.apply(ctx, rec.GetId(), begun{msg: msg, user: w.userID(msg), name: w.freeName(ctx, msg)})
	case blocks:
		name := w.freeName(ctx, msg)
		w.apply(ctx, rec.GetId(), startFailed{status: w.s.cfg.Status(errAlreadyBegun(name)), blockedBy: name})
		w.adopt(ctx, msg, seen.inList)
	case replaces:
		// The class that we knew has ended while we did not look, and this is the
		// next one. It ended before this one began, at the latest.
		w.apply(ctx, rec.GetId(), ended{msg: talkcloud.Message{TS: msg.TS}, gone: true})
		w.adopt(ctx, msg, seen.inList)
	case goesOn:
		w.apply(ctx, rec.GetId(), begun{msg: msg, inList: seen.inList, gap: w.gap(rec, msg)})
		w.view.loss, w.view.missed = kept, time.Time{}
	case revives:
		w.apply(ctx, seen.earlier.GetId(), begun{msg: msg, inList: seen.inList, gap: w.gapOf(seen.earlier)})
		w.view.doubt, w.view.missed = time.Time{}, time.Time{}
	case adopts:
		w.adopt(ctx, msg, seen.inList)
	case unwanted:
		w.reclaim(ctx, msg, seen.inList)
	case deletes:
		w.unwanted, w.view.doubt = true, w.s.now().Add(w.s.cfg.DoubtTime)
	case ignored, lookAgain:
	}
}

// earlier returns the newest recording that is over and began with msg, nil
// where there is none.
func (w *worker) earlier(ctx context.Context, msg talkcloud.Message) *storev1.Record {
	at, ok := msg.TS.Time()
	if !ok {
		return nil
	}
	var same []*store.Entry
	w.persist(ctx, w.log, func() (err error) {
		same, _, _, err = w.s.store.List(ctx, w.s.cfg.Tenant, store.Filter{Room: w.room, RecordTime: at.Unix()}, store.Cursor{}, maxSameSecond)
		if errors.Is(err, store.ErrDataLoss) {
			return nil // what cannot be read is told of; the class is recorded
		}
		return err
	})
	var newest *store.Entry
	for _, e := range same {
		if state := stateOf(e); state != processing && !isFinal(state) {
			continue
		}
		if newest == nil || e.Revision > newest.Revision {
			newest = e
		}
	}
	if newest == nil {
		return nil
	}
	return newest.Record
}

// maxSameSecond is how many recordings of one room and second are looked at.
const maxSameSecond = 100

// reclaim takes a class that is ours, and whose start was given up: its record
// where this worker knows it, else a new one. It ends soon, unless a call asks
// for it.
func (w *worker) reclaim(ctx context.Context, msg talkcloud.Message, inList bool) {
	ev := begun{msg: msg, user: string(msg.FromID), name: w.freeName(ctx, msg), inList: inList, unwanted: true}
	w.log.Warn("a class was begun for a start that had been given up; it is ended unless it is asked for again", "from", msg.FromID)
	if e, err := w.s.store.Get(ctx, w.s.cfg.Tenant, w.room, w.view.ours.id); err == nil && isGivenUp(e.Record) && e.Record.GetRecording().GetUserId() == string(msg.FromID) {
		w.apply(ctx, e.Record.GetId(), ev)
		return
	}
	w.insert(ctx, classrecv1.RecordingOrigin_RECORDING_ORIGIN_API, ev)
}

func (w *worker) user() string {
	if w.session == nil {
		return ""
	}
	return string(w.session.User())
}

func (w *worker) userID(msg talkcloud.Message) string {
	if msg.FromID != "" {
		return string(msg.FromID)
	}
	return w.user()
}

// gap returns what a recording has missed when its ClassBegin had to be
// published again.
func (w *worker) gap(rec *storev1.Record, msg talkcloud.Message) *classrecv1.RecordingGap {
	if w.view.loss == kept {
		return nil
	}
	gap := &classrecv1.RecordingGap{
		EndTime: timestamppb.New(messageTime(msg, w.s.now())),
		Reason:  "the room lost its state; the class was begun again",
	}
	from := w.view.missed
	if w.view.loss == reborn {
		// It last changed when it was begun, in the life that recorded it.
		from = w.s.cfg.LastAlive(rec.GetRecording().GetUpdateTime().AsTime())
		gap.Reason = "the service was restarted, and its platform with it; the class was begun again"
	}
	if !from.IsZero() {
		gap.StartTime = timestamppb.New(from)
	}
	return gap
}

// gapOf is the gap of a recording that was taken for over since it was missed.
func (w *worker) gapOf(rec *storev1.Record) *classrecv1.RecordingGap {
	return &classrecv1.RecordingGap{
		StartTime: rec.GetRecording().GetStopTime(), EndTime: timestamppb.New(w.s.now()),
		Reason: "ClassBegin was gone from the room for a while; the class was taken for over",
	}
}

// adopt makes a recording of a class that somebody else began.
func (w *worker) adopt(ctx context.Context, msg talkcloud.Message, inList bool) {
	w.insert(ctx, classrecv1.RecordingOrigin_RECORDING_ORIGIN_ROOM,
		begun{msg: msg, user: string(msg.FromID), name: w.freeName(ctx, msg), inList: inList})
}

// insert makes a recording of a class that is on.
func (w *worker) insert(ctx context.Context, origin classrecv1.RecordingOrigin, ev begun) {
	at := w.s.now()
	rec := newRecord(w.s.cfg.Tenant, w.room, at)
	rec.Recording.Origin = origin
	rec.OwnUserId = origin == classrecv1.RecordingOrigin_RECORDING_ORIGIN_API
	c := change{Record: rec, now: at, lim: w.s.cfg.limits()}
	c.begin(ev)
	w.persist(ctx, w.s.logOf(rec), func() error {
		lease := w.lease()
		if w.live() != nil || lease == nil {
			return nil // another process was faster
		}
		_, err := w.s.append(ctx, lease, rec, 0)
		return err
	})
}

// freeName returns the name that a class begun by msg gets.
func (w *worker) freeName(ctx context.Context, msg talkcloud.Message) (name string) {
	ts := messageTime(msg, w.s.now()).Unix()
	w.persist(ctx, w.log, func() error {
		for n := 1; ; n++ {
			name = Name(w.room, ts, n)
			switch _, err := w.s.store.ByName(ctx, w.s.cfg.Tenant, name); {
			case errors.Is(err, store.ErrNotFound):
				return nil
			case err != nil && !errors.Is(err, store.ErrDataLoss): // a damaged one has its name still
				return err
			}
		}
	})
	return name
}

// ended takes that there is no ClassBegin in the room: deleted just now, or
// gone when we looked.
func (w *worker) ended(ctx context.Context, msg talkcloud.Message, gone bool) {
	if class := w.view.class; class != nil && !gone {
		w.view.last = ending{begin: *class, end: msg}
	}
	w.view.class, w.unwanted = nil, false
	w.sawEcho(false)
	rec := w.liveRecord()
	ev, doubtful := w.view.ended(rec, msg, gone, w.s.cfg.RoomsStartEmpty)
	if ev == nil {
		return
	}
	if doubtful {
		w.view.doubt, w.view.again = w.s.now().Add(w.s.cfg.DoubtTime), true
	}
	w.apply(ctx, rec.GetId(), ev)
}

// doubting reports whether the room is stayed in for what may yet be seen
// there, and until when. At the end of that it is joined anew, for its list.
func (w *worker) doubting(live *store.Entry) (doubting bool, until time.Time) {
	v := &w.view
	switch {
	case v.doubt.IsZero():
		return false, time.Time{}
	case w.s.now().Before(v.doubt):
		return true, v.doubt
	case !v.again:
		v.doubt = time.Time{}
		return false, time.Time{}
	}
	v.again, v.doubt = false, w.s.now().Add(w.s.cfg.Linger)
	if live == nil {
		w.leave()
	}
	return true, v.doubt
}

// sessionEnded takes that the platform has put us out.
func (w *worker) sessionEnded(ctx context.Context, cause error) {
	err := public(cause)
	w.trouble.Store(&err)
	w.leave()
	w.retry.next(w.s.now())
	switch live := w.live(); {
	case live == nil:
	case isStarting(live):
		w.failStart(ctx, live.Record.GetId(), err)
	case classGoesOn(cause) && !w.view.evicted:
		// Only our user was put out. The class is over when it is ended, so look
		// on as a guest, who can end it too; one who is put out as well goes.
		w.view.evicted = true
	default:
		w.apply(ctx, live.Record.GetId(), roomClosed{})
	}
	w.answer(err)
}

// classGoesOn tells an eviction that concerns our user alone: somebody else is
// that user now, or somebody in the room put it out. When the room is over or
// disabled, its class is too.
func classGoesOn(err error) bool {
	var wire *talkcloud.Error
	return errors.As(err, &wire) && wire.Source == talkcloud.SourceEviction &&
		wire.Code != talkcloud.EvictedRoomOver && wire.Code != talkcloud.EvictedRoomDisabled
}
