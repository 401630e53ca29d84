// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"slices"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Bounds of what is taken from an entry of getrecordlist. They are those that
// the API promises; a platform may send anything.
const (
	maxTrackGaps    = 256
	maxWarnings     = 32
	maxWarningBytes = 256
	maxStartOffset  = 366 * 24 * time.Hour
)

// itemFiles returns the files of an entry of getrecordlist: all that the
// embedded platform tells of them, or the play addresses that TalkCloud gives,
// https before http.
func itemFiles(item talkcloud.RecordListItem) []*classrecv1.RecordingFile {
	var files []*classrecv1.RecordingFile
	for i := range item.Files {
		files = append(files, itemFile(&item.Files[i]))
	}
	if len(files) > 0 {
		return files
	}
	for _, u := range item.URLs() {
		files = append(files, &classrecv1.RecordingFile{Url: u})
	}
	return files
}

// itemFile converts what the embedded platform tells of a file.
func itemFile(f *talkcloud.RecordFile) *classrecv1.RecordingFile {
	file := &classrecv1.RecordingFile{
		Url: f.URL, UserId: string(f.UserID), Size: f.Size, MediaType: f.MediaType, Nickname: f.Nickname, Role: roleOf(f.Role),
		VideoCodec: f.VideoCodec, AudioCodec: f.AudioCodec, Width: f.Width, Height: f.Height,
		FrameRate: f.FrameRate, SampleRate: f.SampleRate, Sha256: f.SHA256,
	}
	if f.DurationMS > 0 {
		file.Duration = durationpb.New(time.Duration(f.DurationMS) * time.Millisecond)
	}
	if f.StartOffsetMS != nil && *f.StartOffsetMS >= 0 && *f.StartOffsetMS <= maxStartOffset.Milliseconds() {
		file.StartOffset = durationpb.New(time.Duration(*f.StartOffsetMS) * time.Millisecond)
	}
	return file
}

// roleOf is the role in a room as the API has it; nil, and what is no role of a
// person in a class, is UNSPECIFIED.
func roleOf(role *int) classrecv1.ParticipantRole {
	if role == nil || *role < talkcloud.RoleTeacher || *role > talkcloud.RolePatrol {
		return classrecv1.ParticipantRole_PARTICIPANT_ROLE_UNSPECIFIED
	}
	return classrecv1.ParticipantRole(*role - talkcloud.RoleTeacher + 1)
}

// itemGaps returns the gaps of people's media that the embedded platform tells
// of. A gap that makes no sense is left out.
func itemGaps(item talkcloud.RecordListItem) []*classrecv1.RecordingGap {
	var gaps []*classrecv1.RecordingGap
	for _, g := range item.Gaps {
		gap := &classrecv1.RecordingGap{
			StartTime: millis(g.StartMS), EndTime: millis(g.EndMS), Reason: short(g.Reason),
			UserId: string(g.UserID), Kind: mediaKind(g.Kind),
		}
		if gap.GetStartTime() != nil && gap.GetStartTime().IsValid() && gap.GetEndTime().IsValid() && g.EndMS >= g.StartMS {
			gaps = append(gaps, gap)
		}
	}
	return gaps[:min(len(gaps), maxTrackGaps)]
}

// millis converts Unix milliseconds; 0 is no time.
func millis(ms int64) *timestamppb.Timestamp {
	if ms == 0 {
		return nil
	}
	return timestamppb.New(time.UnixMilli(ms))
}

func mediaKind(kind string) classrecv1.MediaKind {
	switch kind {
	case talkcloud.KindAudio:
		return classrecv1.MediaKind_MEDIA_KIND_AUDIO
	case talkcloud.KindVideo:
		return classrecv1.MediaKind_MEDIA_KIND_VIDEO
	}
	return classrecv1.MediaKind_MEDIA_KIND_UNSPECIFIED
}

// itemWarnings returns what the embedded platform found odd about a recording.
func itemWarnings(item talkcloud.RecordListItem) []string {
	var warnings []string
	for _, w := range item.Warnings {
		warnings = appendWarning(warnings, w)
	}
	return warnings
}

// appendWarning adds a warning that is not there yet, within the bounds.
func appendWarning(warnings []string, w string) []string {
	if w = short(w); w == "" || len(warnings) >= maxWarnings || slices.Contains(warnings, w) {
		return warnings
	}
	return append(warnings, w)
}

// short cuts a sentence between two characters.
func short(s string) string {
	if len(s) <= maxWarningBytes {
		return s
	}
	s = s[:maxWarningBytes]
	for r, n := utf8.DecodeLastRuneInString(s); r == utf8.RuneError && n == 1; r, n = utf8.DecodeLastRuneInString(s) {
		s = s[:len(s)-1]
	}
	return s
}
