// SPDX-License-Identifier: Apache-2.0

package engineio_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/classrec/classrec/server/internal/engineio"
)

// patience is how long a test on a real network waits for what has to come; it is only used up by a test that fails.
const patience = 20 * time.Second

// session is a server's connection that a test looks at.
type session struct {
	*engineio.Conn
	messages chan string
	closed   chan error
}

func (s *session) Message(message []byte) error {
	s.messages <- string(message)
	return nil
}

func (s *session) Close(err error) { s.closed <- err }

// host is a server whose sessions a test looks at.
type host struct {
	*engineio.Server
	sessions chan *session
	url      string
	dial     func(ctx context.Context, network, addr string) (net.Conn, error)
}

func newHost(t *testing.T, cfg engineio.ServerConfig, listener net.Listener) *host {
	t.Helper()
	h := &host{sessions: make(chan *session, 100)}
	h.Server = engineio.NewServer(cfg, func(c *engineio.Conn, _ *http.Request) engineio.Session {
		s := &session{Conn: c, messages: make(chan string, 1000), closed: make(chan error, 2)}
		h.sessions <- s
		return s
	})
	web := &http.Server{Handler: h.Server}
	var served sync.WaitGroup
	served.Go(func() { _ = web.Serve(listener) })
	h.url = "http://" + listener.Addr().String()
	t.Cleanup(func() {
		h.Close()
		web.Close()
		served.Wait()
	})
	return h
}

func onLoopback(t *testing.T, cfg engineio.ServerConfig) *host {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newHost(t, cfg, listener)
}

// pipes is a listener whose connections are in memory, so that time may be virtual.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func inMemory(t *testing.T) *host {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	h := newHost(t, engineio.ServerConfig{}, p)
	h.dial = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		p.conns <- theirs
		return ours, nil
	}
	return h
}

// client is a client's connection that a test looks at.
type client struct {
	*engineio.Conn
	messages chan string
	closed   chan error
}

func (h *host) connect(t *testing.T, rev engineio.Revision) (*client, *session) {
	t.Helper()
	conn, err := engineio.Dial(t.Context(), engineio.DialConfig{URL: h.url, Revision: rev, NetDialContext: h.dial, SendQueueBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	c := &client{Conn: conn, messages: make(chan string, 1000), closed: make(chan error, 1)}
	go func() {
		c.closed <- conn.Serve(func(message []byte) error {
			c.messages <- string(message)
			return nil
		})
	}()
	return c, <-h.sessions
}

// mute connects with a client that does nothing by itself.
func (h *host) mute(t *testing.T, rev engineio.Revision) (*websocket.Conn, *session) {
	t.Helper()
	dialer := websocket.Dialer{NetDialContext: h.dial}
	ws, _, err := dialer.Dial(strings.Replace(h.url, "http", "ws", 1)+fmt.Sprintf("/?EIO=%d&transport=websocket", rev), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	return ws, receive(t, h.sessions, "a session")
}

func receive[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waiting for %s: nothing came", what)
		var none T
		return none
	}
}

var revisions = []engineio.Revision{engineio.Revision3, engineio.Revision4}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	for _, rev := range revisions {
		synctest.Test(t, func(t *testing.T) {
			h := inMemory(t)
			c, s := h.connect(t, rev)
			time.Sleep(time.Hour)
			synctest.Wait()
			if c.Err() != nil || s.Err() != nil {
				t.Errorf("revision %d: after a quiet hour the client has %v, the server %v", rev, c.Err(), s.Err())
			}
			if err := s.Send(engineio.NewFrame([]byte("still there"))); err != nil {
				t.Error(err)
			}
			if got := <-c.messages; got != "still there" {
				t.Errorf("revision %d: got %q", rev, got)
			}
			c.Close(nil, 1000, "bye")
			var ce *engineio.CloseError
			if err := <-s.closed; !errors.As(err, &ce) || *ce != (engineio.CloseError{Code: 1000, Reason: "bye"}) {
				t.Errorf("revision %d: server's end is %v", rev, err)
			}
			if err := <-c.closed; !errors.Is(err, engineio.ErrClosed) {
				t.Errorf("revision %d: client's end is %v", rev, err)
			}
		})
	}
}

// TestSilentPeer: a peer from which nothing is heard is dropped after ping interval plus ping timeout, by either end.
func TestSilentPeer(t *testing.T) {
	t.Parallel()
	const limit = engineio.DefaultPingInterval + engineio.DefaultPingTimeout
	for _, rev := range revisions {
		synctest.Test(t, func(t *testing.T) {
			h := inMemory(t)
			began := time.Now()
			ws, s := h.mute(t, rev)
			pings := 0
			for {
				_, text, err := ws.ReadMessage()
				if err != nil {
					break
				}
				if string(text) == "2" {
					pings++
				}
			}
			err := <-s.closed
			if took := time.Since(began); !errors.Is(err, engineio.ErrPingTimeout) || took < limit || took > limit+2*time.Second {
				t.Errorf("revision %d: server dropped the client after %v with %v", rev, took, err)
			}
			if want := int(rev) - 3; pings != want {
				t.Errorf("revision %d: the server pinged %d times, want %d", rev, pings, want)
			}
		})
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			go func() { // a server that says nothing after the open packet
				ws, err := upgrade(theirs)
				if err != nil {
					t.Error(err)
					return
				}
				ws.WriteMessage(websocket.TextMessage, []byte(`0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":5000}`))
				io.Copy(io.Discard, theirs)
				ws.Close()
			}()
			began := time.Now()
			conn, err := engineio.Dial(t.Context(), engineio.DialConfig{URL: "http://x", Revision: rev, NetDialContext: func(context.Context, string, string) (net.Conn, error) {
				return ours, nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			err = conn.Serve(func([]byte) error { return nil })
			if took := time.Since(began); !errors.Is(err, engineio.ErrPingTimeout) || took != limit {
				t.Errorf("revision %d: client dropped the server after %v with %v", rev, took, err)
			}
		})
	}
}

// upgrade makes the server's end of a WebSocket of one end of a pipe.
func upgrade(nc net.Conn) (*websocket.Conn, error) {
	p := &pipes{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
	p.conns <- nc
	upgraded := make(chan *websocket.Conn, 1)
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err == nil {
			upgraded <- ws
		}
	})}
	go func() { _ = web.Serve(p) }() // until the end of this function
	ws := <-upgraded
	return ws, web.Close()
}

