// SPDX-License-Identifier: Apache-2.0

//go:build bench

package socketio_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/socketio"
)

// What is measured, and what must be reached. docs/performance.md explains the figures.
const (
	benchConns      = 8000
	benchBroadcasts = 40

	limitIdleKiB  = 8.0 // of a whole participant; this package leaves some of it to the room server
	limitCPUShare = 0.5 // of the CPU per delivered message of socket.io 2 on Node
)

const benchRole = "CLASSREC_BENCH_SOCKETIO_SERVER"

// TestBenchIdleAndBroadcast measures the server in a process of its own: what an idle connection costs, and what a delivered message of
// a broadcast costs, next to socket.io 2 on Node under the same load.
func TestBenchIdleAndBroadcast(t *testing.T) {
	ours := measure(t, ourServer(t))
	node := measure(t, nodeServer(t, "2"))

	fmt.Fprintf(os.Stdout, "%-52s %12s %12s\n", "work", "reached", "limit")
	row := func(work string, reached, limit float64, unit string) {
		fmt.Fprintf(os.Stdout, "%-52s %8.2f %-3s %8.2f %s\n", work, reached, unit, limit, unit)
		if reached > limit {
			t.Errorf("%s: %.2f %s is over the limit of %.2f %s", work, reached, unit, limit, unit)
		}
	}
	info := func(work string, format string, args ...any) {
		fmt.Fprintf(os.Stdout, "%-52s %s\n", work, fmt.Sprintf(format, args...))
	}
	row(fmt.Sprintf("socketio: idle connection, of %d", benchConns), ours.idleKiB, limitIdleKiB, "KiB")
	row(fmt.Sprintf("socketio: CPU of a delivered message, %d broadcasts", benchBroadcasts), ours.burst, limitCPUShare*node.burst, "us")
	info("  of Node's", "%.2f", ours.burst/node.burst)
	info("  each awaited before the next (a write call each)", "%.2f us (Node %.2f us), %.2f of Node's", ours.paced, node.paced, ours.paced/node.paced)
	info("  idle connection before garbage is given back", "%.2f KiB (Node %.2f KiB)", ours.freshKiB, node.freshKiB)
	info("  idle connection after the broadcasts", "%.2f KiB (Node %.2f KiB)", ours.afterKiB, node.afterKiB)
}

type figures struct {
	freshKiB, idleKiB, afterKiB float64 // resident memory for one connection
	paced, burst                float64 // user and system time for one delivered message, us
}

// measure puts the load on a server.
func measure(t *testing.T, s *benchServer) figures {
	t.Helper()
	var f figures
	l := &load{t: t, addr: s.addr, stop: make(chan struct{})}
	defer l.close()
	lead := l.connect(1)[0] // also warms the server up
	l.wg.Go(l.read)
	lead.settle()
	empty := s.rss()
	perConn := func() float64 { return float64(s.rss()-empty) / 1024 / benchConns }

	l.connect(benchConns - 1)
	l.wg.Go(l.ping)
	f.freshKiB = perConn()
	lead.settle()
	f.idleKiB = perConn()

	const text = `{\"recordtype\":\"1\",\"convert\":0,\"layout\":0,\"recordchat\":true,\"note\":\"a message of the usual size\"}`
	spread := func(times int) {
		all := l.expect(int64(times) * benchConns)
		lead.send(fmt.Sprintf(`42["spread",%d,"%s"]`, times, text))
		select {
		case <-all:
		case <-time.After(time.Minute):
			t.Fatalf("%d of %d events came", l.got.Load(), l.want.Load())
		}
	}
	perMessage := func(cpu time.Duration) float64 { return float64(cpu.Microseconds()) / benchConns / benchBroadcasts }

	spread(1) // warm
	before := s.cpu()
	for range benchBroadcasts {
		spread(1)
	}
	f.paced = perMessage(s.cpu() - before)

	before = s.cpu()
	spread(benchBroadcasts)
	f.burst = perMessage(s.cpu() - before)

	lead.settle()
	f.afterKiB = perConn()
	return f
}

// benchServer is a server in a process of its own.
type benchServer struct {
	t    *testing.T
	pid  int
	addr string
}

func ourServer(t *testing.T) *benchServer {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBenchServer$")
	cmd.Env = append(os.Environ(), benchRole+"=1")
	return startServer(t, cmd)
}

