// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

const (
	stateRecording  = classrecv1.RecordingState_RECORDING_STATE_RECORDING
	stateProcessing = classrecv1.RecordingState_RECORDING_STATE_PROCESSING
	stateAvailable  = classrecv1.RecordingState_RECORDING_STATE_AVAILABLE
)

// atOnce makes the same call from many callers at the same time, over both
// ways, and returns the outcomes.
func atOnce(t *testing.T, s *apitest.Server, callers int, call apitest.Call) []apitest.Outcome {
	t.Helper()
	ctx := apitest.Context(t)
	outcomes := make([]apitest.Outcome, callers)
	errs := make([]error, callers)
	begin := make(chan struct{})
	var all sync.WaitGroup
	for i := range callers {
		way := apitest.GRPC
		if i%10 == 9 {
			way = apitest.REST
		}
		all.Go(func() {
			<-begin
			outcomes[i], errs[i] = s.TryCall(ctx, way, call)
		})
	}
	close(begin)
	all.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return outcomes
}

// One request_id starts one recording, however often and however much at once
// it comes, and after a restart too.
func TestStart_SameRequestIDAThousandTimes(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	student := s.Join(t, "room", "student")
	call := apitest.Call{Name: apitest.Start, Request: `{"room":"room","request_id":"r-1","format":"RECORDING_FORMAT_WEBM"}`}
	var name string
	for i, out := range atOnce(t, s, 1000, call) {
		if out.Code != codes.OK {
			t.Fatalf("start %d: %+v", i, out)
		}
		rec := out.Recording(t)
		if i == 0 {
			name = rec.GetName()
		}
		if rec.GetName() != name || rec.GetState() != stateRecording {
			t.Fatalf("start %d: %v, want %s", i, rec, name)
		}
	}
	student.Sync(t)
	if n := student.Count(talkcloud.Published); n != 1 {
		t.Errorf("the room saw %d ClassBegin", n)
	}

	s.Restart()
	for i, out := range atOnce(t, s, 100, call) {
		if out.Code != codes.OK || out.Recording(t).GetName() != name {
			t.Fatalf("start %d after the restart: %+v, want %s", i, out, name)
		}
	}
	for _, way := range []apitest.Transport{apitest.GRPC, apitest.REST} {
		out := s.Call(t, way, apitest.Call{Name: apitest.Start, Request: `{"room":"room","request_id":"r-1"}`})
		if out.Code != codes.AlreadyExists || out.Reason != "REQUEST_ID_REUSED" || out.Metadata["recording"] != name {
			t.Errorf("%s: another payload: %+v", way, out)
		}
	}
	s.Must(t, apitest.Call{Name: apitest.Stop, Request: `{"name":"` + name + `"}`})
	// The same request goes on to give the same recording, now that it is over.
	if rec := s.Must(t, call); rec.GetName() != name || rec.GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED {
		t.Errorf("after the stop: %v", rec)
	}
	list := s.Call(t, apitest.GRPC, apitest.Call{Name: apitest.List, Request: `{"room":"room"}`})
	for _, difference := range subset(t, `{"recordings":[{"name":"`+name+`"}]}`, list.Response) {
		t.Error(difference)
	}
}

// Different requests at once: one wins, the others are told who.
func TestStart_ManyAtOnce(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	student := s.Join(t, "room", "student")
	var won, name string
	for _, out := range atOnce(t, s, 50, apitest.Call{Name: apitest.Start, Request: `{"room":"room"}`}) {
		switch {
		case out.Code == codes.OK:
			won += out.Recording(t).GetName()
		case out.Reason == "CLASS_ALREADY_BEGUN":
			if name != "" && out.Metadata["recording"] != name {
				t.Errorf("told of %s and of %s", name, out.Metadata["recording"])
			}
			name = out.Metadata["recording"]
		default:
			t.Fatalf("%+v", out)
		}
	}
	if won == "" || won != name {
		t.Errorf("won: %q, others were told %q", won, name)
	}
	student.Sync(t)
	if n := student.Count(talkcloud.Published); n != 1 {
		t.Errorf("the room saw %d ClassBegin", n)
	}
}

