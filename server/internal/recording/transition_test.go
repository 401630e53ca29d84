// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

var (
	ourTime  = time.Unix(1511860400, 0).UTC() // ours
	beganAt  = time.Unix(1511860322, 0).UTC() // the platform's
	endedAt  = time.Unix(1511867522, 0).UTC()
	timeouts = limits{stop: time.Minute, processing: time.Hour, class: 24 * time.Hour}
)

func inState(state classrecv1.RecordingState) *storev1.Record {
	r := &storev1.Record{
		Tenant: "default", Id: "01",
		Recording: &classrecv1.Recording{
			Room: "42", UserId: "u", State: state,
			Origin:      classrecv1.RecordingOrigin_RECORDING_ORIGIN_API,
			MaxDuration: durationpb.New(time.Hour),
		},
		Join:           &storev1.JoinIdentity{UserId: "u", SealedPassword: []byte("sealed")},
		Deadline:       timestamppb.New(ourTime.Add(time.Second)),
		ClassBeginData: "{}",
	}
	if state != starting {
		r.Recording.Name = "rooms/42/recordings/1511860322"
		r.Recording.RecordTime = timestamppb.New(beganAt)
		r.RecordTs = []int64{beganAt.Unix()}
		r.AddSequence = 7
	}
	if state == stopping {
		r.StopReason = classrecv1.EndReason_END_REASON_STOPPED
	}
	return r
}

func classBeginAt(at time.Time) talkcloud.Message {
	m := talkcloud.ClassBegin{HasRecordType: true, RecordType: talkcloud.RecordTypeMix, Convert: talkcloud.ConvertMP4}.Message()
	m.TS, m.FromID = talkcloud.Timestamp(at.Unix()), "u"
	return m
}

func classEndAt(at time.Time) talkcloud.Message {
	m := talkcloud.ClassEnd()
	m.TS, m.FromID = talkcloud.Timestamp(at.Unix()), "teacher"
	return m
}

// TestNext_Table walks every state with every event. What is not in moves
// must change nothing.
func TestNext_Table(t *testing.T) {
	t.Parallel()
	events := map[string]event{
		"begun":       begun{msg: classBeginAt(beganAt), user: "u", name: "rooms/42/recordings/1511860322"},
		"begun again": begun{msg: classBeginAt(beganAt.Add(time.Minute)), user: "u"},
		"stop asked":  stopAsked{reason: classrecv1.EndReason_END_REASON_STOPPED},
		"deleted":     ended{msg: classEndAt(endedAt)},
		"gone":        ended{gone: true},
		"refused":     startFailed{status: &statuspb.Status{Code: 9}},
		"room closed": roomClosed{},
		"out of time": outOfTime{},
		"listed":      listed{files: []*classrecv1.RecordingFile{{Url: "https://x/1"}}},
		"no files":    listed{},
		"not listed":  notListed{status: &statuspb.Status{Code: 4}},
	}
	type end struct {
		state  classrecv1.RecordingState
		reason classrecv1.EndReason
	}
	const (
		none      = classrecv1.EndReason_END_REASON_UNSPECIFIED
		stopped   = classrecv1.EndReason_END_REASON_STOPPED
		byRoom    = classrecv1.EndReason_END_REASON_STOPPED_IN_ROOM
		away      = classrecv1.EndReason_END_REASON_ENDED_WHILE_AWAY
		closed    = classrecv1.EndReason_END_REASON_ROOM_CLOSED
		unsure    = classrecv1.EndReason_END_REASON_STOP_NOT_CONFIRMED
		notBegun  = classrecv1.EndReason_END_REASON_START_FAILED
		noFurther = classrecv1.RecordingState_RECORDING_STATE_UNSPECIFIED
	)
	moves := map[classrecv1.RecordingState]map[string]end{
		starting: {"begun": {recording, none}, "begun again": {recording, none}, "refused": {failedSt, notBegun}},
		recording: {
			"begun again": {recording, none}, "stop asked": {stopping, none},
			"deleted": {processing, byRoom}, "gone": {processing, away}, "room closed": {processing, closed},
		},
		stopping: {
			"deleted": {processing, stopped}, "gone": {processing, stopped},
			"room closed": {processing, closed}, "out of time": {processing, unsure},
		},
		processing: {"listed": {available, none}, "no files": {available, none}, "not listed": {failedSt, none}},
		available:  {},
		failedSt:   {},
	}
	for state, want := range moves {
		for name, ev := range events {
			t.Run(fmt.Sprintf("%v/%s", state, name), func(t *testing.T) {
				t.Parallel()
				before := inState(state)
				given := proto.CloneOf(before)
				got := next(before, ev, ourTime, timeouts)
				if diff := cmp.Diff(given, before, protocmp.Transform()); diff != "" {
					t.Fatalf("next changed its argument:\n%s", diff)
				}
				to, moves := want[name]
				switch {
				case !moves && got != nil:
					t.Fatalf("moved to %v", got.GetRecording().GetState())
				case !moves:
					return
				case got == nil:
					t.Fatalf("did not move to %v", to.state)
				}
				if is := (end{got.Recording.State, got.Recording.EndReason}); is != to {
					t.Errorf("moved to %v, want %v", is, to)
				}
				if final := to.state == available || to.state == failedSt; final != (got.Deadline == nil) && to.state != recording {
					t.Errorf("deadline of %v is %v", to.state, got.Deadline)
				}
				if to.state == noFurther {
					t.Error("no such state")
				}
				if isEvent := got.Event != nil; isEvent != (name == "begun" || name == "begun again" || to.state == processing) {
					t.Errorf("is an event: %v", got.Event)
				}
				if to.state == processing && got.Join != nil {
					t.Error("the password is kept after the end")
				}
			})
		}
	}
}