// TestStuckWrite: a peer that does not read is cut when one write takes longer than the write timeout, though its queue has room.
func TestStuckWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := inMemory(t)
		_, s := h.mute(t, engineio.Revision3)
		began := time.Now()
		if err := s.Send(engineio.NewFrame([]byte("unread"))); err != nil {
			t.Fatal(err)
		}
		err := <-s.closed
		took := time.Since(began)
		if !errors.Is(err, engineio.ErrSlowPeer) || took < engineio.DefaultWriteTimeout || took > engineio.DefaultWriteTimeout+2*time.Second {
			t.Errorf("cut after %v with %v", took, err)
		}
	})
}

func TestExpect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := inMemory(t)
		c, s := h.connect(t, engineio.Revision4)
		s.Expect(3 * time.Second)
		time.Sleep(2 * time.Second)
		s.Expect(0)
		time.Sleep(10 * time.Second)
		if err := s.Err(); err != nil {
			t.Fatalf("ended with %v", err)
		}
		s.Expect(3 * time.Second)
		if err := <-s.closed; !errors.Is(err, engineio.ErrHandshakeTimeout) {
			t.Errorf("ended with %v, want %v", err, engineio.ErrHandshakeTimeout)
		}
		<-c.closed
	})
}

// TestServer_Close: a server closes also with a peer that reads and answers nothing.
func TestServer_Close(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := inMemory(t)
		c, s := h.connect(t, engineio.Revision3)
		_, dead := h.mute(t, engineio.Revision3)
		began := time.Now()
		h.Close()
		if took := time.Since(began); took > engineio.DefaultWriteTimeout+2*time.Second {
			t.Errorf("Close took %v", took)
		}
		if err := <-s.closed; !errors.Is(err, engineio.ErrClosed) {
			t.Errorf("session ended with %v", err)
		}
		if err := <-dead.closed; !errors.Is(err, engineio.ErrClosed) {
			t.Errorf("the dead peer's session ended with %v", err)
		}
		var ce *engineio.CloseError
		if err := <-c.closed; !errors.As(err, &ce) || ce.Code != 1001 {
			t.Errorf("client ended with %v, want close code 1001", err)
		}
		if n := h.Len(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
		if _, err := engineio.Dial(t.Context(), engineio.DialConfig{URL: h.url, NetDialContext: h.dial}); err == nil {
			t.Error("a closed server takes connections")
		}
	})
}

