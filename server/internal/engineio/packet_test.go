// SPDX-License-Identifier: Apache-2.0

package engineio_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/engineio"
)

var packetCases = []struct {
	name string
	enc  string
	dec  engineio.Packet
}{
	{"open", `0{"sid":"x"}`, engineio.Packet{Type: engineio.PacketOpen, Data: []byte(`{"sid":"x"}`)}},
	{"close", `1`, engineio.Packet{Type: engineio.PacketClose, Data: []byte{}}},
	{"ping", `2`, engineio.Packet{Type: engineio.PacketPing, Data: []byte{}}},
	{"ping of a probe", `2probe`, engineio.Packet{Type: engineio.PacketPing, Data: []byte("probe")}},
	{"pong", `3`, engineio.Packet{Type: engineio.PacketPong, Data: []byte{}}},
	{"message", `42["课堂"]`, engineio.Packet{Type: engineio.PacketMessage, Data: []byte(`2["课堂"]`)}},
	{"empty message", `4`, engineio.Packet{Type: engineio.PacketMessage, Data: []byte{}}},
	{"upgrade", `5`, engineio.Packet{Type: engineio.PacketUpgrade, Data: []byte{}}},
	{"noop", `6`, engineio.Packet{Type: engineio.PacketNoop, Data: []byte{}}},
}

func TestParsePacket(t *testing.T) {
	t.Parallel()
	for _, tc := range packetCases {
		got, err := engineio.ParsePacket([]byte(tc.enc))
		if err != nil || !reflect.DeepEqual(got, tc.dec) {
			t.Errorf("%s: got %q, %v, want %q", tc.name, got, err, tc.dec)
		}
	}
	for _, bad := range []string{"", "7", "b4YWJj", " 4", "\x004", "-1", "{}", "教"} {
		if got, err := engineio.ParsePacket([]byte(bad)); !errors.Is(err, engineio.ErrMalformed) {
			t.Errorf("%q: got %q, %v, want %v", bad, got, err, engineio.ErrMalformed)
		}
	}
}

func TestAppendPacket(t *testing.T) {
	t.Parallel()
	for _, tc := range packetCases {
		if got := engineio.AppendPacket([]byte("kept "), tc.dec); string(got) != "kept "+tc.enc {
			t.Errorf("%s: got %q, want %q", tc.name, got, "kept "+tc.enc)
		}
	}
}

func FuzzPacket(f *testing.F) {
	for _, tc := range packetCases {
		f.Add([]byte(tc.enc))
	}
	f.Add([]byte("b4YWJj"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := engineio.ParsePacket(text)
		if err != nil {
			if !errors.Is(err, engineio.ErrMalformed) {
				t.Errorf("error is %v", err)
			}
			return
		}
		if again := engineio.AppendPacket(nil, p); !bytes.Equal(again, text) {
			t.Errorf("%q became %q", text, again)
		}
	})
}

var handshakeCases = []struct {
	name string
	enc  string
	dec  engineio.Handshake
}{
	{
		"revision 3", `{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":5000}`,
		engineio.Handshake{SID: "a", PingInterval: 25 * time.Second, PingTimeout: 5 * time.Second},
	},
	{
		"revision 4", `{"sid":"a","upgrades":[],"pingInterval":300,"pingTimeout":200,"maxPayload":1000000}`,
		engineio.Handshake{SID: "a", PingInterval: 300 * time.Millisecond, PingTimeout: 200 * time.Millisecond, MaxPayload: 1e6},
	},
}

func TestHandshake(t *testing.T) {
	t.Parallel()
	for _, tc := range handshakeCases {
		if got, err := engineio.ParseHandshake([]byte(tc.enc)); err != nil || got != tc.dec {
			t.Errorf("%s: got %+v, %v, want %+v", tc.name, got, err, tc.dec)
		}
		if got, err := engineio.AppendHandshake(nil, tc.dec); err != nil || string(got) != tc.enc {
			t.Errorf("%s: got %s, %v, want %s", tc.name, got, err, tc.enc)
		}
	}
	for _, bad := range []string{
		``, `{`, `[]`, `null`, `{}`, `{"sid":1,"pingInterval":1,"pingTimeout":1}`, `{"sid":"","pingInterval":1,"pingTimeout":1}`,
		`{"sid":"a","pingTimeout":1}`, `{"sid":"a","pingInterval":-1,"pingTimeout":1}`, `{"sid":"a","pingInterval":1,"pingTimeout":1e18}`,
		`{"sid":"a","pingInterval":1,"pingTimeout":1,"maxPayload":-1}`,
	} {
		if got, err := engineio.ParseHandshake([]byte(bad)); !errors.Is(err, engineio.ErrMalformed) {
			t.Errorf("%s: got %+v, %v, want %v", bad, got, err, engineio.ErrMalformed)
		}
	}
}

func FuzzHandshake(f *testing.F) {
	for _, tc := range handshakeCases {
		f.Add([]byte(tc.enc))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		h, err := engineio.ParseHandshake(text)
		if err != nil {
			return
		}
		enc, err := engineio.AppendHandshake(nil, h)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := engineio.ParseHandshake(enc); err != nil || again != h {
			t.Errorf("%+v became %+v, %v", h, again, err)
		}
	})
}

func TestCloseBody(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		code   int
		reason string
		want   engineio.CloseError
	}{
		{"code and reason", 1000, "再见", engineio.CloseError{Code: 1000, Reason: "再见"}},
		{"code alone", 4999, "", engineio.CloseError{Code: 4999}},
		{"no code", 1005, "lost", engineio.CloseError{Code: 1005}},
		{"reason too long", 1011, strings.Repeat("课", 100), engineio.CloseError{Code: 1011, Reason: strings.Repeat("课", 41)}},
	} {
		body := engineio.CloseBody(tc.code, tc.reason)
		if len(body) > 125 {
			t.Errorf("%s: %d bytes do not fit in a control frame", tc.name, len(body))
		}
		if got, err := engineio.ParseClose(body); err != nil || *got != tc.want {
			t.Errorf("%s: got %+v, %v, want %+v", tc.name, got, err, tc.want)
		}
	}
	for _, bad := range []string{"\x03", "\x03\xed", "\x03\xee", "\x00\x00", "\x27\x10", "\x03\xe8\xff"} {
		if got, err := engineio.ParseClose([]byte(bad)); !errors.Is(err, engineio.ErrMalformed) {
			t.Errorf("%q: got %+v, %v, want %v", bad, got, err, engineio.ErrMalformed)
		}
	}
}
