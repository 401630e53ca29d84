// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"bytes"
	"encoding/binary"
	"time"
)

// shortestOpus is the length of the shortest packet.
const shortestOpus = 2500 * time.Microsecond

// silence returns a packet of silence that lasts as long as asked for, rounded to what packets can, or as long as packets
// can; 0 for what is rounded to nothing. What were rounded down each time would add up where many packets are lost.
func silence(codec string, d time.Duration) (data []byte, lasts time.Duration) {
	if b, ok := quietByte(codec); ok {
		lasts = min(d, 20*time.Millisecond).Round(time.Millisecond)
		return bytes.Repeat([]byte{b}, int(lasts.Milliseconds())*8), lasts
	}
	for config, length := byte(31), 20*time.Millisecond; config >= 28; config, length = config-1, length/2 {
		if d+shortestOpus/2 >= length {
			return []byte{config << 3, 0xff, 0xfe}, length // CELT, full band, mono, one frame
		}
	}
	return nil, 0
}

// opusHead is the identification header (RFC 7845 section 5.1). The pre-skip is 0: a live stream is joined in
// the middle, and its timestamps are those of the sound.
func opusHead(channels int) []byte {
	b := append([]byte("OpusHead"), 1, byte(channels))
	b = binary.LittleEndian.AppendUint16(b, 0)
	b = binary.LittleEndian.AppendUint32(b, 48000)
	return append(b, 0, 0, 0) // output gain, mapping family
}

// opusLength tells how long a packet lasts (RFC 6716 section 3.1).
func opusLength(p []byte) time.Duration {
	if len(p) == 0 {
		return 0
	}
	var frame time.Duration
	switch config := p[0] >> 3; {
	case config < 12: // SILK: 10, 20, 40, 60 ms
		frame = [...]time.Duration{10, 20, 40, 60}[config&3] * time.Millisecond
	case config < 16: // hybrid: 10, 20 ms
		frame = [...]time.Duration{10, 20}[config&1] * time.Millisecond
	default: // CELT: 2.5, 5, 10, 20 ms
		frame = 2500 * time.Microsecond << (config & 3)
	}
	n := time.Duration(1)
	switch p[0] & 3 {
	case 1, 2:
		n = 2
	case 3:
		if len(p) > 1 {
			n = time.Duration(p[1] & 0x3f)
		}
	}
	return min(n*frame, 120*time.Millisecond)
}
