// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

// Link is one client's own way to a database, which can be cut.
type Link struct {
	link *link
	url  string
}

// Link returns a way to the database. It ends with the test.
func (p *Postgres) Link(tb testing.TB) *Link {
	tb.Helper()
	l := newLink(tb)
	l.lead(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: p.port})
	return &Link{link: l, url: "postgres://classrec@" + l.address() + "/postgres?sslmode=disable"}
}

// URL is the database's, over the link.
func (l *Link) URL() string { return l.url }

// Cut makes the network swallow all that the client and the server send each
// other: connections stay, and nothing comes over them.
func (l *Link) Cut() { l.link.setCut(true) }

// Heal ends a cut. The connections of before, which lack what was swallowed,
// break.
func (l *Link) Heal() { l.link.setCut(false) }

// link is a TCP proxy, on a port of its own for as long as the test lasts.
type link struct {
	listener net.Listener
	running  sync.WaitGroup

	mu     sync.Mutex
	target string // "" while there is nobody yet
	cut    bool
	conns  map[net.Conn]struct{} // both ends of each; nil once it is closed
}

// newLink listens; what connects is turned away until the link is told where it
// leads. It ends with the test.
func newLink(tb testing.TB) *link {
	tb.Helper()
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &link{listener: listener, conns: map[net.Conn]struct{}{}}
	l.running.Go(func() { l.serve(ctx) })
	tb.Cleanup(func() {
		cancel()
		l.close()
	})
	return l
}

func (l *link) address() string { return l.listener.Addr().String() }

// lead makes the link lead new connections to an address.
func (l *link) lead(to net.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.target = to.String()
}

func (l *link) serve(ctx context.Context) {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.running.Go(func() { l.forward(ctx, near) })
	}
}

// forward passes bytes both ways until either end closes.
func (l *link) forward(ctx context.Context, near net.Conn) {
	target, ok := l.add(near)
	if !ok {
		return
	}
	defer l.remove(near)
	far, err := new(net.Dialer).DialContext(ctx, "tcp", target)
	if err != nil {
		return
	}
	if _, ok := l.add(far); !ok {
		return
	}
	defer l.remove(far)
	var back sync.WaitGroup
	back.Go(func() {
		l.pass(near, far)
		_ = near.Close()
	})
	l.pass(far, near)
	_ = far.Close()
	back.Wait()
}

// pass copies until an end of either kind. What comes during a cut is lost.
func (l *link) pass(to io.Writer, from io.Reader) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !l.isCut() {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (l *link) isCut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut
}

func (l *link) setCut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut && !cut {
		for conn := range l.conns {
			_ = conn.Close()
		}
	}
	l.cut = cut
}

// add keeps a connection until it is removed, and returns where the link leads.
// While it leads nowhere, and once it is closed, add closes the connection.
func (l *link) add(conn net.Conn) (target string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil || l.target == "" {
		_ = conn.Close()
		return "", false
	}
	l.conns[conn] = struct{}{}
	return l.target, true
}

func (l *link) remove(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = conn.Close()
	delete(l.conns, conn)
}

func (l *link) close() {
	_ = l.listener.Close()
	l.mu.Lock()
	for conn := range l.conns {
		_ = conn.Close()
	}
	l.conns = nil
	l.mu.Unlock()
	l.running.Wait()
}
