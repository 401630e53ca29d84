// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

const (
	add    = classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD
	remove = classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_REMOVE
)

func watchWays() []apitest.Transport {
	return []apitest.Transport{apitest.GRPC, apitest.NDJSON, apitest.SSE}
}

// A watch of a room: the snapshot, synced, what happens, by whoever.
func TestWatch(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	for _, way := range watchWays() {
		t.Run(string(way), func(t *testing.T) {
			t.Parallel()
			room := "watch-" + string(way)
			teacher := s.Join(t, room, "teacher")
			first := teacher.Begin(t, talkcloud.ClassBegin{RecordType: 1, HasRecordType: true})

			w := s.Watch(t, way, room, 0)
			snapshot, synced := w.Synced(t)
			if len(snapshot) != 1 {
				t.Fatalf("snapshot is %v", snapshot)
			}
			ev := snapshot[0]
			if ev.GetAction() != add || !ev.GetInList() || ev.GetRoom() != room || ev.GetTime().GetSeconds() != first.TS.Unix() ||
				ev.GetFromUserId() != "teacher" || ev.GetData() != first.DataText() || ev.GetMessageId() != "ClassBegin" ||
				ev.GetSequence() == 0 || ev.GetSequence() > synced || ev.GetRecording().GetOrigin() != classrecv1.RecordingOrigin_RECORDING_ORIGIN_ROOM {
				t.Errorf("snapshot has %v, synced at %d", ev, synced)
			}

			ended := teacher.End(t)
			ev = w.Events(t, 1)[0]
			if ev.GetAction() != remove || ev.GetInList() || ev.GetTime().GetSeconds() != ended.TS.Unix() || ev.GetFromUserId() != "teacher" ||
				ev.GetRecording().GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED_IN_ROOM || ev.GetSequence() <= synced {
				t.Errorf("the end came as %v", ev)
			}

			rec := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"` + room + `"}`})
			s.Must(t, apitest.Call{Name: apitest.Stop, Request: `{"name":"` + rec.GetName() + `"}`})
			events := w.Events(t, 2)
			if events[0].GetAction() != add || events[0].GetInList() || events[0].GetRecording().GetName() != rec.GetName() || events[0].GetFromUserId() != rec.GetUserId() {
				t.Errorf("the start came as %v", events[0])
			}
			if events[1].GetAction() != remove || events[1].GetRecording().GetName() != rec.GetName() || events[1].GetSequence() <= events[0].GetSequence() {
				t.Errorf("the stop came as %v", events[1])
			}

			// A watch from the beginning has all of it, each once and in order.
			all := s.Watch(t, way, room, synced)
			again, _ := all.Synced(t)
			want := append([]*classrecv1.ClassBeginEvent{ev}, events...)
			if !slices.EqualFunc(again, want, func(a, b *classrecv1.ClassBeginEvent) bool { return proto.Equal(a, b) }) {
				t.Errorf("resumed from %d with %v, want %v", synced, again, want)
			}
		})
	}
}

// A watcher that comes and goes while classes begin and end in two rooms misses
// none and sees none twice, over every way, and sees what another sees that
// stays.
func TestWatch_Resume(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	const classes = 20
	staying := s.Watch(t, apitest.GRPC, "-", 0)
	_, after := staying.Synced(t)

	done := make(chan error, 2)
	for _, room := range []string{"a", "b"} {
		go func() {
			done <- func() error {
				for range classes {
					for _, call := range []string{apitest.Start, apitest.Stop} {
						out, err := s.TryCall(apitest.Context(t), apitest.GRPC, apitest.Call{Name: call, Request: `{"room":"` + room + `"}`})
						if err != nil || out.Code != 0 {
							return fmt.Errorf("%s: %w %+v", call, err, out)
						}
					}
				}
				return nil
			}()
		}()
	}
	want := staying.Events(t, 2*2*classes)
	var got []*classrecv1.ClassBeginEvent
	for i := 0; len(got) < len(want); i++ {
		w := s.Watch(t, watchWays()[i%3], "-", after)
		for range 1 + i%5 { // some of the first are before synced, some after
			if len(got) == len(want) {
				break
			}
			m := w.Next(t)
			if ev := m.GetEvent(); ev != nil {
				got = append(got, ev)
			}
			after = apitest.Sequence(m)
		}
		w.Close()
	}
	for i := range want {
		if !proto.Equal(got[i], want[i]) {
			t.Fatalf("event %d: got %v, want %v", i, got[i], want[i])
		}
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// Over a restart of the server the sequence goes on: what happened while it was
// down is told to who resumes.
func TestWatch_ResumeAfterRestart(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	w := s.Watch(t, apitest.SSE, "room", 0)
	_, after := w.Synced(t)
	rec := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"room"}`})
	begun := w.Events(t, 1)[0]
	s.Restart()
	for _, way := range watchWays() {
		w := s.Watch(t, way, "room", after)
		if ev := w.Events(t, 1)[0]; !proto.Equal(ev, begun) {
			t.Errorf("%s: resumed from %d with %v, want %v", way, after, ev, begun)
		}
	}
	// Its embedded room has lost its state, so the class is begun again.
	s.Must(t, apitest.Call{Name: apitest.Stop, Request: `{"name":"` + rec.GetName() + `"}`})
	w = s.Watch(t, apitest.SSE, "room", begun.GetSequence())
	for {
		ev := w.Events(t, 1)[0]
		if ev.GetRecording().GetName() != rec.GetName() {
			t.Fatalf("got %v of another recording", ev)
		}
		if ev.GetAction() == remove {
			break
		}
	}
}

// A silent watch is alive.
func TestWatch_Heartbeat(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	var watches []*apitest.Stream
	for _, way := range watchWays() {
		watches = append(watches, s.Watch(t, way, "-", 0))
	}
	for i, w := range watches {
		_, synced := w.Synced(t)
		beat := w.Next(t).GetHeartbeat()
		if beat == nil || beat.GetSequence() != synced || beat.GetTime() == nil {
			t.Errorf("%s: got %v, want a heartbeat with sequence %d", watchWays()[i], beat, synced)
		}
	}
}

// The service is in a room for as long as somebody watches it.
func TestWatch_Presence(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	one, two := s.Watch(t, apitest.GRPC, "room", 0), s.Watch(t, apitest.NDJSON, "room", 0)
	one.Synced(t)
	two.Synced(t)
	student := s.Join(t, "room", "student")
	others := student.Others()
	if len(others) != 1 {
		t.Fatalf("in the room are %v", others)
	}
	one.Close()
	two.Close()
	student.AwaitLeft(t, others[0])
}

// The end of the server ends the streams so that their callers come back.
func TestWatch_ServerStops(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	var watches []*apitest.Stream
	for _, way := range watchWays() {
		for _, room := range []string{"-", "room"} {
			w := s.Watch(t, way, room, 0)
			w.Synced(t)
			watches = append(watches, w)
		}
	}
	s.Stop()
	for _, w := range watches {
		if out := w.End(t); out.Code != 14 || out.Reason != "NOT_SERVING" || out.RetryAfter == 0 {
			t.Errorf("ended with %+v", out)
		}
	}
}
