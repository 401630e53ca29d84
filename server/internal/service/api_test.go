// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// The table against the embedded platform.
func TestAPI(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	t.Run("calls", func(t *testing.T) { runCases(t, s, calls()) })
	t.Run("refused", func(t *testing.T) { runCases(t, s, append(badIDs(), badFields()...)) })
}

// started begins a recording, and ends it with the test, so that the server
// need not.
func started(request string) func(*testing.T, *apitest.Server, string) map[string]string {
	return func(t *testing.T, s *apitest.Server, room string) map[string]string {
		t.Helper()
		rec := s.Must(t, apitest.Call{Name: apitest.Start, Request: fill(request, map[string]string{"room": room})})
		return map[string]string{"name": rec.GetName(), "user": rec.GetUserId()}
	}
}

func stopped(t *testing.T, s *apitest.Server, room string) map[string]string {
	t.Helper()
	vars := started(`{"room":"{room}"}`)(t, s, room)
	s.Must(t, apitest.Call{Name: apitest.Stop, Request: `{"name":"` + vars["name"] + `"}`})
	return vars
}

// finished waits for AVAILABLE too.
func finished(t *testing.T, s *apitest.Server, room string) map[string]string {
	t.Helper()
	vars := stopped(t, s, room)
	awaitState(t, s, vars["name"], classrecv1.RecordingState_RECORDING_STATE_AVAILABLE)
	return vars
}

// awaitState waits until a recording is in a state.
func awaitState(t *testing.T, s *apitest.Server, name string, want classrecv1.RecordingState) *classrecv1.Recording {
	t.Helper()
	var rec *classrecv1.Recording
	roomservertest.Poll(t, fmt.Sprintf("%s in %v", name, want), func() bool {
		rec = s.Must(t, apitest.Call{Name: apitest.Get, Request: `{"name":"` + name + `"}`})
		return rec.GetState() == want
	})
	return rec
}

// classOfTeacher has somebody else begin a class, before the service was ever
// in the room.
func classOfTeacher(t *testing.T, s *apitest.Server, room string) map[string]string {
	t.Helper()
	m := s.Join(t, room, "teacher").Begin(t, talkcloud.ClassBegin{RecordChat: true})
	return map[string]string{"name": fmt.Sprintf("rooms/%s/recordings/%d", room, m.TS.Unix()), "ts": fmt.Sprint(m.TS.Unix())}
}

