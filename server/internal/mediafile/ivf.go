// SPDX-License-Identifier: Apache-2.0

package mediafile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/classrec/classrec/server/internal/clips"
)

// parseIVF reads the format of libvpx: a head of 32 bytes, then frames with 12
// bytes of length and time before each.
func parseIVF(data []byte) (*clips.Clip, error) {
	const head, frameHead = 32, 12
	if len(data) < head {
		return nil, errors.New("ends in the head")
	}
	c := &clips.Clip{
		ClockRate: 90000,
		Width:     int(binary.LittleEndian.Uint16(data[12:])), Height: int(binary.LittleEndian.Uint16(data[14:])),
	}
	switch fourcc := string(data[8:12]); fourcc {
	case "VP80":
		c.MimeType = clips.MimeTypeVP8
	case "VP90":
		c.MimeType = clips.MimeTypeVP9
	default:
		return nil, fmt.Errorf("has pictures in %q, not VP8 or VP9", fourcc)
	}
	rate, scale := binary.LittleEndian.Uint32(data[16:]), binary.LittleEndian.Uint32(data[20:])
	if rate == 0 || scale == 0 {
		return nil, errors.New("has no time base")
	}
	unit := float64(time.Second) * float64(scale) / float64(rate)
	for rest := data[head:]; len(rest) > 0; {
		if len(rest) < frameHead {
			return nil, errors.New("ends in a frame")
		}
		size, at := uint64(binary.LittleEndian.Uint32(rest)), float64(binary.LittleEndian.Uint64(rest[4:]))*unit
		rest = rest[frameHead:]
		if size > uint64(len(rest)) {
			return nil, errors.New("ends in a frame")
		}
		if at > math.MaxInt64/4 {
			return nil, errors.New("has a frame at an impossible time")
		}
		frame := rest[:size:size]
		c.Frames = append(c.Frames, clips.Frame{Data: frame, Time: time.Duration(at), Key: isKey(c.MimeType, frame)})
		rest = rest[size:]
	}
	return c, nil
}
