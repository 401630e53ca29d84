// SPDX-License-Identifier: Apache-2.0

package roomserver_test

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"
	"time"
)

// movie is what demux finds in a Matroska or WebM file.
type movie struct {
	codecs   []string // sorted
	duration time.Duration
	blocks   int
}

// Elements of Matroska (RFC 9559) that are looked at.
const (
	idSegment     = 0x18538067
	idInfo        = 0x1549A966
	idScale       = 0x2AD7B1
	idDuration    = 0x4489
	idTracks      = 0x1654AE6B
	idTrackEntry  = 0xAE
	idCodec       = 0x86
	idCluster     = 0x1F43B675
	idSimpleBlock = 0xA3
	idBlockGroup  = 0xA0
)

// demux reads a file, also one that is still being written: it stops where the file does. It is independent of what
// has written it.
func demux(tb testing.TB, raw []byte) movie {
	tb.Helper()
	var m movie
	scale, duration := 1e6, 0.0
	var walk func([]byte)
	walk = func(data []byte) {
		for len(data) > 0 {
			id, n := vint(data, false)
			size, k := vint(data[min(n, len(data)):], true)
			if n == 0 || k == 0 {
				if len(data) > 12 {
					tb.Fatalf("broken element among %d bytes", len(data))
				}
				return
			}
			data = data[n+k:]
			if size > uint64(len(data)) { // unknown, or cut off
				size = uint64(len(data))
			}
			body := data[:size]
			data = data[size:]
			switch id {
			case idSegment, idInfo, idTracks, idTrackEntry, idCluster:
				walk(body)
			case idScale:
				scale = 0
				for _, b := range body {
					scale = scale*256 + float64(b)
				}
			case idDuration:
				if len(body) == 4 {
					duration = float64(math.Float32frombits(binary.BigEndian.Uint32(body)))
				} else {
					duration = math.Float64frombits(binary.BigEndian.Uint64(body))
				}
			case idCodec:
				m.codecs = append(m.codecs, string(body))
			case idSimpleBlock, idBlockGroup:
				m.blocks++
			}
		}
	}
	walk(raw)
	slices.Sort(m.codecs)
	m.duration = time.Duration(duration * scale)
	return m
}

// vint reads an EBML number, and returns its length in bytes. The marker bit is kept in ids.
func vint(data []byte, isSize bool) (value uint64, n int) {
	if len(data) == 0 || data[0] == 0 {
		return 0, 0
	}
	n = 1
	for mask := byte(0x80); data[0]&mask == 0; mask >>= 1 {
		n++
	}
	if len(data) < n {
		return 0, 0
	}
	value = uint64(data[0])
	if isSize {
		value &= 1<<(8-n) - 1
	}
	ones := isSize && value == 1<<(8-n)-1
	for _, b := range data[1:n] {
		value = value<<8 | uint64(b)
		ones = ones && b == 0xff
	}
	if ones {
		value = math.MaxUint64
	}
	return value, n
}

func absDuration(d time.Duration) time.Duration { return max(d, -d) }