func calls() []testCase {
	const running = `{"recording":{
		"name":"*","room":"{room}","userId":"*","format":"RECORDING_FORMAT_MKV","recordType":"RECORD_TYPE_LIST",
		"layout":"RECORDING_LAYOUT_LANDSCAPE","recordChat":true,"recordTime":"*","stopTime":null,
		"state":"RECORDING_STATE_RECORDING","endReason":"END_REASON_UNSPECIFIED","origin":"RECORDING_ORIGIN_API",
		"urls":[],"files":[],"gaps":[],"failure":null,"createTime":"*","updateTime":"*","maxDuration":null}}`
	return []testCase{
		{name: "start, by default", call: apitest.Start, request: `{"room":"{room}"}`, response: running},
		{
			name: "start, all given", call: apitest.Start,
			request: `{"room":"{room}","user_id":"me","nickname":"the recorder","room_password":"p","format":"RECORDING_FORMAT_WEBM",
				"record_type":"RECORD_TYPE_FILE","layout":"RECORDING_LAYOUT_PORTRAIT","record_chat":false,"max_duration":"3600s","request_id":"{room}"}`,
			response: `{"recording":{"userId":"me","format":"RECORDING_FORMAT_WEBM","recordType":"RECORD_TYPE_FILE",
				"layout":"RECORDING_LAYOUT_PORTRAIT","recordChat":false,"maxDuration":"3600s","state":"RECORDING_STATE_RECORDING"}}`,
		},
		{
			name: "start, ids of any alphabet", call: apitest.Start, request: `{"room":"{room} 数学:100%+?#&é","user_id":"老师 é%2F"}`,
			response: `{"recording":{"room":"{room} 数学:100%+?#&é","userId":"老师 é%2F"}}`,
		},
		{
			name: "start, longest ids", call: apitest.Start,
			request:  `{"room":"{room}` + strings.Repeat("r", 119) + `","user_id":"` + strings.Repeat("u", 128) + `","nickname":"` + strings.Repeat("n", 256) + `"}`,
			response: `{"recording":{"userId":"` + strings.Repeat("u", 128) + `"}}`,
		},
		{
			name: "start, max_duration at its ends", call: apitest.Start, request: `{"room":"{room}","max_duration":"86400s"}`,
			response: `{"recording":{"maxDuration":"86400s"}}`,
		},
		{
			name: "start, same request", given: started(`{"room":"{room}","request_id":"{room}","nickname":"n"}`), call: apitest.Start,
			request: `{"room":"{room}","request_id":"{room}","nickname":"n"}`, response: `{"recording":{"name":"{name}","userId":"{user}"}}`,
		},
		{
			name: "start, request_id with another payload", given: started(`{"room":"{room}","request_id":"{room}"}`), call: apitest.Start,
			request: `{"room":"{room}","request_id":"{room}","nickname":"n"}`,
			code:    codes.AlreadyExists, reason: "REQUEST_ID_REUSED", fields: []string{"request_id"}, metadata: map[string]string{"recording": "{name}"},
		},
		{
			name: "start, request_id in another room", given: started(`{"room":"{room}","request_id":"{room}"}`), call: apitest.Start,
			request: `{"room":"{room}-b","request_id":"{room}"}`,
			code:    codes.AlreadyExists, reason: "REQUEST_ID_REUSED", fields: []string{"request_id"}, metadata: map[string]string{"recording": "{name}"},
		},
		{
			name: "start, class is on", given: started(`{"room":"{room}"}`), call: apitest.Start, request: `{"room":"{room}"}`,
			code: codes.AlreadyExists, reason: "CLASS_ALREADY_BEGUN", metadata: map[string]string{"recording": "{name}"},
		},
		{
			name: "start, class of somebody else is on", given: classOfTeacher, call: apitest.Start, request: `{"room":"{room}"}`,
			code: codes.AlreadyExists, reason: "CLASS_ALREADY_BEGUN", metadata: map[string]string{"recording": "{name}"},
			then: func(t *testing.T, s *apitest.Server, _ string, out apitest.Outcome) {
				rec := awaitState(t, s, out.Metadata["recording"], classrecv1.RecordingState_RECORDING_STATE_RECORDING)
				if rec.GetOrigin() != classrecv1.RecordingOrigin_RECORDING_ORIGIN_ROOM || rec.GetUserId() != "teacher" {
					t.Errorf("adopted as %v", rec)
				}
			},
		},
		{
			name: "start, needs ffmpeg", call: apitest.Start, request: `{"room":"{room}","format":"RECORDING_FORMAT_MP4"}`,
			code: codes.FailedPrecondition, reason: "FFMPEG_MISSING",
		},
		{
			name: "start again, after the stop", given: stopped, call: apitest.Start, request: `{"room":"{room}"}`, response: running,
		},

		{
			name: "stop, by name", given: started(`{"room":"{room}"}`), call: apitest.Stop, request: `{"name":"{name}"}`,
			response: `{"recording":{"name":"{name}","endReason":"END_REASON_STOPPED","stopTime":"*"}}`,
		},
		{
			name: "stop, by room", given: started(`{"room":"{room}"}`), call: apitest.Stop, request: `{"room":"{room}"}`,
			response: `{"recording":{"name":"{name}","endReason":"END_REASON_STOPPED","stopTime":"*"}}`,
		},
		{
			name: "stop, twice, by name", given: stopped, call: apitest.Stop, request: `{"name":"{name}"}`,
			response: `{"recording":{"name":"{name}","endReason":"END_REASON_STOPPED"}}`,
		},
		{
			name: "stop, twice, by room", given: stopped, call: apitest.Stop, request: `{"room":"{room}"}`,
			response: `{"recording":{"name":"{name}","endReason":"END_REASON_STOPPED"}}`,
		},
		{
			name: "stop, when available", given: finished, call: apitest.Stop, request: `{"name":"{name}"}`,
			response: `{"recording":{"name":"{name}","state":"RECORDING_STATE_AVAILABLE","endReason":"END_REASON_STOPPED"}}`,
		},
		{
			name: "stop, a class of somebody else", given: classOfTeacher, call: apitest.Stop, request: `{"room":"{room}"}`,
			response: `{"recording":{"name":"{name}","origin":"RECORDING_ORIGIN_ROOM","userId":"teacher","endReason":"END_REASON_STOPPED"}}`,
		},
		{
			name: "stop, no class", call: apitest.Stop, request: `{"room":"{room}"}`,
			code: codes.NotFound, reason: "NO_CLASS", metadata: map[string]string{"room": "{room}"},
		},
		{
			name: "stop, unknown name", call: apitest.Stop, request: `{"name":"rooms/{room}/recordings/1700000000"}`,
			code: codes.NotFound, reason: "RECORDING_NOT_FOUND", metadata: map[string]string{"recording": "rooms/{room}/recordings/1700000000"},
		},

		{name: "get", given: started(`{"room":"{room}"}`), call: apitest.Get, request: `{"name":"{name}"}`, response: running},
		{
			name: "get, without media", given: finished, call: apitest.Get, request: `{"name":"{name}"}`,
			response: `{"recording":{"state":"RECORDING_STATE_AVAILABLE","failure":null,"origin":"RECORDING_ORIGIN_API"}}`,
		},
		{
			name: "get, unknown", call: apitest.Get, request: `{"name":"rooms/{room}/recordings/1700000000"}`,
			code: codes.NotFound, reason: "RECORDING_NOT_FOUND", metadata: map[string]string{"recording": "rooms/{room}/recordings/1700000000"},
		},
		{
			name: "get, no time at all", given: finished, call: apitest.Get, request: `{"name":"rooms/{room}/recordings/0"}`,
			code: codes.NotFound, reason: "RECORDING_NOT_FOUND",
		},
		{
			name: "get, a second one of its second", given: started(`{"room":"{room}"}`), call: apitest.Get, request: `{"name":"{name}-2"}`,
			code: codes.NotFound, reason: "RECORDING_NOT_FOUND",
		},
		{
			name: "get, a time beyond all", call: apitest.Get, request: `{"name":"rooms/{room}/recordings/9999999999999999999"}`,
			code: codes.NotFound, reason: "RECORDING_NOT_FOUND",
		},
		{
			name: "get, a room that cannot be", call: apitest.Get, request: `{"name":"rooms/__x/recordings/1700000000"}`,
			code: codes.InvalidArgument, reason: "INVALID_FIELD", fields: []string{"name"},
		},
		{
			name: "stop, a room that cannot be", call: apitest.Stop, request: `{"name":"rooms/-/recordings/1700000000"}`,
			code: codes.InvalidArgument, reason: "INVALID_FIELD", fields: []string{"name"},
		},
		{
			name: "get, a control character in the room", call: apitest.Get, request: `{"name":"rooms/a\u0001/recordings/1700000000"}`,
			code: codes.InvalidArgument, reason: "INVALID_FIELD", fields: []string{"name"},
		},

		{name: "list, nothing", call: apitest.List, request: `{"room":"{room}"}`, response: `{"recordings":[],"nextPageToken":""}`},
		{
			name: "list, by room", given: started(`{"room":"{room}"}`), call: apitest.List, request: `{"room":"{room}"}`,
			response: `{"recordings":[{"name":"{name}","state":"RECORDING_STATE_RECORDING"}],"nextPageToken":""}`,
		},
		{
			name: "list, by user", given: started(`{"room":"{room}","user_id":"user of {room}"}`), call: apitest.List,
			request: `{"user_id":"user of {room}"}`, response: `{"recordings":[{"name":"{name}"}]}`,
		},
		{
			name: "list, by both", given: started(`{"room":"{room}","user_id":"a user"}`), call: apitest.List,
			request: `{"room":"{room}","user_id":"a user","page_size":7}`, response: `{"recordings":[{"name":"{name}"}]}`,
		},
		{
			name: "list, by another user", given: started(`{"room":"{room}","user_id":"a user"}`), call: apitest.List,
			request: `{"room":"{room}","user_id":"another","page_size":2000}`, response: `{"recordings":[]}`,
		},
		{
			name: "list, by another time", given: started(`{"room":"{room}"}`), call: apitest.List,
			request: `{"room":"{room}","record_time":"2001-02-03T04:05:06Z"}`, response: `{"recordings":[]}`,
		},

		{
			name: "watch, nothing is on", call: apitest.Watch, request: `{"room":"{room}"}`, response: `{"synced":{"sequence":"*"}}`,
		},
		{
			name: "watch, a class is on", given: started(`{"room":"{room}"}`), call: apitest.Watch, request: `{"room":"{room}","room_password":""}`,
			response: `{"event":{"sequence":"*","action":"CLASS_BEGIN_ACTION_ADD","room":"{room}","inList":true,"messageId":"ClassBegin",
				"time":"*","fromUserId":"{user}","data":"{\"recordtype\":\"1\",\"convert\":0,\"layout\":0,\"recordchat\":true}",
				"recording":{"name":"{name}","state":"RECORDING_STATE_RECORDING"}}}`,
		},
		{
			name: "watch, a sequence that has not been", call: apitest.Watch, request: `{"room":"{room}","after_sequence":"18446744073709551615"}`,
			code: codes.OutOfRange, reason: "SEQUENCE_UNKNOWN", fields: []string{"after_sequence"},
		},
		{
			name: "watch all, a sequence that has not been", call: apitest.Watch, request: `{"room":"-","after_sequence":"999999999"}`,
			code: codes.OutOfRange, reason: "SEQUENCE_UNKNOWN", fields: []string{"after_sequence"},
		},
	}
}

