// SPDX-License-Identifier: Apache-2.0

package talkcloud_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

var configCases = []struct {
	name, enc string
	want      []talkcloud.SocketAddress // nil: an error
}{
	{"courseserver", `{"result":0,"courseserver":"c.test","courseserverport":443}`, []talkcloud.SocketAddress{{Host: "c.test", Port: 443}}},
	{"a port as a text, no result", `{"courseserver":"c.test","courseserverport":"443"}`, []talkcloud.SocketAddress{{Host: "c.test", Port: 443}}},
	{"defaults", `{"result":0}`, []talkcloud.SocketAddress{{Host: "web.test", Port: 8889}}},
	{
		"newcourseaddr wins", `{"newcourseaddr":[{"name":"cna","signaladdr":"n.test","signalport":"8443"},{"name":"b","signaladdr":"m.test"},{"signaladdr":""}],"courseserver":"c.test"}`,
		[]talkcloud.SocketAddress{{Host: "n.test", Port: 8443, ServerName: "cna"}, {Host: "m.test", Port: 8889, ServerName: "b"}},
	},
	{"newcourseaddr as one object in a text", `{"newcourseaddr":"{\"signaladdr\":\"n.test\",\"signalport\":1}"}`, []talkcloud.SocketAddress{{Host: "n.test", Port: 1}}},
	{"an empty newcourseaddr", `{"newcourseaddr":[],"courseserver":"c.test"}`, []talkcloud.SocketAddress{{Host: "c.test", Port: 8889}}},
	{"newcourseaddr of another kind", `{"newcourseaddr":[7,null,"x"],"courseserver":"c.test"}`, []talkcloud.SocketAddress{{Host: "c.test", Port: 8889}}},
	{"IPv6", `{"courseserver":"::1","courseserverport":1}`, []talkcloud.SocketAddress{{Host: "::1", Port: 1}}},
	{"a port that is none", `{"courseserver":"c.test","courseserverport":70000}`, nil},
	{"a port that is a word", `{"courseserver":"c.test","courseserverport":"https"}`, nil},
	{"a host with a path", `{"courseserver":"c.test/evil?x="}`, nil},
	{"a host with a user", `{"courseserver":"a@c.test"}`, nil},
}

func TestConfigReply_Addresses(t *testing.T) {
	t.Parallel()
	for _, tc := range configCases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var r talkcloud.ConfigReply
			if err := json.Unmarshal([]byte(tc.enc), &r); err != nil {
				t.Fatal(err)
			}
			got, err := r.Addresses("web.test")
			if !reflect.DeepEqual(got, tc.want) || (err != nil) != (tc.want == nil) {
				t.Fatalf("addresses are %+v, %v; want %+v", got, err, tc.want)
			}
		})
	}
}

func TestCheckRoomReply_UserID(t *testing.T) {
	t.Parallel()
	for enc, want := range map[string]talkcloud.UserID{
		`{}`: "", `{"thirdid":null}`: "", `{"thirdid":""}`: "", `{"thirdid":"0"}`: "", `{"thirdid":0}`: "",
		`{"thirdid":"abc"}`: "abc", `{"thirdid":1234567890123}`: "1234567890123", `{"thirdid":[]}`: "",
	} {
		var r talkcloud.CheckRoomReply
		if err := json.Unmarshal([]byte(enc), &r); err != nil || r.UserID() != want {
			t.Errorf("%s wants the user %q, %v; want %q", enc, r.UserID(), err, want)
		}
	}
}

func TestScalar(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		enc   string
		text  string
		n     int64
		isInt bool
		truth bool
	}{
		{`6`, "6", 6, true, true},
		{`"6"`, "6", 6, true, true},
		{`" 6 "`, " 6 ", 6, true, true},
		{`0`, "0", 0, true, false},
		{`"0"`, "0", 0, true, false},
		{`"0.0"`, "0.0", 0, true, false},
		{`-1.5`, "-1.5", -1, true, true},
		{`1e999`, "1e999", 0, false, true},
		{`9223372036854775807`, "9223372036854775807", 9223372036854775807, true, true},
		{`9223372036854775808`, "9223372036854775808", 0, false, true},
		{`""`, "", 0, false, false},
		{`"no"`, "no", 0, false, true},
		{`"False"`, "False", 0, false, false},
		{`true`, "true", 0, false, true},
		{`false`, "false", 0, false, false},
		{`null`, "", 0, false, false},
	} {
		var s talkcloud.Scalar
		if err := json.Unmarshal([]byte(tc.enc), &s); err != nil {
			t.Fatal(err)
		}
		n, isInt := s.Int()
		if s.String() != tc.text || n != tc.n || isInt != tc.isInt || s.Truthy() != tc.truth {
			t.Errorf("%s is %q, %d %v, %v", tc.enc, s, n, isInt, s.Truthy())
		}
		if got := mustMarshal(t, s); string(got) != tc.enc {
			t.Errorf("%s is written as %s", tc.enc, got)
		}
	}
	var s talkcloud.Scalar
	if err := json.Unmarshal([]byte(`{"a":1}`), &s); err != nil || !s.IsZero() {
		t.Errorf("an object is %v, %v", s, err)
	}
}

func TestRefusal(t *testing.T) {
	t.Parallel()
	for enc, want := range map[string]talkcloud.Refusal{
		`5`:        {Code: 5},
		`"4008"`:   {Code: 4008},
		`"denied"`: {Message: "denied"},
		`null`:     {},
		`[]`:       {},
		`{"code":-1,"reason":"FFMPEG_MISSING","message":"needs ffmpeg"}`: {Code: -1, Reason: "FFMPEG_MISSING", Message: "needs ffmpeg"},
		`{"code":"DENIED","msg":"m"}`:                                    {Reason: "DENIED", Message: "m"},
		`{"code":"4007"}`:                                                {Code: 4007},
		`{"code":99999999999}`:                                           {Code: -1},
	} {
		var got talkcloud.Refusal
		if err := json.Unmarshal([]byte(enc), &got); err != nil || got != want {
			t.Errorf("%s is %+v, %v; want %+v", enc, got, err, want)
		}
	}
}
