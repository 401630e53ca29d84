// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
)

// Explain tells how a recording came to be in its state: every change that the
// service's log still has, in words, and what it waits for now. It is a call of
// the admin API, which the service serves at an address of its own: dial that.
// tenant is whose recording it is; "": the default one. It is repeated like
// [Client.Start].
//
// Errors: [ErrNotFound], [ErrInvalidArgument], [ErrPermissionDenied],
// [ErrUnavailable]; all are [*Error].
func (c *Client) Explain(ctx context.Context, tenant, name string) (*adminv1.ExplainRecordingResponse, error) {
	rooms := adminv1.NewRoomServiceClient(c.conn)
	return repeat(ctx, c.attempts, func(ctx context.Context) (*adminv1.ExplainRecordingResponse, error) {
		return rooms.ExplainRecording(ctx, &adminv1.ExplainRecordingRequest{Name: name, Tenant: tenant})
	})
}
