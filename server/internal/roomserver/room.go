// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"cmp"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/classrec/classrec/server/internal/socketio"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// room is the state of a room with somebody in it. When the last one leaves it is closed, and forgotten with all that
// was saved; the next one makes a new room of the same id. While a class goes on it is kept for Config.RoomEmptyTimeout.
type room struct {
	id     talkcloud.RoomID
	server *Server

	// beginning serializes the beginnings of classes, which do I/O. It is taken before mu.
	beginning sync.Mutex
	// class is the recording that goes on, or nil. It is written with mu held, and read without by who has media.
	class atomic.Pointer[class]

	mu            sync.Mutex
	closed        bool
	big           bool
	people        map[talkcloud.UserID]*participant
	list          []*participant // the same, in no order
	joins         uint64
	seq           int64
	saved         map[string]*savedMessage
	begin         *savedMessage // of the class that goes on, one of saved; nil without
	attended      bool          // somebody but recorders has been in the room since the class began
	deserted      time.Time     // since when nobody has been in the room of a class; zero while somebody is
	desertion     *time.Timer   // runs endDeserted; nil before the first time
	propertyBytes int
	expiry        *time.Timer // runs expire at nextExpiry; nil before the first message that expires
	nextExpiry    time.Time   // zero = no message is known to expire
	streams       map[string]*stream
	chatSecond    int64 // the second that chatCount is of
	chatCount     int
	causes        roomCauses
}

// admit takes a participant in, tells it what there is, and tells the others. The room's mutex is held.
// made says that the user's id was made here, so that the answer has to tell it.
func (r *room) admit(p *participant, made bool, ack ackFunc) {
	old := r.people[p.id]
	if old != nil {
		r.replace(old, p)
	}
	answer(ack, ok, r.welcome(p, made))
	r.add(p)
	r.settle()
	r.tellOthers(p, talkcloud.EventParticipantJoined, json.RawMessage(p.appendTo(nil)))
}

// hasPlace tells whether one more may come, who may be there already.
func (r *room) hasPlace(id talkcloud.UserID) error {
	if most := r.server.cfg.MaxPerRoom; len(r.list) >= most && r.people[id] == nil {
		return r.server.over(limitRoomPeople, "a room has place for %d people", most)
	}
	return nil
}

// replace makes room for a participant with the same id. What the user publishes by WHIP goes on.
func (r *room) replace(old, p *participant) {
	for _, st := range r.streams {
		if st.owner == old && st.whip {
			st.owner = p
			old.streams--
			p.streams++
		}
	}
	p.whip, old.whip = old.whip, 0
	p.causes = old.causes
	r.dropStreams(func(st *stream) bool { return st.owner == old })
	r.remove(old)
	if old.conn != nil {
		r.tellOthers(old, talkcloud.EventParticipantLeft, string(old.id))
		old.conn.Disconnect(talkcloud.EventParticipantEvicted, map[string]int{"reason": talkcloud.EvictedSameUser})
	}
}

func (r *room) add(p *participant) {
	if r.people == nil {
		r.people = make(map[talkcloud.UserID]*participant)
	}
	r.joins++
	p.joined, p.index = r.joins, int32(len(r.list)) //nolint:gosec // there are not so many people
	r.people[p.id] = p
	r.list = append(r.list, p)
	r.propertyBytes += len(p.properties)
	r.attended = r.attended || !p.recorder
	if len(r.list) > r.server.cfg.BigRoom {
		r.big = true
	}
}

func (r *room) remove(p *participant) {
	last := r.list[len(r.list)-1]
	r.list[p.index] = last
	last.index = p.index
	r.list[len(r.list)-1] = nil
	r.list = r.list[:len(r.list)-1]
	delete(r.people, p.id)
	r.propertyBytes -= len(p.properties)
	p.gone = true
}

// tellOthers tells everybody but one participant that it came or left, unless the room is big.
func (r *room) tellOthers(p *participant, event string, payload any) {
	if !r.big {
		r.deliver(target{exceptSender: true}, p, event, payload)
	}
}

// leave takes a participant out, with all that goes with it.
func (r *room) leave(p *participant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.gone {
		return
	}
	if p.whip > 0 { // what it publishes by WHIP keeps it here, without a connection
		p.conn = nil
		r.dropStreams(func(st *stream) bool { return st.owner == p && !st.whip })
		return
	}
	r.depart(p)
}

// depart is leave with the mutex held, whatever still holds the participant in the room.
func (r *room) depart(p *participant) {
	r.dropStreams(func(st *stream) bool { return st.owner == p })
	r.remove(p)
	r.tellOthers(p, talkcloud.EventParticipantLeft, string(p.id))
	r.deleteWhere(p.id, func(m *talkcloud.Message) bool { return m.AssociatedUserID == string(p.id) })
	r.settle()
}

