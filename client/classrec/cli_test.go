// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/classrec/classrec/client/internal/clienttest"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	// Nothing of whoever runs the tests.
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "CLASSREC_") || name == "NO_COLOR" {
			os.Unsetenv(name)
		}
	}
	os.Setenv("XDG_CONFIG_HOME", "testdata/nowhere")
	os.Setenv("COLUMNS", "100")
	os.Setenv("TERM", "xterm")
	goleak.VerifyTestMain(m)
}

// clock is now in these tests.
func clock() time.Time { return time.Date(2026, 11, 22, 10, 31, 5, 0, time.UTC) }

func at(minute, second int) *timestamppb.Timestamp {
	return timestamppb.New(time.Date(2026, 11, 22, 10, minute, second, 0, time.UTC))
}

func begun() *classrecv1.Recording {
	return &classrecv1.Recording{
		Name: "rooms/42/recordings/1795343400", Room: "42", UserId: "classrec-7",
		Format: classrecv1.RecordingFormat_RECORDING_FORMAT_WEBM, RecordType: classrecv1.RecordType_RECORD_TYPE_LIST,
		Layout: classrecv1.RecordingLayout_RECORDING_LAYOUT_LANDSCAPE, RecordChat: true, RecordTime: at(30, 0),
		State: classrecv1.RecordingState_RECORDING_STATE_RECORDING, Origin: classrecv1.RecordingOrigin_RECORDING_ORIGIN_API,
		CreateTime: at(30, 0), UpdateTime: at(30, 0),
	}
}

func available() *classrecv1.Recording {
	r := begun()
	r.Name, r.State, r.StopTime = "rooms/数学课/recordings/1795339800-2", classrecv1.RecordingState_RECORDING_STATE_AVAILABLE, at(58, 30)
	r.Room, r.RecordTime = "数学课", timestamppb.New(at(30, 0).AsTime().Add(-time.Hour))
	r.EndReason = classrecv1.EndReason_END_REASON_STOPPED_IN_ROOM
	r.Origin = classrecv1.RecordingOrigin_RECORDING_ORIGIN_ROOM
	r.Gaps = []*classrecv1.RecordingGap{{StartTime: at(31, 0), EndTime: at(31, 30), Reason: "the platform restarted"}}
	r.Urls = []string{"https://files.example/a.webm", "https://files.example/b.webm"}
	r.Files = []*classrecv1.RecordingFile{
		{Url: r.GetUrls()[0], UserId: "teacher", Size: 300 << 20, Duration: durationpb.New(5310 * time.Second), MediaType: "video/webm"},
		{Url: r.GetUrls()[1]},
	}
	return r
}

func failed() *classrecv1.Recording {
	return &classrecv1.Recording{
		Name: "rooms/42/recordings/1795343000", Room: "42", RecordTime: at(20, 0), StopTime: at(20, 9),
		State:     classrecv1.RecordingState_RECORDING_STATE_FAILED,
		EndReason: classrecv1.EndReason_END_REASON_MAX_DURATION, MaxDuration: durationpb.New(9 * time.Second),
		RecordType: classrecv1.RecordType_RECORD_TYPE_MIX, Layout: classrecv1.RecordingLayout_RECORDING_LAYOUT_PORTRAIT,
		Failure: &statuspb.Status{Code: int32(codes.DeadlineExceeded), Message: "the platform listed no files within 2h"},
	}
}

// service answers with recordings above, and with errors for rooms named for
// them. It passes on what it was asked.
type service struct {
	classrecv1.UnimplementedRecordingServiceServer
	asked     chan proto.Message
	recording *classrecv1.Recording       // that GetRecording returns; nil: available
	states    []classrecv1.RecordingState // that StopRecording, then each GetRecording returns it in
}

