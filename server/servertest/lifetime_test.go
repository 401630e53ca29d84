// SPDX-License-Identifier: Apache-2.0

package servertest_test

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/servertest"
)

// fakeTB is a test whose failures are looked at. It runs its cleanups when end is
// called.
type fakeTB struct {
	testing.TB
	dir string

	mu       sync.Mutex
	cleanups []func()
	logged   []string
	fatal    string
	failed   bool
	ended    bool
}

func (f *fakeTB) Helper()         {}
func (f *fakeTB) TempDir() string { return f.dir }
func (f *fakeTB) Failed() bool    { return f.failed }

func (f *fakeTB) Cleanup(do func()) { f.cleanups = append(f.cleanups, do) }

func (f *fakeTB) Log(args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		f.TB.Errorf("a log after the test: %s", fmt.Sprint(args...))
		return
	}
	f.logged = append(f.logged, fmt.Sprint(args...))
}

func (f *fakeTB) Logf(format string, args ...any)   { f.Log(fmt.Sprintf(format, args...)) }
func (f *fakeTB) Errorf(format string, args ...any) { f.failed = true; f.Logf(format, args...) }

func (f *fakeTB) Fatalf(format string, args ...any) {
	f.failed, f.fatal = true, fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// play runs a test, as far as it goes, and its cleanups.
func play(t *testing.T, test func(f *fakeTB)) *fakeTB {
	t.Helper()
	f := &fakeTB{TB: t, dir: t.TempDir()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(f)
	}()
	<-done
	for i := len(f.cleanups) - 1; i >= 0; i-- {
		f.cleanups[i]()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	return f
}

// When the test is over, nothing is there any more, whatever was going on: no
// file, no port, and, by TestMain, no goroutine.
func TestNew_NothingLeft(t *testing.T) {
	t.Parallel()
	var dir, grpcAddr, httpAddr string
	t.Run("test", func(t *testing.T) {
		s := servertest.New(t, servertest.Configure(func(c *server.Config) { dir = c.DataDir }))
		grpcAddr, httpAddr = s.Addr(), strings.TrimPrefix(s.URL(), "http://")
		teacher := s.Room("42").Teacher("Ms Wang")
		teacher.Publish(servertest.Pattern())
		start(t, s, req("42"))
		s.Room("43").Student("Ann").Drop()
		s.Platform().Slow(time.Hour)
		s.Platform().Answer(servertest.CheckRoom, servertest.NoAnswer())
		go func() { _, _ = s.Client().StartRecording(t.Context(), req("44")) }()
		s.Platform().AwaitAsked(servertest.CheckRoom, 2)
		if _, err := os.Stat(dir); err != nil {
			t.Error(err)
		}
	})
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", dir, err)
	}
	for _, addr := range []string{grpcAddr, httpAddr} {
		if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			_ = conn.Close()
			t.Errorf("%s is still listened on", addr)
		}
	}
}

// The log is told when the test has failed, and only then, unless it is asked for.
func TestNew_Log(t *testing.T) {
	t.Parallel()
	use := func(opts ...servertest.Option) func(*fakeTB) {
		return func(f *fakeTB) { start(t, servertest.New(f, opts...), req("42")) }
	}
	if f := play(t, use()); len(f.logged) > 0 {
		t.Errorf("a test that passes logs %q", f.logged)
	}
	f := play(t, func(f *fakeTB) {
		use()(f)
		f.Errorf("it is wrong")
	})
	if all := strings.Join(f.logged, "\n"); !strings.Contains(all, "recording is recording") || strings.Contains(all, "DEBUG") {
		t.Errorf("a test that fails logs %s", all)
	}
	f = play(t, func(f *fakeTB) {
		use(servertest.LogLevel(slog.LevelError))(f)
		f.Errorf("it is wrong")
	})
	if len(f.logged) != 1 {
		t.Errorf("at level error: %q", f.logged)
	}
	f = play(t, use(servertest.Verbose(), servertest.LogLevel(slog.LevelDebug)))
	if all := strings.Join(f.logged, "\n"); !strings.Contains(all, "recording is recording") || !strings.Contains(all, "DEBUG") {
		t.Errorf("a verbose test logs %s", all)
	}
}