// badIDs has every call with every id that is against the rules.
func badIDs() []testCase {
	bad := []struct{ name, id string }{
		{"a slash", "a/b"},
		{"a control character", `a\u0000b`},
		{"a line feed", `a\n`},
		{"a control character of Latin-1", `a\u0085b`},
		{"delete", `\u007f`},
		{"two underscores", "__all"},
		{"a dot", "."},
		{"two dots", ".."},
		{"too long", strings.Repeat("x", 129)},
		{"too long in bytes", strings.Repeat("课", 43)},
	}
	type place struct{ call, field, request string }
	places := []place{
		{apitest.Start, "room", `{"room":"%s"}`},
		{apitest.Start, "user_id", `{"room":"{room}","user_id":"%s"}`},
		{apitest.Stop, "room", `{"room":"%s"}`},
		{apitest.List, "room", `{"room":"%s"}`},
		{apitest.List, "user_id", `{"user_id":"%s"}`},
		{apitest.List, "user_id", `{"room":"{room}","user_id":"%s"}`},
		{apitest.Watch, "room", `{"room":"%s"}`},
		{apitest.Watch, "room", `{"room":"%s","room_password":"p"}`},
	}
	var cases []testCase
	for i, p := range places {
		for _, b := range bad {
			cases = append(cases, testCase{
				name: fmt.Sprintf("%s, %s, %s (%d)", p.call, p.field, b.name, i), call: p.call, request: fmt.Sprintf(p.request, b.id),
				code: codes.InvalidArgument, reason: "INVALID_FIELD", fields: []string{p.field},
				wording: p.field == "room" && b.id == "a/b", // in a path it is %2F
			})
		}
		if p.field == "room" && p.call != apitest.Watch {
			cases = append(cases, testCase{
				name: fmt.Sprintf("%s, every room (%d)", p.call, i), call: p.call, request: fmt.Sprintf(p.request, "-"),
				code: codes.InvalidArgument, reason: "INVALID_FIELD", fields: []string{"room"},
			})
		}
	}
	return cases
}

