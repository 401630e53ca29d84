// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"strings"
	"testing"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// evict has somebody put a user out of the room, for a reason of the wire; 0
// gives none.
func evict(t *testing.T, by *roomservertest.Peer, user string, reason int) {
	t.Helper()
	payload := map[string]any{"id": user}
	if reason != 0 {
		payload["reason"] = reason
	}
	by.Call(t, talkcloud.EventEvictParticipant, payload)
}

// joined waits for somebody else to enter the room, and returns who it is.
func joined(t *testing.T, seenBy *roomservertest.Peer) string {
	t.Helper()
	_, rest, ok := strings.Cut(string(seenBy.Wait(t, talkcloud.EventParticipantJoined).Args[0]), `"id":"`)
	id, _, found := strings.Cut(rest, `"`)
	if !ok || !found {
		t.Fatal("somebody without an id came")
	}
	return id
}

// Whoever puts our user out does not end the class: the recording goes on, as
// somebody else, and stopping it ends the class in the room.
func TestEvicted_TheClassGoesOn(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		reason int
		usurp  bool
	}{
		{"put out by somebody", 0, false},
		{"put out for a reason that nobody knows", 7, false},
		{"somebody else joins as the same user", 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, platform := newService(t)
			teacher := platform.Join(t, "42", "teacher")
			r := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42", UserId: "recorder"})
			joined(t, teacher)
			if tc.usurp {
				platform.Join(t, "42", "recorder")
				joined(t, teacher)
			} else {
				evict(t, teacher, "recorder", tc.reason)
			}
			if guest := joined(t, teacher); guest == "recorder" {
				t.Error("it came back as who was put out")
			}
			r, err := s.Get(testContext(t), r.GetName())
			if err != nil || r.GetState() != isRecording {
				t.Fatalf("after the eviction: %v, %v", r, err)
			}
			r = mustStop(t, s, &classrecv1.StopRecordingRequest{Name: r.GetName()})
			if r.GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED {
				t.Errorf("ended as %v", r.GetEndReason())
			}
			teacher.Message(t, talkcloud.EventDelMsg, talkcloud.MessageClassBegin)
			waitState(t, s, r.GetName(), available)
			// The next one is begun as who was asked for.
			if r = mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42", UserId: "recorder"}); r.GetUserId() != "recorder" {
				t.Errorf("begun as %s", r.GetUserId())
			}
		})
	}
}

// Where the room is over, or nobody of ours is wanted, the recording ends.
func TestEvicted_TheRecordingEnds(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		reason int
		twice  bool
	}{
		{"the room is over", talkcloud.EvictedRoomOver, false},
		{"the room is disabled", talkcloud.EvictedRoomDisabled, false},
		{"the guest is put out too", 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, platform := newService(t)
			teacher := platform.Join(t, "42", "teacher")
			r := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42", UserId: "recorder"})
			joined(t, teacher)
			evict(t, teacher, "recorder", tc.reason)
			if tc.twice {
				evict(t, teacher, joined(t, teacher), tc.reason)
			}
			r = waitState(t, s, r.GetName(), processing)
			if r.GetEndReason() != classrecv1.EndReason_END_REASON_ROOM_CLOSED {
				t.Errorf("ended as %v", r.GetEndReason())
			}
		})
	}
}
