// SPDX-License-Identifier: Apache-2.0

package talkcloud

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Message is a room message: the payload of pubMsg and delMsg both ways, and an element of msglist.
//
// Decoding accepts an object or a JSON text of one, numbers as texts and the reverse, and anything
// missing; what it does not know, or knows with another type, is kept in Extra. Encoding leaves out
// what is empty and writes keys in the order of the vendor's SDK.
type Message struct {
	Name string
	// ID is the key of the message in its room; publishing it again replaces the kept copy. On the
	// wire it may be missing, which means the name: see [Message.Key].
	ID string
	// To is toID: one of the To constants or a user id. Missing means ToAll.
	To string
	// Data is as it stands on the wire, usually a JSON string that holds JSON: see [Message.DataText].
	Data json.RawMessage
	// DoNotSave is true when the platform must not keep the message for late joiners. On the wire
	// the mere presence of do_not_save says so.
	DoNotSave bool
	// FromID is who published or deleted it; set by the platform.
	FromID UserID
	// TS is when, by the platform's clock; set by the platform.
	TS Timestamp
	// Seq orders the messages of a room; set by the platform.
	Seq int64
	// AssociatedMsgID is the id of a message with which this one is deleted.
	AssociatedMsgID string
	// AssociatedUserID is a user with whose leaving this message is deleted.
	AssociatedUserID string
	// Expires is relative, ExpiresAbs Unix time, both in seconds; 0 is none.
	Expires, ExpiresAbs int64
	// Extra holds the other fields, by key. It may be nil.
	Extra map[string]json.RawMessage
}

// Key returns the id, or the name where the id is missing: what identifies the message in its room. A room has one class, so
// that of a class is MessageClassBegin, whichever of id and name says so.
func (m Message) Key() string {
	if m.IsClassBegin() {
		return MessageClassBegin
	}
	if m.ID != "" {
		return m.ID
	}
	return m.Name
}

// IsClassBegin reports whether the message is that of a class: the document's callbacks go by the
// name, its delete by the id, and either may be the only one that says so.
func (m Message) IsClassBegin() bool {
	return m.Name == MessageClassBegin || m.ID == MessageClassBegin
}

// DataText returns data as JSON text, whether it came as a string that holds JSON or as JSON
// itself; "" when there is none.
func (m Message) DataText() string { return string(unquote(m.Data)) }

// TextData returns a text as the data of a message: a JSON string, the way recording calls send it.
func TextData(text string) json.RawMessage { return quote(text) }

// Equal reports whether both are the same state of the same message.
func (m Message) Equal(o Message) bool {
	return m.Name == o.Name && m.Key() == o.Key() && m.To == o.To && m.DoNotSave == o.DoNotSave &&
		m.FromID == o.FromID && m.TS == o.TS && m.Seq == o.Seq && m.AssociatedMsgID == o.AssociatedMsgID &&
		m.AssociatedUserID == o.AssociatedUserID && m.Expires == o.Expires && m.ExpiresAbs == o.ExpiresAbs &&
		m.DataText() == o.DataText() && maps.EqualFunc(m.Extra, o.Extra, func(a, b json.RawMessage) bool {
		return bytes.Equal(a, b)
	})
}

// MarshalJSON fails only when Data or Extra hold no valid JSON.
func (m Message) MarshalJSON() ([]byte, error) {
	var w objectWriter
	w.text("name", m.Name)
	w.text("id", m.ID)
	w.text("toID", m.To)
	w.raw("data", m.Data)
	if m.DoNotSave {
		w.raw("do_not_save", json.RawMessage(`""`))
	}
	w.text("fromID", string(m.FromID))
	w.number("ts", int64(m.TS))
	w.number("seq", m.Seq)
	w.text("associatedMsgID", m.AssociatedMsgID)
	w.text("associatedUserID", m.AssociatedUserID)
	w.number("expires", m.Expires)
	w.number("expiresabs", m.ExpiresAbs)
	w.extra(m.Extra)
	return w.close(), nil
}

// UnmarshalJSON fails only when the JSON is neither an object nor a text of one.
func (m *Message) UnmarshalJSON(data []byte) error {
	fields, ok := parseObject(data)
	if !ok {
		return errors.New("room message is not an object")
	}
	*m = Message{
		Name:             take(fields, "name").String(),
		ID:               take(fields, "id").String(),
		To:               take(fields, "toID").String(),
		FromID:           UserID(take(fields, "fromID").String()),
		AssociatedMsgID:  take(fields, "associatedMsgID").String(),
		AssociatedUserID: take(fields, "associatedUserID").String(),
		TS:               Timestamp(takeInt(fields, "ts")),
		Seq:              takeInt(fields, "seq"),
		Expires:          takeInt(fields, "expires"),
		ExpiresAbs:       takeInt(fields, "expiresabs"),
	}
	if raw, ok := fields["data"]; ok {
		m.Data = raw
		delete(fields, "data")
	}
	if _, ok := fields["do_not_save"]; ok {
		m.DoNotSave = true
		delete(fields, "do_not_save")
	}
	m.Extra = rest(fields)
	return nil
}

