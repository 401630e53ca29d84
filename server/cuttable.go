// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net"
	"sync"
)

// cuttable is a listener whose connections can be cut, also those that a server
// does not know of yet because they have not said enough: [grpc.Server.Stop]
// waits for these.
type cuttable struct {
	net.Listener

	mu    sync.Mutex
	conns map[*cuttableConn]struct{}
	done  bool
}

func newCuttable(l net.Listener) *cuttable {
	return &cuttable{Listener: l, conns: map[*cuttableConn]struct{}{}}
}

// Accept waits for the next connection.
func (l *cuttable) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &cuttableConn{Conn: conn, of: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	l.conns[c] = struct{}{}
	return c, nil
}

// cut closes the listener and all connections.
func (l *cuttable) cut() {
	_ = l.Close() // it may be closed already
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = true
	for c := range l.conns {
		_ = c.Conn.Close()
	}
}

type cuttableConn struct {
	net.Conn
	of *cuttable
}

// Close closes the connection.
func (c *cuttableConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.conns, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}
