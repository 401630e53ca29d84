// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/classrec/classrec/client"
	"github.com/classrec/classrec/client/internal/clienttest"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// newServer runs a whole classrec, and a client of it.
func newServer(t *testing.T) (*clienttest.Server, *client.Client) {
	t.Helper()
	s := clienttest.New(t, clienttest.Config(t.TempDir()))
	return s, mustDial(t, s.GRPC(), client.Config{})
}

// A class from its start to its files, by the library alone.
func TestClass(t *testing.T) {
	t.Parallel()
	s, c := newServer(t)
	ctx := clienttest.Context(t)
	alice := s.Publish(t, "42", "alice")
	started, err := c.Start(ctx, &classrecv1.StartRecordingRequest{Room: "42", UserId: "recorder"})
	if err != nil {
		t.Fatal(err)
	}
	if started.GetState() != classrecv1.RecordingState_RECORDING_STATE_RECORDING {
		t.Errorf("started: %v", started.GetState())
	}
	waiting := make(chan error, 1)
	var states []string
	var done *classrecv1.Recording
	go func() {
		var err error
		done, err = c.Wait(ctx, started.GetName(), client.WaitOptions{Changed: func(r *classrecv1.Recording) {
			states = append(states, strings.TrimPrefix(r.GetState().String(), "RECORDING_STATE_"))
		}})
		waiting <- err
	}()
	time.Sleep(1500 * time.Millisecond) // of sound
	stopped, err := c.Stop(ctx, &classrecv1.StopRecordingRequest{Room: "42"})
	if err != nil || stopped.GetName() != started.GetName() {
		t.Fatal(stopped, err)
	}
	alice()
	if err := <-waiting; err != nil {
		t.Fatal(err)
	}
	if states[len(states)-1] != "AVAILABLE" || !slices.IsSortedFunc(states, func(a, b string) int {
		order := []string{"STARTING", "RECORDING", "STOPPING", "PROCESSING", "AVAILABLE"}
		return slices.Index(order, a) - slices.Index(order, b)
	}) {
		t.Errorf("states %v", states)
	}
	if len(done.GetUrls()) != 1 {
		t.Fatalf("%d files", len(done.GetUrls()))
	}
	dir := t.TempDir()
	var last client.DownloadProgress
	files, err := c.Download(ctx, done, client.DownloadOptions{Dir: dir, Progress: func(p client.DownloadProgress) { last = p }})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(files[0].Path)
	if err != nil || info.Size() != done.GetFiles()[0].GetSize() || files[0].Size != info.Size() || files[0].Fetched != info.Size() {
		t.Errorf("%+v: %v, %v", files, info, err)
	}
	if !last.Complete || last.Done != info.Size() || last.Size != info.Size() {
		t.Errorf("progress ends with %+v", last)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.part*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	// Again: all is there.
	if files, err = c.Download(ctx, done, client.DownloadOptions{Dir: dir}); err != nil || files[0].Fetched != 0 {
		t.Errorf("again: %+v %v", files, err)
	}
	got, err := c.Get(ctx, started.GetName())
	if err != nil || got.GetState() != classrecv1.RecordingState_RECORDING_STATE_AVAILABLE {
		t.Errorf("%v %v", got, err)
	}
}

// List goes over all pages, and can be broken off and gone over again.
func TestList(t *testing.T) {
	t.Parallel()
	_, c := newServer(t)
	ctx := clienttest.Context(t)
	var want []string
	for range 5 {
		r, err := c.Start(ctx, &classrecv1.StartRecordingRequest{Room: "list"})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, r.GetName())
		if _, err := c.Stop(ctx, &classrecv1.StopRecordingRequest{Name: r.GetName()}); err != nil {
			t.Fatal(err)
		}
	}
	for _, size := range []int32{0, 1, 2, 5} {
		list := c.List(ctx, &classrecv1.ListRecordingsRequest{Room: "list", PageSize: size})
		for range 2 {
			var got []string
			for r, err := range list {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, r.GetName())
			}
			slices.Sort(got)
			if sorted := slices.Sorted(slices.Values(want)); !slices.Equal(got, sorted) {
				t.Errorf("pages of %d: %q, want %q", size, got, sorted)
			}
		}
		for range list {
			break
		}
	}
	for r, err := range c.List(ctx, &classrecv1.ListRecordingsRequest{}) {
		if r != nil || !errors.Is(err, client.ErrInvalidArgument) {
			t.Errorf("without anything: %v %v", r, err)
		}
	}
}

