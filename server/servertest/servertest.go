// SPDX-License-Identifier: Apache-2.0

package servertest

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/cast"
	"github.com/classrec/classrec/server/internal/rehearsal"
)

// Server is a whole classrec with its platform, for as long as one test. Its
// methods, and those of what it gives out, fail the test when they cannot do
// their work; like testing.T.FailNow, they are for the test's own goroutine then.
// Those that cannot fail may be called from any.
type Server struct {
	tb        testing.TB
	options   options
	server    *server.Server
	rehearsal *rehearsal.Rehearsal
	cast      *cast.Cast
	conn      *grpc.ClientConn
	client    *client.Client
}

// Option changes a server before it starts.
type Option func(*options)

type options struct {
	configure []func(*server.Config)
	level     slog.Level
	verbose   bool
	patience  time.Duration
}

// Configure changes the server's configuration: MaxDuration, WebhooksFile,
// RoomsFile, SettleTime. What servertest has set there is best left alone: the
// addresses, the directory, the embedded platform. A Logger of the caller's gets
// the log instead of the test.
func Configure(change func(*server.Config)) Option {
	return func(o *options) { o.configure = append(o.configure, change) }
}

// LogLevel is the least level of what the server logs; without, slog.LevelInfo.
func LogLevel(level slog.Level) Option { return func(o *options) { o.level = level } }

// Verbose logs at once to the test, and not only when it has failed.
func Verbose() Option { return func(o *options) { o.verbose = true } }

// Patience is how long methods wait for what has to come before they fail the
// test; without, 30 s. Only a test that fails uses it up.
func Patience(d time.Duration) Option { return func(o *options) { o.patience = d } }

// New starts a server, which is ready when it returns, on ports of loopback that
// are free, with its data in a directory of the test's. When the test and its
// subtests are over, everything that was begun by this package is stopped, and
// the directory is removed.
func New(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	o := options{patience: 30 * time.Second}
	for _, option := range opts {
		option(&o)
	}
	log := newTestLog(tb, o)
	cfg := server.Config{
		GRPCListen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0", AdminListen: "127.0.0.1:0",
		RoomListen: "127.0.0.1:0", RoomHTTPListen: "127.0.0.1:0",
		DataDir: tb.TempDir(), // first, so that it is removed last
		// Nothing here survives the test, so nothing is synced for it.
		SyncInterval: time.Hour,
		PollMin:      20 * time.Millisecond, PollMax: 250 * time.Millisecond,
		Logger:    slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: o.level})),
		Rehearsal: rehearsal.New(nil),
	}
	for _, change := range o.configure {
		change(&cfg)
	}
	tb.Cleanup(log.end)
	s := &Server{tb: tb, options: o, rehearsal: cfg.Rehearsal}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var err error
	if s.server, err = server.New(ctx, cfg); err != nil {
		tb.Fatalf("start classrec: %v", err)
	}
	s.run()
	s.cast = cast.New(cast.Config{
		BaseURL: platformURL, DialContext: s.rehearsal.Dial, Now: s.rehearsal.Clock().Now, Logger: cfg.Logger.With("part", "people"),
	})
	if s.client, err = client.Dial(s.Addr(), client.Config{}); err != nil {
		tb.Fatalf("make a client: %v", err)
	}
	if s.conn, err = grpc.NewClient(s.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		tb.Fatalf("make a connection: %v", err)
	}
	s.awaitReady(ctx)
	return s
}

// startTimeout is how long a server may take to be ready; it takes a fraction of a
// second where nothing else runs.
const startTimeout = time.Minute

// platformURL is the platform's address for people; they reach it without a port.
const platformURL = "http://platform.servertest"

// run runs the server until the test's end. It is stopped after the people, and
// before the callers: what ends their calls is the server.
func (s *Server) run() {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.server.Run(ctx) }()
	s.tb.Cleanup(func() {
		s.rehearsal.Normal() // what is slow would be slow to stop
		if s.cast != nil {
			_ = s.cast.Close() // always nil
		}
		stop()
		if err := <-ended; err != nil {
			s.tb.Errorf("stop classrec: %v", err)
		}
		if s.client != nil {
			_ = s.client.Close() // it may be closed by the test
		}
		if s.conn != nil {
			_ = s.conn.Close()
		}
	})
}

