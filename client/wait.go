// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"sync/atomic"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// WaitOptions tune [Client.Wait]. The zero value is ready for use.
type WaitOptions struct {
	// Changed, if not nil, is told of the recording as it is at first, and then
	// each time that it is seen in another state.
	Changed func(*classrecv1.Recording)
}

// Wait returns a recording once it is AVAILABLE: its files can be fetched now.
// One that ends in FAILED is returned with a [*FailedError]
// ([ErrRecordingFailed]).
//
// It looks again and again, from every quarter of a second to every 5 s; while
// the class is on it watches the room too, so that its end is seen at once, and
// looks less often. It survives a service that restarts or is away for a while.
// It ends with ctx; with an [*Error] that looking again does not mend, such as
// [ErrNotFound]; or when the service cannot be reached in the first place.
func (c *Client) Wait(ctx context.Context, name string, opts WaitOptions) (*classrecv1.Recording, error) {
	ended := classEnd{over: make(chan struct{}, 1)}
	defer ended.stop()
	wait := pauses{min: 250 * time.Millisecond, max: 5 * time.Second}
	state := classrecv1.RecordingState_RECORDING_STATE_UNSPECIFIED
	recording, err := c.Get(ctx, name)
	for {
		var asked time.Duration
		switch d := Details(err); {
		case err == nil:
			if recording.GetState() != state {
				state = recording.GetState()
				wait.reset()
				if opts.Changed != nil {
					opts.Changed(recording)
				}
			}
		case ctx.Err() != nil, !d.mayRepeat(), state == classrecv1.RecordingState_RECORDING_STATE_UNSPECIFIED:
			return nil, toError(ctx, err)
		default:
			asked = d.RetryAfter
		}
		switch state {
		case classrecv1.RecordingState_RECORDING_STATE_AVAILABLE:
			return recording, nil
		case classrecv1.RecordingState_RECORDING_STATE_FAILED:
			return recording, &FailedError{Recording: recording}
		case classrecv1.RecordingState_RECORDING_STATE_RECORDING, classrecv1.RecordingState_RECORDING_STATE_STOPPING:
			if err == nil {
				ended.watch(ctx, c, recording)
			}
		default: // files are in the making: there is no event for that
			ended.stop()
		}
		pause := wait.take(asked)
		if ended.live.Load() {
			pause = max(pause, watchedPause)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-ended.over:
		}
		timer.Stop()
		var next *classrecv1.Recording
		if next, err = c.get(ctx, name); err == nil {
			recording = next
		}
	}
}

// watchedPause is how often a recording is looked at whose room is watched.
const watchedPause = 15 * time.Second

// classEnd sees the end of one class by watching its room: the service is there
// anyway while it records. Where it cannot watch, it sees nothing.
type classEnd struct {
	over   chan struct{} // capacity 1; gets a value when the class is over
	live   atomic.Bool   // the watch is up to date
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine is; nil: there was none
}

// watch begins to watch, once.
func (e *classEnd) watch(ctx context.Context, c *Client, recording *classrecv1.Recording) {
	if e.done != nil {
		return
	}
	ctx, e.cancel = context.WithCancel(ctx)
	e.done = make(chan struct{})
	go func() {
		defer close(e.done)
		defer e.live.Store(false)
		opts := WatchOptions{Retrying: func(error, time.Duration) { e.live.Store(false) }}
		for m, err := range c.Watch(ctx, &classrecv1.WatchClassBeginRequest{Room: recording.GetRoom()}, opts) {
			switch {
			case err != nil:
				return
			case m.GetSynced() != nil:
				e.live.Store(true)
				e.tell() // it may have ended before
			case m.GetEvent().GetRecording().GetName() == recording.GetName() &&
				m.GetEvent().GetAction() == classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_REMOVE:
				e.live.Store(false)
				e.tell()
				return
			}
		}
	}()
}

func (e *classEnd) tell() {
	select {
	case e.over <- struct{}{}:
	default:
	}
}

// stop ends the watch and waits for it.
func (e *classEnd) stop() {
	if e.done != nil {
		e.cancel()
		<-e.done
	}
}