// The errors of a real service, matched.
func TestErrors(t *testing.T) {
	t.Parallel()
	_, c := newServer(t)
	ctx := clienttest.Context(t)
	live, err := c.Start(ctx, &classrecv1.StartRecordingRequest{Room: "busy", RequestId: "one"})
	if err != nil {
		t.Fatal(err)
	}
	start := func(req *classrecv1.StartRecordingRequest) error {
		_, err := c.Start(ctx, req)
		return err
	}
	get := func(name string) error {
		_, err := c.Get(ctx, name)
		return err
	}
	_, noClass := c.Stop(ctx, &classrecv1.StopRecordingRequest{Room: "never"})
	_, waitUnknown := c.Wait(ctx, "rooms/busy/recordings/17", client.WaitOptions{})
	var ahead error
	for _, ahead = range c.Watch(ctx, &classrecv1.WatchClassBeginRequest{Room: "busy", AfterSequence: 1 << 40}, client.WatchOptions{}) {
	}
	for name, tc := range map[string]struct {
		err  error
		code codes.Code
		is   []error
	}{
		"already begun":  {start(&classrecv1.StartRecordingRequest{Room: "busy"}), codes.AlreadyExists, []error{client.ErrAlreadyBegun, client.ErrAlreadyExists}},
		"reused":         {start(&classrecv1.StartRecordingRequest{Room: "other", RequestId: "one"}), codes.AlreadyExists, []error{client.ErrRequestIDReused}},
		"ffmpeg":         {start(&classrecv1.StartRecordingRequest{Room: "mp4", Format: classrecv1.RecordingFormat_RECORDING_FORMAT_MP4}), codes.FailedPrecondition, []error{client.ErrFFmpegMissing, client.ErrFailedPrecondition}},
		"invalid":        {start(&classrecv1.StartRecordingRequest{Room: "a/b"}), codes.InvalidArgument, []error{client.ErrInvalidArgument}},
		"no recording":   {get("rooms/busy/recordings/17"), codes.NotFound, []error{client.ErrRecordingNotFound, client.ErrNotFound}},
		"no class":       {noClass, codes.NotFound, []error{client.ErrNoClass, client.ErrNotFound}},
		"wait for none":  {waitUnknown, codes.NotFound, []error{client.ErrNotFound}},
		"sequence ahead": {ahead, codes.OutOfRange, []error{client.ErrSequenceUnknown, client.ErrOutOfRange}},
	} {
		var e *client.Error
		if !errors.As(tc.err, &e) || e.Code != tc.code || status.Code(tc.err) != tc.code || !strings.Contains(e.Error(), e.Reason) {
			t.Errorf("%s: %v", name, tc.err)
			continue
		}
		for _, is := range tc.is {
			if !errors.Is(tc.err, is) {
				t.Errorf("%s: %v is not %v", name, tc.err, is)
			}
		}
		for _, not := range []error{client.ErrUnavailable, client.ErrSequenceTooOld, context.Canceled, client.ErrRecordingFailed} {
			if errors.Is(fmt.Errorf("wrapped: %w", tc.err), not) {
				t.Errorf("%s: %v is %v", name, tc.err, not)
			}
		}
		switch name {
		case "already begun":
			if e.Recording() != live.GetName() {
				t.Errorf("%s: names %q", name, e.Recording())
			}
		case "invalid":
			if len(e.Fields) == 0 || e.Fields[0].Field != "room" {
				t.Errorf("%s: %+v", name, e.Fields)
			}
		}
	}
}

