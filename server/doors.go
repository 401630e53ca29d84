// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/classrec/classrec/server/internal/gateway"
)

// Doors bounds who may come to the API and to the rooms, whatever he asks for
// then.
type Doors struct {
	// MaxConnections is how many connections each of GRPCListen, HTTPListen and
	// AdminListen may have, and RoomMaxConnections each of RoomListen and
	// RoomHTTPListen. One more is closed at once. 0: 10,000 and 60,000.
	MaxConnections, RoomMaxConnections int
	// MaxConnectionsPerAddress is how many of them one address may have, of IPv6
	// one network of 64 bits. 0: no bound, since many people may come from behind
	// one address.
	MaxConnectionsPerAddress int
	// BodyTimeout bounds the time in which the body of a request must have come,
	// and AnswerTimeout that in which 256 KiB of an answer must be taken; a stream
	// has bounds of its own. 0: 30 s and 1 min.
	BodyTimeout, AnswerTimeout time.Duration
	// MessageTimeout bounds the time in which the first message of a call must
	// have come; without a credential that counts it is a sixth of that. 0: 30 s.
	MessageTimeout time.Duration
	// CORSOrigins are the origins whose pages may call the API from a browser, as
	// https://app.example; "*": every one. Others' pages cannot.
	CORSOrigins []string
	// AllowedHosts are names of this server: HTTPListen answers under them, its
	// own host and that of FilesBaseURL, under localhost and under addresses. nil:
	// under any name too, unless it listens on loopback.
	AllowedHosts []string
}

func (d Doors) withDefaults() Doors {
	d.MaxConnections = cmp.Or(d.MaxConnections, 10_000)
	d.RoomMaxConnections = cmp.Or(d.RoomMaxConnections, 60_000)
	d.BodyTimeout = cmp.Or(d.BodyTimeout, 30*time.Second)
	d.MessageTimeout = cmp.Or(d.MessageTimeout, 30*time.Second)
	d.AnswerTimeout = cmp.Or(d.AnswerTimeout, time.Minute)
	return d
}

// validate finds what makes no sense.
func (d Doors) validate() (errs []error) {
	for flag, n := range map[string]int{
		"--max-connections": d.MaxConnections, "--room-max-connections": d.RoomMaxConnections,
		"--max-connections-per-address": d.MaxConnectionsPerAddress,
	} {
		if n < 0 {
			errs = append(errs, fmt.Errorf("%s: is negative", flag))
		}
	}
	for _, origin := range d.CORSOrigins {
		if err := gateway.CheckOrigin(origin); err != nil {
			errs = append(errs, fmt.Errorf("--cors-origin: %q %w", origin, err))
		}
	}
	for _, name := range d.AllowedHosts {
		if err := gateway.CheckHostName(name); err != nil {
			errs = append(errs, fmt.Errorf("--allowed-host: %q %w", name, err))
		}
	}
	return errs
}

// hosts are the names under which HTTP is answered; nil: any.
func (c Config) hosts() []string {
	if c.Doors.AllowedHosts == nil && !loopback(c.HTTPListen) {
		return nil
	}
	hosts := append([]string{}, c.Doors.AllowedHosts...)
	if host, _, err := net.SplitHostPort(c.HTTPListen); err == nil && host != "" {
		hosts = append(hosts, host)
	}
	if u, err := url.Parse(c.FilesBaseURL); err == nil && u.Hostname() != "" {
		hosts = append(hosts, u.Hostname())
	}
	return hosts
}

// door is a listener that has so many connections at most, in all and of one
// address. One more is closed at once, and where plain HTTP is spoken answered
// 503 before: nobody waits in a queue that does not move.
type door struct {
	net.Listener
	name            string
	most, mostOfOne int  // 0: no bound
	plainHTTP       bool // a refusal can be put into words

	mu             sync.Mutex
	open           int
	ofOne          map[netip.Addr]int // with mostOfOne alone
	full, crowded  uint64             // refused for the one bound, and for the other
	refusing       sync.WaitGroup
	refusingAtOnce int
}

