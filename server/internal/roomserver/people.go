// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"encoding/json"
	"slices"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// propertyEvent is what the room is told of changed properties.
type propertyEvent struct {
	ID         talkcloud.UserID           `json:"id"`
	FromID     talkcloud.UserID           `json:"fromID"`
	Properties map[string]json.RawMessage `json:"properties"`
}

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
	if c.self {
		c.ids = []talkcloud.UserID{p.id}
	}
	targets := r.targets(c)
	changed, err := r.changes(p, targets, c)
	if err != nil {
		return err
	}
	answer(ack, ok)
	for i, target := range targets {
		r.propertyBytes += len(changed[i]) - len(target.properties)
		target.setProperties(changed[i], roleOf(changed[i]))
		r.noteStreams(target)
		event := propertyEvent{target.id, p.id, c.properties}
		r.deliver(c.target, p, talkcloud.EventSetProperty, event)
		if toOther := !c.target.public() && !c.target.none && !r.whom(c.target, p)(p); toOther {
			r.deliver(onlyUser(p.id), p, talkcloud.EventSetProperty, event)
		}
	}
	return nil
}

// changes returns what the properties of participants become, unless the sender may not change them so.
func (r *room) changes(p *participant, targets []*participant, c propertyChange) ([]json.RawMessage, error) {
	changed, grown, bytes := make([]json.RawMessage, len(targets)), 0, 0
	event, err := encode(c.properties)
	if err != nil {
		return nil, refuse(codeFailure, reasonPayload, "properties are not JSON")
	}
	for i, target := range targets {
		if err := p.mayGiveRole(target, c.properties); err != nil {
			return nil, err
		}
		if changed[i], err = target.merged(c.properties); err != nil {
			return nil, err
		}
		grown += len(changed[i]) - len(target.properties)
		bytes += len(event)
	}
	// What everybody who comes is sent in the answer to joinRoom.
	if most := r.server.cfg.SendQueueBytes / shareOfOne; !p.leads() && !p.ours && grown > 0 && r.propertyBytes+grown > most {
		return nil, r.server.over(limitProperties, "the properties of a room have %d bytes at most", most)
	}
	return changed, r.spend(p, c.target, bytes)
}

// mayGiveRole refuses a change of a role to all but those who lead the class; and these to change that of somebody above
// them, or to lift somebody above themselves.
func (p *participant) mayGiveRole(other *participant, change map[string]json.RawMessage) error {
	raw, given := change["role"]
	if !given || p.ours {
		return nil
	}
	role := roleIn(raw)
	if role == other.role {
		return nil
	}
	if other.ours || !p.leads() || other.rank() > p.rank() || rankOf(role) > p.rank() {
		return refuse(codeNoPermission, reasonPermission, "a role is given by a teacher or an assistant, and none above their own")
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

// roleOf returns the role in properties, nil where there is none. Keys count as they are written: "Role" is no role.
func roleOf(properties json.RawMessage) *int {
	var fields map[string]json.RawMessage
	if json.Unmarshal(properties, &fields) != nil {
		return nil
	}
	n, ok := scalar(fields["role"]).Int()
	if !ok {
		return nil
	}
	role := int(n)
	return &role
}

// roleIn reads a role; what is none is unknown.
func roleIn(raw json.RawMessage) int8 {
	if n, ok := scalar(raw).Int(); ok && n >= talkcloud.RolePlayback && n <= talkcloud.RolePatrol {
		return int8(n)
	}
	return roleUnknown
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

// mayEvict lets those who lead the class put out whoever is not above them, and everybody themselves. The service that
// runs in this process is put out by nobody: it is how a class is ended that goes on.
func (p *participant) mayEvict(other *participant) error {
	if p == other || p.ours || p.leads() && p.rank() >= other.rank() {
		return nil
	}
	return refuse(codeNoPermission, reasonPermission, "participants are evicted by a teacher or an assistant, and by none below them")
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
	other := r.people[e.id]
	if other == nil {
		answer(ack, ok)
		return nil
	}
	if err := p.mayEvict(other); err != nil {
		return err
	}
	answer(ack, ok)
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
