// SPDX-License-Identifier: Apache-2.0

// Package service answers the calls of classrec.v1.RecordingService.
//
// It is the thin edge between gRPC and package recording: it checks requests
// against the field rules of the proto, hands them on as they are, and is the
// only place where an error becomes a code with its details. It leaves all
// decisions to package recording, and REST to package gateway.
package service

import (
	"context"

	"google.golang.org/grpc"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/auth"
	"github.com/classrec/classrec/server/internal/recording"
)

// Service implements classrec.v1.RecordingService. Requests have passed the
// validating interceptor of [ServerOptions] when they get here. A call is about
// what its caller's tenant has: nothing else is there for it.
type Service struct {
	classrecv1.UnimplementedRecordingServiceServer

	recordings map[string]*recording.Service // by tenant
}

// New returns a service over the recordings of each tenant, which the caller
// runs. The map is not to be changed any more.
func New(recordings map[string]*recording.Service) *Service { return &Service{recordings: recordings} }

// of returns the recordings of the caller's tenant; who has shown no other
// belongs to [auth.DefaultTenant]. A tenant that there is not is no fault of the
// credential, which is good: to show another one like it does not help, so the
// error is PERMISSION_DENIED and not UNAUTHENTICATED.
func (s *Service) of(ctx context.Context) (*recording.Service, error) {
	tenant := auth.DefaultTenant
	if p, ok := auth.FromContext(ctx); ok {
		tenant = p.Tenant
	}
	if r, ok := s.recordings[tenant]; ok {
		return r, nil
	}
	return nil, &recording.Error{
		Kind: recording.KindPermissionDenied, Reason: "TENANT_UNKNOWN",
		Message: "this server has no such tenant as the caller's", Metadata: map[string]string{"tenant": tenant},
	}
}

// Register adds the service to a gRPC server.
func (s *Service) Register(r grpc.ServiceRegistrar) {
	classrecv1.RegisterRecordingServiceServer(r, s)
}

// StartRecording implements classrec.v1.RecordingService.
func (s *Service) StartRecording(ctx context.Context, req *classrecv1.StartRecordingRequest) (*classrecv1.StartRecordingResponse, error) {
	recordings, err := s.of(ctx)
	if err != nil {
		return nil, err
	}
	if err := seesRoom(ctx, req.GetRoom()); err != nil {
		return nil, err
	}
	r, err := recordings.Start(ctx, req)
	if err != nil {
		return nil, unseen(ctx, err)
	}
	return &classrecv1.StartRecordingResponse{Recording: r}, nil
}

// StopRecording implements classrec.v1.RecordingService.
func (s *Service) StopRecording(ctx context.Context, req *classrecv1.StopRecordingRequest) (*classrecv1.StopRecordingResponse, error) {
	recordings, err := s.of(ctx)
	if err != nil {
		return nil, err
	}
	sees := seesRoom(ctx, req.GetRoom())
	if req.GetName() != "" {
		sees = seesRecording(ctx, req.GetName())
	}
	if sees != nil {
		return nil, sees
	}
	r, err := recordings.Stop(ctx, req)
	if err != nil {
		return nil, err
	}
	return &classrecv1.StopRecordingResponse{Recording: r}, nil
}

// GetRecording implements classrec.v1.RecordingService.
func (s *Service) GetRecording(ctx context.Context, req *classrecv1.GetRecordingRequest) (*classrecv1.GetRecordingResponse, error) {
	recordings, err := s.of(ctx)
	if err != nil {
		return nil, err
	}
	if err := seesRecording(ctx, req.GetName()); err != nil {
		return nil, err
	}
	r, err := recordings.Get(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	return &classrecv1.GetRecordingResponse{Recording: r}, nil
}

// ListRecordings implements classrec.v1.RecordingService.
func (s *Service) ListRecordings(ctx context.Context, req *classrecv1.ListRecordingsRequest) (*classrecv1.ListRecordingsResponse, error) {
	recordings, err := s.of(ctx)
	if err != nil {
		return nil, err
	}
	return recordings.List(ctx, req, rooms(ctx))
}

// WatchClassBegin implements classrec.v1.RecordingService. An event that many
// callers get is encoded once for all of them.
func (s *Service) WatchClassBegin(req *classrecv1.WatchClassBeginRequest, stream grpc.ServerStreamingServer[classrecv1.WatchClassBeginResponse]) error {
	ctx := stream.Context()
	recordings, err := s.of(ctx)
	if err != nil {
		return err
	}
	if req.GetRoom() != recording.AllRooms {
		if err := seesRoom(ctx, req.GetRoom()); err != nil {
			return err
		}
	}
	watch, err := recordings.Watch(ctx, req, visible(ctx))
	if err != nil {
		return err
	}
	defer watch.Close()
	for {
		msg, err := watch.Next(ctx)
		if err != nil {
			return err
		}
		if err := send(stream, msg); err != nil {
			return err
		}
	}
}

// send sends a message in its shared encoding. All streams of the server use
// the same codec; the server compresses nothing (see [ServerOptions]).
func send(stream grpc.ServerStream, msg recording.WatchMessage) error {
	encoded := msg.Encoded(func(res *classrecv1.WatchClassBeginResponse) any {
		prepared := new(grpc.PreparedMsg)
		if err := prepared.Encode(stream, res); err != nil {
			return err
		}
		return prepared
	})
	if err, failed := encoded.(error); failed {
		return err
	}
	return stream.SendMsg(encoded)
}
