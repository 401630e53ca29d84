// SPDX-License-Identifier: Apache-2.0

package talkcloud_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// fuzzWire wants of a wire type: no panic on any JSON, and what it writes it reads back the same.
func fuzzWire[T any](f *testing.F, seeds ...string) {
	f.Helper()
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	for _, seed := range []string{`null`, `{}`, `[]`, `"x"`, `""`, `7`, `{"name":[{}]}`, "\"\\ud800\"", `{"ts":1e999,"seq":-0}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second T
		if json.Unmarshal(data, &first) != nil {
			return
		}
		once, err := json.Marshal(first)
		if err != nil {
			t.Fatalf("cannot write what was read from %q: %v", data, err)
		}
		if err := json.Unmarshal(once, &second); err != nil {
			t.Fatalf("cannot read what was written, %s: %v", once, err)
		}
		if twice := mustMarshal(t, second); !bytes.Equal(once, twice) && !same(t, once, twice) {
			t.Fatalf("written\n%s, and again\n%s", once, twice)
		}
	})
}

func FuzzMessage(f *testing.F) {
	var seeds []string
	for _, tc := range messageCases {
		seeds = append(seeds, tc.enc)
	}
	fuzzWire[talkcloud.Message](f, seeds...)
}

func FuzzMessageList(f *testing.F) {
	var seeds []string
	for _, tc := range messageListCases {
		seeds = append(seeds, tc.enc)
	}
	fuzzWire[talkcloud.MessageList](f, seeds...)
}

func FuzzJoinReply(f *testing.F) {
	var seeds []string
	for _, tc := range joinReplyCases {
		seeds = append(seeds, tc.enc)
	}
	fuzzWire[talkcloud.JoinReply](f, seeds...)
}

func FuzzJoinRoom(f *testing.F) {
	var seeds []string
	for _, line := range readTranscript(f) {
		if list := args(f, line.Frame); len(list) == 2 && string(list[0]) == `"joinRoom"` {
			seeds = append(seeds, string(list[1]))
		}
	}
	fuzzWire[talkcloud.JoinRoom](f, seeds...)
}

func FuzzCheckRoomReply(f *testing.F) {
	fuzzWire[talkcloud.CheckRoomReply](f, transcriptBodies(f, talkcloud.PathCheckRoom)...)
}

func FuzzConfigReply(f *testing.F) {
	seeds := transcriptBodies(f, talkcloud.PathGetConfig)
	for _, tc := range configCases {
		seeds = append(seeds, tc.enc)
	}
	fuzzWire[talkcloud.ConfigReply](f, seeds...)
}

func FuzzRecordListReply(f *testing.F) {
	fuzzWire[talkcloud.RecordListReply](f,
		`{"result":0,"recordlist":[{"recordid":1,"serial":"7","recordtitle":"1511860322123","starttime":"1511860322","duration_ms":5,"files":[{"url":"u","size":1,"duration_ms":2}]}]}`,
		`{"result":"0","recordlist":null}`, `{"result":4105}`, `{"result":0,"recordlist":{}}`)
}

func FuzzRefusal(f *testing.F) {
	fuzzWire[talkcloud.Refusal](f, `5`, `"denied"`, `{"code":4008,"reason":"R","message":"m"}`, `{"code":"FAILED","msg":"m"}`)
}

func FuzzClassBegin(f *testing.F) {
	for _, tc := range classBeginCases {
		f.Add([]byte(tc.enc))
		f.Add([]byte(talkcloud.TextData(tc.enc)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := talkcloud.ParseClassBegin(data)
		if err != nil {
			return
		}
		again, err := talkcloud.ParseClassBegin(json.RawMessage(c.Encode()))
		c.HasRecordType = true
		if err != nil || again != c {
			t.Fatalf("%+v comes back as %+v, %v", c, again, err)
		}
	})
}

func FuzzParseEvent(f *testing.F) {
	for _, line := range readTranscript(f) {
		if list := args(f, line.Frame); len(list) > 1 {
			var event string
			if json.Unmarshal(list[0], &event) == nil {
				f.Add(event, []byte(list[1]))
			}
		}
	}
	for _, arg := range []string{`{"fromID":"u","message":"{\"msg\":\"hi\"}"}`, `{"reason":"400"}`, `400`, `{}`, `null`, `[]`} {
		for _, event := range []string{"sendMessage", "participantEvicted", "msgList", "setProperty", "onAddStream", "participantLeft"} {
			f.Add(event, []byte(arg))
		}
	}
	f.Fuzz(func(t *testing.T, event string, arg []byte) {
		if !json.Valid(arg) {
			return
		}
		talkcloud.ParseEvent(talkcloud.RawEvent{Name: event, Args: []json.RawMessage{arg}})
		e, ok := talkcloud.ParseEvent(talkcloud.RawEvent{Name: event})
		if ok && (e.Kind == talkcloud.Published || e.Kind == talkcloud.ParticipantJoined || e.Kind == talkcloud.Chat) {
			t.Fatalf("nothing was taken for %+v", e)
		}
	})
}

func transcriptBodies(tb testing.TB, path string) []string {
	tb.Helper()
	var bodies []string
	for _, line := range readTranscript(tb) {
		if line.Kind == "http-resp" && line.Path == path {
			bodies = append(bodies, line.Body)
		}
	}
	return bodies
}