// refuse makes the error that a room is named for.
func refuse(room string) error {
	details := []protoadapt.MessageV1{}
	code := codes.OK
	switch room {
	case "busy":
		code = codes.AlreadyExists
		details = append(details, &errdetails.ErrorInfo{Reason: "CLASS_ALREADY_BEGUN", Domain: "classrec.dev", Metadata: map[string]string{"recording": begun().GetName()}})
	case "unknown":
		code = codes.NotFound
		details = append(details, &errdetails.ErrorInfo{Reason: "ROOM_NOT_FOUND", Domain: "classrec.dev"})
	case "locked":
		code = codes.PermissionDenied
		details = append(details, &errdetails.ErrorInfo{Reason: "WRONG_PASSWORD", Domain: "classrec.dev"})
	case "twice": // in the message and in the details
		return twice(codes.InvalidArgument, "room: must not begin with _; user_id: must be short", map[string]string{"scope": "7"}, "room: must not begin with _", "user_id: must be short", "nickname: must be short")
	case "twice more":
		return twice(codes.OutOfRange, "after 17 is rooms/42/recordings/17", map[string]string{"recording": "rooms/42/recordings/17", "last": "17", "part": "7"}, "room: after 17 is rooms/42/recordings/17")
	case "__bad":
		code = codes.InvalidArgument
		details = append(details, &errdetails.ErrorInfo{Reason: "INVALID_FIELD", Domain: "classrec.dev"},
			&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "room", Description: "must not begin with __"}}})
	case "mp4":
		code = codes.FailedPrecondition
		details = append(details, &errdetails.ErrorInfo{Reason: "FFMPEG_MISSING", Domain: "classrec.dev"})
	case "down":
		code = codes.Unavailable
		details = append(details, &errdetails.ErrorInfo{Reason: "PLATFORM_UNAVAILABLE", Domain: "classrec.dev"}, &errdetails.RetryInfo{RetryDelay: durationpb.New(2 * time.Second)})
	case "quota":
		code = codes.ResourceExhausted
	case "broken":
		code = codes.Internal
	}
	if code == codes.OK {
		return nil
	}
	st, err := status.New(code, "refused: "+room).WithDetails(details...)
	if err != nil {
		return err
	}
	return st.Err()
}

// twice makes an error with metadata and fields, each as FIELD: DESCRIPTION.
func twice(code codes.Code, message string, metadata map[string]string, fields ...string) error {
	bad := &errdetails.BadRequest{}
	for _, text := range fields {
		field, description, _ := strings.Cut(text, ": ")
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: field, Description: description})
	}
	st, err := status.New(code, message).WithDetails(&errdetails.ErrorInfo{Reason: "REASON", Domain: "classrec.dev", Metadata: metadata}, bad)
	if err != nil {
		return err
	}
	return st.Err()
}

func (s *service) StartRecording(_ context.Context, r *classrecv1.StartRecordingRequest) (*classrecv1.StartRecordingResponse, error) {
	s.asked <- r
	return &classrecv1.StartRecordingResponse{Recording: begun()}, refuse(r.GetRoom())
}

func (s *service) StopRecording(_ context.Context, r *classrecv1.StopRecordingRequest) (*classrecv1.StopRecordingResponse, error) {
	s.asked <- r
	if len(s.states) > 0 {
		return &classrecv1.StopRecordingResponse{Recording: s.next()}, nil
	}
	return &classrecv1.StopRecordingResponse{Recording: failed()}, refuse(r.GetRoom())
}

// next is a recording in the next of states.
func (s *service) next() *classrecv1.Recording {
	r := available()
	r.State, s.states = s.states[0], s.states[1:]
	return r
}

func (s *service) GetRecording(_ context.Context, r *classrecv1.GetRecordingRequest) (*classrecv1.GetRecordingResponse, error) {
	s.asked <- r
	if !strings.HasPrefix(r.GetName(), "rooms/") {
		return nil, twice(codes.InvalidArgument, "name: does not match a pattern", nil, "name: does not match a pattern")
	}
	if len(s.states) > 0 {
		return &classrecv1.GetRecordingResponse{Recording: s.next()}, nil
	}
	if s.recording != nil {
		return &classrecv1.GetRecordingResponse{Recording: s.recording}, nil
	}
	return &classrecv1.GetRecordingResponse{Recording: available()}, nil
}

// ListRecordings gives its three recordings in pages of two; rooms may be named
// to have none.
func (s *service) ListRecordings(_ context.Context, r *classrecv1.ListRecordingsRequest) (*classrecv1.ListRecordingsResponse, error) {
	s.asked <- proto.CloneOf(r)
	switch r.GetRoom() {
	case "empty":
		return &classrecv1.ListRecordingsResponse{}, nil
	case "empty half":
		return &classrecv1.ListRecordingsResponse{Incomplete: status.Convert(refuse("down")).Proto()}, nil
	}
	if r.GetPageToken() == "" {
		return &classrecv1.ListRecordingsResponse{Recordings: []*classrecv1.Recording{begun(), available()}, NextPageToken: "2"}, refuse(r.GetRoom())
	}
	last := &classrecv1.ListRecordingsResponse{Recordings: []*classrecv1.Recording{failed()}}
	if r.GetRoom() == "half" {
		last.Incomplete = status.Convert(refuse("down")).Proto()
	}
	return last, nil
}

