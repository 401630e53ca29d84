// SPDX-License-Identifier: Apache-2.0

package socketio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/classrec/classrec/server/internal/socketio"
)

// raw is a WebSocket on which a test says what it likes.
type raw struct {
	t  *testing.T
	ws *websocket.Conn
}

func dialRaw(t *testing.T, url string, revision int) *raw {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.DialContext(testContext(t), fmt.Sprintf("%s/socket.io/?EIO=%d&transport=websocket", strings.Replace(url, "http", "ws", 1), revision), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	ws.SetReadDeadline(time.Now().Add(patience))
	r := &raw{t, ws}
	if open := r.read(); !strings.HasPrefix(open, `0{"sid":`) {
		t.Fatalf("first comes %q", open)
	}
	return r
}

func (r *raw) read() string {
	r.t.Helper()
	_, text, err := r.ws.ReadMessage()
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

func (r *raw) expect(want string) {
	r.t.Helper()
	if got := r.read(); got != want {
		r.t.Errorf("got %q, want %q", got, want)
	}
}

func (r *raw) expectClose(code int) {
	r.t.Helper()
	if _, text, err := r.ws.ReadMessage(); !websocket.IsCloseError(err, code) {
		r.t.Errorf("got %q, %v, want close code %d", text, err, code)
	}
}

func (r *raw) send(text string) {
	r.t.Helper()
	if err := r.ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		r.t.Fatal(err)
	}
}

// connect goes on to where the namespace is connected.
func (r *raw) connect(h *host, revision int) *peer {
	r.t.Helper()
	if revision == 3 {
		r.expect("40")
		return receive(r.t, h.peers, "the connection")
	}
	r.send("40")
	p := receive(r.t, h.peers, "the connection")
	r.expect(fmt.Sprintf(`40{"sid":%q}`, p.ID()))
	return p
}

func TestNamespaces(t *testing.T) {
	bothRevisions(t, func(t *testing.T, revision int) {
		t.Helper()
		h := newHost(t, socketio.ServerConfig{}, nil)
		r := dialRaw(t, h.url, revision)
		p := r.connect(h, revision)
		r.send("40/other?token=1,")
		if revision == 3 {
			r.expect(`44/other,"Invalid namespace"`)
		} else {
			r.expect(`44/other,{"message":"Invalid namespace"}`)
		}
		r.send(`42/other,["nobody hears this"]`)
		r.send(`41/other,`)
		r.send(`40`) // again
		r.send(`427["hello"]`)
		ev := receive(t, p.events, "the event")
		if got := text(ev); got != "hello()" {
			t.Errorf("got %s", got)
		}
		if err := ev.Ack("hi"); err != nil {
			t.Fatal(err)
		}
		r.expect(`437["hi"]`)
	})
}

func TestMalformed(t *testing.T) {
	bothRevisions(t, func(t *testing.T, revision int) {
		t.Helper()
		h := newHost(t, socketio.ServerConfig{}, echo)
		bystander := dial(t, h.url, socketio.DialConfig{Revision: revision})
		receive(t, h.peers, "the bystander")
		bad := map[string]string{"an error from a client": `4"x"`}
		for name, tc := range badPackets {
			if len(tc.enc) < 100_000 {
				bad[name] = tc.enc
			}
		}
		for name, enc := range badEvents {
			bad[name] = enc
		}
		for name, enc := range bad {
			r := dialRaw(t, h.url, revision)
			p := r.connect(h, revision)
			r.send("4" + enc)
			err := receive(t, p.closed, "the end")
			code := 1007
			if errors.Is(err, socketio.ErrBinary) {
				code = 1003
			} else if !errors.Is(err, socketio.ErrMalformed) {
				t.Errorf("%s: ended with %v", name, err)
			}
			r.expectClose(code)
		}
		if _, err := bystander.Call(testContext(t), "still there?"); err != nil {
			t.Errorf("the bystander: %v", err)
		}
	})
}

func TestTooBig(t *testing.T) {
	bothRevisions(t, func(t *testing.T, revision int) {
		t.Helper()
		h := newHost(t, socketio.ServerConfig{MaxMessageBytes: 10_000}, echo)
		c := dial(t, h.url, socketio.DialConfig{Revision: revision, MaxMessageBytes: 5_000})
		p := receive(t, h.peers, "the connection")
		if _, err := c.Call(testContext(t), "fits", strings.Repeat("x", 4_000)); err != nil {
			t.Fatal(err)
		}
		if err := c.Emit(t.Context(), "too big", strings.Repeat("x", 10_000)); err != nil {
			t.Fatal(err)
		}
		if err := receive(t, p.closed, "the server's end"); !errors.Is(err, socketio.ErrMessageTooBig) {
			t.Errorf("server's end: %v", err)
		}
		<-c.Done()
		var ce *socketio.CloseError
		if !errors.As(c.Err(), &ce) || ce.Code != 1009 {
			t.Errorf("client's end: %v, want close code 1009", c.Err())
		}

		c = dial(t, h.url, socketio.DialConfig{Revision: revision, MaxMessageBytes: 5_000})
		p = receive(t, h.peers, "the connection")
		if err := p.Emit("too big", strings.Repeat("x", 5_000)); err != nil {
			t.Fatal(err)
		}
		<-c.Done()
		if !errors.Is(c.Err(), socketio.ErrMessageTooBig) {
			t.Errorf("client's end: %v", c.Err())
		}
		receive(t, p.closed, "the server's end")
	})
}

func TestRefused(t *testing.T) {
	bothRevisions(t, func(t *testing.T, revision int) {
		t.Helper()
		h := newHost(t, socketio.ServerConfig{}, nil)
		_, err := socketio.Dial(testContext(t), socketio.DialConfig{URL: h.url + "/socket.io/?refuse=full", Revision: revision})
		var re *socketio.RefusedError
		if !errors.As(err, &re) || re.Message != "full" {
			t.Errorf("got %v, want a refusal", err)
		}
		web := httptest.NewServer(http.NotFoundHandler())
		defer web.Close()
		_, err = socketio.Dial(testContext(t), socketio.DialConfig{URL: web.URL, Revision: revision})
		var he *socketio.ResponseError
		if !errors.As(err, &he) || he.Status != http.StatusNotFound {
			t.Errorf("got %v, want status 404", err)
		}
	})
}

// TestNoConnect: in revision 4 the client has to ask for the namespace, and before anything else.
func TestNoConnect(t *testing.T) {
	t.Parallel()
	h := newHost(t, socketio.ServerConfig{HandshakeTimeout: 50 * time.Millisecond}, nil)
	dialRaw(t, h.url, 4).expectEnd()
	r := dialRaw(t, h.url, 4)
	r.send(`42["early"]`)
	r.expectClose(1007)
	if len(h.peers) != 0 {
		t.Error("a connection was accepted")
	}
}

// expectEnd expects the connection to be cut.
func (r *raw) expectEnd() {
	r.t.Helper()
	if _, text, err := r.ws.ReadMessage(); !websocket.IsUnexpectedCloseError(err) {
		r.t.Errorf("got %q, %v, want the end", text, err)
	}
}

// TestDisconnect: the last event arrives, then the disconnect, and the client knows that it was meant.
func TestDisconnect(t *testing.T) {
	bothRevisions(t, func(t *testing.T, revision int) {
		t.Helper()
		h := newHost(t, socketio.ServerConfig{}, nil)
		c := dial(t, h.url, socketio.DialConfig{Revision: revision})
		p := receive(t, h.peers, "the connection")
		calls := make(chan error, 1)
		go func() {
			_, err := p.Call(t.Context(), "never answered")
			calls <- err
		}()
		receive(t, c.Events(), "the question")
		p.Disconnect("participantEvicted", map[string]int{"reason": 400})
		p.Disconnect("again")
		if err := p.Emit("late"); !errors.Is(err, socketio.ErrClosed) {
			t.Errorf("emit after disconnect: %v", err)
		}
		if got, want := text(receive(t, c.Events(), "the last event")), `participantEvicted({"reason":400})`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if ev, ok := <-c.Events(); ok {
			t.Errorf("got %s after the last event", text(ev))
		}
		<-c.Done()
		if !errors.Is(c.Err(), socketio.ErrDisconnected) {
			t.Errorf("client's end: %v, want %v", c.Err(), socketio.ErrDisconnected)
		}
		if err := receive(t, p.closed, "the server's end"); !errors.Is(err, socketio.ErrClosed) {
			t.Errorf("server's end: %v, want %v", err, socketio.ErrClosed)
		}
		if err := receive(t, calls, "the end of the call"); !errors.Is(err, socketio.ErrClosed) {
			t.Errorf("call ended with %v, want %v", err, socketio.ErrClosed)
		}
		if _, err := c.Call(t.Context(), "late"); !errors.Is(err, socketio.ErrDisconnected) {
			t.Errorf("call after the end: %v", err)
		}
	})
}

// TestCall_Timeout: an answer that comes too late, or to no question, does no harm.
func TestCall_Timeout(t *testing.T) {
	bothRevisions(t, func(t *testing.T, revision int) {
		t.Helper()
		h := newHost(t, socketio.ServerConfig{}, nil)
		c := dial(t, h.url, socketio.DialConfig{Revision: revision})
		p := receive(t, h.peers, "the connection")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := c.Call(ctx, "slow")
			ended <- err
		}()
		slow := receive(t, p.events, "the question")
		cancel()
		if err := receive(t, ended, "the end of the call"); !errors.Is(err, context.Canceled) {
			t.Errorf("call ended with %v", err)
		}
		if err := slow.Ack("too late"); err != nil {
			t.Fatal(err)
		}
		go func() {
			reply, err := c.Call(t.Context(), "quick")
			if len(reply) != 1 || string(reply[0]) != `"in time"` {
				err = fmt.Errorf("reply is %s, %w", reply, err)
			}
			ended <- err
		}()
		if err := receive(t, p.events, "the second question").Ack("in time"); err != nil {
			t.Fatal(err)
		}
		if err := receive(t, ended, "the answer"); err != nil {
			t.Error(err)
		}
	})
}