func nodeServer(t *testing.T, version string) *benchServer {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", "--expose-gc", "bench-server.js", version)
	cmd.Dir = nodeDir(t)
	return startServer(t, cmd)
}

func startServer(t *testing.T, cmd *exec.Cmd) *benchServer {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	port, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("server printed no port: %v", err)
	}
	go func() { _, _ = io.Copy(io.Discard, stdout) }() // until the server ends
	return &benchServer{t: t, pid: cmd.Process.Pid, addr: "127.0.0.1:" + strings.TrimSpace(port)}
}

// rss is the resident memory in bytes.
func (s *benchServer) rss() int {
	fields := strings.Fields(s.proc("statm"))
	pages, err := strconv.Atoi(fields[1])
	if err != nil {
		s.t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// cpu is the user and system time so far. The kernel counts it in hundredths of a second.
func (s *benchServer) cpu() time.Duration {
	stat := s.proc("stat")
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	ticks := 0
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			s.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func (s *benchServer) proc(file string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.pid), file))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// load are many connections that count what they get. Their sockets are looked at in turn instead of being waited for: so what is
// charged to the server under test is its own work, and not the waking of readers on the same machine.
type load struct {
	t     *testing.T
	addr  string
	mu    sync.Mutex // guards conns
	conns []*loadConn
	wg    sync.WaitGroup
	stop  chan struct{}
	got   atomic.Int64 // events
	want  atomic.Int64
	all   chan struct{}
}

type loadConn struct {
	load *load
	fd   int
	file *os.File // owns fd
	rest []byte   // of a frame
	acks chan struct{}
}

// connect opens n connections; each has joined when it returns.
func (l *load) connect(n int) []*loadConn {
	l.t.Helper()
	opened := make([]*loadConn, n)
	var wg sync.WaitGroup
	next := atomic.Int64{}
	for range 16 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				c, err := l.open(i)
				if err != nil {
					l.t.Error(err)
					return
				}
				opened[i] = c
			}
		})
	}
	wg.Wait()
	if l.t.Failed() {
		l.t.FailNow()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, opened...)
	return opened
}

