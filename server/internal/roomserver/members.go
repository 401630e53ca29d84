// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// member is one of a JSON object, its value as it was written.
type member struct {
	key   string
	value json.RawMessage
}

// readMembers splits an object, or a JSON text of one, into its members, in their order.
func readMembers(raw json.RawMessage) ([]member, bool) {
	raw = unquote(raw)
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	var members []member
	for dec.More() {
		key, err := dec.Token()
		name, isText := key.(string)
		if err != nil || !isText {
			return nil, false
		}
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			return nil, false
		}
		members = append(members, member{name, value})
	}
	return members, true
}

// stamped writes a message as it came, byte for byte, with what only the server may say at its end.
func stamped(members []member, m talkcloud.Message) json.RawMessage {
	buf, n := append(make([]byte, 0, 256), '{'), 0
	add := func(key string, value []byte) {
		buf = append(append(comma(buf, n), quote(key)...), ':')
		buf = append(buf, value...)
		n++
	}
	has := map[string]bool{}
	for _, one := range members {
		switch one.key {
		case "fromID", "ts", "seq":
			continue
		case "id", "toID":
			if inner := unquote(one.value); len(inner) == 0 || string(inner) == "null" { // absent, for all who read it
				continue
			}
		}
		has[one.key] = true
		add(one.key, one.value)
	}
	if !has["id"] {
		add("id", quote(m.ID))
	}
	if !has["toID"] {
		add("toID", quote(m.To))
	}
	if m.FromID != "" {
		add("fromID", quote(string(m.FromID)))
	}
	add("ts", strconv.AppendInt(nil, int64(m.TS), 10))
	add("seq", strconv.AppendInt(nil, m.Seq, 10))
	return append(buf, '}')
}

func isList(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) > 0 && raw[0] == '['
}

// bare leaves of a message what identifies it.
func bare(members []member) []member {
	return slices.DeleteFunc(members, func(m member) bool {
		return !slices.Contains([]string{"name", "id", "toID", "do_not_save"}, m.key) || len(m.value) > maxBareBytes
	})
}

// maxBareBytes bounds each field of what is left: a name or an id need not be short.
const maxBareBytes = 1 << 10