func TestNext_Begun(t *testing.T) {
	t.Parallel()
	got := next(inState(starting), begun{msg: classBeginAt(beganAt), user: "u", name: "rooms/42/recordings/1511860322"}, ourTime, timeouts)
	r := got.GetRecording()
	if !r.GetRecordTime().AsTime().Equal(beganAt) {
		t.Errorf("record time is %v, want the platform's %v", r.GetRecordTime().AsTime(), beganAt)
	}
	if r.GetFormat() != classrecv1.RecordingFormat_RECORDING_FORMAT_MP4 || r.GetRecordType() != classrecv1.RecordType_RECORD_TYPE_MIX {
		t.Errorf("described as %v, %v: not as ClassBegin carried it", r.GetFormat(), r.GetRecordType())
	}
	if want := ourTime.Add(time.Hour); !got.GetDeadline().AsTime().Equal(want) {
		t.Errorf("deadline is %v, want the maximum duration's end %v", got.GetDeadline().AsTime(), want)
	}
	ev := got.GetEvent()
	if ev.GetAction() != classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD || !ev.GetTime().AsTime().Equal(beganAt) || ev.GetFromUserId() != "u" {
		t.Errorf("event is %v", ev)
	}
}

// A class lasts as long as was asked for, and no longer than any class may.
func TestNext_MaxDuration(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		asked *durationpb.Duration
		want  time.Duration
	}{
		"asked for":          {durationpb.New(time.Hour), time.Hour},
		"not asked for":      {nil, 2 * time.Hour},
		"longer than may be": {durationpb.New(3 * time.Hour), 2 * time.Hour},
	} {
		rec := inState(starting)
		rec.Recording.MaxDuration = tc.asked
		lim := timeouts
		lim.class = 2 * time.Hour
		got := next(rec, begun{msg: classBeginAt(beganAt), name: "n"}, ourTime, lim)
		if want := ourTime.Add(tc.want); !got.GetDeadline().AsTime().Equal(want) {
			t.Errorf("%s: the deadline is %v, want %v", name, got.GetDeadline().AsTime(), want)
		}
		if diff := cmp.Diff(tc.asked, got.GetRecording().GetMaxDuration(), protocmp.Transform()); diff != "" {
			t.Errorf("%s: what was asked for has changed:\n%s", name, diff)
		}
	}
}

// What was listed is kept when it cannot be fetched: somebody may try.
func TestNext_NotFetchable(t *testing.T) {
	t.Parallel()
	got := next(inState(processing), notListed{status: &statuspb.Status{Code: 4}, files: []*classrecv1.RecordingFile{{Url: "https://x/1"}}}, ourTime, timeouts)
	r := got.GetRecording()
	if r.GetState() != failedSt || r.GetFailure().GetCode() != 4 || len(r.GetUrls()) != 1 || len(r.GetFiles()) != 1 {
		t.Errorf("failed as %v", r)
	}
}

