// SPDX-License-Identifier: Apache-2.0

package roomserver_test

import (
	"encoding/json"
	"testing"

	"go.uber.org/goleak"

	"github.com/classrec/classrec/server/internal/socketio"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// line is an event as one line of text.
func line(ev socketio.Event) string {
	text := ev.Name
	for _, arg := range ev.Args {
		text += " " + string(arg)
	}
	return text
}

// names are the names of events.
func names(events []socketio.Event) []string {
	list := make([]string, len(events))
	for i, ev := range events {
		list[i] = ev.Name
	}
	return list
}

// refusal reads the ack ["error", {…}] and returns its reason, "" for another ack.
func refusal(ack []json.RawMessage) string {
	var r struct{ Reason string }
	if len(ack) != 2 || string(ack[0]) != `"error"` || json.Unmarshal(ack[1], &r) != nil {
		return ""
	}
	return r.Reason
}

func mustJSON(tb testing.TB, v any) string {
	tb.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return string(raw)
}
