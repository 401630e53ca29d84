// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaostest

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy is an address that stays the same while what is behind it comes and goes, and a network that can be cut.
type Proxy struct {
	listener net.Listener
	running  sync.WaitGroup

	mu     sync.Mutex
	target string              // "": nobody is there
	flow   chan struct{}       // closed while bytes flow
	held   bool                // flow is open
	conns  map[net.Conn]func() // both ends of each, and how to let go of it
	closed bool
}

// NewProxy listens on a port of loopback, with nobody behind it, until the test ends.
func NewProxy(tb testing.TB) *Proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{listener: l, flow: make(chan struct{}), conns: map[net.Conn]func(){}}
	close(p.flow)
	p.running.Go(p.serve)
	tb.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		_ = l.Close()
		p.Release()
		p.Cut()
		p.running.Wait()
	})
	return p
}

// Addr is where it listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Target says where new connections lead to; "" refuses them.
func (p *Proxy) Target(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Cut resets all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, drop := range p.conns {
		drop()
	}
}

// Hold swallows nothing and delivers nothing, until Release: to both ends the network has gone quiet.
func (p *Proxy) Hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.held && !p.closed {
		p.held, p.flow = true, make(chan struct{})
	}
}

// Release is the reverse of Hold.
func (p *Proxy) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held {
		p.held = false
		close(p.flow)
	}
}

func (p *Proxy) serve() {
	for {
		conn, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		p.running.Go(func() { p.carry(conn) })
	}
}

// carry connects a caller through.
func (p *Proxy) carry(from net.Conn) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	if target == "" {
		reset(from)
		return
	}
	to, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		reset(from)
		return
	}
	gone := make(chan struct{})
	drop := sync.OnceFunc(func() {
		close(gone)
		reset(from)
		reset(to)
	})
	p.mu.Lock()
	if p.closed {
		drop()
	}
	p.conns[from] = drop
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.copy(to, from, gone, drop) })
	both.Go(func() { p.copy(from, to, gone, drop) })
	both.Wait()
	drop()
	p.mu.Lock()
	delete(p.conns, from)
	p.mu.Unlock()
}

// copy carries one direction to its end, and passes the end on.
func (p *Proxy) copy(to, from net.Conn, gone <-chan struct{}, drop func()) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		flow := p.flow
		p.mu.Unlock()
		select {
		case <-flow:
		case <-gone:
			return
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				drop()
				return
			}
		}
		if err != nil {
			if half, ok := to.(*net.TCPConn); ok {
				_ = half.CloseWrite()
			}
			return
		}
	}
}

// reset closes a connection as a network does that is gone.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
