// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Decoders are those of what participants send, by event. What they return is encoded again, to look at.
func Decoders() map[string]func(json.RawMessage) (any, error) {
	return map[string]func(json.RawMessage) (any, error){
		talkcloud.EventJoinRoom: func(raw json.RawMessage) (any, error) { return decodeJoin(raw) },
		talkcloud.EventPubMsg:   func(raw json.RawMessage) (any, error) { return decodeMessage(raw) },
		talkcloud.EventSendMessage: func(raw json.RawMessage) (any, error) {
			c, err := decodeChat(raw)
			return []any{c.text(), c.to}, err
		},
		talkcloud.EventSetProperty: func(raw json.RawMessage) (any, error) {
			c, err := decodePropertyChange(raw)
			return c.properties, err
		},
		talkcloud.EventEvictParticipant: func(raw json.RawMessage) (any, error) {
			e, err := decodeEviction(raw)
			return e.reason, err
		},
		talkcloud.EventPublish: func(raw json.RawMessage) (any, error) {
			p, err := decodePublication(raw)
			return []any{p, p.source()}, err
		},
		talkcloud.EventSignalingMessage: func(raw json.RawMessage) (any, error) {
			s, err := decodeSignal(raw)
			return []any{s.stream, s.kind, s.sdp, s.candidate, s.mid, s.line}, err
		},
		talkcloud.EventGetUser: func(raw json.RawMessage) (any, error) { return decodeText(raw) },
	}
}

// Encode is what everything goes out by.
func Encode(v any) (json.RawMessage, error) { return encode(v) }

// ParseForm reads a form, encoded or not.
func ParseForm(form string) map[string]string {
	p := params{}
	p.addForm(form)
	return p
}

// ParsePath reads parameters that are path segments.
func ParsePath(path string) map[string]string {
	p := params{}
	p.addPath(path)
	return p
}

// RoomDir is the directory of a room.
func RoomDir(id string) string { return roomDir(talkcloud.RoomID(id)) }

// SetMinFree changes Config.MinFree of a server that runs.
func SetMinFree(s *Server, n int64) {
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	s.space.min, s.space.asked = n, time.Time{}
}

// Recorded is with which options a finished class was recorded.
func (s *Server) Recorded(room talkcloud.RoomID, ts int64) string {
	for _, m := range s.archive.find(query{room: room, recordTS: ts}) {
		return fmt.Sprintf("recordtype %d, convert %d, layout %d, recordchat %t", m.RecordType, m.Convert, m.Layout, m.RecordChat)
	}
	return "not at all"
}
