// SPDX-License-Identifier: Apache-2.0

// Package impair is a bad network between WebRTC publishers and a media server: a UDP relay that loses, delays, reorders
// and doubles datagrams.
//
// A [Link] stands in front of one server address. Publishers send to [Link.Addr] ([Link.Rewrite] puts it into an SDP
// answer); each of their source addresses gets a socket of its own towards the server, as behind a NAT, so any number of
// publishers can share a Link. What happens to a datagram is decided by a generator that is seeded by [Config.Seed] and
// draws once for each datagram of a direction, so a run repeats as far as the two ends do.
//
// It is for tests, of this module and of independent publishers, and reads no media: it only tells STUN, DTLS, RTP and
// RTCP apart by their first bytes (RFC 7983, RFC 5761 section 4).
package impair

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Kind of a datagram.
type Kind int

// The kinds of datagrams.
const (
	Other Kind = iota
	STUN
	DTLS
	RTP
	RTCP
)

// Datagram is what [Config.Drop] decides about.
type Datagram struct {
	Up   bool // from a publisher to the server
	Kind Kind
	// N counts the datagrams of this kind in this direction, from 0, over all publishers.
	N    int
	Data []byte // borrowed
}

// Conditions of one direction. The zero value is a perfect network.
type Conditions struct {
	// Loss is the share of datagrams lost, 0 to 1.
	Loss float64
	// Burst is the mean number of datagrams lost in a row (Gilbert's model); up to 1, losses are independent.
	Burst float64
	// Delay of each datagram.
	Delay time.Duration
	// Jitter is added to Delay, evenly distributed from 0 up to it. It does not reorder: a datagram waits for those
	// before it.
	Jitter time.Duration
	// Reorder is the share of datagrams that are overtaken: they are held back for ReorderBy (0 means 20 ms) more.
	Reorder   float64
	ReorderBy time.Duration
	// Duplicate is the share of datagrams that arrive twice.
	Duplicate float64
}

// Config of a Link.
type Config struct {
	Seed     uint64
	Up, Down Conditions
	// Listen is the address that publishers send to. Default 127.0.0.1; there are browsers that never send there.
	Listen netip.Addr
	// Drop, when set, is asked for every datagram before the conditions; true loses it. Calls are serial.
	Drop func(Datagram) bool
}

// Stats counts datagrams.
type Stats struct {
	Up, Down         uint64 // that came to the Link
	LostUp, LostDown uint64
}

// Link is a running relay. Its methods are safe for concurrent use.
type Link struct {
	front  *net.UDPConn
	target netip.AddrPort
	drop   func(Datagram) bool
	isCut  atomic.Bool
	up     *path
	down   *path

	mu      sync.Mutex
	closed  bool
	counts  map[[2]int]int // of datagrams, by direction and kind
	clients map[netip.AddrPort]*net.UDPConn
	wg      sync.WaitGroup
}

// New starts a relay on a free port, in front of a server's address. It runs until Close.
func New(target net.Addr, cfg Config) (*Link, error) {
	to, err := netip.ParseAddrPort(target.String())
	if err != nil {
		return nil, err
	}
	if !cfg.Listen.IsValid() {
		cfg.Listen = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	front, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(cfg.Listen, 0)))
	if err != nil {
		return nil, err
	}
	l := &Link{
		front: front, target: to, drop: cfg.Drop,
		up: newPath(cfg.Seed, 1, cfg.Up), down: newPath(cfg.Seed, 2, cfg.Down),
		counts: map[[2]int]int{}, clients: map[netip.AddrPort]*net.UDPConn{},
	}
	_ = front.SetReadBuffer(4 << 20) // best effort: what the system drops is lost as on any network
	l.wg.Go(l.up.run)
	l.wg.Go(l.down.run)
	l.wg.Go(l.readFront)
	return l, nil
}

// Addr is where publishers send to.
func (l *Link) Addr() netip.AddrPort { return l.front.LocalAddr().(*net.UDPAddr).AddrPort() }

// Rewrite puts the Link into the candidates of an SDP answer in place of the server's port. The other addresses are the
// caller's care: the server has to be listening on loopback alone.
func (l *Link) Rewrite(answer string) string {
	from, to := " "+strconv.Itoa(int(l.target.Port()))+" typ host", " "+strconv.Itoa(int(l.Addr().Port()))+" typ host"
	return strings.ReplaceAll(answer, from, to)
}

// WithoutCandidates takes the candidates out of an offer, so that a server learns of no way around the Link.
func WithoutCandidates(offer string) string {
	var b strings.Builder
	for line := range strings.Lines(offer) {
		if !strings.HasPrefix(line, "a=candidate:") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// Set changes the conditions.
func (l *Link) Set(up, down Conditions) {
	l.up.set(up)
	l.down.set(down)
}

// Cut loses everything in both directions from now on, or ends that.
func (l *Link) Cut(cut bool) { l.isCut.Store(cut) }

// Stats returns the counts of now.
func (l *Link) Stats() Stats {
	return Stats{Up: l.up.seen.Load(), Down: l.down.seen.Load(), LostUp: l.up.lost.Load(), LostDown: l.down.lost.Load()}
}

// Close ends the relay and waits for its goroutines; what is on its way is lost.
func (l *Link) Close() {
	l.mu.Lock()
	l.closed = true
	for _, c := range l.clients {
		_ = c.Close()
	}
	l.mu.Unlock()
	_ = l.front.Close()
	l.up.close()
	l.down.close()
	l.wg.Wait()
}

// readFront takes what publishers send.
func (l *Link) readFront() {
	buf := make([]byte, 65536)
	for {
		n, from, err := l.front.ReadFromUDPAddrPort(buf)
		if err != nil {
			if l.isClosed() {
				return
			}
			continue // an ICMP answer to an earlier datagram
		}
		back := l.client(from)
		if back == nil {
			return
		}
		l.forward(l.up, true, buf[:n], func(data []byte) { _, _ = back.Write(data) })
	}
}

// client returns the socket of a publisher's address towards the server.
func (l *Link) client(from netip.AddrPort) *net.UDPConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.clients[from]; c != nil || l.closed {
		return c
	}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(l.target))
	if err != nil {
		return nil
	}
	_ = c.SetReadBuffer(1 << 20)
	l.clients[from] = c
	l.wg.Go(func() { l.readBack(c, from) })
	return c
}