func badFields() []testCase {
	refuse := func(name, call, request string, fields ...string) testCase {
		return testCase{name: name, call: call, request: request, code: codes.InvalidArgument, reason: "INVALID_FIELD", fields: fields}
	}
	token := func(text string) testCase {
		return testCase{
			name: "list, page_token " + text, call: apitest.List, request: `{"room":"{room}","page_token":"` + text + `"}`,
			code: codes.InvalidArgument, reason: "INVALID_PAGE_TOKEN", fields: []string{"page_token"},
		}
	}
	encoded := base64.RawURLEncoding.EncodeToString
	return []testCase{
		refuse("start, nickname with a control character", apitest.Start, `{"room":"{room}","nickname":"a\tb"}`, "nickname"),
		refuse("start, nickname too long", apitest.Start, `{"room":"{room}","nickname":"`+strings.Repeat("n", 257)+`"}`, "nickname"),
		refuse("start, room_password too long", apitest.Start, `{"room":"{room}","room_password":"`+strings.Repeat("p", 257)+`"}`, "room_password"),
		refuse("start, request_id with a control character", apitest.Start, `{"room":"{room}","request_id":"\u0000"}`, "request_id"),
		refuse("start, request_id too long", apitest.Start, `{"room":"{room}","request_id":"`+strings.Repeat("i", 129)+`"}`, "request_id"),
		refuse("start, unknown format", apitest.Start, `{"room":"{room}","format":9}`, "format"),
		refuse("start, unknown record_type", apitest.Start, `{"room":"{room}","record_type":-1}`, "record_type"),
		refuse("start, unknown layout", apitest.Start, `{"room":"{room}","layout":3}`, "layout"),
		refuse("start, max_duration zero", apitest.Start, `{"room":"{room}","max_duration":"0s"}`, "max_duration"),
		refuse("start, max_duration negative", apitest.Start, `{"room":"{room}","max_duration":"-1s"}`, "max_duration"),
		refuse("start, max_duration too short", apitest.Start, `{"room":"{room}","max_duration":"0.999999999s"}`, "max_duration"),
		refuse("start, max_duration too long", apitest.Start, `{"room":"{room}","max_duration":"86400.000000001s"}`, "max_duration"),
		refuse("start, several", apitest.Start, `{"room":"{room}","format":9,"user_id":"__","nickname":"\n"}`, "format", "nickname", "user_id"),

		refuse("stop, name of another form", apitest.Stop, `{"name":"rooms/{room}/recordings/last"}`, "name"),
		refuse("stop, name too long", apitest.Stop, `{"name":"rooms/`+strings.Repeat("r", 180)+`/recordings/1"}`, "name"),
		refuse("stop, room_password too long", apitest.Stop, `{"room":"{room}","room_password":"`+strings.Repeat("p", 257)+`"}`, "room_password"),
		refuse("get, name of another form", apitest.Get, `{"name":"rooms/{room}/recordings/1-"}`, "name"),
		refuse("get, negative time", apitest.Get, `{"name":"rooms/{room}/recordings/-1"}`, "name"),
		refuse("get, name too long", apitest.Get, `{"name":"rooms/`+strings.Repeat("r", 180)+`/recordings/1"}`, "name"),

		refuse("list, no filter", apitest.List, `{}`, "room"),
		refuse("list, no filter but a time", apitest.List, `{"record_time":"2024-01-01T00:00:00Z"}`, "room"),
		refuse("list, page_size negative", apitest.List, `{"room":"{room}","page_size":-1}`, "page_size"),
		refuse("list, record_time zero", apitest.List, `{"room":"{room}","record_time":"1970-01-01T00:00:00Z"}`, "record_time"),
		refuse("list, page_token too long", apitest.List, `{"room":"{room}","page_token":"`+strings.Repeat("t", 1025)+`"}`, "page_token"),
		token("nonsense"), token("!!!"), token(encoded([]byte("{}"))), token(encoded([]byte("null"))), token(encoded([]byte(`{"s":7}`))),
		token(encoded([]byte(`[1]`))),

		refuse("watch, room_password too long", apitest.Watch, `{"room":"{room}","room_password":"`+strings.Repeat("p", 257)+`"}`, "room_password"),
	}
}

