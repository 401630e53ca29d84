// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"fmt"
	"time"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

const (
	starting   = classrecv1.RecordingState_RECORDING_STATE_STARTING
	recording  = classrecv1.RecordingState_RECORDING_STATE_RECORDING
	stopping   = classrecv1.RecordingState_RECORDING_STATE_STOPPING
	processing = classrecv1.RecordingState_RECORDING_STATE_PROCESSING
	available  = classrecv1.RecordingState_RECORDING_STATE_AVAILABLE
	failedSt   = classrecv1.RecordingState_RECORDING_STATE_FAILED
)

// event is something that happened to a recording.
type event interface{ event() }

type (
	// begun: ClassBegin is in the room, and it is this recording's.
	begun struct {
		msg    talkcloud.Message
		user   string // who published it
		name   string // the recording's name, where it has none yet
		inList bool
		gap    *classrecv1.RecordingGap // what was missed before it, if anything
		// unwanted: its start had been given up.
		unwanted bool
	}
	// wanted: a recording whose start had been given up is asked for again.
	wanted struct {
		requestID   string
		hash        []byte
		maxDuration *durationpb.Duration
	}
	// ended: ClassBegin was deleted (gone false), or is not there any more.
	ended struct {
		msg  talkcloud.Message
		gone bool
	}
	// stopAsked: the end is wanted, by a call of the trace if it was one.
	stopAsked struct {
		reason      classrecv1.EndReason
		traceparent string
	}
	// startFailed: ClassBegin could not be published, or was not confirmed.
	startFailed struct {
		status    *statuspb.Status
		blockedBy string // the recording of the class that was on already
	}
	// roomClosed: the platform has put us out for good.
	roomClosed struct{}
	// outOfTime: the deadline of a STOPPING has passed.
	outOfTime struct{}
	// listed: the platform lists the files, and they can be fetched.
	listed struct {
		files    []*classrecv1.RecordingFile
		gaps     []*classrecv1.RecordingGap
		warnings []string
		complete bool // by the platform's word: there will be no more
	}
	// relisted: the platform lists other files of a recording than it did, or under
	// other URLs; those that are new can be fetched.
	relisted struct {
		files    []*classrecv1.RecordingFile
		warnings []string
	}
	// notListed: that was not so within the deadline. files are what it did list.
	notListed struct {
		status *statuspb.Status
		files  []*classrecv1.RecordingFile
	}
)

func (begun) event()       {}
func (wanted) event()      {}
func (ended) event()       {}
func (stopAsked) event()   {}
func (startFailed) event() {}
func (roomClosed) event()  {}
func (outOfTime) event()   {}
func (listed) event()      {}
func (notListed) event()   {}
func (relisted) event()    {}

// limits are the deadlines that states get: STOPPING, PROCESSING, RECORDING, and
// RECORDING that nobody has asked for again.
type limits struct{ stop, processing, class, unwanted time.Duration }

// deadlineOf returns when a record's state is out of time; the zero time in
// final states.
func deadlineOf(rec *storev1.Record, lim limits) time.Time {
	switch {
	case rec.GetDeadline() != nil:
		return rec.GetDeadline().AsTime()
	case isFinal(rec.GetRecording().GetState()):
		return time.Time{}
	}
	// A log of before every state had one: only RECORDING had none.
	return rec.GetRecording().GetCreateTime().AsTime().Add(lim.class)
}

// next returns the record after the event, or nil when the event changes
// nothing in this state. It reads nothing but its arguments.
func next(rec *storev1.Record, ev event, now time.Time, lim limits) *storev1.Record {
	r := proto.CloneOf(rec)
	r.Event = nil
	c := change{Record: r, now: now, lim: lim}
	if !c.take(r.GetRecording().GetState(), ev) {
		return nil
	}
	r.Recording.UpdateTime = timestamppb.New(now)
	return r
}

type change struct {
	*storev1.Record
	now time.Time
	lim limits
}

