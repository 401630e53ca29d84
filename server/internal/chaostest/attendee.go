// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaostest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Attendee is somebody in a room without a camera, who keeps what happens there, and may begin and end classes.
type Attendee struct {
	room string
	conn *talkcloud.Conn
	seen sync.WaitGroup

	mu      sync.Mutex
	classes []Attended
	on      bool                           // a class
	others  map[talkcloud.UserID]time.Time // when they were seen to come in
	joins   []time.Time                    // when others came in
	changed chan struct{}
}

// Attended is a class that somebody in the room has seen.
type Attended struct {
	TS    int64     // the platform's time of its ClassBegin, in Unix seconds
	Begun time.Time // when it was seen to begin
	Ended time.Time // when it was seen to end, or another to begin; zero while it lasts
	With  time.Time // when somebody else had come in who was there from its beginning to its end; zero when nobody was
}

// Attend lets somebody into a room, where no class is on. Leave ends it.
func Attend(ctx context.Context, platform *talkcloud.Client, room, user string) (*Attendee, error) {
	conn, err := platform.Join(ctx, talkcloud.JoinOptions{Room: talkcloud.RoomID(room), UserID: talkcloud.UserID(user), Nickname: user})
	if err != nil {
		return nil, err
	}
	a := &Attendee{room: room, conn: conn, others: map[talkcloud.UserID]time.Time{}, changed: make(chan struct{})}
	for _, p := range conn.Reply().Users {
		if p.ID != conn.UserID() {
			a.others[p.ID] = time.Now()
		}
	}
	events := conn.Events()
	a.seen.Go(func() {
		for ev := range events {
			a.take(ev)
		}
	})
	return a, nil
}

func (a *Attendee) take(ev talkcloud.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch ev.Kind {
	case talkcloud.Published:
		if ev.Message.Key() == talkcloud.MessageClassBegin {
			a.ended()
			a.on = true
			a.classes = append(a.classes, Attended{TS: ev.Message.TS.Unix(), Begun: time.Now(), With: a.accompanied()})
		}
	case talkcloud.Deleted:
		if ev.Message.Key() == talkcloud.MessageClassBegin {
			a.ended()
		}
	case talkcloud.ParticipantJoined:
		if ev.UserID != a.conn.UserID() {
			a.others[ev.UserID] = time.Now()
			a.joins = append(a.joins, time.Now())
		}
	case talkcloud.ParticipantLeft:
		delete(a.others, ev.UserID)
	default:
		return
	}
	close(a.changed)
	a.changed = make(chan struct{})
}

// ended notes the end of the class that is on.
func (a *Attendee) ended() {
	if !a.on {
		return
	}
	a.on = false
	class := &a.classes[len(a.classes)-1]
	class.Ended = time.Now()
	if a.accompanied() != class.With {
		class.With = time.Time{}
	}
}

// accompanied is when the one of the others came in who has been there for longest; zero when nobody else is.
func (a *Attendee) accompanied() (first time.Time) {
	for _, at := range a.others {
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

// Leave leaves the room.
func (a *Attendee) Leave() {
	_ = a.conn.Close()
	a.seen.Wait()
}

// Begin begins a class, and returns the platform's time of it, once it is on.
func (a *Attendee) Begin(ctx context.Context) (ts int64, err error) {
	a.mu.Lock()
	n := len(a.classes)
	a.mu.Unlock()
	if err := a.conn.Publish(ctx, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList}.Message()); err != nil {
		return 0, err
	}
	err = a.await(ctx, "its class to begin", func() bool {
		if len(a.classes) > n {
			ts = a.classes[n].TS
		}
		return len(a.classes) > n
	})
	return ts, err
}

// End ends the class, and returns when it is over.
func (a *Attendee) End(ctx context.Context) error {
	if err := a.conn.Delete(ctx, talkcloud.ClassEnd()); err != nil {
		return err
	}
	return a.await(ctx, "its class to end", func() bool { return !a.on })
}

// await waits for something that happens in the room.
func (a *Attendee) await(ctx context.Context, what string, holds func() bool) error {
	for {
		a.mu.Lock()
		held, changed := holds(), a.changed
		a.mu.Unlock()
		if held {
			return nil
		}
		select {
		case <-changed:
		case <-a.conn.Done():
			return fmt.Errorf("%s is out of room %s", a.conn.UserID(), a.room)
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s in room %s: %w", what, a.room, ctx.Err())
		}
	}
}

// Alone waits until nobody else is in the room.
func (a *Attendee) Alone(ctx context.Context) error {
	return a.await(ctx, "all others to leave", func() bool { return len(a.others) == 0 })
}

// Classes are all classes so far, in order.
func (a *Attendee) Classes() []Attended {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Attended(nil), a.classes...)
}

// JoinAfter is when the first of the others came in after a time; zero when none did.
func (a *Attendee) JoinAfter(at time.Time) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, join := range a.joins {
		if join.After(at) {
			return join
		}
	}
	return time.Time{}
}
