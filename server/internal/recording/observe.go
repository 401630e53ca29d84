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
		w.lost, w.offline = ev.StateLost, false
		w.trouble.Store(nil)
	case room.Disconnected:
		w.away, w.offline = ev.At, true
		if ev.Err != nil {
			err := public(ev.Err)
			w.trouble.Store(&err)
		}
	case room.Ended:
		w.sessionEnded(ctx, ev.Err)
	}
}

func (w *worker) snapshot(ctx context.Context, ev *room.Event) {
	w.synced, w.op = true, nil
	live := w.live()
	w.reborn = w.s.cfg.RoomsStartEmpty && live != nil && live.Record.GetId() == w.carried
	w.lost = ev.Vacant || w.reborn
	w.carried = ""
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
	known := w.class
	w.class = &msg
	w.sawEcho()
	if live := w.live(); live != nil {
		rec := live.Record
		switch {
		case w.another(rec, known, msg, inList):
			// The class that we knew has ended while we did not look, and this is the
			// next one. It ended before this one began, at the latest.
			w.apply(ctx, rec.GetId(), ended{msg: talkcloud.Message{TS: msg.TS}, gone: true})
		case rec.GetRecording().GetState() == starting:
			if w.own(rec, msg, inList) {
				w.apply(ctx, rec.GetId(), begun{msg: msg, user: w.userID(msg), name: w.freeName(msg), inList: false})
				return
			}
			name := w.freeName(msg)
			w.apply(ctx, rec.GetId(), startFailed{status: w.s.cfg.Status(errAlreadyBegun(name)), blockedBy: name})
		default:
			w.apply(ctx, rec.GetId(), begun{msg: msg, inList: inList, gap: w.gap(rec, msg)})
			w.lost, w.reborn, w.away = false, false, time.Time{}
			return
		}
	}
	w.adopt(ctx, msg, inList)
}

// own tells whether a ClassBegin is the one that this recording published, in
// this life or the last.
func (w *worker) own(rec *storev1.Record, msg talkcloud.Message, inList bool) bool {
	from := string(msg.FromID)
	switch {
	case w.sent == rec.GetId() && !inList:
		return from == "" || from == w.user()
	case w.resumed == rec.GetId():
		return from != "" && from == rec.GetJoin().GetUserId()
	}
	return w.sent == rec.GetId() && from != "" && from == w.user()
}

// another tells a ClassBegin, found where we had not looked for a while, that is
// of another class than the live recording: it has another ts, and neither did
// we publish it, in this life or the last, nor had the room lost its state.
func (w *worker) another(rec *storev1.Record, known *talkcloud.Message, msg talkcloud.Message, inList bool) bool {
	parts := rec.GetRecordTs()
	switch state := rec.GetRecording().GetState(); {
	case !inList, w.lost, len(parts) == 0, state != recording && state != stopping:
		return false
	case msg.TS == 0, known != nil && known.TS == 0: // the platform does not say
		return false
	case parts[len(parts)-1] == messageTime(msg, w.s.now()).Unix():
		return false
	}
	from := string(msg.FromID)
	ours := w.sent == rec.GetId() && (from == "" || from == w.user())
	before := !w.evicted && from != "" && from == rec.GetJoin().GetUserId()
	return !ours && !before
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
	if !w.lost {
		return nil
	}
	gap := &classrecv1.RecordingGap{
		EndTime: timestamppb.New(messageTime(msg, w.s.now())),
		Reason:  "the room lost its state; the class was begun again",
	}
	from := w.away
	if w.reborn {
		// It last changed when it was begun, in the life that recorded it.
		from = w.s.cfg.LastAlive(rec.GetRecording().GetUpdateTime().AsTime())
		gap.Reason = "the service was restarted, and its platform with it; the class was begun again"
	}
	if !from.IsZero() {
		gap.StartTime = timestamppb.New(from)
	}
	return gap
}

// adopt makes a recording of a class that somebody else began.
func (w *worker) adopt(ctx context.Context, msg talkcloud.Message, inList bool) {
	at := w.s.now()
	rec := newRecord(w.s.cfg.Tenant, w.room, at)
	rec.Recording.Origin = classrecv1.RecordingOrigin_RECORDING_ORIGIN_ROOM
	c := change{Record: rec, now: at, lim: w.s.cfg.limits()}
	c.begin(begun{msg: msg, user: string(msg.FromID), name: w.freeName(msg), inList: inList})
	w.persist(ctx, w.s.logOf(rec), func() error {
		revision, live := w.s.store.Room(w.s.cfg.Tenant, w.room)
		lease := w.lease()
		if live != nil || lease == nil {
			return nil // another process was faster
		}
		_, err := w.s.append(ctx, lease, rec, revision)
		return err
	})
}

// freeName returns the name that a class begun by msg gets.
func (w *worker) freeName(msg talkcloud.Message) string {
	ts := messageTime(msg, w.s.now()).Unix()
	for n := 1; ; n++ {
		name := Name(w.room, ts, n)
		if _, err := w.s.store.ByName(w.s.cfg.Tenant, name); err != nil {
			return name
		}
	}
}

// ended takes that there is no ClassBegin in the room: deleted just now, or
// gone when we looked.
func (w *worker) ended(ctx context.Context, msg talkcloud.Message, gone bool) {
	w.class = nil
	w.sawEcho()
	live := w.live()
	if live == nil {
		return
	}
	r := live.Record.GetRecording()
	if gone && w.lost && r.GetState() == recording && r.GetOrigin() == classrecv1.RecordingOrigin_RECORDING_ORIGIN_API {
		return // nobody ended it: work publishes it again
	}
	w.apply(ctx, live.Record.GetId(), ended{msg: msg, gone: gone})
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
	case classGoesOn(cause) && !w.evicted:
		// Only our user was put out. The class is over when it is ended, so look
		// on as a guest, who can end it too; one who is put out as well goes.
		w.evicted = true
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
