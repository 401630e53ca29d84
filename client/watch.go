// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// The pause before a watch is asked for again: doubled from the first to the
// last, with jitter; from the first again once a message has come.
const (
	minPause = 200 * time.Millisecond
	maxPause = 5 * time.Second
)

// WatchOptions tune [Client.Watch]. The zero value is ready for use.
type WatchOptions struct {
	// Retrying, if not nil, is told of each cut: why, and how long until the
	// watch is asked for again.
	Retrying func(err error, after time.Duration)
}

// Watch tells what WatchClassBegin sends, over as many calls as it takes: after
// a cut, and after WATCHER_TOO_SLOW, it resumes from the last sequence, so that
// every event comes once and in order. WatchSynced comes once for each call; a
// snapshot comes when it is complete.
//
// It ends when ctx does, with ctx's error as the last; or with the service's
// error when asking again is of no use, such as NOT_FOUND, or OUT_OF_RANGE when
// the log no longer reaches back to the last sequence. A first call that cannot
// reach the service ends it too: what never was is not waited for.
func (c *Client) Watch(ctx context.Context, req *classrecv1.WatchClassBeginRequest, opts WatchOptions) iter.Seq2[*classrecv1.WatchClassBeginResponse, error] {
	return func(yield func(*classrecv1.WatchClassBeginResponse, error) bool) {
		w := watch{client: c, req: proto.CloneOf(req)}
		pause := minPause
		for {
			before := w.received
			err := w.once(ctx, yield)
			if w.stopped {
				return
			}
			if ctx.Err() != nil {
				yield(nil, ctx.Err())
				return
			}
			if w.received == 0 || !mayResume(err) {
				yield(nil, err)
				return
			}
			if w.received > before {
				pause = minPause
			}
			after := pause/2 + rand.N(pause/2)
			pause = min(2*pause, maxPause)
			if opts.Retrying != nil {
				opts.Retrying(err, after)
			}
			select {
			case <-ctx.Done():
			case <-time.After(after):
			}
		}
	}
}

// mayResume says whether a watch that ended so may be asked for again.
func mayResume(err error) bool {
	d := Details(err)
	switch d.Code {
	case codes.Unavailable, codes.Aborted, codes.Canceled, codes.DeadlineExceeded:
		return true
	case codes.ResourceExhausted:
		return d.Reason == "WATCHER_TOO_SLOW"
	case codes.Internal, codes.Unknown:
		return d.Reason == "" || errors.Is(err, io.EOF) // the connection's, not the service's
	default:
		return false
	}
}

// watch is one [Client.Watch] over all its calls.
type watch struct {
	client   *Client
	req      *classrecv1.WatchClassBeginRequest
	received uint64 // messages, in all
	stopped  bool   // by whoever ranges
}

// once tells one call's messages, and returns what it ended in, never nil.
func (w *watch) once(ctx context.Context, yield func(*classrecv1.WatchClassBeginResponse, error) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.client.WatchClassBegin(ctx, w.req, grpc.WaitForReady(w.received > 0))
	if err != nil {
		return err
	}
	// A snapshot that is cut cannot be resumed, and the next one does not tell
	// of what ended in between: so it is told whole or not at all.
	var pending []*classrecv1.WatchClassBeginResponse
	inSnapshot := w.req.GetAfterSequence() == 0
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		w.received++
		if inSnapshot {
			if m.GetHeartbeat() != nil {
				continue
			}
			pending = append(pending, m)
			if m.GetSynced() == nil {
				continue
			}
			inSnapshot = false
		} else {
			pending = append(pending[:0], m)
		}
		for _, m := range pending {
			if !yield(m, nil) {
				w.stopped = true
				return context.Canceled
			}
		}
		w.req.AfterSequence = Sequence(m)
	}
}

// Sequence returns the place in the log that a message stands for, to resume
// from.
func Sequence(m *classrecv1.WatchClassBeginResponse) uint64 {
	switch p := m.GetPayload().(type) {
	case *classrecv1.WatchClassBeginResponse_Event:
		return p.Event.GetSequence()
	case *classrecv1.WatchClassBeginResponse_Synced:
		return p.Synced.GetSequence()
	case *classrecv1.WatchClassBeginResponse_Heartbeat:
		return p.Heartbeat.GetSequence()
	default:
		return 0
	}
}
