// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/store"
)

// Explain tells how a recording came to be in its state, from the log, and what is
// being done about it. Errors: see ExplainRecording in the admin API.
func (s *Service) Explain(ctx context.Context, name string) (*adminv1.ExplainRecordingResponse, error) {
	if err := s.store.Sync(ctx); err != nil {
		return nil, public(err)
	}
	e, err := s.store.ByName(ctx, s.cfg.Tenant, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, errRecordingNotFound(name)
	}
	if err != nil {
		return nil, public(err)
	}
	roomID := e.Record.GetRecording().GetRoom()
	changes, complete, err := s.store.History(ctx, s.cfg.Tenant, roomID, e.Record.GetId())
	if err != nil {
		return nil, public(err)
	}
	last := changes[len(changes)-1]
	resp := &adminv1.ExplainRecordingResponse{
		Recording: withoutURLs(last.Record.GetRecording()), HistoryIncomplete: !complete,
	}
	for i, change := range changes {
		var before *storev1.Record
		if i > 0 {
			before = changes[i-1].Record
		}
		resp.Changes = append(resp.Changes, &adminv1.RecordingChange{
			Time: change.Record.GetRecording().GetUpdateTime(), Sequence: store.SequenceOf(change.Revision),
			State: stateOf(change), Text: changeWords(before, change.Record),
		})
	}
	if !isFinal(stateOf(last)) {
		if rooms := s.Inspect(ctx, roomID); len(rooms) > 0 {
			resp.Room = rooms[0]
		}
		if holder, alive := s.store.Holder(s.cfg.Tenant, roomID); alive {
			resp.LeaseHolder = holder
		}
	}
	resp.Summary = s.summary(last.Record, resp.GetRoom())
	return resp, nil
}

// withoutURLs is a recording that everybody may see.
func withoutURLs(r *classrecv1.Recording) *classrecv1.Recording {
	r = proto.CloneOf(r)
	r.Urls = nil
	for _, f := range r.GetFiles() {
		f.Url = ""
	}
	return r
}

// summary is why a recording is in its state.
func (s *Service) summary(rec *storev1.Record, room *adminv1.Room) string {
	r := rec.GetRecording()
	text := ""
	switch r.GetState() {
	case starting:
		text = "The start is not confirmed by the platform yet"
	case recording:
		text = "The class is on"
	case stopping:
		text = "The end is asked for, and not confirmed by the platform yet"
	case processing:
		text = "The class is over (" + endWords(r.GetEndReason()) + "), and not all of its files can be fetched yet"
	case available:
		return "The class is over (" + endWords(r.GetEndReason()) + "), and " + filesWords(len(r.GetFiles())) + "."
	case failedSt:
		return "It has failed: " + failureWords(r) + "."
	default:
	}
	if at := deadlineOf(rec, s.cfg.limits()); !at.IsZero() {
		text += "; it is given up, or ended, at " + at.UTC().Format(time.RFC3339)
	}
	switch {
	case room.GetWaitsFor() != "":
		text += ". The worker of its room " + room.GetDoing() + ", and waits for " + room.GetWaitsFor()
	case room != nil:
		text += ". The worker of its room " + room.GetDoing()
	default:
		text += ". Nobody works its room in this process"
	}
	for _, r := range room.GetRecordings() {
		if r.GetName() == rec.GetRecording().GetName() && r.GetLookError() != "" {
			text += "; the last look for its files: " + r.GetLookError()
		}
	}
	if room.GetLastError() != "" {
		text += "; it last failed with: " + room.GetLastError()
	}
	return text + "."
}

// changeWords tells what happened; before is nil for the first change that is
// known.
func changeWords(before, after *storev1.Record) string {
	r := after.GetRecording()
	was := before.GetRecording().GetState()
	switch is := r.GetState(); {
	case is == starting:
		text := "StartRecording asked for it"
		if after.GetRequestId() != "" {
			text += fmt.Sprintf(" (request_id %q)", after.GetRequestId())
		}
		return text + fmt.Sprintf(", to join as %q", r.GetUserId())
	case is == recording && was == starting:
		return fmt.Sprintf("the platform confirmed ClassBegin, published by %q: %s", r.GetUserId(), formatWords(r))
	case is == recording && was == recording:
		return againWords(before, after)
	case is == recording:
		if r.GetOrigin() == classrecv1.RecordingOrigin_RECORDING_ORIGIN_ROOM && len(after.GetRecordTs()) == 1 {
			text := fmt.Sprintf("a class was found that %q began in the room", r.GetUserId())
			if after.GetEvent().GetInList() {
				text += ", before anybody of ours was there"
			}
			return text + ": " + formatWords(r)
		}
		return "the class was on"
	case is == stopping:
		return "its end was asked for: " + endWords(after.GetStopReason())
	case is == processing:
		text := "the class ended: " + endWords(r.GetEndReason())
		if from := after.GetEvent().GetFromUserId(); from != "" {
			text += fmt.Sprintf(", by %q", from)
		}
		return text
	case is == available:
		return filesWords(len(r.GetFiles()))
	case is == failedSt:
		return "it failed: " + failureWords(r)
	}
	return "it changed"
}

func againWords(before, after *storev1.Record) string {
	text := "ClassBegin was published again"
	if from := after.GetEvent().GetFromUserId(); from != "" {
		text += fmt.Sprintf(" by %q", from)
	}
	gaps := after.GetRecording().GetGaps()
	if len(gaps) == len(before.GetRecording().GetGaps()) {
		return text
	}
	gap := gaps[len(gaps)-1]
	from := "a time that is not known"
	if gap.GetStartTime() != nil {
		from = gap.GetStartTime().AsTime().Format(time.RFC3339)
	}
	return text + fmt.Sprintf(", and nothing was recorded from %s to %s: %s", from, gap.GetEndTime().AsTime().Format(time.RFC3339), gap.GetReason())
}

func formatWords(r *classrecv1.Recording) string {
	word := func(value, prefix string) string { return strings.ToLower(strings.TrimPrefix(value, prefix)) }
	text := word(r.GetFormat().String(), "RECORDING_FORMAT_") + ", " + word(r.GetRecordType().String(), "RECORD_TYPE_")
	if r.GetRecordChat() {
		text += ", with chat"
	}
	return text
}

func filesWords(n int) string {
	switch n {
	case 0:
		return "the platform has no files of it: nobody published media"
	case 1:
		return "its 1 file can be fetched"
	}
	return fmt.Sprintf("all of its %d files can be fetched", n)
}

func failureWords(r *classrecv1.Recording) string {
	if text := r.GetFailure().GetMessage(); text != "" {
		return text
	}
	return "nobody knows why"
}

func endWords(reason classrecv1.EndReason) string {
	switch reason {
	case classrecv1.EndReason_END_REASON_STOPPED:
		return "StopRecording was called"
	case classrecv1.EndReason_END_REASON_STOPPED_IN_ROOM:
		return "somebody in the room ended it"
	case classrecv1.EndReason_END_REASON_MAX_DURATION:
		return "it had lasted as long as it may"
	case classrecv1.EndReason_END_REASON_ENDED_WHILE_AWAY:
		return "it was over when the connection to the room came back"
	case classrecv1.EndReason_END_REASON_ROOM_CLOSED:
		return "the platform closed the room, or put us out of it"
	case classrecv1.EndReason_END_REASON_START_FAILED:
		return "its start failed"
	case classrecv1.EndReason_END_REASON_STOP_NOT_CONFIRMED:
		return "the platform never confirmed the end that was asked for"
	default:
		return "the reason is not known"
	}
}
