// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/webhook"
)

// What a change is told by.
func TestTypesOf(t *testing.T) {
	t.Parallel()
	add := &classrecv1.ClassBeginEvent{Action: classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD}
	remove := &classrecv1.ClassBeginEvent{Action: classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_REMOVE}
	const (
		starting   = classrecv1.RecordingState_RECORDING_STATE_STARTING
		recording  = classrecv1.RecordingState_RECORDING_STATE_RECORDING
		stopping   = classrecv1.RecordingState_RECORDING_STATE_STOPPING
		processing = classrecv1.RecordingState_RECORDING_STATE_PROCESSING
		available  = classrecv1.RecordingState_RECORDING_STATE_AVAILABLE
		failedSt   = classrecv1.RecordingState_RECORDING_STATE_FAILED
	)
	for _, tc := range []struct {
		name  string
		state classrecv1.RecordingState
		event *classrecv1.ClassBeginEvent
		added uint64
		want  []string
	}{
		{"asked for", starting, nil, 0, nil},
		{"begun", recording, add, 0, []string{webhook.ClassBegin, webhook.RecordingStarted}},
		{"begun again", recording, add, 7, []string{webhook.ClassBegin}},
		{"changed", recording, nil, 7, nil},
		{"stop asked for", stopping, nil, 7, nil},
		{"over", processing, remove, 7, []string{webhook.ClassEnd, webhook.RecordingStopped}},
		{"files", available, nil, 7, []string{webhook.RecordingAvailable}},
		{"no files", failedSt, nil, 7, []string{webhook.RecordingFailed}},
		{"not begun", failedSt, nil, 0, []string{webhook.RecordingFailed}},
	} {
		got := webhook.TypesOf(&storev1.Record{Event: tc.event, AddSequence: tc.added, Recording: &classrecv1.Recording{State: tc.state}})
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
	}
}

// The body is what docs/webhooks.md says.
func TestPayload(t *testing.T) {
	t.Parallel()
	at := func(s int64) *timestamppb.Timestamp { return &timestamppb.Timestamp{Seconds: s} }
	rec := &storev1.Record{
		Id: "id",
		Recording: &classrecv1.Recording{
			Name: "rooms/42/recordings/1700000000", Room: "42", State: classrecv1.RecordingState_RECORDING_STATE_RECORDING,
			UpdateTime: at(1700000009),
		},
		Event: &classrecv1.ClassBeginEvent{
			Action: classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD, Room: "42", MessageId: "ClassBegin", Time: at(1700000000),
		},
	}
	body := func(typ string) map[string]any {
		t.Helper()
		text, err := webhook.Payload(&store.Entry{Record: rec, Revision: 16}, typ)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	data := func(got map[string]any) map[string]any { return got["data"].(map[string]any) }

	got := body(webhook.ClassBegin)
	if got["type"] != "class.begin" || got["timestamp"] != "2023-11-14T22:13:20Z" || data(got)["sequence"] != "17" {
		t.Errorf("%v", got)
	}
	if name := data(got)["recording"].(map[string]any)["name"]; name != "rooms/42/recordings/1700000000" {
		t.Errorf("recording %v", name)
	}
	event := data(got)["event"].(map[string]any)
	if event["sequence"] != "17" || event["action"] != "CLASS_BEGIN_ACTION_ADD" || event["recording"] != nil || event["messageId"] != "ClassBegin" {
		t.Errorf("%v", event)
	}
	if got := body(webhook.RecordingStarted); data(got)["event"] != nil || got["timestamp"] != "2023-11-14T22:13:20Z" {
		t.Errorf("%v", got)
	}
	rec.Event = nil
	rec.Recording.State = classrecv1.RecordingState_RECORDING_STATE_FAILED
	rec.Recording.Failure = &statuspb.Status{Code: 4, Message: "why", Details: []*anypb.Any{{TypeUrl: "type.googleapis.com/no.such.Type"}}}
	got = body(webhook.RecordingFailed)
	if got["timestamp"] != time.Unix(1700000009, 0).UTC().Format(time.RFC3339) {
		t.Errorf("%v", got)
	}
	if failure := data(got)["recording"].(map[string]any)["failure"].(map[string]any); failure["message"] != "why" {
		t.Errorf("%v", failure)
	}
	if len(rec.GetRecording().GetFailure().GetDetails()) != 1 {
		t.Error("the log's own record was changed")
	}
}
