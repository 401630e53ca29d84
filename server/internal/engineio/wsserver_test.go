// SPDX-License-Identifier: Apache-2.0

package engineio_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/engineio"
)

// wire is a network connection that gives bytes in pieces of at most step, and takes everything.
type wire struct {
	net.Conn
	data []byte
	step int
}

func (w *wire) Read(b []byte) (int, error) {
	if len(w.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), w.step)], w.data)
	w.data = w.data[n:]
	return n, nil
}

func (w *wire) Write(b []byte) (int, error) { return len(b), nil }
func (w *wire) Close() error                { return nil }

// readAll is what a server reads from a connection with those bytes.
func readAll(data []byte, step int, limit int64) (messages []string, err error) {
	err = engineio.ReadFrames(&wire{data: slices.Clone(data), step: step}, limit, func(message []byte) error {
		messages = append(messages, string(message))
		return nil
	})
	return messages, err
}

// Opcodes with the FIN bit, and without.
const (
	fin          = 0x80
	continuation = 0x0
	textOp       = 0x1
	binaryOp     = 0x2
	closeOp      = 0x8
	pingOp       = 0x9
	pongOp       = 0xA
)

// masked is a frame as a client sends it.
func masked(op byte, payload string) []byte {
	b := []byte{op}
	switch n := len(payload); {
	case n <= 125:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	key := []byte{0xa1, 0x5e, 0x07, 0xfc}
	b = append(b, key...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i%4])
	}
	return b
}

func frames(parts ...[]byte) []byte { return slices.Concat(parts...) }

var frameCases = []struct {
	name     string
	wire     []byte
	messages []string
	err      error // in place of the close frame at the end
}{
	{"one message", masked(fin|textOp, "4hello"), []string{"hello"}, nil},
	{"several at once", frames(masked(fin|textOp, "4a"), masked(fin|textOp, "4"), masked(fin|textOp, "4c")), []string{"a", "", "c"}, nil},
	{"of 125 bytes", masked(fin|textOp, "4"+strings.Repeat("x", 124)), []string{strings.Repeat("x", 124)}, nil},
	{"of 126 bytes", masked(fin|textOp, "4"+strings.Repeat("x", 125)), []string{strings.Repeat("x", 125)}, nil},
	{"of the buffer's size", masked(fin|textOp, "4"+strings.Repeat("x", 4095)), []string{strings.Repeat("x", 4095)}, nil},
	{"of one more", masked(fin|textOp, "4"+strings.Repeat("x", 4096)), []string{strings.Repeat("x", 4096)}, nil},
	{"of 70 KB", masked(fin|textOp, "4"+strings.Repeat("课", 70_000/3)), []string{strings.Repeat("课", 70_000/3)}, nil},
	{
		"fragments with a ping between",
		frames(masked(textOp, "4\xe8"), masked(fin|pingOp, "?"), masked(continuation, "\xaf"), masked(fin|continuation, "\xbe!")),
		[]string{"课!"},
		nil,
	},
	{"empty fragments", frames(masked(textOp, ""), masked(continuation, "4x"), masked(fin|continuation, "")), []string{"x"}, nil},
	{"ping and pong", frames(masked(fin|pingOp, strings.Repeat("p", 125)), masked(fin|pongOp, "")), nil, nil},

	{"empty message", masked(fin|textOp, ""), nil, engineio.ErrMalformed},
	{"unknown packet", masked(fin|textOp, "x"), nil, engineio.ErrMalformed},
	{"open from a client", masked(fin|textOp, "0{}"), nil, engineio.ErrMalformed},
	{"not UTF-8", masked(fin|textOp, "4\xff"), nil, engineio.ErrMalformed},
	{"not masked", []byte{fin | textOp, 1, '4'}, nil, engineio.ErrMalformed},
	{"reserved bit", masked(fin|0x40|textOp, "4"), nil, engineio.ErrMalformed},
	{"unknown opcode", masked(fin|0x3, "4"), nil, engineio.ErrMalformed},
	{"unknown control opcode", masked(fin|0xB, "4"), nil, engineio.ErrMalformed},
	{"long ping", masked(fin|pingOp, strings.Repeat("p", 126)), nil, engineio.ErrMalformed},
	{"fragmented ping", masked(pingOp, "p"), nil, engineio.ErrMalformed},
	{"continuation of nothing", masked(fin|continuation, "4"), nil, engineio.ErrMalformed},
	{"text between fragments", frames(masked(textOp, "4"), masked(fin|textOp, "4")), nil, engineio.ErrMalformed},
	{"negative length", append([]byte{fin | textOp, 0xff, 0x80}, make([]byte, 20)...), nil, engineio.ErrMalformed},
	{"binary", masked(fin|binaryOp, "4"), nil, engineio.ErrBinary},
	{"fragmented binary", masked(binaryOp, "4"), nil, engineio.ErrBinary},
	{"too big", masked(fin|textOp, "4"+strings.Repeat("x", 100_000)), nil, engineio.ErrMessageTooBig},
	{"too big by its header", []byte{fin | textOp, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, nil, engineio.ErrMessageTooBig},
	{"too big in fragments", frames(masked(textOp, "4"+strings.Repeat("x", 99_998)), masked(continuation, "x"), masked(fin|continuation, "x")), nil, engineio.ErrMessageTooBig},
	{"good before bad", frames(masked(fin|textOp, "4a"), masked(fin|textOp, "y")), []string{"a"}, engineio.ErrMalformed},
}

const frameLimit = 100_000

func TestReadFrames(t *testing.T) {
	t.Parallel()
	for _, tc := range frameCases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			data := tc.wire
			if tc.err == nil {
				data = frames(data, masked(fin|closeOp, "\x03\xe8bye"))
			}
			for _, step := range []int{1, 3, 1000, len(data)} {
				messages, err := readAll(data, step, frameLimit)
				if !slices.Equal(messages, tc.messages) {
					t.Errorf("in steps of %d: got %.80q, want %.80q", step, messages, tc.messages)
				}
				var ce *engineio.CloseError
				if tc.err == nil && (!errors.As(err, &ce) || *ce != engineio.CloseError{Code: 1000, Reason: "bye"}) {
					t.Errorf("in steps of %d: ended with %v, want the close frame", step, err)
				}
				if tc.err != nil && !errors.Is(err, tc.err) {
					t.Errorf("in steps of %d: ended with %v, want %v", step, err, tc.err)
				}
			}
		})
	}
}