// Timestamp is a time as the platform writes it: a number of 10 digits is Unix seconds, one of 13
// Unix milliseconds. 0 is none.
type Timestamp int64

// Time returns the time; ok is false when there is none, or it has neither 10 nor 13 digits.
func (t Timestamp) Time() (at time.Time, ok bool) {
	switch {
	case t >= 1e9 && t < 1e10:
		return time.Unix(int64(t), 0), true
	case t >= 1e12 && t < 1e13:
		return time.UnixMilli(int64(t)), true
	}
	return time.Time{}, false
}

// Unix returns Unix seconds, which is the recordts of the record list; 0 when there is no time.
func (t Timestamp) Unix() int64 {
	at, ok := t.Time()
	if !ok {
		return 0
	}
	return at.Unix()
}

// UnmarshalJSON accepts a number and a text of one; anything else is 0.
func (t *Timestamp) UnmarshalJSON(data []byte) error {
	n, _ := parseScalar(data).Int()
	*t = Timestamp(n)
	return nil
}

// MessageList is the saved messages of a room, in order of seq.
//
// Decoding accepts a map from id to message, an array, a JSON text of either, and null; elements
// that are no messages are left out. It encodes as a map, the only form that every client takes.
type MessageList []Message

// MarshalJSON writes a map from id to message.
func (l MessageList) MarshalJSON() ([]byte, error) {
	last := make(map[string]int, len(l))
	for i, m := range l {
		last[m.Key()] = i
	}
	var w objectWriter
	for i, m := range l {
		if last[m.Key()] != i {
			continue
		}
		raw, err := m.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("message %q: %w", m.Key(), err)
		}
		w.raw(m.Key(), raw)
	}
	return w.close(), nil
}

// UnmarshalJSON fails only when the JSON is neither a map, an array, a text of either, nor null.
func (l *MessageList) UnmarshalJSON(data []byte) error {
	raw := unquote(data)
	*l = nil
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil
	case raw[0] == '[':
		var items []json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil {
			return fmt.Errorf("message list: %w", err)
		}
		for _, item := range items {
			l.add("", item)
		}
	case raw[0] == '{':
		var items map[string]json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil {
			return fmt.Errorf("message list: %w", err)
		}
		for _, key := range slices.Sorted(maps.Keys(items)) {
			l.add(key, items[key])
		}
	default:
		return errors.New("message list is neither a map nor an array")
	}
	slices.SortStableFunc(*l, func(a, b Message) int { return cmp.Compare(a.Seq, b.Seq) })
	return nil
}

func (l *MessageList) add(key string, raw json.RawMessage) {
	var m Message
	if m.UnmarshalJSON(raw) != nil {
		return
	}
	if m.ID == "" && key != m.Name { // a missing id is the name
		m.ID = key
	}
	if m.Key() != "" {
		*l = append(*l, m)
	}
}

// objectWriter writes a JSON object, key by key, and leaves out what is empty.
type objectWriter struct{ buf []byte }

func (w *objectWriter) key(key string) {
	if len(w.buf) == 0 {
		w.buf = append(make([]byte, 0, 256), '{')
	} else {
		w.buf = append(w.buf, ',')
	}
	w.buf = append(append(w.buf, quote(key)...), ':')
}

func (w *objectWriter) text(key, value string) {
	if value != "" {
		w.raw(key, quote(value))
	}
}

func (w *objectWriter) number(key string, n int64) {
	if n != 0 {
		w.key(key)
		w.buf = strconv.AppendInt(w.buf, n, 10)
	}
}

func (w *objectWriter) raw(key string, raw json.RawMessage) {
	if len(raw) != 0 {
		w.key(key)
		w.buf = append(w.buf, raw...)
	}
}

func (w *objectWriter) extra(fields map[string]json.RawMessage) {
	if len(fields) == 0 {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		w.raw(key, fields[key])
	}
}

func (w *objectWriter) close() []byte {
	if len(w.buf) == 0 {
		return []byte("{}")
	}
	return append(w.buf, '}')
}

// quote writes a JSON string. A string always can be written.
func quote(text string) json.RawMessage {
	raw, err := json.Marshal(text)
	if err != nil {
		return json.RawMessage(`""`)
	}
	return raw
}
