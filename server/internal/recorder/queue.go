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
	ts     time.Duration // since the recording began
	lasts  time.Duration // 0 for video
	data   []byte
	key    bool
	kept   bool // has waited for one flush already
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

// sortByTime orders frames by time; those of one time keep their order.
func sortByTime(frames []frame) {
	slices.SortStableFunc(frames, func(x, y frame) int { return cmp.Compare(x.ts, y.ts) })
}