// TestEventQueueFull: who does not take events loses the connection, and can still take those that came before.
func TestEventQueueFull(t *testing.T) {
	bothRevisions(t, func(t *testing.T, revision int) {
		t.Helper()
		h := newHost(t, socketio.ServerConfig{}, nil)
		c := dial(t, h.url, socketio.DialConfig{Revision: revision, EventQueue: 10})
		p := receive(t, h.peers, "the connection")
		for i := range 11 {
			if err := p.Emit("event", i); err != nil {
				t.Fatal(err)
			}
		}
		<-c.Done()
		if !errors.Is(c.Err(), socketio.ErrEventQueueFull) {
			t.Errorf("ended with %v, want %v", c.Err(), socketio.ErrEventQueueFull)
		}
		n := 0
		for ev := range c.Events() {
			if want := fmt.Sprintf("event(%d)", n); text(ev) != want {
				t.Errorf("got %s, want %s", text(ev), want)
			}
			n++
		}
		if n != 10 {
			t.Errorf("got %d events, want 10", n)
		}
		receive(t, p.closed, "the server's end")
	})
}

func TestNotEncodable(t *testing.T) {
	t.Parallel()
	h := newHost(t, socketio.ServerConfig{}, echo)
	c := dial(t, h.url, socketio.DialConfig{})
	if err := c.Emit(t.Context(), "x", 1, make(chan int)); err == nil || !strings.Contains(err.Error(), "argument 2") {
		t.Errorf("emit of a channel: %v", err)
	}
	if _, err := c.Call(testContext(t), "x", json.RawMessage("{")); err == nil {
		t.Error("call with half a JSON succeeded")
	}
	if _, err := c.Call(testContext(t), "x"); err != nil {
		t.Errorf("the connection has suffered: %v", err)
	}
}

