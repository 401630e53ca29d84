// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"encoding/json"
	"errors"

	"github.com/classrec/classrec/server/internal/socketio"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// participant is somebody in a room, or a connection that has not joined one yet. There are thousands of them, so it
// keeps its properties as the JSON that everybody else is sent, once.
type participant struct {
	server *Server
	conn   *socketio.Conn // nil for a WHIP publisher without a signaling connection
	from   string         // the address of the connection
	pace   pace           // of what it sends
	ours   bool           // the service's own
	// stranger says that only rooms with passwords may be entered.
	stranger bool
	// recorder says that it is there to record the class, and not to take part in it.
	recorder bool
	room     *room // set once, by whoever made the participant; nil before joinRoom

	// The rest is guarded by the room's mutex.
	id         talkcloud.UserID
	properties json.RawMessage
	groups     []string // that its properties name
	causes     causes
	joined     uint64 // order of joining
	index      int32  // in room.list
	streams    int16  // how many it publishes
	role       int8
	shown      int8  // the role that it entered with
	whip       int16 // WHIP sessions that hold it in the room
	gone       bool  // has left the room
}

// roleUnknown is the role of who has not told one.
const roleUnknown = -128

// leads reports whether the participant is one of those who run the class.
func (p *participant) leads() bool {
	return p.role == talkcloud.RoleTeacher || p.role == talkcloud.RoleAssistant
}

// send queues a frame. That it fails means that the connection is ending, which its handler is told by Close.
func (p *participant) send(f *socketio.Frame) {
	if p.conn != nil {
		_ = p.conn.Send(f)
	}
}

// Close is called when the connection has ended.
func (p *participant) Close(err error) {
	if errors.Is(err, socketio.ErrMessageTooBig) {
		p.server.refused[limitMessageSize].Add(1)
	}
	if p.room != nil {
		p.room.leave(p)
	}
	if !p.ours {
		p.server.dismiss()
	}
}

// Event is called with everything that the connection's peer sends.
func (p *participant) Event(ev socketio.Event) {
	if !p.ours && !p.pace.allow(p.server.cfg.MessagesPerSecond) {
		answer(ev.Ack, "error", refusalOf(p.server.over(limitMessageRate, "a participant sends %d messages a second at most",
			p.server.cfg.MessagesPerSecond)))
		return
	}
	var payload json.RawMessage
	if len(ev.Args) > 0 {
		payload = ev.Args[0]
	}
	if err := p.handle(ev.Name, payload, ev.Ack); err != nil {
		answer(ev.Ack, "error", refusalOf(err))
	}
}

// ackFunc answers an event; nil when the peer wants no answer.
type ackFunc func(args ...any) error

// answer sends an ack, if one is wanted. That it fails means that the connection is ending.
func answer(ack ackFunc, args ...any) {
	if ack != nil {
		_ = ack(args...)
	}
}

// ok is the first argument of an ack that says yes.
const ok = 0

// handle does what an event asks for, and acks it unless there is an error.
func (p *participant) handle(event string, payload json.RawMessage, ack ackFunc) error {
	if event == talkcloud.EventJoinRoom {
		return p.join(payload, ack)
	}
	if p.room == nil {
		return refuse(codeFailure, reasonNotJoined, "joinRoom comes first")
	}
	switch event {
	case talkcloud.EventPubMsg:
		return p.publishMessage(payload, ack)
	case talkcloud.EventDelMsg:
		return p.deleteMessage(payload, ack)
	case talkcloud.EventSendMessage:
		return p.sendChat(payload, ack)
	case talkcloud.EventSetProperty:
		return p.setProperty(payload, ack)
	case talkcloud.EventGetUser:
		return p.getUser(payload, ack)
	case talkcloud.EventEvictParticipant:
		return p.evict(payload, ack)
	case talkcloud.EventPublish:
		return p.publishStream(payload, ack)
	case talkcloud.EventUnpublish:
		return p.unpublishStream(payload, ack)
	case talkcloud.EventSignalingMessage:
		return p.signalStream(payload, ack)
	case talkcloud.EventSubscribe:
		return refuse(codeNoPermission, reasonUnsupported, "this server records streams, and sends none")
	case talkcloud.EventUnsubscribe, talkcloud.EventSendDataStream, talkcloud.EventUpdateStreamAttributes:
		answer(ack, ok) // of use only to who watches a stream
		return nil
	}
	return refuse(codeFailure, reasonEvent, "no such event")
}

// join enters a room. Joining the same room again as the same user gives a new answer and changes nothing.
func (p *participant) join(payload json.RawMessage, ack ackFunc) error {
	j, err := decodeJoin(payload)
	if err != nil {
		return err
	}
	properties, err := p.server.properties(j.Properties)
	if err != nil {
		return err
	}
	if p.room != nil {
		if p.room.id != j.Room() || j.UserID != "" && p.id != j.UserID {
			return refuse(codeFailure, reasonJoined, "this connection is in a room already")
		}
		p.room.welcomeBack(p, ack)
		return nil
	}
	if err := p.server.mayEnter(p, j.Room(), j.Participant().Role); err != nil {
		return err
	}
	made := j.UserID == ""
	if made {
		j.UserID = talkcloud.NewUserID()
	}
	r, err := p.server.lockRoom(j.Room(), p.ours)
	if err != nil {
		return err
	}
	defer r.mu.Unlock()
	p.setProperties(properties, j.Participant().Role)
	p.shown, p.recorder = p.role, p.ours || scalar(j.Extra[talkcloud.JoinRecorder]).Truthy()
	if err := r.mayJoin(p, j.UserID); err != nil {
		return err // somebody is there, or a class goes on, so the room is not left empty
	}
	p.room, p.id = r, j.UserID
	r.admit(p, made, ack)
	return nil
}

// mayJoin refuses one more than there is place for, and whoever would take the place of somebody above. The room's mutex
// is held.
func (r *room) mayJoin(p *participant, id talkcloud.UserID) error {
	if err := r.hasPlace(id); err != nil && !p.ours {
		return err
	}
	if old := r.people[id]; old != nil && !p.ours && (old.ours || rankOf(old.shown) > rankOf(p.shown)) {
		return refuse(codeNoPermission, reasonPermission, "the user is in the room, with a role above this one")
	}
	return r.mayAnnounce(p, len(p.properties))
}

// properties encodes the properties of a participant.
func (s *Server) properties(fields map[string]json.RawMessage) (json.RawMessage, error) {
	if fields == nil {
		return json.RawMessage("{}"), nil
	}
	raw, err := encode(fields)
	if err != nil {
		return nil, refuse(codeFailure, reasonPayload, "properties are not JSON")
	}
	if len(raw) > s.cfg.MaxPropertiesBytes {
		return nil, s.over(limitProperties, "properties have %d bytes at most", s.cfg.MaxPropertiesBytes)
	}
	return raw, nil
}

func (p *participant) setProperties(raw json.RawMessage, role *int) {
	p.properties, p.role, p.groups = raw, roleUnknown, groupsIn(raw)
	if role != nil && *role >= talkcloud.RolePlayback && *role <= talkcloud.RolePatrol {
		p.role = int8(*role)
	}
}

// appendTo writes the participant as an element of userlist.
func (p *participant) appendTo(buf []byte) []byte {
	buf = append(append(buf, `{"id":`...), quote(string(p.id))...)
	return append(append(append(buf, `,"properties":`...), p.properties...), '}')
}