func TestDial_Timeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		go func() {
			ws, err := upgrade(theirs)
			if err == nil {
				io.Copy(io.Discard, theirs)
				ws.Close()
			}
		}()
		began := time.Now()
		_, err := engineio.Dial(t.Context(), engineio.DialConfig{URL: "http://x", NetDialContext: func(context.Context, string, string) (net.Conn, error) {
			return ours, nil
		}})
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != engineio.DefaultHandshakeTimeout {
			t.Errorf("gave up after %v with %v", took, err)
		}
	})
}

func TestServeHTTP_Refusals(t *testing.T) {
	t.Parallel()
	h := onLoopback(t, engineio.ServerConfig{CheckOrigin: func(r *http.Request) bool { return r.Header.Get("Origin") != "http://evil" }})
	for query, want := range map[string]string{
		"EIO=2&transport=websocket":       `{"code":5,"message":"Unsupported protocol version"}`,
		"transport=websocket":             `{"code":5,"message":"Unsupported protocol version"}`,
		"EIO=3&transport=polling":         `{"code":0,"message":"Transport unknown"}`,
		"EIO=4":                           `{"code":0,"message":"Transport unknown"}`,
		"EIO=4&transport=websocket&sid=x": `{"code":1,"message":"Session ID unknown"}`,
		"EIO=4&transport=websocket":       "Bad Request", // not an upgrade
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/socket.io/?"+query, nil))
		if got := strings.TrimSpace(w.Body.String()); w.Code != http.StatusBadRequest || got != want {
			t.Errorf("%s: got %d %s, want 400 %s", query, w.Code, got, want)
		}
	}
	_, err := engineio.Dial(t.Context(), engineio.DialConfig{URL: h.url, Header: http.Header{"Origin": {"http://evil"}}})
	var re *engineio.ResponseError
	if !errors.As(err, &re) || re.Status != http.StatusForbidden {
		t.Errorf("foreign origin: %v, want status 403", err)
	}
}

func TestDial_Refusals(t *testing.T) {
	t.Parallel()
	for _, cfg := range []engineio.DialConfig{{URL: "ftp://x"}, {URL: "://"}, {URL: "http://x", Revision: 2}} {
		if c, err := engineio.Dial(t.Context(), cfg); err == nil {
			t.Errorf("%+v: got %v", cfg, c)
		}
	}
	for name, open := range map[string]string{
		"not open": "40", "no JSON": "0{", "no sid": `0{"pingInterval":1,"pingTimeout":1}`, "empty": "",
	} {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
			if err != nil {
				return
			}
			ws.WriteMessage(websocket.TextMessage, []byte(open))
			ws.ReadMessage()
			ws.Close()
		}))
		if _, err := engineio.Dial(t.Context(), engineio.DialConfig{URL: web.URL}); !errors.Is(err, engineio.ErrMalformed) {
			t.Errorf("%s: got %v, want %v", name, err, engineio.ErrMalformed)
		}
		web.Close()
	}
}

// TestSlowReader: a peer that does not read loses its connection when its queue is full, and slows nobody.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	h := onLoopback(t, engineio.ServerConfig{})
	_, slow := h.mute(t, engineio.Revision3)
	reader, fast := h.connect(t, engineio.Revision3)
	f := engineio.NewFrame([]byte(strings.Repeat("x", 64<<10)))
	sent, err := 0, error(nil)
	for ; err == nil && sent < 10_000; sent++ {
		began := time.Now()
		err = slow.Send(f)
		if took := time.Since(began); took > 5*time.Second {
			t.Fatalf("Send took %v", took)
		}
		if sent%100 == 0 {
			if err := fast.Send(engineio.NewFrame([]byte("prompt"))); err != nil {
				t.Fatal(err)
			}
			receive(t, reader.messages, "the other's message")
		}
	}
	if !errors.Is(err, engineio.ErrSlowPeer) {
		t.Errorf("after %d frames: %v, want %v", sent, err, engineio.ErrSlowPeer)
	}
	if err := receive(t, slow.closed, "the end"); !errors.Is(err, engineio.ErrSlowPeer) {
		t.Errorf("ended with %v, want %v", err, engineio.ErrSlowPeer)
	}
	reader.Cut(nil)
	receive(t, reader.closed, "the end")
}

