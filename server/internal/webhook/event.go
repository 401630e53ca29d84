// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/store"
)

// The types of events.
const (
	// ClassBegin: ClassBegin was published in the room; again within one
	// recording when the room had lost it.
	ClassBegin = "class.begin"
	// RecordingStarted: the recording began.
	RecordingStarted = "recording.started"
	// ClassEnd: ClassBegin was deleted, or is gone.
	ClassEnd = "class.end"
	// RecordingStopped: the recording is over; its files are being made.
	RecordingStopped = "recording.stopped"
	// RecordingAvailable: the files can be fetched.
	RecordingAvailable = "recording.available"
	// RecordingFailed: there will be no files; or the start failed, and then
	// nothing else is told of the recording.
	RecordingFailed = "recording.failed"
)

// Types are all types of events. Those of one change are in this order.
func Types() []string {
	return []string{ClassBegin, RecordingStarted, ClassEnd, RecordingStopped, RecordingAvailable, RecordingFailed}
}

// typesOf returns the types of the events that a change is, in order; mostly
// none.
func typesOf(rec *storev1.Record) []string {
	var types []string
	switch rec.GetEvent().GetAction() {
	case classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD:
		types = append(types, ClassBegin)
		if rec.GetAddSequence() == 0 {
			types = append(types, RecordingStarted)
		}
	case classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_REMOVE:
		types = append(types, ClassEnd, RecordingStopped)
	default:
	}
	switch rec.GetRecording().GetState() {
	case classrecv1.RecordingState_RECORDING_STATE_AVAILABLE:
		types = append(types, RecordingAvailable)
	case classrecv1.RecordingState_RECORDING_STATE_FAILED:
		types = append(types, RecordingFailed)
	default:
	}
	return types
}

// idOf is the webhook-id of an event: the same wherever and whenever it is made
// of the log. It has no full stop, because signatures are over parts that are
// separated by one.
func idOf(revision uint64, typ string) string {
	return "evt_" + strconv.FormatUint(store.SequenceOf(revision), 10) + "_" + strings.ReplaceAll(typ, ".", "_")
}

// newRecord is a delivery that was not tried yet.
func newRecord(e *endpoint, entry *store.Entry, typ string) *storev1.WebhookDeliveryRecord {
	id := idOf(entry.Revision, typ)
	r := entry.Record.GetRecording()
	return &storev1.WebhookDeliveryRecord{
		Tenant: e.Tenant, Endpoint: e.Name, Id: id, Revision: entry.Revision, RecordingId: entry.Record.GetId(),
		RequestId: entry.Record.GetRequestId(),
		Delivery: &adminv1.WebhookDelivery{
			Name:      deliveryName(e.Name, id),
			Type:      typ,
			Sequence:  store.SequenceOf(entry.Revision),
			Recording: r.GetName(),
			Room:      r.GetRoom(),
			State:     adminv1.WebhookDeliveryState_WEBHOOK_DELIVERY_STATE_PENDING,
			EventTime: r.GetUpdateTime(),
		},
	}
}

// payload makes the body of an event: proto3 JSON as the API has it, compact,
// and the same for every attempt of one program, but for what handOut does.
func payload(entry *store.Entry, typ string, handOut func(string, *classrecv1.Recording) *classrecv1.Recording) ([]byte, error) {
	data := &classrecv1.WebhookEventData{
		Sequence:  store.SequenceOf(entry.Revision),
		Recording: handOut(entry.Record.GetTenant(), entry.Record.GetRecording()),
	}
	at := entry.Record.GetRecording().GetUpdateTime()
	if ev := entry.Record.GetEvent(); ev != nil && typ != RecordingAvailable && typ != RecordingFailed {
		at = ev.GetTime()
		if typ == ClassBegin || typ == ClassEnd {
			data.Event = proto.CloneOf(ev)
			data.Event.Sequence = data.Sequence
		}
	}
	return encode(&classrecv1.WebhookEvent{Type: typ, Timestamp: at, Data: data})
}

func encode(ev *classrecv1.WebhookEvent) ([]byte, error) {
	options := protojson.MarshalOptions{EmitDefaultValues: true}
	text, err := options.Marshal(ev)
	if err != nil && len(ev.GetData().GetRecording().GetFailure().GetDetails()) > 0 {
		// A detail of a type that this program does not know, from another
		// version's log: the failure still says what it says.
		ev = proto.CloneOf(ev)
		ev.Data.Recording.Failure.Details = nil
		text, err = options.Marshal(ev)
	}
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", ev.GetType(), err)
	}
	var b bytes.Buffer // protojson puts spaces in at random
	if err := json.Compact(&b, text); err != nil {
		return nil, fmt.Errorf("encode %s: %w", ev.GetType(), err)
	}
	return b.Bytes(), nil
}

// placeOf orders events: by revision, and within a change as in [Types].
func placeOf(rec *storev1.WebhookDeliveryRecord) place {
	return place{revision: rec.GetRevision(), index: slices.Index(Types(), rec.GetDelivery().GetType())}
}

// put stores a delivery: see [store.Webhooks.PutDelivery].
func (e *endpoint) put(ctx context.Context, rec *storev1.WebhookDeliveryRecord, revision uint64) (*store.Delivery, error) {
	return e.state.PutDelivery(ctx, rec, placeOf(rec).index, revision)
}

type place struct {
	revision uint64
	index    int
}

func (p place) before(q place) bool {
	return p.revision < q.revision || p.revision == q.revision && p.index < q.index
}

func endpointName(endpoint string) string { return "endpoints/" + endpoint }

func deliveryName(endpoint, id string) string { return endpointName(endpoint) + "/deliveries/" + id }
