// SPDX-License-Identifier: Apache-2.0

package engineio

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

// ServerConfig are the tunables of a [Server]. Its zero value is ready for use.
type ServerConfig struct {
	PingInterval     time.Duration            // 25 s; whole milliseconds
	PingTimeout      time.Duration            // 5 s; whole milliseconds
	MaxMessageBytes  int64                    // 1 MiB; a larger message closes its connection
	SendQueueBytes   int                      // 1 MiB; what may wait to be sent on one connection
	WriteTimeout     time.Duration            // 5 s; for one write
	HandshakeTimeout time.Duration            // 10 s; for the answer to the upgrade request
	CheckOrigin      func(*http.Request) bool // nil = any origin
	Logger           *slog.Logger             // nil = none
}

func (cfg ServerConfig) withDefaults() ServerConfig {
	defaultTo(&cfg.PingInterval, DefaultPingInterval)
	defaultTo(&cfg.PingTimeout, DefaultPingTimeout)
	defaultTo(&cfg.MaxMessageBytes, DefaultMaxMessageBytes)
	defaultTo(&cfg.SendQueueBytes, DefaultSendQueueBytes)
	defaultTo(&cfg.WriteTimeout, DefaultWriteTimeout)
	defaultTo(&cfg.HandshakeTimeout, DefaultHandshakeTimeout)
	if cfg.CheckOrigin == nil {
		cfg.CheckOrigin = func(*http.Request) bool { return true }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// Server is the server's end. It is an [http.Handler] for the path of the protocol, usually /socket.io/.
type Server struct {
	cfg      ServerConfig
	env      *env
	open     func(*Conn, *http.Request) Session
	upgrader websocket.Upgrader
	flusher  flusher
	wg       sync.WaitGroup // connections, the heart, the flusher
	over     chan struct{}  // closed when the server is, and has no connections

	mu      sync.Mutex
	conns   map[*Conn]struct{}
	beating bool
	closed  bool
}

// Session takes what happens on one connection. Its methods are called one at a time.
type Session interface {
	// Message is called with every message, which is valid only during the call. An error ends the connection with that error;
	// the peer is sent close code 1007 for [ErrMalformed], 1003 for [ErrBinary], else 1011, and no text.
	Message([]byte) error
	// Close is called once, last, with why the connection ended, after everything that belongs to it is released.
	Close(error)
}

// NewServer returns a server that calls open for every connection, once the open packet is queued, and then gives what happens on it
// to the session that open returns. The context of the request does not end with the connection, and its body is not readable.
func NewServer(cfg ServerConfig, open func(*Conn, *http.Request) Session) *Server {
	cfg = cfg.withDefaults()
	s := &Server{
		cfg:   cfg,
		open:  open,
		conns: make(map[*Conn]struct{}),
		over:  make(chan struct{}),
		env: &env{
			epoch:           time.Now(),
			pingInterval:    cfg.PingInterval,
			pingTimeout:     cfg.PingTimeout,
			maxMessageBytes: cfg.MaxMessageBytes,
			sendQueueBytes:  cfg.SendQueueBytes,
			writeTimeout:    cfg.WriteTimeout,
			ping:            newFrame(PacketPing, nil),
		},
	}
	s.flusher = flusher{env: s.env, wg: &s.wg, most: max(1, runtime.GOMAXPROCS(0)/2)}
	s.upgrader = websocket.Upgrader{
		HandshakeTimeout: cfg.HandshakeTimeout,
		ReadBufferSize:   readBufferBytes,
		WriteBufferSize:  readBufferBytes,
		WriteBufferPool:  &s.env.upgrades,
		CheckOrigin:      cfg.CheckOrigin,
	}
	return s
}

// Refusals of a handshake, with the codes of the reference implementation.
const (
	refusedTransport = 0 // "Transport unknown"
	refusedSession   = 1 // "Session ID unknown"
	refusedVersion   = 5 // "Unsupported protocol version"
)

// ServeHTTP upgrades the request and returns; the connection goes on in its own goroutine, so that the buffers of the HTTP server
// are freed. A request that is not for a new WebSocket session of revision 3 or 4 is answered with status 400.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	var rev Revision
	switch query.Get("EIO") {
	case "3":
		rev = Revision3
	case "4":
		rev = Revision4
	default:
		s.refuse(w, refusedVersion, "Unsupported protocol version")
		return
	}
	if query.Get("transport") != "websocket" {
		s.refuse(w, refusedTransport, "Transport unknown")
		return
	}
	if query.Get("sid") != "" {
		s.refuse(w, refusedSession, "Session ID unknown")
		return
	}
	ws, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		s.cfg.Logger.Debug("websocket upgrade failed", "remote", r.RemoteAddr, "error", err)
		return
	}
	c := s.newConn(ws.NetConn(), rev)
	if !s.add(c) {
		_ = ws.Close()
		return
	}
	if err := s.greet(c); err != nil {
		c.Cut(err) // the session is told
	}
	session := s.open(c, r.WithContext(context.WithoutCancel(r.Context())))
	go s.serve(c, session)
}

