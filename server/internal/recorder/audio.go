// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"encoding/binary"
	"strings"
	"time"
)

// The codecs of telephony go into Matroska as they came, in the wrapping of Microsoft's Audio Compression Manager. The
// part after the colon tells them apart here; the file's codec id ends before it.
const (
	codecACM  = "A_MS/ACM"
	codecPCMU = codecACM + ":PCMU"
	codecPCMA = codecACM + ":PCMA"
	codecG722 = codecACM + ":G722"
)

// audioCodecs are the codecs of sound by media type.
func audioCodecs() map[string]string {
	return map[string]string{"audio/opus": codecOpus, "audio/pcmu": codecPCMU, "audio/pcma": codecPCMA, "audio/g722": codecG722}
}

// codecID is a codec as the file names it.
func codecID(codec string) string {
	id, _, _ := strings.Cut(codec, ":")
	return id
}

// audioConfig is what the file's head says of a stream of sound.
func audioConfig(codec string, channels int) *codecConfig {
	c := &codecConfig{codec: codec, sampleRate: 48000, channels: channels}
	switch codec {
	case codecPCMU:
		c.sampleRate, c.channels, c.private = 8000, 1, waveFormat(7, 8000, 8)
	case codecPCMA:
		c.sampleRate, c.channels, c.private = 8000, 1, waveFormat(6, 8000, 8)
	case codecG722: // its RTP clock is 8000 Hz by an old mistake (RFC 3551 section 4.5.2)
		c.sampleRate, c.channels, c.private = 16000, 1, waveFormat(0x028f, 16000, 4)
	default:
		c.private = opusHead(channels)
	}
	return c
}

// waveFormat is a WAVEFORMATEX structure of one channel.
func waveFormat(tag uint16, rate uint32, bits uint16) []byte {
	b := binary.LittleEndian.AppendUint16(nil, tag)
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint32(b, rate)
	b = binary.LittleEndian.AppendUint32(b, 8000) // bytes a second
	b = binary.LittleEndian.AppendUint16(b, 1)    // block alignment
	b = binary.LittleEndian.AppendUint16(b, bits)
	return binary.LittleEndian.AppendUint16(b, 0)
}

// audioLength is how long a packet lasts.
func audioLength(codec string, p []byte) time.Duration {
	if codec == codecOpus {
		return opusLength(p)
	}
	return time.Duration(len(p)) * time.Second / 8000 // all of them have 64 kbit/s
}

// quietByte is a byte of silence in the codecs of telephony, of which each lasts an eighth of a millisecond.
func quietByte(codec string) (b byte, ok bool) {
	switch codec {
	case codecPCMU:
		return 0xff, true
	case codecPCMA:
		return 0xd5, true
	case codecG722:
		return 0xff, true // -84 dB as ffmpeg decodes it, -59 dB after a tone; 0xfa, which an encoder sends, has an offset of -44 dB
	}
	return 0, false
}
