// SPDX-License-Identifier: Apache-2.0

// Package transport is the receiving end of WebRTC's media transport: one UDP port, ICE-lite, DTLS-SRTP, and RTP streams
// whose losses are repaired.
//
// A [Transport] owns the sockets. [Transport.Open] makes a [Session] for one publisher out of what offer and answer have
// agreed on; its packets come as [Stream] values. All sessions share the sockets: a datagram is read in a batch, told
// apart by its source address, decrypted in place and put into its stream's queue, without a copy or an allocation.
//
// ICE is the lite implementation of RFC 8445: nothing is ever sent to an address from which no authenticated
// connectivity check has come, so an offer cannot make a server send anything anywhere, and candidates of the publisher
// are of no use. The TCP port of the same number takes publishers whose network has no UDP (RFC 6544, passive).
//
// Repair: a missing packet is asked for (RFC 4585 section 6.2.1) until it comes, as itself or by retransmission (RFC
// 4588), or until [Stream.Patience] has passed; each round trip at most once. Opus comes back out of the redundancy of
// later packets too (RFC 2198). Packets are delivered in the order of arrival, each once.
//
// Left to others: SDP, who may publish, and the order of packets.
package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of this package.
var (
	// ErrClosed is returned by a Transport that has been closed.
	ErrClosed = errors.New("closed")
	// ErrConnect ends a session that did not connect in time, or whose handshake failed.
	ErrConnect = errors.New("not connected in time")
	// ErrSilence ends a session that has sent nothing for Config.SilenceTimeout.
	ErrSilence = errors.New("nothing was received")
	// ErrTooManyStreams ends a session that sends more streams than it may.
	ErrTooManyStreams = errors.New("too many streams")
	// ErrPeerClosed ends a session whose publisher has closed it.
	ErrPeerClosed = errors.New("closed by peer")
)

