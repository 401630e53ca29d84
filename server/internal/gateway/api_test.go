// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/gateway"
)

// echo answers with the ids that it was asked for.
func echo() *service {
	return &service{
		start: func(_ context.Context, r *classrecv1.StartRecordingRequest) (*classrecv1.StartRecordingResponse, error) {
			return &classrecv1.StartRecordingResponse{Recording: &classrecv1.Recording{
				Name:       "rooms/" + r.GetRoom() + "/recordings/1700000000",
				Room:       r.GetRoom(),
				UserId:     r.GetUserId(),
				Format:     r.GetFormat(),
				State:      classrecv1.RecordingState_RECORDING_STATE_RECORDING,
				RecordTime: timestamppb.New(time.Unix(1700000000, 0)),
			}}, nil
		},
		stop: func(_ context.Context, r *classrecv1.StopRecordingRequest) (*classrecv1.StopRecordingResponse, error) {
			return &classrecv1.StopRecordingResponse{Recording: &classrecv1.Recording{Room: r.GetRoom(), Name: r.GetName()}}, nil
		},
		get: func(_ context.Context, r *classrecv1.GetRecordingRequest) (*classrecv1.GetRecordingResponse, error) {
			return &classrecv1.GetRecordingResponse{Recording: &classrecv1.Recording{Name: r.GetName()}}, nil
		},
		list: func(_ context.Context, r *classrecv1.ListRecordingsRequest) (*classrecv1.ListRecordingsResponse, error) {
			return &classrecv1.ListRecordingsResponse{Recordings: []*classrecv1.Recording{{
				Room: r.GetRoom(), UserId: r.GetUserId(), RecordTime: r.GetRecordTime(), Name: fmt.Sprint(r.GetPageSize()),
			}}}, nil
		},
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	base := newGateway(t, echo(), gateway.Config{})
	a := send(t, "POST", base+"/v1/rooms/42/recordings", `{"userId":"u1","format":"RECORDING_FORMAT_WEBM"}`)
	if a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if got := a.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control is %q", got)
	}
	var got struct{ Recording map[string]any }
	if err := json.Unmarshal(a.body, &got); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"name": "rooms/42/recordings/1700000000", "userId": "u1", "state": "RECORDING_STATE_RECORDING",
		"format": "RECORDING_FORMAT_WEBM", "recordTime": "2023-11-14T22:13:20Z",
		// Defaults are there...
		"endReason": "END_REASON_UNSPECIFIED", "recordChat": "false", "urls": "[]",
	} {
		if fmt.Sprint(got.Recording[key]) != want {
			t.Errorf("%s is %v, want %s", key, got.Recording[key], want)
		}
	}
	// ...but nothing that is not set.
	if v, ok := got.Recording["stopTime"]; ok {
		t.Errorf("stopTime is %v", v)
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	base := newGateway(t, echo(), gateway.Config{})
	for _, tc := range []struct{ method, path, want string }{
		{"POST", "/v1/rooms/42/recordings", `"room":"42"`},
		{"POST", "/v1/rooms/42/recordings:stop", `"room":"42"`},
		{"POST", "/v1/rooms/42/recordings/17:stop", `"name":"rooms/42/recordings/17"`},
		{"GET", "/v1/rooms/42/recordings/17-2", `"name":"rooms/42/recordings/17-2"`},
		{"GET", "/v1/rooms/42/recordings", `"room":"42"`},
		{"GET", "/v1/rooms/42/recordings?user_id=u&pageSize=7", `"userId":"u"`},
		{"GET", "/v1/recordings?userId=u", `"userId":"u"`},
		{"GET", "/v1/recordings?user_id=u&record_time=2023-11-14T22:13:20Z", `"recordTime":"2023-11-14T22:13:20Z"`},
		// Ids of any alphabet, decoded once.
		{"POST", "/v1/rooms/数学课/recordings", `"room":"数学课"`},
		{"POST", "/v1/rooms/%E6%95%B0%E5%AD%A6%E8%AF%BE/recordings", `"room":"数学课"`},
		{"POST", "/v1/rooms/%E6%95%B0:%21/recordings:stop", `"room":"数:!"`},
		{"GET", "/v1/rooms/a%20b%2Bc+d/recordings", `"room":"a b+c+d"`},
		{"GET", "/v1/rooms/100%25/recordings", `"room":"100%"`},
		{"GET", "/v1/rooms/a%253Ab/recordings", `"room":"a%3Ab"`},
		{"GET", "/v1/rooms/a%21b%253Ab/recordings", `"room":"a!b%3Ab"`},
		{"GET", "/v1/rooms/a:stop/recordings", `"room":"a:stop"`},
	} {
		a := send(t, tc.method, base+tc.path, "")
		if got := strings.ReplaceAll(string(a.body), `": "`, `":"`); a.status != 200 || !strings.Contains(got, tc.want) {
			t.Errorf("%s %s: %d %s", tc.method, tc.path, a.status, a.body)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	base := newGateway(t, echo(), gateway.Config{MaxBodyBytes: 100})
	for _, tc := range []struct {
		name, method, path, body string
		status, code             int
		reason, field, message   string
	}{
		{"unknown field", "POST", "/v1/rooms/42/recordings", `{"usrId":"u"}`, 400, 3, "INVALID_FIELD", "usrId", "unknown field"},
		{"wrong type", "POST", "/v1/rooms/42/recordings", `{"recordChat":"maybe"}`, 400, 3, "INVALID_FIELD", "recordChat", "bool"},
		{"unknown enum", "POST", "/v1/rooms/42/recordings", `{"format":"AVI"}`, 400, 3, "INVALID_FIELD", "format", "AVI"},
		{"duplicate field", "POST", "/v1/rooms/42/recordings", `{"userId":"u","userId":"v"}`, 400, 3, "INVALID_FIELD", "userId", "duplicate"},
		{"not JSON", "POST", "/v1/rooms/42/recordings", `user=u`, 400, 3, "INVALID_REQUEST", "", "cannot read"},
		{"half of it", "POST", "/v1/rooms/42/recordings", `{"userId":`, 400, 3, "INVALID_REQUEST", "", "unexpected"},
		{"more after it", "POST", "/v1/rooms/42/recordings", `{} {}`, 400, 3, "INVALID_REQUEST", "", "unexpected"},
		{"an array", "POST", "/v1/rooms/42/recordings", `[]`, 400, 3, "INVALID_REQUEST", "", "unexpected"},
		{"not UTF-8", "POST", "/v1/rooms/42/recordings", "{\"userId\":\"\xff\"}", 400, 3, "INVALID_REQUEST", "", "UTF-8"},
		{"too large", "POST", "/v1/rooms/42/recordings", `{"userId":"` + strings.Repeat("u", 100) + `"}`, 413, 8, "BODY_TOO_LARGE", "", "100 bytes"},
		{"slash", "POST", "/v1/rooms/a%2Fb/recordings", "", 400, 3, "INVALID_FIELD", "room", "slash"},
		{"lower case slash", "GET", "/v1/rooms/a%2fb/recordings/17", "", 400, 3, "INVALID_FIELD", "room", "slash"},
		{"query of a POST", "POST", "/v1/rooms/42/recordings?user_id=u", "", 400, 3, "INVALID_FIELD", "user_id", "body"},
		{"unknown parameter", "GET", "/v1/rooms/42/recordings?user=u", "", 400, 3, "INVALID_FIELD", "user", "unknown query parameter"},
		{"parameter of a get", "GET", "/v1/rooms/42/recordings/17?page_size=1", "", 400, 3, "INVALID_FIELD", "page_size", "unknown query parameter"},
		{"bad number", "GET", "/v1/recordings?page_size=many", "", 400, 3, "INVALID_FIELD", "page_size", "many"},
		{"bad time", "GET", "/v1/recordings?record_time=noon", "", 400, 3, "INVALID_FIELD", "record_time", "noon"},
		{"twice", "GET", "/v1/recordings?user_id=u&user_id=v", "", 400, 3, "INVALID_FIELD", "user_id", "too many"},
		{"bad query", "GET", "/v1/recordings?user_id=%zz", "", 400, 3, "INVALID_REQUEST", "", "query"},
		{"password in a URL", "GET", "/v1/rooms/42/classBegin:watch?room_password=hunter2", "", 400, 3, "INVALID_FIELD", "room_password", "POST"},
		{"password in a URL, camelCase", "GET", "/v1/rooms/42/classBegin:watch?roomPassword=hunter2", "", 400, 3, "INVALID_FIELD", "room_password", "POST"},
		{"password in a POST's URL", "POST", "/v1/rooms/42/recordings?roomPassword=hunter2", "", 400, 3, "INVALID_FIELD", "roomPassword", "body"},
		{"no such path", "GET", "/v1/room/42", "", 404, 5, "ROUTE_NOT_FOUND", "", "/v1/room/42"},
		{"no such method", "DELETE", "/v1/rooms/42/recordings", "", 405, 12, "METHOD_NOT_ALLOWED", "", "DELETE"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := send(t, tc.method, base+tc.path, tc.body)
			f := a.failure(t)
			if a.status != tc.status || f.Code != tc.code || f.reason() != tc.reason || f.field() != tc.field || !strings.Contains(f.Message, tc.message) {
				t.Errorf("%d %s", a.status, a.body)
			}
			if strings.Contains(string(a.body), "hunter2") {
				t.Error("the password came back")
			}
		})
	}
}

// Every code of the service has its HTTP status, and its details come along.
func TestErrors(t *testing.T) {
	t.Parallel()
	for code, want := range map[codes.Code]int{
		codes.InvalidArgument: 400, codes.FailedPrecondition: 400, codes.OutOfRange: 400, codes.Unauthenticated: 401,
		codes.PermissionDenied: 403, codes.NotFound: 404, codes.AlreadyExists: 409, codes.Aborted: 409,
		codes.ResourceExhausted: 429, codes.Internal: 500, codes.Unimplemented: 501, codes.Unavailable: 503, codes.DeadlineExceeded: 504,
	} {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			st, err := status.New(code, "no luck").WithDetails(
				&errdetails.ErrorInfo{Reason: "CLASS_ALREADY_BEGUN", Domain: "classrec.dev", Metadata: map[string]string{"recording": "rooms/42/recordings/17"}},
				&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)})
			if err != nil {
				t.Fatal(err)
			}
			s := &service{start: func(context.Context, *classrecv1.StartRecordingRequest) (*classrecv1.StartRecordingResponse, error) {
				return nil, st.Err()
			}}
			a := send(t, "POST", newGateway(t, s, gateway.Config{})+"/v1/rooms/42/recordings", "{}")
			f := a.failure(t)
			if a.status != want || f.Code != int(code) || f.Message != "no luck" || f.reason() != "CLASS_ALREADY_BEGUN" ||
				f.Details[0].Metadata["recording"] != "rooms/42/recordings/17" || f.Details[1].RetryDelay != "1.500s" {
				t.Errorf("%d %s", a.status, a.body)
			}
			if got := a.header.Get("Retry-After"); got != "2" {
				t.Errorf("Retry-After is %q", got)
			}
		})
	}
}

