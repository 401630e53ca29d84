// SPDX-License-Identifier: Apache-2.0

package roomserver_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/classrec/classrec/server/internal/roomserver"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// rawPeer is a WebSocket on which a test writes what it likes.
type rawPeer struct {
	t  *testing.T
	ws *websocket.Conn
}

// dialRaw connects with a revision of engine.io, up to before joinRoom. Nothing has been read yet.
func dialRaw(t *testing.T, s *roomservertest.Server, revision string) *rawPeer {
	t.Helper()
	dialer := websocket.Dialer{TLSClientConfig: s.TLSConfig()}
	dialer.NetDial = func(network, addr string) (net.Conn, error) {
		c, err := net.Dial(network, addr)
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(4096) // so that who does not read is noticed soon
		}
		return c, err
	}
	url := "ws" + strings.TrimPrefix(s.URL, "http") + "/socket.io/?EIO=" + revision + "&transport=websocket"
	ws, resp, err := dialer.DialContext(roomservertest.Context(t), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	t.Cleanup(func() { ws.Close() })
	p := &rawPeer{t, ws}
	if revision == "4" {
		p.send("40") // the client connects the namespace
	}
	return p
}

func (p *rawPeer) send(frames ...string) {
	p.t.Helper()
	for _, frame := range frames {
		if err := p.ws.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
			p.t.Fatal(err)
		}
	}
}

// readSlowly reads what comes, 10 Mbit/s of it, until the test ends.
func (p *rawPeer) readSlowly() {
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			if _, err := io.CopyN(io.Discard, p.ws.NetConn(), 128<<10); err != nil {
				return // the connection has ended
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	p.t.Cleanup(func() {
		p.ws.Close()
		reading.Wait()
	})
}

// end reads until the connection ends.
func (p *rawPeer) end() error {
	p.ws.SetReadDeadline(time.Now().Add(roomservertest.Patience))
	for {
		if _, _, err := p.ws.ReadMessage(); err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				p.t.Errorf("the connection was not ended: %v", err)
			}
			return err
		}
	}
}

// TestGarbage sends frames that break the protocol: that connection ends, and no other.
func TestGarbage(t *testing.T) {
	t.Parallel()
	for _, revision := range []string{"3", "4"} {
		t.Run("EIO"+revision, func(t *testing.T) {
			t.Parallel()
			testGarbage(t, revision)
		})
	}
}

func testGarbage(t *testing.T, revision string) {
	t.Helper()
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) { c.MaxMessageBytes = 64 << 10 }))
	teacher := s.Join(t, "42", "teacher")
	join := `420["joinRoom",{"userId":"%s","roomId":"42","properties":{}}]`
	for i, garbage := range []string{
		`42["pubMsg",{"name":`, `42{"a":1}`, `42[]`, `42[1]`, `9`, `4`, `49`, "\xff\xfe", `42["pubMsg",` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `]`,
		`42["pubMsg","` + strings.Repeat("x", 70<<10) + `"]`, `451-["x",{"_placeholder":true,"num":0}]`,
	} {
		p := dialRaw(t, s, revision)
		id := fmt.Sprint("garbage", i)
		p.send(fmt.Sprintf(join, id), garbage)
		if err := p.end(); err == nil {
			t.Errorf("%.40q ended nothing", garbage)
		}
		if got, want := line(teacher.Wait(t, talkcloud.EventParticipantLeft)), `participantLeft "`+id+`"`; got != want {
			t.Errorf("%.40q: %s, want %s", garbage, got, want)
		}
	}
	binary := dialRaw(t, s, revision)
	binary.send(fmt.Sprintf(join, "binary"))
	if err := binary.ws.WriteMessage(websocket.BinaryMessage, []byte{4, 1, 2}); err != nil {
		t.Fatal(err)
	}
	if err := binary.end(); err == nil {
		t.Error("a binary frame ended nothing")
	}
	teacher.Sync(t)
}

// TestSlowReader has somebody who joins and never reads. It is put out, and the others get everything.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t, roomservertest.Plain(), roomservertest.NarrowNetwork(),
		roomservertest.Config(func(c *roomserver.Config) { c.SendQueueBytes = 256 << 10 }))
	teacher := s.Join(t, "42", "teacher")
	student := s.Join(t, "42", "student")
	slow := dialRaw(t, s, "3")
	slow.send(`420["joinRoom",{"userId":"slow","roomId":"42","properties":{}}]`)
	teacher.Wait(t, talkcloud.EventParticipantJoined)
	data, sent, left := talkcloud.TextData(strings.Repeat("x", 32<<10)), 0, false
	for deadline := time.Now().Add(roomservertest.Patience); !left && time.Now().Before(deadline); {
		ack := teacher.Call(t, talkcloud.EventPubMsg, talkcloud.Message{Name: "n", ID: "n", DoNotSave: true, Data: data})
		for _, ev := range teacher.Events() {
			left = left || line(ev) == `participantLeft "slow"`
		}
		if refusal(ack) != "" { // no more than what others can be expected to take
			time.Sleep(50 * time.Millisecond)
			continue
		}
		sent++
		student.Message(t, talkcloud.EventPubMsg, "n") // the others miss nothing, and are not kept waiting
	}
	if !left {
		t.Fatalf("who does not read was not put out after %d messages", sent)
	}
}

// TestManyRooms begins a class in each of many rooms at the same time.
func TestManyRooms(t *testing.T) {
	t.Parallel()
	const rooms = 100
	s := roomservertest.New(t, roomservertest.Plain())
	ends := make(chan error, rooms)
	for i := range rooms {
		go func() {
			room := talkcloud.RoomID(fmt.Sprint("r", i))
			p, err := s.TryJoin(roomservertest.Context(t), room, "teacher")
			if err != nil {
				ends <- err
				return
			}
			defer p.Close()
			ts := p.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList})
			if p.EndClass(t).TS.Unix() < ts {
				err = errors.New("ended before it began")
			}
			ends <- err
		}()
	}
	for range rooms {
		if err := <-ends; err != nil {
			t.Error(err)
		}
	}
	for i := range rooms {
		room := talkcloud.RoomID(fmt.Sprint("r", i))
		roomservertest.Poll(t, "the recording", func() bool {
			status, body := request(t, s, "GET", "/WebAPI/getrecordlist/key/"+Key+"/serial/"+string(room), "")
			return status == http.StatusOK && strings.Contains(body, `"recordlist"`)
		})
	}
}