// Config of a Transport. The zero value works: it listens on loopback, on a port of the system's choice.
type Config struct {
	// Listen is the address for media, host:port. Default "127.0.0.1:0". An unspecified host opens a socket on each
	// address of the machine; loopback is then used only when there is nothing else.
	Listen string
	// PublicIPs are announced in place of the local addresses of their family, for a machine behind 1:1 NAT.
	PublicIPs []string
	// NoTCP leaves out ICE-TCP.
	NoTCP bool
	// MaxTCP bounds the TCP connections; more are closed at once. Default 1024.
	MaxTCP int
	// ReadBufferBytes is the receive buffer asked from the system for each UDP socket. Default 4 MiB.
	ReadBufferBytes int
	// MaxStreams is how many streams a session may have. Default 8.
	MaxStreams int
	// ConnectTimeout bounds the time from Open to a secure connection. Default 15 s.
	ConnectTimeout time.Duration
	// SilenceTimeout is how long a connected publisher may send nothing at all. Default 10 s.
	SilenceTimeout time.Duration
	// Logger gets what goes wrong; nil means nothing is logged. Addresses and credentials are not.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.ReadBufferBytes <= 0 {
		c.ReadBufferBytes = 4 << 20
	}
	if c.MaxTCP <= 0 {
		c.MaxTCP = 1024
	}
	if c.MaxStreams <= 0 {
		c.MaxStreams = 8
	}
	if c.ConnectTimeout <= 0 {
		c.ConnectTimeout = 15 * time.Second
	}
	if c.SilenceTimeout <= 0 {
		c.SilenceTimeout = 10 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Stats counts since the Transport was made.
type Stats struct {
	Packets   uint64 // RTP packets delivered
	Requested uint64 // times that a missing packet was asked for
	Repaired  uint64 // packets that came after they had been missed, by whatever way
	FromRED   uint64 // of these, out of the redundancy of later packets
	Lost      uint64 // packets given up
	Unknown   uint64 // authenticated packets that belong to no stream
	Refused   uint64 // packets that failed authentication, or were doubled
	Overrun   uint64 // packets dropped because their reader did not follow
}

// counts are the Stats as they are kept.
type counts struct {
	packets, requested, repaired, fromRED, lost, unknown, refused, overrun atomic.Uint64
}

// Transport owns the sockets. It is safe for concurrent use.
type Transport struct {
	cfg         Config
	log         *slog.Logger
	cert        tls.Certificate
	fingerprint string
	sockets     []*socket
	tcpSlots    chan struct{} // a token for each TCP connection
	listeners   []*tcpListener
	counts      counts
	packets     sync.Pool // of *Packet

	mu       sync.RWMutex
	closed   bool
	sessions map[string]*Session // by our user fragment
	wg       sync.WaitGroup
	stop     chan struct{}
}

// Listen opens the sockets. Close frees them.
func Listen(cfg Config) (*Transport, error) {
	t := &Transport{cfg: cfg.withDefaults(), sessions: map[string]*Session{}, stop: make(chan struct{})}
	t.log, t.tcpSlots = t.cfg.Logger, make(chan struct{}, t.cfg.MaxTCP)
	t.packets.New = func() any { return &Packet{buf: make([]byte, maxPacket)} }
	if err := t.makeCertificate(); err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	if err := t.listen(); err != nil {
		t.closeSockets()
		return nil, fmt.Errorf("listen on %s: %w", t.cfg.Listen, err)
	}
	for _, s := range t.sockets {
		t.wg.Go(s.run)
	}
	for _, l := range t.listeners {
		t.wg.Go(l.run)
	}
	t.wg.Go(t.tick)
	return t, nil
}

// listen opens one socket for each address, all on one port.
func (t *Transport) listen() error {
	addr, err := net.ResolveUDPAddr("udp", t.cfg.Listen)
	if err != nil {
		return err
	}
	ips := []net.IP{addr.IP}
	if addr.IP == nil || addr.IP.IsUnspecified() {
		if ips, err = localIPs(addr.IP != nil && addr.IP.To4() != nil); err != nil {
			return err
		}
	}
	port := addr.Port
	for _, ip := range ips {
		s, err := t.openSocket(&net.UDPAddr{IP: ip, Port: port, Zone: addr.Zone})
		if err != nil {
			return err
		}
		t.sockets = append(t.sockets, s)
		port = int(s.local.Port())
		if t.cfg.NoTCP {
			continue
		}
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: ip, Port: port, Zone: addr.Zone})
		if err != nil {
			t.log.Warn("publishers without UDP cannot connect: the TCP port is not free", "port", port)
			continue
		}
		t.listeners = append(t.listeners, newTCPListener(t, l))
	}
	return nil
}

// localIPs lists the unicast addresses of the machine, loopback only when there is nothing else. Link-local addresses
// are left out: they mean nothing without a zone, and a candidate has none.
func localIPs(only4 bool) ([]net.IP, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var ips, loopback []net.IP
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.IsLinkLocalUnicast() || (only4 && n.IP.To4() == nil) {
			continue
		}
		if n.IP.IsLoopback() {
			loopback = append(loopback, n.IP)
		} else {
			ips = append(ips, n.IP)
		}
	}
	if len(ips) == 0 {
		ips = loopback
	}
	if len(ips) == 0 {
		return nil, errors.New("machine has no usable address")
	}
	return ips, nil
}

// makeCertificate makes the certificate by which publishers know us; it is the SDP that vouches for it (RFC 8122).
func (t *Transport) makeCertificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now().AddDate(0, 0, -1), NotAfter: time.Now().AddDate(50, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	t.cert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	t.fingerprint = "sha-256 " + hexPairs(sha256.Sum256(der))
	return nil
}

func hexPairs(sum [32]byte) string {
	var b strings.Builder
	for i, c := range sum {
		if i > 0 {
			b.WriteByte(':')
		}
		fmt.Fprintf(&b, "%02X", c)
	}
	return b.String()
}

