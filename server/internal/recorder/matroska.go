// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/at-wat/ebml-go"
	"github.com/at-wat/ebml-go/webm"
)

// Element ids that are written or read by hand (RFC 9559); the header and the cues are marshaled by ebml-go.
const (
	idSegment     = 0x18538067
	idCluster     = 0x1f43b675
	idTimestamp   = 0xe7
	idSimpleBlock = 0xa3
	idBlockGroup  = 0xa0
	idBlock       = 0xa1
	idDuration    = 0x9b
	idCues        = 0x1c53bb6b
	idVoid        = 0xec
)

// Track types of Matroska.
const (
	trackVideo    = 1
	trackAudio    = 2
	trackSubtitle = 17
)

// maxTrackName bounds a person's name in a file's head, which has limited room.
const maxTrackName = 256

// stream is one track of a file as the manifest and the header know it. Its JSON is part of the manifest.
type stream struct {
	UserID     string `json:"userId"`
	StreamID   string `json:"streamId"`
	Source     string `json:"source,omitempty"`
	Nickname   string `json:"nickname,omitempty"`
	Role       *int   `json:"role,omitempty"`
	Type       uint8  `json:"type"`
	Codec      string `json:"codec"`
	Private    []byte `json:"private,omitempty"`
	Width      int    `json:"width,omitempty"` // the largest so far
	Height     int    `json:"height,omitempty"`
	Resized    bool   `json:"resized,omitempty"` // the picture's size has changed
	SampleRate int    `json:"sampleRate,omitempty"`
	Channels   int    `json:"channels,omitempty"`
	// Parts are the publisher's streams in the track, of TypeMix.
	Parts []streamPart `json:"parts,omitempty"`
}

type ebmlTop struct {
	EBML webm.EBMLHeader `ebml:"EBML"`
}

type ebmlSeekHead struct {
	SeekHead struct {
		Seek []ebmlSeek `ebml:"Seek"`
	} `ebml:"SeekHead"`
}

type ebmlSeek struct {
	SeekID       []byte `ebml:"SeekID"`
	SeekPosition uint64 `ebml:"SeekPosition,size=8"`
}

type ebmlInfo struct {
	Info struct {
		TimecodeScale uint64    `ebml:"TimecodeScale"`
		Duration      float64   `ebml:"Duration,omitempty"`
		DateUTC       time.Time `ebml:"DateUTC"`
		MuxingApp     string    `ebml:"MuxingApp"`
		WritingApp    string    `ebml:"WritingApp"`
	} `ebml:"Info"`
}

type ebmlTracks struct {
	Tracks struct {
		TrackEntry []ebmlTrackEntry `ebml:"TrackEntry"`
	} `ebml:"Tracks"`
}

type ebmlTrackEntry struct {
	TrackNumber  uint64      `ebml:"TrackNumber"`
	TrackUID     uint64      `ebml:"TrackUID"`
	TrackType    uint64      `ebml:"TrackType"`
	FlagDefault  uint64      `ebml:"FlagDefault"`
	FlagLacing   uint64      `ebml:"FlagLacing"`
	Name         string      `ebml:"Name,omitempty"`
	Language     string      `ebml:"Language"`
	CodecID      string      `ebml:"CodecID"`
	CodecPrivate []byte      `ebml:"CodecPrivate,omitempty"`
	SeekPreRoll  uint64      `ebml:"SeekPreRoll,omitempty"`
	Video        *webm.Video `ebml:"Video"`
	Audio        *webm.Audio `ebml:"Audio"`
}

type ebmlCues struct {
	Cues struct {
		CuePoint []ebmlCuePoint `ebml:"CuePoint"`
	} `ebml:"Cues"`
}

type ebmlCuePoint struct {
	CueTime           uint64 `ebml:"CueTime"`
	CueTrackPositions struct {
		CueTrack            uint64 `ebml:"CueTrack"`
		CueClusterPosition  uint64 `ebml:"CueClusterPosition"`
		CueRelativePosition uint64 `ebml:"CueRelativePosition"`
	} `ebml:"CueTrackPositions"`
}

