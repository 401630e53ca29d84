// SPDX-License-Identifier: Apache-2.0

package talkcloud

import (
	"encoding/json"

	"github.com/classrec/classrec/server/internal/socketio"
)

// EventKind says what happened in a room.
type EventKind uint8

// The kinds of events.
const (
	Other             EventKind = iota // an event that this package does not know: Name, Args
	Published                          // a message was published, by anyone, us included: Message
	Deleted                            // a message was deleted: Message
	List                               // the platform pushed saved messages: List
	ParticipantJoined                  // Participant
	ParticipantLeft                    // UserID
	Evicted                            // we were put out of the room: Reason
	ForceReconnect                     // the platform wants us on a new connection
	Chat                               // ChatMessage
	Property                           // properties of UserID changed: Participant
	Stream                             // about media: Name, Args
)

// Event is something that the platform told us.
type Event struct {
	Kind        EventKind
	Name        string // the event's name on the wire
	Message     Message
	List        MessageList
	Participant Participant
	UserID      UserID
	Reason      int // one of the Evicted constants, 0 when the platform gave none
	ChatMessage ChatMessage
	Args        []json.RawMessage
}

// ChatMessage is a line of chat.
type ChatMessage struct {
	FromID   UserID
	Nickname string // "" when the platform does not tell it
	Text     string
	TS       Timestamp
}

// RawEvent is an event as the socket gives it: see [Conn.Incoming].
type RawEvent = socketio.Event

// ParseEvent decodes an event of the socket. ok is false for one without what its kind needs, which
// is to be ignored: a message without a name, a participant without an id, a chat without a text.
func ParseEvent(raw RawEvent) (e Event, ok bool) {
	e.Name = raw.Name
	var arg json.RawMessage
	if len(raw.Args) > 0 {
		arg = raw.Args[0]
	}
	switch raw.Name {
	case EventPubMsg, EventDelMsg:
		e.Kind = Published
		if raw.Name == EventDelMsg {
			e.Kind = Deleted
		}
		return e, e.Message.UnmarshalJSON(arg) == nil && e.Message.Key() != ""
	case EventMsgList:
		e.Kind = List
		return e, e.List.UnmarshalJSON(arg) == nil
	case EventParticipantJoined:
		e.Kind = ParticipantJoined
		err := e.Participant.UnmarshalJSON(arg)
		e.UserID = e.Participant.ID
		return e, err == nil && e.UserID != ""
	case EventParticipantLeft:
		e.Kind = ParticipantLeft
		e.UserID = UserID(parseScalar(arg).String())
		if fields, isObject := parseObject(arg); isObject {
			e.UserID = UserID(parseScalar(fields["id"]).String())
		}
		return e, e.UserID != ""
	case EventParticipantEvicted:
		e.Kind = Evicted
		reason := parseScalar(arg)
		if fields, isObject := parseObject(arg); isObject {
			reason = parseScalar(fields["reason"])
		}
		if n, isNumber := reason.Int(); isNumber {
			e.Reason = clampCode(n)
		}
		return e, true
	case EventForceReconnect:
		e.Kind = ForceReconnect
		return e, true
	case EventSendMessage:
		e.Kind = Chat
		e.ChatMessage, ok = parseChat(arg)
		return e, ok
	case EventSetProperty:
		e.Kind = Property
		err := e.Participant.UnmarshalJSON(arg)
		e.UserID = e.Participant.ID
		return e, err == nil
	case EventAddStream, EventRemoveStream, EventSignalingMessageMediaServer, EventSignalingMessagePeer,
		EventPublishFailed, EventSubscribeFailed, EventUpdateStreamAttributesNotice:
		e.Kind, e.Args = Stream, raw.Args
		return e, true
	}
	e.Args = raw.Args
	return e, true
}

func parseChat(arg json.RawMessage) (ChatMessage, bool) {
	fields, ok := parseObject(arg)
	if !ok {
		return ChatMessage{}, false
	}
	chat := ChatMessage{
		FromID:   UserID(parseScalar(fields["fromID"]).String()),
		Nickname: parseScalar(fields["nickname"]).String(),
	}
	_ = chat.TS.UnmarshalJSON(fields["ts"]) // never fails
	raw, has := fields["message"]
	if !has || string(raw) == "null" {
		return ChatMessage{}, false
	}
	if body, isObject := parseObject(raw); isObject {
		chat.Text = parseScalar(body["msg"]).String()
	} else {
		chat.Text = parseScalar(raw).String()
	}
	return chat, true
}

// chatPayload is what sendMessage carries: the text stands in a JSON text of its own.
func chatPayload(text string) json.RawMessage {
	var body, w objectWriter
	body.raw("msg", quote(text))
	w.text("toID", ToAll)
	w.text("message", string(body.close()))
	return w.close()
}

// EvictionError returns the error that ends a stay in a room from which we were evicted.
func EvictionError(room RoomID, reason int) *Error {
	kind, meaning := classify(SourceEviction, reason)
	return &Error{Op: "stay in room " + string(room), Source: SourceEviction, Code: reason, Kind: kind, Message: meaning}
}
