// SPDX-License-Identifier: Apache-2.0

package roomservertest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/publisher"
	"github.com/classrec/classrec/server/internal/socketio"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Peer is a participant on a bare socket: it does what the vendor's web SDK does, and keeps every event until it is
// asked for. Its methods may be called from one goroutine at a time.
type Peer struct {
	Room  talkcloud.RoomID
	ID    talkcloud.UserID
	Role  int
	Reply talkcloud.JoinReply // what joinRoom was answered
	Raw   json.RawMessage     // the same, as it came

	socket *socketio.Client

	mu      sync.Mutex
	events  []socketio.Event // that nobody has asked for yet
	changed chan struct{}    // closed and replaced at each event, and at the end
	ended   bool
}

// PeerOption changes how somebody joins.
type PeerOption func(*joining)

type joining struct {
	role       int
	password   string
	revision   int
	properties map[string]any
}

// Role joins with a role that checkroom is told as userrole. The default is talkcloud.RoleTeacher for the user
// "teacher", else talkcloud.RoleStudent.
func Role(role int) PeerOption { return func(j *joining) { j.role = role } }

// Password is given to checkroom.
func Password(password string) PeerOption { return func(j *joining) { j.password = password } }

// Revision is the engine.io revision, 3 unless this says 4.
func Revision(revision int) PeerOption { return func(j *joining) { j.revision = revision } }

// Property joins with a property besides the usual ones.
func Property(key string, value any) PeerOption {
	return func(j *joining) { j.properties[key] = value }
}

// Join enters a room as the vendor's SDK does: where.html, getserverarea, checkroom, getconfig, socket, joinRoom,
// equipment.
func (s *Server) Join(tb testing.TB, room talkcloud.RoomID, user talkcloud.UserID, options ...PeerOption) *Peer {
	tb.Helper()
	p, err := s.TryJoin(Context(tb), room, user, options...)
	if err != nil {
		tb.Fatalf("join room %s as %s: %v", room, user, err)
	}
	tb.Cleanup(func() { _ = p.socket.Close() })
	return p
}

// TryJoin is Join for who expects a refusal, or joins from many goroutines. The caller closes the peer.
func (s *Server) TryJoin(ctx context.Context, room talkcloud.RoomID, user talkcloud.UserID, options ...PeerOption) (*Peer, error) {
	j := joining{role: talkcloud.RoleStudent, properties: map[string]any{}}
	if user == "teacher" {
		j.role = talkcloud.RoleTeacher
	}
	for _, option := range options {
		option(&j)
	}
	var where talkcloud.WhereReply
	if err := s.call(ctx, http.MethodGet, talkcloud.PathWhere, "", &where); err != nil {
		return nil, err
	}
	if err := s.call(ctx, http.MethodPost, talkcloud.PathGetServerArea, "", &talkcloud.ServerAreaReply{}); err != nil {
		return nil, err
	}
	var check talkcloud.CheckRoomReply // the SDK encodes nothing
	form := fmt.Sprintf("serial=%s&password=%s&nickname=%s&userrole=%d&clientType=1", room, j.password, user, j.role)
	if err := s.call(ctx, http.MethodPost, talkcloud.PathCheckRoom, form, &check); err != nil {
		return nil, err
	}
	if n, ok := check.Result.Int(); !ok || n != talkcloud.ResultOK {
		return nil, fmt.Errorf("checkroom: result %s", check.Result)
	}
	var config talkcloud.ConfigReply
	form = fmt.Sprintf("serial=%s&userrole=%s&selfip=%s", room, check.RoomRole, where.SelfIP)
	if err := s.call(ctx, http.MethodPost, talkcloud.PathGetConfig, form, &config); err != nil {
		return nil, err
	}
	addresses, err := config.Addresses("127.0.0.1")
	if err != nil {
		return nil, err
	}
	scheme, _, _ := strings.Cut(s.URL, ":")
	socket, err := socketio.Dial(ctx, socketio.DialConfig{
		URL:      fmt.Sprintf("%s://%s:%d", scheme, addresses[0].Host, addresses[0].Port),
		Revision: j.revision, TLSClientConfig: s.TLSConfig(), EventQueue: 1 << 16,
	})
	if err != nil {
		return nil, err
	}
	role, _ := check.RoomRole.Int()
	p := &Peer{Room: room, ID: user, Role: int(role), socket: socket, changed: make(chan struct{})}
	go p.collect() // ends with the connection, which the peer's Close ends
	if err := p.join(ctx, check, where, j); err != nil {
		_ = socket.Close()
		return nil, err
	}
	form = fmt.Sprintf("companyid=%s&serial=%s&peerId=%s&peerName=%s", check.Room.CompanyID, room, user, check.Nickname)
	return p, s.call(ctx, http.MethodPost, talkcloud.PathEquipment, form, &talkcloud.ResultReply{})
}

