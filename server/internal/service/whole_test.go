// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// What `grpcurl list` and `describe` ask.
func TestReflection(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	stream, err := reflectionv1.NewServerReflectionClient(s.Conn()).ServerReflectionInfo(apitest.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(req *reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse {
		t.Helper()
		if err := stream.Send(req); err != nil {
			t.Fatal(err)
		}
		res, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	var services []string
	for _, service := range ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}).GetListServicesResponse().GetService() {
		services = append(services, service.GetName())
	}
	for _, want := range []string{"classrec.v1.RecordingService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} {
		if !slices.Contains(services, want) {
			t.Errorf("%s is not among %v", want, services)
		}
	}
	// Describe needs every file that a described one imports.
	asked := map[string]bool{}
	want := []string{}
	add := func(files [][]byte) {
		for _, raw := range files {
			var file descriptorpb.FileDescriptorProto
			if err := proto.Unmarshal(raw, &file); err != nil {
				t.Fatal(err)
			}
			asked[file.GetName()] = true
			want = append(want, file.GetDependency()...)
		}
	}
	add(ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{
		FileContainingSymbol: "classrec.v1.RecordingService",
	}}).GetFileDescriptorResponse().GetFileDescriptorProto())
	for len(want) > 0 {
		name := want[0]
		want = want[1:]
		if asked[name] {
			continue
		}
		res := ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileByFilename{FileByFilename: name}})
		if res.GetErrorResponse() != nil {
			t.Fatalf("%s: %v", name, res.GetErrorResponse())
		}
		add(res.GetFileDescriptorResponse().GetFileDescriptorProto())
	}
	if !asked["classrec/v1/recording.proto"] || !asked["buf/validate/validate.proto"] {
		t.Errorf("described are %v", asked)
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	for _, service := range []string{"", "classrec.v1.RecordingService"} {
		res, err := healthv1.NewHealthClient(s.Conn()).Check(apitest.Context(t), &healthv1.HealthCheckRequest{Service: service})
		if err != nil || res.GetStatus() != healthv1.HealthCheckResponse_SERVING {
			t.Errorf("%q is %v, %v", service, res, err)
		}
	}
	s.Call(t, apitest.REST, apitest.Call{Name: apitest.List, Request: `{"room":"room"}`})
	for path, want := range map[string]string{
		"/healthz": "ok", "/readyz": "ok", "/metrics": `grpc_method="ListRecordings"`, "/openapi.json": `"/v1/rooms/{room}/recordings"`,
	} {
		status, body := get(t, s, path, nil)
		if status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d, without %s: %.300s", path, status, want, body)
		}
	}
}

func get(t *testing.T, s *apitest.Server, path string, header http.Header) (status int, body string) {
	t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = s.URL() + path
	}
	r, err := http.NewRequestWithContext(apitest.Context(t), http.MethodGet, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	resp, err := s.HTTP().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// What is listed can be fetched at once, whole and in part; what is not, not.
func TestFiles(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	teacher := s.Join(t, "room", "teacher")
	rec := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"room"}`})
	teacher.Chat(t, "good morning")
	teacher.Sync(t)
	s.Must(t, apitest.Call{Name: apitest.Stop, Request: `{"room":"room"}`})
	rec = awaitState(t, s, rec.GetName(), stateAvailable)
	if len(rec.GetFiles()) != 1 || len(rec.GetUrls()) != 1 {
		t.Fatalf("the chat is not among the files of %v", rec)
	}
	file := rec.GetFiles()[0]
	status, whole := get(t, s, file.GetUrl(), nil)
	if status != http.StatusOK || int64(len(whole)) != file.GetSize() || !strings.Contains(whole, "good morning") || !strings.HasPrefix(whole, "WEBVTT") {
		t.Errorf("%d: %d bytes of %d: %s", status, len(whole), file.GetSize(), whole)
	}
	status, part := get(t, s, file.GetUrl(), http.Header{"Range": {"bytes=3-5"}})
	if status != http.StatusPartialContent || part != whole[3:6] {
		t.Errorf("%d: %q, want %q", status, part, whole[3:6])
	}
	if status, _ := get(t, s, file.GetUrl(), http.Header{"Range": {"bytes=100000-"}}); status != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("beyond the end: %d", status)
	}
	for _, path := range []string{"/files/", "/files/nothing", "/files/..%2f..%2fseal.key", "/files/../seal.key", strings.TrimPrefix(file.GetUrl(), s.URL()) + "/x"} {
		if status, body := get(t, s, path, nil); status == http.StatusOK {
			t.Errorf("%s: %d %.100s", path, status, body)
		}
	}
	// The platform's own list names the same.
	list := listOf(t, s.Call(t, apitest.REST, apitest.Call{Name: apitest.List, Request: `{"user_id":"` + rec.GetUserId() + `"}`}))
	if len(list.GetRecordings()) != 1 || !proto.Equal(list.GetRecordings()[0], rec) {
		t.Errorf("listed as %v, want %v", list, rec)
	}
}

// Files are there as soon as they are listed, also where their public name is
// one that only others can reach.
func TestFiles_PublicName(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"https://classes.invalid/recorded", "http://classes.invalid"} {
		s := apitest.New(t, func(cfg *server.Config) { cfg.FilesBaseURL = base })
		teacher := s.Join(t, "room", "teacher")
		rec := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"room"}`})
		teacher.Chat(t, "good morning")
		teacher.Sync(t)
		s.Must(t, apitest.Call{Name: apitest.Stop, Request: `{"room":"room"}`})
		rec = awaitState(t, s, rec.GetName(), stateAvailable)
		if len(rec.GetUrls()) != 1 || !strings.HasPrefix(rec.GetUrls()[0], base+"/") {
			t.Fatalf("the files are %v", rec.GetUrls())
		}
		if status, body := get(t, s, "/files"+strings.TrimPrefix(rec.GetUrls()[0], base), nil); status != http.StatusOK || !strings.Contains(body, "good morning") {
			t.Errorf("%d %s", status, body)
		}
	}
}

