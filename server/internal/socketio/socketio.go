// SPDX-License-Identifier: Apache-2.0

// Package socketio is the upper half of the signaling wire: Socket.IO events and acknowledgements over package engineio, both ends,
// in protocol 4 (Socket.IO 1 and 2, on Engine.IO revision 3) and protocol 5 (Socket.IO 3 and 4, on revision 4).
//
// Its guarantees, besides those of package engineio:
//
//   - Events of one connection are delivered in order, one at a time. None is dropped silently: who cannot keep up loses the connection
//     and is told why.
//   - A broadcast is encoded once, as a [Frame], for connections of both revisions.
//   - Input that is malformed, nested deeper than [MaxDepth], has more than [MaxArgs] arguments or is binary ends the one connection
//     that it came on.
//
// Only the namespace "/" exists. A peer that connects to another one is refused that namespace and stays connected.
//
// Left to others: what events mean, who may connect, and connecting again. The protocol:
// https://github.com/socketio/socket.io-protocol (revisions 4 and 5).
package socketio

import "encoding/json"

// Event is an event that the peer has emitted.
type Event struct {
	Name string
	Args []json.RawMessage // valid JSON each; they belong to the receiver
	// Ack answers the event. It is nil when the peer asked for no answer. It never blocks; the first call counts, the others
	// return [ErrAcked]. It may be called at any time and from any goroutine.
	Ack func(args ...any) error
}

// Limits of what is accepted in one packet.
const (
	MaxDepth = 128 // how deep arrays and objects may be nested
	MaxArgs  = 256 // how many arguments an event or acknowledgement may have
)
