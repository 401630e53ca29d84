// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// faulty answers each call with the next of its errors, then well.
type faulty struct {
	classrecv1.UnimplementedRecordingServiceServer
	errs  chan error
	calls chan string // the request ids of starts, "stop", "get" or "list"
	times chan time.Time
}

func (f *faulty) next(call string) error {
	f.calls <- call
	f.times <- time.Now()
	select {
	case err := <-f.errs:
		return err
	default:
		return nil
	}
}

func (f *faulty) StartRecording(_ context.Context, r *classrecv1.StartRecordingRequest) (*classrecv1.StartRecordingResponse, error) {
	return &classrecv1.StartRecordingResponse{Recording: &classrecv1.Recording{Name: "rooms/42/recordings/17"}}, f.next(r.GetRequestId())
}

func (f *faulty) StopRecording(context.Context, *classrecv1.StopRecordingRequest) (*classrecv1.StopRecordingResponse, error) {
	return &classrecv1.StopRecordingResponse{}, f.next("stop")
}

func (f *faulty) GetRecording(context.Context, *classrecv1.GetRecordingRequest) (*classrecv1.GetRecordingResponse, error) {
	state := classrecv1.RecordingState_RECORDING_STATE_PROCESSING
	if len(f.errs) == 0 {
		state = classrecv1.RecordingState_RECORDING_STATE_AVAILABLE
	}
	return &classrecv1.GetRecordingResponse{Recording: &classrecv1.Recording{State: state}}, f.next("get")
}

func (f *faulty) ListRecordings(context.Context, *classrecv1.ListRecordingsRequest) (*classrecv1.ListRecordingsResponse, error) {
	return &classrecv1.ListRecordingsResponse{}, f.next("list")
}