func TestReadFrames_CutOff(t *testing.T) {
	t.Parallel()
	whole := frames(masked(textOp, "4"+strings.Repeat("x", 200)), masked(fin|continuation, "y"))
	for n := range whole {
		messages, err := readAll(whole[:n], len(whole), frameLimit)
		var ce *engineio.CloseError
		if len(messages) != 0 || !errors.As(err, &ce) || ce.Code != 1006 {
			t.Errorf("after %d bytes: got %q, %v, want close error 1006", n, messages, err)
		}
	}
}

func FuzzReadFrames(f *testing.F) {
	for _, tc := range frameCases {
		if len(tc.wire) < 10_000 {
			f.Add(tc.wire, uint8(7))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		const limit = 10_000
		whole, wholeErr := readAll(data, max(1, len(data)), limit)
		if wholeErr == nil {
			t.Fatal("ended without an error")
		}
		for _, message := range whole {
			if len(message) > limit {
				t.Errorf("message of %d bytes", len(message))
			}
		}
		// How the network cuts the bytes must not matter.
		parts, partsErr := readAll(data, max(1, int(step)), limit)
		if !slices.Equal(whole, parts) || fmt.Sprint(wholeErr) != fmt.Sprint(partsErr) {
			t.Errorf("at once %q, %v; in steps of %d %q, %v", whole, wholeErr, step, parts, partsErr)
		}
	})
}

// TestClose_LastFrame: after the answer to a close frame, nothing comes, whoever sends at that moment.
func TestClose_LastFrame(t *testing.T) {
	t.Parallel()
	h := onLoopback(t, engineio.ServerConfig{SendQueueBytes: 64 << 20})
	at, err := url.Parse(h.url)
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", at.Host)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		r := bufio.NewReader(conn)
		if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%v, %v", resp, err)
		}
		session := receive(t, h.sessions, "a session")
		var senders sync.WaitGroup
		for range 4 {
			senders.Go(func() {
				for f := engineio.NewFrame([]byte("more")); session.Send(f) == nil; {
				}
			})
		}
		if _, err := conn.Write(masked(fin|closeOp, "\x03\xe8")); err != nil {
			t.Fatal(err)
		}
		for op := byte(0); op != fin|closeOp; {
			var header [2]byte
			if _, err := io.ReadFull(r, header[:]); err != nil {
				t.Fatal(err)
			}
			op = header[0]
			if _, err := r.Discard(int(header[1])); err != nil {
				t.Fatal(err)
			}
		}
		if rest, err := io.ReadAll(r); len(rest) > 0 {
			t.Fatalf("after the close frame comes %q, %v", rest[:min(len(rest), 20)], err)
		}
		senders.Wait()
		_ = conn.Close()
	}
}
