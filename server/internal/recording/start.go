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
	"github.com/classrec/classrec/server/internal/admission"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/tracing"
)

// namedTimeout bounds how long a refused start waits for the recording that it
// names to be stored.
const namedTimeout = 2 * time.Second

// Start writes the intent to record and returns when the room's worker has
// confirmed it. A request whose recording is there already is answered whatever
// the limits are. The request has passed its field rules. Errors: see
// StartRecording in the API.
func (s *Service) Start(ctx context.Context, req *classrecv1.StartRecordingRequest) (*classrecv1.Recording, error) {
	known, err := s.knows(ctx, req)
	if err != nil {
		return nil, public(err)
	}
	if !known {
		if err := s.admit(req); err != nil {
			return nil, public(err)
		}
	}
	why := asked
	if known {
		why = needed
	}
	w, _, err := s.holdFor(req.GetRoom(), why)
	if err != nil {
		return nil, err
	}
	defer s.release(w)
	if err := s.store.Sync(ctx); err != nil {
		return nil, public(err)
	}
	w.starts.Add(1)
	defer w.starts.Add(-1)
	e, err := s.intend(ctx, req)
	if err != nil {
		return nil, public(err)
	}
	tracing.Note(ctx, "the start is stored", tracing.State.String(stateWord(e.Record)))
	w.poke()
	e, err = s.wait(ctx, e, func(e *store.Entry) bool { return stateOf(e) != starting })
	if err != nil {
		return nil, public(err)
	}
	if stateOf(e) == failedSt && e.Record.GetRecording().GetName() == "" {
		s.awaitNamed(ctx, e)
		return nil, failed(e.Record.GetRecording().GetFailure())
	}
	return e.Record.GetRecording(), nil
}

// awaitNamed returns when the recording is known that stood in the way of a
// start, for a class that was on already: the worker stores it right after.
func (s *Service) awaitNamed(ctx context.Context, refused *store.Entry) {
	name := refused.Record.GetBlockedBy()
	if name == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, namedTimeout)
	defer cancel()
	log, err := s.store.Watch(ctx, store.WatchFilter{Tenant: s.cfg.Tenant, Room: refused.Record.GetRecording().GetRoom()}, refused.Revision)
	if err != nil {
		return
	}
	defer log.Close()
	for e := range log.C() {
		if e.Record.GetRecording().GetName() == name {
			return
		}
	}
}

// knows reports whether the recording of the request is there already.
func (s *Service) knows(ctx context.Context, req *classrecv1.StartRecordingRequest) (bool, error) {
	_, err := s.store.ByRequestID(ctx, s.cfg.Tenant, req.GetRequestId())
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// admit refuses a start for which there is no place, before it has cost anything.
// Whether there is place is decided by reserve.
func (s *Service) admit(req *classrecv1.StartRecordingRequest) error {
	if err := s.cfg.Admission.Call(admission.Start); err != nil {
		return err
	}
	if _, live := s.store.Live(s.cfg.Tenant, req.GetRoom()); live {
		return nil // what is to be told is that
	}
	tenant, process := s.cfg.Admission.Limits()
	return full(s.store.Full(s.cfg.Tenant, tenant.Recordings, process.Recordings))
}

// reserve takes a place among the live recordings for one that is about to be
// stored. release is to be called when it is, or will not be.
func (s *Service) reserve(rec *storev1.Record) (release func(), err error) {
	tenant, process := s.cfg.Admission.Limits()
	release, err = s.store.Reserve(s.cfg.Tenant, rec.GetRecording().GetRoom(), rec.GetId(), tenant.Recordings, process.Recordings)
	return release, full(err)
}

func full(err error) error {
	if known := (*store.FullError)(nil); errors.As(err, &known) {
		return admission.Full(admission.LimitRecordings, known.Max, known.OfTenant)
	}
	return err
}

// intend returns the STARTING that was written for the request, or the
// recording of the same request_id.
func (s *Service) intend(ctx context.Context, req *classrecv1.StartRecordingRequest) (*store.Entry, error) {
	hash, err := s.cfg.requestHash(req)
	if err != nil {
		return nil, err
	}
	rec, err := s.startingRecord(req, hash, tracing.Parent(ctx))
	if err != nil {
		return nil, err
	}
	for {
		switch e, err := s.store.ByRequestID(ctx, s.cfg.Tenant, req.GetRequestId()); {
		case err == nil && !bytes.Equal(e.Record.GetRequestHash(), hash):
			return nil, errRequestIDReused(e.Record.GetRecording().GetName())
		case err == nil:
			return s.want(ctx, req, hash, e)
		case !errors.Is(err, store.ErrNotFound):
			return nil, err
		}
		live, ok := s.store.Live(s.cfg.Tenant, req.GetRoom())
		if !ok {
			release, err := s.reserve(rec)
			if err != nil {
				return nil, err
			}
			e, err := s.append(ctx, nil, rec, 0)
			release()
			if errors.Is(err, store.ErrConflict) {
				continue
			}
			return e, err
		}
		if req.GetRequestId() != "" && live.Record.GetUnwanted() && live.Record.GetRecording().GetUserId() == string(s.identity(req, "")) {
			return s.want(ctx, req, hash, live) // begun for this request, after it had been given up
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

func (s *Service) startingRecord(req *classrecv1.StartRecordingRequest, hash []byte, traceparent string) (*storev1.Record, error) {
	at := s.now()
	begin := classBegin(req)
	rec := newRecord(s.cfg.Tenant, req.GetRoom(), at)
	user := req.GetUserId()
	if user == "" {
		user = string(s.identity(req, rec.GetId()))
		rec.OwnUserId = true
	}
	password, err := s.cfg.Key.seal(rec.GetId(), talkcloud.Secret(req.GetRoomPassword()))
	if err != nil {
		return nil, err
	}
	rec.RequestId = req.GetRequestId()
	rec.RequestHash = hash
	rec.Join = &storev1.JoinIdentity{UserId: user, Nickname: req.GetNickname(), SealedPassword: password}
	rec.StartTraceparent = traceparent
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

// identity is the user id that is made for a request: always the same for one
// request_id, so that a class which was begun for it is recognized when it is
// asked for again; of a request without one, that of its recording.
func (s *Service) identity(req *classrecv1.StartRecordingRequest, id string) talkcloud.UserID {
	if req.GetRequestId() != "" {
		return s.cfg.Key.identity(s.cfg.Tenant, req.GetRoom(), "request", req.GetRequestId())
	}
	return s.cfg.Key.identity(s.cfg.Tenant, req.GetRoom(), "recording", id)
}

// want notes that a recording is asked for whose start had been given up, if it
// is one.
func (s *Service) want(ctx context.Context, req *classrecv1.StartRecordingRequest, hash []byte, e *store.Entry) (*store.Entry, error) {
	if !e.Record.GetUnwanted() {
		return e, nil
	}
	ev := wanted{requestID: req.GetRequestId(), hash: hash, maxDuration: req.GetMaxDuration()}
	e, _, err := s.change(ctx, nil, e.Record.GetRecording().GetRoom(), e.Record.GetId(), ev)
	return e, err
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
