// SPDX-License-Identifier: Apache-2.0

package socketio

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// nesting is the greatest depth of arrays and objects in text, or more if text is not JSON.
func nesting(text []byte) int {
	deepest := 0
	scan(text, func(_ int, _ byte, depth int) bool {
		deepest = max(deepest, depth)
		return true
	})
	return deepest
}

// scan calls visit with every structural character outside of strings, and with the depth that holds behind it for an opening one,
// before it for a closing one, until visit returns false.
func scan(text []byte, visit func(at int, c byte, depth int) bool) {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			depth++
			if !visit(i, c, depth) {
				return
			}
		case c == ']' || c == '}':
			if !visit(i, c, depth) {
				return
			}
			depth--
		case c == ',':
			if !visit(i, c, depth) {
				return
			}
		}
	}
}

// splitArray cuts a valid JSON array into its elements, which are copied out of text.
func splitArray(text []byte) ([]json.RawMessage, error) {
	text = bytes.TrimSpace(text)
	n := 1
	scan(text, func(_ int, c byte, depth int) bool {
		if c == ',' && depth == 1 {
			n++
		}
		return n <= MaxArgs+1
	})
	if n > MaxArgs+1 {
		return nil, fmt.Errorf("%w: more than %d arguments", ErrMalformed, MaxArgs)
	}
	if len(bytes.TrimSpace(text[1:len(text)-1])) == 0 {
		return nil, nil
	}
	text = bytes.Clone(text)
	elements := make([]json.RawMessage, 0, n)
	from := 1
	scan(text, func(at int, c byte, depth int) bool {
		if depth == 1 && (c == ',' || c == ']') {
			element := bytes.TrimSpace(text[from:at])
			elements = append(elements, json.RawMessage(element[:len(element):len(element)]))
			from = at + 1
		}
		return true
	})
	return elements, nil
}

// splitEvent cuts the data of an event into its name and arguments.
func splitEvent(data []byte) (name string, args []json.RawMessage, err error) {
	elements, err := splitArray(data)
	if err != nil {
		return "", nil, err
	}
	if len(elements) == 0 || elements[0][0] != '"' {
		return "", nil, fmt.Errorf("%w: event without a name", ErrMalformed)
	}
	if err := json.Unmarshal(elements[0], &name); err != nil {
		return "", nil, fmt.Errorf("%w: event name: %w", ErrMalformed, err)
	}
	return name, elements[1:], nil
}

// joinArray encodes a JSON array. Unlike json.Marshal it leaves <, > and & as they are, and elements that are JSON
// already untouched.
func joinArray(elements []any) ([]byte, error) {
	var buf bytes.Buffer
	buf.WriteByte('[')
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	for i, element := range elements {
		if i > 0 {
			buf.WriteByte(',')
		}
		if raw, ok := element.(json.RawMessage); ok && json.Valid(raw) {
			buf.Write(raw) // byte for byte: the encoder would take blanks out
			continue
		}
		if err := enc.Encode(element); err != nil {
			return nil, fmt.Errorf("encode argument %d: %w", i, err)
		}
		buf.Truncate(buf.Len() - 1) // the encoder's newline
	}
	buf.WriteByte(']')
	return buf.Bytes(), nil
}
