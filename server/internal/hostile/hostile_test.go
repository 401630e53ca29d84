// SPDX-License-Identifier: Apache-2.0

package hostile_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long anything may take that has to come. Only a test that fails uses it up.
const patience = 40 * time.Second

// How much more there may be after an attack than before.
const (
	moreGoroutines = 20
	moreHeap       = 12 << 20
	moreFiles      = 10
)

// log is what the server has logged.
type log struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	deaf bool
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deaf {
		return len(p), nil
	}
	return l.buf.Write(p)
}

// hear has what is logged from now on kept, or not.
func (l *log) hear(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deaf = !on
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// victim is a server that runs, with few places, and a normal caller of it.
type victim struct {
	*server.Server
	dir  string
	text *log
	api  classrecv1.RecordingServiceClient
	conn *grpc.ClientConn
	http *http.Client
}

func newVictim(t *testing.T) *victim {
	t.Helper()
	v := &victim{dir: t.TempDir(), text: new(log)}
	record(t, v.dir)
	s, err := server.New(t.Context(), server.Config{
		GRPCListen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0", RoomListen: "127.0.0.1:0", RoomHTTPListen: "127.0.0.1:0",
		AdminListen: "127.0.0.1:0", DataDir: v.dir, PublicFiles: true, // else a file's path is not looked at
		Doors:      server.Doors{MaxConnections: 400, RoomMaxConnections: 400, BodyTimeout: 5 * time.Second, AnswerTimeout: 5 * time.Second},
		RoomLimits: server.RoomLimits{MaxRooms: 50, MaxParticipants: 200},
		Logger:     slog.New(slog.NewTextHandler(v.text, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	v.Server = s
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	v.conn, err = grpc.NewClient(s.GRPCAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	v.api = classrecv1.NewRecordingServiceClient(v.conn)
	v.http = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}, Timeout: patience}
	t.Cleanup(func() {
		v.conn.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return v
}

// isServed makes the calls of somebody who means no harm.
func (v *victim) isServed(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := v.api.ListRecordings(ctx, &classrecv1.ListRecordingsRequest{Room: "42"}); err != nil {
		t.Errorf("gRPC beside it: %v", err)
	}
	for url, body := range map[string]string{
		"http://" + v.HTTPAddr().String() + "/v1/rooms/42/recordings":  "",
		"http://" + v.RoomHTTPAddr().String() + "/ClientAPI/checkroom": "serial=42&nickname=x",
	} {
		method := http.MethodGet
		if body != "" {
			method = http.MethodPost
		}
		if status, _ := v.ask(t, method, url, strings.NewReader(body)); status != http.StatusOK {
			t.Errorf("%s beside it: %d", url, status)
		}
	}
}

// ask makes a request; status 0 is an answer that did not come whole.
func (v *victim) ask(t *testing.T, method, url string, body io.Reader, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := v.http.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}

// weight is what the process holds.
type weight struct {
	goroutines int
	heap       uint64
	files      int // descriptors that are open; 0 where the system does not tell
}

func weigh() weight {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files, _ := os.ReadDir("/proc/self/fd") // an error: there is none
	return weight{runtime.NumGoroutine(), m.HeapAlloc, len(files)}
}

func (w weight) String() string {
	return fmt.Sprintf("%d goroutines, %d KiB and %d open files", w.goroutines, w.heap>>10, w.files)
}

// settles waits until what an attack has taken is given back.
func settles(t *testing.T, before weight) {
	t.Helper()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); ; <-ticker.C {
		now := weigh()
		if now.goroutines <= before.goroutines+moreGoroutines && now.heap <= before.heap+moreHeap && now.files <= before.files+moreFiles {
			t.Logf("before: %v; afterwards: %v", before, now)
			return
		}
		if time.Now().After(deadline) {
			var stacks strings.Builder
			if os.Getenv("HOSTILE_STACKS") != "" {
				buf := make([]byte, 1<<20)
				stacks.Write(buf[:runtime.Stack(buf, true)])
			}
			t.Fatalf("there were %v, and are %v\n%s", before, now, stacks.String())
		}
	}
}

// most watches the heap, and tells how large it was at most, when it is called.
func most(t *testing.T) func() uint64 {
	t.Helper()
	done, largest := make(chan struct{}), make(chan uint64)
	go func() {
		ticker := time.NewTicker(time.Second / 4)
		defer ticker.Stop()
		var m runtime.MemStats
		var top uint64
		for {
			runtime.ReadMemStats(&m)
			top = max(top, m.HeapAlloc)
			select {
			case <-ticker.C:
			case <-done:
				largest <- top
				return
			}
		}
	}()
	return func() uint64 { close(done); return <-largest }
}

// doors are where one can come in, by name; those of the rooms over https need TLS first.
func (v *victim) doors() map[string]net.Addr {
	return map[string]net.Addr{
		"gRPC": v.GRPCAddr(), "admin": v.AdminAddr(), "http": v.HTTPAddr(), "rooms": v.RoomAddr(), "rooms, http": v.RoomHTTPAddr(),
	}
}

// connect makes a connection that has said something.
func connect(t *testing.T, to net.Addr, say string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(t.Context(), "tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, say) // it may be closed while we speak
	return conn
}

// hears returns what comes until the other end has closed the connection; ended is false when it does not.
func hears(conn net.Conn) (text string, ended bool) {
	var buf bytes.Buffer
	_, err := io.Copy(&buf, io.LimitReader(conn, 1<<20))
	timeout, ok := err.(net.Error) //nolint:errorlint // it is not wrapped
	return buf.String(), !ok || !timeout.Timeout()
}

// times is how much of it: in the long form, ten times.
func times(n int) int {
	if os.Getenv("HOSTILE_LONG") != "" {
		return 10 * n
	}
	return n
}

// names is of how many rooms and recordings that there are not endlessNames asks; HOSTILE_NAMES says otherwise.
func names(t *testing.T) int {
	t.Helper()
	text := os.Getenv("HOSTILE_NAMES")
	if text == "" {
		return times(500)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestHostile has one server attacked in every way that we know, one after the other.
func TestHostile(t *testing.T) {
	v := newVictim(t)
	v.isServed(t)
	v.isServed(t) // everything that is made once is made
	for _, attack := range []struct {
		name string
		run  func(*testing.T, *victim)
	}{
		{"slow-loris", slowLoris},
		{"half-open connections", halfOpen},
		{"more connections than there may be", crowd},
		{"giant headers", giantHeaders},
		{"bodies without end", endlessBodies},
		{"messages without end", endlessMessages},
		{"zip bombs", zipBombs},
		{"many rooms", manyRooms},
		{"names without end", endlessNames},
		{"noise", noise},
		{"HTTP/2 floods", http2Floods},
		{"frames of the signaling socket", socketFrames},
		{"offers", offers},
		{"paths", paths},
		{"injection", injection},
	} {
		t.Run(attack.name, func(t *testing.T) {
			before := weigh()
			attack.run(t, v)
			v.isServed(t)
			settles(t, before)
		})
	}
}
