// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"io"
	"net"
	"sync"
	"testing"
)

// line is a network in front of a server, which can be cut.
type line struct {
	listener net.Listener

	mu    sync.Mutex
	conns map[net.Conn]struct{} // both ends of every connection
	done  bool
	wait  sync.WaitGroup
}

func newLine(t *testing.T, to net.Addr) *line {
	t.Helper()
	l := &line{listener: must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0")), conns: map[net.Conn]struct{}{}}
	l.wait.Go(func() {
		for {
			near, err := l.listener.Accept()
			if err != nil {
				return // closed
			}
			far, err := net.Dial("tcp", to.String())
			if err != nil {
				_ = near.Close()
				continue
			}
			if !l.add(near, far) {
				return
			}
			l.wait.Go(func() { l.carry(near, far) })
			l.wait.Go(func() { l.carry(far, near) })
		}
	})
	t.Cleanup(func() {
		l.mu.Lock()
		l.done = true
		l.mu.Unlock()
		_ = l.listener.Close()
		l.cut()
		l.wait.Wait()
	})
	return l
}

// url is where the server is through the line, over https.
func (l *line) url() string { return "https://" + l.listener.Addr().String() }

func (l *line) add(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		if l.done {
			_ = c.Close()
			continue
		}
		l.conns[c] = struct{}{}
	}
	return !l.done
}

func (l *line) carry(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_, _ = to.Close(), from.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, to)
	delete(l.conns, from)
}

// cut closes every connection; new ones can be made at once.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset, not a goodbye
		}
		_ = c.Close()
	}
}
