// SPDX-License-Identifier: Apache-2.0

// Package mediafile reads media files of users into clips, for a publisher to
// play: WebM and Matroska with VP8, VP9 or H264 and Opus, IVF with VP8 or VP9,
// and Ogg with Opus. What a file is, its content says and not its name.
//
// Of each kind the first track is taken. Both tracks begin together at 0, the
// video with a keyframe. Files are read into memory, up to [MaxBytes]. What
// WebRTC does not carry, such as other codecs and pictures that are not in the
// order in which they are shown, is refused. Of a Matroska file that was cut off
// there is what came before.
package mediafile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/classrec/classrec/server/internal/clips"
)

// MaxBytes is the largest file that is read.
const MaxBytes = 512 << 20

// Media is what a file has to play; one of them may be nil, not both.
type Media struct{ Video, Audio *clips.Clip }

// Read reads a file.
func Read(path string) (Media, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Media{}, err
	}
	if info.Size() > MaxBytes {
		return Media{}, fmt.Errorf("%s: is larger than %d bytes", path, MaxBytes)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Media{}, err
	}
	m, err := Parse(data)
	if err != nil {
		return Media{}, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Parse reads the content of a file. The clips may keep data.
func Parse(data []byte) (Media, error) {
	var m Media
	var err error
	switch {
	case bytes.HasPrefix(data, []byte{0x1a, 0x45, 0xdf, 0xa3}):
		m, err = parseMatroska(data)
	case bytes.HasPrefix(data, []byte("DKIF")):
		m.Video, err = parseIVF(data)
	case bytes.HasPrefix(data, []byte("OggS")):
		m.Audio, err = parseOgg(data)
	default:
		return m, errors.New("is not WebM, Matroska, IVF or Ogg")
	}
	if err != nil {
		return Media{}, err
	}
	return m, m.finish()
}

// finish brings the tracks to a common beginning, and checks them.
func (m *Media) finish() error {
	if m.Video != nil {
		if m.Video.MimeType == clips.MimeTypeVP9 && slices.ContainsFunc(m.Video.Frames, otherVP9) {
			return errors.New("has VP9 of another profile than 0 (8 bits, 4:2:0), which is not negotiated")
		}
		first := slices.IndexFunc(m.Video.Frames, func(f clips.Frame) bool { return f.Key })
		if first < 0 {
			return errors.New("has no keyframe")
		}
		m.Video.Frames = m.Video.Frames[first:]
	}
	var begin time.Duration
	for i, c := range []*clips.Clip{m.Video, m.Audio} {
		switch {
		case c == nil:
		case len(c.Frames) == 0:
			return errors.New("has an empty track")
		case i == 0 || m.Video == nil:
			begin = c.Frames[0].Time
		}
	}
	if m.Audio != nil { // what was heard before the first picture is not
		heard := slices.IndexFunc(m.Audio.Frames, func(f clips.Frame) bool { return f.Time >= begin })
		if heard < 0 {
			return errors.New("has no sound beside its pictures")
		}
		m.Audio.Frames = m.Audio.Frames[heard:]
	}
	for _, c := range []*clips.Clip{m.Video, m.Audio} {
		if c == nil {
			continue
		}
		if err := settle(c, begin); err != nil {
			return err
		}
	}
	return nil
}

// settle makes times begin at begin, and gives every frame its duration.
func settle(c *clips.Clip, begin time.Duration) error {
	for i := range c.Frames {
		c.Frames[i].Time -= begin
		if i == 0 {
			continue
		}
		last := &c.Frames[i-1]
		step := c.Frames[i].Time - last.Time
		if step < 0 {
			return errors.New("has frames in another order than they are shown in, which WebRTC does not carry")
		}
		last.Duration = step
	}
	last := &c.Frames[len(c.Frames)-1]
	if last.Duration <= 0 {
		last.Duration = 40 * time.Millisecond
		if n := len(c.Frames); n > 1 {
			last.Duration = c.Frames[n-2].Duration
		}
	}
	if c.MimeType == clips.MimeTypeOpus {
		last.Duration = opusDuration(last.Data)
	}
	if c.Duration = last.Time + last.Duration; c.Duration <= 0 {
		return errors.New("has frames that take no time")
	}
	return nil
}

// isKey tells a picture that decoding can begin with.
func isKey(mime string, data []byte) bool {
	if len(data) == 0 {
		return false
	}
	switch mime {
	case clips.MimeTypeVP8:
		return data[0]&1 == 0 // RFC 6386 section 9.1
	case clips.MimeTypeVP9: // its bitstream specification, section 6.2; profile 0
		return data[0]&0b1111_1100 == 0b1000_0000
	case clips.MimeTypeH264:
		return bytes.Contains(data, []byte{0, 0, 0, 1, 0x65}) || bytes.Contains(data, []byte{0, 0, 0, 1, 0x25}) || bytes.Contains(data, []byte{0, 0, 0, 1, 0x45})
	}
	return true
}

// otherVP9 tells a picture of another profile than 0.
func otherVP9(f clips.Frame) bool { return len(f.Data) > 0 && f.Data[0]&0b0011_0000 != 0 }

// opusDuration is how long an Opus packet lasts (RFC 6716 section 3.1).
func opusDuration(packet []byte) time.Duration {
	if len(packet) == 0 {
		return 0
	}
	var frame time.Duration
	switch config := packet[0] >> 3; {
	case config < 12:
		frame = [...]time.Duration{10 * time.Millisecond, 20 * time.Millisecond, 40 * time.Millisecond, 60 * time.Millisecond}[config&3]
	case config < 16:
		frame = [...]time.Duration{10 * time.Millisecond, 20 * time.Millisecond}[config&1]
	default:
		frame = 2500 * time.Microsecond << (config & 3)
	}
	switch packet[0] & 3 {
	case 0:
		return frame
	case 1, 2:
		return 2 * frame
	}
	if len(packet) < 2 {
		return 0
	}
	return min(time.Duration(packet[1]&0x3f)*frame, 120*time.Millisecond)
}
