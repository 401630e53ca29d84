// SPDX-License-Identifier: Apache-2.0

// Package talkcloudtest is a small platform on a real wire, for tests: HTTPS, WebSocket, rooms with
// saved messages. It is made to misbehave on demand, in all the ways in which a platform may:
// answers can be replaced, acks and echoes withheld, connections dropped, state lost.
//
// A test that wants a platform which behaves takes the embedded room server instead.
package talkcloudtest

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/socketio"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Script is what a platform does otherwise than usual. Nil fields do the usual.
type Script struct {
	// Ack replaces the ack of an event; usual false gives the usual one. A nil list with usual false
	// gives none at all.
	Ack func(event string, payload json.RawMessage) (args []any, usual bool)
	// Silent withholds the echo of an event, and its effect.
	Silent func(event string) bool
	// Echo decides over what a participant publishes or deletes: after which times its echo is told,
	// none, one or more; it takes effect at once. nil tells it once, at once.
	Echo func(room talkcloud.RoomID, event string) (after []time.Duration)
	// BeforeJoinAck is what a joining participant is sent before the ack of joinRoom.
	BeforeJoinAck func(c *socketio.Conn)
}

// Platform is the platform.
type Platform struct {
	http   *httptest.Server
	socket *socketio.Server

	mu      sync.Mutex
	cond    *sync.Cond // signaled when members, joins or published change
	script  Script
	answers map[string]http.HandlerFunc
	forms   map[string][]url.Values // by path
	paths   []string                // raw paths of all requests but the socket's
	rooms   map[talkcloud.RoomID]*room
	joins   []talkcloud.JoinRoom
	seq     int64
}

type room struct {
	saved   []talkcloud.Message
	history []Change
	members []*member
}

type member struct {
	conn *socketio.Conn
	join talkcloud.JoinRoom
}

// New starts a platform over TLS, closed with the test.
func New(t testing.TB) *Platform {
	t.Helper()
	return start(t, httptest.NewTLSServer)
}

// NewPlain starts a platform without TLS.
func NewPlain(t testing.TB) *Platform {
	t.Helper()
	return start(t, httptest.NewServer)
}

func start(t testing.TB, serve func(http.Handler) *httptest.Server) *Platform {
	t.Helper()
	p := &Platform{
		answers: make(map[string]http.HandlerFunc), forms: make(map[string][]url.Values), rooms: make(map[talkcloud.RoomID]*room),
	}
	p.cond = sync.NewCond(&p.mu)
	p.socket = socketio.NewServer(socketio.ServerConfig{}, func(c *socketio.Conn, _ *http.Request) (socketio.Handler, error) {
		return &handler{p: p, conn: c}, nil
	})
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", p.socket)
	mux.HandleFunc("/", p.answer)
	p.http = serve(mux)
	t.Cleanup(func() {
		_ = p.socket.Close()
		p.http.CloseClientConnections()
		p.http.Close()
	})
	return p
}

// Config is what a client of the platform needs.
func (p *Platform) Config() talkcloud.Config {
	cfg := talkcloud.Config{BaseURL: p.http.URL, EnterpriseKey: "key-of-the-test"}
	if cert := p.http.Certificate(); cert != nil {
		cfg.RootCAs = x509.NewCertPool()
		cfg.RootCAs.AddCert(cert)
	}
	return cfg
}

// NewClient makes a client of the platform, closed with the test; change may be nil.
func (p *Platform) NewClient(t testing.TB, change func(*talkcloud.Config)) *talkcloud.Client {
	t.Helper()
	cfg := p.Config()
	if change != nil {
		change(&cfg)
	}
	c, err := talkcloud.New(cfg)
	if err != nil {
		t.Fatalf("make client: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Host returns host and port.
func (p *Platform) Host() (host string, port int) {
	u, _ := url.Parse(p.http.URL) // of our own making
	port, _ = strconv.Atoi(u.Port())
	return u.Hostname(), port
}

// Script sets what is done otherwise from now on.
func (p *Platform) Script(s Script) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.script = s
}

// Answer replaces the answer of a path; nil restores it. The path of the record list is taken by its
// beginning.
func (p *Platform) Answer(path string, h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[path] = h
}

// Body answers with a text.
func Body(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
}

// Forms returns the forms that came to a path so far.
func (p *Platform) Forms(path string) []url.Values {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.forms[path])
}

// Paths returns the raw paths of all HTTP calls so far.
func (p *Platform) Paths() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.paths)
}

