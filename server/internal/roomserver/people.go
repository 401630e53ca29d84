// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"encoding/json"
	"slices"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// setProperty changes the properties of participants and tells the room. Its sender is told too, unless it said
// __allExceptSender or __none: a client publishes only once it has seen its own publishstate.
func (p *participant) setProperty(payload json.RawMessage, ack ackFunc) error {
	c, err := decodePropertyChange(payload)
	if err != nil {
		return err
	}
	r := p.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.gone {
		return refuse(codeFailure, reasonNotJoined, "no longer in the room")
	}
	targets := r.targets(c)
	changed := make([]json.RawMessage, len(targets))
	for i, target := range targets {
		if changed[i], err = target.merged(c.properties); err != nil {
			return err
		}
	}
	answer(ack, ok)
	for i, target := range targets {
		target.setProperties(changed[i], roleOf(changed[i]))
		r.noteStreams(target)
		event := struct {
			ID         talkcloud.UserID           `json:"id"`
			FromID     talkcloud.UserID           `json:"fromID"`
			Properties map[string]json.RawMessage `json:"properties"`
		}{target.id, p.id, c.properties}
		r.deliver(c.to, p, talkcloud.EventSetProperty, event)
		if toOther := !public(c.to) && c.to != talkcloud.ToNone && c.to != string(p.id); toOther {
			r.deliver(string(p.id), p, talkcloud.EventSetProperty, event)
		}
	}
	return nil
}

// targets lists those whose properties change, each once. Who is not there is left out.
func (r *room) targets(c propertyChange) []*participant {
	var targets []*participant
	for _, id := range c.ids {
		if p := r.people[id]; p != nil && !slices.Contains(targets, p) {
			targets = append(targets, p)
		}
	}
	if len(c.roles) == 0 {
		return targets
	}
	for _, p := range r.list {
		if slices.Contains(c.roles, int(p.role)) && !slices.Contains(c.ids, p.id) {
			targets = append(targets, p)
		}
	}
	return targets
}

// merged returns the properties with some of them changed.
func (p *participant) merged(change map[string]json.RawMessage) (json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(p.properties, &fields); err != nil {
		return nil, refuse(codeFailure, reasonPayload, "properties are not JSON")
	}
	for key, value := range change {
		fields[key] = value
	}
	return p.server.properties(fields)
}

func roleOf(properties json.RawMessage) *int {
	var fields struct {
		Role talkcloud.Scalar `json:"role"`
	}
	if json.Unmarshal(properties, &fields) != nil {
		return nil
	}
	n, ok := fields.Role.Int()
	if !ok {
		return nil
	}
	role := int(n)
	return &role
}

// getUser answers with the participant asked for, or nobody.
func (p *participant) getUser(payload json.RawMessage, ack ackFunc) error {
	id, err := decodeText(payload)
	if err != nil {
		return err
	}
	r := p.room
	r.mu.Lock()
	defer r.mu.Unlock()
	list := json.RawMessage("[]")
	if other := r.people[talkcloud.UserID(id)]; other != nil {
		list = append(other.appendTo([]byte("[")), ']')
	}
	answer(ack, ok, list)
	return nil
}

// evict puts somebody out of the room.
func (p *participant) evict(payload json.RawMessage, ack ackFunc) error {
	e, err := decodeEviction(payload)
	if err != nil {
		return err
	}
	r := p.room
	r.mu.Lock()
	defer r.mu.Unlock()
	answer(ack, ok)
	other := r.people[e.id]
	if other == nil {
		return nil
	}
	if other.conn != nil {
		reason := map[string]json.RawMessage{}
		if len(e.reason) > 0 {
			reason["reason"] = e.reason
		}
		other.conn.Disconnect(talkcloud.EventParticipantEvicted, reason)
	}
	r.depart(other)
	return nil
}
