// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Start writes the intent to record and returns when the room's worker has
// confirmed it. The request has passed its field rules. Errors: see
// StartRecording in the API.
func (s *Service) Start(ctx context.Context, req *classrecv1.StartRecordingRequest) (*classrecv1.Recording, error) {
	w, err := s.hold(req.GetRoom())
	if err != nil {
		return nil, err
	}
	defer s.release(w)
	e, err := s.intend(ctx, req)
	if err != nil {
		return nil, public(err)
	}
	w.poke()
	e, err = s.wait(ctx, e, func(e *store.Entry) bool { return stateOf(e) != starting })
	if err != nil {
		return nil, public(err)
	}
	if stateOf(e) == failedSt && e.Record.GetRecording().GetName() == "" {
		// When a class was on already, its recording is stored right after.
		if err := w.settle(ctx); err != nil {
			return nil, err
		}
		return nil, failed(e.Record.GetRecording().GetFailure())
	}
	return e.Record.GetRecording(), nil
}

// intend returns the STARTING that was written for the request, or the
// recording of the same request_id.
func (s *Service) intend(ctx context.Context, req *classrecv1.StartRecordingRequest) (*store.Entry, error) {
	hash, err := s.cfg.Key.requestHash(req)
	if err != nil {
		return nil, err
	}
	if id := req.GetRequestId(); id != "" {
		unlock, err := s.requests.lock(ctx, id)
		if err != nil {
			return nil, err
		}
		defer unlock()
	}
	rec, err := s.startingRecord(req, hash)
	if err != nil {
		return nil, err
	}
	for {
		revision := s.store.RoomRevision(s.cfg.Tenant, req.GetRoom())
		if id := req.GetRequestId(); id != "" {
			if e, ok := s.store.ByRequestID(s.cfg.Tenant, id); ok {
				if !bytes.Equal(e.Record.GetRequestHash(), hash) {
					return nil, errRequestIDReused(e.Record.GetRecording().GetName())
				}
				return e, nil
			}
		}
		live, ok := s.store.Live(s.cfg.Tenant, req.GetRoom())
		if !ok {
			e, err := s.store.Append(ctx, rec, revision)
			if errors.Is(err, store.ErrConflict) {
				continue
			}
			return e, err
		}
		if stateOf(live) == recording {
			return nil, errAlreadyBegun(live.Record.GetRecording().GetName())
		}
		// It begins or ends just now: what comes of it decides.
		if _, err := s.wait(ctx, live, func(e *store.Entry) bool {
			return stateOf(e) != starting && stateOf(e) != stopping
		}); err != nil {
			return nil, err
		}
	}
}

func (s *Service) startingRecord(req *classrecv1.StartRecordingRequest, hash []byte) (*storev1.Record, error) {
	at := now()
	begin := classBegin(req)
	rec := newRecord(s.cfg.Tenant, req.GetRoom(), at)
	user := req.GetUserId()
	if user == "" {
		user = string(talkcloud.NewUserID())
		rec.OwnUserId = true
	}
	password, err := s.cfg.Key.seal(rec.GetId(), talkcloud.Secret(req.GetRoomPassword()))
	if err != nil {
		return nil, err
	}
	rec.RequestId = req.GetRequestId()
	rec.RequestHash = hash
	rec.Join = &storev1.JoinIdentity{UserId: user, Nickname: req.GetNickname(), SealedPassword: password}
	rec.Deadline = timestamppb.New(at.Add(s.cfg.StartTimeout))
	rec.ClassBeginData = begin.Encode()
	r := rec.Recording
	r.UserId = user
	r.State = starting
	r.Origin = classrecv1.RecordingOrigin_RECORDING_ORIGIN_API
	r.MaxDuration = req.GetMaxDuration()
	describe(r, begin.Message())
	return rec, nil
}

func newRecord(tenant, roomID string, at time.Time) *storev1.Record {
	return &storev1.Record{
		Tenant: tenant,
		Id:     ulid.Make().String(),
		Recording: &classrecv1.Recording{
			Room:       roomID,
			CreateTime: timestamppb.New(at),
			UpdateTime: timestamppb.New(at),
		},
	}
}

func stateOf(e *store.Entry) classrecv1.RecordingState { return e.Record.GetRecording().GetState() }

// stateWord is a state for a log line.
func stateWord(rec *storev1.Record) string {
	return strings.ToLower(strings.TrimPrefix(rec.GetRecording().GetState().String(), "RECORDING_STATE_"))
}
