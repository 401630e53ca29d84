// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// The payloads of what participants send, decoded. Each decoder takes any JSON, and fails on what cannot be acted on.

// decodeJoin reads joinRoom. Whoever names no user gets an id of its own.
func decodeJoin(raw json.RawMessage) (talkcloud.JoinRoom, error) {
	var j talkcloud.JoinRoom
	if err := json.Unmarshal(raw, &j); err != nil {
		return j, refuse(codeFailure, reasonPayload, err.Error())
	}
	if err := checkID(string(j.Room())); err != nil {
		return j, refuse(codeField, reasonID, "room: "+err.Error())
	}
	if j.UserID == "" {
		return j, nil
	}
	if err := checkID(string(j.UserID)); err != nil {
		return j, refuse(codeField, reasonID, "user: "+err.Error())
	}
	return j, nil
}

// incoming is a room message as a participant sent it.
type incoming struct {
	talkcloud.Message          // what is understood of it
	target            target   // whom it is for
	members           []member // all of it
	claimed           int64    // ts, which only the server may set: a class that is published again may be known by it
}

// decodeMessage reads pubMsg and delMsg, and fills in what may be left out.
func decodeMessage(raw json.RawMessage) (incoming, error) {
	var in incoming
	if err := json.Unmarshal(raw, &in.Message); err != nil {
		return in, refuse(codeFailure, reasonPayload, err.Error())
	}
	var ok bool
	if in.members, ok = readMembers(raw); !ok {
		return in, refuse(codeFailure, reasonPayload, "room message is not an object")
	}
	in.ID = cmp.Or(in.ID, in.Name)
	if in.ID == "" {
		return in, refuse(codeField, reasonPayload, "room message without name and id")
	}
	in.target = parseTarget(in.To)
	if list, isOther := in.Extra["toID"]; isOther {
		in.target = decodeTarget(list)
	}
	if in.To == "" {
		in.To = talkcloud.ToAll
	}
	in.claimed = in.TS.Unix()
	in.FromID, in.TS, in.Seq, in.Extra = "", 0, 0, nil
	return in, nil
}

// chat is the payload of sendMessage.
type chat struct {
	to      json.RawMessage // as it came
	target  target
	message json.RawMessage
}

// decodeChat reads sendMessage: an object with the message, or the message alone.
func decodeChat(raw json.RawMessage) (chat, error) {
	if text := scalar(raw); !text.IsZero() && !isObject(unquote(raw)) {
		return chat{to: quote(talkcloud.ToAll), message: raw}, nil
	}
	var p struct {
		To      json.RawMessage `json:"toID"`
		Message json.RawMessage `json:"message"`
	}
	if err := decodeObject(raw, &p); err != nil {
		return chat{}, err
	}
	if len(p.Message) == 0 || string(p.Message) == "null" {
		return chat{}, refuse(codeField, reasonPayload, "no message")
	}
	c := chat{to: p.To, target: decodeTarget(p.To), message: p.Message}
	if !isList(c.to) {
		c.to = quote(cmp.Or(scalar(c.to).String(), talkcloud.ToAll))
	}
	return c, nil
}

func isObject(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '{' }

// text returns what was said. The vendor's clients send a JSON text with the words in msg; others just the words.
func (c chat) text() string {
	raw := unquote(c.message)
	var p struct {
		Msg talkcloud.Scalar `json:"msg"`
	}
	if len(raw) > 0 && raw[0] == '{' && json.Unmarshal(raw, &p) == nil && !p.Msg.IsZero() {
		return p.Msg.String()
	}
	return string(raw)
}

// propertyChange is the payload of setProperty: whose properties, who is told, and what they become.
type propertyChange struct {
	self       bool // nobody is named: the sender's own
	ids        []talkcloud.UserID
	roles      []int
	target     target
	properties map[string]json.RawMessage
}

// decodePropertyChange reads setProperty. The properties may be a JSON text; whose they are may be a user, a list of users,
// or {ids, roles}. No properties change nothing.
func decodePropertyChange(raw json.RawMessage) (propertyChange, error) {
	var p struct {
		ID         json.RawMessage `json:"id"`
		To         json.RawMessage `json:"toID"`
		Properties json.RawMessage `json:"properties"`
	}
	if err := decodeObject(raw, &p); err != nil {
		return propertyChange{}, err
	}
	c := propertyChange{target: decodeTarget(p.To)}
	switch inner := unquote(p.Properties); {
	case len(inner) == 0, string(inner) == "null", string(inner) == "[]": // nothing, as PHP writes an empty object
	case decodeObject(inner, &c.properties) != nil:
		return c, refuse(codeFailure, reasonPayload, "properties are not an object")
	}
	return c, c.decodeWhose(bytes.TrimSpace(p.ID))
}

func (c *propertyChange) decodeWhose(id json.RawMessage) error {
	inner := unquote(id)
	if !isObject(inner) {
		for _, one := range scalars(id) {
			c.ids = append(c.ids, talkcloud.UserID(one))
		}
		c.self = len(id) == 0 || string(id) == "null" || string(id) == `""`
		return nil
	}
	var group struct {
		IDs   json.RawMessage `json:"ids"`
		Roles json.RawMessage `json:"roles"`
	}
	if err := decodeObject(inner, &group); err != nil {
		return err
	}
	for _, one := range scalars(group.IDs) {
		c.ids = append(c.ids, talkcloud.UserID(one))
	}
	for _, one := range scalars(group.Roles) {
		if n, ok := talkcloud.Text(one).Int(); ok {
			c.roles = append(c.roles, int(n))
		}
	}
	return nil
}