// readBack takes what the server sends to a publisher.
func (l *Link) readBack(c *net.UDPConn, to netip.AddrPort) {
	buf := make([]byte, 65536)
	for {
		n, err := c.Read(buf)
		if err != nil {
			if l.isClosed() {
				return
			}
			continue
		}
		l.forward(l.down, false, buf[:n], func(data []byte) { _, _ = l.front.WriteToUDPAddrPort(data, to) })
	}
}

func (l *Link) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// forward sends a datagram on its way, or loses it.
func (l *Link) forward(p *path, up bool, data []byte, write func([]byte)) {
	p.seen.Add(1)
	if l.isCut.Load() || l.dropped(up, data) {
		p.lost.Add(1)
		return
	}
	p.send(data, write)
}

func (l *Link) dropped(up bool, data []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := Datagram{Up: up, Kind: kindOf(data), Data: data}
	key := [2]int{0, int(d.Kind)}
	if up {
		key[0] = 1
	}
	d.N = l.counts[key]
	l.counts[key]++
	return l.drop != nil && l.drop(d)
}

// Nth loses the nth datagram (from 0) of a kind in a direction, and no other.
func Nth(up bool, kind Kind, n int) func(Datagram) bool {
	return func(d Datagram) bool { return d.Up == up && d.Kind == kind && d.N == n }
}

// kindOf tells the protocols on one port apart.
func kindOf(data []byte) Kind {
	switch {
	case len(data) < 2:
		return Other
	case data[0] < 4:
		return STUN
	case data[0] >= 20 && data[0] <= 63:
		return DTLS
	case data[0] >= 128 && data[0] <= 191 && data[1] >= 192 && data[1] <= 223:
		return RTCP
	case data[0] >= 128 && data[0] <= 191:
		return RTP
	}
	return Other
}

// path is one direction.
type path struct {
	seen, lost atomic.Uint64
	wake, stop chan struct{}

	mu     sync.Mutex
	rng    *rand.Rand
	cond   Conditions
	losing bool // in a burst
	last   time.Time
	queue  []late // by the time it is due
}

// late is a datagram on its way.
type late struct {
	due   time.Time
	data  []byte
	write func([]byte)
}

func newPath(seed, stream uint64, c Conditions) *path {
	return &path{
		wake: make(chan struct{}, 1), stop: make(chan struct{}),
		rng: rand.New(rand.NewPCG(seed, stream)), cond: c, //nolint:gosec // it is to be repeatable
	}
}

func (p *path) set(c Conditions) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cond = c
}

func (p *path) close() { close(p.stop) }

// send decides what becomes of a datagram.
func (p *path) send(data []byte, write func([]byte)) {
	p.mu.Lock()
	c := p.cond
	loss, jitter, reorder, double := p.rng.Float64(), p.rng.Float64(), p.rng.Float64(), p.rng.Float64()
	if p.loses(c, loss) {
		p.mu.Unlock()
		p.lost.Add(1)
		return
	}
	copies := 1
	if double < c.Duplicate {
		copies = 2
	}
	due := time.Now().Add(c.Delay + time.Duration(jitter*float64(c.Jitter)))
	if due.Before(p.last) {
		due = p.last
	}
	p.last = due
	if reorder < c.Reorder {
		by := c.ReorderBy
		if by <= 0 {
			by = 20 * time.Millisecond
		}
		due = due.Add(by)
	}
	if time.Until(due) <= 0 && len(p.queue) == 0 {
		p.mu.Unlock()
		for range copies {
			write(data)
		}
		return
	}
	item := late{due, append([]byte(nil), data...), write}
	for range copies {
		p.insert(item)
	}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// loses advances Gilbert's model: from a good state into a burst, and out of it, such that Loss is the share of time in
// bursts and Burst their mean length.
func (p *path) loses(c Conditions, draw float64) bool {
	if c.Burst <= 1 || c.Loss <= 0 || c.Loss >= 1 {
		return draw < c.Loss
	}
	leave := 1 / c.Burst
	if p.losing {
		p.losing = draw >= leave
	} else {
		p.losing = draw < leave*c.Loss/(1-c.Loss)
	}
	return p.losing
}

// insert keeps the queue in order.
func (p *path) insert(item late) {
	i := len(p.queue)
	for i > 0 && p.queue[i-1].due.After(item.due) {
		i--
	}
	p.queue = append(p.queue, late{})
	copy(p.queue[i+1:], p.queue[i:])
	p.queue[i] = item
}

// run delivers what is late.
func (p *path) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait := p.deliver()
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-p.wake:
		case <-p.stop:
			return
		}
	}
}

// deliver writes what is due and returns the time until the next.
func (p *path) deliver() time.Duration {
	for {
		p.mu.Lock()
		if len(p.queue) == 0 {
			p.mu.Unlock()
			return time.Hour
		}
		if wait := time.Until(p.queue[0].due); wait > 0 {
			p.mu.Unlock()
			return wait
		}
		item := p.queue[0]
		p.queue = p.queue[1:]
		p.mu.Unlock()
		item.write(item.data)
	}
}