// serve waits for the connection to end. What needs more stack than waiting does is done elsewhere.
func (s *Server) serve(c *Conn, session Session) {
	err := c.end(c.socket.read(session.Message))
	session.Close(err)
	s.remove(c)
}

// greet queues the open packet.
func (s *Server) greet(c *Conn) error {
	h := Handshake{SID: c.id, PingInterval: s.cfg.PingInterval, PingTimeout: s.cfg.PingTimeout}
	if c.revision == Revision4 {
		h.MaxPayload = s.cfg.MaxMessageBytes
	}
	data, err := AppendHandshake(nil, h)
	if err != nil {
		return err
	}
	return c.Send(newFrame(PacketOpen, data))
}

// newConn makes the connection above an upgraded network connection.
func (s *Server) newConn(nc net.Conn, rev Revision) *Conn {
	c := newConn(s.env, rand.Text(), rev)
	c.socket = newServerSocket(nc, c)
	if sc, ok := nc.(syscall.Conn); ok && rawIO {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw, c.flusher = raw, &s.flusher
		}
	}
	return c
}

func (s *Server) refuse(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	// The client sees the status; whether it also gets the text is its connection's matter.
	_ = json.NewEncoder(w).Encode(map[string]any{"code": code, "message": message})
}

func (s *Server) add(c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	if !s.beating {
		s.beating = true
		s.wg.Go(s.beat)
	}
	return true
}

func (s *Server) remove(c *Conn) {
	s.mu.Lock()
	delete(s.conns, c)
	if s.closed && len(s.conns) == 0 {
		close(s.over)
	}
	s.mu.Unlock()
	s.wg.Done()
}

// Bounds of how often a server looks at its connections.
const (
	minTick = 2 * time.Millisecond
	maxTick = time.Second
)

// beat looks after all connections as long as there are any.
func (s *Server) beat() {
	tick := min(s.cfg.PingInterval, s.cfg.PingTimeout, s.cfg.WriteTimeout, 2*closeWait) / 8
	ticker := time.NewTicker(max(minTick, min(maxTick, tick)))
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if !s.beatOnce() {
				return
			}
		case <-s.over:
			return
		}
	}
}

func (s *Server) beatOnce() bool {
	now := s.env.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.beat(now)
	}
	s.beating = len(s.conns) > 0
	return s.beating
}

// Len is the number of connections.
func (s *Server) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Close refuses new connections, closes all with code 1001, and waits for them: at most the write timeout and about a second,
// plus what the sessions take to close. It always returns nil.
func (s *Server) Close() error {
	s.mu.Lock()
	if !s.closed && len(s.conns) == 0 {
		close(s.over)
	}
	s.closed = true
	for c := range s.conns {
		c.Close(ErrClosed, codeGoingAway, "")
	}
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}
