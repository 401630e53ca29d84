// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"context"
	"testing"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// next is a ClassBegin as the platform stamps it after the one before.
func next(m talkcloud.Message) talkcloud.Message {
	m.TS, m.Seq = m.TS+1, m.Seq+1
	return m
}

// A class that ends while we are away, and another one that begins: they are two
// recordings, with all of their events. What we had published again ourselves,
// and what has not changed, goes on as one.
func TestAway_AnotherClass(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		teacher bool // has begun the first class
		now     func(first talkcloud.Message) talkcloud.Message
		another bool
	}{
		{"after one of the API", false, func(m talkcloud.Message) talkcloud.Message {
			m.FromID = "teacher"
			return next(m)
		}, true},
		{"after one of the teacher", true, next, true},
		{"ours, published again", false, next, false},
		{"the same", true, func(m talkcloud.Message) talkcloud.Message { return m }, false},
		{"without a time", true, func(m talkcloud.Message) talkcloud.Message {
			m = next(m)
			m.TS = 0
			return m
		}, false},
	} {
		for _, away := range []string{"connection lost", "restarted"} {
			t.Run(tc.name+", "+away, func(t *testing.T) {
				t.Parallel()
				platform := talkcloudtest.NewPlain(t)
				client, st := platform.NewClient(t, nil), storetest.New(t)
				s := newLife(t, st, client, config())
				watch := follow(t, s, &classrecv1.WatchClassBeginRequest{Room: "42"})
				nextSynced(t, watch)
				if tc.teacher {
					m := talkcloud.ClassBegin{HasRecordType: true, RecordType: 1}.Message()
					m.FromID = "teacher"
					platform.Publish("42", m)
				} else {
					mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42", UserId: "recorder"})
				}
				begun := nextEvent(t, watch)
				first := begun.GetRecording()
				now := tc.now(platform.Saved("42")[0])
				later := int64(now.TS)
				platform.Publish("another room", talkcloud.ClassBegin{}.Message()) // takes the number that now has

				if away == "restarted" {
					s.stop()
					platform.Save("42", now)
					s = newLife(t, st, client, config())
				} else {
					joins := len(platform.Joins())
					platform.Save("42", now)
					platform.Drop("42")
					roomservertest.Poll(t, "it to be back", func() bool { return len(platform.Joins()) > joins })
				}
				watch = follow(t, s, &classrecv1.WatchClassBeginRequest{Room: "42", AfterSequence: begun.GetSequence()})
				if !tc.another {
					r := waitState(t, s, first.GetName(), classrecv1.RecordingState_RECORDING_STATE_RECORDING)
					if r.GetRecordTime().GetSeconds() != first.GetRecordTime().GetSeconds() {
						t.Errorf("it is %v now", r)
					}
					mustStop(t, s, &classrecv1.StopRecordingRequest{Room: "42"})
					if r, err := s.Get(testContext(t), first.GetName()); err != nil || r.GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED {
						t.Errorf("stopped, it is %v, %v", r, err)
					}
					return
				}
				var events []*classrecv1.ClassBeginEvent
				for len(events) < 2 {
					switch ev := watch().GetEvent(); {
					case ev != nil:
						events = append(events, ev)
					case away == "restarted": // then what is in the room is known first
						t.Fatalf("synced after %v", events)
					}
				}
				remove, add := events[0], events[1]
				ended, second := remove.GetRecording(), add.GetRecording()
				if remove.GetAction() != classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_REMOVE || ended.GetName() != first.GetName() ||
					ended.GetEndReason() != classrecv1.EndReason_END_REASON_ENDED_WHILE_AWAY || ended.GetStopTime().GetSeconds() > later {
					t.Errorf("first comes %v", remove)
				}
				if add.GetAction() != actionAdd || !add.GetInList() || second.GetName() == first.GetName() ||
					second.GetOrigin() != classrecv1.RecordingOrigin_RECORDING_ORIGIN_ROOM || second.GetRecordTime().GetSeconds() != later {
					t.Errorf("then comes %v", add)
				}
				waitState(t, s, second.GetName(), classrecv1.RecordingState_RECORDING_STATE_RECORDING)
			})
		}
	}
}

// A stop that was asked for while we were away ends the class that it was meant
// for, and no other that has begun since.
func TestAway_AnotherClassWhileStopping(t *testing.T) {
	t.Parallel()
	platform := talkcloudtest.NewPlain(t)
	client, st := platform.NewClient(t, nil), storetest.New(t)
	s := newLife(t, st, client, config())
	first := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42"})
	platform.Script(talkcloudtest.Script{Silent: func(event string) bool { return event == talkcloud.EventDelMsg }})
	ctx, cancel := context.WithCancel(testContext(t))
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		_, _ = s.Stop(ctx, &classrecv1.StopRecordingRequest{Name: first.GetName()})
	}()
	waitState(t, s, first.GetName(), classrecv1.RecordingState_RECORDING_STATE_STOPPING)
	s.stop()
	cancel()
	<-asked
	platform.Script(talkcloudtest.Script{})
	now := next(platform.Saved("42")[0])
	now.FromID = "teacher"
	platform.Save("42", now)

	s = newLife(t, st, client, config())
	watch := follow(t, s, &classrecv1.WatchClassBeginRequest{Room: "42"})
	if on := nextEvent(t, watch); on.GetRecording().GetName() == first.GetName() {
		t.Errorf("on is %v", on)
	}
	if len(platform.Saved("42")) != 1 {
		t.Error("the class of somebody else has been ended")
	}
	r, err := s.Get(testContext(t), first.GetName())
	if err != nil || r.GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED {
		t.Errorf("the first one is %v, %v", r, err)
	}
}
