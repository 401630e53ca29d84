// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// defaultSilence is six times the service's heartbeat.
const defaultSilence = 90 * time.Second

// WatchOptions tune [Client.Watch]. The zero value is ready for use.
type WatchOptions struct {
	// Retrying, if not nil, is told of each cut: why, and how long until the
	// watch is asked for again.
	Retrying func(err error, after time.Duration)
	// Resumed, if not nil, is told when messages come again after a cut, and
	// the sequence that was resumed from; 0: from the beginning.
	Resumed func(sequence uint64)
	// Silence is how long a call may say nothing, not even a heartbeat, before
	// it is taken as cut. 0: 90 s.
	Silence time.Duration
}

// Watch tells what WatchClassBegin sends, over as many calls as it takes: after
// a cut, and after WATCHER_TOO_SLOW, it resumes from the last sequence, with
// backoff, so that every event comes once and in order. WatchSynced comes once
// for each call; what is on at the beginning comes when it is known in full.
//
// It ends when ctx does, with ctx's error as the last; or with the service's
// error, an [*Error], when asking again is of no use: [ErrNotFound],
// [ErrPermissionDenied], [ErrUnauthenticated], [ErrInvalidArgument] and the
// like; a token that has expired is asked for anew ([Config.TokenFile],
// [Config.TokenSource]) and the watch goes on, unless no newer one comes for a
// while. So it is with [*TooOldError] when the log no longer reaches back to the sequence to
// resume from, [ErrSequenceUnknown] when it has lost it. What never was is not
// waited for: before the first message it ends after [Config.Attempts] calls.
//
// While the loop's body works no message is read; the service ends the call of
// a reader who is far behind, and Watch resumes. Ranging again begins anew.
func (c *Client) Watch(ctx context.Context, req *classrecv1.WatchClassBeginRequest, opts WatchOptions) iter.Seq2[*classrecv1.WatchClassBeginResponse, error] {
	if opts.Silence <= 0 {
		opts.Silence = defaultSilence
	}
	return func(yield func(*classrecv1.WatchClassBeginResponse, error) bool) {
		w := watch{client: c, req: proto.CloneOf(req), opts: opts, yield: yield}
		wait := pauses{min: 200 * time.Millisecond, max: 5 * time.Second}
		for calls := 1; ; calls++ {
			before := w.received
			err := w.once(ctx)
			if w.stopped {
				return
			}
			if ctx.Err() != nil {
				yield(nil, ctx.Err())
				return
			}
			d := Details(err)
			renews := c.renews && d.Code == codes.Unauthenticated && d.Reason == "CREDENTIALS_EXPIRED" && w.received > 0 && w.expired < maxExpired
			if renews {
				w.expired++
			}
			if !renews && !mayResume(err, d) || w.received == 0 && calls >= c.attempts {
				yield(nil, toError(ctx, err))
				return
			}
			if w.received > before {
				wait.reset()
			}
			w.cut = true
			after := wait.take(d.RetryAfter)
			if opts.Retrying != nil {
				opts.Retrying(toError(ctx, err), after)
			}
			_ = sleep(ctx, after) // the next call sees ctx's end
		}
	}
}

// maxExpired is how many calls in a row are made with a credential that has
// expired: its renewal may be a little late.
const maxExpired = 10

// mayResume says whether a watch that ended so may be asked for again.
func mayResume(err error, d ErrorDetails) bool {
	switch d.Code {
	case codes.Canceled:
		return true // not by us: by a server or a proxy that stops
	case codes.DeadlineExceeded:
		return true // a watch has no deadline of its own
	case codes.ResourceExhausted:
		return d.Reason == "WATCHER_TOO_SLOW" || d.RetryAfter > 0
	case codes.Internal, codes.Unknown:
		return d.Reason == "" || errors.Is(err, io.EOF) // the connection's, not the service's
	default:
		return d.mayRepeat()
	}
}

// watch is one [Client.Watch] over all its calls.
type watch struct {
	client   *Client
	req      *classrecv1.WatchClassBeginRequest
	opts     WatchOptions
	yield    func(*classrecv1.WatchClassBeginResponse, error) bool
	received uint64 // messages, in all
	cut      bool   // and nothing has come since
	expired  int    // calls in a row that ended since the credential had expired
	stopped  bool   // by whoever ranges
}

var errSilent = status.Error(codes.Unavailable, "nothing was heard from the service for too long")

// once tells one call's messages, and returns what it ended in, never nil.
func (w *watch) once(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(w.opts.Silence, func() { cancel(errSilent) })
	defer silence.Stop()

	stream, err := w.client.WatchClassBegin(ctx, w.req, grpc.WaitForReady(w.received > 0))
	if err != nil {
		return heard(ctx, err)
	}
	// A snapshot that is cut cannot be resumed, and the next one does not tell
	// of what ended in between: so it is told whole or not at all.
	var pending []*classrecv1.WatchClassBeginResponse
	inSnapshot := w.req.GetAfterSequence() == 0
	for {
		silence.Reset(w.opts.Silence)
		m, err := stream.Recv()
		silence.Stop()
		if err != nil {
			return heard(ctx, err)
		}
		w.received++
		w.expired = 0
		if w.cut {
			w.cut = false
			if w.opts.Resumed != nil {
				w.opts.Resumed(w.req.GetAfterSequence())
			}
		}
		switch {
		case inSnapshot && m.GetHeartbeat() != nil:
			continue
		case inSnapshot:
			pending = append(pending, m)
			if m.GetSynced() == nil {
				continue
			}
			inSnapshot = false
		case m.GetEvent() != nil && Sequence(m) <= w.req.GetAfterSequence():
			continue // told already
		default:
			pending = append(pending[:0], m)
		}
		for _, m := range pending {
			if !w.yield(m, nil) {
				w.stopped = true
				return context.Canceled
			}
		}
		w.req.AfterSequence = max(w.req.GetAfterSequence(), Sequence(m))
	}
}

// heard is why a call ended, silence too.
func heard(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
		return cause
	}
	return err
}

// Sequence returns the place in the log that a message stands for, to resume
// from; 0 for none.
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