// What cannot be done fails the test, and says what it was.
func TestServer_Failures(t *testing.T) {
	t.Parallel()
	soon := servertest.Patience(200 * time.Millisecond)
	for _, tc := range []struct {
		name, want string
		test       func(s *servertest.Server)
	}{
		{"an answer that cannot be", "getconfig has no echo", func(s *servertest.Server) { s.Platform().Answer(servertest.GetConfig, servertest.NoEcho()) }},
		{"a status on the socket", "joinRoom is not HTTP", func(s *servertest.Server) { s.Platform().Answer(servertest.JoinRoom, servertest.Status(500)) }},
		{"a code for files", "files are not answered with a code", func(s *servertest.Server) { s.Platform().Answer(servertest.Files, servertest.Code(4105)) }},
		{"no status", "99 is no HTTP status", func(s *servertest.Server) { s.Platform().Answer(servertest.Files, servertest.Status(99)) }},
		{"a call that there is not", `makes no call "chalk"`, func(s *servertest.Server) { s.Platform().Answer("chalk", servertest.Code(1)) }},
		{"a file that is not there", "publishes in room 42", func(s *servertest.Server) {
			s.Room("42").Teacher("Ms Wang").Publish(servertest.File("none.webm"))
		}},
		{"a file that is no media", "is not WebM", func(s *servertest.Server) { s.Room("42").Teacher("Ms Wang").Publish(servertest.File("doc.go")) }},
		{"nothing comes", "Ms Wang waits for: said in room 42", func(s *servertest.Server) { s.Room("42").Teacher("Ms Wang").Await(servertest.Said) }},
		{"who is out", "Ms Wang is not in room 42", func(s *servertest.Server) {
			p := s.Room("42").Teacher("Ms Wang")
			p.Leave()
			p.Chat("hello?")
		}},
		{"who waits and is out", "Ms Wang is not in room 42", func(s *servertest.Server) {
			p := s.Room("42").Teacher("Ms Wang")
			p.Drop()
			p.Await(servertest.Said)
		}},
		{"who is in", "Ms Wang is in room 42", func(s *servertest.Server) { s.Room("42").Teacher("Ms Wang").Rejoin() }},
		{"a room that cannot be", "joins room __all", func(s *servertest.Server) { s.Room("__all").Teacher("Ms Wang") }},
		{"a recording that is not there", "await recording rooms/42/recordings/1", func(s *servertest.Server) { s.Await("rooms/42/recordings/1", available) }},
		{"a room without recordings", "there is none", func(s *servertest.Server) { s.AwaitRecording("42", nil) }},
		{"a call that is not made", "record list was asked 0 times", func(s *servertest.Server) { s.Platform().AwaitAsked(servertest.RecordList, 5) }},
		{"a state that does not come", "is RECORDING_STATE_RECORDING after 200ms", func(s *servertest.Server) {
			s.Await(start(t, s, req("42")).GetName(), available)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := play(t, func(f *fakeTB) { tc.test(servertest.New(f, soon)) })
			if !strings.Contains(f.fatal, tc.want) {
				t.Errorf("%q; want %q", f.fatal, tc.want)
			}
		})
	}
	f := play(t, func(f *fakeTB) {
		servertest.New(f, servertest.Configure(func(c *server.Config) { c.MaxDuration = -1 }))
	})
	if !strings.Contains(f.fatal, "--max-duration") {
		t.Errorf("a wrong configuration: %q", f.fatal)
	}
}

// Many servers at once do not get in each other's way.
func TestNew_Many(t *testing.T) {
	t.Parallel()
	for range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			s := servertest.New(t)
			r := start(t, s, req("42"))
			stop(t, s, r.GetName())
			s.Await(r.GetName(), available)
		})
	}
}

// limitNew is what a user's test pays for a server, at most; with the race detector
// everything takes several times as long.
const limitNew = slowness * 200 * time.Millisecond

// A server is ready within 200 ms. Where other work shares the machine, the
// quickest of many is what it takes; it is not run in parallel, so that the other
// tests of this package are not among that.
func TestNew_Quick(t *testing.T) {
	var took []time.Duration
	for range 20 {
		f := &fakeTB{TB: t, dir: t.TempDir()}
		began := time.Now()
		servertest.New(f)
		took = append(took, time.Since(began))
		for i := len(f.cleanups) - 1; i >= 0; i-- {
			f.cleanups[i]()
		}
		if slices.Min(took) <= limitNew/2 {
			return
		}
	}
	if slices.Min(took) > limitNew {
		t.Errorf("a server took %v", took)
	}
}

// BenchmarkNew tells how long it takes until a server is ready, and how long
// until it is gone again.
func BenchmarkNew(b *testing.B) {
	var up, down time.Duration
	for b.Loop() {
		began := time.Now()
		f := &fakeTB{TB: b, dir: b.TempDir()}
		servertest.New(f)
		ready := time.Now()
		for i := len(f.cleanups) - 1; i >= 0; i-- {
			f.cleanups[i]()
		}
		up += ready.Sub(began)
		down += time.Since(ready)
	}
	b.ReportMetric(float64(up.Microseconds())/1000/float64(b.N), "ms-up/op")
	b.ReportMetric(float64(down.Microseconds())/1000/float64(b.N), "ms-down/op")
}
