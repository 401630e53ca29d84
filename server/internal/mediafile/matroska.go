// SPDX-License-Identifier: Apache-2.0

package mediafile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/classrec/classrec/server/internal/clips"
)

// matroska is a file that is read: the first video and the first audio track
// (RFC 9559).
type matroska struct {
	media  Media
	scale  uint64 // nanoseconds of one unit of time
	tracks map[uint64]*matroskaTrack
}

func parseMatroska(data []byte) (Media, error) {
	m := &matroska{scale: uint64(time.Millisecond), tracks: map[uint64]*matroskaTrack{}}
	err := eachElement(data, func(e element) error {
		if e.id != idSegment {
			return nil
		}
		return eachElement(e.data, m.part)
	})
	if err == nil && m.media == (Media{}) {
		err = errors.New("has no track to play")
	}
	return m.media, err
}

// part takes an element of the segment.
func (m *matroska) part(e element) error {
	switch e.id {
	case idInfo:
		return eachElement(e.data, func(e element) error {
			if n := e.number(); e.id == idTimestamp && n > 0 {
				m.scale = n
			}
			return nil
		})
	case idTracks:
		return eachElement(e.data, func(e element) error {
			if e.id != idTrackEntry {
				return nil
			}
			return m.track(e.data)
		})
	case idCluster:
		return m.cluster(e.data)
	}
	return nil
}

// cluster takes the frames of a cluster.
func (m *matroska) cluster(data []byte) error {
	var at uint64
	return eachElement(data, func(e element) error {
		switch e.id {
		case idClusterTime:
			at = e.number()
		case idSimpleBlock:
			return m.block(at, e.data)
		case idBlockGroup:
			return eachElement(e.data, func(e element) error {
				if e.id != idBlock {
					return nil
				}
				return m.block(at, e.data)
			})
		}
		return nil
	})
}

// block takes a frame: the track's number, the time after its cluster, flags,
// and the frame itself.
func (m *matroska) block(cluster uint64, data []byte) error {
	number, n := vint(data, maxVintBytes, true)
	if n == 0 || len(data) < n+3 {
		return nil // cut off
	}
	t := m.tracks[number]
	if t == nil {
		return nil
	}
	if data[n+2]&0x06 != 0 {
		return errors.New("has several frames in one block (lacing), which is not read")
	}
	at := (float64(cluster) + float64(int16(binary.BigEndian.Uint16(data[n:])))) * float64(m.scale)
	if math.Abs(at) > math.MaxInt64/4 {
		return errors.New("has a frame at an impossible time")
	}
	return t.add(time.Duration(at), data[n+3:])
}

// matroskaTrack is a track that is read.
type matroskaTrack struct {
	clip       *clips.Clip
	sets       []byte // H264: the parameter sets, as Annex B
	lengthSize int    // H264: bytes of the length before each unit
}

// track takes the description of a track.
func (m *matroska) track(data []byte) error {
	var number uint64
	var codec string
	var private []byte
	t := &matroskaTrack{clip: &clips.Clip{ClockRate: 90000}}
	err := eachElement(data, func(e element) error {
		switch e.id {
		case idTrackNumber:
			number = e.number()
		case idCodecID:
			codec = strings.TrimRight(string(e.data), "\x00")
		case idCodecPrivate:
			private = e.data
		case idVideo, idAudio:
			return eachElement(e.data, func(e element) error {
				switch e.id {
				case idWidth:
					t.clip.Width = int(e.number())
				case idHeight:
					t.clip.Height = int(e.number())
				case idChannels:
					t.clip.Channels = uint16(e.number())
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	place := &m.media.Video
	switch codec {
	case "V_VP8":
		t.clip.MimeType = clips.MimeTypeVP8
	case "V_VP9":
		t.clip.MimeType = clips.MimeTypeVP9
	case "V_MPEG4/ISO/AVC":
		t.clip.MimeType = clips.MimeTypeH264
		if err := t.configureH264(private); err != nil {
			return err
		}
	case "A_OPUS":
		t.clip.MimeType, t.clip.ClockRate = clips.MimeTypeOpus, 48000
		t.clip.Channels = max(t.clip.Channels, 1)
		place = &m.media.Audio
	default:
		if strings.HasPrefix(codec, "V_") || strings.HasPrefix(codec, "A_") {
			return fmt.Errorf("has a track in %q, not VP8, VP9, H264 or Opus", codec)
		}
		return nil // subtitles and the like are left out
	}
	if *place == nil {
		*place, m.tracks[number] = t.clip, t
	}
	return nil
}

// configureH264 reads the AVCDecoderConfigurationRecord (ISO 14496-15).
func (t *matroskaTrack) configureH264(record []byte) error {
	broken := errors.New("has H264 without its parameters")
	if len(record) < 6 {
		return broken
	}
	t.lengthSize = int(record[4]&3) + 1
	count, rest := int(record[5]&0x1f), record[6:]
	for range 2 { // sequence parameter sets, then picture parameter sets
		for range count {
			if len(rest) < 2 {
				return broken
			}
			size := int(binary.BigEndian.Uint16(rest))
			if rest = rest[2:]; len(rest) < size {
				return broken
			}
			t.sets = append(append(t.sets, 0, 0, 0, 1), rest[:size]...)
			rest = rest[size:]
		}
		if len(rest) == 0 {
			break
		}
		count, rest = int(rest[0]), rest[1:]
	}
	return nil
}

// add takes a frame.
func (t *matroskaTrack) add(at time.Duration, data []byte) error {
	if t.clip.MimeType == clips.MimeTypeH264 {
		var err error
		if data, err = t.annexB(data); err != nil {
			return err
		}
	}
	t.clip.Frames = append(t.clip.Frames, clips.Frame{Data: data, Time: at, Key: isKey(t.clip.MimeType, data)})
	return nil
}

// annexB writes start codes instead of lengths, and the parameter sets before a
// keyframe.
func (t *matroskaTrack) annexB(data []byte) ([]byte, error) {
	var units []byte
	for len(data) > 0 {
		if len(data) < t.lengthSize {
			return nil, errors.New("has a broken picture")
		}
		size := 0
		for _, b := range data[:t.lengthSize] {
			size = size<<8 | int(b)
		}
		if data = data[t.lengthSize:]; size > len(data) {
			return nil, errors.New("has a broken picture")
		}
		units = append(append(units, 0, 0, 0, 1), data[:size]...)
		data = data[size:]
	}
	if isKey(clips.MimeTypeH264, units) {
		units = append(slices.Clone(t.sets), units...)
	}
	return units, nil
}