// fileHead is all that the head of a file says.
type fileHead struct {
	docType  string // matroska or webm
	begin    time.Time
	streams  []*stream
	duration time.Duration // 0 while recording
	cues     int64         // where the Cues stand in the file; 0 without
	end      int64         // size of the file; 0 while recording: the segment's size is unknown then
	room     int           // bytes reserved for the head, so that tracks can be added later
}

// marshal returns the head, padded with a Void element to exactly room bytes. The part up to the Void's size
// is all that changes when tracks are added: it is the first n bytes.
func (h *fileHead) marshal() (data []byte, n int, err error) {
	var top, info, tracks, seek bytes.Buffer
	doc := ebmlTop{EBML: *webmHeader(h.docType)}
	if err := ebml.Marshal(&doc, &top); err != nil {
		return nil, 0, err
	}
	size := uint64(0x01ffffffffffffff) // unknown
	if h.end > 0 {
		size = 1<<56 | uint64(h.end-int64(top.Len())-12)
	}
	top.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, idSegment), size))

	var i ebmlInfo
	i.Info.TimecodeScale = uint64(time.Millisecond)
	i.Info.Duration = float64(h.duration) / float64(time.Millisecond)
	i.Info.DateUTC = h.begin.UTC()
	i.Info.MuxingApp, i.Info.WritingApp = "classrec", "classrec"
	if err := ebml.Marshal(&i, &info); err != nil {
		return nil, 0, err
	}
	var tr ebmlTracks
	seen := map[uint8]bool{}
	for n, s := range h.streams {
		e := ebmlTrackEntry{
			TrackNumber: uint64(n + 1), TrackUID: uint64(n + 1), TrackType: uint64(s.Type), Name: clipText(oneLine(cmp.Or(s.Nickname, s.UserID)), maxTrackName),
			Language: "und", CodecID: codecID(s.Codec), CodecPrivate: s.Private,
		}
		if !seen[s.Type] {
			seen[s.Type], e.FlagDefault = true, 1
		}
		switch s.Type {
		case trackVideo:
			e.Video = &webm.Video{PixelWidth: uint64(s.Width), PixelHeight: uint64(s.Height)}
		case trackAudio:
			e.Audio = &webm.Audio{SamplingFrequency: float64(s.SampleRate), Channels: uint64(s.Channels)}
			if s.Codec == codecOpus {
				e.SeekPreRoll = uint64(80 * time.Millisecond)
			}
		}
		tr.Tracks.TrackEntry = append(tr.Tracks.TrackEntry, e)
	}
	if err := ebml.Marshal(&tr, &tracks); err != nil {
		return nil, 0, err
	}
	var sh ebmlSeekHead
	positions := []ebmlSeek{{SeekID: []byte{0x15, 0x49, 0xa9, 0x66}}, {SeekID: []byte{0x16, 0x54, 0xae, 0x6b}}}
	if h.cues > 0 {
		positions = append(positions, ebmlSeek{SeekID: []byte{0x1c, 0x53, 0xbb, 0x6b}})
	}
	sh.SeekHead.Seek = positions
	for range 2 { // once for its length, which the positions depend on
		seek.Reset()
		if err := ebml.Marshal(&sh, &seek); err != nil {
			return nil, 0, err
		}
		positions[0].SeekPosition = uint64(seek.Len())
		positions[1].SeekPosition = uint64(seek.Len() + info.Len())
		if h.cues > 0 {
			positions[2].SeekPosition = uint64(h.cues - int64(top.Len()))
		}
	}
	for _, b := range []*bytes.Buffer{&seek, &info, &tracks} {
		top.Write(b.Bytes())
	}
	data = top.Bytes()
	rest := h.room - len(data) - 9
	if rest < 0 {
		return nil, 0, fmt.Errorf("head of %d tracks: %w", len(h.streams), errHeadFull)
	}
	data = append(data, idVoid)
	data = binary.BigEndian.AppendUint64(data, 1<<56|uint64(rest))
	n = len(data)
	return append(data, make([]byte, rest)...), n, nil
}

