// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"fmt"
	"io"
	"time"

	"github.com/at-wat/ebml-go"
	"github.com/at-wat/ebml-go/webm"
)

// Inspection is what a Matroska or WebM file holds.
type Inspection struct {
	DocType  string        // "matroska" or "webm"
	Duration time.Duration // as the head says; 0 when it does not
	Cues     int           // how many places one can seek to
	Tracks   []InspectedTrack
}

// InspectedTrack is one track of a file.
type InspectedTrack struct {
	Codec         string // Matroska's id, such as "V_VP8"
	Width, Height int    // 0 for sound and text
	Frames        int
	Keyframes     int
	First, Last   time.Duration // when the first and the last frame are shown
}

// Inspect reads a file to its end, which a player must be able to as well: an
// element that makes no sense is an error. It keeps the whole file in memory.
func Inspect(r io.Reader) (*Inspection, error) {
	var doc struct {
		Header  webm.EBMLHeader `ebml:"EBML"`
		Segment struct {
			Info    webm.Info      `ebml:"Info"`
			Tracks  webm.Tracks    `ebml:"Tracks"`
			Cluster []webm.Cluster `ebml:"Cluster"`
			Cues    *webm.Cues     `ebml:"Cues"`
		} `ebml:"Segment"`
	}
	if err := ebml.Unmarshal(r, &doc, ebml.WithIgnoreUnknown(true)); err != nil {
		return nil, fmt.Errorf("inspect recording: %w", err)
	}
	seg := &doc.Segment
	in := &Inspection{
		DocType:  doc.Header.DocType,
		Duration: time.Duration(seg.Info.Duration * float64(seg.Info.TimecodeScale)),
	}
	if seg.Cues != nil {
		in.Cues = len(seg.Cues.CuePoint)
	}
	byNumber := map[uint64]int{}
	for i, e := range seg.Tracks.TrackEntry {
		byNumber[e.TrackNumber] = i
		t := InspectedTrack{Codec: e.CodecID}
		if e.Video != nil {
			t.Width, t.Height = int(e.Video.PixelWidth), int(e.Video.PixelHeight)
		}
		in.Tracks = append(in.Tracks, t)
	}
	for _, c := range seg.Cluster {
		frame := func(b ebml.Block, key bool) error {
			i, ok := byNumber[b.TrackNumber]
			if !ok {
				return fmt.Errorf("inspect recording: a frame of track %d, which there is not", b.TrackNumber)
			}
			in.Tracks[i].add(time.Duration(int64(c.Timecode)+int64(b.Timecode))*time.Duration(seg.Info.TimecodeScale), key)
			return nil
		}
		for _, b := range c.SimpleBlock {
			if err := frame(b, b.Keyframe); err != nil {
				return nil, err
			}
		}
		for _, g := range c.BlockGroup {
			if err := frame(g.Block, true); err != nil {
				return nil, err
			}
		}
	}
	return in, nil
}

func (t *InspectedTrack) add(at time.Duration, key bool) {
	if t.Frames == 0 {
		t.First = at
	}
	t.Frames++
	if key {
		t.Keyframes++
	}
	t.First, t.Last = min(t.First, at), max(t.Last, at)
}