func (p *Platform) answer(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if len(path) > len(talkcloud.PathGetUserRecordList) && path[:len(talkcloud.PathGetUserRecordList)] == talkcloud.PathGetUserRecordList {
		path = talkcloud.PathGetUserRecordList
	}
	_ = r.ParseForm()
	p.mu.Lock()
	p.forms[path] = append(p.forms[path], r.PostForm)
	p.paths = append(p.paths, r.URL.EscapedPath())
	answer := p.answers[path]
	p.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	host, port := p.Host()
	var reply any
	switch path {
	case talkcloud.PathCheckRoom:
		reply = talkcloud.CheckRoomReply{
			Result: talkcloud.Number(0), Nickname: talkcloud.Text(r.PostForm.Get("nickname")), RoomRole: talkcloud.Number(2), ThirdID: talkcloud.Text(""),
			Room: talkcloud.RoomDetails{Serial: talkcloud.Text(r.PostForm.Get("serial")), MaxVideo: talkcloud.Text("6"), RoomType: talkcloud.Text("3")},
		}
	case talkcloud.PathGetConfig:
		reply = talkcloud.ConfigReply{Result: talkcloud.Number(0), CourseServer: talkcloud.Text(host), CourseServerPort: talkcloud.Number(int64(port))}
	case talkcloud.PathGetUserRecordList:
		reply = []string{}
	case talkcloud.PathGetRecordList:
		reply = talkcloud.RecordListReply{Result: talkcloud.Number(0), Records: []talkcloud.RecordListItem{}}
	default:
		http.NotFound(w, r)
		return
	}
	_ = json.NewEncoder(w).Encode(reply)
}

// Saved returns the saved messages of a room.
func (p *Platform) Saved(id talkcloud.RoomID) []talkcloud.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.room(id).saved)
}

// Joins returns the payloads of all joins so far.
func (p *Platform) Joins() []talkcloud.JoinRoom {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.joins)
}

// Members returns who is in a room.
func (p *Platform) Members(id talkcloud.RoomID) []talkcloud.UserID {
	p.mu.Lock()
	defer p.mu.Unlock()
	var users []talkcloud.UserID
	for _, m := range p.room(id).members {
		users = append(users, m.join.UserID)
	}
	return users
}

// Await waits until a condition holds that only joining, leaving and messages change. It fails the test when ctx ends first.
func (p *Platform) Await(ctx context.Context, t testing.TB, what string, holds func() bool) {
	t.Helper()
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cond.Broadcast()
	})
	defer stop()
	for {
		if holds() {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("wait until %s: %v", what, ctx.Err())
		}
		p.mu.Lock()
		gen := p.seq + int64(len(p.joins))
		p.mu.Unlock()
		if holds() {
			return
		}
		p.mu.Lock()
		if gen == p.seq+int64(len(p.joins)) && ctx.Err() == nil {
			p.cond.Wait()
		}
		p.mu.Unlock()
	}
}

// Publish publishes a message as somebody else in the room.
func (p *Platform) Publish(id talkcloud.RoomID, m talkcloud.Message) talkcloud.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.publish(id, m)
}

// Delete deletes a message as somebody else in the room.
func (p *Platform) Delete(id talkcloud.RoomID, m talkcloud.Message) talkcloud.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.delete(id, m)
}

// Save changes the saved messages of a room without telling anyone, as happens while we are away.
func (p *Platform) Save(id talkcloud.RoomID, messages ...talkcloud.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.room(id).saved = messages
}

// Drop cuts connections in a room without a goodbye: those of the users given, or everyone's.
func (p *Platform) Drop(id talkcloud.RoomID, users ...talkcloud.UserID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.room(id).members {
		if len(users) == 0 || slices.Contains(users, m.join.UserID) {
			_ = m.conn.Close()
		}
	}
}

// Disconnect ends the connections of everyone in a room with a disconnect packet ("41").
func (p *Platform) Disconnect(id talkcloud.RoomID) {
	p.each(id, func(c *socketio.Conn) { c.Disconnect("") })
}

// Send sends an event to everyone in a room.
func (p *Platform) Send(id talkcloud.RoomID, event string, args ...any) {
	p.each(id, func(c *socketio.Conn) { _ = c.Emit(event, args...) })
}

func (p *Platform) each(id talkcloud.RoomID, do func(*socketio.Conn)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.room(id).members {
		do(m.conn)
	}
}

// room returns a room. The lock is held.
func (p *Platform) room(id talkcloud.RoomID) *room {
	r := p.rooms[id]
	if r == nil {
		r = &room{}
		p.rooms[id] = r
	}
	return r
}

func (p *Platform) publish(id talkcloud.RoomID, m talkcloud.Message) talkcloud.Message {
	return p.change(id, talkcloud.EventPubMsg, m)
}

func (p *Platform) delete(id talkcloud.RoomID, m talkcloud.Message) talkcloud.Message {
	return p.change(id, talkcloud.EventDelMsg, m)
}