// TestBadInput: what breaks the protocol closes its connection with a code that says so, and no other.
func TestBadInput(t *testing.T) {
	t.Parallel()
	h := onLoopback(t, engineio.ServerConfig{MaxMessageBytes: 1000})
	bystander, s := h.connect(t, engineio.Revision4)
	for _, tc := range []struct {
		name string
		send []byte
		code int
		err  error
	}{
		{"unknown packet", masked(fin|textOp, "x"), 1007, engineio.ErrMalformed},
		{"binary", masked(fin|binaryOp, "\x00"), 1003, engineio.ErrBinary},
		{"too big", masked(fin|textOp, "4"+strings.Repeat("x", 5000)), 1009, engineio.ErrMessageTooBig},
		{"bad frame", []byte{0xff, 0xff}, 1002, engineio.ErrMalformed},
		{"ping from a client of revision 4", masked(fin|textOp, "2"), 1007, engineio.ErrMalformed},
	} {
		ws, bad := h.mute(t, engineio.Revision4)
		if _, err := ws.NetConn().Write(tc.send); err != nil {
			t.Fatal(err)
		}
		var err error
		for err == nil {
			_, _, err = ws.ReadMessage()
		}
		if !websocket.IsCloseError(err, tc.code) {
			t.Errorf("%s: peer sees %v, want code %d", tc.name, err, tc.code)
		}
		if err := receive(t, bad.closed, "the end"); !errors.Is(err, tc.err) {
			t.Errorf("%s: ended with %v, want %v", tc.name, err, tc.err)
		}
	}
	if err := bystander.Send(engineio.NewFrame([]byte("unharmed"))); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, s.messages, "the bystander's message"); got != "unharmed" {
		t.Errorf("got %q", got)
	}
	bystander.Cut(nil)
	receive(t, bystander.closed, "the end")
}

// TestOrder: messages arrive whole and in order while many goroutines send on many connections.
func TestOrder(t *testing.T) {
	t.Parallel()
	h := onLoopback(t, engineio.ServerConfig{SendQueueBytes: 64 << 20})
	const conns, count = 8, 500
	var wg sync.WaitGroup
	for range conns {
		c, s := h.connect(t, engineio.Revision3)
		for _, way := range []struct {
			from *engineio.Conn
			to   chan string
		}{{c.Conn, s.messages}, {s.Conn, c.messages}} {
			wg.Go(func() {
				for i := range count {
					if err := way.from.Send(engineio.NewFrame([]byte(fmt.Sprint(i, strings.Repeat(".", i*37%5000))))); err != nil {
						t.Error(err)
						return
					}
				}
			})
			wg.Go(func() {
				for i := range count {
					want := fmt.Sprint(i, strings.Repeat(".", i*37%5000))
					select {
					case got := <-way.to:
						if got != want {
							t.Errorf("got %.20q, want %.20q", got, want)
							return
						}
					case <-time.After(patience):
						t.Errorf("message %d did not come", i)
						return
					}
				}
			})
		}
		t.Cleanup(func() {
			c.Cut(nil)
			receive(t, c.closed, "the end")
		})
	}
	wg.Wait()
}

// TestLargeFrame: a frame that the network does not take at once arrives whole, and what is sent behind it after it.
func TestLargeFrame(t *testing.T) {
	t.Parallel()
	h := onLoopback(t, engineio.ServerConfig{SendQueueBytes: 32 << 20})
	ws, s := h.mute(t, engineio.Revision3)
	if err := ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("0123456789abcdef", 1<<20)
	for _, message := range []string{large, "behind"} {
		if err := s.Send(engineio.NewFrame([]byte(message))); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []string{"", "4" + large, "4behind"} {
		if _, got, err := ws.ReadMessage(); err != nil || i > 0 && string(got) != want {
			t.Fatalf("message %d: got %d bytes, %v, want %d", i, len(got), err, len(want))
		}
	}
}

// TestPing: pings of WebSocket itself are answered, and those of revision 3 with their data.
func TestPing(t *testing.T) {
	t.Parallel()
	h := onLoopback(t, engineio.ServerConfig{})
	ws, _ := h.mute(t, engineio.Revision3)
	pong := make(chan string, 1)
	ws.SetPongHandler(func(data string) error {
		pong <- data
		return nil
	})
	for _, text := range []string{"2", "2probe"} {
		if err := ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := ws.WriteControl(websocket.PingMessage, []byte("are you there"), time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var got []string
	for len(got) < 3 {
		_, text, err := ws.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(text))
		if len(got) == 3 {
			ws.NetConn().SetReadDeadline(time.Now().Add(patience))
		}
	}
	if got[1] != "3" || got[2] != "3probe" {
		t.Errorf("got %q", got)
	}
	go func() { _, _, _ = ws.ReadMessage() }() // which finds the pong
	if data := receive(t, pong, "the pong"); data != "are you there" {
		t.Errorf("pong is %q", data)
	}
}
