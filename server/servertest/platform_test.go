// SPDX-License-Identifier: Apache-2.0

package servertest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/servertest"
)

func req(room string) *classrecv1.StartRecordingRequest {
	return &classrecv1.StartRecordingRequest{Room: room}
}

// startOnce is one call, not repeated by the client.
func startOnce(t *testing.T, s *servertest.Server, room string) error {
	t.Helper()
	_, err := s.Client().StartRecording(t.Context(), req(room))
	return err
}

// Each wrong answer is the error that it is with TalkCloud, and nothing is wrong
// afterwards.
func TestPlatform_Answer(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	for _, tc := range []struct {
		name   string
		call   servertest.Call
		answer servertest.Answer
		code   codes.Code
		reason string
	}{
		{"no room", servertest.CheckRoom, servertest.Code(4007), codes.NotFound, "ROOM_NOT_FOUND"},
		{"wrong password", servertest.CheckRoom, servertest.Code(4008), codes.PermissionDenied, ""},
		{"not allowed", servertest.CheckRoom, servertest.Code(4108), codes.PermissionDenied, ""},
		{"license over", servertest.CheckRoom, servertest.Code(3001), codes.FailedPrecondition, ""},
		{"quota", servertest.CheckRoom, servertest.Code(4103), codes.ResourceExhausted, ""},
		{"web page", servertest.CheckRoom, servertest.HTML(), codes.Internal, ""},
		{"nonsense", servertest.CheckRoom, servertest.Body(`{"result":`), codes.Internal, ""},
		{"error 500", servertest.CheckRoom, servertest.Status(500), codes.Unavailable, ""},
		{"getconfig of 503", servertest.GetConfig, servertest.Status(503), codes.Unavailable, ""},
		{"getconfig of a web page", servertest.GetConfig, servertest.HTML(), codes.Internal, ""},
		{"join refused", servertest.JoinRoom, servertest.Code(3003), codes.NotFound, ""},
		{"join forbidden", servertest.JoinRoom, servertest.Code(4108), codes.PermissionDenied, ""},
		{"begin refused", servertest.PubMsg, servertest.Code(4108), codes.PermissionDenied, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			room := strings.ReplaceAll(tc.name, " ", "-")
			s.Platform().Answer(tc.call, tc.answer)
			err := startOnce(t, s, room)
			if d := client.Details(err); d.Code != tc.code || tc.reason != "" && d.Reason != tc.reason {
				t.Errorf("%v %s: %s; want %v %s", d.Code, d.Reason, d.Message, tc.code, tc.reason)
			}
			s.Platform().Usual(tc.call)
			if r := start(t, s, req(room)); r.GetState() != recording {
				t.Errorf("afterwards: %v", r)
			}
		})
	}
}

// What is never answered is given up when its time is over, not sooner.
func TestPlatform_NoAnswer(t *testing.T) {
	t.Parallel()
	for _, call := range []servertest.Call{servertest.CheckRoom, servertest.GetConfig, servertest.JoinRoom, servertest.PubMsg} {
		t.Run(string(call), func(t *testing.T) {
			t.Parallel()
			s := servertest.New(t)
			teacher := s.Room("42").Teacher("Ms Wang")
			s.Platform().Answer(call, servertest.NoAnswer())
			ended := make(chan error, 1)
			go func() { ended <- startOnce(t, s, "42") }()
			s.Platform().AwaitAsked(call, 1)
			s.Advance(time.Minute)
			if err := <-ended; client.Details(err).Code != codes.DeadlineExceeded {
				t.Errorf("start: %v", err)
			}
			s.Platform().Normal()
			for _, ev := range teacher.Seen() {
				if ev.Kind == servertest.ClassBegun {
					t.Error("a class has begun")
				}
			}
		})
	}
}

// A class that begins, and the service is not told: the start fails when its
// time is over, while the room has the class.
func TestPlatform_NoEcho(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	teacher := s.Room("42").Teacher("Ms Wang")
	s.Platform().Answer(servertest.PubMsg, servertest.NoEcho())
	ended := make(chan error, 1)
	go func() { ended <- startOnce(t, s, "42") }()
	teacher.Await(servertest.ClassBegun)
	s.Advance(time.Minute)
	if err := <-ended; client.Details(err).Code != codes.DeadlineExceeded {
		t.Errorf("start: %v", err)
	}
}

