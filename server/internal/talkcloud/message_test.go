// SPDX-License-Identifier: Apache-2.0

package talkcloud_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// same reports whether two JSON texts mean the same.
func same(t testing.TB, a, b []byte) bool {
	t.Helper()
	decode := func(raw []byte) (v any) {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%q is no JSON: %v", raw, err)
		}
		return v
	}
	return reflect.DeepEqual(decode(a), decode(b))
}

func mustMarshal(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("marshal %+v: %v", v, err)
	}
	return raw
}

// messageCases are messages: as they come, as we hold them, and as we write them where that
// differs from how they came.
var messageCases = []struct {
	name, enc string
	dec       talkcloud.Message
	again     string
}{
	{
		name: "recording begins, as the web SDK sends it",
		enc:  `{"name":"ClassBegin","id":"ClassBegin","toID":"__all","data":"{\"recordtype\":\"1\",\"convert\":0,\"layout\":0,\"recordchat\":true}"}`,
		dec:  talkcloud.ClassBegin{RecordType: 1, RecordChat: true}.Message(),
	},
	{
		name: "recording ends",
		enc:  `{"name":"ClassBegin","id":"ClassBegin","toID":"__all","data":"{}"}`,
		dec:  talkcloud.ClassEnd(),
	},
	{
		name: "all that the platform adds",
		enc:  `{"name":"n","id":"i","toID":"u","data":{"a":1},"fromID":"t1","ts":1795375561,"seq":11,"associatedMsgID":"m","associatedUserID":"u","expires":5,"expiresabs":1795375999}`,
		dec: talkcloud.Message{
			Name: "n", ID: "i", To: "u", Data: json.RawMessage(`{"a":1}`), FromID: "t1", TS: 1795375561, Seq: 11,
			AssociatedMsgID: "m", AssociatedUserID: "u", Expires: 5, ExpiresAbs: 1795375999,
		},
	},
	{
		name:  "numbers as texts and texts as numbers",
		enc:   `{"name":"n","id":7,"fromID":12,"ts":"1795375561123","seq":"3"}`,
		dec:   talkcloud.Message{Name: "n", ID: "7", FromID: "12", TS: 1795375561123, Seq: 3},
		again: `{"name":"n","id":"7","fromID":"12","ts":1795375561123,"seq":3}`,
	},
	{
		name:  "not saved, by presence alone",
		enc:   `{"name":"n","do_not_save":false}`,
		dec:   talkcloud.Message{Name: "n", DoNotSave: true},
		again: `{"name":"n","do_not_save":""}`,
	},
	{
		name: "unknown fields, and known ones of another type, are kept",
		enc:  `{"name":"n","type":"count","ts":{"at":1},"seq":"later","write2DB":true}`,
		dec: talkcloud.Message{Name: "n", Extra: map[string]json.RawMessage{
			"type": json.RawMessage(`"count"`), "ts": json.RawMessage(`{"at":1}`), "seq": json.RawMessage(`"later"`), "write2DB": json.RawMessage(`true`),
		}},
	},
	{
		name:  "a text of an object",
		enc:   `"{\"name\":\"n\",\"data\":null}"`,
		dec:   talkcloud.Message{Name: "n", Data: json.RawMessage(`null`)},
		again: `{"name":"n","data":null}`,
	},
	{
		name:  "a fraction and an exponent",
		enc:   `{"name":"n","ts":1795375561.9,"seq":1e1}`,
		dec:   talkcloud.Message{Name: "n", TS: 1795375561, Seq: 10},
		again: `{"name":"n","ts":1795375561,"seq":10}`,
	},
	{name: "nothing", enc: `{}`, dec: talkcloud.Message{}},
}

func TestMessage(t *testing.T) {
	t.Parallel()
	for _, tc := range messageCases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var m talkcloud.Message
			if err := json.Unmarshal([]byte(tc.enc), &m); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(m, tc.dec) {
				t.Fatalf("decoded\n%+v, want\n%+v", m, tc.dec)
			}
			want := tc.again
			if want == "" {
				want = tc.enc
			}
			if got := mustMarshal(t, tc.dec); !same(t, got, []byte(want)) {
				t.Fatalf("encoded\n%s, want\n%s", got, want)
			}
		})
	}
}

func TestMessage_Refuses(t *testing.T) {
	t.Parallel()
	for _, enc := range []string{`null`, `[]`, `7`, `"text"`, `"[]"`, `true`} {
		var m talkcloud.Message
		if err := m.UnmarshalJSON([]byte(enc)); err == nil {
			t.Errorf("%s was taken for %+v", enc, m)
		}
	}
	if raw, err := json.Marshal(talkcloud.Message{Name: "n", Data: json.RawMessage(`{`)}); err == nil {
		t.Errorf("half a JSON was written as %s", raw)
	}
}