func newDoor(l net.Listener, name string, most, mostOfOne int, plainHTTP bool) *door {
	return &door{Listener: l, name: name, most: most, mostOfOne: mostOfOne, plainHTTP: plainHTTP, ofOne: map[netip.Addr]int{}}
}

// Accept waits for the next connection that there is a place for.
func (d *door) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := addressOf(conn)
		if d.enter(from) {
			return d.count(conn, from), nil
		}
		d.refuse(conn)
	}
}

func (d *door) enter(from netip.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.most > 0 && d.open >= d.most {
		d.full++
		return false
	}
	if d.mostOfOne > 0 {
		if d.ofOne[from] >= d.mostOfOne {
			d.crowded++
			return false
		}
		d.ofOne[from]++
	}
	d.open++
	return true
}

func (d *door) leave(from netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open--
	if d.mostOfOne > 0 {
		if d.ofOne[from]--; d.ofOne[from] <= 0 {
			delete(d.ofOne, from)
		}
	}
}

// refuseAtOnce is how many refusals are told in words at one time; the others
// are told by the connection's end.
const refuseAtOnce = 64

// refuse ends a connection. The words are lost when the caller sends before he
// reads, and the end of the connection is what he gets then.
func (d *door) refuse(conn net.Conn) {
	d.mu.Lock()
	words := d.plainHTTP && d.refusingAtOnce < refuseAtOnce
	if words {
		d.refusingAtOnce++
	}
	d.mu.Unlock()
	if !words {
		_ = conn.Close()
		return
	}
	d.refusing.Go(func() {
		defer func() {
			_ = conn.Close()
			d.mu.Lock()
			d.refusingAtOnce--
			d.mu.Unlock()
		}()
		// What has been sent is read first: closing with it unread resets the
		// connection, and takes the answer away.
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		_, _ = conn.Read(make([]byte, 4<<10))
		_, _ = conn.Write([]byte("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n" +
			"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 27\r\n\r\nthere are too many callers\n"))
	})
}

// Close closes the listener and waits for refusals under way.
func (d *door) Close() error {
	err := d.Listener.Close()
	d.refusing.Wait()
	return err
}

// refused is how many connections found no place, and how many too many of
// their own address.
func (d *door) refused() (full, crowded uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.full, d.crowded
}

func (d *door) connections() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open
}

// count has the door told when the connection is closed. It stays what it is
// for those who look: a TCP connection sends files and is polled without copies.
func (d *door) count(conn net.Conn, from netip.Addr) net.Conn {
	left := sync.OnceFunc(func() { d.leave(from) })
	if tcp, ok := conn.(*net.TCPConn); ok {
		return &countedTCP{TCPConn: tcp, left: left}
	}
	return &counted{Conn: conn, left: left}
}

type counted struct {
	net.Conn
	left func()
}

// Close closes the connection.
func (c *counted) Close() error {
	defer c.left()
	return c.Conn.Close()
}

type countedTCP struct {
	*net.TCPConn
	left func()
}

// Close closes the connection.
func (c *countedTCP) Close() error {
	defer c.left()
	return c.TCPConn.Close()
}

// addressOf is who calls: of IPv6 the network of 64 bits, which is one
// subscriber's.
func addressOf(conn net.Conn) netip.Addr {
	at, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	addr := at.Addr().Unmap().WithZone("")
	if addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			return network.Addr()
		}
	}
	return addr
}

// doorReadings are what /metrics tells of the doors.
func doorReadings() []reading[[]*door] {
	return []reading[[]*door]{
		gauge("classrec_connections", "Connections that are open.",
			func(doors []*door, tell func(float64, ...string)) {
				for _, d := range doors {
					tell(float64(d.connections()), d.name)
				}
			}, "listener"),
		counter("classrec_connections_refused_total",
			"Connections closed at once, because there were too many: in all (full), or of one address (address).",
			func(doors []*door, tell func(float64, ...string)) {
				for _, d := range doors {
					full, crowded := d.refused()
					tell(float64(full), d.name, "full")
					tell(float64(crowded), d.name, "address")
				}
			}, "listener", "reason"),
	}
}
