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
// tenant. A caller is told of those tenants and rooms that he sees; the others do
// not exist for him.
type Rooms struct {
	adminv1.UnimplementedRoomServiceServer

	tenants map[string]*recording.Service
}

// NewRooms returns the service; the caller runs what it is over. There is at least
// one tenant.
func NewRooms(tenants map[string]*recording.Service) *Rooms { return &Rooms{tenants: tenants} }

// ListRooms implements classrec.admin.v1.RoomService.
func (r *Rooms) ListRooms(ctx context.Context, req *adminv1.ListRoomsRequest) (*adminv1.ListRoomsResponse, error) {
	resp, who := &adminv1.ListRoomsResponse{}, caller(ctx)
	for _, tenant := range slices.Sorted(maps.Keys(r.tenants)) {
		recordings := r.tenants[tenant]
		resp.Replica = recordings.Replica()
		if !who.SeesTenant(tenant) || req.GetTenant() != "" && req.GetTenant() != tenant {
			continue
		}
		for _, room := range recordings.Inspect(ctx, req.GetRoom()) {
			if who.SeesRoom(room.GetRoom()) {
				resp.Rooms = append(resp.Rooms, room)
			}
		}
	}
	return resp, ctx.Err()
}

// ExplainRecording implements classrec.admin.v1.RoomService.
func (r *Rooms) ExplainRecording(ctx context.Context, req *adminv1.ExplainRecordingRequest) (*adminv1.ExplainRecordingResponse, error) {
	who, tenant := caller(ctx), req.GetTenant()
	if seen := r.seenBy(who); tenant == "" && len(seen) == 1 {
		tenant = seen[0]
	}
	tenant = cmp.Or(tenant, auth.DefaultTenant)
	recordings, ok := r.tenants[tenant]
	if !ok || !who.SeesTenant(tenant) {
		return nil, &recording.Error{
			Kind: recording.KindNotFound, Reason: "RECORDING_NOT_FOUND",
			Message: "no such tenant is configured: " + tenant, Metadata: map[string]string{"tenant": tenant},
		}
	}
	if room, _, err := recording.ParseName(req.GetName()); err != nil || !who.SeesRoom(room) {
		return nil, recording.ErrNoRecording(req.GetName())
	}
	return recordings.Explain(ctx, req.GetName())
}

// seenBy are the names of the tenants that somebody sees.
func (r *Rooms) seenBy(who auth.Principal) (seen []string) {
	for tenant := range r.tenants {
		if who.SeesTenant(tenant) {
			seen = append(seen, tenant)
		}
	}
	return seen
}

// caller is who makes a call: nobody, who sees nothing, where that is not known.
func caller(ctx context.Context) auth.Principal {
	who, _ := auth.FromContext(ctx)
	return who
}
