// SPDX-License-Identifier: Apache-2.0

package talkcloud_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

const (
	formType      = "application/x-www-form-urlencoded"
	multipartType = "multipart/form-data; boundary=b"
)

// parts is a multipart form.
func parts(fields ...string) string {
	var b strings.Builder
	for _, field := range fields {
		name, value, _ := strings.Cut(field, "=")
		b.WriteString("--b\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n")
	}
	return b.String() + "--b--\r\n"
}

var callbackCases = []struct {
	name, contentType, body string
	want                    []talkcloud.Callback // nil: it is none
}{
	{"class begun", formType, "serial=42&thirdroomid=math&classstate=0&time=1511860322", []talkcloud.Callback{
		{Kind: talkcloud.CallbackClassState, Room: "42", ThirdRoom: "math", At: time.Unix(1511860322, 0)},
	}},
	{"class ended, as JSON", "application/json", `{"serial":42,"thirdroomid":"","classstate":1,"time":1511860322}`, []talkcloud.Callback{
		{Kind: talkcloud.CallbackClassState, Room: "42", At: time.Unix(1511860322, 0)},
	}},
	{"milliseconds, as a text", "application/json; charset=utf-8", `{"serial":"42","classstate":"1","time":"1511860322000"}`, []talkcloud.Callback{
		{Kind: talkcloud.CallbackClassState, Room: "42", At: time.Unix(1511860322, 0)},
	}},
	{
		"recording finished", formType,
		"serial=42&recordid=7&recordtitle=1511860322000&playpath=https%3A%2F%2Fx%2Fy&starttime=1511860322000&endtime=1511860422000",
		[]talkcloud.Callback{{Kind: talkcloud.CallbackRecordingFinished, Room: "42", At: time.Unix(1511860422, 0)}},
	},
	{"recording finished, as JSON of a form's type", formType, ` {"serial":42,"recordid":7,"starttime":1511860322000}`, []talkcloud.Callback{
		{Kind: talkcloud.CallbackRecordingFinished, Room: "42"},
	}},
	{"recording finished, in parts", multipartType, parts("serial=42", "recordid=7", "endtime=1511860422000"), []talkcloud.Callback{
		{Kind: talkcloud.CallbackRecordingFinished, Room: "42", At: time.Unix(1511860422, 0)},
	}},
	{"two", "", `[{"serial":"1","classstate":0},{"thirdroomid":"2","playpath":"x"}]`, []talkcloud.Callback{
		{Kind: talkcloud.CallbackClassState, Room: "1"}, {Kind: talkcloud.CallbackRecordingFinished, ThirdRoom: "2"},
	}},
	{"somebody came", formType, "userid=u&role=0&thirdroomid=math&status=1&timestamp=1511860322", []talkcloud.Callback{
		{ThirdRoom: "math", At: time.Unix(1511860322, 0)},
	}},
	{"a time that is none", formType, "serial=42&classstate=1&time=soon", []talkcloud.Callback{{Kind: talkcloud.CallbackClassState, Room: "42"}}},
	{"with a byte order mark", "", "\xef\xbb\xbf{\"serial\":42,\"classstate\":1}", []talkcloud.Callback{{Kind: talkcloud.CallbackClassState, Room: "42"}}},

	{"nothing", formType, "", nil},
	{"no room", formType, "classstate=1", nil},
	{"a room that cannot be", formType, "serial=a%2Fb&classstate=1", nil},
	{"a room with a line end", formType, "serial=a%0Ab&classstate=1", nil},
	{"a room that is no text", formType, "serial=%ff&classstate=1", nil},
	{"a long room", formType, "serial=" + strings.Repeat("4", 129) + "&classstate=1", nil},
	{"half a JSON", "application/json", `{"serial":42,`, nil},
	{"two documents", "application/json", `{"serial":42},{"serial":43}x`, nil},
	{"a list of numbers", "application/json", `[1,2]`, nil},
	{"an empty list", "application/json", `[]`, nil},
	{"too many", "application/json", "[" + strings.Repeat(`{"serial":1},`, 100) + `{"serial":1}]`, nil},
	{"a bad escape", formType, "serial=%zz", nil},
	{"parts without a boundary", "multipart/form-data", parts("serial=42"), nil},
	{"parts broken off", multipartType, parts("serial=42")[:30], nil},
	{"HTML", "text/html", "<html></html>", nil},
}

func TestParseCallbacks(t *testing.T) {
	t.Parallel()
	for _, tc := range callbackCases {
		got, err := talkcloud.ParseCallbacks(tc.contentType, []byte(tc.body))
		if (err != nil) != (tc.want == nil) || err != nil && !errors.Is(err, talkcloud.ErrCallback) {
			t.Errorf("%s: error %v", tc.name, err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s:\n%s", tc.name, diff)
		}
	}
}

func FuzzParseCallbacks(f *testing.F) {
	for _, tc := range callbackCases {
		f.Add(tc.contentType, []byte(tc.body))
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		all, err := talkcloud.ParseCallbacks(contentType, body)
		if (err == nil) != (len(all) > 0) {
			t.Fatalf("%d callbacks, and error %v", len(all), err)
		}
		for _, c := range all {
			if c.Room == "" && c.ThirdRoom == "" || strings.ContainsAny(string(c.Room+c.ThirdRoom), "/\n") {
				t.Fatalf("a callback of the room %q, %q", c.Room, c.ThirdRoom)
			}
		}
	})
}
