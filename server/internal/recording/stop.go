// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"context"
	"errors"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/tracing"
)

// Stop asks for the end of a class and returns when the platform has confirmed
// it, or at once when it is over already. No limit stands in its way. The request
// has passed its field rules. Errors: see StopRecording in the API.
func (s *Service) Stop(ctx context.Context, req *classrecv1.StopRecordingRequest) (*classrecv1.Recording, error) {
	roomID, name := req.GetRoom(), req.GetName()
	if name != "" {
		var err error
		if roomID, _, err = ParseName(name); err != nil {
			return nil, errRecordingNotFound(name)
		}
	}
	if err := s.store.Sync(ctx); err != nil {
		return nil, public(err)
	}
	var e *store.Entry
	var err error
	if name != "" {
		switch e, err = s.store.ByName(ctx, s.cfg.Tenant, name); {
		case errors.Is(err, store.ErrNotFound):
			// What only the platform knows is over: it lists what is finished.
			return s.get(ctx, name)
		case err != nil:
			return nil, public(err)
		case isFinal(stateOf(e)):
			return e.Record.GetRecording(), nil
		}
	}
	w, err := s.holdToStop(ctx, roomID, e)
	if err != nil {
		return nil, public(err)
	}
	defer s.release(w)
	if e == nil {
		if e, err = s.inRoom(ctx, w, talkcloud.Secret(req.GetRoomPassword())); err != nil {
			return nil, public(err)
		}
	}
	if e, err = s.askStop(ctx, e); err != nil {
		return nil, public(err)
	}
	tracing.Note(ctx, "the stop is stored", tracing.State.String(stateWord(e.Record)))
	w.poke()
	return s.stopped(ctx, w, e)
}

// holdToStop holds the worker of a room for the recording that is meant; nil is
// whichever is on.
func (s *Service) holdToStop(ctx context.Context, roomID string, e *store.Entry) (*worker, error) {
	if _, live := s.store.Live(s.cfg.Tenant, roomID); e != nil || live {
		return s.hold(roomID)
	}
	return s.holdToLook(ctx, roomID)
}

// inRoom finds the recording that is on in a room, or else was last.
func (s *Service) inRoom(ctx context.Context, w *worker, password talkcloud.Secret) (*store.Entry, error) {
	if live, ok := s.store.Live(s.cfg.Tenant, w.room); ok {
		return live, nil
	}
	// A class may be on that nobody has told us of: go and see.
	if _, err := w.enter(ctx, password, false); err != nil {
		return nil, err
	}
	if live, ok := s.store.Live(s.cfg.Tenant, w.room); ok {
		return live, nil
	}
	last, _, _, err := s.store.List(ctx, s.cfg.Tenant, store.Filter{Room: w.room}, store.Cursor{}, 1)
	if err != nil {
		return nil, err
	}
	if len(last) == 0 {
		return nil, errNoClass(w.room)
	}
	return last[0], nil
}

// askStop writes STOPPING, once the recording is in a state to be stopped.
func (s *Service) askStop(ctx context.Context, e *store.Entry) (*store.Entry, error) {
	e, err := s.wait(ctx, e, func(e *store.Entry) bool { return stateOf(e) != starting })
	if err != nil {
		return nil, err
	}
	if stateOf(e) == failedSt && e.Record.GetRecording().GetName() == "" {
		return nil, errNoClass(e.Record.GetRecording().GetRoom())
	}
	e, _, err = s.change(ctx, nil, e.Record.GetRecording().GetRoom(), e.Record.GetId(), stopAsked{reason: classrecv1.EndReason_END_REASON_STOPPED, traceparent: tracing.Parent(ctx)})
	return e, err
}

// stopped waits for the end to be confirmed.
func (s *Service) stopped(ctx context.Context, w *worker, e *store.Entry) (*classrecv1.Recording, error) {
	bounded, cancel := s.cfg.Clock.WithTimeout(ctx, s.cfg.StopTimeout)
	defer cancel()
	done, err := s.wait(bounded, e, func(e *store.Entry) bool { return stateOf(e) != stopping })
	if err == nil {
		return done.Record.GetRecording(), nil
	}
	if ctx.Err() == nil && errors.Is(context.Cause(bounded), context.DeadlineExceeded) {
		trouble := w.lastTrouble()
		var known *Error
		if errors.As(trouble, &known) && known.Kind == KindUnavailable {
			return nil, &Error{
				Kind: KindUnavailable, Reason: known.Reason, RetryAfter: time.Second, err: trouble,
				Message:  "the end stays asked for; the platform cannot be reached: " + known.Message,
				Metadata: map[string]string{"recording": e.Record.GetRecording().GetName()},
			}
		}
		return nil, errStopTimeout(e.Record.GetRecording().GetName(), trouble)
	}
	return nil, public(err)
}
