// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"testing"
	"time"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// TestRoomView_Table is the table of what a ClassBegin means, by what is known of
// the room and whose it is.
func TestRoomView_Table(t *testing.T) {
	t.Parallel()
	const id = "01"
	live := func(state classrecv1.RecordingState, change func(*storev1.Record)) *storev1.Record {
		r := inState(state)
		r.OwnUserId = true
		if change != nil {
			change(r)
		}
		return r
	}
	msg := func(from string, at time.Time, seq int64) talkcloud.Message {
		m := classBeginAt(at)
		m.FromID, m.Seq = talkcloud.UserID(from), seq
		return m
	}
	over := func(state classrecv1.RecordingState, reason classrecv1.EndReason, user string) *storev1.Record {
		r := inState(state)
		r.Recording.EndReason, r.Recording.UserId, r.Join = reason, user, nil
		return r
	}
	const (
		away    = classrecv1.EndReason_END_REASON_ENDED_WHILE_AWAY
		stopped = classrecv1.EndReason_END_REASON_STOPPED
	)
	given := func(r *storev1.Record) { r.OwnUserId = false }
	room := func(r *storev1.Record) {
		r.OwnUserId, r.Join = false, nil
		r.Recording.Origin = classrecv1.RecordingOrigin_RECORDING_ORIGIN_ROOM
	}
	sent := publication{id: id, user: "u", data: classBeginAt(beganAt).DataText(), open: true}
	done := sent
	done.open = false
	otherData := talkcloud.TextData(`{"recordtype":"0"}`)
	withData := func(m talkcloud.Message) talkcloud.Message {
		m.Data = otherData
		return m
	}
	ended := ending{begin: msg("teacher", beganAt, 5), end: msg("teacher", beganAt.Add(2*time.Second), 6)}
	endedNoSeq := ending{begin: msg("teacher", beganAt, 0), end: msg("teacher", beganAt, 0)}
	later := beganAt.Add(time.Minute)

	for _, tc := range []struct {
		name string
		view roomView
		live *storev1.Record
		seen sighting
		want verdict
	}{
		// STARTING.
		{"starting: our echo", roomView{ours: sent}, live(starting, nil), sighting{msg: msg("u", beganAt, 0)}, confirms},
		{"starting: our echo, without a name", roomView{ours: sent}, live(starting, nil), sighting{msg: msg("", beganAt, 0)}, confirms},
		{"starting: our echo, under another's name", roomView{ours: sent}, live(starting, nil), sighting{msg: msg("server", beganAt, 0)}, confirms},
		{"starting: our echo, with other data", roomView{ours: sent}, live(starting, nil), sighting{msg: withData(msg("u", beganAt, 0))}, confirms},
		{"starting: our echo, in the list after a drop", roomView{ours: sent}, live(starting, nil), sighting{msg: msg("u", beganAt, 0), inList: true}, confirms},
		{"starting: an identity of ours, of another life", roomView{}, live(starting, nil), sighting{msg: msg("u", beganAt, 0), inList: true, made: true}, confirms},
		{"starting: the user that was asked for, taken up", roomView{taken: id}, live(starting, given), sighting{msg: msg("u", beganAt, 0), inList: true}, confirms},
		{"starting: the user that was asked for, by somebody else", roomView{}, live(starting, given), sighting{msg: msg("u", beganAt, 0), inList: true}, blocks},
		{"starting: the teacher's", roomView{}, live(starting, nil), sighting{msg: msg("teacher", beganAt, 0)}, blocks},
		{"starting: the teacher's, after we have published", roomView{ours: sent}, live(starting, nil), sighting{msg: withData(msg("teacher", beganAt, 0))}, blocks},
		{"starting: the teacher's, in the list", roomView{}, live(starting, nil), sighting{msg: msg("teacher", beganAt, 0), inList: true}, blocks},
		{"starting: a late echo of an earlier class of ours, while we publish", roomView{ours: sent}, live(starting, nil), sighting{msg: msg("another of ours", beganAt, 0), made: true, earlier: over(processing, stopped, "another of ours")}, ignored},
		{"starting: a late echo of the teacher's last class, while we publish the same", roomView{ours: sent}, live(starting, nil), sighting{msg: msg("teacher", beganAt, 0), earlier: over(processing, stopped, "teacher")}, ignored},
		{"starting: of an earlier start that was given up", roomView{}, live(starting, nil), sighting{msg: msg("another of ours", beganAt, 0), made: true}, ignored},
		{"starting: a second echo of the teacher's that is over", roomView{last: ended}, live(starting, nil), sighting{msg: msg("teacher", beganAt, 5)}, ignored},
		{"starting: the same, without seq", roomView{}, live(starting, nil), sighting{msg: msg("teacher", beganAt, 0), earlier: over(processing, stopped, "teacher")}, ignored},
		{"starting: the teacher's next one", roomView{last: ended}, live(starting, nil), sighting{msg: msg("teacher", later, 7)}, blocks},

		// RECORDING and STOPPING.
		{"recording: the same", roomView{}, live(recording, nil), sighting{msg: msg("u", beganAt, 0), inList: true}, goesOn},
		{"recording: begun again by us", roomView{ours: done}, live(recording, nil), sighting{msg: msg("u", later, 0)}, goesOn},
		{"recording: begun again by us, in the list", roomView{ours: done}, live(recording, nil), sighting{msg: msg("u", later, 0), inList: true}, goesOn},
		{"recording: published by the teacher over it", roomView{}, live(recording, nil), sighting{msg: msg("teacher", later, 0)}, goesOn},
		{"recording: another class, while away", roomView{}, live(recording, nil), sighting{msg: msg("teacher", later, 0), inList: true}, replaces},
		{"recording: another class, after one of the room", roomView{}, live(recording, room), sighting{msg: msg("teacher", later, 0), inList: true}, replaces},
		{"recording: another class, where the room was lost", roomView{loss: emptied}, live(recording, nil), sighting{msg: msg("teacher", later, 0), inList: true}, goesOn},
		{"recording: without a time", roomView{}, live(recording, room), sighting{msg: msg("teacher", time.Unix(0, 0), 0), inList: true}, goesOn},
		{"recording: as who was put out", roomView{evicted: true}, live(recording, nil), sighting{msg: msg("u", later, 0), inList: true}, replaces},
		{"stopping: still on", roomView{ours: done}, live(stopping, nil), sighting{msg: msg("u", beganAt, 0), inList: true}, goesOn},
		{"stopping: another class, while away", roomView{}, live(stopping, nil), sighting{msg: msg("teacher", later, 0), inList: true}, replaces},

		// Nothing is live.
		{"a class of the teacher", roomView{}, nil, sighting{msg: msg("teacher", beganAt, 0)}, adopts},
		{"a class of the teacher, in the list", roomView{}, nil, sighting{msg: msg("teacher", beganAt, 0), inList: true}, adopts},
		{"a class without a time", roomView{last: ended}, nil, sighting{msg: msg("teacher", time.Unix(0, 0), 0)}, adopts},
		{"the late echo of a start that was given up", roomView{ours: sent}, nil, sighting{msg: msg("u", beganAt, 0)}, unwanted},
		{"the same, in the list, in another life", roomView{}, nil, sighting{msg: msg("u", beganAt, 0), inList: true, made: true}, unwanted},
		{"ours, and over", roomView{ours: done}, nil, sighting{msg: msg("u", beganAt, 0), made: true, earlier: over(processing, stopped, "u")}, ignored},
		{"ours, and over, and still in the list", roomView{}, nil, sighting{msg: msg("u", beganAt, 0), made: true, inList: true, earlier: over(available, stopped, "u")}, deletes},
		{"gone when we came back, and there again", roomView{}, nil, sighting{msg: msg("u", beganAt, 0), made: true, inList: true, earlier: over(processing, away, "u")}, revives},
		{"the teacher's, gone when we came back, and there again", roomView{}, nil, sighting{msg: msg("teacher", beganAt, 0), earlier: over(processing, away, "teacher")}, revives},
		{"a second echo", roomView{last: ended}, nil, sighting{msg: msg("teacher", beganAt, 5)}, ignored},
		{"a late echo of before the end", roomView{last: ended}, nil, sighting{msg: msg("teacher", beganAt.Add(time.Second), 0)}, ignored},
		{"a second class in the same second, by seq", roomView{last: ended}, nil, sighting{msg: msg("teacher", beganAt, 7), earlier: over(processing, stopped, "teacher")}, adopts},
		{"a second class in the same second, or an echo", roomView{last: endedNoSeq}, nil, sighting{msg: msg("teacher", beganAt, 0), earlier: over(processing, stopped, "teacher")}, lookAgain},
		{"the same, and the list has it", roomView{}, nil, sighting{msg: msg("teacher", beganAt, 0), inList: true, earlier: over(processing, stopped, "teacher")}, adopts},
		{"somebody else's class in the same second", roomView{last: endedNoSeq}, nil, sighting{msg: msg("assistant", beganAt, 0), earlier: over(processing, stopped, "teacher")}, adopts},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := tc.view.begun(tc.live, tc.seen); got != tc.want {
				t.Errorf("the verdict is %d, want %d", got, tc.want)
			}
		})
	}
}

