// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// classBegin returns what ClassBegin carries for a request.
func classBegin(req *classrecv1.StartRecordingRequest) talkcloud.ClassBegin {
	return talkcloud.ClassBegin{
		HasRecordType: true,
		RecordType:    int(recordType(req.GetRecordType())) - 1,
		Convert:       int(format(req.GetFormat())) - 1,
		Layout:        int(layout(req.GetLayout())) - 1,
		RecordChat:    req.RecordChat == nil || req.GetRecordChat(),
	}
}

func recordType(t classrecv1.RecordType) classrecv1.RecordType {
	if t == classrecv1.RecordType_RECORD_TYPE_UNSPECIFIED {
		return classrecv1.RecordType_RECORD_TYPE_LIST
	}
	return t
}

func format(f classrecv1.RecordingFormat) classrecv1.RecordingFormat {
	if f == classrecv1.RecordingFormat_RECORDING_FORMAT_UNSPECIFIED {
		return classrecv1.RecordingFormat_RECORDING_FORMAT_MKV
	}
	return f
}

func layout(l classrecv1.RecordingLayout) classrecv1.RecordingLayout {
	if l == classrecv1.RecordingLayout_RECORDING_LAYOUT_UNSPECIFIED {
		return classrecv1.RecordingLayout_RECORDING_LAYOUT_LANDSCAPE
	}
	return l
}

// describe writes into the recording what a ClassBegin message asked for; a
// value that the API has no word for stays UNSPECIFIED.
func describe(r *classrecv1.Recording, msg talkcloud.Message) {
	begin, err := talkcloud.ParseClassBegin(msg.Data)
	if err != nil {
		return
	}
	r.RecordType = classrecv1.RecordType_RECORD_TYPE_UNSPECIFIED
	if begin.HasRecordType {
		r.RecordType = known(classrecv1.RecordType_name, classrecv1.RecordType(begin.RecordType+1)) //nolint:gosec // what is no known value becomes none
	}
	r.Format = known(classrecv1.RecordingFormat_name, classrecv1.RecordingFormat(begin.Convert+1)) //nolint:gosec // what is no known value becomes none
	r.Layout = known(classrecv1.RecordingLayout_name, classrecv1.RecordingLayout(begin.Layout+1))  //nolint:gosec // what is no known value becomes none
	r.RecordChat = begin.RecordChat
}

// known returns v where the enum has it, else 0.
func known[E ~int32](names map[int32]string, v E) E {
	if _, ok := names[int32(v)]; !ok {
		return 0
	}
	return v
}

// messageTime returns a message's ts, or otherwise where it has none.
func messageTime(msg talkcloud.Message, otherwise time.Time) time.Time {
	if t, ok := msg.TS.Time(); ok {
		return t.UTC()
	}
	return otherwise
}

// Name returns the resource name of the n-th recording (from 1) that began in
// a room in one second.
func Name(roomID string, recordTS int64, n int) string {
	name := "rooms/" + roomID + "/recordings/" + strconv.FormatInt(recordTS, 10)
	if n > 1 {
		name += "-" + strconv.Itoa(n)
	}
	return name
}

// ParseName is the reverse of [Name].
func ParseName(name string) (roomID string, recordTS int64, err error) {
	parts := strings.Split(name, "/")
	if len(parts) != 4 || parts[0] != "rooms" || parts[2] != "recordings" || parts[1] == "" {
		return "", 0, fmt.Errorf("%q is not rooms/{room}/recordings/{recordts}", name)
	}
	second, _, _ := strings.Cut(parts[3], "-")
	recordTS, err = strconv.ParseInt(second, 10, 64)
	if err != nil || recordTS < 0 {
		return "", 0, fmt.Errorf("%q is not rooms/{room}/recordings/{recordts}", name)
	}
	return parts[1], recordTS, nil
}