func TestNext_NoTimestamp(t *testing.T) {
	t.Parallel()
	msg := classBeginAt(beganAt)
	msg.TS = 0
	got := next(inState(starting), begun{msg: msg, name: "n"}, ourTime, timeouts)
	if !got.GetRecording().GetRecordTime().AsTime().Equal(ourTime) {
		t.Errorf("without a ts the record time is %v, want our ourTime's %v", got.GetRecording().GetRecordTime().AsTime(), ourTime)
	}
}

func TestNext_BegunAgainWithGap(t *testing.T) {
	t.Parallel()
	gap := &classrecv1.RecordingGap{Reason: "r"}
	again := beganAt.Add(time.Minute)
	got := next(inState(recording), begun{msg: classBeginAt(again), gap: gap}, ourTime, timeouts)
	if n := len(got.GetRecording().GetGaps()); n != 1 {
		t.Fatalf("%d gaps, want 1", n)
	}
	if got.GetRecording().GetName() != "rooms/42/recordings/1511860322" {
		t.Errorf("renamed to %s", got.GetRecording().GetName())
	}
	if want := []int64{beganAt.Unix(), again.Unix()}; !cmp.Equal(got.GetRecordTs(), want) {
		t.Errorf("record_ts %v, want %v", got.GetRecordTs(), want)
	}
}

// A gap is within the class, whatever the clocks say.
func TestNext_GapWithinTheClass(t *testing.T) {
	t.Parallel()
	again := beganAt.Add(time.Minute)
	for name, tc := range map[string]struct{ start, end, wantStart, wantEnd time.Time }{
		"as it is":             {beganAt.Add(time.Second), again, beganAt.Add(time.Second), again},
		"from before it":       {beganAt.Add(-time.Second), again, beganAt, again},
		"the end is too early": {beganAt.Add(time.Hour), again, beganAt.Add(time.Hour), beganAt.Add(time.Hour)},
	} {
		gap := &classrecv1.RecordingGap{StartTime: timestamppb.New(tc.start), EndTime: timestamppb.New(tc.end), Reason: "r"}
		given := proto.CloneOf(gap)
		got := next(inState(recording), begun{msg: classBeginAt(again), gap: gap}, ourTime, timeouts).GetRecording().GetGaps()[0]
		if !got.GetStartTime().AsTime().Equal(tc.wantStart) || !got.GetEndTime().AsTime().Equal(tc.wantEnd) || got.GetReason() != "r" {
			t.Errorf("%s: the gap is %v", name, got)
		}
		if !proto.Equal(gap, given) {
			t.Errorf("%s: next changed its argument", name)
		}
	}
}

// The platform's ourTime may run ahead, as where classes begin more than once a second: gaps do not overlap for that.
func TestNext_GapAfterTheGapBefore(t *testing.T) {
	t.Parallel()
	rec := inState(recording)
	for i := range 2 {
		again := beganAt.Add(time.Duration(i+1) * time.Minute)
		gap := &classrecv1.RecordingGap{StartTime: timestamppb.New(beganAt.Add(time.Second)), EndTime: timestamppb.New(again), Reason: "r"}
		rec = next(rec, begun{msg: classBeginAt(again), gap: gap}, ourTime, timeouts)
	}
	gaps := rec.GetRecording().GetGaps()
	if len(gaps) != 2 || !gaps[1].GetStartTime().AsTime().Equal(gaps[0].GetEndTime().AsTime()) {
		t.Errorf("the gaps are %v", gaps)
	}
}

func TestNext_StopTimeIsNotBeforeBegin(t *testing.T) {
	t.Parallel()
	got := next(inState(stopping), ended{msg: classEndAt(beganAt.Add(-time.Hour))}, ourTime, timeouts)
	if !got.GetRecording().GetStopTime().AsTime().Equal(beganAt) {
		t.Errorf("stop time %v is before the begin %v", got.GetRecording().GetStopTime().AsTime(), beganAt)
	}
}

func TestKey_SealsAndOpens(t *testing.T) {
	t.Parallel()
	k := Key{1}
	sealed, err := k.seal("01", "pass")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.open("01", sealed); err != nil || got.Reveal() != "pass" {
		t.Errorf("open: %v, %v", got == "pass", err)
	}
	if _, err := k.open("02", sealed); err == nil {
		t.Error("opened for another recording")
	}
	if _, err := (Key{2}).open("01", sealed); err == nil {
		t.Error("opened with another key")
	}
	for i := range sealed {
		if _, err := k.open("01", sealed[:i]); err == nil && i > 0 {
			t.Errorf("opened the first %d bytes", i)
		}
	}
}