func TestMessage_DataText(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		`"{\"a\":1}"`: `{"a":1}`,
		`{"a":1}`:     `{"a":1}`,
		`"plain"`:     `plain`,
		``:            ``,
	} {
		if got := (talkcloud.Message{Data: json.RawMessage(data)}).DataText(); got != want {
			t.Errorf("data %s has text %q, want %q", data, got, want)
		}
	}
}

func TestTimestamp(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		enc   string
		unix  int64
		milli int64
	}{
		{`1511860322`, 1511860322, 1511860322000},
		{`"1511860322"`, 1511860322, 1511860322000},
		{`1511860322123`, 1511860322, 1511860322123},
		{`"1511860322123"`, 1511860322, 1511860322123},
		{`0`, 0, 0},
		{`151186032`, 0, 0},
		{`15118603221`, 0, 0},
		{`1511860322123456`, 0, 0},
		{`-1511860322`, 0, 0},
		{`null`, 0, 0},
		{`{}`, 0, 0},
		{`"soon"`, 0, 0},
		{`1e400`, 0, 0},
	} {
		var ts talkcloud.Timestamp
		if err := ts.UnmarshalJSON([]byte(tc.enc)); err != nil {
			t.Fatal(err)
		}
		at, ok := ts.Time()
		if ts.Unix() != tc.unix || ok != (tc.unix != 0) || ok && at.UnixMilli() != tc.milli {
			t.Errorf("%s is %v %v, %d", tc.enc, at, ok, ts.Unix())
		}
	}
}

var messageListCases = []struct{ name, enc, again string }{
	{"a map", `{"b":{"name":"b","id":"b","seq":1},"a":{"name":"a","id":"a","seq":2}}`, ""},
	{"a map without ids", `{"b":{"name":"x","seq":1}}`, `{"b":{"name":"x","id":"b","seq":1}}`},
	{"an array", `[{"id":"a","seq":2},{"id":"b","seq":1},7,null]`, `{"b":{"id":"b","seq":1},"a":{"id":"a","seq":2}}`},
	{"a text of a map", `"{\"a\":{\"id\":\"a\",\"seq\":2}}"`, `{"a":{"id":"a","seq":2}}`},
	{"a doubled id in an array", `[{"id":"a","seq":2},{"id":"a","seq":1}]`, `{"a":{"id":"a","seq":2}}`},
	{"null", `null`, `{}`},
	{"an empty map", `{}`, ""},
	{"an empty array, as PHP writes an empty map", `[]`, `{}`},
	{"an empty text", `""`, `{}`},
}

func TestMessageList(t *testing.T) {
	t.Parallel()
	for _, tc := range messageListCases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var l talkcloud.MessageList
			if err := l.UnmarshalJSON([]byte(tc.enc)); err != nil {
				t.Fatal(err)
			}
			for i := 1; i < len(l); i++ {
				if l[i-1].Seq > l[i].Seq {
					t.Fatalf("not in order of seq: %+v", l)
				}
			}
			want := tc.again
			if want == "" {
				want = tc.enc
			}
			if got := mustMarshal(t, l); !same(t, got, []byte(want)) {
				t.Fatalf("encoded\n%s, want\n%s", got, want)
			}
		})
	}
	for _, enc := range []string{`7`, `"x"`, `true`} {
		if err := new(talkcloud.MessageList).UnmarshalJSON([]byte(enc)); err == nil {
			t.Errorf("%s was taken for a message list", enc)
		}
	}
}

var classBeginCases = []struct {
	name, enc string
	dec       talkcloud.ClassBegin
	again     string // what we write, where it differs
}{
	{
		"defaults of the web SDK", `{"recordtype":"1","convert":0,"layout":0,"recordchat":true}`,
		talkcloud.ClassBegin{RecordType: 1, HasRecordType: true, RecordChat: true},
		"",
	},
	{
		"chat off", `{"recordtype":"0","convert":1,"layout":1}`,
		talkcloud.ClassBegin{HasRecordType: true, Convert: 1, Layout: 1},
		"",
	},
	{
		"the document's own", `{"recordchat":true,"convert":0}`,
		talkcloud.ClassBegin{RecordChat: true},
		`{"recordtype":"0","convert":0,"layout":0,"recordchat":true}`,
	},
	{
		"a number, and a text", `{"recordtype":2,"convert":"1","recordchat":"1"}`,
		talkcloud.ClassBegin{RecordType: 2, HasRecordType: true, Convert: 1, RecordChat: true},
		`{"recordtype":"2","convert":1,"layout":0,"recordchat":true}`,
	},
	{
		"what is no number", `{"recordtype":"mix","convert":[],"layout":{},"recordchat":"false"}`,
		talkcloud.ClassBegin{},
		`{"recordtype":"0","convert":0,"layout":0}`,
	},
	{
		"too large", `{"recordtype":1e30,"convert":99999999999}`,
		talkcloud.ClassBegin{},
		`{"recordtype":"0","convert":0,"layout":0}`,
	},
	{"empty", `{}`, talkcloud.ClassBegin{}, `{"recordtype":"0","convert":0,"layout":0}`},
}

