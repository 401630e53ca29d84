// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"context"
	"errors"
	"time"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// beInRoom sees to it that the room is joined, as whom the recording asks for.
func (w *worker) beInRoom(ctx context.Context, t *tenure, live *store.Entry) (due time.Time) {
	if w.joining {
		return time.Time{}
	}
	as, id := w.identity(live)
	if w.session != nil {
		fresh := isStarting(live) && as.UserID != w.joinedAs
		if !fresh {
			return time.Time{}
		}
	}
	if at := w.retry.at; w.s.now().Before(at) && !w.fresh(live) {
		return at
	}
	w.joining = true
	w.child(ctx, func() func() {
		in, err := w.enterRoom(t.ctx, as, live) //nolint:contextcheck // it comes from run's
		return func() {
			w.joining = false
			if w.tenure.Load() != t || t.ctx.Err() != nil { // the room may be another's by now
				in.exit()
				return
			}
			w.joined(ctx, as, id, in, err)
		}
	})
	return time.Time{}
}

// presence is being in a room, and what is seen there; zero when not.
type presence struct {
	session *room.Session
	sub     *room.Subscription
}

func (p presence) exit() {
	if p.session != nil {
		p.sub.Close()
		p.session.Release()
	}
}

// enterRoom joins the room, for a recording where live is one. What is seen from
// then on waits for run, which may have to store other things first.
func (w *worker) enterRoom(ctx context.Context, as talkcloud.JoinOptions, live *store.Entry) (_ presence, err error) {
	rec := &storev1.Record{Recording: &classrecv1.Recording{Room: w.room}}
	if live != nil {
		rec = live.Record
	}
	ctx, end := w.s.trace(ctx, rec, "enter room")
	defer func() { end(err) }()
	session, err := w.s.rooms.Acquire(ctx, as)
	if err != nil {
		return presence{}, err
	}
	return presence{session, subscribe(session)}, nil
}

// fresh tells a start that no join has been tried for: it does not wait for
// the pause after an earlier failure.
func (w *worker) fresh(live *store.Entry) bool {
	return isStarting(live) && w.retry.subject != live.Record.GetId()
}

// identity returns how to join: as the recording was asked for, whose id it
// returns, or as a guest.
func (w *worker) identity(live *store.Entry) (as talkcloud.JoinOptions, id string) {
	as = talkcloud.JoinOptions{Room: talkcloud.RoomID(w.room), Nickname: w.s.cfg.Nickname, Password: w.password, Recorder: true}
	if live == nil || live.Record.GetJoin() == nil {
		if len(w.waiting) > 0 {
			as.Password = w.waiting[0].passwordOr(w.password)
		}
		return as, ""
	}
	join := live.Record.GetJoin()
	if join.GetNickname() != "" {
		as.Nickname = join.GetNickname()
	}
	password, err := w.s.cfg.Key.open(live.Record.GetId(), join.GetSealedPassword())
	if err != nil {
		w.s.logOf(live.Record).Error("the room's password cannot be read; joining without", "error", err)
	}
	as.Password = password
	if !w.view.evicted {
		as.UserID = talkcloud.UserID(join.GetUserId())
	}
	return as, live.Record.GetId()
}

// joined takes the outcome of a join for a recording, or as a guest. One that
// failed concerns nobody but those for whom it was made: others, who come with
// another password, are yet to be tried.
func (w *worker) joined(ctx context.Context, as talkcloud.JoinOptions, id string, in presence, err error) {
	if err == nil {
		w.leave()
		w.presence, w.joinedAs = in, as.UserID
		w.retry = retry{}
		w.trouble.Store(nil)
		if as.Password != "" {
			w.password = as.Password
		}
		return
	}
	err = public(err)
	w.trouble.Store(&err)
	w.retry.next(w.s.now())
	live := w.live()
	own := live != nil && live.Record.GetId() == id
	if log := w.log; !w.heard(own, live) {
		if own {
			log = w.s.logOf(live.Record)
		}
		log.Warn("cannot enter the room", "error", err, "attempt", w.retry.attempt)
	}
	switch {
	case own && isStarting(live):
		w.retry.subject = id
		w.failStart(ctx, id, err)
	case own && final(err),
		id == "" && live != nil && live.Record.GetJoin() == nil && as.Password == w.password && final(err):
		w.apply(ctx, live.Record.GetId(), roomClosed{})
	}
	if live := w.live(); live != nil && live.Record.GetId() == id {
		w.answer(err) // while it lasts, its identity is the one to join with
	} else {
		w.refuse(as.Password, err)
	}
}

// heard tells whether a failed join ends a call, whose line has the error then.
func (w *worker) heard(own bool, live *store.Entry) bool {
	return own && isStarting(live) && w.starts.Load() > 0 || len(w.waiting) > 0
}

// refuse answers those who wait for a join with a password. The next of the
// others is tried at once.
func (w *worker) refuse(password talkcloud.Secret, err error) {
	var others []enterRequest
	for _, req := range w.waiting {
		if req.passwordOr(w.password) != password {
			others = append(others, req)
			continue
		}
		req.done <- err
	}
	if w.waiting = others; len(others) > 0 {
		w.retry = retry{}
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
	w.exit()
	w.endOp()
	w.presence, w.joinedAs = presence{}, ""
	w.view = w.view.left()
}

// events returns what the session sees, nil while the room must not be acted in.
func (w *worker) events() <-chan *room.Event {
	if t := w.tenure.Load(); w.sub == nil || t == nil || t.ctx.Err() != nil {
		return nil
	}
	return w.sub.C
}

// subscribe follows what the worker looks at; a room is full of other messages.
func subscribe(s *room.Session) *room.Subscription {
	return s.Subscribe(talkcloud.MessageClassBegin, talkcloud.MessageAllAll)
}

// resubscribe follows the session anew: the worker was too slow for it, while
// the store was, say. The first event tells what is in the room; classes that
// began and ended meanwhile are not known.
func (w *worker) resubscribe() {
	if w.session != nil {
		if err := w.sub.Err(); errors.Is(err, room.ErrSlow) {
			w.log.Warn("what happened in the room could not be stored in time; classes may be missing", "error", err)
		}
		w.sub.Close()
		w.sub = subscribe(w.session)
	}
}
