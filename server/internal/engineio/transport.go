// SPDX-License-Identifier: Apache-2.0

package engineio

import "net"

// transport is the WebSocket under a connection. read is called by one goroutine; write and writeClose by one at a time, possibly
// another one.
type transport interface {
	// read reads until an error and gives every WebSocket message to the connection, see [Conn.receive]. An error that comes from
	// the network, behind which nothing can be read, is a *readError.
	read(handle func(message []byte) error) error
	// write writes frames, as frame selects them. It may block until the network connection is closed.
	write(batch [][]byte) error
	// writeClose writes a close frame.
	writeClose(body []byte) error
	// frame selects what write wants of a frame.
	frame(f *Frame) []byte
	// netConn is the network connection below.
	netConn() net.Conn
}

// readError is an error behind which nothing can be read.
type readError struct{ err error }

func (e *readError) Error() string { return "read: " + e.err.Error() }
func (e *readError) Unwrap() error { return e.err }
