// SPDX-License-Identifier: Apache-2.0

// Package clips carries short synthetic media for the demo, the tests and the benchmarks: a teacher and a
// student in VP8 and Opus, the teacher in H264, and a 720p VP8 stream. A running clock is burnt into each
// picture, and in the first tenth of every second the picture flashes and the sound beeps, so that one can
// see and measure whether a recording kept them together.
//
// The clips are made by generate.sh and embedded. Each lasts a whole number of seconds, begins with a
// keyframe and can be played in a loop with [Clip.Play]. The package parses its own files only; it is not a
// reader for files from elsewhere.
package clips

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pion/webrtc/v4/pkg/media/h264reader"
	"github.com/pion/webrtc/v4/pkg/media/ivfreader"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"
)

// MIME types of clips, as WebRTC names them. None of ours is VP9.
const (
	MimeTypeVP8  = "video/VP8"
	MimeTypeVP9  = "video/VP9"
	MimeTypeH264 = "video/H264"
	MimeTypeOpus = "audio/opus"
)

// opusFrame is how long each packet of the Opus clips lasts; generate.sh sets it.
const opusFrame = 20 * time.Millisecond

// h264Rate is the frame rate of the H264 clip, which Annex B itself does not carry.
const h264Rate = 15

var (
	//go:embed teacher.ivf
	teacherIVF []byte
	//go:embed teacher.ogg
	teacherOgg []byte
	//go:embed teacher.h264
	teacherH264 []byte
	//go:embed student.ivf
	studentIVF []byte
	//go:embed student.ogg
	studentOgg []byte
	//go:embed bench720p.ivf
	bench720pIVF []byte
)

// A Frame is one encoded picture or one Opus packet.
type Frame struct {
	// Data is the VP8 frame, the H264 access unit in Annex B form, or the Opus packet.
	// It is shared: do not change it.
	Data []byte
	// Time is when the frame is shown, from the start of the clip or, in [Clip.Play], of the playing.
	Time time.Duration
	// Duration is how long the frame lasts.
	Duration time.Duration
	// Key tells whether decoding can begin here. Every Opus packet is a key.
	Key bool
}

// A Clip is one stream of frames. It is immutable and may be shared by goroutines.
type Clip struct {
	MimeType      string
	ClockRate     uint32
	Channels      uint16 // 0 for video
	Width, Height int    // 0 for audio
	Frames        []Frame
	Duration      time.Duration // where the next round of a loop begins
}

// TeacherVideo is VP8, 640x360 at 15 frames a second.
func TeacherVideo() (*Clip, error) { return parseIVF("teacher.ivf", teacherIVF) }

// TeacherAudio is Opus, mono, beeping at 880 Hz.
func TeacherAudio() (*Clip, error) { return parseOgg("teacher.ogg", teacherOgg) }

// TeacherH264 is H264 (constrained baseline), 640x360 at 15 frames a second.
func TeacherH264() (*Clip, error) { return parseH264("teacher.h264", teacherH264) }

// StudentVideo is VP8, 320x240 at 15 frames a second.
func StudentVideo() (*Clip, error) { return parseIVF("student.ivf", studentIVF) }

// StudentAudio is Opus, mono, beeping at 1320 Hz.
func StudentAudio() (*Clip, error) { return parseOgg("student.ogg", studentOgg) }

// Bench720p is VP8, 1280x720 at 30 frames a second and about 1.8 Mbit/s.
func Bench720p() (*Clip, error) { return parseIVF("bench720p.ivf", bench720pIVF) }

// Player gives the frames of a clip again and again, with times that go on. It is not safe for concurrent use.
type Player struct {
	clip   *Clip
	next   int
	offset time.Duration
}

// Play begins a loop over the clip.
func (c *Clip) Play() *Player { return &Player{clip: c} }

// Next returns the next frame; there always is one.
func (p *Player) Next() Frame {
	f := p.clip.Frames[p.next]
	f.Time += p.offset
	if p.next++; p.next == len(p.clip.Frames) {
		p.next = 0
		p.offset += p.clip.Duration
	}
	return f
}

func parseIVF(name string, data []byte) (*Clip, error) {
	r, h, err := ivfreader.NewWith(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("clip %s: %w", name, err)
	}
	c := &Clip{MimeType: MimeTypeVP8, ClockRate: 90000, Width: int(h.Width), Height: int(h.Height)}
	unit := time.Second * time.Duration(h.TimebaseNumerator) / time.Duration(h.TimebaseDenominator)
	for {
		frame, _, err := r.ParseNextFrame()
		if errors.Is(err, io.EOF) {
			return c.finish(name)
		}
		if err != nil {
			return nil, fmt.Errorf("clip %s: %w", name, err)
		}
		c.Frames = append(c.Frames, Frame{
			Data: frame, Time: unit * time.Duration(len(c.Frames)), Duration: unit,
			Key: len(frame) > 0 && frame[0]&1 == 0, // RFC 6386 section 9.1
		})
	}
}

func parseOgg(name string, data []byte) (*Clip, error) {
	r, h, err := oggreader.NewWith(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("clip %s: %w", name, err)
	}
	c := &Clip{MimeType: MimeTypeOpus, ClockRate: 48000, Channels: uint16(h.Channels)}
	for {
		page, header, err := r.ParseNextPage()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("clip %s: %w", name, err)
		}
		if header.GranulePosition == 0 || bytes.HasPrefix(page, []byte("OpusTags")) {
			continue
		}
		c.Frames = append(c.Frames, Frame{
			Data: page, Time: opusFrame * time.Duration(len(c.Frames)), Duration: opusFrame, Key: true,
		})
	}
	// The encoder adds a packet to drain its look-ahead; without it the loop has the length of the video.
	whole := int(time.Second / opusFrame)
	c.Frames = c.Frames[:len(c.Frames)/whole*whole]
	return c.finish(name)
}

func parseH264(name string, data []byte) (*Clip, error) {
	r, err := h264reader.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("clip %s: %w", name, err)
	}
	c := &Clip{MimeType: MimeTypeH264, ClockRate: 90000, Width: 640, Height: 360}
	var unit []byte // the access unit being gathered: parameter sets, then one slice
	for {
		nal, err := r.NextNAL()
		if errors.Is(err, io.EOF) {
			return c.finish(name)
		}
		if err != nil {
			return nil, fmt.Errorf("clip %s: %w", name, err)
		}
		unit = append(unit, 0, 0, 0, 1)
		unit = append(unit, nal.Data...)
		key := nal.UnitType == h264reader.NalUnitTypeCodedSliceIdr
		if !key && nal.UnitType != h264reader.NalUnitTypeCodedSliceNonIdr {
			continue
		}
		n := time.Duration(len(c.Frames))
		c.Frames = append(c.Frames, Frame{
			Data: unit, Time: n * time.Second / h264Rate, Duration: time.Second / h264Rate, Key: key,
		})
		unit = nil
	}
}

func (c *Clip) finish(name string) (*Clip, error) {
	if len(c.Frames) == 0 || !c.Frames[0].Key {
		return nil, fmt.Errorf("clip %s: does not begin with a keyframe", name)
	}
	last := c.Frames[len(c.Frames)-1]
	c.Duration = (last.Time + last.Duration).Round(time.Millisecond)
	return c, nil
}
