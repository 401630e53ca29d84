// SPDX-License-Identifier: Apache-2.0

package engineio

import (
	"errors"
	"fmt"
)

// Why a connection ended, or why something could not be sent on it.
var (
	// ErrClosed: this side closed the connection.
	ErrClosed = errors.New("connection closed")
	// ErrSlowPeer: the peer does not read; the send queue was full, or one write exceeded the write timeout.
	ErrSlowPeer = errors.New("peer does not read fast enough")
	// ErrPingTimeout: nothing was heard from the peer for ping interval plus ping timeout.
	ErrPingTimeout = errors.New("ping timeout")
	// ErrHandshakeTimeout: the peer did not say in time what it had to say first, see [Conn.Expect].
	ErrHandshakeTimeout = errors.New("handshake timeout")
	// ErrMessageTooBig: the peer sent a message over the limit.
	ErrMessageTooBig = errors.New("message too big")
	// ErrBinary: the peer sent a binary message, which is not spoken here.
	ErrBinary = errors.New("binary messages are not supported")
	// ErrMalformed: the peer broke the protocol. What it did is in the error that wraps this one.
	ErrMalformed = errors.New("malformed packet")
)

// CloseError is how the peer ended the connection: the code and reason of its WebSocket close frame (RFC 6455 section 7.4).
// Code 1005 is a close frame without a code, 1006 a connection that went away without any.
type CloseError struct {
	Code   int
	Reason string
}

func (e *CloseError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("closed by peer with code %d", e.Code)
	}
	return fmt.Sprintf("closed by peer with code %d: %s", e.Code, e.Reason)
}

// ResponseError is the server's refusal of the WebSocket handshake.
type ResponseError struct {
	Status int // the HTTP status, for example 400
}

func (e *ResponseError) Error() string {
	return fmt.Sprintf("server answered the handshake with HTTP status %d", e.Status)
}
