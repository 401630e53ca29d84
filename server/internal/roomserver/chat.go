// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"encoding/json"
	"time"

	"github.com/classrec/classrec/server/internal/recorder"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// chatMessage is what the room is sent of a chat message.
type chatMessage struct {
	FromID   talkcloud.UserID    `json:"fromID"`
	Nickname string              `json:"nickname,omitempty"`
	Role     *int                `json:"role,omitempty"`
	ToID     json.RawMessage     `json:"toID"`
	Message  json.RawMessage     `json:"message"`
	TS       talkcloud.Timestamp `json:"ts"`
}

// sendChat does sendMessage. What everybody may read is recorded too.
func (p *participant) sendChat(payload json.RawMessage, ack ackFunc) error {
	c, err := decodeChat(payload)
	if err != nil {
		return err
	}
	now := p.server.cfg.Now()
	nickname, err := p.say(c, now, ack)
	if err != nil {
		return err
	}
	if cl := p.room.class.Load(); cl != nil && c.target.public() {
		cl.chat(recorder.ChatMessage{UserID: string(p.id), Nickname: nickname, Text: c.text()})
	}
	return nil
}

// say tells the room, and returns the speaker's name.
func (p *participant) say(c chat, now time.Time, ack ackFunc) (nickname string, err error) {
	r := p.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.gone {
		return "", refuse(codeFailure, reasonNotJoined, "no longer in the room")
	}
	if !r.mayChat(p, now) {
		return "", p.server.over(limitChatRate, "the room has more than %d chat messages a second", p.server.cfg.ChatPerSecond)
	}
	nickname = p.nickname()
	m := chatMessage{FromID: p.id, Nickname: nickname, ToID: c.to, Message: c.message, TS: r.now()}
	if p.role != roleUnknown {
		role := int(p.role)
		m.Role = &role
	}
	if err := r.spend(p, c.target, len(c.message)); err != nil {
		return "", err
	}
	answer(ack, ok)
	r.deliver(c.target, p, talkcloud.EventSendMessage, m)
	return nickname, nil
}

// mayChat counts the chat messages of a second. Those who lead the class always may.
func (r *room) mayChat(p *participant, now time.Time) bool {
	limit := r.server.cfg.ChatPerSecond
	if limit < 0 || p.leads() {
		return true
	}
	if second := now.Unix(); second != r.chatSecond {
		r.chatSecond, r.chatCount = second, 0
	}
	r.chatCount++
	return r.chatCount <= limit
}

func (p *participant) nickname() string {
	var properties struct {
		Nickname talkcloud.Scalar `json:"nickname"`
	}
	if json.Unmarshal(p.properties, &properties) != nil {
		return ""
	}
	return properties.Nickname.String()
}