func (s *service) WatchClassBegin(r *classrecv1.WatchClassBeginRequest, stream grpc.ServerStreamingServer[classrecv1.WatchClassBeginResponse]) error {
	s.asked <- r
	synced := &classrecv1.WatchClassBeginResponse{Payload: &classrecv1.WatchClassBeginResponse_Synced{Synced: &classrecv1.WatchSynced{Sequence: 12}}}
	switch {
	case r.GetAfterSequence() >= 12:
		return status.Error(codes.OutOfRange, "that is all")
	case r.GetRoom() == "down":
		return refuse("down")
	case r.GetRoom() != "42":
		return stream.Send(synced)
	}
	begun := &classrecv1.ClassBeginEvent{Sequence: 12, Action: classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD, Room: "42", Recording: begun(), Time: at(30, 0), InList: true}
	ended := &classrecv1.ClassBeginEvent{Sequence: 14, Action: classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_REMOVE, Room: "42", Recording: failed(), Time: at(31, 0)}
	for _, m := range []*classrecv1.WatchClassBeginResponse{
		{Payload: &classrecv1.WatchClassBeginResponse_Event{Event: begun}},
		synced,
		{Payload: &classrecv1.WatchClassBeginResponse_Event{Event: ended}},
	} {
		if err := stream.Send(m); err != nil {
			return err
		}
	}
	return status.Error(codes.Unavailable, "the cable is out")
}

// newServer serves s, and returns its address.
func newServer(t *testing.T) (string, *service) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{asked: make(chan proto.Message, 20)}
	server := grpc.NewServer()
	classrecv1.RegisterRecordingServiceServer(server, s)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String(), s
}

// golden compares with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("not as in %s (-update writes it anew):\n%s", path, diff)
	}
}

// session is a command line, what it prints and how it ends.
func session(t *testing.T, server string, args ...string) (text string, exit int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	exit = run(t.Context(), append(args, "--server="+server), &stdout, &stderr, clock)
	text = fmt.Sprintf("$ classrec %s\n%s", strings.Join(args, " "), &stdout)
	if stderr.Len() > 0 {
		text += "--- stderr\n" + strings.ReplaceAll(stderr.String(), server, "SERVER")
	}
	return fmt.Sprintf("%s--- exit %d\n", text, exit), exit
}

func TestOutput(t *testing.T) {
	t.Parallel()
	for name, commands := range map[string][][]string{
		"start": {{"start", "42"}, {"start", "42", "-o", "name"}},
		"stop":  {{"stop", "42"}, {"stop", "rooms/42/recordings/17", "-o", "name"}},
		"get":   {{"get", "rooms/42/recordings/17"}, {"get", "rooms/42/recordings/17", "-o", "yaml"}, {"get", "rooms/42/recordings/17", "-o", "json"}},
		"list":  {{"list", "--room", "42"}, {"list", "--room", "42", "-o", "name"}, {"list", "--user-id", "u", "--limit", "2", "-o", "name"}, {"list", "--room", "42", "-o", "json"}, {"list", "--room", "half", "-o", "name"}, {"list", "--room", "half", "-o", "yaml"}, {"list", "--room", "empty"}, {"list", "--room", "empty", "-o", "name"}, {"list", "--room", "empty", "-o", "json"}, {"list", "--room", "empty half"}},
		"errors": {
			{"start", "busy"},
			{"start", "unknown"},
			{"start", "locked"},
			{"start", "__bad"},
			{"start", "twice"},
			{"start", "twice more"},
			{"get", "foo"},
			{"start", "mp4"},
			{"start", "down"},
			{"start", "quota"},
			{"start", "broken"},
			{"list"},
			{"get"},
			{"start", "42", "--format", "avi"},
			{"nothing"},
			{"get", "rooms/42/recordings/17", "--ca-file", "testdata/none"},
			{"get", "rooms/42/recordings/17", "--tls", "--plaintext"},
			{"get", "rooms/42/recordings/17", "--token-file", "testdata/none"},
			{"list", "--room", "42", "--config", "testdata/none"},
			{"download", "rooms/42/recordings/17", "--parallel", "0"},
			{"completion", "tcsh"},
			{"start", "42", "--room-password-file", "testdata/none"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, s := newServer(t)
			var all strings.Builder
			for _, args := range commands {
				text, _ := session(t, server, args...)
				all.WriteString(text + "\n")
				for len(s.asked) > 0 {
					<-s.asked
				}
			}
			golden(t, name, all.String())
		})
	}
}

