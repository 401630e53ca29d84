// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/rtp"
)

const (
	// maxPacket is the longest datagram taken; those of a WebRTC sender stay below 1500 bytes.
	maxPacket = 2048
	// batchSize is how many datagrams are read at once.
	batchSize = 64
	// gather is how long a socket that receives media waits at most before it reads again, so that more is read at once: a
	// recorder has no deadline, and the system stamps the time of arrival. The more has come, the shorter it waits, since
	// what waits in the socket is bounded: as of gatherEnough not at all.
	gather       = 10 * time.Millisecond
	gatherEnough = 48
)

// Packet is one RTP packet. It belongs to who read it, until it is given back by [Stream.Release].
type Packet struct {
	rtp.Packet
	// Arrival is when it came, with a monotonic reading.
	Arrival time.Time

	buf []byte // what the datagram was read into
}

// socket is one UDP socket.
type socket struct {
	t      *Transport
	conn   *net.UDPConn
	local  netip.AddrPort
	reader *batchReader

	mu    sync.RWMutex
	peers map[netip.AddrPort]peer // by address, those whose checks were authenticated
}

// peer is a session and the path that leads to it.
type peer struct {
	session *Session
	path    *path
}

func (t *Transport) openSocket(addr *net.UDPAddr) (*socket, error) {
	conn, err := net.ListenUDP("udp", addr)
	if err != nil {
		return nil, err
	}
	if err := conn.SetReadBuffer(t.cfg.ReadBufferBytes); err != nil {
		t.log.Debug("receive buffer not set", "error", err)
	}
	s := &socket{t: t, conn: conn, peers: map[netip.AddrPort]peer{}}
	if local, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		s.local = local.AddrPort()
		s.local = netip.AddrPortFrom(s.local.Addr().Unmap(), s.local.Port())
	}
	if s.reader, err = newBatchReader(conn, t.cfg.ReadBufferBytes, t.take); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return s, nil
}

// run reads until the socket is closed.
func (s *socket) run() {
	var demux demuxer
	got, media := 0, false // since the last pause
	for {
		n, err := s.reader.read()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // an ICMP answer to a datagram of ours
		}
		for i := range n {
			p, from := s.reader.packet(i)
			media = media || isMedia(p.buf)
			if s.datagram(&demux, p, from) { // it is another's now
				s.reader.replace(i, s.t.take())
			}
		}
		demux.flush()
		if got += n; n == batchSize {
			continue // there is more
		}
		if pause := gather * time.Duration(gatherEnough-got) / gatherEnough; media && pause > 0 {
			time.Sleep(pause)
		}
		got, media = 0, false
	}
}

// datagram handles one; it reports whether the packet has been handed on.
func (s *socket) datagram(d *demuxer, p *Packet, from netip.AddrPort) (taken bool) {
	if isSTUN(p.buf) {
		s.t.check(p.buf, p.Arrival, &path{socket: s, addr: from})
		return false
	}
	s.mu.RLock()
	peer := s.peers[from]
	s.mu.RUnlock()
	if peer.session == nil {
		return false // from an address that has not shown that it is a publisher's
	}
	return peer.session.receive(d, p, peer.path)
}

// learn ties an address to a session.
func (s *socket) learn(p *path, session *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peers[p.addr] = peer{session, p}
}

// unlearn unties one.
func (s *socket) unlearn(addr netip.AddrPort, session *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.peers[addr].session == session {
		delete(s.peers, addr)
	}
}

func (s *socket) forget(session *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for addr, p := range s.peers {
		if p.session == session {
			delete(s.peers, addr)
		}
	}
}

// path is how a publisher is reached: over a socket to an address, or over a TCP connection.
type path struct {
	socket *socket
	addr   netip.AddrPort
	tcp    *tcpConn
}

func (p *path) same(o *path) bool {
	return p != nil && o != nil && p.socket == o.socket && p.addr == o.addr && p.tcp == o.tcp
}

func (p *path) write(data []byte) error {
	if p.tcp != nil {
		return p.tcp.write(data)
	}
	_, err := p.socket.conn.WriteToUDPAddrPort(data, p.addr)
	return err
}

// What is in a datagram is told by its first bytes (RFC 7983 section 7, RFC 5761 section 4).
func isSTUN(b []byte) bool  { return len(b) >= 20 && b[0] < 4 }
func isDTLS(b []byte) bool  { return len(b) > 0 && b[0] >= 20 && b[0] <= 63 }
func isMedia(b []byte) bool { return len(b) >= 8 && b[0] >= 128 && b[0] <= 191 }
func isRTCP(b []byte) bool  { return isMedia(b) && b[1] >= 192 && b[1] <= 223 }
