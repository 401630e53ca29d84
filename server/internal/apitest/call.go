// SPDX-License-Identifier: Apache-2.0

package apitest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// Transport is a way to call the service.
type Transport string

// The two ways.
const (
	GRPC Transport = "gRPC"
	REST Transport = "REST"
)

// The calls of the service.
const (
	Start = "StartRecording"
	Stop  = "StopRecording"
	Get   = "GetRecording"
	List  = "ListRecordings"
	Watch = "WatchClassBegin"
)

// Call is one call, written once for both ways.
type Call struct {
	Name    string // Start, Stop, Get, List or Watch
	Request string // the request as JSON, with the proto's own field names; "" is {}
}

// Outcome is what a call ended in, the same over both ways.
type Outcome struct {
	Code       codes.Code
	Status     int // of HTTP; 0 over gRPC
	Message    string
	Reason     string
	Domain     string
	Metadata   map[string]string
	Fields     []string // that BadRequest names, sorted
	RetryAfter time.Duration
	Response   string // as JSON, every field there; "" for an error. Of a watch, the first message
}

// Call makes a call and returns its outcome. The first message ends a watch.
func (s *Server) Call(tb testing.TB, way Transport, call Call) Outcome {
	tb.Helper()
	out, err := s.TryCall(Context(tb), way, call)
	if err != nil {
		tb.Fatalf("%s %s: %v", way, call.Name, err)
	}
	return out
}

// Must is Call over gRPC for what has to succeed; it returns the recording of
// the answer.
func (s *Server) Must(tb testing.TB, call Call) *classrecv1.Recording {
	tb.Helper()
	out := s.Call(tb, GRPC, call)
	if out.Code != codes.OK {
		tb.Fatalf("%s %s: %v %s: %s", call.Name, call.Request, out.Code, out.Reason, out.Message)
	}
	return out.Recording(tb)
}

// Recording is the recording of an answer that wraps one.
func (o Outcome) Recording(tb testing.TB) *classrecv1.Recording {
	tb.Helper()
	var res classrecv1.StartRecordingResponse // Stop's and Get's are alike
	if err := protojson.Unmarshal([]byte(o.Response), &res); err != nil {
		tb.Fatalf("%v %s: not a recording: %v", o.Code, o.Message, err)
	}
	return res.GetRecording()
}

// TryCall is Call for other goroutines than the test's. The error is for what
// is no outcome: no answer, or none that can be read.
func (s *Server) TryCall(ctx context.Context, way Transport, call Call) (Outcome, error) {
	if way == GRPC {
		return callGRPC(ctx, s.life.conn, call)
	}
	r, err := s.restRequest(ctx, call)
	if err != nil {
		return Outcome{}, err
	}
	return s.do(r)
}

// method finds a call in the proto.
func method(name string) (protoreflect.MethodDescriptor, error) {
	service := classrecv1.File_classrec_v1_recording_service_proto.Services().ByName("RecordingService")
	m := service.Methods().ByName(protoreflect.Name(name))
	if m == nil {
		return nil, fmt.Errorf("there is no call %s", name)
	}
	return m, nil
}

func newMessage(d protoreflect.MessageDescriptor) (proto.Message, error) {
	t, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		return nil, err
	}
	return t.New().Interface(), nil
}

func (c Call) json() []byte {
	if c.Request == "" {
		return []byte("{}")
	}
	return []byte(c.Request)
}

// Remote is a server in another process.
type Remote struct{ conn *grpc.ClientConn }

// Dial makes a client of the gRPC server at an address, closed with the test.
func Dial(tb testing.TB, address string) *Remote {
	tb.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return &Remote{conn}
}

// Call is [Server.TryCall] over gRPC.
func (r *Remote) Call(ctx context.Context, call Call) (Outcome, error) {
	return callGRPC(ctx, r.conn, call)
}

func callGRPC(ctx context.Context, conn *grpc.ClientConn, call Call) (Outcome, error) {
	m, err := method(call.Name)
	if err != nil {
		return Outcome{}, err
	}
	req, err := newMessage(m.Input())
	if err != nil {
		return Outcome{}, err
	}
	if err := protojson.Unmarshal(call.json(), req); err != nil {
		return Outcome{}, fmt.Errorf("request: %w", err)
	}
	res, err := newMessage(m.Output())
	if err != nil {
		return Outcome{}, err
	}
	path := fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
	if m.IsStreamingServer() {
		err = first(ctx, conn, path, req, res)
	} else {
		err = conn.Invoke(ctx, path, req, res)
	}
	if err != nil {
		return outcomeOf(status.Convert(err)), nil
	}
	text, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(res)
	return Outcome{Response: string(text)}, err
}

