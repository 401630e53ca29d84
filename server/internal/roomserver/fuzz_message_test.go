// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"bytes"
	"cmp"
	"encoding/json"
	"testing"

	"github.com/classrec/classrec/server/internal/conformance"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// FuzzMessage takes any room message: what can be acted on is a class or not, is recorded with options that there are, and
// goes out with every field as it came in.
func FuzzMessage(f *testing.F) {
	for _, begin := range conformance.Begins() {
		f.Add([]byte(begin.Payload))
	}
	for _, end := range conformance.Ends() {
		f.Add([]byte(end.Payload))
	}
	for _, target := range conformance.Targets() {
		f.Add([]byte(`{"name":"x","toID":` + target.To + `}`))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			t.Skip() // package socketio lets none of these through
		}
		in, err := decodeMessage(raw)
		if err != nil {
			return
		}
		begin, _ := readBeginning(in)
		if options := begin.options("dir"); options.Type < 0 || options.Type > 3 || options.Format < 0 || options.Format > 2 || options.Layout < 0 || options.Layout > 1 {
			t.Errorf("%s is recorded with %+v", raw, options)
		}
		in.FromID, in.TS, in.Seq = "server", 7, 8
		out := stamped(in.members, in.Message)
		var sent, got map[string]json.RawMessage
		if json.Unmarshal(unquote(raw), &sent) != nil || json.Unmarshal(out, &got) != nil {
			t.Fatalf("%s went out as %s", raw, out)
		}
		for key, value := range sent {
			switch key {
			case "fromID", "ts", "seq", "id", "toID":
			default:
				if !bytes.Equal(got[key], value) {
					t.Errorf("%s: %q went out as %s, want %s", raw, key, got[key], value)
				}
			}
		}
		var again talkcloud.Message
		if err := json.Unmarshal(out, &again); err != nil || cmp.Or(again.ID, again.Name) != in.ID || again.FromID != "server" || again.TS != 7 {
			t.Errorf("%s went out as %s", raw, out)
		}
		if again.IsClassBegin() != in.IsClassBegin() {
			t.Errorf("%s is a class on one side alone: %s", raw, out)
		}
	})
}
