// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"time"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// contact is how much of a room is known now.
type contact int

const (
	unseen  contact = iota // nothing: the room was not joined, or has not told what is in it
	present                // what is in it, and each change of that
	absent                 // what was in it when the connection was lost
)

// loss is how a room came to be without what was in it.
type loss int

const (
	kept    loss = iota // it was not lost: what is missing was deleted
	emptied             // when we came back, nobody was there, and no message
	reborn              // the platform ended with the last life of this process
)

// roomView is all that a worker knows of its room: whether it is seen, since
// when it was not, which class is on, and what we have done to it. It is one
// value, and what is seen next means what its methods say: they are pure, and
// the table of their cases is TestRoomView_Table.
type roomView struct {
	contact contact
	missed  time.Time          // since when something may have been missed; zero: nothing
	loss    loss               // of what the room had when it was last seen
	class   *talkcloud.Message // ClassBegin as it is in the room; nil when there is none
	last    ending             // the class that was on before
	ours    publication        // the last ClassBegin that we have published
	taken   string             // the recording that was live when another life ended, which we took up
	unmet   bool               // and its room was not seen since
	evicted bool               // the recording's own identity is somebody else's now
	doubt   time.Time          // until when the room is to be watched for what may yet be seen; zero: not
	again   bool               // at the end of doubt, the room is to be joined anew, for its list
}

// ending is a class that is over, and the delete that ended it, as far as they
// were seen.
type ending struct{ begin, end talkcloud.Message }

// publication is a ClassBegin that was published for a recording.
type publication struct {
	id   string           // of the recording; empty for none
	user talkcloud.UserID // as whom
	data string
	open bool // it is not known what came of it
	// repeat: it is to be published again, since it was not sent, or is not in the room.
	repeat bool
}

// left is what stays known when the room is left: what we did, not what was in
// it.
func (v roomView) left() roomView {
	return roomView{ours: v.ours, taken: v.taken, unmet: v.unmet, evicted: v.evicted, last: v.last, doubt: v.doubt, again: v.again}
}

// joined is the view when the room has told what is in it: vacant says that it
// was without people and messages. rebornWith says that the platform ends with
// this process.
func (v roomView) joined(live *storev1.Record, vacant, rebornWith bool) roomView {
	v.contact, v.class, v.loss = present, nil, kept
	switch {
	case rebornWith && v.unmet && live.GetRecording().GetState() == recording && live.GetId() == v.taken:
		v.loss = reborn
	case vacant:
		v.loss = emptied
	}
	v.unmet = false
	return v
}

// owner is whose class a ClassBegin is.
type owner int

const (
	stranger owner = iota // somebody else's
	own                   // the live recording's
	orphan                // of an identity of ours, and not the live recording's
)

// sighting is a ClassBegin that was seen.
type sighting struct {
	msg    talkcloud.Message
	inList bool // in the list of what is in the room; else as it was told
	made   bool // by an identity that this service makes
	// earlier is the newest recording that is over and has this ts; nil where there
	// is none, and where the message has no ts.
	earlier *storev1.Record
}

// verdict is what a sighting means for the recordings of a room.
type verdict int

const (
	ignored   verdict = iota // nothing: an echo that comes late, or once more
	confirms                 // the live recording has begun
	goesOn                   // it is the live recording's class, maybe begun again
	blocks                   // another's class is on: the start has failed, and this one is recorded
	replaces                 // the live recording's class is over, and this is the next
	adopts                   // a class that nobody knew: it is recorded
	revives                  // a recording that was taken for over goes on
	unwanted                 // ours, of a start that was given up: it is recorded, and ended unless somebody asks for it
	deletes                  // ours, of a recording that is over: it is to be deleted
	lookAgain                // nobody can tell: the room's list has to
)

