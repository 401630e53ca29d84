// SPDX-License-Identifier: Apache-2.0

package engineio

import "net"

// ReadFrames reads, as a server does, what comes on nc after the upgrade, until that ends or is refused.
func ReadFrames(nc net.Conn, maxMessageBytes int64, handle func(message []byte) error) error {
	s := NewServer(ServerConfig{MaxMessageBytes: maxMessageBytes}, nil)
	return s.newConn(nc, Revision3).socket.read(handle)
}

// CloseBody and ParseClose are the payload of close frames.
var (
	CloseBody  = closeBody
	ParseClose = parseClose
)