// What it means that there is no ClassBegin.
func TestRoomView_Gone(t *testing.T) {
	t.Parallel()
	byRoom := inState(recording)
	byRoom.Recording.Origin = classrecv1.RecordingOrigin_RECORDING_ORIGIN_ROOM
	for _, tc := range []struct {
		name     string
		loss     loss
		live     *storev1.Record
		gone     bool
		mayBegin bool
		ends     bool
		doubtful bool
	}{
		{name: "nothing is live", gone: true},
		{name: "deleted", live: inState(recording), ends: true},
		{name: "gone", live: inState(recording), gone: true, ends: true, doubtful: true},
		{name: "gone with the room", loss: emptied, live: inState(recording), gone: true, ends: true, doubtful: true},
		{name: "gone from our own platform", live: inState(recording), gone: true, mayBegin: true, ends: true},
		{name: "gone with the room, on our own platform", loss: emptied, live: inState(recording), gone: true, mayBegin: true},
		{name: "gone with the last life", loss: reborn, live: inState(recording), gone: true, mayBegin: true},
		{name: "the teacher's, gone with the room", loss: emptied, live: byRoom, gone: true, mayBegin: true, ends: true},
		{name: "stopping, and gone with the room", loss: emptied, live: inState(stopping), gone: true, mayBegin: true, ends: true},
		{name: "starting, and not there", live: inState(starting), gone: true, ends: true}, // which means nothing to it
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ev, doubtful := roomView{loss: tc.loss}.ended(tc.live, talkcloud.Message{}, tc.gone, tc.mayBegin)
			if (ev != nil) != tc.ends || doubtful != tc.doubtful {
				t.Errorf("ends %t, in doubt %t", ev != nil, doubtful)
			}
		})
	}
}

