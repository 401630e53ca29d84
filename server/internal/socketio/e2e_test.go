// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package socketio_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/socketio"
)

// startNode starts a script of the reference implementation and returns the lines that it prints.
func startNode(t *testing.T, args ...string) <-chan string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", args...)
	cmd.Dir = nodeDir(t)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1024)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		stdin.Close()
		<-read
		cmd.Wait()
	})
	return lines
}

// awkward are arguments that go wrong easily.
func awkward() []any {
	return []any{"教室 \u2028 🎓 <&> \\ \"\u0000", strings.Repeat("长", 100<<10/3), map[string]any{"a": []any{nil, true, 1.5, ""}}, []any{}}
}

// same reports whether args are the JSON of want.
func same(t *testing.T, args []json.RawMessage, want []any) bool {
	t.Helper()
	return slices.EqualFunc(args, want, func(arg json.RawMessage, w any) bool {
		var got any
		if err := json.Unmarshal(arg, &got); err != nil {
			t.Errorf("%.40s: %v", arg, err)
		}
		return fmt.Sprint(got) == fmt.Sprint(w)
	})
}

func TestE2E_ClientToNode(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		server   string
		revision int
	}{{"2", 3}, {"4", 4}, {"4", 3}} {
		t.Run(fmt.Sprintf("server%s EIO%d", tc.server, tc.revision), func(t *testing.T) {
			t.Parallel()
			url := "http://127.0.0.1:" + receive(t, startNode(t, "server.js", tc.server), "the port")
			ctx := testContext(t)
			cfg := socketio.DialConfig{Revision: tc.revision}
			c, other := dial(t, url, cfg), dial(t, url, cfg)

			reply, err := c.Call(ctx, "echo", awkward()...)
			if err != nil || !same(t, reply, awkward()) {
				t.Errorf("echo gave %.200s, %v", reply, err)
			}

			if err := c.Emit(ctx, "question", "how are you"); err != nil {
				t.Fatal(err)
			}
			question := receive(t, c.Events(), "the question")
			if err := question.Ack("very well 👍"); err != nil {
				t.Fatal(err)
			}
			if got, want := text(receive(t, c.Events(), "the answer")), `answered("very well 👍")`; got != want {
				t.Errorf("got %s, want %s", got, want)
			}

			if err := c.Emit(ctx, "shout", awkward()...); err != nil {
				t.Fatal(err)
			}
			for _, client := range []*socketio.Client{c, other} {
				if ev := receive(t, client.Events(), "the shout"); ev.Name != "shouted" || !same(t, ev.Args, awkward()) {
					t.Errorf("got %.200s", text(ev))
				}
			}

			// Some ping intervals pass in silence.
			select {
			case ev := <-c.Events():
				t.Errorf("got %s, %v", text(ev), c.Err())
			case <-time.After(time.Second):
			}

			if err := other.Emit(ctx, "binary"); err != nil {
				t.Fatal(err)
			}
			receive(t, endOf(other), "the end")
			if !errors.Is(other.Err(), socketio.ErrBinary) {
				t.Errorf("a binary event ended the connection with %v, want %v", other.Err(), socketio.ErrBinary)
			}
			if got := receive(t, c.Events(), "the other's leaving"); got.Name != "left" {
				t.Errorf("got %s", text(got))
			}

			leaver := dial(t, url, cfg)
			if err := leaver.Close(); err != nil {
				t.Fatal(err)
			}
			if got, want := text(receive(t, c.Events(), "the leaver's leaving")), `left("client namespace disconnect")`; got != want {
				t.Errorf("got %s, want %s", got, want)
			}

			kicked := dial(t, url, cfg)
			if err := kicked.Emit(ctx, "kick"); err != nil {
				t.Fatal(err)
			}
			if got, want := text(receive(t, kicked.Events(), "the eviction")), `participantEvicted({"reason":1})`; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			receive(t, endOf(kicked), "the end")
			if !errors.Is(kicked.Err(), socketio.ErrDisconnected) {
				t.Errorf("the kick ended the connection with %v, want %v", kicked.Err(), socketio.ErrDisconnected)
			}

			dropped := dial(t, url, cfg)
			if err := dropped.Emit(ctx, "drop"); err != nil {
				t.Fatal(err)
			}
			receive(t, endOf(dropped), "the end")
			var ce *socketio.CloseError
			if !errors.As(dropped.Err(), &ce) {
				t.Errorf("the drop ended the connection with %v, want a CloseError", dropped.Err())
			}
			if _, err := dial(t, url, cfg).Call(ctx, "echo"); err != nil {
				t.Errorf("after connecting again: %v", err)
			}
		})
	}
}

