// SPDX-License-Identifier: Apache-2.0

// Package engineio is the lower half of the signaling wire: Engine.IO revisions 3 and 4 over WebSocket, both ends.
//
// It carries text messages in order, notices dead peers, and bounds what a connection may cost. Its guarantees:
//
//   - A message is delivered whole and in order, or the connection ends. [Conn.Serve] then tells why.
//   - [Conn.Send] never blocks. What is not sent yet waits in a queue bounded in bytes; when it is full, or one write
//     takes longer than the write timeout, that one connection ends with [ErrSlowPeer] and nobody else is slowed.
//   - A [Frame] is encoded once, however many connections it is sent to.
//   - A peer that stays silent for ping interval plus ping timeout ends with [ErrPingTimeout]. In revision 3 the client
//     pings and the server answers; in revision 4 the server pings and the client answers.
//   - An idle server connection costs one goroutine, the reader. One goroutine beats for all connections of a server,
//     and a connection has a writer only while there is something to write.
//
// Left to others: what the messages mean (package socketio), authentication, TLS (the HTTP server's). HTTP long-polling,
// upgrades from it, compression and binary messages are not spoken; a peer that asks for them is refused.
//
// The protocol: https://github.com/socketio/engine.io-protocol (revisions 3 and 4), https://www.rfc-editor.org/rfc/rfc6455.
package engineio

import "time"

// Revision is the revision of the protocol, the EIO parameter of the handshake request.
type Revision int

// The revisions spoken here.
const (
	Revision3 Revision = 3 // the client pings; socket.io 1 and 2
	Revision4 Revision = 4 // the server pings; socket.io 3 and 4
)

// Valid reports whether r is spoken here.
func (r Revision) Valid() bool { return r == Revision3 || r == Revision4 }

// Defaults of the configurations.
const (
	DefaultPingInterval     = 25 * time.Second
	DefaultPingTimeout      = 5 * time.Second
	DefaultMaxMessageBytes  = 1 << 20
	DefaultSendQueueBytes   = 1 << 20
	DefaultWriteTimeout     = 5 * time.Second
	DefaultHandshakeTimeout = 10 * time.Second
)

// closeWait is how long the peer has to answer our WebSocket close frame.
const closeWait = time.Second

// readBufferBytes is the size of a connection's read buffer. Messages may be larger; an idle connection holds it.
const readBufferBytes = 512

func defaultTo[T int | int64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}