// settle looks at who is there, after somebody has come or left or a class has ended: a room without anybody is closed,
// with its messages; one with a class is given Config.RoomEmptyTimeout. The mutex is held.
func (r *room) settle() {
	timeout := r.server.cfg.RoomEmptyTimeout
	switch {
	case r.closed:
	case len(r.list) == 0 && (r.begin == nil || timeout < 0 || r.server.closing.Err() != nil):
		r.close()
	case r.begin == nil || timeout < 0 || !r.isDeserted():
		r.deserted = time.Time{}
		if r.desertion != nil {
			r.desertion.Stop()
		}
	case r.deserted.IsZero():
		r.deserted = r.server.cfg.Now()
		r.desertion = time.AfterFunc(timeout, r.endDeserted)
	}
}

func takesPart(p *participant) bool { return !p.recorder }

// isDeserted reports whether everybody has left. Recorders do not count: but while nobody else has been there since the
// class began, it is for people who have yet to come.
func (r *room) isDeserted() bool {
	return len(r.list) == 0 || r.attended && !slices.ContainsFunc(r.list, takesPart)
}

// endDeserted ends the class of a room that everybody has left for long enough.
func (r *room) endDeserted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.begin == nil || r.deserted.IsZero() {
		return
	}
	if left := r.deserted.Add(r.server.cfg.RoomEmptyTimeout).Sub(r.server.cfg.Now()); left > 0 {
		r.desertion.Reset(left)
		return
	}
	r.server.log.Info("class ended: everybody has left", "room", r.id, "after", r.server.cfg.RoomEmptyTimeout)
	r.deleteSaved(r.begin, "")
	r.settle()
}

// close forgets the room, and ends its class.
func (r *room) close() {
	r.closed = true
	for _, timer := range []*time.Timer{r.expiry, r.desertion} {
		if timer != nil {
			timer.Stop()
		}
	}
	r.endClass()
	r.saved, r.begin, r.streams = nil, nil, nil
	r.server.removeRoom(r)
}

// welcomeBack answers a joinRoom of who has joined already.
func (r *room) welcomeBack(p *participant, ack ackFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	answer(ack, ok, r.welcome(p, false))
}

// welcome is the body of the answer to joinRoom: talkcloud.JoinReply, written without decoding what is kept encoded.
func (r *room) welcome(p *participant, made bool) json.RawMessage {
	buf := append(make([]byte, 0, 512), '{')
	if made { // the SDK has none that does not know its id: this is for whoever left it to the server
		buf = append(append(append(buf, `"userId":`...), quote(string(p.id))...), ',')
	}
	buf = append(buf, `"roominfo":{"id":`...)
	buf = append(buf, quote(string(r.id))...)
	buf = append(buf, `,"p2p":false,"iceServers":[],"streams":[`...)
	for i, st := range r.liveStreams() {
		buf = append(comma(buf, i), st.announcement()...)
	}
	buf = append(buf, `]},"msglist":{`...)
	for i, m := range r.savedFor(p) {
		buf = append(append(comma(buf, i), quote(m.message.ID)...), ':')
		buf = append(buf, m.raw...)
	}
	buf = append(buf, `},"userlist":[`...)
	for i, other := range r.peopleFor(p) {
		buf = other.appendTo(comma(buf, i))
	}
	return append(buf, `]}`...)
}

func comma(buf []byte, i int) []byte {
	if i > 0 {
		return append(buf, ',')
	}
	return buf
}

// peopleFor lists who is there besides p, in the order of joining; in a big room only those who lead it.
func (r *room) peopleFor(p *participant) []*participant {
	var others []*participant
	for _, other := range r.list {
		if other != p && (!r.big || other.leads()) {
			others = append(others, other)
		}
	}
	slices.SortFunc(others, func(a, b *participant) int { return cmp.Compare(a.joined, b.joined) })
	return others
}

// deliver sends an event to whom it is for, encoded once.
func (r *room) deliver(to target, sender *participant, event string, payload any) {
	if to.none {
		return
	}
	f, err := socketio.NewFrame(event, payload)
	if err != nil {
		r.server.log.Warn("event not sent", "room", r.id, "event", event, "error", err)
		return
	}
	if len(to.users) > 0 {
		for _, id := range to.users {
			if p := r.people[id]; p != nil {
				p.send(f)
			}
		}
		return
	}
	meant := r.whom(to, sender)
	for _, p := range r.list {
		if meant(p) {
			p.send(f)
		}
	}
}

// deliverClass sends ClassBegin to whom it is for, and to recorders in any case.
func (r *room) deliverClass(to target, sender *participant, payload json.RawMessage) {
	f, err := socketio.NewFrame(talkcloud.EventPubMsg, payload)
	if err != nil {
		r.server.log.Warn("ClassBegin not sent", "room", r.id, "error", err)
		return
	}
	meant := r.whom(to, sender)
	for _, p := range r.list {
		if p.recorder || meant(p) {
			p.send(f)
		}
	}
}

// now is the room's time as the wire tells it, in Unix seconds.
func (r *room) now() talkcloud.Timestamp { return talkcloud.Timestamp(r.server.cfg.Now().Unix()) }
