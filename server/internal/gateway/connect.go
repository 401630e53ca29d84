// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/auth"
)

// connectPrefix is what the paths of the Connect protocol and of gRPC-Web begin with: a call is a POST to
// /classrec.v1.RecordingService/StartRecording, and those that only read take GET too (Connect).
const connectPrefix = "/classrec.v1.RecordingService/"

// newConnect returns the handler of connectPrefix: the same calls, by the Connect protocol, gRPC-Web and, over HTTP/2,
// gRPC, for pages that cannot speak gRPC. Each is forwarded over conn, so that it meets the same validation, limits and
// errors as any other.
func newConnect(conn grpc.ClientConnInterface, errs *errorWriter, cfg Config) (http.Handler, error) {
	client := classrecv1.NewRecordingServiceClient(callConn{conn})
	options := connect.WithHandlerOptions(connect.WithReadMaxBytes(int(min(cfg.MaxBodyBytes, 1<<30))))
	reads := connect.WithIdempotency(connect.IdempotencyNoSideEffects)
	mux := http.NewServeMux()
	mux.Handle(unary(classrecv1.RecordingService_StartRecording_FullMethodName, client.StartRecording, options))
	mux.Handle(unary(classrecv1.RecordingService_StopRecording_FullMethodName, client.StopRecording, options))
	mux.Handle(unary(classrecv1.RecordingService_GetRecording_FullMethodName, client.GetRecording, options, reads))
	mux.Handle(unary(classrecv1.RecordingService_ListRecordings_FullMethodName, client.ListRecordings, options, reads))
	mux.Handle(stream(classrecv1.RecordingService_WatchClassBegin_FullMethodName, client.WatchClassBegin, options))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { errs.write(w, r, 0, errNoRoute(r)) })

	forwarded := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		md := metadata.Join(auth.Forward(r), traceContext(r))
		if values := r.Header.Values("Authorization"); len(values) > 0 {
			md.Set("authorization", values...)
		}
		timed := &deadlineWriter{ResponseWriter: w, rc: http.NewResponseController(w), timeout: cfg.WriteTimeout}
		defer timed.end()
		mux.ServeHTTP(timed, r.WithContext(metadata.NewOutgoingContext(r.Context(), md)))
	})
	body := &bodyReader{limit: cfg.MaxBodyBytes, timeout: cfg.BodyTimeout, errs: errs, next: forwarded}
	ours, err := crossOrigin(errs, cfg.CORSOrigins, body)
	if err != nil {
		return nil, err
	}
	return noStore(ours), nil
}

// unary serves a method that answers once.
func unary[Req, Res any](procedure string, call func(context.Context, *Req, ...grpc.CallOption) (*Res, error),
	options ...connect.HandlerOption,
) (string, http.Handler) {
	return procedure, connect.NewUnaryHandler(procedure, func(ctx context.Context, req *connect.Request[Req]) (*connect.Response[Res], error) {
		res, err := call(ctx, req.Msg)
		if err != nil {
			return nil, connectError(err)
		}
		return connect.NewResponse(res), nil
	}, options...)
}

// stream serves a method that answers with a stream.
func stream[Req, Res any](procedure string, call func(context.Context, *Req, ...grpc.CallOption) (grpc.ServerStreamingClient[Res], error),
	options ...connect.HandlerOption,
) (string, http.Handler) {
	return procedure, connect.NewServerStreamHandler(procedure, func(ctx context.Context, req *connect.Request[Req], out *connect.ServerStream[Res]) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // ends the call when the reader has gone
		in, err := call(ctx, req.Msg)
		if err != nil {
			return connectError(err)
		}
		for {
			m, err := in.Recv()
			switch {
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				return connectError(err)
			}
			if err := out.Send(m); err != nil {
				return err
			}
		}
	}, options...)
}

// connectError is the status of a call, with its details, as Connect has errors. The codes are the same numbers.
func connectError(err error) error {
	st := status.Convert(err)
	out := connect.NewError(connect.Code(st.Code()), errors.New(st.Message()))
	for _, detail := range st.Details() {
		if m, ok := detail.(proto.Message); ok {
			if d, err := connect.NewErrorDetail(m); err == nil {
				out.AddDetail(d)
			}
		}
	}
	return out
}

// deadlineWriter gives each write of an answer its own time: a reader that takes nothing for so long is cut off.
type deadlineWriter struct {
	http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
}

// Write writes within the timeout.
func (w *deadlineWriter) Write(p []byte) (int, error) {
	_ = w.rc.SetWriteDeadline(time.Now().Add(w.timeout)) // no deadlines: no limit
	return w.ResponseWriter.Write(p)
}

// Flush sends what was written.
func (w *deadlineWriter) Flush() { _ = w.rc.Flush() }

// end takes the deadline off the connection, which is used again.
func (w *deadlineWriter) end() { _ = w.rc.SetWriteDeadline(time.Time{}) }
