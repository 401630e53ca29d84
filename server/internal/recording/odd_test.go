// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"encoding/json"
	"fmt"
	"testing"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/conformance"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// TestFollow_OddClasses watches rooms of the embedded platform in which classes are begun and ended in odd ways: each is one
// recording, which begins and ends for those who watch, and has the platform's warnings.
func TestFollow_OddClasses(t *testing.T) {
	t.Parallel()
	s, platform := newService(t)
	ends := conformance.Ends()
	for i, begin := range conformance.Begins() {
		end := ends[i%len(ends)]
		t.Run(begin.Name+", ended by "+end.Name, func(t *testing.T) {
			t.Parallel()
			room := fmt.Sprint("odd ", i)
			next := follow(t, s, &classrecv1.WatchClassBeginRequest{Room: room})
			nextSynced(t, next)
			teacher := platform.Join(t, talkcloud.RoomID(room), "teacher")
			if ack := teacher.Call(t, talkcloud.EventPubMsg, json.RawMessage(begin.Payload)); string(ack[0]) != "0" {
				t.Fatalf("refused: %s", ack)
			}
			ev := nextEvent(t, next)
			if ev.GetAction() != actionAdd || ev.GetFromUserId() != "teacher" {
				t.Fatalf("begins with %v", ev)
			}
			name := ev.GetRecording().GetName()
			waitState(t, s, name, isRecording)
			if ack := teacher.Call(t, talkcloud.EventDelMsg, json.RawMessage(end.Payload)); string(ack[0]) != "0" {
				t.Fatalf("the end was refused: %s", ack)
			}
			if ev := nextEvent(t, next); ev.GetAction() == actionAdd || ev.GetRecording().GetName() != name {
				t.Errorf("ends with %v", ev)
			}
			r := waitState(t, s, name, available)
			if (len(r.GetWarnings()) > 0) != begin.Odd {
				t.Errorf("warnings: %q", r.GetWarnings())
			}
		})
	}
}