// What a caller says to HTTP servers is not what it says to the service.
func TestHeaders(t *testing.T) {
	t.Parallel()
	seen := make(chan metadata.MD, 1)
	s := &service{get: func(ctx context.Context, _ *classrecv1.GetRecordingRequest) (*classrecv1.GetRecordingResponse, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		seen <- md
		return &classrecv1.GetRecordingResponse{}, nil
	}}
	a := send(t, "GET", newGateway(t, s, gateway.Config{})+"/v1/rooms/42/recordings/17", "",
		"Authorization", "Bearer t", "Cookie", "c=1", "Grpc-Metadata-Tenant", "other")
	md := <-seen
	if got := md.Get("authorization"); len(got) != 1 || got[0] != "Bearer t" {
		t.Errorf("authorization is %q", got)
	}
	for _, key := range []string{"tenant", "grpcgateway-cookie", "cookie"} {
		if got := md.Get(key); len(got) > 0 {
			t.Errorf("%s is %q", key, got)
		}
	}
	for name := range a.header {
		if strings.HasPrefix(name, "Grpc-") {
			t.Errorf("%s came back", name)
		}
	}
}

func TestCrossOrigin(t *testing.T) {
	t.Parallel()
	base := newGateway(t, echo(), gateway.Config{})
	a := send(t, "POST", base+"/v1/rooms/42/recordings", "{}", "Origin", "https://elsewhere.example", "Sec-Fetch-Site", "cross-site")
	if f := a.failure(t); a.status != 403 || f.reason() != "CROSS_ORIGIN" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := send(t, "POST", base+"/v1/rooms/42/recordings", "{}", "Origin", base, "Sec-Fetch-Site", "same-origin"); a.status != 200 {
		t.Errorf("own page: %d %s", a.status, a.body)
	}
}

