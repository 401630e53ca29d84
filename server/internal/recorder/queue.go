// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"cmp"
	"slices"
	"sync"
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

// batch is what has come since the last flush.
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

// buffers are what recordings lend each other: each needs most of its buffers only while it writes, and few write at a
// time. Nothing is allocated for a frame. The zero value is empty.
type buffers struct{ batches, bytes sync.Pool }

// batch returns an empty one.
func (b *buffers) batch() *batch {
	if got, ok := b.batches.Get().(*batch); ok {
		return got
	}
	return &batch{}
}

// giveBatch takes one back. Its frames must not be used any more.
func (b *buffers) giveBatch(used *batch) {
	used.reset()
	b.batches.Put(used)
}

// take returns an empty slice.
func (b *buffers) take() []byte {
	if got, ok := b.bytes.Get().(*[]byte); ok {
		return *got
	}
	return nil
}

// giveBytes takes an empty slice back, and returns what its owner has instead: nothing, or what is not empty.
func (b *buffers) giveBytes(used []byte) []byte {
	if len(used) > 0 {
		return used
	}
	if cap(used) > 0 {
		b.bytes.Put(&used)
	}
	return nil
}

// sortByTime interleaves the tracks by time. The frames of a track keep their order, which is that of decoding: a frame
// may be shown before one that precedes it.
func sortByTime(frames []frame) {
	slices.SortStableFunc(frames, func(x, y frame) int { return cmp.Compare(x.order, y.order) })
}