// An end that is not confirmed stays asked for, and comes about when the service
// sees the room again.
func TestPlatform_NoEchoOfEnd(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	teacher := s.Room("42").Teacher("Ms Wang")
	r := start(t, s, req("42"))
	s.Platform().Answer(servertest.DelMsg, servertest.NoEcho())
	ended := make(chan error, 1)
	go func() {
		_, err := s.Client().StopRecording(t.Context(), &classrecv1.StopRecordingRequest{Name: r.GetName()})
		ended <- err
	}()
	teacher.Await(servertest.ClassEnded)
	s.Await(r.GetName(), stopping)
	s.Advance(30 * time.Second)
	if err := <-ended; client.Details(err).Code != codes.DeadlineExceeded {
		t.Errorf("stop: %v", err)
	}
	if r, err := s.Client().Get(t.Context(), r.GetName()); err != nil || r.GetState() != stopping {
		t.Errorf("%v, %v", r, err)
	}
	s.Platform().Drop()
	if r := s.Await(r.GetName(), processing); r.GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED {
		t.Errorf("ended by %s", r.GetEndReason())
	}
}

// Slow is late, and not wrong; and it can end while something is on its way.
func TestPlatform_Slow(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	const late = 50 * time.Millisecond
	s.Platform().Slow(late)
	began := time.Now()
	r := start(t, s, req("42"))
	if took := time.Since(began); took < 5*late { // checkroom, getconfig, the upgrade, joinRoom, ClassBegin
		t.Errorf("a start took %v with answers late by %v", took, late)
	}
	s.Platform().Slow(time.Hour)
	ended := make(chan error, 1)
	go func() {
		_, err := s.Client().StopRecording(t.Context(), &classrecv1.StopRecordingRequest{Name: r.GetName()})
		ended <- err
	}()
	s.Await(r.GetName(), stopping)
	s.Platform().Slow(0)
	if err := <-ended; err != nil {
		t.Errorf("stop: %v", err)
	}
}

// The service's own connection goes, and it comes back: the class goes on, and
// what happened meanwhile is seen.
func TestPlatform_Drop(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	teacher := s.Room("42").Teacher("Ms Wang")
	r := start(t, s, &classrecv1.StartRecordingRequest{Room: "42", UserId: "recorder"})
	teacher.Await(servertest.Joined)
	s.Platform().Drop()
	for _, kind := range []servertest.Kind{servertest.Left, servertest.Joined} {
		teacher.AwaitFunc("the service has "+string(kind), func(ev servertest.Event) bool { return ev.Kind == kind && ev.From == "recorder" })
	}
	teacher.End()
	if r := s.Await(r.GetName(), processing); r.GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED_IN_ROOM || len(r.GetGaps()) > 0 {
		t.Errorf("%v", r)
	}
}

// Without a platform nothing starts; a class goes on in the room, and that it
// has ended meanwhile is found out.
func TestPlatform_Absent(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	teacher := s.Room("42").Teacher("Ms Wang")
	r := start(t, s, &classrecv1.StartRecordingRequest{Room: "42", UserId: "recorder"})
	s.Platform().Absent()
	teacher.Await(servertest.Left)
	if err := startOnce(t, s, "43"); client.Details(err).Code != codes.Unavailable {
		t.Errorf("start: %v", err)
	}
	teacher.End()
	if r, err := s.Client().Get(t.Context(), r.GetName()); err != nil || r.GetState() != recording {
		t.Errorf("while it is away: %v, %v", r, err)
	}
	s.Platform().Normal()
	if r := s.Await(r.GetName(), available); r.GetEndReason() != classrecv1.EndReason_END_REASON_ENDED_WHILE_AWAY {
		t.Errorf("ended by %s", r.GetEndReason())
	}
	start(t, s, req("43"))
}

