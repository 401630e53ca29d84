// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxIdleTCP is how long a connection may be silent; one that has not shown credentials gets less.
	maxIdleTCP   = 30 * time.Second
	maxProveTCP  = 5 * time.Second
	tcpWriteTime = 2 * time.Second
)

// tcpListener takes publishers whose network has no UDP (RFC 6544, passive candidates).
type tcpListener struct {
	t     *Transport
	l     *net.TCPListener
	local netip.AddrPort
	wg    sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
}

func newTCPListener(t *Transport, l *net.TCPListener) *tcpListener {
	a, _ := l.Addr().(*net.TCPAddr)
	local := a.AddrPort()
	return &tcpListener{
		t: t, l: l, local: netip.AddrPortFrom(local.Addr().Unmap(), local.Port()),
		conns: map[net.Conn]struct{}{},
	}
}

// run accepts until the listener is closed.
func (l *tcpListener) run() {
	defer l.wg.Wait()
	for {
		conn, err := l.l.AcceptTCP()
		if err != nil {
			if l.isClosed() {
				return
			}
			time.Sleep(50 * time.Millisecond) // out of descriptors, for a while
			continue
		}
		select {
		case l.t.tcpSlots <- struct{}{}:
		default:
			_ = conn.Close()
			continue
		}
		if !l.add(conn) {
			_ = conn.Close()
			return
		}
		l.wg.Go(func() {
			l.serve(conn)
			l.remove(conn)
			<-l.t.tcpSlots
		})
	}
}

func (l *tcpListener) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

func (l *tcpListener) add(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.conns[conn] = struct{}{}
	}
	return !l.closed
}

func (l *tcpListener) remove(conn net.Conn) {
	_ = conn.Close() // nothing is to be done about an error
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, conn)
}

func (l *tcpListener) close() {
	l.mu.Lock()
	l.closed = true
	for c := range l.conns {
		_ = c.Close()
	}
	l.mu.Unlock()
	_ = l.l.Close()
}

// serve reads the frames of a connection (RFC 4571 section 2). The first must be a check that is authenticated.
func (l *tcpListener) serve(conn *net.TCPConn) {
	remote, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return
	}
	c := &tcpConn{conn: conn}
	from := remote.AddrPort()
	p := &path{addr: netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), tcp: c}
	r := bufio.NewReaderSize(conn, 4<<10)
	var demux demuxer
	packet := l.t.take()
	for {
		idle := maxProveTCP
		if c.owner() != nil {
			idle = maxIdleTCP
		}
		_ = conn.SetReadDeadline(time.Now().Add(idle)) // it fails where reading fails
		if err := readFrame(r, packet); err != nil {
			break
		}
		packet.Arrival = time.Now()
		if isSTUN(packet.buf) {
			l.t.check(packet.buf, packet.Arrival, p)
			continue
		}
		s := c.owner()
		if s == nil {
			break
		}
		if s.receive(&demux, packet, p) {
			packet = l.t.take()
		}
		demux.flush()
	}
	if s := c.owner(); s != nil {
		s.lostPath(p)
	}
}

// readFrame reads one frame into a packet.
func readFrame(r *bufio.Reader, p *Packet) error {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if n > cap(p.buf) {
		return io.ErrShortBuffer
	}
	p.buf = p.buf[:n]
	_, err := io.ReadFull(r, p.buf)
	return err
}

// tcpConn is one connection.
type tcpConn struct {
	conn *net.TCPConn

	mu      sync.Mutex // of writes, and session
	session *Session
	buf     []byte
}

func (c *tcpConn) owner() *Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

func (c *tcpConn) own(s *Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = s
}

// write sends a frame. A publisher that does not read is cut off.
func (c *tcpConn) write(data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf = binary.BigEndian.AppendUint16(c.buf[:0], uint16(len(data))) //nolint:gosec // a datagram is shorter
	c.buf = append(c.buf, data...)
	_ = c.conn.SetWriteDeadline(time.Now().Add(tcpWriteTime))
	_, err := c.conn.Write(c.buf)
	if err != nil {
		_ = c.conn.Close()
	}
	return err
}