// A watch outlives cuts of its connection: every class comes once, in order.
func TestWatch_Cuts(t *testing.T) {
	t.Parallel()
	s, direct := newServer(t)
	proxy := clienttest.NewProxy(t, s.GRPC())
	ctx, cancel := context.WithCancel(clienttest.Context(t))
	defer cancel()
	c := mustDial(t, proxy.Addr(), client.Config{})
	const classes = 10
	synced := make(chan struct{}, 100)
	seen := make(chan string, 100)
	ended := make(chan error, 1)
	resumed := 0
	go func() {
		var last uint64
		for m, err := range c.Watch(ctx, &classrecv1.WatchClassBeginRequest{Room: "-"}, client.WatchOptions{Resumed: func(uint64) { resumed++ }}) {
			if err != nil {
				ended <- err
				return
			}
			if m.GetSynced() != nil {
				synced <- struct{}{}
			}
			if e := m.GetEvent(); e != nil {
				if e.GetSequence() <= last {
					t.Errorf("%d comes after %d", e.GetSequence(), last)
				}
				last = e.GetSequence()
				seen <- e.GetAction().String() + " " + e.GetRecording().GetName()
			}
		}
	}()
	<-synced
	for i := range classes {
		r, err := direct.Start(ctx, &classrecv1.StartRecordingRequest{Room: fmt.Sprint("w", i)})
		if err != nil {
			t.Fatal(err)
		}
		proxy.Cut()
		if _, err := direct.Stop(ctx, &classrecv1.StopRecordingRequest{Name: r.GetName()}); err != nil {
			t.Fatal(err)
		}
		for _, action := range []string{"ADD", "REMOVE"} {
			select {
			case got := <-seen:
				if want := "CLASS_BEGIN_ACTION_" + action + " " + r.GetName(); got != want {
					t.Fatalf("seen %s, want %s", got, want)
				}
			case err := <-ended:
				t.Fatal(err)
			case <-ctx.Done():
				t.Fatalf("%s of class %d was not seen", action, i)
			}
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if resumed == 0 {
		t.Error("nothing was cut")
	}
}

// Wait survives cuts, too, and ends with its context.
func TestWait(t *testing.T) {
	t.Parallel()
	s, direct := newServer(t)
	proxy := clienttest.NewProxy(t, s.GRPC())
	c := mustDial(t, proxy.Addr(), client.Config{})
	ctx := clienttest.Context(t)
	r, err := direct.Start(ctx, &classrecv1.StartRecordingRequest{Room: "wait"})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("its context", func(t *testing.T) {
		short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		_, err := c.Wait(short, r.GetName(), client.WaitOptions{})
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, client.ErrDeadlineExceeded) {
			t.Error(err)
		}
	})
	t.Run("cuts", func(t *testing.T) {
		first := make(chan struct{})
		waited := make(chan error, 1)
		go func() {
			got, err := c.Wait(ctx, r.GetName(), client.WaitOptions{Changed: func(r *classrecv1.Recording) {
				if r.GetState() == classrecv1.RecordingState_RECORDING_STATE_RECORDING {
					close(first)
				}
			}})
			if err == nil && got.GetState() != classrecv1.RecordingState_RECORDING_STATE_AVAILABLE {
				err = errors.New(got.GetState().String())
			}
			waited <- err
		}()
		<-first
		proxy.Cut()
		if _, err := direct.Stop(ctx, &classrecv1.StopRecordingRequest{Name: r.GetName()}); err != nil {
			t.Fatal(err)
		}
		proxy.Cut()
		if err := <-waited; err != nil {
			t.Error(err)
		}
	})
}
