// SPDX-License-Identifier: Apache-2.0

package socketio_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/classrec/classrec/server/internal/socketio"
)

var packetCases = []struct {
	name string
	enc  string
	dec  socketio.Packet
}{
	{"connect", `0`, socketio.Packet{Type: socketio.PacketConnect, Namespace: "/"}},
	{"connect reply", `0{"sid":"x"}`, socketio.Packet{Type: socketio.PacketConnect, Namespace: "/", Data: json.RawMessage(`{"sid":"x"}`)}},
	{"connect of a namespace", `0/chat,`, socketio.Packet{Type: socketio.PacketConnect, Namespace: "/chat"}},
	{"disconnect", `1`, socketio.Packet{Type: socketio.PacketDisconnect, Namespace: "/"}},
	{"event", `2["pubMsg",{"name":"ClassBegin"}]`, socketio.Packet{Type: socketio.PacketEvent, Namespace: "/", Data: json.RawMessage(`["pubMsg",{"name":"ClassBegin"}]`)}},
	{"event with id", `20["joinRoom",{}]`, socketio.Packet{Type: socketio.PacketEvent, Namespace: "/", HasID: true, Data: json.RawMessage(`["joinRoom",{}]`)}},
	{"event of a namespace", `2/chat,12["教室"]`, socketio.Packet{Type: socketio.PacketEvent, Namespace: "/chat", ID: 12, HasID: true, Data: json.RawMessage(`["教室"]`)}},
	{"acknowledgement", `39007199254740993[0,{}]`, socketio.Packet{Type: socketio.PacketAck, Namespace: "/", ID: 9007199254740993, HasID: true, Data: json.RawMessage(`[0,{}]`)}},
	{"empty acknowledgement", `31[]`, socketio.Packet{Type: socketio.PacketAck, Namespace: "/", ID: 1, HasID: true, Data: json.RawMessage(`[]`)}},
	{"error of protocol 4", `4/chat,"Invalid namespace"`, socketio.Packet{Type: socketio.PacketError, Namespace: "/chat", Data: json.RawMessage(`"Invalid namespace"`)}},
	{"error of protocol 5", `4{"message":"no"}`, socketio.Packet{Type: socketio.PacketError, Namespace: "/", Data: json.RawMessage(`{"message":"no"}`)}},
}

func TestParsePacket(t *testing.T) {
	t.Parallel()
	for _, tc := range packetCases {
		got, err := socketio.ParsePacket([]byte(tc.enc))
		if err != nil || !reflect.DeepEqual(got, tc.dec) {
			t.Errorf("%s: got %+v, %v, want %+v", tc.name, got, err, tc.dec)
		}
	}
	for enc, want := range map[string]string{`0/chat?token=x,`: "/chat", `0/chat`: "/chat", `0/,`: "/", `0/?a=/b`: "/", `1/chat`: "/chat"} {
		if got, err := socketio.ParsePacket([]byte(enc)); err != nil || got.Namespace != want {
			t.Errorf("%s: got %+v, %v, want namespace %s", enc, got, err, want)
		}
	}
}

func TestAppendPacket(t *testing.T) {
	t.Parallel()
	for _, tc := range packetCases {
		if got := socketio.AppendPacket([]byte("4"), tc.dec); string(got) != "4"+tc.enc {
			t.Errorf("%s: got %s, want 4%s", tc.name, got, tc.enc)
		}
	}
}