// A caller that goes away cancels its call.
func TestCanceled(t *testing.T) {
	t.Parallel()
	began, ended := make(chan struct{}), make(chan error, 1)
	s := &service{start: func(ctx context.Context, _ *classrecv1.StartRecordingRequest) (*classrecv1.StartRecordingResponse, error) {
		close(began)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}}
	conn := dial(t, newGateway(t, s, gateway.Config{}))
	write(t, conn, "POST /v1/rooms/42/recordings HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
	<-began
	conn.Close()
	if err := <-ended; err == nil {
		t.Error("the call was not canceled")
	}
}

// A body that does not come is not waited for.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	conn := dial(t, newGateway(t, echo(), gateway.Config{BodyTimeout: 20 * time.Millisecond}))
	write(t, conn, "POST /v1/rooms/42/recordings HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func dial(t *testing.T, base string) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func write(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// A method that a path is not for is answered with those that it is for.
func TestAllow(t *testing.T) {
	t.Parallel()
	base := newGateway(t, echo(), gateway.Config{})
	for path, want := range map[string]string{
		"/v1/rooms/42/recordings":        "GET, POST",
		"/v1/rooms/数%20学/recordings":     "GET, POST",
		"/v1/rooms/42/recordings/17":     "GET",
		"/v1/rooms/42/recordings:stop":   "POST",
		"/v1/rooms/42/classBegin:watch":  "GET, POST",
		"/v1/recordings":                 "GET",
		"/v1/rooms/42/recordings/1:stop": "GET, POST", // of the recording 1, and the recording 1:stop
	} {
		a := send(t, "DELETE", base+path, "")
		if got := a.header.Get("Allow"); a.status != 405 || got != want {
			t.Errorf("%s: %d, Allow: %q, want %q", path, a.status, got, want)
		}
	}
}

// A field's violation has a reason, whoever found it.
func TestViolationReason(t *testing.T) {
	t.Parallel()
	base := newGateway(t, echo(), gateway.Config{})
	for _, tc := range []struct{ method, path, body, want string }{
		{"POST", "/v1/rooms/42/recordings", `{"usrId":"u"}`, "FIELD_UNKNOWN"},
		{"POST", "/v1/rooms/42/recordings", `{"recordChat":"maybe"}`, "FIELD_MALFORMED"},
		{"POST", "/v1/rooms/42/recordings?userId=u", "", "FIELD_IN_URL"},
		{"POST", "/v1/rooms/a%2Fb/recordings", "", "STRING_NOT_CONTAINS"},
		{"GET", "/v1/recordings?user=u", "", "FIELD_UNKNOWN"},
		{"GET", "/v1/recordings?pageSize=many", "", "FIELD_MALFORMED"},
		{"GET", "/v1/rooms/42/classBegin:watch?roomPassword=x", "", "FIELD_IN_URL"},
	} {
		f := send(t, tc.method, base+tc.path, tc.body).failure(t)
		var got string
		for _, d := range f.Details {
			for _, v := range d.FieldViolations {
				got = v.Reason
			}
		}
		if got != tc.want {
			t.Errorf("%s %s %s: %q, want %q", tc.method, tc.path, tc.body, got, tc.want)
		}
	}
}