// What only one of the two ways can carry.
func TestAPI_OneWay(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	for _, tc := range []struct {
		name, method, path, body string
		code                     codes.Code
		reason                   string
		field                    string
	}{
		{"unknown field", "POST", "/v1/rooms/1/recordings", `{"usr_id":"u"}`, codes.InvalidArgument, "INVALID_FIELD", "usr_id"},
		{"unknown enum", "POST", "/v1/rooms/1/recordings", `{"format":"AVI"}`, codes.InvalidArgument, "INVALID_FIELD", "format"},
		{"wrong type", "POST", "/v1/rooms/1/recordings", `{"record_chat":"yes"}`, codes.InvalidArgument, "INVALID_FIELD", "recordChat"},
		{"no duration", "POST", "/v1/rooms/1/recordings", `{"max_duration":"an hour"}`, codes.InvalidArgument, "INVALID_REQUEST", ""},
		{"garbage", "POST", "/v1/rooms/1/recordings", "\x00\xff", codes.InvalidArgument, "INVALID_REQUEST", ""},
		{"half a body", "POST", "/v1/rooms/1/recordings", `{"user_id":"u`, codes.InvalidArgument, "INVALID_REQUEST", ""},
		{"an array", "POST", "/v1/rooms/1/recordings", `[]`, codes.InvalidArgument, "INVALID_REQUEST", ""},
		{"two bodies", "POST", "/v1/rooms/1/recordings", `{}{}`, codes.InvalidArgument, "INVALID_REQUEST", ""},
		{"garbage for a watch", "POST", "/v1/rooms/1/classBegin:watch", `{`, codes.InvalidArgument, "INVALID_REQUEST", ""},
		{"unknown field for a watch", "POST", "/v1/rooms/1/classBegin:watch", `{"since":1}`, codes.InvalidArgument, "INVALID_FIELD", "since"},
		{"negative sequence", "GET", "/v1/rooms/1/classBegin:watch?after_sequence=-1", "", codes.InvalidArgument, "INVALID_FIELD", "after_sequence"},
		{"room empty", "GET", "/v1/recordings?room=&user_id=", "", codes.InvalidArgument, "INVALID_FIELD", "room"},
		{"page_size beyond int32", "GET", "/v1/recordings?user_id=u&page_size=4294967296", "", codes.InvalidArgument, "INVALID_FIELD", "page_size"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out := s.Do(t, tc.method, tc.path, tc.body)
			var field string
			if len(out.Fields) > 0 {
				field = out.Fields[0]
			}
			if out.Code != tc.code || out.Status != 400 || out.Reason != tc.reason || field != tc.field || out.Domain != "classrec.dev" {
				t.Errorf("got %d %+v", out.Status, out)
			}
		})
	}
	for _, tc := range []struct {
		name, call, request string
		field               string
	}{
		{"start, no room", apitest.Start, `{}`, "room"},
		{"get, no name", apitest.Get, `{}`, "name"},
		{"get, name with another collection", apitest.Get, `{"name":"classes/1/recordings/1"}`, "name"},
		{"get, name with a slash in the room", apitest.Get, `{"name":"rooms/a/b/recordings/1"}`, "name"},
		{"stop, neither name nor room", apitest.Stop, `{}`, "name"},
		{"stop, both name and room", apitest.Stop, `{"name":"rooms/1/recordings/1","room":"1"}`, "name"},
		{"watch, no room", apitest.Watch, `{}`, "room"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out := s.Call(t, apitest.GRPC, apitest.Call{Name: tc.call, Request: tc.request})
			if out.Code != codes.InvalidArgument || out.Reason != "INVALID_FIELD" || len(out.Fields) != 1 || out.Fields[0] != tc.field {
				t.Errorf("got %+v", out)
			}
		})
	}
}
