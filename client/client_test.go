// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service answers each watch with the next script.
type service struct {
	classrecv1.UnimplementedRecordingServiceServer
	scripts chan script
	asked   chan *classrecv1.WatchClassBeginRequest
}

// script is what one watch sends, and what it ends in.
type script struct {
	messages []*classrecv1.WatchClassBeginResponse
	err      error
}

func (s *service) WatchClassBegin(req *classrecv1.WatchClassBeginRequest, stream grpc.ServerStreamingServer[classrecv1.WatchClassBeginResponse]) error {
	s.asked <- req
	next := <-s.scripts
	for _, m := range next.messages {
		if err := stream.Send(m); err != nil {
			return err
		}
	}
	if errors.Is(next.err, errHang) {
		<-stream.Context().Done()
	}
	return next.err
}

// errHang is a script that ends in silence.
var errHang = errors.New("hang")

// newClient returns a client of a service that plays scripts.
func newClient(t *testing.T, scripts ...script) (*client.Client, *service) {
	t.Helper()
	s, address := newService(t, scripts...)
	return mustDial(t, address, client.Config{Attempts: 2}), s
}

// newService is a service that plays scripts, and its address.
func newService(t *testing.T, scripts ...script) (*service, string) {
	t.Helper()
	s := &service{scripts: make(chan script, len(scripts)), asked: make(chan *classrecv1.WatchClassBeginRequest, len(scripts)+1)}
	for _, script := range scripts {
		s.scripts <- script
	}
	close(s.scripts)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	classrecv1.RegisterRecordingServiceServer(server, s)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s, listener.Addr().String()
}

// mustDial returns a client that is closed with the test.
func mustDial(t *testing.T, target string, cfg client.Config) *client.Client {
	t.Helper()
	c, err := client.Dial(target, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func event(sequence uint64) *classrecv1.WatchClassBeginResponse {
	return &classrecv1.WatchClassBeginResponse{Payload: &classrecv1.WatchClassBeginResponse_Event{
		Event: &classrecv1.ClassBeginEvent{Sequence: sequence},
	}}
}

func synced(sequence uint64) *classrecv1.WatchClassBeginResponse {
	return &classrecv1.WatchClassBeginResponse{Payload: &classrecv1.WatchClassBeginResponse_Synced{
		Synced: &classrecv1.WatchSynced{Sequence: sequence},
	}}
}

func heartbeat(sequence uint64) *classrecv1.WatchClassBeginResponse {
	return &classrecv1.WatchClassBeginResponse{Payload: &classrecv1.WatchClassBeginResponse_Heartbeat{
		Heartbeat: &classrecv1.WatchHeartbeat{Sequence: sequence},
	}}
}

func failure(t *testing.T, code codes.Code, reason string) error {
	t.Helper()
	st, err := status.New(code, "no luck").WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: "classrec.dev"})
	if err != nil {
		t.Fatal(err)
	}
	return st.Err()
}

// told is a message in short.
func told(m *classrecv1.WatchClassBeginResponse) string {
	switch {
	case m.GetSynced() != nil:
		return fmt.Sprintf("synced %d", client.Sequence(m))
	case m.GetHeartbeat() != nil:
		return fmt.Sprintf("heartbeat %d", client.Sequence(m))
	default:
		return fmt.Sprintf("event %d", client.Sequence(m))
	}
}

// Over any cuts, each event comes once: a watch resumes from the last sequence,
// and a snapshot that was cut is asked for anew and told once.
func TestWatch_Resumes(t *testing.T) {
	t.Parallel()
	c, s := newClient(t,
		script{[]*classrecv1.WatchClassBeginResponse{event(3)}, failure(t, codes.Unavailable, "")}, // half a snapshot
		script{[]*classrecv1.WatchClassBeginResponse{event(3), event(5), synced(7), event(8)}, failure(t, codes.Unavailable, "NOT_SERVING")},
		script{[]*classrecv1.WatchClassBeginResponse{event(9), synced(9), heartbeat(12)}, failure(t, codes.ResourceExhausted, "WATCHER_TOO_SLOW")},
		script{[]*classrecv1.WatchClassBeginResponse{event(13)}, nil}, // ended by a server that stops
		script{nil, failure(t, codes.OutOfRange, "SEQUENCE_TOO_OLD")},
	)
	var got []string
	var last error
	cuts := 0
	for m, err := range c.Watch(t.Context(), &classrecv1.WatchClassBeginRequest{Room: "42"}, client.WatchOptions{
		Retrying: func(error, time.Duration) { cuts++ },
	}) {
		if err != nil {
			last = err
			break
		}
		got = append(got, told(m))
	}
	want := []string{"event 3", "event 5", "synced 7", "event 8", "event 9", "synced 9", "heartbeat 12", "event 13"}
	if !slices.Equal(got, want) {
		t.Errorf("told %q", got)
	}
	if d := client.Details(last); d.Reason != "SEQUENCE_TOO_OLD" || cuts != 4 {
		t.Errorf("%d cuts, then %v", cuts, last)
	}
	for _, after := range []uint64{0, 0, 8, 12, 13} {
		if req := <-s.asked; req.GetAfterSequence() != after || req.GetRoom() != "42" {
			t.Errorf("asked for %v, want after %d", req, after)
		}
	}
}

