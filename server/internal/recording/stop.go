// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"context"
	"errors"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Stop asks for the end of a class and returns when the platform has confirmed
// it, or at once when it is over already. The request has passed its field
// rules. Errors: see StopRecording in the API.
func (s *Service) Stop(ctx context.Context, req *classrecv1.StopRecordingRequest) (*classrecv1.Recording, error) {
	roomID := req.GetRoom()
	if req.GetName() != "" {
		var err error
		if roomID, _, err = ParseName(req.GetName()); err != nil {
			return nil, errRecordingNotFound(req.GetName())
		}
	}
	w, err := s.hold(roomID)
	if err != nil {
		return nil, err
	}
	defer s.release(w)

	e, err := s.stopTarget(ctx, w, req)
	if err != nil {
		if known := (*Error)(nil); req.GetName() != "" && errors.As(err, &known) && known.Kind == KindNotFound {
			// What only the platform knows is over: it lists what is finished.
			return s.Get(ctx, req.GetName())
		}
		return nil, public(err)
	}
	if e, err = s.askStop(ctx, e); err != nil {
		return nil, public(err)
	}
	w.poke()
	return s.stopped(ctx, w, e)
}

// stopTarget finds the recording that is meant.
func (s *Service) stopTarget(ctx context.Context, w *worker, req *classrecv1.StopRecordingRequest) (*store.Entry, error) {
	if name := req.GetName(); name != "" {
		e, err := s.store.ByName(s.cfg.Tenant, name)
		if errors.Is(err, store.ErrNotFound) {
			return nil, errRecordingNotFound(name)
		}
		return e, err
	}
	if live, ok := s.store.Live(s.cfg.Tenant, w.room); ok {
		return live, nil
	}
	// A class may be on that nobody has told us of: go and see.
	if _, err := w.enter(ctx, talkcloud.Secret(req.GetRoomPassword()), false); err != nil {
		return nil, err
	}
	if live, ok := s.store.Live(s.cfg.Tenant, w.room); ok {
		return live, nil
	}
	last, _, _ := s.store.List(s.cfg.Tenant, store.Filter{Room: w.room}, store.Cursor{}, 1)
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
	e, _, err = s.change(ctx, e.Record.GetRecording().GetRoom(), e.Record.GetId(), stopAsked{reason: classrecv1.EndReason_END_REASON_STOPPED})
	return e, err
}

// stopped waits for the end to be confirmed.
func (s *Service) stopped(ctx context.Context, w *worker, e *store.Entry) (*classrecv1.Recording, error) {
	bounded, cancel := context.WithTimeout(ctx, s.cfg.StopTimeout)
	defer cancel()
	done, err := s.wait(bounded, e, func(e *store.Entry) bool { return stateOf(e) != stopping })
	if err == nil {
		return done.Record.GetRecording(), nil
	}
	if ctx.Err() == nil && errors.Is(bounded.Err(), context.DeadlineExceeded) {
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
