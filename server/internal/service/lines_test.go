// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// logged is the log of a server of whose rooms, recordings and requests it is
// known how they are called, and which calls it got.
type logged struct {
	record
	calls      map[string]int    // by method and room
	failed     map[string]int    // of them, by room
	requests   map[string]string // request ids by room
	recordings map[string]string // by room; "" where none came of it
}

func newLogged() *logged {
	return &logged{calls: map[string]int{}, failed: map[string]int{}, requests: map[string]string{}, recordings: map[string]string{}}
}

func (l *logged) use(cfg *server.Config) {
	cfg.Logger = slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// call makes a call about a room, and notes it.
func (l *logged) call(t *testing.T, s *apitest.Server, way apitest.Transport, name, room, request string) apitest.Outcome {
	t.Helper()
	out := s.Call(t, way, apitest.Call{Name: name, Request: request})
	l.calls[name+" "+room]++
	if out.Code != codes.OK {
		l.failed[room]++
	}
	return out
}

// start starts a recording with a request id.
func (l *logged) start(t *testing.T, s *apitest.Server, way apitest.Transport, room, more string) apitest.Outcome {
	t.Helper()
	id := "request-" + room
	l.requests[room] = id
	out := l.call(t, s, way, apitest.Start, room, fmt.Sprintf(`{"room":%q,"request_id":%q%s}`, room, id, more))
	if l.recordings[room] = ""; out.Code == codes.OK {
		l.recordings[room] = out.Recording(t).GetName()
	}
	return out
}

// stop stops it, and waits for how it ends.
func (l *logged) stop(t *testing.T, s *apitest.Server, way apitest.Transport, room string) (state string) {
	t.Helper()
	name := l.recordings[room]
	if out := l.call(t, s, way, apitest.Stop, room, fmt.Sprintf(`{"name":%q}`, name)); out.Code != codes.OK {
		t.Fatalf("%+v", out)
	}
	for end := time.Now().Add(apitest.Patience); ; {
		out := l.call(t, s, way, apitest.Get, room, fmt.Sprintf(`{"name":%q}`, name))
		state = out.Recording(t).GetState().String()
		if state == "RECORDING_STATE_AVAILABLE" || state == "RECORDING_STATE_FAILED" {
			return state
		}
		if time.Now().After(end) {
			t.Fatalf("it stays %s", state)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
}

// check holds the log against what is known.
func (l *logged) check(t *testing.T) {
	t.Helper()
	calls, errors, told := map[string]int{}, map[string]int{}, map[string]int{}
	for text := range strings.Lines(l.String()) {
		var line struct {
			Msg, Method, Tenant, Room, Recording, Error string
			RequestID                                   string `json:"request_id"`
		}
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		for room, id := range l.requests {
			if !strings.Contains(text, room) {
				continue
			}
			name := l.recordings[room]
			if line.Room != room || line.Tenant != "default" {
				t.Errorf("tenant and room are missing: %s", text)
			}
			if name != "" && strings.Contains(text, name) && line.Recording != name {
				t.Errorf("the recording is missing: %s", text)
			}
			if (strings.Contains(text, id) || line.Msg != "call" && line.Recording != "") && line.RequestID != id {
				t.Errorf("the request id is missing: %s", text)
			}
			if line.Error != "" {
				errors[room]++
				if told[room+line.Error]++; told[room+line.Error] > 1 {
					t.Errorf("told again: %s", text)
				}
			}
		}
		if line.Msg == "call" && line.Room != "" {
			calls[path.Base(line.Method)+" "+line.Room]++
		}
	}
	for call, n := range l.calls {
		if calls[call] != n {
			t.Errorf("%d calls of %s have %d lines", n, call, calls[call])
		}
	}
	for room, n := range l.failed {
		if errors[room] != n {
			t.Errorf("%s: %d calls failed, and %d lines have an error:\n%s", room, n, errors[room], l.String())
		}
	}
}

// Each line says what it is about: the tenant, the room, the recording, the
// request. A call is one line, and an error is in one.
func TestLog_Lines(t *testing.T) {
	t.Parallel()
	l, file := newLogged(), filepath.Join(t.TempDir(), "rooms.yaml")
	if err := os.WriteFile(file, []byte("rooms:\n  locked-gRPC: {passwords: {teacher: secret}}\n  locked-REST: {passwords: {teacher: secret}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := apitest.New(t, l.use, func(cfg *server.Config) { cfg.RoomsFile = file })
	for _, way := range []apitest.Transport{apitest.GRPC, apitest.REST} {
		room := "class-" + string(way)
		if out := l.start(t, s, way, room, ""); out.Code != codes.OK {
			t.Fatalf("%+v", out)
		}
		if out := l.start(t, s, way, "locked-"+string(way), `,"room_password":"wrong"`); out.Code != codes.PermissionDenied {
			t.Errorf("%+v", out)
		}
		teacher := s.Join(t, room, "teacher")
		teacher.Chat(t, "good morning")
		teacher.Sync(t)
		if state := l.stop(t, s, way, room); state != "RECORDING_STATE_AVAILABLE" {
			t.Errorf("it is %s", state)
		}
		if out := l.call(t, s, way, apitest.Get, room, `{"name":"rooms/`+room+`/recordings/1"}`); out.Code != codes.NotFound {
			t.Errorf("%+v", out)
		}
	}
	s.Stop()
	l.check(t)
	for _, state := range []string{"starting", "recording", "processing", "available"} {
		if state != "starting" && !strings.Contains(l.String(), `"msg":"recording is `+state+`"`) {
			t.Errorf("no line tells that a recording is %s", state)
		}
	}
}

// The same, where a platform does what it should not.
func TestLog_LinesOfTrouble(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		make func(*talkcloudtest.Platform)
		code codes.Code // of the start
	}{
		"join refused":     {joinAck("error", "no"), codes.Unknown},
		"publish refused":  {refuse(map[string]any{"code": 4108, "message": "no"}), codes.Unknown},
		"checkroom fails":  {statusCode(talkcloud.PathCheckRoom, 500), codes.Unknown},
		"files not there":  {body(talkcloud.PathGetUserRecordList, `["http://127.0.0.1:1/a.mkv"]`), codes.OK},
		"files not listed": {statusCode(talkcloud.PathGetUserRecordList, 500), codes.OK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			platform := talkcloudtest.NewPlain(t)
			tc.make(platform)
			l := newLogged()
			s := apitest.New(t, apitest.Platform(t, platform.Config().BaseURL), l.use, func(cfg *server.Config) { cfg.ProcessingTimeout = 2 * time.Second })
			for _, way := range []apitest.Transport{apitest.GRPC, apitest.REST} {
				room := "class-" + string(way)
				out := l.start(t, s, way, room, "")
				if (out.Code == codes.OK) != (tc.code == codes.OK) {
					t.Fatalf("%+v", out)
				}
				if out.Code == codes.OK {
					if state := l.stop(t, s, way, room); state != "RECORDING_STATE_FAILED" {
						t.Errorf("it is %s", state)
					}
				}
			}
			s.Stop()
			l.check(t)
		})
	}
}

// A request over REST has one line, whoever refuses it.
func TestLog_LinesOfRefusals(t *testing.T) {
	t.Parallel()
	l := newLogged()
	s := apitest.New(t, l.use)
	for _, tc := range []struct{ method, path, body, msg, reason string }{
		{http.MethodPost, "/v1/rooms/42/recordings", `{"nickname":`, "request refused", "INVALID_REQUEST"},
		{http.MethodGet, "/v1/rooms/42", "", "request refused", "ROUTE_NOT_FOUND"},
		{http.MethodGet, "/v1/rooms/42/recordings?room=1&page=2", "", "request refused", "INVALID_FIELD"},
		{http.MethodPost, "/v1/rooms/42/recordings", `{"maxDuration":"-1s"}`, "call", "INVALID_FIELD"},
		{http.MethodGet, "/v1/rooms/42/recordings/7", "", "call", "RECORDING_NOT_FOUND"},
	} {
		before := len(l.String())
		out := s.Do(t, tc.method, tc.path, tc.body)
		var lines []string
		for text := range strings.Lines(l.String()[before:]) {
			if strings.Contains(text, `"code":`) {
				lines = append(lines, text)
			}
		}
		if out.Code == codes.OK || len(lines) != 1 || !strings.Contains(lines[0], `"msg":"`+tc.msg+`"`) || !strings.Contains(lines[0], `"reason":"`+tc.reason+`"`) {
			t.Errorf("%s %s: %+v, and the lines %q", tc.method, tc.path, out, lines)
		}
	}
}

// Calls whose message is not there to be read have their line too.
func TestLog_LinesWithoutMessage(t *testing.T) {
	t.Parallel()
	l := newLogged()
	s := apitest.New(t, l.use)
	for name, tc := range map[string]struct {
		say  func(grpc.ClientStream) error
		code codes.Code
	}{
		"none comes": {func(grpc.ClientStream) error { return nil }, codes.Internal},
		"a large one": {func(c grpc.ClientStream) error {
			return c.SendMsg(&classrecv1.StartRecordingRequest{Room: strings.Repeat("x", 2<<20)})
		}, codes.ResourceExhausted},
		"no message": {func(c grpc.ClientStream) error { return c.SendMsg(wrapperspb.Bytes([]byte{0xff})) }, codes.Internal},
	} {
		for method, desc := range map[string]*grpc.StreamDesc{
			classrecv1.RecordingService_StartRecording_FullMethodName:  {ClientStreams: true},
			classrecv1.RecordingService_WatchClassBegin_FullMethodName: {ClientStreams: true, ServerStreams: true},
		} {
			before := len(l.String())
			call, err := s.Conn().NewStream(apitest.Context(t), desc, method)
			if err != nil {
				t.Fatal(err)
			}
			_ = tc.say(call) // it may be over already
			_ = call.CloseSend()
			err = call.RecvMsg(new(classrecv1.StartRecordingResponse))
			line := func() string { return l.String()[before:] }
			roomservertest.Poll(t, "the line of "+name, func() bool { return strings.Contains(line(), `"msg":"call"`) })
			if status.Code(err) != tc.code || strings.Count(line(), `"msg":"call"`) != 1 || !strings.Contains(line(), `"code":"`+tc.code.String()+`"`) || !strings.Contains(line(), `"level":"INFO"`) || strings.Contains(line(), strings.Repeat("x", 300)) {
				t.Errorf("%s, %s: %v, and\n%s", name, method, err, line())
			}
		}
	}
}