// change publishes or deletes a message, and tells it as the script says.
func (p *Platform) change(id talkcloud.RoomID, event string, m talkcloud.Message) talkcloud.Message {
	r := p.room(id)
	m = p.stamp(m)
	switch {
	case event == talkcloud.EventDelMsg:
		r.saved = without(r.saved, m.Key())
	case !m.DoNotSave:
		r.saved = append(without(r.saved, m.Key()), m)
	}
	r.history = append(r.history, Change{event, m})
	after := []time.Duration{0}
	if p.script.Echo != nil {
		after = p.script.Echo(id, event)
	}
	for _, d := range after {
		if d <= 0 {
			r.tell(event, m)
			continue
		}
		time.AfterFunc(d, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			r.tell(event, m)
		})
	}
	return m
}

// Change is what was published or deleted in a room.
type Change struct {
	Event   string // pubMsg or delMsg
	Message talkcloud.Message
}

// History returns what was published and deleted in a room, in order.
func (p *Platform) History(id talkcloud.RoomID) []Change {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.room(id).history)
}

// startTS is the time of the first message; each one is a second later.
const startTS = 1795375561

func (p *Platform) stamp(m talkcloud.Message) talkcloud.Message {
	p.seq++
	m.Seq, m.TS = p.seq, talkcloud.Timestamp(startTS+p.seq)
	p.cond.Broadcast()
	return m
}

func without(list []talkcloud.Message, key string) []talkcloud.Message {
	return slices.DeleteFunc(slices.Clone(list), func(m talkcloud.Message) bool { return m.Key() == key })
}

func (r *room) tell(event string, m talkcloud.Message) {
	for _, member := range r.members {
		if m.To == "" || m.To == talkcloud.ToAll || m.To == string(member.join.UserID) {
			_ = member.conn.Emit(event, m)
		}
	}
}

// handler is one connection.
type handler struct {
	p    *Platform
	conn *socketio.Conn
	room talkcloud.RoomID
}

// Event does what the participant wants, or what the script says.
func (h *handler) Event(e socketio.Event) {
	var payload json.RawMessage
	if len(e.Args) > 0 {
		payload = e.Args[0]
	}
	p := h.p
	p.mu.Lock()
	defer p.mu.Unlock()
	ack := func(usual ...any) {
		if e.Ack == nil {
			return
		}
		if p.script.Ack != nil {
			args, asUsual := p.script.Ack(e.Name, payload)
			if !asUsual {
				if args != nil {
					_ = e.Ack(args...)
				}
				return
			}
		}
		_ = e.Ack(usual...)
	}
	if p.script.Silent != nil && p.script.Silent(e.Name) {
		ack(0)
		return
	}
	var m talkcloud.Message
	switch e.Name {
	case talkcloud.EventJoinRoom:
		h.join(payload, ack)
	case talkcloud.EventPubMsg, talkcloud.EventDelMsg:
		if m.UnmarshalJSON(payload) == nil {
			m.FromID = h.user()
			ack(0)
			p.change(h.room, e.Name, m)
		}
	default:
		ack(0)
	}
}

func (h *handler) join(payload json.RawMessage, ack func(...any)) {
	var join talkcloud.JoinRoom
	if join.UnmarshalJSON(payload) != nil {
		ack("error", "not a join")
		return
	}
	if h.p.script.BeforeJoinAck != nil {
		h.p.script.BeforeJoinAck(h.conn)
	}
	h.room = join.Room()
	r := h.p.room(h.room)
	reply := talkcloud.JoinReply{RoomInfo: talkcloud.RoomInfo{ID: h.room}, Messages: r.saved}
	for _, other := range r.members {
		reply.Users = append(reply.Users, other.join.Participant())
		_ = other.conn.Emit(talkcloud.EventParticipantJoined, join.Participant())
	}
	r.members = append(r.members, &member{conn: h.conn, join: join})
	h.p.joins = append(h.p.joins, join)
	ack(0, reply)
	h.p.cond.Broadcast()
}

// user returns who is on the connection. The lock is held.
func (h *handler) user() talkcloud.UserID {
	for _, m := range h.p.room(h.room).members {
		if m.conn == h.conn {
			return m.join.UserID
		}
	}
	return ""
}

// Close lets the participant leave.
func (h *handler) Close(error) {
	p := h.p
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.room(h.room)
	user := h.user()
	r.members = slices.DeleteFunc(r.members, func(m *member) bool { return m.conn == h.conn })
	if user != "" {
		for _, m := range r.members {
			_ = m.conn.Emit(talkcloud.EventParticipantLeft, user)
		}
	}
	p.seq++
	p.cond.Broadcast()
}

// Refusing gives an address on which nothing listens.
func Refusing(t testing.TB) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	return addr
}
