// SPDX-License-Identifier: Apache-2.0

package talkcloud

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
)

// Participant is a user in a room.
type Participant struct {
	ID UserID
	// Role and Nickname stand in Properties on the wire; Role is nil where the platform says none.
	Role     *int
	Nickname string
	// Properties holds all of them, role and nickname included. Encoding writes Role and Nickname
	// over them when they are set.
	Properties map[string]json.RawMessage
}

// MarshalJSON writes {id, properties}.
func (p Participant) MarshalJSON() ([]byte, error) {
	properties := p.Properties
	if p.Role != nil || p.Nickname != "" {
		if properties = maps.Clone(properties); properties == nil {
			properties = make(map[string]json.RawMessage, 2)
		}
		if p.Role != nil {
			properties["role"] = json.RawMessage(strconv.Itoa(*p.Role))
		}
		if p.Nickname != "" {
			properties["nickname"] = quote(p.Nickname)
		}
	}
	var props objectWriter
	props.extra(properties)
	var w objectWriter
	w.raw("id", quote(string(p.ID)))
	w.raw("properties", props.close())
	return w.close(), nil
}

// UnmarshalJSON fails only when the JSON is neither an object nor a text of one.
func (p *Participant) UnmarshalJSON(data []byte) error {
	fields, ok := parseObject(data)
	if !ok {
		return errors.New("participant is not an object")
	}
	properties, _ := parseObject(fields["properties"])
	*p = newParticipant(UserID(parseScalar(fields["id"]).String()), properties)
	return nil
}

func newParticipant(id UserID, properties map[string]json.RawMessage) Participant {
	p := Participant{ID: id, Properties: properties}
	if n, ok := parseScalar(properties["role"]).Int(); ok {
		role := int(n)
		p.Role = &role
	}
	p.Nickname = parseScalar(properties["nickname"]).String()
	return p
}

// parseParticipants reads a userlist: an array, a map by id, a JSON text of either, or nothing.
func parseParticipants(data json.RawMessage) []Participant {
	raw := unquote(data)
	if len(raw) == 0 {
		return nil
	}
	var users []Participant
	add := func(id string, raw json.RawMessage) {
		var p Participant
		if p.UnmarshalJSON(raw) != nil {
			return
		}
		if p.ID == "" {
			p.ID = UserID(id)
		}
		if p.ID != "" {
			users = append(users, p)
		}
	}
	if raw[0] == '[' {
		var items []json.RawMessage
		_ = json.Unmarshal(raw, &items) // half a list is the users that could be read: it is only told, never relied on
		for _, item := range items {
			add("", item)
		}
		return users
	}
	items, _ := parseObject(raw)
	for _, id := range slices.Sorted(maps.Keys(items)) {
		add(id, items[id])
	}
	return users
}
