// SPDX-License-Identifier: Apache-2.0

package roomserver_test

import (
	"encoding/json"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/classrec/classrec/server/internal/roomserver"
)

// payloads are those of the captured session, and some that nobody sends.
func payloads() []string {
	return []string{
		`{"userId":"t1","roomId":"91795375556973","maxVideo":6,"videofps":15,"videowidth":320,"videoheight":240,"properties":{"role":0,"nickname":"Teacher T","publishstate":0,"hasvideo":true},"roomtype":3,"version":3,"vcodec":0}`,
		`{"userId":7,"roomId":42,"properties":"{\"role\":\"2\"}"}`,
		`{"name":"ClassBegin","id":"ClassBegin","toID":"__all","data":"{\"recordtype\":\"1\",\"convert\":0,\"layout\":0,\"recordchat\":true}"}`,
		`{"name":"UpdateTime","toID":"t1","do_not_save":"","expires":"7","ts":{},"seq":[]}`,
		`{"toID":"__all","message":"{\"msg\":\"hello\"}"}`,
		`{"id":{"ids":["a",1],"roles":[2,"0"]},"toID":"__none","properties":{"publishstate":2}}`,
		`{"id":"u","reason":1}`,
		`{"state":"ms","data":false,"audio":true,"video":true,"screen":false,"minVideoBW":0,"attributes":{"type":"video"},"extensionId":"t1"}`,
		`{"streamId":"s","msg":{"type":"offer","sdp":"v=0\r\n"}}`,
		`{"streamId":"s","msg":{"type":"candidate","candidate":{"sdpMLineIndex":-1,"sdpMid":"end","candidate":"end"}}}`,
		`{"streamId":1,"msg":"{\"candidate\":\"a=candidate:1 1 udp 1 1.1.1.1 1 typ host\",\"sdpMLineIndex\":\"1e300\"}"}`,
		`"stream"`, `null`, `[]`, `{}`, `1e999`, `"\ud800"`, `{"id":"\u0000","name":"__x"}`,
	}
}

// FuzzPayload gives every decoder any JSON: it may refuse, and else what it found can be sent on.
func FuzzPayload(f *testing.F) {
	for _, seed := range payloads() {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			t.Skip() // package socketio lets none of these through
		}
		for event, decode := range roomserver.Decoders() {
			v, err := decode(raw)
			if err != nil {
				continue
			}
			if out, err := roomserver.Encode(v); err != nil || !json.Valid(out) {
				t.Errorf("%s: %q became %q, %v", event, raw, out, err)
			}
		}
	})
}

// FuzzForm reads any form. What was encoded by the book comes out as it went in.
func FuzzForm(f *testing.F) {
	f.Add("serial", "7", "nickname", "张 & 三=+%")
	f.Add("password", "p&w=1", "x", "%41")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		for _, form := range []string{k1 + "=" + v1 + "&" + k2 + "=" + v2, k1, v1} {
			roomserver.ParseForm(form)
			roomserver.ParsePath(form)
		}
		v1, v2 = strings.TrimSpace(v1), strings.TrimSpace(v2)
		if k1 == "" || k2 == "" || k1 == k2 {
			return
		}
		want := map[string]string{k1: v1, k2: v2}
		if diff := cmp.Diff(want, roomserver.ParseForm(url.Values{k1: {v1}, k2: {v2}}.Encode())); diff != "" {
			t.Errorf("form: %s", diff)
		}
		if v2 == "" {
			return // the path then ends in a slash
		}
		path := "/" + url.PathEscape(k1) + "/" + url.PathEscape(v1) + "/" + url.PathEscape(k2) + "/" + url.PathEscape(v2)
		if diff := cmp.Diff(want, roomserver.ParsePath(path)); diff != "" {
			t.Errorf("path %s: %s", path, diff)
		}
	})
}

// FuzzRoomDir wants names that a file system takes, different for different rooms.
func FuzzRoomDir(f *testing.F) {
	f.Add("91795375556973", "Room б")
	f.Add("..", ".")
	f.Add("a/b", "A/B")
	f.Add(strings.Repeat("я", 64), strings.Repeat("я", 63)+"ю")
	f.Fuzz(func(t *testing.T, a, b string) {
		dirA, dirB := roomserver.RoomDir(a), roomserver.RoomDir(b)
		if (a == b) != strings.EqualFold(dirA, dirB) {
			t.Errorf("%q and %q are in %s and %s", a, b, dirA, dirB)
		}
		if a != "" && (!filepath.IsLocal(dirA) || len(dirA) > 200 || strings.ContainsAny(dirA, `/\:*?"<>|. `) || url.PathEscape(dirA) != dirA) {
			t.Errorf("%q is in %q", a, dirA)
		}
	})
}

func TestParseForm(t *testing.T) {
	t.Parallel()
	for form, want := range map[string]map[string]string{
		"": {},
		"serial=7&password=p&w=1&nickname=张 & 三=+%&clientType=1": {
			"serial": "7", "password": "p", "w": "1", "nickname": "张 & 三=+%", "clientType": "1",
		},
		"a=1&a=2":      {"a": "1"},
		"a=1+2%26&b":   {"a": "1 2&", "b": ""},
		"a=100%&b=x":   {"a": "100%", "b": "x"},
		"a=100%25&b=x": {"a": "100%", "b": "x"},
		"&&=&a=b=c":    {"a": "b=c"},
		"a= b &&c d=e": {"a": "b &&c d=e"},
	} {
		if diff := cmp.Diff(want, roomserver.ParseForm(form)); diff != "" {
			t.Errorf("%q: %s", form, diff)
		}
	}
}
