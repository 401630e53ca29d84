// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"context"
	"time"

	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// beInRoom sees to it that the room is joined, as whom the recording asks for.
func (w *worker) beInRoom(ctx context.Context, live *store.Entry) (due time.Time) {
	if w.joining {
		return time.Time{}
	}
	as := w.identity(live)
	if w.session != nil {
		fresh := isStarting(live) && as.UserID != w.joinedAs
		if !fresh {
			return time.Time{}
		}
	}
	if at := w.retry.at; time.Now().Before(at) && !w.fresh(live) {
		return at
	}
	w.joining = true
	w.child(ctx, func() func() {
		session, err := w.s.rooms.Acquire(ctx, as)
		return func() { w.joined(ctx, as, session, err) }
	})
	return time.Time{}
}

// fresh tells a start that no join has been tried for: it does not wait for
// the pause after an earlier failure.
func (w *worker) fresh(live *store.Entry) bool {
	return isStarting(live) && w.retry.subject != live.Record.GetId()
}

// identity returns how to join: as the recording was asked for, or as a guest.
func (w *worker) identity(live *store.Entry) talkcloud.JoinOptions {
	as := talkcloud.JoinOptions{Room: talkcloud.RoomID(w.room), Nickname: w.s.cfg.Nickname, Password: w.password}
	if live == nil || live.Record.GetJoin() == nil {
		return as
	}
	join := live.Record.GetJoin()
	if join.GetNickname() != "" {
		as.Nickname = join.GetNickname()
	}
	password, err := w.s.cfg.Key.open(live.Record.GetId(), join.GetSealedPassword())
	if err != nil {
		w.log.Error("the room's password cannot be read; joining without", "recording", live.Record.GetRecording().GetName(), "error", err)
	}
	as.Password = password
	if !w.evicted {
		as.UserID = talkcloud.UserID(join.GetUserId())
	}
	return as
}

// joined takes the outcome of a join.
func (w *worker) joined(ctx context.Context, as talkcloud.JoinOptions, session *room.Session, err error) {
	w.joining = false
	if err == nil {
		w.leave()
		w.session, w.joinedAs = session, as.UserID
		w.sub = session.Subscribe()
		w.retry = retry{}
		w.trouble.Store(nil)
		return
	}
	err = public(err)
	w.trouble.Store(&err)
	w.retry.next()
	w.log.Warn("cannot enter the room", "error", err, "attempt", w.retry.attempt)
	w.answer(err)
	live := w.live()
	switch {
	case live == nil:
	case isStarting(live):
		w.retry.subject = live.Record.GetId()
		w.failStart(ctx, live.Record.GetId(), err)
	case final(err):
		w.apply(ctx, live.Record.GetId(), roomClosed{})
	}
}

// answer settles those who wait for the room to be joined.
func (w *worker) answer(err error) {
	for _, req := range w.waiting {
		req.done <- err
	}
	w.waiting = nil
}

// leave gives the session back.
func (w *worker) leave() {
	if w.session == nil {
		return
	}
	w.sub.Close()
	w.session.Release()
	w.session, w.sub, w.joinedAs = nil, nil, ""
	w.synced, w.lost, w.class, w.away, w.op = false, false, nil, time.Time{}, nil
}

func (w *worker) events() <-chan *room.Event {
	if w.sub == nil {
		return nil
	}
	return w.sub.C
}

// resubscribe follows the session anew: the worker was too slow for it, while
// the store was, say. The first event tells what is in the room.
func (w *worker) resubscribe() {
	if w.session != nil {
		w.sub.Close()
		w.sub = w.session.Subscribe()
	}
}
