// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"cmp"
	"slices"
	"time"
)

// frame is one encoded frame on its way to the writer; its bytes belong to the batch.
type frame struct {
	track  *Track
	config *codecConfig
	ts     time.Duration // when it is shown, since the recording began
	order  time.Duration // of sound ts, of a picture the latest ts of the track so far: tracks are interleaved by it
	lasts  time.Duration // 0 for video
	data   []byte
	key    bool
	// reordered says that a frame which is shown later has come before it.
	reordered bool
	kept      bool // has waited for one flush already
}

// batch is what has come since the last flush. Two of them take turns, so nothing is allocated for a frame.
type batch struct {
	frames []frame
	data   []byte
	chat   []ChatMessage
}

func (b *batch) reset() {
	clear(b.frames)
	clear(b.chat)
	b.frames, b.data, b.chat = b.frames[:0], b.data[:0], b.chat[:0]
	if cap(b.data) > 8<<20 {
		b.data = nil // grown while the disk stood
	}
}

func (b *batch) add(f frame, data []byte) {
	n := len(b.data)
	b.data = append(b.data, data...) // frames before keep the old array when this makes a new one
	f.data = b.data[n:]
	b.frames = append(b.frames, f)
}

// sortByTime interleaves the tracks by time. The frames of a track keep their order, which is that of decoding: a frame
// may be shown before one that precedes it.
func sortByTime(frames []frame) {
	slices.SortStableFunc(frames, func(x, y frame) int { return cmp.Compare(x.order, y.order) })
}
