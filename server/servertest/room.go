// SPDX-License-Identifier: Apache-2.0

package servertest

import (
	"context"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/cast"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Room is a room of the platform. Rooms are there when they are entered.
type Room struct {
	server *Server
	id     string
}

// Room is the room of an id.
func (s *Server) Room(id string) *Room { return &Room{server: s, id: id} }

// ID is the room's id: the API's room, and TalkCloud's serial.
func (r *Room) ID() string { return r.id }

// Role is what somebody is in a room.
type Role int

// The roles, by the platform's numbers.
const (
	Teacher   Role = talkcloud.RoleTeacher
	Assistant Role = talkcloud.RoleAssistant
	Student   Role = talkcloud.RoleStudent
	Auditor   Role = talkcloud.RoleAuditor
	Patrol    Role = talkcloud.RolePatrol // hidden from the class
)

// JoinOption changes how somebody joins.
type JoinOption func(*cast.Entrance)

// Password is for rooms that have passwords (Configure with a RoomsFile). There
// it decides on the role, whatever was asked for.
func Password(password string) JoinOption { return func(e *cast.Entrance) { e.Password = password } }

// Teacher joins as teacher.
func (r *Room) Teacher(name string, opts ...JoinOption) *Person {
	r.server.tb.Helper()
	return r.Join(Teacher, name, opts...)
}

// Student joins as student.
func (r *Room) Student(name string, opts ...JoinOption) *Person {
	r.server.tb.Helper()
	return r.Join(Student, name, opts...)
}

// Join brings somebody into the room, who stays until the test's end. The name
// is id and nickname; who joins under the name of somebody in the room takes its
// place.
func (r *Room) Join(role Role, name string, opts ...JoinOption) *Person {
	r.server.tb.Helper()
	p, err := r.TryJoin(role, name, opts...)
	if err != nil {
		r.server.tb.Fatalf("%s joins room %s: %v", name, r.id, err)
	}
	return p
}

// TryJoin is Join for whom the room may refuse: with a wrong password, say.
func (r *Room) TryJoin(role Role, name string, opts ...JoinOption) (*Person, error) {
	r.server.tb.Helper()
	as := cast.Entrance{Room: r.id, Name: name, Role: cast.Role(role)}
	for _, option := range opts {
		option(&as)
	}
	ctx, cancel := r.server.bounded()
	defer cancel()
	p, err := r.server.cast.Join(ctx, as)
	if err != nil {
		return nil, err
	}
	return &Person{server: r.server, person: p}, nil
}

// Person is somebody in a room. What a method has done has happened in the room
// when it returns. Nobody comes back by himself: see [Person.Rejoin].
type Person struct {
	server *Server
	person *cast.Person
}

// Name is who it is: user id and nickname.
func (p *Person) Name() string { return p.person.Name() }

// do calls something that has to succeed.
func (p *Person) do(what string, f func(ctx context.Context) error) {
	p.server.tb.Helper()
	ctx, cancel := p.server.bounded()
	defer cancel()
	if err := f(ctx); err != nil {
		p.server.tb.Fatalf("%s %s in room %s: %v", p.Name(), what, p.person.Room(), err)
	}
}

// Chat says something to everybody.
func (p *Person) Chat(text string) {
	p.server.tb.Helper()
	p.do("chats", func(ctx context.Context) error { return p.person.Chat(ctx, text) })
}

// Class is how a class that is begun in its room is to be recorded. Its zero
// value is what the service asks for without options: MKV, a file for each who
// publishes. MP4, MP3 and MIX need ffmpeg on the machine.
type Class struct {
	Format classrecv1.RecordingFormat
	Type   classrecv1.RecordType
	Layout classrecv1.RecordingLayout
	// Chat records the chat too.
	Chat bool
}

// wire is what ClassBegin carries. The API's numbers are one above the wire's.
func (c Class) wire() talkcloud.ClassBegin {
	number := func(v, otherwise int32) int {
		if v == 0 {
			v = otherwise
		}
		return int(v) - 1
	}
	return talkcloud.ClassBegin{
		HasRecordType: true,
		RecordType:    number(int32(c.Type), int32(classrecv1.RecordType_RECORD_TYPE_LIST)),
		Convert:       number(int32(c.Format), int32(classrecv1.RecordingFormat_RECORDING_FORMAT_MKV)),
		Layout:        number(int32(c.Layout), int32(classrecv1.RecordingLayout_RECORDING_LAYOUT_LANDSCAPE)),
		RecordChat:    c.Chat,
	}
}

// Begin begins a class from within the room, as a teacher's own client does, and
// returns recordts: when it began by the platform's clock. A class that is on is
// ended by it. The service sees it while it is in the room: somebody watches the
// room, or records in it.
func (p *Person) Begin(class Class) (recordTS time.Time) {
	p.server.tb.Helper()
	p.do("begins a class", func(ctx context.Context) (err error) {
		recordTS, err = p.person.Begin(ctx, class.wire())
		return err
	})
	return recordTS
}

// End ends the class, whoever began it, and returns when that was by the
// platform's clock.
func (p *Person) End() (at time.Time) {
	p.server.tb.Helper()
	p.do("ends the class", func(ctx context.Context) (err error) {
		at, err = p.person.End(ctx)
		return err
	})
	return at
}

// Leave leaves the room in order, and all media with it.
func (p *Person) Leave() { p.person.Leave() }

// Drop cuts the person's connections, as a network does that fails: signaling
// and media.
func (p *Person) Drop() { p.person.Drop() }

// Rejoin comes back into the room after Leave, Drop, or being put out, as the
// same person and without media.
func (p *Person) Rejoin() {
	p.server.tb.Helper()
	p.do("joins again", p.person.Rejoin)
}

// Kind says what somebody has seen.
type Kind string

// The kinds.
const (
	Joined     = Kind(cast.Joined)     // From has come
	Left       = Kind(cast.Left)       // From has gone
	ClassBegun = Kind(cast.ClassBegun) // by From; or one was on when the person came
	ClassEnded = Kind(cast.ClassEnded) // by From
	Said       = Kind(cast.Said)       // From has said Text in the chat
	MediaBegun = Kind(cast.MediaBegun) // From publishes; Text is the stream
	MediaEnded = Kind(cast.MediaEnded) // the stream Text has ended
	Published  = Kind(cast.Published)  // another message of the room: Text is its name
	Deleted    = Kind(cast.Deleted)    // the same, deleted
	Evicted    = Kind(cast.Evicted)    // the person is put out of the room
	Out        = Kind(cast.Out)        // the person is not in the room any more
)

// Event is something that a person has seen in its room.
type Event struct {
	Kind Kind
	// From is who did it; "" where the platform does not tell.
	From string
	// Text is what was said, or the name of a message or of a stream.
	Text string
	// Data is what a message carries, of ClassBegin too.
	Data string
	// Time is when, by the platform's clock and mostly to the second.
	Time time.Time
}

func eventOf(ev cast.Event) Event {
	return Event{Kind: Kind(ev.Kind), From: ev.From, Text: ev.Text, Data: ev.Data, Time: ev.Time}
}

// Seen is what the person has seen so far, the oldest first; of very many, the
// last thousands.
func (p *Person) Seen() []Event {
	var seen []Event
	for _, ev := range p.person.Seen() {
		seen = append(seen, eventOf(ev))
	}
	return seen
}

// Await waits for the next event of a kind: the oldest that neither Await nor
// AwaitFunc has returned yet.
func (p *Person) Await(kind Kind) Event {
	p.server.tb.Helper()
	return p.AwaitFunc(string(kind), func(ev Event) bool { return ev.Kind == kind })
}

// AwaitFunc waits for the next event that matches, as [Person.Await]; what is for
// the message of a test that fails.
func (p *Person) AwaitFunc(what string, match func(Event) bool) (seen Event) {
	p.server.tb.Helper()
	p.do("waits for: "+what, func(ctx context.Context) error {
		ev, err := p.person.Await(ctx, func(ev cast.Event) bool { return match(eventOf(ev)) })
		seen = eventOf(ev)
		return err
	})
	return seen
}