// take is the table of transitions: the state, what happened, what follows.
func (c change) take(state classrecv1.RecordingState, ev event) bool {
	switch ev := ev.(type) {
	case begun:
		switch state {
		case starting:
			return c.begin(ev)
		case recording:
			return c.beginAgain(ev)
		case processing:
			return c.revive(ev)
		case failedSt:
			if ev.unwanted && isGivenUp(c.Record) {
				c.Recording.Failure, c.Recording.EndReason, c.BlockedBy = nil, classrecv1.EndReason_END_REASON_UNSPECIFIED, ""
				return c.begin(ev)
			}
		default:
		}
	case wanted:
		if state == recording && c.Unwanted {
			return c.want(ev)
		}
	case stopAsked:
		if state == recording {
			c.Recording.State = stopping
			c.StopReason, c.StopTraceparent = ev.reason, ev.traceparent
			c.Deadline = timestamppb.New(c.now.Add(c.lim.stop))
			return true
		}
	case ended:
		switch {
		case state == recording && ev.gone:
			return c.end(classrecv1.EndReason_END_REASON_ENDED_WHILE_AWAY, ev.msg)
		case state == recording:
			return c.end(classrecv1.EndReason_END_REASON_STOPPED_IN_ROOM, ev.msg)
		case state == stopping:
			return c.end(c.StopReason, ev.msg)
		}
	case roomClosed:
		if state == recording || state == stopping {
			return c.end(classrecv1.EndReason_END_REASON_ROOM_CLOSED, talkcloud.Message{})
		}
	case outOfTime:
		if state == stopping {
			return c.end(classrecv1.EndReason_END_REASON_STOP_NOT_CONFIRMED, talkcloud.Message{})
		}
	case startFailed:
		if state == starting {
			c.Recording.EndReason = classrecv1.EndReason_END_REASON_START_FAILED
			c.BlockedBy = ev.blockedBy
			return c.fail(ev.status)
		}
	case listed:
		if state == processing {
			c.Recording.State = available
			c.Deadline = nil
			c.list(ev.files)
			c.Recording.Gaps = append(c.Recording.Gaps, ev.gaps...)
			for _, w := range ev.warnings {
				c.Recording.Warnings = appendWarning(c.Recording.Warnings, w)
			}
			return true
		}
	case relisted:
		if isFinal(state) && c.Recording.GetName() != "" && (state == failedSt || !sameURLs(ev.files, c.Recording.GetFiles())) {
			c.Recording.State, c.Recording.Failure = available, nil
			c.list(ev.files)
			for _, w := range ev.warnings {
				c.warn(w)
			}
			return true
		}
	case notListed:
		if state == processing {
			c.list(ev.files)
			return c.fail(ev.status)
		}
	}
	return false
}

func (c change) list(files []*classrecv1.RecordingFile) {
	c.Recording.Files, c.Recording.Urls = files, nil
	for _, f := range files {
		c.Recording.Urls = append(c.Recording.Urls, f.GetUrl())
	}
}

func (c change) begin(ev begun) bool {
	at := messageTime(ev.msg, c.now)
	r := c.Recording
	r.State = recording
	r.Name = ev.name
	r.UserId = cutText(ev.user, maxID)
	r.RecordTime = timestamppb.New(at)
	if data := ev.msg.DataText(); data != "" || c.ClassBeginData == "" {
		c.ClassBeginData = cutText(data, maxData)
		describe(r, ev.msg)
		if len(data) > maxData {
			c.warn(fmt.Sprintf("the data of ClassBegin has %d bytes; the first %d are kept", len(data), maxData))
		}
	}
	c.RecordTs = append(c.RecordTs, at.Unix())
	c.Unwanted = ev.unwanted
	c.Deadline = timestamppb.New(c.now.Add(c.longest()))
	if ev.unwanted {
		c.Deadline = timestamppb.New(c.now.Add(c.lim.unwanted))
	}
	c.note(classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD, ev.msg, at, ev.inList)
	return true
}

// longest is how long the class may last.
func (c change) longest() time.Duration {
	if d := c.Recording.GetMaxDuration(); d != nil {
		return min(c.lim.class, d.AsDuration())
	}
	return c.lim.class
}

// want takes that somebody asks for a class again whose start had been given up.
func (c change) want(ev wanted) bool {
	c.Unwanted = false
	if c.RequestId == "" {
		c.RequestId, c.RequestHash = ev.requestID, ev.hash
	}
	c.Recording.MaxDuration = ev.maxDuration
	c.Deadline = timestamppb.New(c.now.Add(c.longest()))
	return true
}