// badPackets are refused by their encoding alone.
var badPackets = map[string]struct {
	enc string
	err error
}{
	"empty":                      {``, socketio.ErrMalformed},
	"unknown type":               {`7`, socketio.ErrMalformed},
	"letter":                     {`x`, socketio.ErrMalformed},
	"event without data":         {`2`, socketio.ErrMalformed},
	"event with an object":       {`2{}`, socketio.ErrMalformed},
	"event with a string":        {`2"x"`, socketio.ErrMalformed},
	"half an event":              {`2["x"`, socketio.ErrMalformed},
	"event and more":             {`2["x"]y`, socketio.ErrMalformed},
	"event with a control":       {"2[\"x\n\"]", socketio.ErrMalformed},
	"id too long":                {`212345678901234567890["x"]`, socketio.ErrMalformed},
	"negative id":                {`2-1["x"]`, socketio.ErrMalformed},
	"acknowledgement without id": {`3[]`, socketio.ErrMalformed},
	"acknowledgement of nothing": {`31`, socketio.ErrMalformed},
	"disconnect with data":       {`1{}`, socketio.ErrMalformed},
	"connect with no JSON":       {`0{`, socketio.ErrMalformed},
	"nested too deep":            {`2["x",` + strings.Repeat("[", 128) + strings.Repeat("]", 128) + `]`, socketio.ErrMalformed},
	"nested deep and unbalanced": {`2` + strings.Repeat(`[{"a":`, 100_000), socketio.ErrMalformed},
	"binary event":               {`51-["x",{"_placeholder":true,"num":0}]`, socketio.ErrBinary},
	"binary acknowledgement":     {`61-1[]`, socketio.ErrBinary},
}

// badEvents are refused as events.
var badEvents = map[string]string{
	"no name":            `2[]`,
	"a number for name":  `2[1]`,
	"null for name":      `2[null]`,
	"too many arguments": `2["x"` + strings.Repeat(",0", socketio.MaxArgs+1) + `]`,
}

func TestParsePacket_Bad(t *testing.T) {
	t.Parallel()
	for name, tc := range badPackets {
		if got, err := socketio.ParsePacket([]byte(tc.enc)); !errors.Is(err, tc.err) {
			t.Errorf("%s: got %+v, %v, want %v", name, got, err, tc.err)
		}
	}
	deepest := `2["x",` + strings.Repeat("[", socketio.MaxDepth-1) + strings.Repeat("]", socketio.MaxDepth-1) + `]`
	if _, err := socketio.ParsePacket([]byte(deepest)); err != nil {
		t.Errorf("nested as deep as allowed: %v", err)
	}
}

func FuzzPacket(f *testing.F) {
	for _, tc := range packetCases {
		f.Add([]byte(tc.enc))
	}
	for _, tc := range badPackets {
		f.Add([]byte(tc.enc[:min(len(tc.enc), 1000)]))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := socketio.ParsePacket(text)
		if err != nil {
			if !errors.Is(err, socketio.ErrMalformed) && !errors.Is(err, socketio.ErrBinary) {
				t.Errorf("error is %v", err)
			}
			return
		}
		if p.Data != nil && !json.Valid(p.Data) {
			t.Errorf("data %q is not JSON", p.Data)
		}
		enc := socketio.AppendPacket(nil, p)
		if again, err := socketio.ParsePacket(enc); err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%q became %q and that %+v, %v, want %+v", text, enc, again, err, p)
		}
	})
}

// FuzzEvent holds the cutting of arguments against encoding/json.
func FuzzEvent(f *testing.F) {
	for _, seed := range []string{
		`["x"]`, `["x",1,"a,]\"[",{"k":[1,{"],":null}]},[] ]`, ` [ "x" , 2 ] `, `["\u8bfe\\",[[[]]]]`, `[]`, `[1]`, `["x",]`, "[\"x\",\t-1.5e3\n]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := socketio.ParsePacket(append([]byte("2"), data...))
		if err != nil || p.HasID || p.Namespace != socketio.RootNamespace {
			return
		}
		var want []json.RawMessage
		if err := json.Unmarshal(p.Data, &want); err != nil {
			t.Fatalf("%q was taken for JSON: %v", p.Data, err)
		}
		name, args, err := socketio.SplitEvent(p.Data)
		if err != nil {
			var wantName *string
			if len(want) > 0 && len(want) <= socketio.MaxArgs && json.Unmarshal(want[0], &wantName) == nil && wantName != nil {
				t.Errorf("%q was refused: %v", p.Data, err)
			}
			return
		}
		var wantName string
		if err := json.Unmarshal(want[0], &wantName); err != nil || name != wantName {
			t.Errorf("name is %q, want %q (%v)", name, wantName, err)
		}
		if len(args) != len(want)-1 {
			t.Fatalf("%d arguments, want %d", len(args), len(want)-1)
		}
		for i, arg := range args {
			if string(arg) != string(want[i+1]) {
				t.Errorf("argument %d is %q, want %q", i, arg, want[i+1])
			}
		}
	})
}
