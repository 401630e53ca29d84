// SPDX-License-Identifier: Apache-2.0

package roomserver_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"github.com/classrec/classrec/server/internal/roomservertest"
)

// transcriptLine is one line of the captured session: what the vendor's web SDK or a reference server said.
type transcriptLine struct {
	Step   string
	Client string
	Kind   string
	ID     int // of the socket, within the client
	Method string
	Path   string
	Body   *string
	Status int
	Frame  string
}

// TestTranscript plays the captured session: what the SDK sent is sent, and what the reference server answered is
// compared, but for times, ids, sequence numbers and the port.
func TestTranscript(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"https", "http"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			var options []roomservertest.Option
			if scheme == "http" {
				options = append(options, roomservertest.Plain())
			}
			p := &player{t: t, server: roomservertest.New(t, options...), sockets: map[string]*playedSocket{}, replies: map[string][]string{}}
			for i, l := range readTranscript(t) {
				p.play(i+1, l)
			}
			for name, s := range p.sockets {
				p.settle(name, s)
				if len(s.got) > 0 {
					t.Errorf("%s: got more than expected: %s", name, s.got)
				}
				s.ws.Close()
			}
		})
	}
}

func readTranscript(t *testing.T) []transcriptLine {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "talkcloud", "testdata", "transcript.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines []transcriptLine
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var l transcriptLine
		if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	if err := scanner.Err(); err != nil || len(lines) == 0 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	return lines
}

type player struct {
	t       *testing.T
	server  *roomservertest.Server
	sockets map[string]*playedSocket
	replies map[string][]string // of HTTP calls, by client and path
}

type playedSocket struct {
	ws     *websocket.Conn
	expect []string // frames that are to come
	got    []string // frames that have come, and were not expected yet
}

func (p *player) play(number int, l transcriptLine) {
	p.t.Helper()
	name := l.Client + "/" + string(rune('0'+l.ID))
	s := p.sockets[name]
	switch l.Kind {
	case "http-req":
		key := l.Client + l.Path
		p.replies[key] = append(p.replies[key], p.call(l))
	case "http-resp":
		key := l.Client + l.Path
		p.compare(number, l.Path, *l.Body, p.replies[key][0])
		p.replies[key] = p.replies[key][1:]
	case "ws-open":
		dialer := websocket.Dialer{TLSClientConfig: p.server.TLSConfig()}
		url := "ws" + strings.TrimPrefix(p.server.URL, "http") + "/socket.io/?EIO=3&transport=websocket"
		ws, resp, err := dialer.DialContext(p.t.Context(), url, http.Header{"Origin": {"https://example.com"}})
		if err != nil {
			p.t.Fatalf("line %d: %v", number, err)
		}
		resp.Body.Close()
		p.sockets[name] = &playedSocket{ws: ws}
	case "ws-recv":
		s.expect = append(s.expect, l.Frame)
	case "ws-sent":
		p.settle(name, s)
		if err := s.ws.WriteMessage(websocket.TextMessage, []byte(l.Frame)); err != nil {
			p.t.Fatalf("line %d: %v", number, err)
		}
		// what the others send next comes after this: the captured clients were slower than we are
		head, _ := splitFrame(l.Frame)
		ack := "43" + strings.TrimPrefix(head, "42")
		for acked := false; !acked; {
			frame := p.read(name, s, ack)
			got, _ := splitFrame(frame)
			acked = got == ack
			s.got = append(s.got, frame)
		}
	case "ws-close":
		p.settle(name, s)
		s.ws.Close()
		delete(p.sockets, name)
	default:
		p.t.Fatalf("line %d: unknown kind %q", number, l.Kind)
	}
}

// settle reads the frames that a socket is to get.
func (p *player) settle(name string, s *playedSocket) {
	p.t.Helper()
	for _, want := range s.expect {
		if len(s.got) == 0 {
			s.got = append(s.got, p.read(name, s, want))
		}
		got := s.got[0]
		s.got = s.got[1:]
		wantHead, wantBody := splitFrame(want)
		gotHead, gotBody := splitFrame(got)
		if gotHead != wantHead {
			p.t.Fatalf("%s: got %s, want %s", name, got, want)
		}
		p.compare(0, name, wantBody, gotBody)
	}
	s.expect = nil
}

func (p *player) read(name string, s *playedSocket, want string) string {
	p.t.Helper()
	s.ws.SetReadDeadline(time.Now().Add(roomservertest.Patience))
	_, got, err := s.ws.ReadMessage()
	if err != nil {
		p.t.Fatalf("%s: waiting for %s: %v", name, want, err)
	}
	return string(got)
}

// splitFrame parts the packet type and ack id from the JSON.
func splitFrame(frame string) (head, body string) {
	i := strings.IndexAny(frame, "[{")
	if i < 0 {
		return frame, "null"
	}
	return frame[:i], frame[i:]
}

func (p *player) call(l transcriptLine) string {
	p.t.Helper()
	var body io.Reader
	if l.Body != nil {
		body = strings.NewReader(*l.Body)
	}
	req, err := http.NewRequestWithContext(p.t.Context(), l.Method, p.server.URL+l.Path+"?ts=1795375557000", body)
	if err != nil {
		p.t.Fatal(err)
	}
	if l.Body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded;charset=utf-8")
	}
	resp, err := p.server.HTTPClient().Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("%s: status %d, %v", l.Path, resp.StatusCode, err)
	}
	if origin := resp.Header.Get("Access-Control-Allow-Origin"); origin != "*" {
		p.t.Errorf("%s: allowed origin is %q", l.Path, origin)
	}
	return string(raw)
}

func (p *player) compare(number int, what, want, got string) {
	p.t.Helper()
	if diff := cmp.Diff(normal(p.t, want), normal(p.t, got)); diff != "" {
		p.t.Errorf("line %d, %s (-reference +ours):\n%s", number, what, diff)
	}
}

// normal decodes JSON, and replaces what differs between two runs by its type.
func normal(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	var walk func(any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
		case map[string]any:
			for key, value := range v {
				switch _, number := value.(float64); {
				case (key == "ts" || key == "seq" || key == "courseserverport") && number:
					v[key] = "a number"
				case key == "sid":
					v[key] = "an id"
				default:
					v[key] = walk(value)
				}
			}
		}
		return v
	}
	return walk(v)
}
