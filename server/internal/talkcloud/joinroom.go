// SPDX-License-Identifier: Apache-2.0

package talkcloud

import (
	"encoding/json"
	"errors"
)

// JoinRoom is the payload of the joinRoom event. There is no token: identity is what is written here.
type JoinRoom struct {
	UserID UserID
	// RoomID keeps the JSON type that the answer to checkroom gave the serial.
	RoomID Scalar
	// Numbers from the answer to checkroom; one that it did not give is null on the wire.
	MaxVideo, VideoFPS, VideoWidth, VideoHeight, RoomType, Version, VCodec Scalar
	// Properties are those of the new participant: role, nickname and so on.
	Properties map[string]json.RawMessage
	// Extra holds the other fields, by key. It may be nil.
	Extra map[string]json.RawMessage
}

// Room returns the room's id as text.
func (j JoinRoom) Room() RoomID { return RoomID(j.RoomID.String()) }

// Participant returns the participant that the join makes.
func (j JoinRoom) Participant() Participant { return newParticipant(j.UserID, j.Properties) }

// MarshalJSON writes all known fields, null where one is not set, as the vendor's SDK does.
func (j JoinRoom) MarshalJSON() ([]byte, error) {
	var props, w objectWriter
	props.extra(j.Properties)
	scalar := func(key string, s Scalar) {
		raw, _ := s.MarshalJSON() // cannot fail
		w.raw(key, raw)
	}
	w.raw("userId", quote(string(j.UserID)))
	scalar("roomId", j.RoomID)
	scalar("maxVideo", j.MaxVideo)
	scalar("videofps", j.VideoFPS)
	scalar("videowidth", j.VideoWidth)
	scalar("videoheight", j.VideoHeight)
	w.raw("properties", props.close())
	scalar("roomtype", j.RoomType)
	scalar("version", j.Version)
	scalar("vcodec", j.VCodec)
	w.extra(j.Extra)
	return w.close(), nil
}

// UnmarshalJSON fails only when the JSON is neither an object nor a text of one.
func (j *JoinRoom) UnmarshalJSON(data []byte) error {
	fields, ok := parseObject(data)
	if !ok {
		return errors.New("joinRoom is not an object")
	}
	*j = JoinRoom{
		UserID:      UserID(take(fields, "userId").String()),
		RoomID:      take(fields, "roomId"),
		MaxVideo:    take(fields, "maxVideo"),
		VideoFPS:    take(fields, "videofps"),
		VideoWidth:  take(fields, "videowidth"),
		VideoHeight: take(fields, "videoheight"),
		RoomType:    take(fields, "roomtype"),
		Version:     take(fields, "version"),
		VCodec:      take(fields, "vcodec"),
	}
	if properties, ok := parseObject(fields["properties"]); ok {
		j.Properties = properties
		delete(fields, "properties")
	}
	j.Extra = rest(fields)
	return nil
}

// JoinReply is the body of the ack of joinRoom.
type JoinReply struct {
	RoomInfo RoomInfo
	Messages MessageList
	Users    []Participant
}

// RoomInfo is roominfo in [JoinReply].
type RoomInfo struct {
	ID         RoomID
	P2P        bool
	ICEServers json.RawMessage // nil encodes as []
	Streams    json.RawMessage // nil encodes as []
	// Extra holds the other fields, by key. It may be nil.
	Extra map[string]json.RawMessage
}

// MarshalJSON writes roominfo, msglist and userlist, all three always there.
func (r JoinReply) MarshalJSON() ([]byte, error) {
	info := r.RoomInfo
	list := func(raw json.RawMessage) json.RawMessage {
		if raw == nil {
			return json.RawMessage("[]")
		}
		return raw
	}
	var room objectWriter
	room.raw("id", quote(string(info.ID)))
	p2p, _ := Bool(info.P2P).MarshalJSON() // cannot fail
	room.raw("p2p", p2p)
	room.raw("iceServers", list(info.ICEServers))
	room.raw("streams", list(info.Streams))
	room.extra(info.Extra)

	messages, err := r.Messages.MarshalJSON()
	if err != nil {
		return nil, err
	}
	users := r.Users
	if users == nil {
		users = []Participant{}
	}
	userlist, err := json.Marshal(users)
	if err != nil {
		return nil, err
	}
	var w objectWriter
	w.raw("roominfo", room.close())
	w.raw("msglist", messages)
	w.raw("userlist", userlist)
	return w.close(), nil
}

// UnmarshalJSON wants evidence that this is the answer of a room: roominfo as an object, or a
// msglist that is not null. Without either it fails.
func (r *JoinReply) UnmarshalJSON(data []byte) error {
	fields, ok := parseObject(data)
	if !ok {
		return errors.New("answer to joinRoom is not an object")
	}
	*r = JoinReply{Users: parseParticipants(fields["userlist"])}
	info, hasInfo := parseObject(fields["roominfo"])
	if hasInfo {
		r.RoomInfo = parseRoomInfo(info)
	}
	list := unquote(fields["msglist"])
	hasList := len(list) > 0 && string(list) != "null"
	if !hasInfo && !hasList {
		return errors.New("answer to joinRoom has neither roominfo nor msglist")
	}
	return r.Messages.UnmarshalJSON(list)
}

func parseRoomInfo(fields map[string]json.RawMessage) RoomInfo {
	info := RoomInfo{
		ID:         RoomID(take(fields, "id").String()),
		P2P:        take(fields, "p2p").Truthy(),
		ICEServers: fields["iceServers"],
		Streams:    fields["streams"],
	}
	delete(fields, "iceServers")
	delete(fields, "streams")
	info.Extra = rest(fields)
	return info
}
