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
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/socketio"
)

// patience is how long a test waits for what has to come; it is only used up by a test that fails.
const patience = 20 * time.Second

// bothRevisions runs a test for each revision.
func bothRevisions(t *testing.T, test func(t *testing.T, revision int)) {
	t.Helper()
	t.Parallel()
	for _, revision := range []int{3, 4} {
		t.Run(fmt.Sprintf("EIO%d", revision), func(t *testing.T) {
			t.Parallel()
			test(t, revision)
		})
	}
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// peer is a server's connection whose events and end a test looks at.
type peer struct {
	*socketio.Conn
	events chan socketio.Event
	closed chan error
	handle func(*peer, socketio.Event) // instead of events
}

func (p *peer) Event(ev socketio.Event) {
	if p.handle != nil {
		p.handle(p, ev)
		return
	}
	p.events <- ev
}

func (p *peer) Close(err error) { p.closed <- err }

// host is a server under test, on a port of the loopback.
type host struct {
	*socketio.Server
	url   string
	peers chan *peer
}

func newHost(t testing.TB, cfg socketio.ServerConfig, handle func(*peer, socketio.Event)) *host {
	t.Helper()
	h := &host{peers: make(chan *peer, 1024)}
	h.Server = socketio.NewServer(cfg, func(c *socketio.Conn, r *http.Request) (socketio.Handler, error) {
		if refusal := r.URL.Query().Get("refuse"); refusal != "" {
			return nil, errors.New(refusal)
		}
		p := &peer{Conn: c, events: make(chan socketio.Event, 1024), closed: make(chan error, 2), handle: handle}
		h.peers <- p
		return p, nil
	})
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", h.Server)
	web := httptest.NewServer(mux)
	h.url = web.URL
	t.Cleanup(func() {
		web.Close()
		h.Close()
	})
	return h
}

// echo answers every event that wants an answer with its arguments, and "shout" with an event.
func echo(p *peer, ev socketio.Event) {
	args := make([]any, len(ev.Args))
	for i, arg := range ev.Args {
		args[i] = arg
	}
	switch {
	case ev.Ack != nil:
		ev.Ack(args...)
	case ev.Name == "shout":
		p.Emit("echo", args...)
	}
}

func dial(t testing.TB, url string, cfg socketio.DialConfig) *socketio.Client {
	t.Helper()
	cfg.URL = url
	c, err := socketio.Dial(testContext(t), cfg)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// receive takes one value from a channel that has to give one.
func receive[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v, ok := <-c:
		if !ok {
			t.Fatalf("waiting for %s: channel closed", what)
		}
		return v
	case <-time.After(patience):
		t.Fatalf("waiting for %s: nothing came", what)
		var none T
		return none
	}
}

// text is an event as one line.
func text(ev socketio.Event) string {
	args := make([]string, len(ev.Args))
	for i, arg := range ev.Args {
		args[i] = string(arg)
	}
	return ev.Name + "(" + strings.Join(args, ", ") + ")"
}

func TestRoundTrip(t *testing.T) {
	bothRevisions(t, func(t *testing.T, revision int) {
		t.Helper()
		h := newHost(t, socketio.ServerConfig{}, nil)
		c := dial(t, h.url, socketio.DialConfig{Revision: revision})
		p := receive(t, h.peers, "the connection")
		if p.Revision() != revision || p.ID() != c.ID() || p.RemoteAddr() == "" {
			t.Errorf("server sees revision %d, id %q, address %q; client has %d, %q", p.Revision(), p.ID(), p.RemoteAddr(), revision, c.ID())
		}

		if err := c.Emit(t.Context(), "hello", 1, "<教室 \u2028 🎓>", map[string]any{"a": nil}); err != nil {
			t.Fatal(err)
		}
		ev := receive(t, p.events, "the event")
		if got, want := text(ev), `hello(1, "<教室 \u2028 🎓>", {"a":null})`; got != want || ev.Ack != nil {
			t.Errorf("server got %s (ack wanted: %t), want %s", got, ev.Ack != nil, want)
		}

		type reply struct {
			args []json.RawMessage
			err  error
		}
		replies := make(chan reply, 1)
		go func() {
			args, err := c.Call(t.Context(), "ask")
			replies <- reply{args, err}
		}()
		ask := receive(t, p.events, "the question")
		if err := ask.Ack(0, "yes"); err != nil {
			t.Fatal(err)
		}
		if err := ask.Ack("again"); !errors.Is(err, socketio.ErrAcked) {
			t.Errorf("second answer: %v, want %v", err, socketio.ErrAcked)
		}
		if r := receive(t, replies, "the answer"); r.err != nil || fmt.Sprintf("%s", r.args) != `[0 "yes"]` {
			t.Errorf("answer is %s, %v", r.args, r.err)
		}

		go func() {
			args, err := p.Call(t.Context(), "and you", true)
			replies <- reply{args, err}
		}()
		question := receive(t, c.Events(), "the server's question")
		if got, want := text(question), `and you(true)`; got != want {
			t.Errorf("client got %s, want %s", got, want)
		}
		if err := question.Ack(); err != nil {
			t.Fatal(err)
		}
		if r := receive(t, replies, "the client's answer"); r.err != nil || len(r.args) != 0 {
			t.Errorf("answer is %s, %v", r.args, r.err)
		}

		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if err := receive(t, p.closed, "the end"); !errors.Is(err, socketio.ErrDisconnected) {
			t.Errorf("connection ended with %v, want %v", err, socketio.ErrDisconnected)
		}
		if err := c.Emit(t.Context(), "late"); !errors.Is(err, socketio.ErrClosed) {
			t.Errorf("emit after close: %v, want %v", err, socketio.ErrClosed)
		}
		if err := p.Emit("late"); !errors.Is(err, socketio.ErrDisconnected) {
			t.Errorf("emit to who has left: %v, want %v", err, socketio.ErrDisconnected)
		}
	})
}

func TestBroadcast(t *testing.T) {
	t.Parallel()
	h := newHost(t, socketio.ServerConfig{}, nil)
	var clients []*socketio.Client
	var peers []*peer
	for i := range 10 {
		clients = append(clients, dial(t, h.url, socketio.DialConfig{Revision: 3 + i%2}))
		peers = append(peers, receive(t, h.peers, "a connection"))
	}
	const frames = 200
	for i := range frames {
		f, err := socketio.NewFrame("tick", i)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range peers {
			if err := p.Send(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range clients {
		for i := range frames {
			if got, want := text(receive(t, c.Events(), "a tick")), fmt.Sprintf("tick(%d)", i); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	}
}
