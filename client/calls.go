// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/rand"
	"iter"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// Start starts recording a room and returns the recording once the platform has
// confirmed it: it is in RECORDING. A request without a request_id gets one, a
// new one for each Start; so the call is repeated when the service was
// unavailable or the connection broke, up to [Config.Attempts] times, never
// sooner than the service asks for, and starts one recording at most. When it
// fails for good, it may have started all the same: a caller who gives a
// request_id may ask again with it.
//
// Errors: [ErrAlreadyBegun], [ErrRequestIDReused], [ErrNotFound],
// [ErrPermissionDenied], [ErrFailedPrecondition], [ErrInvalidArgument],
// [ErrResourceExhausted], [ErrUnavailable], [ErrDeadlineExceeded],
// [ErrInternal]; all are [*Error].
func (c *Client) Start(ctx context.Context, req *classrecv1.StartRecordingRequest) (*classrecv1.Recording, error) {
	if req.GetRequestId() == "" {
		req = proto.CloneOf(req)
		req.RequestId = rand.Text()
	}
	resp, err := repeat(ctx, c.attempts, func(ctx context.Context) (*classrecv1.StartRecordingResponse, error) {
		return c.StartRecording(ctx, req)
	})
	return resp.GetRecording(), err
}

// Stop ends a class, by the room or by the recording's name, and returns the
// recording once the platform has confirmed it: it is in PROCESSING or later.
// What is over already is returned as it is, so the call is repeated as that
// of [Client.Start] is.
//
// Errors: [ErrNotFound] ([ErrNoClass], [ErrRecordingNotFound]), and those of
// Start for a room that cannot be entered; all are [*Error]. After
// [ErrUnavailable] and [ErrDeadlineExceeded] the end may stay asked for, and
// happen as soon as it can.
func (c *Client) Stop(ctx context.Context, req *classrecv1.StopRecordingRequest) (*classrecv1.Recording, error) {
	resp, err := repeat(ctx, c.attempts, func(ctx context.Context) (*classrecv1.StopRecordingResponse, error) {
		return c.StopRecording(ctx, req)
	})
	return resp.GetRecording(), err
}

// Get returns the recording of a name, rooms/ROOM/recordings/RECORDTS. It is
// repeated like [Client.Start].
//
// Errors: [ErrNotFound], [ErrInvalidArgument], [ErrUnavailable]; all are
// [*Error].
func (c *Client) Get(ctx context.Context, name string) (*classrecv1.Recording, error) {
	return repeat(ctx, c.attempts, func(ctx context.Context) (*classrecv1.Recording, error) { return c.get(ctx, name) })
}

func (c *Client) get(ctx context.Context, name string) (*classrecv1.Recording, error) {
	resp, err := c.GetRecording(ctx, &classrecv1.GetRecordingRequest{Name: name})
	return resp.GetRecording(), err
}

// listPage is the size of page that [Client.List] asks for by itself.
const listPage = 500

// List goes over all recordings of a room, a user or both, newest first; it
// asks for the next page when the one before has been gone over. page_size of
// the request is how many to ask for at once (0: 500), page_token where to
// begin. Each call for a page is repeated like [Client.Start]; an error is the
// last that comes: after all that the service knows, [*IncompleteError] when the
// platform could not be asked. A list can be gone over more than once: it is asked
// for anew.
func (c *Client) List(ctx context.Context, req *classrecv1.ListRecordingsRequest) iter.Seq2[*classrecv1.Recording, error] {
	return func(yield func(*classrecv1.Recording, error) bool) {
		req := proto.CloneOf(req)
		if req.GetPageSize() == 0 {
			req.PageSize = listPage
		}
		for {
			page, err := repeat(ctx, c.attempts, func(ctx context.Context) (*classrecv1.ListRecordingsResponse, error) {
				return c.ListRecordings(ctx, req)
			})
			if err != nil {
				yield(nil, err)
				return
			}
			for _, recording := range page.GetRecordings() {
				if !yield(recording, nil) {
					return
				}
			}
			if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
				if why := page.GetIncomplete(); why != nil { // it is so for the last page too
					st := status.FromProto(why)
					yield(nil, &IncompleteError{Err: &Error{ErrorDetails: details(st), status: st}})
				}
				return
			}
		}
	}
}
