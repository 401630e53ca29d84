// SPDX-License-Identifier: Apache-2.0

package apitest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Participant is somebody in a room of the embedded platform, or of any other,
// beside the service. It keeps all that it sees.
type Participant struct {
	conn *talkcloud.Conn

	mu      sync.Mutex
	seen    []talkcloud.Event
	changed chan struct{} // closed and replaced with each event, and at the end
	ended   bool
}

// Join puts a participant into a room of the embedded platform; it leaves when
// the test ends.
func (s *Server) Join(tb testing.TB, room, user string) *Participant {
	tb.Helper()
	return JoinAt(tb, "http://"+s.life.server.RoomHTTPAddr().String(), room, user)
}

// JoinAt is Join on the platform at a URL.
func JoinAt(tb testing.TB, platform, room, user string) *Participant {
	tb.Helper()
	client, err := talkcloud.New(talkcloud.Config{BaseURL: platform})
	if err != nil {
		tb.Fatal(err)
	}
	conn, err := client.Join(Context(tb), talkcloud.JoinOptions{
		Room: talkcloud.RoomID(room), UserID: talkcloud.UserID(user), Nickname: user,
	})
	if err != nil {
		tb.Fatalf("join room %s as %s: %v", room, user, err)
	}
	p := &Participant{conn: conn, changed: make(chan struct{})}
	collected := make(chan struct{})
	events := conn.Events() // before Close, after which there are none
	go func() {
		defer close(collected)
		p.collect(events)
	}()
	tb.Cleanup(func() {
		_ = conn.Close()
		<-collected
		_ = client.Close()
	})
	return p
}

func (p *Participant) collect(events <-chan talkcloud.Event) {
	for ev := range events {
		p.add(ev, false)
	}
	p.add(talkcloud.Event{}, true)
}

func (p *Participant) add(ev talkcloud.Event, end bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended = end; !end {
		p.seen = append(p.seen, ev)
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// ID is the participant's user id.
func (p *Participant) ID() string { return string(p.conn.UserID()) }

// Leave leaves the room.
func (p *Participant) Leave() { _ = p.conn.Close() }

// Done is closed when the participant is out of the room.
func (p *Participant) Done() <-chan struct{} { return p.conn.Done() }

// Publish publishes a message without waiting for its echo.
func (p *Participant) Publish(tb testing.TB, m talkcloud.Message) {
	tb.Helper()
	if err := p.conn.Publish(Context(tb), m); err != nil {
		tb.Fatalf("publish: %v", err)
	}
}

// Delete deletes a message without waiting for its echo.
func (p *Participant) Delete(tb testing.TB, m talkcloud.Message) {
	tb.Helper()
	if err := p.conn.Delete(Context(tb), m); err != nil {
		tb.Fatalf("delete: %v", err)
	}
}

// Begin begins a class and returns ClassBegin as the room has it.
func (p *Participant) Begin(tb testing.TB, begin talkcloud.ClassBegin) talkcloud.Message {
	tb.Helper()
	n := p.Count(talkcloud.Published)
	p.Publish(tb, begin.Message())
	return p.Nth(tb, talkcloud.Published, n)
}

// End ends the class and returns the delete's echo.
func (p *Participant) End(tb testing.TB) talkcloud.Message {
	tb.Helper()
	n := p.Count(talkcloud.Deleted)
	p.Delete(tb, talkcloud.ClassEnd())
	return p.Nth(tb, talkcloud.Deleted, n)
}

// Chat says something to everybody.
func (p *Participant) Chat(tb testing.TB, text string) {
	tb.Helper()
	if err := p.conn.SendChat(Context(tb), text); err != nil {
		tb.Fatalf("chat: %v", err)
	}
}

// classBegins returns what was seen of ClassBegin, of one kind.
func (p *Participant) classBegins(kind talkcloud.EventKind) []talkcloud.Message {
	var list []talkcloud.Message
	for _, ev := range p.seen {
		if ev.Kind == kind && ev.Message.Key() == talkcloud.MessageClassBegin {
			list = append(list, ev.Message)
		}
	}
	return list
}

// Count is how many adds (Published) or deletes of ClassBegin were seen so far.
func (p *Participant) Count(kind talkcloud.EventKind) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.classBegins(kind))
}

// Nth waits for the n-th add or delete of ClassBegin, from 0.
func (p *Participant) Nth(tb testing.TB, kind talkcloud.EventKind, n int) talkcloud.Message {
	tb.Helper()
	var m talkcloud.Message
	err := p.await(Context(tb), func() bool {
		list := p.classBegins(kind)
		if len(list) <= n {
			return false
		}
		m = list[n]
		return true
	})
	if err != nil {
		tb.Fatalf("%s: waiting for ClassBegin: %v", p.ID(), err)
	}
	return m
}

// Sync returns when all that was sent to the room before has been seen.
func (p *Participant) Sync(tb testing.TB) {
	tb.Helper()
	count := func() (n int) {
		for _, ev := range p.seen {
			if ev.Kind == talkcloud.Published && ev.Message.Key() == talkcloud.MessageUpdateTime {
				n++
			}
		}
		return n
	}
	p.mu.Lock()
	before := count()
	p.mu.Unlock()
	p.Publish(tb, talkcloud.Message{
		Name: talkcloud.MessageUpdateTime, ID: talkcloud.MessageUpdateTime, To: p.ID(), DoNotSave: true,
	})
	if err := p.await(Context(tb), func() bool { return count() > before }); err != nil {
		tb.Fatalf("%s: waiting for an own message: %v", p.ID(), err)
	}
}

// Others are those who were in the room already when the participant came.
func (p *Participant) Others() []string {
	var users []string
	for _, other := range p.conn.Reply().Users {
		if other.ID != p.conn.UserID() {
			users = append(users, string(other.ID))
		}
	}
	return users
}

// Present are those who are in the room now beside the participant, as far as
// it has been told.
func (p *Participant) Present() []string {
	users := map[string]bool{}
	for _, user := range p.Others() {
		users[user] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, ev := range p.seen {
		switch ev.Kind {
		case talkcloud.ParticipantJoined:
			users[string(ev.UserID)] = true
		case talkcloud.ParticipantLeft:
			delete(users, string(ev.UserID))
		default:
		}
	}
	return slices.Sorted(maps.Keys(users))
}

// Saved are the messages that the room had when the participant came.
func (p *Participant) Saved() []talkcloud.Message { return p.conn.Reply().Messages }

// AwaitLeft waits until a user has left the room.
func (p *Participant) AwaitLeft(tb testing.TB, user string) {
	tb.Helper()
	err := p.await(Context(tb), func() bool {
		for _, ev := range p.seen {
			if ev.Kind == talkcloud.ParticipantLeft && string(ev.UserID) == user {
				return true
			}
		}
		return false
	})
	if err != nil {
		tb.Fatalf("%s: waiting until %s leaves: %v", p.ID(), user, err)
	}
}

// await waits until a condition holds, which is asked under the lock.
func (p *Participant) await(ctx context.Context, holds func() bool) error {
	for {
		p.mu.Lock()
		ok, changed, ended := holds(), p.changed, p.ended
		p.mu.Unlock()
		switch {
		case ok:
			return nil
		case ended:
			return errors.New("out of the room")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