// call does an HTTP call of the API.
func (s *Server) call(ctx context.Context, method, path, body string, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path+"?ts=1", strings.NewReader(body))
	if err != nil {
		return err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded;charset=utf-8")
	}
	resp, err := s.HTTPClient().Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
		return fmt.Errorf("%s: status %d, or not for every origin", path, resp.StatusCode)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (p *Peer) join(ctx context.Context, check talkcloud.CheckRoomReply, where talkcloud.WhereReply, j joining) error {
	properties := map[string]any{
		"role": p.Role, "nickname": check.Nickname, "publishstate": 0, "hasvideo": true, "hasaudio": true,
		"servername": where.Name, "udpstate": 1,
	}
	for key, value := range j.properties {
		properties[key] = value
	}
	args, err := p.socket.Call(ctx, talkcloud.EventJoinRoom, map[string]any{
		"userId": p.ID, "roomId": check.Room.Serial, "maxVideo": 6, "videofps": 15, "videowidth": 320, "videoheight": 240,
		"properties": properties, "roomtype": 3, "version": 3, "vcodec": 0,
	})
	if err != nil {
		return fmt.Errorf("joinRoom: %w", err)
	}
	if len(args) != 2 || string(args[0]) != "0" {
		return fmt.Errorf("joinRoom answered %s", args)
	}
	p.Raw = args[1]
	return json.Unmarshal(args[1], &p.Reply)
}