// revive takes that a class is on which was taken for over, as it was gone from
// the room when we came back.
func (c change) revive(ev begun) bool {
	r := c.Recording
	if r.GetEndReason() != classrecv1.EndReason_END_REASON_ENDED_WHILE_AWAY {
		return false
	}
	r.State, r.EndReason, r.StopTime = recording, classrecv1.EndReason_END_REASON_UNSPECIFIED, nil
	c.Deadline = timestamppb.New(c.now.Add(c.longest()))
	if ev.gap != nil {
		r.Gaps = append(r.Gaps, c.within(ev.gap))
	}
	c.note(classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD, ev.msg, messageTime(ev.msg, c.now), ev.inList)
	return true
}

// warn notes something odd for a reader, once.
func (c change) warn(text string) {
	c.Recording.Warnings = appendWarning(c.Recording.GetWarnings(), text)
}

// beginAgain takes a ClassBegin that replaced the one of a running recording:
// published again by us after the room lost its state, or by somebody else.
func (c change) beginAgain(ev begun) bool {
	at := messageTime(ev.msg, c.now)
	ts := at.Unix()
	if n := len(c.RecordTs); ev.msg.TS == 0 || (n > 0 && c.RecordTs[n-1] == ts) {
		return false
	}
	c.RecordTs = append(c.RecordTs, ts)
	if ev.gap != nil {
		c.Recording.Gaps = append(c.Recording.Gaps, c.within(ev.gap))
	}
	c.note(classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD, ev.msg, at, ev.inList)
	return true
}

// within is a gap that begins in the class, after the gap before, and before it
// ends: the times are by different clocks.
func (c change) within(gap *classrecv1.RecordingGap) *classrecv1.RecordingGap {
	if gap.GetStartTime() == nil {
		return gap
	}
	from, to := gap.GetStartTime().AsTime(), gap.GetEndTime().AsTime()
	begin := c.Recording.GetRecordTime()
	if n := len(c.Recording.GetGaps()); n > 0 {
		begin = c.Recording.Gaps[n-1].GetEndTime()
	}
	if begin := begin.AsTime(); from.Before(begin) {
		from = begin
	}
	if to.Before(from) {
		to = from
	}
	gap = proto.CloneOf(gap)
	gap.StartTime, gap.EndTime = timestamppb.New(from), timestamppb.New(to)
	return gap
}

func (c change) end(reason classrecv1.EndReason, msg talkcloud.Message) bool {
	at := messageTime(msg, c.now)
	if from := c.Recording.GetRecordTime().AsTime(); at.Before(from) {
		at = from
	}
	c.Recording.State = processing
	c.Recording.EndReason = reason
	c.Recording.StopTime = timestamppb.New(at)
	c.Deadline = timestamppb.New(c.now.Add(c.lim.processing))
	c.Join = nil // nobody joins for it any more: the password is not kept
	c.note(classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_REMOVE, msg, at, false)
	return true
}

func (c change) fail(st *statuspb.Status) bool {
	c.Recording.State = failedSt
	c.Recording.Failure = st
	c.Deadline = nil
	c.Join = nil
	return true
}

func (c change) note(action classrecv1.ClassBeginAction, msg talkcloud.Message, at time.Time, inList bool) {
	c.Event = &classrecv1.ClassBeginEvent{
		Action:     action,
		Room:       c.Recording.GetRoom(),
		MessageId:  talkcloud.MessageClassBegin,
		Time:       timestamppb.New(at),
		InList:     inList,
		FromUserId: cutText(string(msg.FromID), maxID),
		Data:       cutText(msg.DataText(), maxData),
	}
}

// isGivenUp reports whether a record is of a start that failed before a class of
// it was seen.
func isGivenUp(rec *storev1.Record) bool {
	return rec.GetRecording().GetState() == failedSt && rec.GetRecording().GetName() == ""
}

// isFinal tells a state that a recording does not leave.
func isFinal(state classrecv1.RecordingState) bool {
	return state == available || state == failedSt
}