// A recording that was taken for over goes on in three cases, and in no other.
func TestNext_GoesOn(t *testing.T) {
	t.Parallel()
	lim := timeouts
	lim.unwanted = 20 * time.Second
	class := begun{msg: classBeginAt(beganAt), user: "u", name: "rooms/42/recordings/1511860322"}
	late := class
	late.unwanted = true
	refused := inState(starting)
	refused.Recording.State, refused.Recording.EndReason = failedSt, classrecv1.EndReason_END_REASON_START_FAILED
	ended := inState(processing)
	ended.Recording.EndReason = classrecv1.EndReason_END_REASON_ENDED_WHILE_AWAY
	stoppedByRoom := inState(processing)
	stoppedByRoom.Recording.EndReason = classrecv1.EndReason_END_REASON_STOPPED_IN_ROOM
	unwanted := inState(recording)
	unwanted.Unwanted = true
	for name, tc := range map[string]struct {
		rec      *storev1.Record
		ev       event
		deadline time.Duration // from now; 0: nothing changes
		unwanted bool
	}{
		"given up, and begun late":        {refused, late, 20 * time.Second, true},
		"given up, and another's begins":  {refused, class, 0, false},
		"unwanted, and asked for":         {unwanted, wanted{requestID: "r"}, 24 * time.Hour, false},
		"wanted, and asked for":           {inState(recording), wanted{requestID: "r"}, 0, false},
		"stopping, and asked for":         {inState(stopping), wanted{requestID: "r"}, 0, false},
		"gone, and there again":           {ended, class, time.Hour, false},
		"deleted, and there again":        {stoppedByRoom, class, 0, false},
		"failed for want of files, again": {inState(failedSt), late, 0, false},
		"available, and there again":      {inState(available), late, 0, false},
	} {
		got := next(tc.rec, tc.ev, ourTime, lim)
		if (got != nil) != (tc.deadline != 0) {
			t.Errorf("%s: changes to %v", name, got)
			continue
		}
		if got == nil {
			continue
		}
		r := got.GetRecording()
		if r.GetState() != recording || r.GetEndReason() != 0 || r.GetFailure() != nil || r.GetStopTime() != nil || got.GetUnwanted() != tc.unwanted ||
			got.GetDeadline().AsTime() != ourTime.Add(tc.deadline) {
			t.Errorf("%s: is %v", name, got)
		}
	}
}