// What cannot be had is said with the flag that asks for it, and takes nothing
// from the server that has it.
func TestNew_Occupied(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	for name, tc := range map[string]struct {
		change func(*server.Config)
		says   string
	}{
		"gRPC port": {func(c *server.Config) { c.GRPCListen = s.Process().GRPCAddr().String() }, "--grpc-listen"},
		"HTTP port": {func(c *server.Config) { c.HTTPListen = s.Process().HTTPAddr().String() }, "--http-listen"},
		"room port": {func(c *server.Config) { c.RoomListen = s.Process().RoomAddr().String() }, "--room-listen"},
		"data":      {func(c *server.Config) { c.DataDir = s.Dir() }, "--data-dir"},
	} {
		cfg := apitest.Config(t.TempDir())
		tc.change(&cfg)
		other, err := server.New(apitest.Context(t), cfg)
		if err == nil {
			_ = other.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want a word of %s", name, err, tc.says)
		}
	}
	s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"room"}`})
}

// A server that is told to stop while classes are on, calls wait and streams
// are open is down within its time, and cuts nobody off without a word.
func TestStop_WithinTime(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	teacher := s.Join(t, "room", "teacher")
	s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"room"}`})
	teacher.Chat(t, "good morning")
	var watches []*apitest.Stream
	for _, way := range watchWays() {
		w := s.Watch(t, way, "room", 0)
		w.Synced(t)
		watches = append(watches, w)
	}
	// Somebody who has connected and says nothing.
	idle, err := new(net.Dialer).DialContext(context.Background(), "tcp", s.Process().HTTPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = idle.Close() }()
	began := time.Now()
	s.Stop()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	for _, w := range watches {
		if out := w.End(t); out.Code != codes.Unavailable || out.RetryAfter == 0 {
			t.Errorf("a watch ended with %+v", out)
		}
	}
	<-teacher.Done()
	s.Start()
	list := listOf(t, s.Call(t, apitest.GRPC, apitest.Call{Name: apitest.List, Request: `{"room":"room"}`}))
	if len(list.GetRecordings()) != 1 {
		t.Errorf("after the stop, listed are %v", list)
	}
}

// The room server over https, with the certificate that the server made.
func TestRoomServer_HTTPS(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	client, err := talkcloud.New(talkcloud.Config{
		BaseURL: "https://" + s.Process().RoomAddr().String(), RootCAs: s.RoomRoots(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	conn, err := client.Join(apitest.Context(t), talkcloud.JoinOptions{Room: "room", UserID: "teacher"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.Publish(apitest.Context(t), talkcloud.ClassBegin{HasRecordType: true, RecordType: 1}.Message()); err != nil {
		t.Fatal(err)
	}
	w := s.Watch(t, apitest.GRPC, "room", 0)
	snapshot, _ := w.Synced(t)
	if len(snapshot) != 1 || snapshot[0].GetFromUserId() != "teacher" {
		t.Errorf("snapshot is %v", snapshot)
	}
}