// collect keeps the events as they come.
func (p *Peer) collect() {
	more := true
	for more {
		var ev socketio.Event
		ev, more = <-p.socket.Events()
		p.mu.Lock()
		if more {
			p.events = append(p.events, ev)
		} else {
			p.ended = true
		}
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
}

// Close leaves the room in order.
func (p *Peer) Close() error { return p.socket.Close() }

// Done is closed when the connection has ended.
func (p *Peer) Done() <-chan struct{} { return p.socket.Done() }

// Err tells why the connection has ended.
func (p *Peer) Err() error { return p.socket.Err() }

// Emit sends an event without asking for an ack.
func (p *Peer) Emit(tb testing.TB, event string, args ...any) {
	tb.Helper()
	if err := p.socket.Emit(Context(tb), event, args...); err != nil {
		tb.Fatalf("%s: emit %s: %v", p.ID, event, err)
	}
}

// Call sends an event and returns its ack.
func (p *Peer) Call(tb testing.TB, event string, args ...any) []json.RawMessage {
	tb.Helper()
	reply, err := p.socket.Call(Context(tb), event, args...)
	if err != nil {
		tb.Fatalf("%s: call %s: %v", p.ID, event, err)
	}
	return reply
}

// Find waits for the first event that matches and returns it; those before it stay. Events that come later than the
// end of the connection are none.
func (p *Peer) Find(ctx context.Context, match func(socketio.Event) bool) (socketio.Event, error) {
	seen := 0
	for {
		p.mu.Lock()
		for ; seen < len(p.events); seen++ {
			if ev := p.events[seen]; match(ev) {
				p.events = append(p.events[:seen:seen], p.events[seen+1:]...)
				p.mu.Unlock()
				return ev, nil
			}
		}
		changed, ended := p.changed, p.ended
		p.mu.Unlock()
		if ended {
			return socketio.Event{}, fmt.Errorf("connection has ended: %w", p.socket.Err())
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return socketio.Event{}, ctx.Err()
		}
	}
}

// Wait waits for the first event of a name, and takes it. Events of other names stay.
func (p *Peer) Wait(tb testing.TB, name string) socketio.Event {
	tb.Helper()
	ev, err := p.Find(Context(tb), func(ev socketio.Event) bool { return ev.Name == name })
	if err != nil {
		tb.Fatalf("%s: waiting for %s: %v", p.ID, name, err)
	}
	return ev
}

// Next waits for the next event, whatever it is.
func (p *Peer) Next(tb testing.TB) socketio.Event {
	tb.Helper()
	ev, err := p.Find(Context(tb), func(socketio.Event) bool { return true })
	if err != nil {
		tb.Fatalf("%s: waiting for an event: %v", p.ID, err)
	}
	return ev
}

// Message waits for a pubMsg or delMsg of an id.
func (p *Peer) Message(tb testing.TB, event, id string) talkcloud.Message {
	tb.Helper()
	var m talkcloud.Message
	_, err := p.Find(Context(tb), func(ev socketio.Event) bool {
		if ev.Name != event || len(ev.Args) == 0 {
			return false
		}
		var got talkcloud.Message
		if json.Unmarshal(ev.Args[0], &got) != nil || got.ID != id {
			return false
		}
		m = got
		return true
	})
	if err != nil {
		tb.Fatalf("%s: waiting for %s of %s: %v", p.ID, event, id, err)
	}
	return m
}

// Sync returns when everything that was sent to this peer before is here: it sends itself an unsaved message.
func (p *Peer) Sync(tb testing.TB) {
	tb.Helper()
	p.Emit(tb, talkcloud.EventPubMsg, talkcloud.Message{
		Name: talkcloud.MessageUpdateTime, ID: talkcloud.MessageUpdateTime, To: string(p.ID), DoNotSave: true,
	})
	p.Message(tb, talkcloud.EventPubMsg, talkcloud.MessageUpdateTime)
}

// Events returns what has come and nobody has asked for, and forgets it. Call Sync before.
func (p *Peer) Events() []socketio.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	events := p.events
	p.events = nil
	return events
}

// BeginClass publishes ClassBegin and returns the recordts.
func (p *Peer) BeginClass(tb testing.TB, begin talkcloud.ClassBegin) int64 {
	tb.Helper()
	p.Emit(tb, talkcloud.EventPubMsg, begin.Message())
	return p.Message(tb, talkcloud.EventPubMsg, talkcloud.MessageClassBegin).TS.Unix()
}

// EndClass deletes ClassBegin, and waits for the echo.
func (p *Peer) EndClass(tb testing.TB) talkcloud.Message {
	tb.Helper()
	p.Emit(tb, talkcloud.EventDelMsg, talkcloud.ClassEnd())
	return p.Message(tb, talkcloud.EventDelMsg, talkcloud.MessageClassBegin)
}

// Chat says something to everybody.
func (p *Peer) Chat(tb testing.TB, text string) {
	tb.Helper()
	message, err := json.Marshal(map[string]string{"msg": text})
	if err != nil {
		tb.Fatal(err)
	}
	p.Emit(tb, talkcloud.EventSendMessage, map[string]any{"toID": talkcloud.ToAll, "message": string(message)})
}