// A watch goes on after a cut, from the last sequence.
func TestWatch(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for _, format := range []string{"table", "name", "json", "yaml"} {
		server, s := newServer(t)
		text, exit := session(t, server, "watch", "42", "-o", format)
		before, after, _ := strings.Cut(text, "again in ")
		_, after, _ = strings.Cut(after, ";")
		if _, rest, ok := strings.Cut(after, "\n"); ok {
			after = rest
		}
		all.WriteString(before + "again in …\n" + after + "\n")
		if exit != exitInvalid {
			t.Errorf("%s: exit %d", format, exit)
		}
		<-s.asked
		if again, ok := (<-s.asked).(*classrecv1.WatchClassBeginRequest); !ok || again.GetAfterSequence() != 14 {
			t.Errorf("%s: asked again for %v", format, again)
		}
	}
	golden(t, "watch", all.String())
}

// A watch says when it is live, and what it has told until then: a room where
// nothing happens is not one that nothing is known of.
func TestWatch_Live(t *testing.T) {
	t.Parallel()
	for room, want := range map[string]string{
		"42":              "Watching room 42: 1 class is on.\n",
		"42 --after=7":    "Watching room 42: 1 event since 7.\n",
		"empty":           "Watching room empty: no class is on.\n",
		"empty --after=7": "Watching room empty: no event since 7.\n",
		"-":               "Watching every room: no class is on.\n",
	} {
		for _, format := range []string{"table", "json"} {
			server, _ := newServer(t)
			w := begin(t, append([]string{"watch", "-o", format, "-s", server}, strings.Fields(room)...)...)
			w.stderr.wait(t, want)
			w.interrupt()
			<-w.exit
			if got := w.stderr.String(); !strings.HasPrefix(got, want) || strings.Count(got, "Watching") != 1 {
				t.Errorf("%s: %s", room, got)
			}
		}
	}
	server, _ := newServer(t)
	w := begin(t, "watch", "down", "-s", server)
	w.stderr.wait(t, "Cannot watch yet (refused: down); trying again in 2")
	w.interrupt()
	if exit := <-w.exit; exit != 0 || strings.Contains(w.stderr.String(), "Watching") {
		t.Errorf("exit %d: %s", exit, w.stderr)
	}
}

// An interrupt is how a watch ends, and breaks off any other call.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	server, _ := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	if exit := run(ctx, []string{"watch", "42", "-s", server}, &stdout, &stderr, clock); exit != 0 {
		t.Errorf("watch: exit %d: %s", exit, &stderr)
	}
	if exit := run(ctx, []string{"start", "42", "-s", server}, &stdout, &stderr, clock); exit != exitInterrupted {
		t.Errorf("start: exit %d: %s", exit, &stderr)
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	var stdout, stderr bytes.Buffer
	exit := run(t.Context(), []string{"get", "rooms/42/recordings/17", "-s", address}, &stdout, &stderr, clock)
	if exit != exitUnavailable || !strings.Contains(stderr.String(), "is classrecd running, with gRPC at "+address) {
		t.Errorf("exit %d: %s", exit, &stderr)
	}
	stderr.Reset()
	exit = run(t.Context(), []string{"explain", "rooms/42/recordings/17", "--admin-server", address}, &stdout, &stderr, clock)
	if exit != exitUnavailable || !strings.Contains(stderr.String(), "at "+address+"? See --admin-server") {
		t.Errorf("explain: exit %d: %s", exit, &stderr)
	}
	// A watch that was never connected is not cut off.
	stderr.Reset()
	exit = run(t.Context(), []string{"watch", "42", "-s", address}, &stdout, &stderr, clock)
	if exit != exitUnavailable || strings.Count(stderr.String(), "Cannot connect (connection error") != 3 || strings.Contains(stderr.String(), "Cut off") ||
		!strings.Contains(stderr.String(), "is classrecd running, with gRPC at "+address) {
		t.Errorf("exit %d: %s", exit, &stderr)
	}
}

