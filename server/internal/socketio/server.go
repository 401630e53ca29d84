// SPDX-License-Identifier: Apache-2.0

package socketio

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/classrec/classrec/server/internal/engineio"
)

// ServerConfig are the tunables of a [Server]. Its zero value is ready for use.
type ServerConfig struct {
	PingInterval     time.Duration            // 25 s; whole milliseconds
	PingTimeout      time.Duration            // 5 s; whole milliseconds
	MaxMessageBytes  int64                    // 1 MiB; a larger message closes its connection
	SendQueueBytes   int                      // 1 MiB; what may wait to be sent on one connection; full = closed with ErrSlowPeer
	WriteTimeout     time.Duration            // 5 s; for one write; longer = closed with ErrSlowPeer
	HandshakeTimeout time.Duration            // 10 s; for the upgrade, and in revision 4 for the peer's CONNECT
	CheckOrigin      func(*http.Request) bool // nil = any origin
	Logger           *slog.Logger             // nil = none
}

// Handler takes what happens on one connection. Its methods are called one at a time, and never before accept has returned.
type Handler interface {
	// Event is called with every event. While it runs nothing more is read from this peer.
	Event(Event)
	// Close is called once, last, with the reason for which the connection ended.
	Close(err error)
}

// Server is the server's end. It is an [http.Handler] for the path /socket.io/.
type Server struct {
	eng       *engineio.Server
	accept    func(*Conn, *http.Request) (Handler, error)
	logger    *slog.Logger
	handshake time.Duration
}

// NewServer returns a server that asks accept about every connection and gives what happens on it
// to the handler that accept returns. An error refuses the connection, and its text is sent to the peer; no handler is called then.
// Until accept returns, nothing can be sent on the connection ([ErrNotConnected]). The context of the request does not end with the
// connection, and its body is not readable. The server starts its goroutines as connections come.
func NewServer(cfg ServerConfig, accept func(*Conn, *http.Request) (Handler, error)) *Server {
	s := &Server{accept: accept, logger: cfg.Logger, handshake: cfg.HandshakeTimeout}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	if s.handshake <= 0 {
		s.handshake = engineio.DefaultHandshakeTimeout
	}
	s.eng = engineio.NewServer(engineio.ServerConfig{
		PingInterval:     cfg.PingInterval,
		PingTimeout:      cfg.PingTimeout,
		MaxMessageBytes:  cfg.MaxMessageBytes,
		SendQueueBytes:   cfg.SendQueueBytes,
		WriteTimeout:     cfg.WriteTimeout,
		HandshakeTimeout: cfg.HandshakeTimeout,
		CheckOrigin:      cfg.CheckOrigin,
		Logger:           cfg.Logger,
	}, s.open)
	return s
}

// ServeHTTP upgrades the request and returns; the connection goes on in its own goroutine.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.eng.ServeHTTP(w, r) }

// Len is the number of connections, those included that have not connected the namespace yet.
func (s *Server) Len() int { return s.eng.Len() }

// Close refuses new connections, closes all without a disconnect packet, so that clients connect again, and waits for their goroutines
// and handlers. It always returns nil.
func (s *Server) Close() error { return s.eng.Close() }

// open makes the session of a new connection.
func (s *Server) open(eng *engineio.Conn, r *http.Request) engineio.Session {
	c := &Conn{eng: eng, server: s}
	if eng.Revision() == engineio.Revision3 {
		s.admit(c, r) // protocol 4 connects the root namespace unasked
	} else {
		eng.Expect(s.handshake)
		c.request = r
	}
	return (*session)(c)
}

// admit asks accept about a connection and tells the peer.
func (s *Server) admit(c *Conn, r *http.Request) {
	h, err := s.accept(c, r)
	if err != nil {
		s.logger.Debug("connection refused", "id", c.eng.ID(), "reason", err)
		_ = c.refuse(RootNamespace, err.Error()) // the connection ends in any case
		c.eng.Close(err, closeRefused, "")
		return
	}
	c.handler = h
	reply := Packet{Type: PacketConnect, Namespace: RootNamespace}
	if c.eng.Revision() == engineio.Revision4 {
		reply.Data, _ = json.Marshal(map[string]string{"sid": c.eng.ID()}) // strings encode without error
	}
	c.connect(packetFrame(reply))
}

// closeRefused is the WebSocket close code for a peer that was refused (RFC 6455 section 7.4.1: policy violation).
const closeRefused = 1008