func TestClassBegin(t *testing.T) {
	t.Parallel()
	for _, tc := range classBeginCases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for _, data := range []json.RawMessage{json.RawMessage(tc.enc), talkcloud.TextData(tc.enc)} {
				got, err := talkcloud.ParseClassBegin(data)
				if err != nil || got != tc.dec {
					t.Fatalf("%s is %+v, %v; want %+v", data, got, err, tc.dec)
				}
			}
			want := tc.again
			if want == "" {
				want = tc.enc
			}
			if got := tc.dec.Encode(); got != want {
				t.Fatalf("encoded %s, want %s", got, want)
			}
		})
	}
	for _, data := range []string{``, `null`, `""`, `"null"`} {
		if c, err := talkcloud.ParseClassBegin(json.RawMessage(data)); err != nil || c != (talkcloud.ClassBegin{}) {
			t.Errorf("data %q is %+v, %v", data, c, err)
		}
	}
	for _, data := range []string{`7`, `[]`, `"x"`, `"[1]"`} {
		if c, err := talkcloud.ParseClassBegin(json.RawMessage(data)); err == nil {
			t.Errorf("data %s was taken for %+v", data, c)
		}
	}
}

var joinReplyCases = []struct{ name, enc, again string }{
	{
		"as the vendor's reference answers",
		`{"roominfo":{"id":"9","p2p":false,"iceServers":[],"streams":[]},"msglist":{"ClassBegin":{"name":"ClassBegin","id":"ClassBegin","seq":11}},"userlist":[{"id":"t1","properties":{"role":0,"nickname":"T"}}]}`, "",
	},
	{"roominfo alone", `{"roominfo":{}}`, `{"roominfo":{"id":"","p2p":false,"iceServers":[],"streams":[]},"msglist":{},"userlist":[]}`},
	{"msglist alone, as a text", `{"msglist":"{}"}`, `{"roominfo":{"id":"","p2p":false,"iceServers":[],"streams":[]},"msglist":{},"userlist":[]}`},
	{
		"a map of users, more in roominfo", `{"roominfo":{"id":9,"x":1},"msglist":null,"userlist":{"u":{"properties":{"a":1}},"v":7}}`,
		`{"roominfo":{"id":"9","p2p":false,"iceServers":[],"streams":[],"x":1},"msglist":{},"userlist":[{"id":"u","properties":{"a":1}}]}`,
	},
}

func TestJoinReply(t *testing.T) {
	t.Parallel()
	for _, tc := range joinReplyCases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var r talkcloud.JoinReply
			if err := r.UnmarshalJSON([]byte(tc.enc)); err != nil {
				t.Fatal(err)
			}
			want := tc.again
			if want == "" {
				want = tc.enc
			}
			if got := mustMarshal(t, r); !same(t, got, []byte(want)) {
				t.Fatalf("encoded\n%s, want\n%s", got, want)
			}
		})
	}
	for _, enc := range []string{`{}`, `[]`, `"text"`, `null`, `{"msglist":null}`, `{"userlist":[]}`, `{"roominfo":"x"}`, `{"msglist":5}`} {
		var r talkcloud.JoinReply
		if err := r.UnmarshalJSON([]byte(enc)); err == nil {
			t.Errorf("%s was taken for a room", enc)
		}
	}
}

func TestParticipant(t *testing.T) {
	t.Parallel()
	role := talkcloud.RolePatrol
	p := talkcloud.Participant{ID: "u", Role: &role, Nickname: "n", Properties: map[string]json.RawMessage{"role": json.RawMessage("0"), "x": json.RawMessage("1")}}
	raw := mustMarshal(t, p)
	if !same(t, raw, []byte(`{"id":"u","properties":{"role":4,"nickname":"n","x":1}}`)) {
		t.Fatalf("encoded %s", raw)
	}
	var again talkcloud.Participant
	if err := json.Unmarshal(raw, &again); err != nil || *again.Role != role || again.Nickname != "n" {
		t.Fatalf("decoded %+v, %v", again, err)
	}
	if string(p.Properties["role"]) != "0" {
		t.Fatal("encoding changed the properties")
	}
}
