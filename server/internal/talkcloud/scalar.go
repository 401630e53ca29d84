// SPDX-License-Identifier: Apache-2.0

package talkcloud

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// Scalar is a JSON string, number or boolean that keeps which of them it was: the platform sends
// the same field now as 6, now as "6", and wants some of them back as they came. The zero value is
// an absent field, and encodes as null; use the omitzero option to leave it out.
//
// Decoding never fails: an object or an array counts as absent.
type Scalar struct {
	text string
	kind scalarKind
}

type scalarKind uint8

const (
	scalarAbsent scalarKind = iota
	scalarText
	scalarNumber
	scalarBool
)

// Text makes a Scalar that encodes as a JSON string.
func Text(s string) Scalar { return Scalar{text: s, kind: scalarText} }

// Number makes a Scalar that encodes as a JSON number.
func Number(n int64) Scalar { return Scalar{text: strconv.FormatInt(n, 10), kind: scalarNumber} }

// Bool makes a Scalar that encodes as a JSON boolean.
func Bool(b bool) Scalar { return Scalar{text: strconv.FormatBool(b), kind: scalarBool} }

// IsZero reports whether the field was absent or null.
func (s Scalar) IsZero() bool { return s.kind == scalarAbsent }

// String returns the text, or the number or boolean as JSON writes it; "" when absent.
func (s Scalar) String() string { return s.text }

// Int returns the number, also when it came as a text. A fraction is cut off. ok is false when the
// field is absent or no number that fits.
func (s Scalar) Int() (n int64, ok bool) {
	switch s.kind {
	case scalarNumber, scalarText:
		return parseInt(s.text)
	case scalarBool, scalarAbsent:
	}
	return 0, false
}

// Truthy reports whether the field means yes: true, a number other than 0, and a text other than
// "", "0" and "false".
func (s Scalar) Truthy() bool {
	switch s.kind {
	case scalarBool:
		return s.text == "true"
	case scalarNumber, scalarText:
		if n, err := strconv.ParseFloat(s.text, 64); err == nil {
			return n != 0
		}
		return s.text != "" && !strings.EqualFold(s.text, "false")
	case scalarAbsent:
	}
	return false
}

// MarshalJSON writes the field with the JSON type that it has.
func (s Scalar) MarshalJSON() ([]byte, error) {
	switch s.kind {
	case scalarText:
		return json.Marshal(s.text)
	case scalarNumber, scalarBool:
		return []byte(s.text), nil
	case scalarAbsent:
	}
	return []byte("null"), nil
}

// UnmarshalJSON never fails on valid JSON.
func (s *Scalar) UnmarshalJSON(data []byte) error {
	*s = parseScalar(data)
	return nil
}

func parseScalar(raw json.RawMessage) Scalar {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return Scalar{}
	}
	switch c := raw[0]; {
	case c == '"':
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return Scalar{}
		}
		return Scalar{text: text, kind: scalarText}
	case c == 't' || c == 'f':
		return Scalar{text: string(raw), kind: scalarBool}
	case c == '-' || c >= '0' && c <= '9':
		return Scalar{text: string(raw), kind: scalarNumber}
	}
	return Scalar{}
}

// parseInt reads an integer as the platform may write it: with a fraction, an exponent, blanks.
func parseInt(text string) (int64, bool) {
	text = strings.TrimSpace(text)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || f >= math.MaxInt64 || f <= math.MinInt64 {
		return 0, false
	}
	return int64(f), true
}

// parseObject reads an object, or a JSON text that holds one.
func parseObject(raw json.RawMessage) (map[string]json.RawMessage, bool) {
	raw = unquote(raw)
	if len(raw) == 0 || raw[0] != '{' {
		return nil, false
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return nil, false
	}
	return fields, true
}

// unquote returns the text of a JSON string as JSON of its own, and anything else as it is,
// without surrounding blanks.
func unquote(raw json.RawMessage) json.RawMessage {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] != '"' {
		return raw
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return raw
	}
	return bytes.TrimSpace([]byte(text))
}

// take removes a field and returns it. An object or array is not what we know under that name, so
// it stays with the rest.
func take(fields map[string]json.RawMessage, key string) Scalar {
	raw, ok := fields[key]
	if !ok {
		return Scalar{}
	}
	s := parseScalar(raw)
	if !s.IsZero() || string(bytes.TrimSpace(raw)) == "null" {
		delete(fields, key)
	}
	return s
}

// takeInt removes a field that is a number, or a text that is one, and leaves any other.
func takeInt(fields map[string]json.RawMessage, key string) int64 {
	raw, ok := fields[key]
	if !ok {
		return 0
	}
	n, ok := parseScalar(raw).Int()
	if !ok {
		return 0
	}
	delete(fields, key)
	return n
}

// rest returns the fields that nobody took, nil when there are none.
func rest(fields map[string]json.RawMessage) map[string]json.RawMessage {
	if len(fields) == 0 {
		return nil
	}
	return fields
}
