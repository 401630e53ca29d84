// SPDX-License-Identifier: Apache-2.0

package socketio

import (
	"errors"
	"fmt"

	"github.com/classrec/classrec/server/internal/engineio"
)

// Why a connection ended, or why something could not be sent on it. The first seven are those of package engineio.
var (
	ErrClosed           = engineio.ErrClosed           // this side closed the connection
	ErrSlowPeer         = engineio.ErrSlowPeer         // the peer does not read
	ErrPingTimeout      = engineio.ErrPingTimeout      // the peer is silent
	ErrHandshakeTimeout = engineio.ErrHandshakeTimeout // the peer connected and did not ask for a namespace
	ErrMessageTooBig    = engineio.ErrMessageTooBig    // the peer sent a message over the limit
	ErrBinary           = engineio.ErrBinary           // the peer sent a binary event
	ErrMalformed        = engineio.ErrMalformed        // the peer broke the protocol

	// ErrDisconnected: the peer ended the connection with a disconnect packet ("41"). The vendor's clients do not reconnect then.
	ErrDisconnected = errors.New("disconnected by peer")
	// ErrEventQueueFull: the user of a [Client] does not take its events.
	ErrEventQueueFull = errors.New("event queue full")
	// ErrNotConnected: a [Conn] takes events only once its accept function has returned.
	ErrNotConnected = errors.New("not connected yet")
	// ErrAcked: the event has been answered already.
	ErrAcked = errors.New("event already acknowledged")
)

// CloseError is how the peer ended the connection without a disconnect packet.
type CloseError = engineio.CloseError

// ResponseError is the server's refusal of the WebSocket handshake.
type ResponseError = engineio.ResponseError

// RefusedError is the server's refusal to connect the namespace.
type RefusedError struct {
	Message string // as the server wrote it, may be empty
}

func (e *RefusedError) Error() string {
	if e.Message == "" {
		return "connection refused by server"
	}
	return "connection refused by server: " + e.Message
}

var (
	errNoConnect  = fmt.Errorf("%w: packet before the namespace is connected", ErrMalformed)
	errUnexpected = fmt.Errorf("%w: packet type that this side does not take", ErrMalformed)
)