// segmentStart is where the positions of SeekHead and Cues count from.
func (h *fileHead) segmentStart() (int64, error) {
	var b bytes.Buffer
	doc := ebmlTop{EBML: *webmHeader(h.docType)}
	if err := ebml.Marshal(&doc, &b); err != nil {
		return 0, err
	}
	return int64(b.Len()) + 12, nil
}

func webmHeader(docType string) *webm.EBMLHeader {
	h := *webm.DefaultEBMLHeader
	h.DocType = docType
	return &h
}

// cue is one entry of the index.
type cue struct {
	at       int64 // ms
	cluster  int64 // position in the file
	relative uint32
	track    uint32
}

func marshalCues(cues []cue, segmentStart int64) ([]byte, error) {
	var c ebmlCues
	c.Cues.CuePoint = make([]ebmlCuePoint, len(cues))
	for i, q := range cues {
		p := &c.Cues.CuePoint[i]
		p.CueTime = uint64(q.at)
		p.CueTrackPositions.CueTrack = uint64(q.track)
		p.CueTrackPositions.CueClusterPosition = uint64(q.cluster - segmentStart)
		p.CueTrackPositions.CueRelativePosition = uint64(q.relative)
	}
	var b bytes.Buffer
	err := ebml.Marshal(&c, &b)
	return b.Bytes(), err
}

// appendCluster begins a cluster; closeCluster sets its size.
func appendCluster(b []byte, at int64) []byte {
	b = binary.BigEndian.AppendUint32(b, idCluster)
	b = binary.BigEndian.AppendUint64(b, 1<<56)
	b = append(b, idTimestamp, 0x88)
	return binary.BigEndian.AppendUint64(b, uint64(at))
}

func closeCluster(cluster []byte) {
	binary.BigEndian.PutUint64(cluster[4:], 1<<56|uint64(len(cluster)-12))
}

// appendSize writes an element's size in the least number of bytes.
func appendSize(b []byte, n int) []byte {
	switch {
	case n < 1<<7-1:
		return append(b, 0x80|byte(n))
	case n < 1<<14-1:
		return append(b, 0x40|byte(n>>8), byte(n))
	case n < 1<<21-1:
		return append(b, 0x20|byte(n>>16), byte(n>>8), byte(n))
	}
	return binary.BigEndian.AppendUint32(b, 0x10000000|uint32(n))
}

func sizeLen(n int) int {
	switch {
	case n < 1<<7-1:
		return 1
	case n < 1<<14-1:
		return 2
	case n < 1<<21-1:
		return 3
	}
	return 4
}

// appendBlockHead writes what precedes a frame in a Block or SimpleBlock.
func appendBlockHead(b []byte, track int, at int16, flags byte) []byte {
	b = appendSize(b, track) // a track number is coded as a size is
	return append(b, byte(at>>8), byte(at), flags)
}

func appendSimpleBlock(b []byte, track int, at int16, key bool, data []byte) []byte {
	b = append(b, idSimpleBlock)
	b = appendSize(b, sizeLen(track)+3+len(data))
	flags := byte(0)
	if key {
		flags = 0x80
	}
	b = appendBlockHead(b, track, at, flags)
	return append(b, data...)
}

// appendBlockGroup writes a block with a duration, as subtitles need it.
func appendBlockGroup(b []byte, track int, at int16, lasts int64, data []byte) []byte {
	block := sizeLen(track) + 3 + len(data)
	b = append(b, idBlockGroup)
	b = appendSize(b, 1+sizeLen(block)+block+10)
	b = append(b, idBlock)
	b = appendSize(b, block)
	b = appendBlockHead(b, track, at, 0)
	b = append(b, data...)
	b = append(b, idDuration, 0x88)
	return binary.BigEndian.AppendUint64(b, uint64(lasts))
}
