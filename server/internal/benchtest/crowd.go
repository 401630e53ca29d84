// SPDX-License-Identifier: Apache-2.0

//go:build bench

package benchtest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Crowd is thousands of participants on raw sockets, engine.io revision 3. Each
// enters with a message of its own, and is then only looked at by
// [Crowd.Await], in turn with all others, and not waited for: so what is
// charged to the server under test is its own work, and not the waking of
// readers on the same machine.
type Crowd struct {
	tb      testing.TB
	addr    string
	count   []byte // how the messages begin that Await counts
	members []*Member
	failed  error // of the pings
	stop    chan struct{}
	done    sync.WaitGroup
}

// Member is one participant of a [Crowd].
type Member struct {
	fd   int
	file *os.File // owns fd
	rest []byte   // of a frame that has not come in full
}

// pingEvery is how long a round of pings takes, as with the vendor's clients.
const pingEvery = 25 * time.Second

// NewCrowd returns a crowd without anybody in it. Await counts the events of the
// given name.
func NewCrowd(tb testing.TB, addr, event string) *Crowd {
	tb.Helper()
	c := &Crowd{tb: tb, addr: addr, count: []byte(`42["` + event + `"`), stop: make(chan struct{})}
	tb.Cleanup(func() {
		close(c.stop)
		c.done.Wait()
		if c.failed != nil {
			tb.Errorf("ping: %v", c.failed)
		}
		for _, m := range c.members {
			_ = m.file.Close()
		}
	})
	return c
}

// Enter has n participants enter; join gives the message of the i-th, which the
// server acknowledges. They stay until the test ends, and are pinged from now on.
// It is to be called once.
func (c *Crowd) Enter(n int, join func(i int) string) []*Member {
	c.tb.Helper()
	members := make([]*Member, n)
	failures := make(chan error, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				m, err := enter(c.tb.Context(), c.addr, join(i))
				if err != nil {
					failures <- fmt.Errorf("participant %d: %w", i, err)
					return
				}
				members[i] = m
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failures:
		c.tb.Fatal(err)
	default:
	}
	c.members = members
	c.done.Go(c.ping)
	return members
}

// enter connects, joins, and leaves the socket to be looked at.
func enter(ctx context.Context, addr, join string) (*Member, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(conn, "GET /socket.io/?EIO=3&transport=websocket HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"+
		"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", addr)
	if err != nil {
		return nil, err
	}
	br := bufio.NewReader(conn)
	for line := ""; line != "\r\n"; {
		if line, err = br.ReadString('\n'); err != nil {
			return nil, err
		}
	}
	if _, err := conn.Write(frames(join)); err != nil {
		return nil, err
	}
	for {
		text, err := readFrame(br)
		if err != nil {
			return nil, err
		}
		if bytes.HasPrefix(text, []byte("43")) {
			break
		}
	}
	file, err := conn.(*net.TCPConn).File()
	if err != nil {
		return nil, err
	}
	rest, _ := br.Peek(br.Buffered()) // cannot fail
	m := &Member{fd: int(file.Fd()), file: file, rest: bytes.Clone(rest)}
	return m, syscall.SetNonblock(m.fd, true)
}

func readFrame(r io.Reader) ([]byte, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return nil, err
	}
	n := int(head[1])
	switch n {
	case 126:
		if _, err := io.ReadFull(r, head[2:]); err != nil {
			return nil, err
		}
		n = int(head[2])<<8 | int(head[3])
	case 127:
		return nil, errors.New("a message of more than 64 KiB")
	}
	text := make([]byte, n)
	_, err := io.ReadFull(r, text)
	return text, err
}

// Await looks at all participants until n events have come, and fails the test
// when that takes over a minute.
func (c *Crowd) Await(n int) {
	c.tb.Helper()
	got := 0
	for deadline := time.Now().Add(time.Minute); got < n && time.Now().Before(deadline); {
		got += c.look(c.count)
	}
	if got != n {
		c.tb.Fatalf("%d of %d events came", got, n)
	}
}

// Drain takes events of whatever name until none comes for a second.
func (c *Crowd) Drain() {
	c.tb.Helper()
	for since := time.Now(); time.Since(since) < time.Second; {
		if c.look([]byte("42")) > 0 {
			since = time.Now()
		}
	}
}

// lookEvery is between one look at everybody and the next.
const lookEvery = 5 * time.Millisecond

// look looks at everybody once and counts the messages that begin as given.
func (c *Crowd) look(prefix []byte) (count int) {
	c.tb.Helper()
	<-time.After(lookEvery)
	buf := make([]byte, 64<<10)
	for _, m := range c.members {
		n, err := syscall.Read(m.fd, buf)
		switch {
		case err == nil && n > 0:
			m.take(buf[:n], func(text []byte) {
				if bytes.HasPrefix(text, prefix) {
					count++
				}
			})
		case errors.Is(err, syscall.EAGAIN):
		default:
			c.tb.Fatalf("connection lost: %d, %v", n, err)
		}
	}
	return count
}

// take hands out whole messages and keeps the rest.
func (m *Member) take(b []byte, each func(text []byte)) {
	if len(m.rest) > 0 {
		b = append(m.rest, b...)
	}
	for len(b) >= 4 {
		n, skip := int(b[1]), 2
		if n == 126 {
			n, skip = int(b[2])<<8|int(b[3]), 4
		}
		if len(b) < skip+n {
			break
		}
		each(b[skip : skip+n])
		b = b[skip+n:]
	}
	m.rest = append(m.rest[:0], b...)
}

// Send sends messages in one piece. The socket has room: what is sent is short.
func (m *Member) Send(tb testing.TB, messages ...string) {
	tb.Helper()
	if _, err := syscall.Write(m.fd, frames(messages...)); err != nil {
		tb.Fatal(err)
	}
}

// frames are text frames, masked with zeros, of at most 64 KiB each.
func frames(texts ...string) []byte {
	var b []byte
	for _, text := range texts {
		if len(text) > 125 {
			b = append(b, 0x81, 0x80|126, byte(len(text)>>8), byte(len(text)), 0, 0, 0, 0)
		} else {
			b = append(b, 0x81, 0x80|byte(len(text)), 0, 0, 0, 0)
		}
		b = append(b, text...)
	}
	return b
}

// ping keeps the connections alive, a few at a time.
func (c *Crowd) ping() {
	const slices = 250
	ticker := time.NewTicker(pingEvery / slices)
	defer ticker.Stop()
	ping := frames("2")
	for i := 0; ; i = (i + 1) % slices {
		select {
		case <-ticker.C:
		case <-c.stop:
			return
		}
		for _, m := range c.members[i*len(c.members)/slices : (i+1)*len(c.members)/slices] {
			if _, err := syscall.Write(m.fd, ping); err != nil {
				c.failed = err
				return
			}
		}
	}
}