// awaitReady returns when calls are served.
func (s *Server) awaitReady(ctx context.Context) {
	s.tb.Helper()
	req := &classrecv1.GetRecordingRequest{Name: "rooms/0/recordings/0"}
	for {
		_, err := s.client.GetRecording(ctx, req, grpc.WaitForReady(true))
		if status.Code(err) != codes.Unavailable {
			return // it is not found
		}
		if ctx.Err() != nil {
			s.tb.Fatalf("classrec is not ready: %v", err)
		}
		sleep(ctx, time.Millisecond)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Addr is where gRPC is served, as host:port, in plain text.
func (s *Server) Addr() string { return s.server.GRPCAddr().String() }

// AdminAddr is where the admin API is served over gRPC, as host:port.
func (s *Server) AdminAddr() string { return s.server.AdminAddr().String() }

// URL is where REST, the console and the recorded files are served, without a
// slash at its end.
func (s *Server) URL() string { return "http://" + s.server.HTTPAddr().String() }

// PlatformURL is where the platform itself is served in plain http, for people
// who are not of this package: the vendor's SDK, or WHIP at /whip/{room}/{user}.
func (s *Server) PlatformURL() string { return "http://" + s.server.RoomHTTPAddr().String() }

// Client is a client of the server, closed with it.
func (s *Server) Client() *client.Client { return s.client }

// Conn is a connection to the server, for generated clients, closed with it.
func (s *Server) Conn() *grpc.ClientConn { return s.conn }

// Now is the time of the server and of its platform.
func (s *Server) Now() time.Time { return s.rehearsal.Clock().Now() }

// Advance moves time on, for the server and for its platform alike; what falls
// due by it happens at once, and as a rule has not happened yet when Advance
// returns: await it.
func (s *Server) Advance(d time.Duration) { s.rehearsal.Advance(d) }

// Await returns the recording of a name once it is in a state, or past it: the
// states are in the order in which a recording goes through them. One that is
// FAILED when another state is awaited fails the test.
func (s *Server) Await(name string, state classrecv1.RecordingState) *classrecv1.Recording {
	s.tb.Helper()
	return s.AwaitFunc(name, state.String(), func(r *classrecv1.Recording) bool {
		if r.GetState() == classrecv1.RecordingState_RECORDING_STATE_FAILED && r.GetState() != state {
			s.tb.Fatalf("recording %s has failed, and is not %s: %s", name, state, r.GetFailure().GetMessage())
		}
		return r.GetState() >= state
	})
}

// AwaitFunc returns the recording of a name once until says so; what is for the
// message of a test that fails.
func (s *Server) AwaitFunc(name, what string, until func(*classrecv1.Recording) bool) *classrecv1.Recording {
	s.tb.Helper()
	ctx, cancel := s.bounded()
	defer cancel()
	var last *classrecv1.Recording
	for {
		recording, err := s.client.Get(ctx, name)
		switch {
		case err == nil && until(recording):
			return recording
		case err == nil:
			last = recording
		case ctx.Err() == nil && status.Code(err) != codes.DeadlineExceeded:
			s.tb.Fatalf("await recording %s: %v", name, err)
		}
		if ctx.Err() != nil {
			s.tb.Fatalf("recording %s is %s after %v, and not %s", name, last.GetState(), s.options.patience, what)
		}
		sleep(ctx, 5*time.Millisecond)
	}
}

// AwaitRecording returns the newest recording of a room once until says so. It
// is for classes that were begun in the room, whose name the test has not been
// told.
func (s *Server) AwaitRecording(room string, until func(*classrecv1.Recording) bool) *classrecv1.Recording {
	s.tb.Helper()
	ctx, cancel := s.bounded()
	defer cancel()
	for {
		page, err := s.client.ListRecordings(ctx, &classrecv1.ListRecordingsRequest{Room: room, PageSize: 1})
		if err != nil && ctx.Err() == nil && status.Code(err) != codes.DeadlineExceeded {
			s.tb.Fatalf("list the recordings of room %s: %v", room, err)
		}
		if list := page.GetRecordings(); len(list) > 0 && until(list[0]) {
			return list[0]
		}
		if ctx.Err() != nil {
			s.tb.Fatalf("no such recording in room %s after %v: %s", room, s.options.patience, describe(page.GetRecordings()))
		}
		sleep(ctx, 5*time.Millisecond)
	}
}

func describe(list []*classrecv1.Recording) string {
	if len(list) == 0 {
		return "there is none"
	}
	var lines []string
	for _, r := range list {
		lines = append(lines, fmt.Sprintf("%s is %s, %s", r.GetName(), r.GetState(), r.GetEndReason()))
	}
	return strings.Join(lines, "; ")
}

// bounded is a context for what a method waits for. It does not end with the
// test's: methods may be called in cleanups.
func (s *Server) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.Background(), s.options.patience, fmt.Errorf("not within %v", s.options.patience))
}
