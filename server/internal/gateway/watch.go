// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

const (
	watchPattern = "/v1/rooms/{room}" + watchVerb
	watchVerb    = "/classBegin:watch"
	lastEventID  = "Last-Event-ID"
)

// watchHandler is WatchClassBegin over HTTP: NDJSON, or Server-Sent Events for
// who asks with `Accept: text/event-stream`.
//
// An error before the first message is an ordinary error answer; later it is
// the stream's last entry.
type watchHandler struct {
	mux          *runtime.ServeMux
	client       classrecv1.RecordingServiceClient
	errs         *errorWriter
	writeTimeout time.Duration
}

func (h *watchHandler) serve(w http.ResponseWriter, r *http.Request, params map[string]string) {
	req, st := h.request(r, params["room"])
	if st != nil {
		h.errs.write(w, r, 0, st)
		return
	}
	ctx, err := runtime.AnnotateContext(r.Context(), h.mux, r,
		classrecv1.RecordingService_WatchClassBegin_FullMethodName, runtime.WithHTTPPathPattern(watchPattern))
	if err != nil {
		h.errs.write(w, r, 0, explain(status.Convert(err)))
		return
	}
	stream, err := h.client.WatchClassBegin(ctx, req)
	if err != nil {
		h.errs.write(w, r, 0, status.Convert(err))
		return
	}
	message, err := stream.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		h.errs.write(w, r, 0, status.Convert(err))
		return
	}

	out := newStreamWriter(w, r, h.writeTimeout)
	defer out.end()
	for err == nil {
		if out.message(message) != nil {
			return // the caller has gone; r's context ends the call
		}
		message, err = stream.Recv()
	}
	if !errors.Is(err, io.EOF) && r.Context().Err() == nil {
		_ = out.fail(status.Convert(err)) // an error: the caller has gone
	}
}

// request reads what to watch: of a GET the query, of a POST the body, and of
// both the header with which an EventSource resumes.
func (h *watchHandler) request(r *http.Request, room string) (*classrecv1.WatchClassBeginRequest, *status.Status) {
	req := &classrecv1.WatchClassBeginRequest{}
	if r.Method == http.MethodPost {
		if err := h.errs.json.NewDecoder(r.Body).Decode(req); err != nil && !errors.Is(err, io.EOF) {
			return nil, explain(status.New(codes.InvalidArgument, err.Error()))
		}
	} else {
		if err := runtime.PopulateQueryParameters(req, r.URL.Query(), utilities.NewDoubleArray([][]string{{"room"}})); err != nil {
			return nil, explain(status.New(codes.InvalidArgument, err.Error()))
		}
	}
	req.Room = room
	if id := r.Header.Get(lastEventID); id != "" {
		sequence, err := strconv.ParseUint(id, 10, 64)
		if err != nil {
			return nil, errField("after_sequence", fieldMalformed, lastEventID+" is not a sequence: "+strconv.Quote(id))
		}
		req.AfterSequence = sequence
	}
	return req, nil
}