func TestKey_RequestHash(t *testing.T) {
	t.Parallel()
	hash := func(k Key, req *classrecv1.StartRecordingRequest) string {
		cfg := Config{Key: k}.withDefaults()
		sum, err := cfg.requestHash(req)
		if err != nil {
			t.Fatal(err)
		}
		return string(sum)
	}
	k := Key{1}
	of := func(id, password string) *classrecv1.StartRecordingRequest {
		return &classrecv1.StartRecordingRequest{Room: "42", RequestId: id, RoomPassword: password}
	}
	if hash(k, of("a", "pass")) != hash(k, of("b", "pass")) {
		t.Error("the request id is part of the payload")
	}
	if hash(k, of("a", "pass")) == hash(k, of("a", "word")) {
		t.Error("another password is the same payload")
	}
	if hash(k, of("a", "pass")) == hash(Key{2}, of("a", "pass")) {
		t.Error("who has not the key can try passwords")
	}
}

// A default that is spelled out is the same request; anything else is another.
func TestKey_RequestHashOfDefaults(t *testing.T) {
	t.Parallel()
	cfg := Config{Nickname: "recorder", MaxDuration: time.Hour}.withDefaults()
	hash := func(change func(*classrecv1.StartRecordingRequest)) string {
		req := &classrecv1.StartRecordingRequest{Room: "42"}
		change(req)
		sum, err := cfg.requestHash(req)
		if err != nil {
			t.Fatal(err)
		}
		return string(sum)
	}
	plain := hash(func(*classrecv1.StartRecordingRequest) {})
	for name, tc := range map[string]struct {
		change func(*classrecv1.StartRecordingRequest)
		same   bool
	}{
		"record type": {func(r *classrecv1.StartRecordingRequest) { r.RecordType = classrecv1.RecordType_RECORD_TYPE_LIST }, true},
		"format":      {func(r *classrecv1.StartRecordingRequest) { r.Format = classrecv1.RecordingFormat_RECORDING_FORMAT_MKV }, true},
		"layout": {func(r *classrecv1.StartRecordingRequest) {
			r.Layout = classrecv1.RecordingLayout_RECORDING_LAYOUT_LANDSCAPE
		}, true},
		"chat":                 {func(r *classrecv1.StartRecordingRequest) { r.RecordChat = proto.Bool(true) }, true},
		"nickname":             {func(r *classrecv1.StartRecordingRequest) { r.Nickname = "recorder" }, true},
		"longest time":         {func(r *classrecv1.StartRecordingRequest) { r.MaxDuration = durationpb.New(time.Hour) }, true},
		"another record type":  {func(r *classrecv1.StartRecordingRequest) { r.RecordType = classrecv1.RecordType_RECORD_TYPE_MIX }, false},
		"another format":       {func(r *classrecv1.StartRecordingRequest) { r.Format = classrecv1.RecordingFormat_RECORDING_FORMAT_WEBM }, false},
		"no chat":              {func(r *classrecv1.StartRecordingRequest) { r.RecordChat = proto.Bool(false) }, false},
		"another nickname":     {func(r *classrecv1.StartRecordingRequest) { r.Nickname = "classrec" }, false},
		"another longest time": {func(r *classrecv1.StartRecordingRequest) { r.MaxDuration = durationpb.New(time.Minute) }, false},
	} {
		if same := hash(tc.change) == plain; same != tc.same {
			t.Errorf("%s: the same request: %t", name, same)
		}
	}
}

// An identity is the same for the same seed, and known to who has the key alone.
func TestKey_Identity(t *testing.T) {
	t.Parallel()
	k := Key{1}
	id := k.identity("a", "b")
	if id != k.identity("a", "b") || !k.made(id) {
		t.Errorf("%s is not the same, or not known", id)
	}
	if id == k.identity("ab", "") || id == k.identity("a", "c") || id == (Key{2}).identity("a", "b") {
		t.Error("the same for another seed, or by another key")
	}
	if (Key{2}).made(id) || k.made(talkcloud.NewUserID()) || k.made("teacher") || k.made("") {
		t.Error("somebody else's is taken for ours")
	}
}