func (l *load) open(i int64) (*loadConn, error) {
	conn, err := new(net.Dialer).DialContext(l.t.Context(), "tcp", l.addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /socket.io/?EIO=3&transport=websocket HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", l.addr)
	br := bufio.NewReader(conn)
	for line := ""; line != "\r\n"; {
		if line, err = br.ReadString('\n'); err != nil {
			return nil, err
		}
	}
	join := fmt.Sprintf(`420["join",{"userId":"u%d","properties":{"role":2,"nickname":"student"}}]`, i)
	if _, err := conn.Write(maskedText(join)); err != nil {
		return nil, err
	}
	for kind := ""; kind != "43"; {
		head := make([]byte, 2)
		if _, err := io.ReadFull(br, head); err != nil {
			return nil, err
		}
		body := make([]byte, head[1]) // what comes before the answer is short
		if _, err := io.ReadFull(br, body); err != nil {
			return nil, err
		}
		kind = string(body[:min(2, len(body))])
	}
	file, err := conn.(*net.TCPConn).File()
	if err != nil {
		return nil, err
	}
	c := &loadConn{load: l, fd: int(file.Fd()), file: file, acks: make(chan struct{}, 1)}
	return c, syscall.SetNonblock(c.fd, true)
}

// read looks at all connections in turn.
func (l *load) read() {
	buf := make([]byte, 64<<10)
	for {
		select {
		case <-l.stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
		l.mu.Lock()
		conns := l.conns
		l.mu.Unlock()
		for _, c := range conns {
			n, err := syscall.Read(c.fd, buf)
			switch {
			case err == nil && n > 0:
				c.take(buf[:n])
			case err == syscall.EAGAIN:
			default:
				l.t.Errorf("connection lost: %d, %v", n, err)
				return
			}
		}
	}
}

// take counts events and tells of acknowledgements.
func (c *loadConn) take(b []byte) {
	b = append(c.rest, b...)
	for len(b) >= 4 {
		n, skip := int(b[1]), 2
		if n == 126 {
			n, skip = int(b[2])<<8|int(b[3]), 4
		}
		if len(b) < skip+n {
			break
		}
		switch string(b[skip : skip+min(n, 2)]) {
		case "42":
			if c.load.got.Add(1) == c.load.want.Load() {
				close(c.load.all)
			}
		case "43":
			c.acks <- struct{}{}
		}
		b = b[skip+n:]
	}
	c.rest = append(c.rest[:0], b...)
}

// send sends a text frame. The socket has room: nothing long is ever sent.
func (c *loadConn) send(text string) {
	if _, err := syscall.Write(c.fd, maskedText(text)); err != nil {
		c.load.t.Error(err)
	}
}

// maskedText is a text frame, masked with zeros, with at most 64 KiB of text.
func maskedText(text string) []byte {
	frame := []byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}
	if len(text) > 125 {
		frame = []byte{0x81, 0x80 | 126, byte(len(text) >> 8), byte(len(text)), 0, 0, 0, 0}
	}
	return append(frame, text...)
}

// settle has the server give back its garbage.
func (c *loadConn) settle() {
	c.send(`421["settle"]`)
	<-c.acks
	time.Sleep(2 * time.Second) // the kernel's and the runtime's bookkeeping has no event to wait for
}

// expect returns a channel that is closed once n more events have come.
func (l *load) expect(n int64) <-chan struct{} {
	all := make(chan struct{})
	l.got.Store(0)
	l.all = all
	l.want.Store(n)
	return all
}

// pingEvery is how long a round of pings takes, as with the vendor's clients.
const pingEvery = 25 * time.Second

// ping keeps the connections alive, a few at a time.
func (l *load) ping() {
	const slices = 250
	ticker := time.NewTicker(pingEvery / slices)
	defer ticker.Stop()
	for i := 0; ; i = (i + 1) % slices {
		select {
		case <-ticker.C:
		case <-l.stop:
			return
		}
		for _, c := range l.conns[i*len(l.conns)/slices : (i+1)*len(l.conns)/slices] {
			c.send("2")
		}
	}
}

func (l *load) close() {
	close(l.stop)
	l.wg.Wait()
	for _, c := range l.conns {
		c.file.Close()
	}
}

// TestBenchServer is the server that TestBenchIdleAndBroadcast runs in a process of its own; by itself it does nothing.
func TestBenchServer(t *testing.T) {
	if os.Getenv(benchRole) == "" {
		t.Skip("not started by the benchmark")
	}
	room := &benchRoom{members: make(map[*socketio.Conn]struct{})}
	s := socketio.NewServer(socketio.ServerConfig{PingTimeout: time.Minute}, func(c *socketio.Conn, _ *http.Request) (socketio.Handler, error) {
		room.mu.Lock()
		defer room.mu.Unlock()
		room.members[c] = struct{}{}
		return &benchMember{room, c}, nil
	})
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = http.Serve(listener, s) }() // until the process ends
	fmt.Fprintln(os.Stdout, listener.Addr().(*net.TCPAddr).Port)
	io.Copy(io.Discard, os.Stdin) // until the benchmark ends
	os.Exit(0)
}

type benchRoom struct {
	mu      sync.Mutex
	members map[*socketio.Conn]struct{}
}

type benchMember struct {
	room *benchRoom
	conn *socketio.Conn
}

func (m *benchMember) Event(ev socketio.Event) {
	switch ev.Name {
	case "join":
		var who struct {
			UserID     string         `json:"userId"`
			Properties map[string]any `json:"properties"`
		}
		if err := json.Unmarshal(ev.Args[0], &who); err != nil {
			m.conn.Close()
			return
		}
		ev.Ack(0, map[string]any{"userId": who.UserID})
	case "spread":
		var times int
		if err := json.Unmarshal(ev.Args[0], &times); err != nil {
			m.conn.Close()
			return
		}
		for i := range times {
			m.room.spread(i, ev.Args[1])
		}
	case "settle":
		debug.FreeOSMemory()
		ev.Ack()
	}
}

func (m *benchMember) Close(error) {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	delete(m.room.members, m.conn)
}

func (r *benchRoom) spread(seq int, data json.RawMessage) {
	f, err := socketio.NewFrame("pubMsg", map[string]any{"name": "tick", "seq": seq, "data": data})
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.members {
		_ = c.Send(f) // a member that takes nothing has left
	}
}
