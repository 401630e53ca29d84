// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Codes of the platform's table that the room server answers with.
const (
	codeFailure      = -1
	codeRoomMissing  = 4007 // checkroom
	codeRoomGone     = 3003 // joinRoom
	codeField        = 4003 // a field is missing or malformed
	codePassword     = 4008
	codeKeyNeeded    = 4101
	codeKeyWrong     = 4102
	codeNoData       = 4105
	codeWriteFailed  = 4107
	codeNoPermission = 4108
	codeQuota        = 4103
)

// Reasons of refusals on the socket, for programs.
const (
	reasonPayload     = "BAD_PAYLOAD"      // the payload has another shape
	reasonEvent       = "UNKNOWN_EVENT"    // there is no such event
	reasonNotJoined   = "NOT_JOINED"       // joinRoom comes first
	reasonJoined      = "ALREADY_JOINED"   // this connection is somebody else already
	reasonStream      = "UNKNOWN_STREAM"   // no such stream of this participant
	reasonLimit       = "LIMIT_EXCEEDED"   // one of the limits in Config
	reasonRoom        = "NO_SUCH_ROOM"     // StrictRooms
	reasonID          = "BAD_ID"           // a room or user id that is none
	reasonClosing     = "SHUTTING_DOWN"    //
	reasonFFmpeg      = "FFMPEG_MISSING"   // ClassBegin asks for what only ffmpeg makes
	reasonRecording   = "RECORDING_FAILED" // the files of the recording could not be made
	reasonPassword    = "PASSWORD_NEEDED"  // checkroom was shown no password of the room from this address
	reasonDisk        = "DISK_FULL"        // less is free than Config.MinFree, or nothing
	reasonPermission  = "NO_PERMISSION"    // the role is not one that may
	reasonUnsupported = "NOT_SUPPORTED"
)

// refusedError is what a participant is told instead of what it asked for: x in the ack ["error", x].
type refusedError struct{ refusal talkcloud.Refusal }

func (e *refusedError) Error() string { return e.refusal.Reason + ": " + e.refusal.Message }

func refuse(code int, reason, message string) error {
	return &refusedError{talkcloud.Refusal{Code: code, Reason: reason, Message: message}}
}

// refusalOf returns what of an error may be told to a participant.
func refusalOf(err error) talkcloud.Refusal {
	var refused *refusedError
	if errors.As(err, &refused) {
		return refused.refusal
	}
	return talkcloud.Refusal{Code: codeFailure, Reason: reasonPayload, Message: err.Error()}
}

// maxIDBytes is the longest room or user id.
const maxIDBytes = 128

// checkID tells what is wrong with a room or user id. What begins with two underscores is kept for groups.
func checkID(id string) error {
	switch {
	case id == "":
		return errors.New("empty id")
	case len(id) > maxIDBytes:
		return errors.New("id longer than 128 bytes")
	case id == "." || id == "..", strings.HasPrefix(id, "__"), strings.Contains(id, "/"):
		return errors.New("reserved id")
	case !utf8.ValidString(id), strings.ContainsFunc(id, unicode.IsControl):
		return errors.New("id with characters that are not text")
	}
	return nil
}