// Fifty who stop at once, by name and by room, get the same end; the class is
// deleted once.
func TestStop_ManyAtOnce(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	for _, by := range []string{`"name":"{name}"`, `"room":"{room}"`} {
		room := "room-by" + by[1:5]
		student := s.Join(t, room, "student")
		rec := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"` + room + `"}`})
		request := fill("{"+by+"}", map[string]string{"name": rec.GetName(), "room": room})
		var stop *classrecv1.Recording
		for i, out := range atOnce(t, s, 50, apitest.Call{Name: apitest.Stop, Request: request}) {
			if out.Code != codes.OK {
				t.Fatalf("stop %d: %+v", i, out)
			}
			got := out.Recording(t)
			if stop == nil {
				stop = got
			}
			if got.GetName() != rec.GetName() || got.GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED ||
				!got.GetStopTime().AsTime().Equal(stop.GetStopTime().AsTime()) || got.GetState() < stateProcessing {
				t.Errorf("stop %d: %v", i, got)
			}
		}
		student.Sync(t)
		if n := student.Count(talkcloud.Deleted); n != 1 {
			t.Errorf("the room saw %d deletes", n)
		}
	}
}

// Starts and stops of one room, all at once, end in a room without a class and
// with no recording but ended ones.
func TestStartStop_AtOnce(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	var all sync.WaitGroup
	ctx := apitest.Context(t)
	for i := range 40 {
		call := apitest.Call{Name: []string{apitest.Start, apitest.Stop}[i%2], Request: `{"room":"room"}`}
		all.Go(func() {
			out, err := s.TryCall(ctx, apitest.GRPC, call)
			switch {
			case err != nil:
				t.Error(err)
			case out.Code == codes.OK, out.Reason == "CLASS_ALREADY_BEGUN", out.Reason == "NO_CLASS":
			default:
				t.Errorf("%s: %+v", call.Name, out)
			}
		})
	}
	all.Wait()
	last := s.Must(t, apitest.Call{Name: apitest.Stop, Request: `{"room":"room"}`})
	if last.GetState() < stateProcessing {
		t.Errorf("the last one: %v", last)
	}
	list := s.Call(t, apitest.GRPC, apitest.Call{Name: apitest.List, Request: `{"room":"room"}`})
	res := listOf(t, list)
	seen := map[string]bool{}
	for _, rec := range res.GetRecordings() {
		if rec.GetState() < stateProcessing || seen[rec.GetName()] {
			t.Errorf("listed: %v", rec)
		}
		seen[rec.GetName()] = true
	}
	if student := s.Join(t, "room", "student"); len(student.Saved()) > 0 {
		t.Errorf("the room has %v", student.Saved())
	}
}

// Whoever ends a class in the room ends the recording here.
func TestEndedInTheRoom(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	for _, tc := range []struct {
		name   string
		delete talkcloud.Message
	}{
		{"delete", talkcloud.ClassEnd()},
		{"all", talkcloud.Message{Name: talkcloud.MessageAllAll, ID: talkcloud.MessageAllAll, To: talkcloud.ToNone}},
	} {
		room := "room-" + tc.name
		teacher := s.Join(t, room, "teacher")
		rec := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"` + room + `"}`})
		teacher.Delete(t, tc.delete)
		rec = awaitState(t, s, rec.GetName(), stateAvailable)
		if rec.GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED_IN_ROOM || rec.GetStopTime() == nil {
			t.Errorf("%s: %v", tc.name, rec)
		}
		stop := s.Must(t, apitest.Call{Name: apitest.Stop, Request: `{"room":"` + room + `"}`})
		if stop.GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED_IN_ROOM {
			t.Errorf("%s: a stop afterwards made it %v", tc.name, stop)
		}
	}
}

// The longest that a class may last is kept by the service itself.
func TestMaxDuration(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	teacher := s.Join(t, "room", "teacher")
	rec := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"room","max_duration":"1s"}`})
	began := time.Now()
	teacher.Nth(t, talkcloud.Deleted, 0)
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("ended after %v", took)
	}
	rec = awaitState(t, s, rec.GetName(), stateAvailable)
	if rec.GetEndReason() != classrecv1.EndReason_END_REASON_MAX_DURATION {
		t.Errorf("ended as %v", rec)
	}
	// It takes the place of no other: the next class has its own.
	if next := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"room"}`}); next.GetMaxDuration() != nil || next.GetName() == rec.GetName() {
		t.Errorf("the next is %v", next)
	}
}

// A page of a list stays where it is while classes begin.
func TestList_Pages(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	var want []string
	for i := range 7 {
		rec := s.Must(t, apitest.Call{Name: apitest.Start, Request: fmt.Sprintf(`{"room":"room-%d","user_id":"me"}`, i)})
		want = append([]string{rec.GetName()}, want...)
	}
	for _, way := range []apitest.Transport{apitest.GRPC, apitest.REST} {
		got := map[string]bool{}
		var token string
		for pages := 0; ; pages++ {
			out := s.Call(t, way, apitest.Call{Name: apitest.List, Request: `{"user_id":"me","page_size":3,"page_token":"` + token + `"}`})
			res := listOf(t, out)
			for _, rec := range res.GetRecordings() {
				if got[rec.GetName()] {
					t.Errorf("%s: %s came twice", way, rec.GetName())
				}
				got[rec.GetName()] = true
			}
			if token = res.GetNextPageToken(); token == "" {
				break
			}
			// The token is of this list, and of no other.
			out = s.Call(t, way, apitest.Call{Name: apitest.List, Request: `{"user_id":"you","page_size":3,"page_token":"` + token + `"}`})
			if out.Code != codes.InvalidArgument || out.Reason != "INVALID_PAGE_TOKEN" {
				t.Errorf("%s: the token for another list: %+v", way, out)
			}
			s.Must(t, apitest.Call{Name: apitest.Start, Request: fmt.Sprintf(`{"room":"later-%s-%d","user_id":"me"}`, way, pages)})
		}
		for _, name := range want {
			if !got[name] {
				t.Errorf("%s: %s was not listed", way, name)
			}
		}
	}
}

func listOf(t *testing.T, out apitest.Outcome) *classrecv1.ListRecordingsResponse {
	t.Helper()
	res := new(classrecv1.ListRecordingsResponse)
	if err := protojson.Unmarshal([]byte(out.Response), res); err != nil {
		t.Fatalf("%+v: %v", out, err)
	}
	return res
}