// owner returns whose class was seen.
func (v roomView) owner(live *storev1.Record, s sighting) owner {
	from := s.msg.FromID
	join := talkcloud.UserID(live.GetJoin().GetUserId())
	sent := live != nil && v.ours.id == live.GetId()
	switch {
	case sent && from == "", sent && from == v.ours.user:
		return own
	case sent && v.ours.open && !s.made && s.earlier == nil && s.msg.DataText() == v.ours.data:
		return own // under whatever name the platform tells it
	case from == "":
		return stranger
	case live != nil && from == join && (live.GetOwnUserId() || v.taken == live.GetId()) && !v.evicted:
		return own
	case s.made, v.ours.open && from == v.ours.user:
		return orphan
	}
	return stranger
}

// begun returns what a ClassBegin means.
func (v roomView) begun(live *storev1.Record, s sighting) verdict {
	whose := v.owner(live, s)
	if live == nil {
		return v.unexpected(whose, s)
	}
	switch state := live.GetRecording().GetState(); {
	case state == starting && whose == own:
		return confirms
	case state == starting && whose == orphan:
		return ignored // what is published now replaces it
	case state == starting && v.stale(s) != adopts:
		return ignored
	case state == starting:
		return blocks
	case whose == stranger && v.another(live, s):
		return replaces
	}
	return goesOn
}

// unexpected returns what a ClassBegin means where no recording is live.
func (v roomView) unexpected(whose owner, s sighting) verdict {
	gone := s.earlier.GetRecording().GetState() == processing &&
		s.earlier.GetRecording().GetEndReason() == classrecv1.EndReason_END_REASON_ENDED_WHILE_AWAY
	switch {
	case gone:
		return revives
	case whose == orphan && s.earlier == nil:
		return unwanted
	case whose == orphan && s.inList:
		return deletes
	case whose == orphan:
		return ignored
	case s.inList:
		return adopts
	}
	return v.stale(s)
}

// stale returns whether a ClassBegin that was told is of a class that is over:
// ignored, adopts where it is not, and lookAgain where the platform gives
// nothing to tell by.
func (v roomView) stale(s sighting) verdict {
	m, end := s.msg, v.last.end
	switch {
	case s.inList:
		return adopts
	case m.Seq > 0 && end.Seq > 0 && m.Seq < end.Seq:
		return ignored
	case m.Seq > 0 && end.Seq > 0:
		return adopts
	case before(m, end):
		return ignored
	case s.earlier != nil && (m.FromID == "" || string(m.FromID) == s.earlier.GetRecording().GetUserId()):
		return lookAgain
	}
	return adopts
}

// before reports whether m was stamped in an earlier second than o.
func before(m, o talkcloud.Message) bool {
	at, ok := m.TS.Time()
	than, known := o.TS.Time()
	return ok && known && at.Unix() < than.Unix()
}

// another reports whether a ClassBegin that was found where we had not looked
// for a while is of another class than the live recording's: it has another ts,
// and the room had not lost its state.
func (v roomView) another(live *storev1.Record, s sighting) bool {
	parts := live.GetRecordTs()
	at, known := s.msg.TS.Time()
	switch {
	case !s.inList, v.loss != kept, len(parts) == 0, !known:
		return false
	case v.class != nil && v.class.TS == 0: // the platform does not say
		return false
	}
	return parts[len(parts)-1] != at.Unix()
}

// ended returns the view and the event of a live recording, nil for none, when
// there is no ClassBegin in the room: it was deleted, or was not there when we
// looked. A class that is gone with all that was in the room is begun again where
// mayBegin says that the platform loses it with us. Against any other platform it
// is over; but as that may forget for a moment, the room is looked at once more
// after a while.
func (v roomView) ended(live *storev1.Record, msg talkcloud.Message, gone, mayBegin bool) (event, bool) {
	if live == nil {
		return nil, false
	}
	r := live.GetRecording()
	running := gone && r.GetState() == recording
	if running && v.loss != kept && mayBegin && r.GetOrigin() == classrecv1.RecordingOrigin_RECORDING_ORIGIN_API {
		return nil, false // nobody ended it: work publishes it again
	}
	return ended{msg: msg, gone: gone}, running && !mayBegin
}