// Publish publishes media by the exchange of the vendor's SDK, and returns when the room has been told of the stream.
func (p *Peer) Publish(tb testing.TB, cfg publisher.Config) *publisher.Publisher {
	tb.Helper()
	ctx := Context(tb)
	p.Emit(tb, talkcloud.EventSetProperty, map[string]any{
		"id": p.ID, "toID": talkcloud.ToAll, "properties": map[string]any{"publishstate": 3},
	})
	p.Wait(tb, talkcloud.EventSetProperty)
	ack := p.Call(tb, talkcloud.EventPublish, map[string]any{
		"state": "ms", "data": false, "audio": cfg.Audio != nil, "video": cfg.Video != nil, "screen": false, "minVideoBW": 0,
		"attributes": map[string]string{"type": "video"}, "extensionId": p.ID,
	}, nil)
	var stream string
	if len(ack) != 2 || string(ack[0]) != "0" || json.Unmarshal(ack[1], &stream) != nil {
		tb.Fatalf("%s: publish answered %s", p.ID, ack)
	}
	signal := func(msg map[string]any) error {
		return p.socket.Emit(ctx, talkcloud.EventSignalingMessage, map[string]any{"streamId": stream, "msg": msg}, nil)
	}
	cfg.Trickle = func(_ context.Context, c publisher.Candidate) error {
		candidate := map[string]any{"sdpMLineIndex": c.MLine, "sdpMid": c.Mid, "candidate": "a=" + c.Text}
		if c.Text == "" {
			candidate = map[string]any{"sdpMLineIndex": -1, "sdpMid": "end", "candidate": "end"}
		}
		return signal(map[string]any{"type": "candidate", "candidate": candidate})
	}
	pub, err := publisher.Publish(ctx, cfg, func(ctx context.Context, offer string) (string, error) {
		if err := signal(map[string]any{"type": "offer", "sdp": offer}); err != nil {
			return "", err
		}
		return p.mediaServer(ctx, stream, "answer")
	})
	if err != nil {
		tb.Fatalf("%s: publish: %v", p.ID, err)
	}
	tb.Cleanup(func() { _ = pub.Close() })
	if _, err := p.mediaServer(ctx, stream, "ready"); err != nil {
		tb.Fatalf("%s: waiting for ready: %v", p.ID, err)
	}
	if _, err := p.Find(ctx, func(ev socketio.Event) bool {
		return ev.Name == talkcloud.EventAddStream && len(ev.Args) > 0 && strings.Contains(string(ev.Args[0]), stream)
	}); err != nil {
		tb.Fatalf("%s: waiting for the stream to be announced: %v", p.ID, err)
	}
	return pub
}

// mediaServer waits for a message of the media server about a stream, and returns its SDP.
func (p *Peer) mediaServer(ctx context.Context, stream, kind string) (string, error) {
	var m struct {
		StreamID string
		Mess     struct{ Type, SDP string }
	}
	_, err := p.Find(ctx, func(ev socketio.Event) bool {
		return ev.Name == talkcloud.EventSignalingMessageMediaServer && len(ev.Args) > 0 &&
			json.Unmarshal(ev.Args[0], &m) == nil && m.StreamID == stream && m.Mess.Type == kind
	})
	return m.Mess.SDP, err
}

// PublishWHIP publishes media by WHIP.
func (s *Server) PublishWHIP(tb testing.TB, room talkcloud.RoomID, user talkcloud.UserID, cfg publisher.Config) *publisher.Publisher {
	tb.Helper()
	pub, err := publisher.PublishWHIP(Context(tb), cfg, publisher.WHIP{
		URL: fmt.Sprintf("%s/whip/%s/%s", s.URL, room, user), Client: s.HTTPClient(),
	})
	if err != nil {
		tb.Fatalf("publish by WHIP: %v", err)
	}
	tb.Cleanup(func() { _ = pub.Close() })
	return pub
}

// Poll calls get until it returns true.
func Poll(tb testing.TB, what string, get func() bool) {
	tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	ctx := Context(tb)
	for !get() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatalf("waiting for %s: %v", what, ctx.Err())
		}
	}
}