// endOf gives a value when the connection has ended.
func endOf(c *socketio.Client) <-chan bool {
	ended := make(chan bool, 1)
	go func() {
		<-c.Done()
		ended <- true
	}()
	return ended
}

func TestE2E_NodeToServer(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"2", "4"} {
		t.Run("client"+version, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, socketio.ServerConfig{PingInterval: 300 * time.Millisecond, PingTimeout: 2 * time.Second}, nil)
			first, second := startNode(t, "client.js", version, h.url), startNode(t, "client.js", version, h.url)
			expect := func(lines <-chan string, want ...any) {
				t.Helper()
				text, err := json.Marshal(want)
				if err != nil {
					t.Fatal(err)
				}
				if got := receive(t, lines, string(text)); got != string(text) {
					t.Errorf("client says %.200s, want %.200s", got, text)
				}
			}
			// join takes a client through its first words.
			join := func() *peer {
				t.Helper()
				p := receive(t, h.peers, "a connection")
				hello := receive(t, p.events, "hello")
				if got, want := text(hello), fmt.Sprintf("hello(%q)", version); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
				if err := hello.Ack(0, "welcome 欢迎"); err != nil {
					t.Fatal(err)
				}
				return p
			}
			p, q := join(), join()
			for _, lines := range []<-chan string{first, second} {
				got := []string{receive(t, lines, "a line"), receive(t, lines, "a line"), receive(t, lines, "a line")}
				slices.Sort(got)
				if want := []string{`["ack",0,"welcome 欢迎"]`, `["connect"]`, `["refused","Invalid namespace"]`}; !slices.Equal(got, want) {
					t.Errorf("client says %s, want %s", got, want)
				}
			}

			reply, err := p.Call(testContext(t), "echo", awkward()...)
			if err != nil || !same(t, reply, awkward()) {
				t.Errorf("echo gave %.200s, %v", reply, err)
			}

			f, err := socketio.NewFrame("broadcast", "到所有人")
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range []*peer{p, q} {
				if err := c.Send(f); err != nil {
					t.Fatal(err)
				}
			}
			expect(first, "broadcast", "到所有人")
			expect(second, "broadcast", "到所有人")

			// Some ping intervals pass in silence.
			select {
			case err := <-p.closed:
				t.Errorf("the idle connection ended with %v", err)
			case <-time.After(time.Second):
			}

			// Which of the two is p does not matter: both are dropped, and come back.
			for _, c := range []*peer{p, q} {
				if err := c.Conn.Close(); err != nil {
					t.Fatal(err)
				}
				if err := receive(t, c.closed, "the end"); !errors.Is(err, socketio.ErrClosed) {
					t.Errorf("the drop ended the connection with %v, want %v", err, socketio.ErrClosed)
				}
			}
			p, q = join(), join()
			p.Disconnect("participantEvicted", map[string]any{"reason": 1})
			q.Disconnect("participantEvicted", map[string]any{"reason": 1})
			for _, lines := range []<-chan string{first, second} {
				for line := ""; !strings.Contains(line, "participantEvicted"); {
					line = receive(t, lines, "the eviction")
				}
				expect(lines, "disconnect", "io server disconnect")
			}
			receive(t, p.closed, "the end")
			receive(t, q.closed, "the end")
			select {
			case <-h.peers:
				t.Error("an evicted client came back")
			case <-time.After(500 * time.Millisecond):
			}
		})
	}
}