// An address without a port is wrong usage: gRPC would take the port to be 443.
func TestServerAddress(t *testing.T) {
	t.Parallel()
	const name = "rooms/42/recordings/17"
	for _, address := range []string{"localhost", "localhost:", "127.0.0.1", "::1", "[::1]", "classrec.example", "http://localhost:9090", ""} {
		for _, args := range [][]string{{"get", name, "--server=" + address}, {"start", "42", "--dry-run", "--server=" + address}, {"explain", name, "--admin-server=" + address}} {
			out := command(t.Context(), args...)
			if want := fmt.Sprintf("%q is no HOST:PORT", address); out.exit != exitUsage || !strings.Contains(out.stderr, want) || out.stdout != "" {
				t.Errorf("%q: %+v", args, out)
			}
		}
	}
	for _, address := range []string{"localhost:9090", ":9090", "[::1]:9090", "unix:/tmp/x", "unix:///tmp/x", "unix-abstract:x", "dns:///classrec.example:9090", "dns:localhost:9090", "passthrough:///localhost:9090"} {
		if !complete(address) {
			t.Errorf("%s is not taken", address)
		}
	}
	// What the library knows besides HOST:PORT works.
	server, _ := newServer(t)
	if out := command(clienttest.Context(t), "get", name, "--server=dns:///"+server, "-o", "name"); out.exit != 0 {
		t.Errorf("%+v", out)
	}
}

// Flags become the request.
func TestRequests(t *testing.T) {
	t.Parallel()
	server, s := newServer(t)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	no := false
	for _, tc := range []struct {
		args []string
		want proto.Message
	}{
		{[]string{"start", "42"}, &classrecv1.StartRecordingRequest{Room: "42"}},
		{
			[]string{
				"start", "42", "--user-id=u", "--nickname=n", "--format=mp4", "--type=mix", "--layout=portrait", "--no-chat",
				"--max-duration=90m", "--request-id=r", "--room-password-file", file,
			},
			&classrecv1.StartRecordingRequest{
				Room: "42", UserId: "u", Nickname: "n", RoomPassword: "secret", RecordChat: &no, RequestId: "r",
				Format: classrecv1.RecordingFormat_RECORDING_FORMAT_MP4, RecordType: classrecv1.RecordType_RECORD_TYPE_MIX,
				Layout: classrecv1.RecordingLayout_RECORDING_LAYOUT_PORTRAIT, MaxDuration: durationpb.New(90 * time.Minute),
			},
		},
		{[]string{"stop", "42", "--room-password=p"}, &classrecv1.StopRecordingRequest{Room: "42", RoomPassword: "p"}},
		{[]string{"stop", "rooms/42/recordings/17"}, &classrecv1.StopRecordingRequest{Name: "rooms/42/recordings/17"}},
		{[]string{"get", "rooms/42/recordings/17"}, &classrecv1.GetRecordingRequest{Name: "rooms/42/recordings/17"}},
		{
			[]string{"list", "--room=42", "--user-id=u", "--time=2026-11-22T10:30:00Z", "--limit=2"},
			&classrecv1.ListRecordingsRequest{Room: "42", UserId: "u", RecordTime: at(30, 0), PageSize: 2},
		},
		{[]string{"watch", "--after=7"}, &classrecv1.WatchClassBeginRequest{Room: "-", AfterSequence: 7}},
	} {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			session(t, server, tc.args...)
			defer func() {
				for len(s.asked) > 0 { // for more pages
					<-s.asked
				}
			}()
			got := <-s.asked
			if start, ok := got.(*classrecv1.StartRecordingRequest); ok && !slices.ContainsFunc(tc.args, func(arg string) bool { return strings.HasPrefix(arg, "--request-id") }) {
				if start.GetRequestId() == "" {
					t.Error("a start without an id")
				}
				start.RequestId = ""
			}
			if !proto.Equal(got, tc.want) {
				t.Errorf("asked %v", got)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	var all strings.Builder
	for _, args := range [][]string{{"--help"}, {"start", "--help"}, {"stop", "--help"}, {"get", "--help"}, {"explain", "--help"}, {"list", "--help"}, {"watch", "--help"}, {"wait", "--help"}, {"download", "--help"}, {"version", "--help"}, {"completion", "--help"}} {
		text, exit := session(t, "x", args...)
		if exit != 0 {
			t.Errorf("%v: exit %d", args, exit)
		}
		all.WriteString(text + "\n")
	}
	golden(t, "help", all.String())
}