// Addrs returns the local UDP addresses.
func (t *Transport) Addrs() []net.Addr {
	out := make([]net.Addr, 0, len(t.sockets))
	for _, s := range t.sockets {
		out = append(out, net.UDPAddrFromAddrPort(s.local))
	}
	return out
}

// Fingerprint is the value of the fingerprint attribute of our certificate (RFC 8122 section 5).
func (t *Transport) Fingerprint() string { return t.fingerprint }

// Candidates are the values of our candidate attributes (RFC 8839 section 5.1).
func (t *Transport) Candidates() []string {
	var out []string
	n := 0
	for _, s := range t.sockets {
		for _, ip := range t.announced(s.local.Addr()) {
			n++
			out = append(out, fmt.Sprintf("%d 1 udp %d %s %d typ host", n, priority(65535-n, 126), ip, s.local.Port()))
		}
	}
	for _, l := range t.listeners {
		for _, ip := range t.announced(l.local.Addr()) {
			n++
			out = append(out, fmt.Sprintf("%d 1 tcp %d %s %d typ host tcptype passive", n, priority(65535-n, 90), ip, l.local.Port()))
		}
	}
	return out
}

// priority of a host candidate of component 1 (RFC 8445 section 5.1.2.1).
func priority(local, kind int) int { return kind<<24 + local<<8 + 255 }

// announced are the addresses under which a local one is known.
func (t *Transport) announced(local netip.Addr) []string {
	var out []string
	for _, text := range t.cfg.PublicIPs {
		if ip, err := netip.ParseAddr(text); err == nil && ip.Is4() == local.Is4() {
			out = append(out, text)
		}
	}
	if len(out) == 0 {
		out = []string{local.WithZone("").String()}
	}
	return out
}

// Stats returns the counts of now.
func (t *Transport) Stats() Stats {
	c := &t.counts
	return Stats{
		Packets: c.packets.Load(), Requested: c.requested.Load(), Repaired: c.repaired.Load(), FromRED: c.fromRED.Load(),
		Lost: c.lost.Load(), Unknown: c.unknown.Load(), Refused: c.refused.Load(), Overrun: c.overrun.Load(),
	}
}

// Close ends all sessions, waits until their handlers have returned, and frees the sockets.
func (t *Transport) Close() {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return
	}
	t.closed = true
	sessions := make([]*Session, 0, len(t.sessions))
	for _, s := range t.sessions {
		sessions = append(sessions, s)
	}
	t.mu.Unlock()
	for _, s := range sessions {
		s.Close()
	}
	close(t.stop)
	t.closeSockets()
	t.wg.Wait()
}

func (t *Transport) closeSockets() {
	for _, s := range t.sockets {
		_ = s.conn.Close() // there is nothing to be done about an error
	}
	for _, l := range t.listeners {
		l.close()
	}
}

// tickEvery is how often sessions are looked at that receive nothing; others look after themselves with each packet.
const tickEvery = 100 * time.Millisecond

// tick lets the sessions do what is due.
func (t *Transport) tick() {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	var sessions []*Session
	for {
		select {
		case <-t.stop:
			return
		case <-ticker.C:
		}
		sessions = sessions[:0]
		t.mu.RLock()
		for _, s := range t.sessions {
			sessions = append(sessions, s)
		}
		t.mu.RUnlock()
		now := time.Now()
		for _, s := range sessions {
			s.poll(now)
		}
	}
}

// session finds a session by our user fragment.
func (t *Transport) session(ufrag string) *Session {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.sessions[ufrag]
}

// forget takes a session out of all tables.
func (t *Transport) forget(s *Session) {
	t.mu.Lock()
	delete(t.sessions, s.ufrag)
	t.mu.Unlock()
	for _, k := range t.sockets {
		k.forget(s)
	}
}

// take returns a packet to be filled.
func (t *Transport) take() *Packet {
	p, _ := t.packets.Get().(*Packet)
	return p
}

// give takes a packet back that nobody uses any more.
func (t *Transport) give(p *Packet) { t.packets.Put(p) }
