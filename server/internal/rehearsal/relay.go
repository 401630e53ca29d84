// SPDX-License-Identifier: Apache-2.0

package rehearsal

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"

	"github.com/classrec/classrec/server/internal/engineio"
	"github.com/classrec/classrec/server/internal/socketio"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// relay stands in the signaling between the service and its platform: it passes
// packets on, in order and as they are, but for those that are played with.
type relay struct {
	rehearsal *Rehearsal
	server    *engineio.Server
	log       *slog.Logger
}

func newRelay(r *Rehearsal, logger *slog.Logger) *relay {
	l := &relay{rehearsal: r, log: logger}
	l.server = engineio.NewServer(engineio.ServerConfig{MaxMessageBytes: engineio.DefaultClientMaxMessageBytes}, l.open)
	return l
}

// open connects a connection of the service through.
func (l *relay) open(service *engineio.Conn, req *http.Request) engineio.Session {
	platform, err := engineio.Dial(context.WithoutCancel(req.Context()), engineio.DialConfig{
		URL: "ws://" + req.Host + req.URL.Path, Revision: service.Revision(), NetDialContext: l.rehearsal.Dial,
	})
	if err != nil {
		l.log.Debug("the platform does not take a connection", "error", err)
		service.Cut(err)
		return lost{}
	}
	s := &signaling{wrongs: &l.rehearsal.wrongs, service: service, platform: platform}
	s.serving.Go(func() {
		err := platform.Serve(s.fromPlatform)
		service.Close(err, closeNormal, "")
	})
	return s
}

// closeNormal is the WebSocket close code for an ordinary end (RFC 6455 section
// 7.4.1).
const closeNormal = 1000

// lost is a connection without a platform behind it.
type lost struct{}

func (lost) Message([]byte) error { return nil }
func (lost) Close(error)          {}

// signaling is one connection of the service, and its continuation.
type signaling struct {
	wrongs            *wrongs
	service, platform *engineio.Conn
	serving           sync.WaitGroup // from the platform

	mu       sync.Mutex
	user     talkcloud.UserID    // who has joined on it
	withheld map[uint64]struct{} // acks that the service does not get
}

// Close ends it on the other side too.
func (s *signaling) Close(error) {
	s.platform.Close(nil, closeNormal, "")
	s.serving.Wait()
}

// Message takes what the service says.
func (s *signaling) Message(message []byte) error {
	p, err := socketio.ParsePacket(message)
	if err != nil || p.Type != socketio.PacketEvent || !s.play(p) {
		return s.platform.Send(engineio.NewFrame(message))
	}
	return nil
}

// play does what is wrong with an event of the service; done says that it does
// not go to the platform.
func (s *signaling) play(p socketio.Packet) (done bool) {
	name, payload := event(p)
	if Call(name) == JoinRoom {
		var join talkcloud.JoinRoom
		if join.UnmarshalJSON(payload) == nil {
			s.mu.Lock()
			s.user = join.UserID
			s.mu.Unlock()
		}
	}
	switch Call(name) {
	case JoinRoom, PubMsg, DelMsg:
	default:
		return false
	}
	answer, wrong := s.wrongs.ask(Call(name))
	if !wrong {
		return false
	}
	switch answer.kind {
	case noEcho:
		if p.HasID {
			s.mu.Lock()
			if s.withheld == nil {
				s.withheld = map[uint64]struct{}{}
			}
			s.withheld[p.ID] = struct{}{}
			s.mu.Unlock()
		}
		return false
	case code:
		if !p.HasID {
			return true
		}
		data, err := json.Marshal([]any{"error", talkcloud.Refusal{Code: answer.code, Reason: "REHEARSED"}})
		if err != nil {
			return true
		}
		// When it cannot be sent, the connection has ended, which both sides notice.
		_ = s.service.Send(engineio.NewFrame(socketio.AppendPacket(nil, socketio.Packet{
			Type: socketio.PacketAck, Namespace: p.Namespace, ID: p.ID, HasID: true, Data: data,
		})))
		return true
	case usual, status, body, noAnswer:
	}
	return true
}

// fromPlatform takes what the platform says.
func (s *signaling) fromPlatform(message []byte) error {
	if p, err := socketio.ParsePacket(message); err == nil && s.withholds(p) {
		return nil
	}
	return s.service.Send(engineio.NewFrame(message))
}

// withholds tells what the service does not get: acks of what it has said
// without an echo, and the echo.
func (s *signaling) withholds(p socketio.Packet) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch p.Type {
	case socketio.PacketAck:
		_, withheld := s.withheld[p.ID]
		delete(s.withheld, p.ID)
		return withheld
	case socketio.PacketEvent:
		name, payload := event(p)
		if call := Call(name); call != PubMsg && call != DelMsg {
			return false
		}
		var m talkcloud.Message
		answer, wrong := s.wrongs.of(Call(name))
		return wrong && answer.kind == noEcho && m.UnmarshalJSON(payload) == nil && m.FromID == s.user
	default:
		return false
	}
}

// event returns the name and the first argument of an event.
func event(p socketio.Packet) (name string, payload json.RawMessage) {
	var args []json.RawMessage
	if json.Unmarshal(p.Data, &args) != nil || len(args) == 0 || json.Unmarshal(args[0], &name) != nil {
		return "", nil
	}
	if len(args) > 1 {
		payload = args[1]
	}
	return name, payload
}