// first receives the first message of a stream.
func first(ctx context.Context, conn *grpc.ClientConn, path string, req, res proto.Message) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, path)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(req); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return stream.RecvMsg(res)
}

// restRequest writes a call as the API's annotations say.
func (s *Server) restRequest(ctx context.Context, call Call) (*http.Request, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(call.json(), &fields); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	take := func(key string) (value string, ok bool) {
		raw, ok := fields[key]
		delete(fields, key)
		if json.Unmarshal(raw, &value) != nil {
			value = string(raw)
		}
		return value, ok
	}
	httpMethod := http.MethodGet
	var path string
	switch call.Name {
	case Start:
		room, _ := take("room")
		httpMethod, path = http.MethodPost, "/v1/rooms/"+escape(room)+"/recordings"
	case Stop:
		httpMethod = http.MethodPost
		if name, ok := take("name"); ok {
			path = "/v1/" + escapeName(name) + ":stop"
			break
		}
		room, _ := take("room")
		path = "/v1/rooms/" + escape(room) + "/recordings:stop"
	case Get:
		name, _ := take("name")
		path = "/v1/" + escapeName(name)
	case List:
		path = "/v1/recordings"
		if room, ok := take("room"); ok {
			path = "/v1/rooms/" + escape(room) + "/recordings"
		}
	case Watch:
		room, _ := take("room")
		path = "/v1/rooms/" + escape(room) + "/classBegin:watch"
		if _, ok := fields["room_password"]; ok {
			httpMethod = http.MethodPost
		}
	default:
		return nil, fmt.Errorf("there is no call %s", call.Name)
	}
	var body io.Reader
	if httpMethod == http.MethodPost {
		raw, err := json.Marshal(fields)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(raw)
	} else if len(fields) > 0 {
		query := url.Values{}
		for _, key := range keys(fields) {
			value, _ := take(key)
			query.Set(key, value)
		}
		path += "?" + query.Encode()
	}
	return http.NewRequestWithContext(ctx, httpMethod, s.URL()+path, body)
}

func keys(m map[string]json.RawMessage) []string {
	list := make([]string, 0, len(m))
	for key := range m {
		list = append(list, key)
	}
	return list
}

// escape writes an id as one segment of a path. "." and ".." are escaped too:
// a client would resolve them.
func escape(id string) string {
	if id == "." || id == ".." {
		return strings.ReplaceAll(id, ".", "%2E")
	}
	return url.PathEscape(id)
}

func escapeName(name string) string {
	segments := strings.Split(name, "/")
	for i := range segments {
		segments[i] = escape(segments[i])
	}
	return strings.Join(segments, "/")
}

// Do makes an HTTP request of the caller's own; path begins with a slash.
func (s *Server) Do(tb testing.TB, httpMethod, path, body string) Outcome {
	tb.Helper()
	r, err := http.NewRequestWithContext(Context(tb), httpMethod, s.URL()+path, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	out, err := s.do(r)
	if err != nil {
		tb.Fatalf("%s %s: %v", httpMethod, path, err)
	}
	return out
}

func (s *Server) do(r *http.Request) (Outcome, error) {
	resp, err := s.life.http.Do(r)
	if err != nil {
		return Outcome{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusOK && strings.HasPrefix(resp.Header.Get("Content-Type"), "application/x-ndjson") {
		var line struct{ Result json.RawMessage }
		err := json.NewDecoder(resp.Body).Decode(&line)
		return Outcome{Status: resp.StatusCode, Response: string(line.Result)}, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return Outcome{}, err
	}
	if resp.StatusCode == http.StatusOK {
		return Outcome{Status: resp.StatusCode, Response: string(body)}, nil
	}
	var st statuspb.Status
	if err := protojson.Unmarshal(body, &st); err != nil {
		return Outcome{}, fmt.Errorf("status %d, and no error of ours (%w): %.200s", resp.StatusCode, err, body)
	}
	out := outcomeOf(status.FromProto(&st))
	out.Status = resp.StatusCode
	if (resp.Header.Get("Retry-After") != "") != (out.RetryAfter > 0) {
		return out, fmt.Errorf("header Retry-After is %q, RetryInfo %v", resp.Header.Get("Retry-After"), out.RetryAfter)
	}
	return out, nil
}

func outcomeOf(st *status.Status) Outcome {
	out := Outcome{Code: st.Code(), Message: st.Message()}
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			out.Reason, out.Domain, out.Metadata = d.GetReason(), d.GetDomain(), d.GetMetadata()
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				out.Fields = append(out.Fields, v.GetField())
			}
			slices.Sort(out.Fields)
			out.Fields = slices.Compact(out.Fields)
		case *errdetails.RetryInfo:
			out.RetryAfter = d.GetRetryDelay().AsDuration()
		}
	}
	return out
}
