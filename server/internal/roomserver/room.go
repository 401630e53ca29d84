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
// was saved; the next one makes a new room of the same id.
type room struct {
	id     talkcloud.RoomID
	server *Server

	// beginning serializes the beginnings of classes, which do I/O. It is taken before mu.
	beginning sync.Mutex
	// class is the recording that goes on, or nil. It is written with mu held, and read without by who has media.
	class atomic.Pointer[class]

	mu         sync.Mutex
	closed     bool
	big        bool
	people     map[talkcloud.UserID]*participant
	list       []*participant // the same, in no order
	joins      uint64
	seq        int64
	saved      map[string]*savedMessage
	savedBytes int
	expiry     *time.Timer // runs expire at nextExpiry; nil before the first message that expires
	nextExpiry time.Time   // zero = no message is known to expire
	streams    map[string]*stream
	chatSecond int64 // the second that chatCount is of
	chatCount  int
}

// admit takes a participant in, tells it what there is, and tells the others. The room's mutex is held.
func (r *room) admit(p *participant, ack ackFunc) {
	old := r.people[p.id]
	if old != nil {
		r.replace(old, p)
	}
	answer(ack, ok, r.welcome(p))
	r.add(p)
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
	p.gone = true
}

// tellOthers tells everybody but one participant that it came or left, unless the room is big.
func (r *room) tellOthers(p *participant, event string, payload any) {
	if !r.big {
		r.deliver(talkcloud.ToAllExceptSender, p, event, payload)
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

// settle closes a room that is empty: its messages are gone, and its class is over.
func (r *room) settle() {
	if len(r.list) > 0 || r.closed {
		return
	}
	r.closed = true
	if r.expiry != nil {
		r.expiry.Stop()
	}
	r.endClass()
	r.saved, r.streams = nil, nil
	r.server.removeRoom(r)
}

// welcomeBack answers a joinRoom of who has joined already.
func (r *room) welcomeBack(p *participant, ack ackFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	answer(ack, ok, r.welcome(p))
}

// welcome is the body of the answer to joinRoom: talkcloud.JoinReply, written without decoding what is kept encoded.
func (r *room) welcome(p *participant) json.RawMessage {
	buf := append(make([]byte, 0, 512), `{"roominfo":{"id":`...)
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
func (r *room) deliver(to string, sender *participant, event string, payload any) {
	if to == talkcloud.ToNone {
		return
	}
	f, err := socketio.NewFrame(event, payload)
	if err != nil {
		r.server.log.Warn("event not sent", "room", r.id, "event", event, "error", err)
		return
	}
	switch to {
	case talkcloud.ToAll, talkcloud.ToAllExceptSender, talkcloud.ToAllExceptAuditor:
		for _, p := range r.list {
			if (to == talkcloud.ToAllExceptSender && p == sender) ||
				(to == talkcloud.ToAllExceptAuditor && p.role == talkcloud.RoleAuditor) {
				continue
			}
			p.send(f)
		}
	default:
		if p := r.people[talkcloud.UserID(to)]; p != nil {
			p.send(f)
		}
	}
}

// now is the room's time as the wire tells it, in Unix seconds.
func (r *room) now() talkcloud.Timestamp { return talkcloud.Timestamp(r.server.cfg.Now().Unix()) }