// What never was is not waited for, and what is refused is not asked for again.
func TestWatch_Refused(t *testing.T) {
	t.Parallel()
	for err, calls := range map[error]int{
		failure(t, codes.NotFound, "ROOM_NOT_FOUND"):             1,
		failure(t, codes.PermissionDenied, "ROOM_ACCESS_DENIED"): 1,
		failure(t, codes.Unauthenticated, ""):                    1,
		failure(t, codes.Internal, "INTERNAL"):                   1,
		failure(t, codes.Unavailable, "PLATFORM_UNAVAILABLE"):    2,
	} {
		c, s := newClient(t, script{nil, err}, script{nil, err}, script{nil, err})
		var ends []error
		for m, err := range c.Watch(t.Context(), &classrecv1.WatchClassBeginRequest{Room: "42"}, client.WatchOptions{}) {
			if m != nil {
				t.Error(m)
			}
			ends = append(ends, err)
		}
		if len(ends) != 1 || client.Details(ends[0]).Reason != client.Details(err).Reason {
			t.Errorf("%v ends in %v", err, ends)
		}
		if len(s.asked) != calls {
			t.Errorf("%v after %d calls", err, len(s.asked))
		}
	}
}

// The log no longer reaches back: the error has the oldest sequence.
func TestWatch_TooOld(t *testing.T) {
	t.Parallel()
	st, err := status.New(codes.OutOfRange, "gone").WithDetails(&errdetails.ErrorInfo{
		Reason: "SEQUENCE_TOO_OLD", Domain: "classrec.dev", Metadata: map[string]string{"oldest_sequence": "812"},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, _ := newClient(t,
		script{[]*classrecv1.WatchClassBeginResponse{synced(3)}, failure(t, codes.ResourceExhausted, "WATCHER_TOO_SLOW")},
		script{nil, st.Err()})
	var last error
	for _, last = range c.Watch(t.Context(), &classrecv1.WatchClassBeginRequest{Room: "42"}, client.WatchOptions{}) {
	}
	var tooOld *client.TooOldError
	var call *client.Error
	if !errors.As(last, &tooOld) || tooOld.Oldest != 812 || !errors.As(last, &call) || call.Code != codes.OutOfRange ||
		!errors.Is(last, client.ErrSequenceTooOld) || !errors.Is(last, client.ErrOutOfRange) || status.Code(last) != codes.OutOfRange {
		t.Errorf("%#v", last)
	}
}

// A watch whose token has expired asks for the newest one, and goes on; it gives
// up where there is no other, and where the newest has expired too for a while.
func TestWatch_TokenExpires(t *testing.T) {
	t.Parallel()
	expired := failure(t, codes.Unauthenticated, "CREDENTIALS_EXPIRED")
	messages := func(m ...*classrecv1.WatchClassBeginResponse) []*classrecv1.WatchClassBeginResponse { return m }
	scripts := []script{{messages(synced(3)), expired}, {nil, expired}, {messages(event(4)), expired}, {messages(event(5)), failure(t, codes.PermissionDenied, "SCOPE_MISSING")}}
	run := func(t *testing.T, cfg client.Config, scripts ...script) (got []string, last error) {
		t.Helper()
		_, address := newService(t, scripts...)
		cfg.Attempts = 2
		for m, err := range mustDial(t, address, cfg).Watch(t.Context(), &classrecv1.WatchClassBeginRequest{Room: "42"}, client.WatchOptions{}) {
			if last = err; err == nil {
				got = append(got, told(m))
			}
		}
		return got, last
	}
	var asked atomic.Int32
	source := func(context.Context) (string, error) { return fmt.Sprintf("token-%d", asked.Add(1)), nil }
	got, err := run(t, client.Config{TokenSource: source}, scripts...)
	if want := []string{"synced 3", "event 4", "event 5"}; !slices.Equal(got, want) || !errors.Is(err, client.ErrPermissionDenied) || asked.Load() != 4 {
		t.Errorf("told %q, then %v, with %d tokens", got, err, asked.Load())
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("token"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := run(t, client.Config{TokenFile: file}, scripts...); len(got) != 3 || !errors.Is(err, client.ErrPermissionDenied) {
		t.Errorf("with a file: told %q, then %v", got, err)
	}
	if got, err := run(t, client.Config{Token: "token"}, scripts...); len(got) != 1 || !errors.Is(err, client.ErrUnauthenticated) {
		t.Errorf("with one token: told %q, then %v", got, err)
	}
	if _, err := run(t, client.Config{TokenSource: source}, script{nil, expired}); !errors.Is(err, client.ErrUnauthenticated) {
		t.Errorf("expired from the beginning: %v", err)
	}
}

// What was told already is not told again, whatever the service sends, and a
// call that says nothing is taken as cut.
func TestWatch_Doubtful(t *testing.T) {
	t.Parallel()
	c, s := newClient(t,
		script{[]*classrecv1.WatchClassBeginResponse{synced(3), event(5), event(5), event(4), event(6)}, errHang},
		script{[]*classrecv1.WatchClassBeginResponse{event(6), event(7), synced(7)}, failure(t, codes.NotFound, "")},
	)
	var got []string
	var resumed []uint64
	for m, err := range c.Watch(t.Context(), &classrecv1.WatchClassBeginRequest{Room: "42"}, client.WatchOptions{
		Silence: time.Second,
		Resumed: func(sequence uint64) { resumed = append(resumed, sequence) },
	}) {
		if err == nil {
			got = append(got, told(m))
		} else if !errors.Is(err, client.ErrNotFound) {
			t.Error(err)
		}
	}
	if want := []string{"synced 3", "event 5", "event 6", "event 7", "synced 7"}; !slices.Equal(got, want) || !slices.Equal(resumed, []uint64{6}) {
		t.Errorf("told %q, resumed after %v", got, resumed)
	}
	<-s.asked
	if again := <-s.asked; again.GetAfterSequence() != 6 {
		t.Errorf("asked for %v", again)
	}
}

func TestWatch_Stopped(t *testing.T) {
	t.Parallel()
	t.Run("by the caller", func(t *testing.T) {
		t.Parallel()
		c, _ := newClient(t, script{[]*classrecv1.WatchClassBeginResponse{synced(1), event(2), event(3)}, nil})
		n := 0
		for _, err := range c.Watch(t.Context(), &classrecv1.WatchClassBeginRequest{Room: "42"}, client.WatchOptions{}) {
			if err != nil {
				t.Error(err)
			}
			if n++; n == 2 {
				break
			}
		}
	})
	t.Run("by its context", func(t *testing.T) {
		t.Parallel()
		c, _ := newClient(t, script{[]*classrecv1.WatchClassBeginResponse{synced(1)}, nil})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var last error
		for _, last = range c.Watch(ctx, &classrecv1.WatchClassBeginRequest{Room: "42"}, client.WatchOptions{
			Retrying: func(error, time.Duration) { cancel() },
		}) {
		}
		if !errors.Is(last, context.Canceled) {
			t.Error(last)
		}
	})
}

func TestDetails(t *testing.T) {
	t.Parallel()
	st, err := status.New(codes.InvalidArgument, "bad").WithDetails(
		&errdetails.ErrorInfo{Reason: "INVALID_FIELD", Domain: "classrec.dev", Metadata: map[string]string{"k": "v"}},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "room", Description: "too long"}}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	d := client.Details(fmt.Errorf("start: %w", st.Err()))
	if d.Code != codes.InvalidArgument || d.Message != "bad" || d.Reason != "INVALID_FIELD" || d.Metadata["k"] != "v" ||
		d.RetryAfter != time.Second || len(d.Fields) != 1 || d.Fields[0] != (client.FieldViolation{Field: "room", Description: "too long"}) {
		t.Errorf("%+v", d)
	}
	if d := client.Details(nil); d.Code != codes.OK {
		t.Errorf("of nil: %+v", d)
	}
	if d := client.Details(errors.New("x")); d.Code != codes.Unknown || d.Message != "x" {
		t.Errorf("of another: %+v", d)
	}
}