// eviction is the payload of evictParticipant.
type eviction struct {
	id     talkcloud.UserID
	reason json.RawMessage
}

// decodeEviction reads evictParticipant: an object, or the user's id alone.
func decodeEviction(raw json.RawMessage) (eviction, error) {
	var p struct {
		ID     talkcloud.Scalar `json:"id"`
		Reason json.RawMessage  `json:"reason"`
	}
	if id := scalar(raw); !id.IsZero() && !isObject(unquote(raw)) {
		p.ID = id
	} else if err := decodeObject(raw, &p); err != nil {
		return eviction{}, err
	}
	if p.ID.String() == "" {
		return eviction{}, refuse(codeField, reasonPayload, "nobody to evict")
	}
	return eviction{talkcloud.UserID(p.ID.String()), p.Reason}, nil
}

// publication is the payload of publish: what a stream will carry. The fields are passed on as they came.
type publication struct {
	Audio      json.RawMessage `json:"audio,omitempty"`
	Video      json.RawMessage `json:"video,omitempty"`
	Data       json.RawMessage `json:"data,omitempty"`
	Screen     json.RawMessage `json:"screen,omitempty"`
	Attributes json.RawMessage `json:"attributes,omitempty"`
}

// maxPublicationBytes bounds what is kept of a publish.
const maxPublicationBytes = 8 << 10

func decodePublication(raw json.RawMessage) (publication, error) {
	var p publication
	if len(raw) > maxPublicationBytes {
		return p, refuse(codeQuota, reasonLimit, "publish is too big")
	}
	return p, decodeObject(raw, &p)
}

// source is the kind of a stream, attributes.type: video, screen, media, file.
func (p publication) source() string {
	var a struct {
		Type talkcloud.Scalar `json:"type"`
	}
	if json.Unmarshal(p.Attributes, &a) != nil {
		return ""
	}
	return a.Type.String()
}

// signal is the payload of signaling_message.
type signal struct {
	stream    string
	kind      string // offer, candidate, updatestream, …
	sdp       string
	candidate string
	mid       string
	line      int
	config    json.RawMessage // of updatestream
}

func decodeSignal(raw json.RawMessage) (signal, error) {
	var p struct {
		StreamID talkcloud.Scalar `json:"streamId"`
		Msg      json.RawMessage  `json:"msg"`
	}
	if err := decodeObject(raw, &p); err != nil {
		return signal{}, err
	}
	var msg struct {
		Type      talkcloud.Scalar `json:"type"`
		SDP       talkcloud.Scalar `json:"sdp"`
		Candidate json.RawMessage  `json:"candidate"`
		Mid       talkcloud.Scalar `json:"sdpMid"`
		Line      talkcloud.Scalar `json:"sdpMLineIndex"`
		Config    json.RawMessage  `json:"config"`
	}
	if err := decodeObject(p.Msg, &msg); err != nil {
		return signal{}, err
	}
	s := signal{stream: p.StreamID.String(), kind: msg.Type.String(), sdp: msg.SDP.String()}
	s.config = msg.Config
	if s.kind == "" && len(msg.Candidate) > 0 {
		s.kind = "candidate"
	}
	if s.kind != "candidate" {
		return s, nil
	}
	// {type, candidate: {candidate, sdpMid, sdpMLineIndex}} and {type, candidate: "…", sdpMid, sdpMLineIndex} are both used
	if c := unquote(msg.Candidate); len(c) > 0 && c[0] == '{' {
		if err := decodeObject(c, &msg); err != nil {
			return signal{}, err
		}
	}
	s.candidate, s.mid = scalar(msg.Candidate).String(), msg.Mid.String()
	if n, ok := msg.Line.Int(); ok && int64(int16(n)) == n { //nolint:gosec // that is what is asked
		s.line = int(n)
	}
	return s, nil
}

// decodeText reads a payload that is just an id, or an object with one.
func decodeText(raw json.RawMessage) (string, error) {
	if text := scalar(raw).String(); text != "" {
		return text, nil
	}
	var p struct {
		ID talkcloud.Scalar `json:"id"`
	}
	if err := decodeObject(raw, &p); err != nil {
		return "", err
	}
	return p.ID.String(), nil
}

// decodeObject reads an object, or a JSON text of one.
func decodeObject(raw json.RawMessage, into any) error {
	raw = unquote(raw)
	if len(raw) == 0 || raw[0] != '{' {
		return refuse(codeFailure, reasonPayload, "payload is not an object")
	}
	if err := json.Unmarshal(raw, into); err != nil {
		var syntax *json.UnmarshalTypeError
		if errors.As(err, &syntax) {
			return refuse(codeFailure, reasonPayload, fmt.Sprintf("field %q has another type", syntax.Field))
		}
		return refuse(codeFailure, reasonPayload, "payload is not JSON")
	}
	return nil
}

func scalar(raw json.RawMessage) talkcloud.Scalar {
	var s talkcloud.Scalar
	if len(raw) == 0 || json.Unmarshal(raw, &s) != nil {
		return talkcloud.Scalar{}
	}
	return s
}

// unquote returns the text of a JSON string, and anything else as it is.
func unquote(raw json.RawMessage) json.RawMessage {
	raw = bytes.TrimSpace(raw)
	var text string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &text) != nil {
		return raw
	}
	return json.RawMessage(text)
}

// encode writes JSON as clients do, with <, > and & as they are.
func encode(v any) (json.RawMessage, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

func quote(text string) json.RawMessage {
	raw, err := encode(text)
	if err != nil {
		return json.RawMessage(`""`) // cannot happen: every string can be written
	}
	return raw
}