func newFaulty(t *testing.T, errs ...error) (*client.Client, *faulty) {
	t.Helper()
	f := &faulty{errs: make(chan error, len(errs)), calls: make(chan string, 20), times: make(chan time.Time, 20)}
	for _, err := range errs {
		f.errs <- err
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	classrecv1.RegisterRecordingServiceServer(server, f)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
	return mustDial(t, listener.Addr().String(), client.Config{}), f
}

// retryable is an error with RetryInfo.
func retryable(t *testing.T, code codes.Code, after time.Duration) error {
	t.Helper()
	st, err := status.New(code, "later").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
	if err != nil {
		t.Fatal(err)
	}
	return st.Err()
}

// Every call is repeated; a start with one id, which the client makes.
func TestRepeat(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]func(context.Context, *client.Client) error{
		"start": func(ctx context.Context, c *client.Client) error {
			_, err := c.Start(ctx, &classrecv1.StartRecordingRequest{Room: "42"})
			return err
		},
		"own id": func(ctx context.Context, c *client.Client) error {
			_, err := c.Start(ctx, &classrecv1.StartRecordingRequest{Room: "42", RequestId: "own id"})
			return err
		},
		"stop": func(ctx context.Context, c *client.Client) error {
			_, err := c.Stop(ctx, &classrecv1.StopRecordingRequest{Room: "42"})
			return err
		},
		"get": func(ctx context.Context, c *client.Client) error {
			_, err := c.Get(ctx, "rooms/42/recordings/17")
			return err
		},
		"list": func(ctx context.Context, c *client.Client) (last error) {
			for _, last = range c.List(ctx, &classrecv1.ListRecordingsRequest{Room: "42"}) {
			}
			return last
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, f := newFaulty(t, status.Error(codes.Unavailable, "away"), retryable(t, codes.DeadlineExceeded, time.Millisecond))
			if err := call(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			first := <-f.calls
			if len(f.calls) != 2 || first != <-f.calls || first != <-f.calls {
				t.Errorf("not three calls alike")
			}
			if name != "start" && first != name || first == "" {
				t.Errorf("called %q", first)
			}
			// Another start is another recording.
			if err := call(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if again := <-f.calls; name == "start" && again == first {
				t.Errorf("two starts have the id %s", again)
			}
		})
	}
}

// A wait outlives a service that is away for longer than a call is repeated.
func TestWait_Away(t *testing.T) {
	t.Parallel()
	away := status.Error(codes.Unavailable, "away")
	c, f := newFaulty(t, nil, away, away, retryable(t, codes.DeadlineExceeded, time.Millisecond), away, away, nil)
	states := 0
	r, err := c.Wait(t.Context(), "rooms/42/recordings/17", client.WaitOptions{Changed: func(*classrecv1.Recording) { states++ }})
	if err != nil || r.GetState() != classrecv1.RecordingState_RECORDING_STATE_AVAILABLE || states != 2 || len(f.calls) != 8 {
		t.Errorf("%v, %v; %d states, %d calls", r, err, states, len(f.calls))
	}
	c, _ = newFaulty(t, nil, away, status.Error(codes.NotFound, "gone"))
	if _, err := c.Wait(t.Context(), "rooms/42/recordings/17", client.WaitOptions{}); !errors.Is(err, client.ErrNotFound) {
		t.Error(err)
	}
	// What never was is not waited for.
	c, f = newFaulty(t, away, away, away, away, away, away)
	if _, err := c.Wait(t.Context(), "rooms/42/recordings/17", client.WaitOptions{}); !errors.Is(err, client.ErrUnavailable) || len(f.calls) != 4 {
		t.Errorf("%v after %d calls", err, len(f.calls))
	}
}

// What is not mended by repeating is not repeated, nor what would take too
// long; and RetryInfo is obeyed.
func TestRepeat_Not(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err   error
		calls int
	}{
		"internal":                    {status.Error(codes.Internal, "x"), 1},
		"not found":                   {status.Error(codes.NotFound, "x"), 1},
		"already exists":              {retryable(t, codes.AlreadyExists, time.Millisecond), 1},
		"exhausted, and no word":      {status.Error(codes.ResourceExhausted, "x"), 1},
		"exhausted, for long":         {retryable(t, codes.ResourceExhausted, time.Minute), 1},
		"later than the deadline":     {retryable(t, codes.Unavailable, 20*time.Second), 1},
		"deadline, and no word":       {status.Error(codes.DeadlineExceeded, "x"), 1},
		"unavailable, for ever":       {status.Error(codes.Unavailable, "x"), 4},
		"exhausted, for a short time": {retryable(t, codes.ResourceExhausted, time.Millisecond), 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, f := newFaulty(t, tc.err, tc.err, tc.err, tc.err, tc.err)
			limit := 15 * time.Second
			if name == "exhausted, for long" {
				limit = 5 * time.Minute
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			_, err := c.Get(ctx, "rooms/42/recordings/17")
			if status.Code(err) != status.Code(tc.err) || len(f.calls) != tc.calls {
				t.Errorf("%d calls, %v", len(f.calls), err)
			}
		})
	}
	t.Run("RetryInfo", func(t *testing.T) {
		t.Parallel()
		c, f := newFaulty(t, retryable(t, codes.Unavailable, time.Second))
		if _, err := c.Get(t.Context(), "rooms/42/recordings/17"); err != nil {
			t.Fatal(err)
		}
		if first := <-f.times; (<-f.times).Sub(first) < time.Second {
			t.Error("asked again too soon")
		}
	})
	t.Run("canceled", func(t *testing.T) {
		t.Parallel()
		c, f := newFaulty(t, retryable(t, codes.Unavailable, 20*time.Second))
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-f.times
			cancel()
		}()
		if _, err := c.Get(ctx, "rooms/42/recordings/17"); err == nil || len(f.calls) != 1 {
			t.Errorf("%v after %d calls", err, len(f.calls))
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		t.Parallel()
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := listener.Addr().String()
		listener.Close()
		c := mustDial(t, address, client.Config{})
		if _, err := c.Get(t.Context(), "rooms/42/recordings/17"); !errors.Is(err, client.ErrUnavailable) {
			t.Error(err)
		}
	})
}
