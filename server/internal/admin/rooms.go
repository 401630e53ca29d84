// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"cmp"
	"context"
	"maps"
	"slices"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	"github.com/classrec/classrec/server/internal/auth"
	"github.com/classrec/classrec/server/internal/recording"
)

// Rooms implements classrec.admin.v1.RoomService, over the recordings of each
// tenant.
type Rooms struct {
	adminv1.UnimplementedRoomServiceServer

	tenants map[string]*recording.Service
}

// NewRooms returns the service; the caller runs what it is over. There is at least
// one tenant.
func NewRooms(tenants map[string]*recording.Service) *Rooms { return &Rooms{tenants: tenants} }

// ListRooms implements classrec.admin.v1.RoomService.
func (r *Rooms) ListRooms(ctx context.Context, req *adminv1.ListRoomsRequest) (*adminv1.ListRoomsResponse, error) {
	resp := &adminv1.ListRoomsResponse{}
	for _, tenant := range slices.Sorted(maps.Keys(r.tenants)) {
		recordings := r.tenants[tenant]
		resp.Replica = recordings.Replica()
		if req.GetTenant() == "" || req.GetTenant() == tenant {
			resp.Rooms = append(resp.Rooms, recordings.Inspect(ctx, req.GetRoom())...)
		}
	}
	return resp, ctx.Err()
}

// ExplainRecording implements classrec.admin.v1.RoomService.
func (r *Rooms) ExplainRecording(ctx context.Context, req *adminv1.ExplainRecordingRequest) (*adminv1.ExplainRecordingResponse, error) {
	tenant := cmp.Or(req.GetTenant(), auth.DefaultTenant)
	if req.GetTenant() == "" && len(r.tenants) == 1 {
		for only := range r.tenants {
			tenant = only
		}
	}
	recordings, ok := r.tenants[tenant]
	if !ok {
		return nil, &recording.Error{
			Kind: recording.KindNotFound, Reason: "RECORDING_NOT_FOUND",
			Message: "no such tenant is configured: " + tenant, Metadata: map[string]string{"tenant": tenant},
		}
	}
	return recordings.Explain(ctx, req.GetName())
}
