// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// short is an enum's name without its prefix: "-" for UNSPECIFIED.
func short(name, prefix string) string {
	name = strings.TrimPrefix(name, prefix)
	if name == "UNSPECIFIED" {
		return "-"
	}
	return name
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func state(r *classrecv1.Recording) string {
	return short(r.GetState().String(), "RECORDING_STATE_")
}

func format(r *classrecv1.Recording) string {
	return strings.ToLower(short(r.GetFormat().String(), "RECORDING_FORMAT_"))
}

func recordType(r *classrecv1.Recording) string {
	return strings.ToLower(short(r.GetRecordType().String(), "RECORD_TYPE_"))
}

func endReason(r *classrecv1.Recording) string {
	reason := short(r.GetEndReason().String(), "END_REASON_")
	return strings.ToLower(strings.ReplaceAll(reason, "_", " "))
}

func origin(r *classrecv1.Recording) string {
	switch r.GetOrigin() {
	case classrecv1.RecordingOrigin_RECORDING_ORIGIN_API:
		return "this service"
	case classrecv1.RecordingOrigin_RECORDING_ORIGIN_ROOM:
		return "somebody in the room"
	case classrecv1.RecordingOrigin_RECORDING_ORIGIN_PLATFORM:
		return "not known: it is in the platform's list only"
	default:
		return ""
	}
}

// records says what is recorded.
func records(r *classrecv1.Recording) string {
	parts := []string{format(r), recordType(r)}
	if r.GetRecordType() == classrecv1.RecordType_RECORD_TYPE_MIX {
		parts = append(parts, strings.ToLower(short(r.GetLayout().String(), "RECORDING_LAYOUT_")))
	}
	if r.GetRecordChat() {
		parts = append(parts, "with chat")
	}
	return strings.Join(parts, ", ")
}

// count is how many there are of something.
func count(n int, one, many string) string {
	switch n {
	case 0:
		return "no " + one
	case 1:
		return "1 " + one
	default:
		return fmt.Sprintf("%d %s", n, many)
	}
}

// moment is a time for a reader.
func moment(t *timestamppb.Timestamp) string {
	if t == nil {
		return "-"
	}
	return utc(t.AsTime())
}

// utc is a time in UTC, like all that the service says, and says so.
func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// duration is how long a class was, or is until now.
func (p printer) duration(r *classrecv1.Recording) string {
	if r.GetRecordTime() == nil {
		return "-"
	}
	end := p.now()
	if r.GetStopTime() != nil {
		end = r.GetStopTime().AsTime()
	} else if s := r.GetState(); s == classrecv1.RecordingState_RECORDING_STATE_AVAILABLE || s == classrecv1.RecordingState_RECORDING_STATE_FAILED {
		return "-" // over, and nobody knows since when
	}
	return span(end.Sub(r.GetRecordTime().AsTime()))
}

// span is a duration for a reader: 1:02:03 or 2:03.
func span(d time.Duration) string {
	s := int64(max(d, 0).Round(time.Second) / time.Second)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// total is the size of all files that is known.
func total(r *classrecv1.Recording) int64 {
	var sum int64
	for _, f := range r.GetFiles() {
		sum += f.GetSize()
	}
	return sum
}

// size is a number of bytes for a reader; "-" for 0, which is not known.
func size(n int64) string {
	if n <= 0 {
		return "-"
	}
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	value, unit := float64(n), 0
	for value >= 1024 && unit < len(units)-1 {
		value /= 1024
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}
