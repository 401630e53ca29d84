// SPDX-License-Identifier: Apache-2.0

package mixer

import "encoding/binary"

// What the limiter does.
const (
	ceiling     = 0.95            // of full scale; nothing is louder
	limitFrames = blockFrames / 4 // 5 ms: how long before a loud part the gain begins to go down
	release     = 1.0 / 40        // how much it comes back in as long: from nothing in 200 ms
	limitChunk  = limitFrames * channels
)

// limiter makes what is too loud quieter, in time: the gain of a chunk of 5 ms goes in a line from what the one before
// may have to what the next one may have, so that it never jumps and nothing is clipped. The gain that a chunk may have
// is known when the next one is, so sound comes out a block later; the first block that comes out is cut off.
type limiter struct {
	gain   float32 // at the end of what has come out
	held   []float32
	primed bool
}

// block takes a block of sound and appends that of the block before, as 16 bits, little endian; at first nothing.
func (l *limiter) block(out []byte, in []float32) []byte {
	if !l.primed {
		l.held, l.primed = append(l.held[:0], in...), true
		l.gain = allowed(in[:limitChunk])
		return out
	}
	for at := 0; at < len(l.held); at += limitChunk {
		chunk := l.held[at : at+limitChunk]
		next := in[:limitChunk]
		if at+limitChunk < len(l.held) {
			next = l.held[at+limitChunk : at+2*limitChunk]
		}
		target := min(allowed(chunk), allowed(next), l.gain+release)
		step := (target - l.gain) / limitFrames
		for i := 0; i < len(chunk); i += channels {
			l.gain += step
			for _, s := range chunk[i : i+channels] {
				out = binary.LittleEndian.AppendUint16(out, uint16(int16(s*l.gain*(1<<15)))) //nolint:gosec // within the ceiling
			}
		}
		l.gain = target
	}
	l.held = append(l.held[:0], in...)
	return out
}

// allowed is the largest gain with which nothing of a chunk is above the ceiling.
func allowed(chunk []float32) float32 {
	var peak float32
	for _, s := range chunk {
		peak = max(peak, s, -s)
	}
	if peak <= ceiling {
		return 1
	}
	return ceiling / peak
}
