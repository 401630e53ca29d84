// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaos_test

import (
	"context"
	"io"
	"strings"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/chaostest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// taught is a class that a teacher has begun in a room.
type taught struct {
	room         string
	ts           int64 // the platform's time of its ClassBegin
	life         *chaostest.Life
	begun, ended time.Time // when it was seen; ended is zero when that was not
	since        time.Time // when the service was seen to come in; zero when it was not there from beginning to end
	stored       time.Time // when the service stored it; zero when the log does not have it
}

// teach has one class after the other by a teacher's own client, each up to so long.
func (w *watching) teach(ctx context.Context, room string, pause time.Duration) {
	for {
		life, err := w.node.Serving(ctx)
		if err != nil {
			return
		}
		w.lesson(ctx, life, room, pause) // until it is thrown out
		if !chaostest.Pause(ctx, 50*time.Millisecond) {
			return
		}
	}
}

// lesson is as long as one connection.
func (w *watching) lesson(ctx context.Context, life *chaostest.Life, room string, pause time.Duration) {
	roots, err := w.node.Roots()
	if err != nil {
		w.t.Error(err)
		return
	}
	platform, err := talkcloud.New(talkcloud.Config{BaseURL: "https://" + w.node.RoomAddr(), RootCAs: roots})
	if err != nil {
		w.t.Error(err)
		return
	}
	defer platform.Close()
	conn, err := platform.Join(ctx, talkcloud.JoinOptions{Room: talkcloud.RoomID(room), UserID: "teacher", Nickname: "teacher"})
	if err != nil {
		return // it is on its way down
	}
	defer conn.Close()
	t := newTeacher(conn)
	begin := talkcloud.ClassBegin{}.Message()
	begin.Data = talkcloud.TextData(`{"recordtype":"1","notes":"` + strings.Repeat("x", bulk) + `"}`)
	patient := context.WithoutCancel(ctx) // what has begun ends also when the test does
	for ctx.Err() == nil {
		echo, err := t.begin(patient, begin)
		if err != nil {
			return
		}
		class := taught{room: room, ts: echo.TS.Unix(), life: life, begun: time.Now(), since: t.accompanied()}
		chaostest.Pause(ctx, chaostest.UpTo(pause))
		if err = t.end(patient); err == nil {
			class.ended = time.Now()
		}
		if t.accompanied() != class.since {
			class.since = time.Time{}
		}
		w.mu.Lock()
		w.taught = append(w.taught, class)
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// teacher is one connection of a teacher, who sees who else is in the room.
type teacher struct {
	conn   *talkcloud.Conn
	others map[talkcloud.UserID]time.Time // when they were seen to come in
}

func newTeacher(conn *talkcloud.Conn) *teacher {
	t := &teacher{conn: conn, others: map[talkcloud.UserID]time.Time{}}
	for _, p := range conn.Reply().Users {
		if p.ID != conn.UserID() {
			t.others[p.ID] = time.Now()
		}
	}
	return t
}

// begin begins a class, and returns its ClassBegin as the room has it.
func (t *teacher) begin(ctx context.Context, msg talkcloud.Message) (echo talkcloud.Message, err error) {
	return t.say(ctx, talkcloud.Published, func(ctx context.Context) error { return t.conn.Publish(ctx, msg) })
}

// end ends it.
func (t *teacher) end(ctx context.Context) error {
	_, err := t.say(ctx, talkcloud.Deleted, func(ctx context.Context) error { return t.conn.Delete(ctx, talkcloud.ClassEnd()) })
	return err
}

// say sends something and waits for its echo.
func (t *teacher) say(ctx context.Context, kind talkcloud.EventKind, send func(context.Context) error) (echo talkcloud.Message, err error) {
	ctx, cancel := context.WithTimeout(ctx, chaostest.Patience)
	defer cancel()
	if err := send(ctx); err != nil {
		return echo, err
	}
	for {
		select {
		case ev, ok := <-t.conn.Events():
			switch {
			case !ok:
				return echo, io.ErrUnexpectedEOF
			case ev.Kind == talkcloud.ParticipantJoined && ev.UserID != t.conn.UserID():
				t.others[ev.UserID] = time.Now()
			case ev.Kind == talkcloud.ParticipantLeft:
				delete(t.others, ev.UserID)
			case ev.Kind == kind && ev.Message.Key() == talkcloud.MessageClassBegin:
				return ev.Message, nil
			}
		case <-ctx.Done():
			return echo, ctx.Err()
		}
	}
}

// accompanied is since when somebody else has been in the room; zero when nobody is.
func (t *teacher) accompanied() (since time.Time) {
	for _, came := range t.others {
		if since.IsZero() || came.Before(since) {
			since = came
		}
	}
	return since
}

// unseen counts the classes that the log does not have.
type unseen struct {
	passing int // the service was not in the room from beginning to end, or had only just come
	cutOff  int // the process ended while classes of the room waited to be stored
	overrun int // so many waited that the service let some go by
	lost    int // for no reason
}

// The service keeps 256 events of a room until it has stored what they tell, and lets others go by when there are more; a
// class has two. As it is not seen here when they are taken, less than half of that counts as too many.
const (
	maxWaiting = 128
	overrunAt  = 100
)

// maxLag is how far behind the rooms the service may be when its process ends, and a class be not stored yet.
const maxLag = 5 * time.Second

// againstTaught wants every class in the log, once, that a teacher has begun and ended while the service was in the room
// and kept up. That each also ends, the ledger wants.
func (w *watching) againstTaught(log []chaostest.Event) {
	type place struct {
		room string
		ts   int64
	}
	stored := map[place][]time.Time{}
	for _, ev := range log {
		if ev.Action == classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD {
			at := place{ev.Room, ev.Time}
			stored[at] = append(stored[at], ev.Stored)
		}
	}
	type stay struct { // of the service in a room, at most
		room string
		life *chaostest.Life
	}
	stays := map[stay][]taught{}
	for _, c := range w.taught {
		at := stay{c.room, c.life}
		switch all := stored[place{c.room, c.ts}]; len(all) {
		case 0:
		case 1:
			c.stored = all[0]
		default:
			w.t.Errorf("the log has %d classes in %s that begin at %d, and there was one", len(all), c.room, c.ts)
		}
		stays[at] = append(stays[at], c)
	}
	for at, classes := range stays {
		w.unseenIn(at.life, classes)
	}
}

// unseenIn judges the classes of a room in one life, which are in order.
func (w *watching) unseenIn(life *chaostest.Life, classes []taught) {
	tail, last := 0, time.Time{} // from where on nothing was stored any more, and when something last was
	for i, c := range classes {
		if !c.stored.IsZero() {
			tail, last = i+1, maxTime(last, c.stored)
		}
	}
	end := life.EndOr(time.Now().Add(time.Hour)).Add(-bound(maxLag))
	run, overrun := 0, false // how many are not there one after the other, up to this one
	for i, c := range classes {
		if !c.stored.IsZero() {
			run, overrun = 0, false
			continue
		}
		run++
		overrun = overrun || waiting(classes[:i], c.begun) >= overrunAt || run > maxWaiting
		switch {
		case c.since.IsZero(), c.ended.IsZero(), c.begun.Sub(c.since) < bound(time.Second):
			w.unseen.passing++
		case overrun:
			w.unseen.overrun++
		case i >= tail && (c.begun.After(end) || last.After(end)):
			w.unseen.cutOff++
		default:
			w.unseen.lost++
			w.t.Errorf("the log does not have the class in %s that began at %d (%v), %v after the service had come in, and lasted %v",
				c.room, c.ts, c.begun.UTC().Format(time.StampMilli), c.begun.Sub(c.since), c.ended.Sub(c.begun))
		}
	}
}

// waiting is how many classes were yet to be stored at a time.
func waiting(before []taught, at time.Time) (n int) {
	for _, c := range before {
		if c.stored.After(at) {
			n++
		}
	}
	return n
}
