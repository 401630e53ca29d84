// SPDX-License-Identifier: Apache-2.0

package talkcloud_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// transcriptLine is a line of testdata/transcript.jsonl: a session of the vendor's web SDK 2.2.0.8.
type transcriptLine struct {
	Step  string `json:"step"`
	Kind  string `json:"kind"`
	Path  string `json:"path"`
	Body  string `json:"body"`
	Frame string `json:"frame"`
}

func readTranscript(t testing.TB) []transcriptLine {
	t.Helper()
	raw, err := os.ReadFile("testdata/transcript.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var lines []transcriptLine
	s := bufio.NewScanner(bytes.NewReader(raw))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var line transcriptLine
		if err := json.Unmarshal(s.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines
}

// args returns the array of an event or ack frame, nil for any other frame.
func args(t testing.TB, frame string) []json.RawMessage {
	t.Helper()
	i := strings.IndexByte(frame, '[')
	if !strings.HasPrefix(frame, "4") || i < 0 {
		return nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal([]byte(frame[i:]), &list); err != nil {
		t.Fatalf("frame %s: %v", frame, err)
	}
	return list
}

// TestTranscript decodes everything in the captured session into our types and wants the same back.
func TestTranscript(t *testing.T) {
	t.Parallel()
	count := make(map[string]int)
	roundTrip := func(line transcriptLine, raw []byte, into any) {
		t.Helper()
		if err := json.Unmarshal(raw, into); err != nil {
			t.Errorf("%s: decode %s: %v", line.Step, raw, err)
			return
		}
		if got := mustMarshal(t, into); !same(t, got, raw) {
			t.Errorf("%s: encoded\n%s, want\n%s", line.Step, got, raw)
		}
	}
	for _, line := range readTranscript(t) {
		switch line.Kind {
		case "http-resp":
			count[line.Path]++
			switch line.Path {
			case talkcloud.PathCheckRoom:
				roundTrip(line, []byte(line.Body), new(talkcloud.CheckRoomReply))
			case talkcloud.PathGetConfig:
				roundTrip(line, []byte(line.Body), new(talkcloud.ConfigReply))
			case talkcloud.PathWhere:
				roundTrip(line, []byte(line.Body), new(talkcloud.WhereReply))
			case talkcloud.PathGetServerArea:
				roundTrip(line, []byte(line.Body), new(talkcloud.ServerAreaReply))
			default:
				roundTrip(line, []byte(line.Body), new(talkcloud.ResultReply))
			}
		case "ws-sent", "ws-recv":
			list := args(t, line.Frame)
			if len(list) < 2 {
				continue
			}
			var event string
			if json.Unmarshal(list[0], &event) != nil { // the ack of joinRoom: [0, body]
				count["ack"]++
				roundTrip(line, list[1], new(talkcloud.JoinReply))
				continue
			}
			count[line.Kind+" "+event]++
			switch event {
			case talkcloud.EventJoinRoom:
				roundTrip(line, list[1], new(talkcloud.JoinRoom))
			case talkcloud.EventPubMsg, talkcloud.EventDelMsg:
				roundTrip(line, list[1], new(talkcloud.Message))
			case talkcloud.EventParticipantJoined:
				roundTrip(line, list[1], new(talkcloud.Participant))
			}
			e, ok := talkcloud.ParseEvent(talkcloud.RawEvent{Name: event, Args: list[1:]})
			if known := event == talkcloud.EventJoinRoom; !ok || (e.Kind == talkcloud.Other) != known {
				t.Errorf("%s: event %s is %+v, %v", line.Step, event, e, ok)
			}
		}
	}
	for _, what := range []string{
		"ws-sent joinRoom", "ws-sent pubMsg", "ws-sent delMsg", "ws-recv pubMsg", "ws-recv delMsg", "ws-recv participantJoined",
		"ws-recv participantLeft", "ack", talkcloud.PathCheckRoom, talkcloud.PathGetConfig, talkcloud.PathWhere,
	} {
		if count[what] == 0 {
			t.Errorf("the transcript has no %s", what)
		}
	}
}