// TestManyCallers: many goroutines of many connections call, both ways, and get their own answers.
func TestManyCallers(t *testing.T) {
	bothRevisions(t, func(t *testing.T, revision int) {
		t.Helper()
		h := newHost(t, socketio.ServerConfig{}, echo)
		var wg sync.WaitGroup
		ctx := testContext(t)
		check := func(call func(context.Context, string, ...any) ([]json.RawMessage, error), who string) {
			for i := range 50 {
				want := fmt.Sprintf("%s-%d", who, i)
				reply, err := call(ctx, "echo", want)
				if err != nil || len(reply) != 1 || string(reply[0]) != `"`+want+`"` {
					t.Errorf("%s got %s, %v", want, reply, err)
					return
				}
			}
		}
		for i := range 5 {
			c := dial(t, h.url, socketio.DialConfig{Revision: revision})
			p := receive(t, h.peers, "a connection")
			wg.Go(func() {
				for ev := range c.Events() {
					if err := ev.Ack(ev.Args[0]); err != nil {
						t.Error(err)
					}
				}
			})
			var calls sync.WaitGroup
			for j := range 4 {
				calls.Go(func() { check(c.Call, fmt.Sprintf("c%d-%d", i, j)) })
				calls.Go(func() { check(p.Call, fmt.Sprintf("s%d-%d", i, j)) })
			}
			wg.Go(func() {
				calls.Wait()
				c.Close()
			})
		}
		wg.Wait()
	})
}