// Files that are not listed, or not there, come when they do; or the recording
// fails when its time is over.
func TestPlatform_Files(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		call   servertest.Call
		answer servertest.Answer
		reason string
		listed bool
	}{
		{"not listed", servertest.RecordList, servertest.Code(4105), "FILES_NOT_LISTED", false},
		{"the key is wrong", servertest.RecordList, servertest.Code(4102), "FILES_NOT_LISTED", false},
		{"list of 500", servertest.RecordList, servertest.Status(500), "FILES_NOT_LISTED", false},
		{"files of 404", servertest.Files, servertest.Status(404), "FILES_NOT_FETCHABLE", true},
		{"files of 503", servertest.Files, servertest.Status(503), "FILES_NOT_FETCHABLE", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := servertest.New(t)
			s.Room("42").Teacher("Ms Wang").Publish(servertest.Pattern())
			s.Platform().Answer(tc.call, tc.answer)
			var names []string
			for range 2 {
				r := start(t, s, req("42"))
				media(t)
				names = append(names, stop(t, s, r.GetName()).GetName())
				if len(names) == 1 { // this one has its time
					s.Platform().AwaitAsked(tc.call, 1)
					s.Advance(3 * time.Hour)
					r := s.Await(names[0], failed)
					if reason := reasonOf(r); reason != tc.reason || tc.listed != (len(r.GetUrls()) > 0) {
						t.Errorf("%s, %d URLs: %s", reason, len(r.GetUrls()), r.GetFailure().GetMessage())
					}
					if tc.listed {
						if status, _ := fetch(t, r.GetUrls()[0]); status == http.StatusOK {
							t.Error("the file can be fetched")
						}
					}
				}
			}
			if r, err := s.Client().Get(t.Context(), names[1]); err != nil || r.GetState() != processing {
				t.Errorf("%v, %v", r, err)
			}
			s.Platform().Normal()
			r := s.Await(names[1], available)
			if len(r.GetUrls()) == 0 {
				t.Error("there are no files")
			}
			for _, url := range r.GetUrls() {
				if status, _ := fetch(t, url); status != http.StatusOK {
					t.Errorf("status %d", status)
				}
			}
		})
	}
}

func reasonOf(r *classrecv1.Recording) string {
	for _, detail := range r.GetFailure().GetDetails() {
		if m, err := detail.UnmarshalNew(); err == nil {
			if info, ok := m.(interface{ GetReason() string }); ok {
				return info.GetReason()
			}
		}
	}
	return ""
}

// Time that is moved on is that of the service and of its platform.
func TestServer_Advance(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	before := s.Now()
	r := start(t, s, &classrecv1.StartRecordingRequest{Room: "42", MaxDuration: durationpb.New(time.Hour)})
	s.Advance(59 * time.Minute)
	if moved := s.Now().Sub(before); moved < 59*time.Minute || moved > 60*time.Minute {
		t.Errorf("%v have passed", moved)
	}
	if r, err := s.Client().Get(t.Context(), r.GetName()); err != nil || r.GetState() != recording {
		t.Fatalf("too early: %v, %v", r, err)
	}
	s.Advance(time.Minute)
	r = s.Await(r.GetName(), available)
	length := r.GetStopTime().AsTime().Sub(r.GetRecordTime().AsTime())
	if r.GetEndReason() != classrecv1.EndReason_END_REASON_MAX_DURATION || length < time.Hour || length > time.Hour+time.Minute {
		t.Errorf("ended after %v by %s", length, r.GetEndReason())
	}
	// The next class is of the platform's present.
	next := start(t, s, req("42"))
	if at := next.GetRecordTime().AsTime(); at.Before(r.GetStopTime().AsTime()) || s.Now().Sub(at) > time.Minute {
		t.Errorf("begun at %v; it is %v", at, s.Now())
	}
	if created := next.GetCreateTime().AsTime(); s.Now().Sub(created) > time.Minute {
		t.Errorf("created at %v; it is %v", created, s.Now())
	}
	// Media and chat are of the real time.
	s.Room("42").Teacher("Ms Wang").Publish(servertest.Pattern())
	media(t)
	s.Advance(time.Hour)
	stop(t, s, next.GetName())
	for _, f := range s.Await(next.GetName(), available).GetFiles() {
		if d := f.GetDuration().AsDuration(); d > time.Minute {
			t.Errorf("a file lasts %v", d)
		}
	}
}

// A stop that was asked for while the platform is away is over at last.
func TestServer_AdvanceStopping(t *testing.T) {
	t.Parallel()
	s := servertest.New(t)
	r := start(t, s, req("42"))
	s.Platform().Absent()
	ended := make(chan error, 1)
	go func() {
		_, err := s.Client().StopRecording(t.Context(), &classrecv1.StopRecordingRequest{Name: r.GetName()})
		ended <- err
	}()
	s.Await(r.GetName(), stopping)
	s.Advance(time.Minute)
	if err := <-ended; client.Details(err).Code != codes.Unavailable {
		t.Errorf("stop: %v", err)
	}
	s.Advance(15 * time.Minute)
	if r := s.Await(r.GetName(), processing); r.GetEndReason() != classrecv1.EndReason_END_REASON_STOP_NOT_CONFIRMED {
		t.Errorf("ended by %s", r.GetEndReason())
	}
}
