// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/gateway"
)

// protocols are the ways in which pages speak.
var protocols = map[string][]connect.ClientOption{
	"Connect":           nil,
	"Connect, JSON":     {connect.WithProtoJSON()},
	"Connect, GET":      {connect.WithHTTPGet()},
	"gRPC-Web":          {connect.WithGRPCWeb()},
	"gRPC-Web, as JSON": {connect.WithGRPCWeb(), connect.WithProtoJSON()},
}

// TestConnect makes each kind of call by each protocol: what it answers, how it fails, and who it says that asks.
func TestConnect(t *testing.T) {
	t.Parallel()
	base := newGateway(t, connectService(t), gateway.Config{})
	for name, options := range protocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			web := &http.Client{Transport: transport}

			get := connect.NewClient[classrecv1.GetRecordingRequest, classrecv1.GetRecordingResponse](web,
				base+classrecv1.RecordingService_GetRecording_FullMethodName,
				append(slices.Clone(options), connect.WithIdempotency(connect.IdempotencyNoSideEffects))...)
			req := connect.NewRequest(&classrecv1.GetRecordingRequest{Name: "rooms/数学/recordings/1"})
			req.Header().Set("Authorization", "Bearer a")
			res, err := get.CallUnary(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if r := res.Msg.GetRecording(); r.GetName() != "rooms/数学/recordings/1" || r.GetUserId() != "Bearer a" {
				t.Errorf("answered %v", r)
			}

			start := connect.NewClient[classrecv1.StartRecordingRequest, classrecv1.StartRecordingResponse](web,
				base+classrecv1.RecordingService_StartRecording_FullMethodName, options...)
			_, err = start.CallUnary(t.Context(), connect.NewRequest(&classrecv1.StartRecordingRequest{Room: "42"}))
			wantExhausted(t, err)

			watch := connect.NewClient[classrecv1.WatchClassBeginRequest, classrecv1.WatchClassBeginResponse](web,
				base+classrecv1.RecordingService_WatchClassBegin_FullMethodName, options...)
			in, err := watch.CallServerStream(t.Context(), connect.NewRequest(&classrecv1.WatchClassBeginRequest{Room: "42"}))
			if err != nil {
				t.Fatal(err)
			}
			var got []uint64
			for in.Receive() {
				got = append(got, in.Msg().GetHeartbeat().GetSequence())
			}
			if !slices.Equal(got, []uint64{1, 2, 3}) {
				t.Errorf("received %v", got)
			}
			wantExhausted(t, in.Err())
			if err := in.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// connectService finds what it is asked for, says of it who asked, begins nothing, and has three heartbeats.
func connectService(t *testing.T) *service {
	t.Helper()
	exhausted, err := status.New(codes.ResourceExhausted, "too many").WithDetails(
		&errdetails.ErrorInfo{Reason: "LIMIT_EXCEEDED", Domain: "classrec.dev", Metadata: map[string]string{"limit": "recordings"}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(5 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	return &service{
		get: func(ctx context.Context, r *classrecv1.GetRecordingRequest) (*classrecv1.GetRecordingResponse, error) {
			md, _ := metadata.FromIncomingContext(ctx)
			who := strings.Join(md.Get("authorization"), "|")
			return &classrecv1.GetRecordingResponse{Recording: &classrecv1.Recording{Name: r.GetName(), UserId: who}}, nil
		},
		start: func(context.Context, *classrecv1.StartRecordingRequest) (*classrecv1.StartRecordingResponse, error) {
			return nil, exhausted.Err()
		},
		watch: func(_ *classrecv1.WatchClassBeginRequest, out grpc.ServerStreamingServer[classrecv1.WatchClassBeginResponse]) error {
			for i := range uint64(3) {
				if err := out.Send(&classrecv1.WatchClassBeginResponse{Payload: &classrecv1.WatchClassBeginResponse_Heartbeat{
					Heartbeat: &classrecv1.WatchHeartbeat{Sequence: i + 1},
				}}); err != nil {
					return err
				}
			}
			return exhausted.Err()
		},
	}
}

func wantExhausted(t *testing.T, err error) {
	t.Helper()
	var got *connect.Error
	if !errors.As(err, &got) || got.Code() != connect.CodeResourceExhausted || got.Message() != "too many" || len(got.Details()) != 2 {
		t.Fatalf("got %v", err)
	}
	for i, want := range []string{"google.rpc.ErrorInfo", "google.rpc.RetryInfo"} {
		if is := got.Details()[i].Type(); is != want {
			t.Errorf("detail %d is a %s", i, is)
		}
	}
}

// TestConnect_Leave has a page go away in the middle of a stream: the call ends.
func TestConnect_Leave(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	base := newGateway(t, &service{watch: func(_ *classrecv1.WatchClassBeginRequest, out grpc.ServerStreamingServer[classrecv1.WatchClassBeginResponse]) error {
		defer close(ended)
		if err := out.Send(&classrecv1.WatchClassBeginResponse{}); err != nil {
			return err
		}
		<-out.Context().Done()
		return out.Context().Err()
	}}, gateway.Config{})
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	watch := connect.NewClient[classrecv1.WatchClassBeginRequest, classrecv1.WatchClassBeginResponse](&http.Client{Transport: transport},
		base+classrecv1.RecordingService_WatchClassBegin_FullMethodName, connect.WithGRPCWeb())
	ctx, leave := context.WithCancel(t.Context())
	in, err := watch.CallServerStream(ctx, connect.NewRequest(&classrecv1.WatchClassBeginRequest{Room: "42"}))
	if err != nil {
		t.Fatal(err)
	}
	if !in.Receive() {
		t.Fatal(in.Err())
	}
	leave()
	<-ended
	_ = in.Close() // it has left
}

// TestConnect_Refused are requests that are no calls.
func TestConnect_Refused(t *testing.T) {
	t.Parallel()
	base := newGateway(t, connectService(t), gateway.Config{CORSOrigins: []string{"https://school.example"}, MaxBodyBytes: 1000})
	const list = "/classrec.v1.RecordingService/ListRecordings"
	for name, tc := range map[string]struct {
		method, path, body string
		headers            []string
		status             int
	}{
		"no such method":          {"POST", "/classrec.v1.RecordingService/Nothing", `{}`, []string{"Content-Type", "application/json"}, 404},
		"a form":                  {"POST", list, `room=42`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
		"too large":               {"POST", list, `{"room": "` + strings.Repeat("4", 2000) + `"}`, []string{"Content-Type", "application/json"}, 413},
		"another origin":          {"POST", list, `{}`, []string{"Content-Type", "application/json", "Origin", "https://evil.example"}, 403},
		"of another origin, read": {"GET", list + "?encoding=json&message=%7B%7D&connect=v1", ``, []string{"Origin", "https://evil.example"}, 403},
		"a form of one that may":  {"POST", list, `{}`, []string{"Content-Type", "text/plain", "Origin", "https://school.example"}, 400},
		"asks before, and may":    {"OPTIONS", list, ``, []string{"Origin", "https://school.example", "Access-Control-Request-Method", "POST"}, 204},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := send(t, tc.method, base+tc.path, tc.body, tc.headers...)
			if got.status != tc.status {
				t.Errorf("%d, not %d: %s", got.status, tc.status, got.body)
			}
			if allowed := got.header.Get("Access-Control-Allow-Origin"); strings.Contains(name, "may") != (allowed != "") {
				t.Errorf("allowed %q", allowed)
			}
		})
	}
}
