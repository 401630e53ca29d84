// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/classrec/classrec/server/internal/conformance"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// modelClasses is how many classes the model run has, unless CLASSREC_MODEL_CLASSES says otherwise (make model: 100,000).
const modelClasses = 400

// modelRoom is what a recorder must know of a room.
type modelRoom struct {
	id      talkcloud.RoomID
	people  map[talkcloud.UserID]*participant
	on      bool
	ts      int64 // of the class
	owner   talkcloud.UserID
	expires int64            // Unix seconds, 0 for never
	with    talkcloud.UserID // the class goes with this user
	empty   int64            // since when nobody is there
}

// model drives the rooms of a server, without sockets and in a time of its own, and says what must come of it.
type model struct {
	t     *testing.T
	s     *Server
	rnd   *rand.Rand
	now   int64
	clock atomic.Int64 // now, for others
	rooms []*modelRoom
	begun []string // room and ts of every class
	log   []string // the last things that were done, for who reads a failure
}

// TestModel has people do odd things in many rooms, at random, and looks after each whether a class is on where the model
// says so. At the end every class is recorded once, none is open, and nothing else is recorded.
func TestModel(t *testing.T) {
	t.Parallel()
	classes := modelClasses
	if n, err := strconv.Atoi(os.Getenv("CLASSREC_MODEL_CLASSES")); err == nil {
		classes = n
	}
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("CLASSREC_MODEL_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("CLASSREC_MODEL_SEED=%d", seed)
	m := &model{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), now: 1795375561}
	m.clock.Store(m.now)
	var err error
	m.s, err = New(Config{
		Dir: t.TempDir(), EnterpriseKey: "key", ClassesPerMinute: -1, MessagesPerSecond: -1,
		Now: func() time.Time { return time.Unix(m.clock.Load(), 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		m.rooms = append(m.rooms, &modelRoom{id: talkcloud.RoomID(fmt.Sprint("room ", i)), people: map[talkcloud.UserID]*participant{}})
	}
	for len(m.begun) < classes && !t.Failed() {
		m.step()
	}
	m.finish()
}

func pick[T any](rnd *rand.Rand, list []T) T { return list[rnd.IntN(len(list))] }

// step does one thing in one room, and looks at it.
func (m *model) step() {
	room := pick(m.rnd, m.rooms)
	// The clock goes on, so that each class has its second.
	m.advance(1 + int64(m.rnd.IntN(3)))
	switch n := m.rnd.IntN(100); {
	case n < 35:
		m.begin(room)
	case n < 55:
		m.end(room)
	case n < 70:
		m.join(room)
	case n < 80:
		m.leave(room)
	case n < 84:
		m.evict(room)
	case n < 86:
		m.endOtherwise(room)
	case n < 94:
		m.noise(room)
	default:
		m.advance(int64(m.rnd.IntN(50)))
	}
	m.check(room)
}

func (m *model) note(room *modelRoom, format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf("%d %s: ", m.now, room.id)+fmt.Sprintf(format, args...))
	if len(m.log) > 40 {
		m.log = m.log[1:]
	}
}

// advance moves the clock, second by second where something ends.
func (m *model) advance(seconds int64) {
	for range seconds {
		m.now++
		m.clock.Store(m.now)
		due := false
		for _, room := range m.rooms {
			if room.on && (room.expires != 0 && m.now >= room.expires || room.empty != 0 && m.now-room.empty >= 60) {
				room.on, due = false, true
				m.note(room, "ends by itself")
			}
		}
		if due {
			m.s.TimeMoved()
		}
	}
}

// somebody is one of those in a room, nil when there is nobody.
func (m *model) somebody(room *modelRoom) *participant {
	if len(room.people) == 0 {
		return nil
	}
	ids := make([]talkcloud.UserID, 0, len(room.people))
	for id := range room.people {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return room.people[pick(m.rnd, ids)]
}

func users() []talkcloud.UserID {
	return []talkcloud.UserID{conformance.Teacher, conformance.Student, conformance.Auditor, "u4", "u5"}
}

func (m *model) join(room *modelRoom) {
	id := pick(m.rnd, users())
	p := &participant{server: m.s, from: "127.0.0.1"}
	m.s.admit()
	old := room.people[id]
	role := m.rnd.IntN(4)
	refused := old != nil && rankOf(old.shown) > rankOf(int8(role))
	if !m.do(p, talkcloud.EventJoinRoom, fmt.Sprintf(`{"userId":%q,"roomId":%q,"properties":{"role":%d}}`, id, room.id, role), refused) {
		p.Close(nil)
		return
	}
	m.note(room, "%s joins", id)
	if old != nil {
		old.Close(nil)
	}
	room.people[id], room.empty = p, 0
}

// gone notes that somebody has left.
func (m *model) gone(room *modelRoom, id talkcloud.UserID) {
	m.note(room, "%s leaves", id)
	delete(room.people, id)
	if room.on && room.with == id {
		room.on = false
	}
	if len(room.people) == 0 && room.on {
		room.empty = m.now
	}
}

func (m *model) leave(room *modelRoom) {
	if p := m.somebody(room); p != nil {
		p.Close(nil)
		m.gone(room, p.id)
	}
}

func (m *model) evict(room *modelRoom) {
	p := m.somebody(room)
	if p == nil {
		return
	}
	other := m.somebody(room)
	allowed := p == other || p.leads() && p.rank() >= other.rank()
	if m.do(p, talkcloud.EventEvictParticipant, fmt.Sprintf(`{"id":%q}`, other.id), !allowed) {
		m.gone(room, other.id)
		other.Close(nil)
	}
}

// do sends an event, and wants it to be refused or not.
func (m *model) do(p *participant, event, payload string, refused bool) (done bool) {
	m.t.Helper()
	answered, acked := 0, false
	ack := func(args ...any) error {
		answered++
		acked = args[0] == ok
		return nil
	}
	if !json.Valid([]byte(payload)) {
		m.t.Fatalf("the model sends what is no JSON: %s", payload)
	}
	err := p.handle(event, json.RawMessage(payload), ack)
	if done = err == nil && acked; done == refused || err == nil && answered != 1 {
		m.t.Errorf("%s %s by %s: %v, acked %t; the model wants refused %t", event, payload, p.id, err, acked, refused)
	}
	return done
}

// begin publishes ClassBegin in an odd way.
func (m *model) begin(room *modelRoom) {
	p := m.somebody(room)
	if p == nil {
		return
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(pick(m.rnd, conformance.Begins()).Payload), &fields); err != nil {
		m.t.Fatal(err)
	}
	expires, with := int64(0), talkcloud.UserID("")
	for range m.rnd.IntN(3) {
		switch m.rnd.IntN(6) {
		case 0:
			fields["toID"] = json.RawMessage(pick(m.rnd, conformance.Targets()).To)
		case 1:
			fields["data"] = m.oddJSON(3)
		case 2:
			fields["do_not_save"] = m.oddJSON(1)
		case 3:
			fields["ts"] = json.RawMessage(fmt.Sprint(room.ts))
		case 4:
			fields["expires"], expires = json.RawMessage("20"), m.now+20
			delete(fields, "expiresabs")
		case 5:
			with = pick(m.rnd, users())
			fields["associatedUserID"] = quote(string(with))
		}
	}
	claimed, _ := scalar(fields["ts"]).Int()
	same := room.on && (room.owner == p.id || claimed == room.ts && claimed != 0)
	payload, err := encode(fields)
	if err != nil {
		m.t.Fatal(err)
	}
	m.note(room, "%s publishes %s", p.id, payload)
	if !m.do(p, talkcloud.EventPubMsg, string(payload), false) {
		return
	}
	room.expires, room.with = expires, with
	if same {
		return
	}
	if room.on, room.owner, room.ts = true, p.id, 0; m.live(room) != nil {
		room.ts = m.live(room).manifest.RecordTS
	}
	m.begun = append(m.begun, fmt.Sprintf("%s %d", room.id, room.ts))
}

// oddJSON is any JSON, small.
func (m *model) oddJSON(depth int) json.RawMessage {
	switch n := m.rnd.IntN(9); {
	case n == 0 && depth > 0:
		return json.RawMessage(`{"recordtype":` + string(m.oddJSON(depth-1)) + `,"convert":` + string(m.oddJSON(depth-1)) + `}`)
	case n == 1 && depth > 0:
		return quote(string(m.oddJSON(depth - 1)))
	case n == 2:
		return json.RawMessage(fmt.Sprint(m.rnd.IntN(12) - 3))
	}
	return json.RawMessage(pick(m.rnd, []string{`null`, `true`, `""`, `{}`, `[]`, `"mp4"`, `1e99`, `1.5`, `"\u0000\ud800"`, `"{\"recordtype\":2}"`, `[[{"a":[]}]]`}))
}

// end deletes ClassBegin in an odd way.
func (m *model) end(room *modelRoom) {
	p := m.somebody(room)
	if p == nil {
		return
	}
	payload := pick(m.rnd, conformance.Ends()).Payload
	if m.rnd.IntN(8) == 0 {
		payload = `{"name":"__AllAll","id":"__AllAll","toID":"__none"}`
	}
	m.note(room, "%s deletes %s", p.id, payload)
	m.do(p, talkcloud.EventDelMsg, payload, false)
	room.on = false
}

func (m *model) endOtherwise(room *modelRoom) {
	m.note(room, "roomover")
	m.s.endClassOf(room.id)
	room.on = false
}

// noise is what leaves classes alone.
func (m *model) noise(room *modelRoom) {
	p := m.somebody(room)
	if p == nil {
		return
	}
	to := pick(m.rnd, conformance.Targets()).To
	switch m.rnd.IntN(4) {
	case 0:
		m.do(p, talkcloud.EventPubMsg, `{"name":"x","id":"x","toID":`+to+`,"data":`+string(m.oddJSON(2))+`}`, false)
	case 1:
		m.do(p, talkcloud.EventDelMsg, `{"name":"x","toID":`+to+`}`, false)
	case 2:
		m.do(p, talkcloud.EventSetProperty, `{"id":["student","u4"],"toID":`+to+`,"properties":{"a":`+string(m.oddJSON(2))+`}}`, false)
	case 3:
		m.do(p, talkcloud.EventSendMessage, `{"toID":`+to+`,"message":"hi"}`, false)
	}
}

// live is the class that is on in a room.
func (m *model) live(room *modelRoom) *class {
	r := m.s.findRoom(room.id)
	if r == nil {
		return nil
	}
	defer r.mu.Unlock()
	return r.class.Load()
}

// check compares a room with the model.
func (m *model) check(room *modelRoom) {
	if !room.on || len(room.people) > 0 {
		room.empty = 0
	}
	switch c := m.live(room); {
	case c == nil && room.on:
		m.t.Errorf("%s: the class of %d is not on\n%s", room.id, room.ts, strings.Join(m.log, "\n"))
	case c != nil && !room.on:
		m.t.Errorf("%s: the class of %d is still on\n%s", room.id, c.manifest.RecordTS, strings.Join(m.log, "\n"))
	case c != nil && c.manifest.RecordTS != room.ts:
		m.t.Errorf("%s: the class of %d is on, and not that of %d\n%s", room.id, c.manifest.RecordTS, room.ts, strings.Join(m.log, "\n"))
	case c != nil && c.manifest.RecordTS > m.now+maxAhead:
		m.t.Errorf("%s: recordts is %d s ahead", room.id, c.manifest.RecordTS-m.now)
	}
}

// finish has everybody leave, and compares what is recorded with what was begun.
func (m *model) finish() {
	for _, room := range m.rooms {
		for len(room.people) > 0 {
			m.leave(room)
		}
	}
	m.advance(61)
	if n := m.s.Rooms(); n != 0 {
		m.t.Errorf("%d rooms are left", n)
	}
	m.s.finishing.Wait()
	var recorded []string
	for _, found := range m.s.archive.find(query{any: true}) {
		recorded = append(recorded, fmt.Sprintf("%s %d", found.Room, found.RecordTS))
	}
	slices.Sort(recorded)
	slices.Sort(m.begun)
	if diff := cmp.Diff(m.begun, recorded); diff != "" {
		m.t.Errorf("begun (-) and recorded (+): %s", diff)
	}
	m.t.Logf("%d classes", len(recorded))
	if err := m.s.Close(); err != nil {
		m.t.Error(err)
	}
}
