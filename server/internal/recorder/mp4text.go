// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"encoding/binary"
	"time"
)

// A track of timed text in MP4 (3GPP TS 26.245, "tx3g"; mov_text in ffmpeg) cannot show two texts at a time. So lines that
// come within minCue of each other are one text, and each is shown until the next, or for subtitleLength. Its text is
// plain: it has no markup and needs no escapes. ffmpeg would take it through a format that has; so the track is made here,
// in a file of its own that ffmpeg copies from.
const (
	minCue = time.Second
	// maxCueText bounds a text, whose length has 16 bits.
	maxCueText = 60 << 10
)

// textSample is a text and how long it is shown; an empty text shows nothing.
type textSample struct {
	text  string
	lasts time.Duration
}

// textSamples arranges a chat for a file that begins at origin and has a length, which it does not make longer.
func textSamples(chat []chatCue, origin, length time.Duration) []textSample {
	type cue struct {
		at   time.Duration
		text string
	}
	var cues []cue
	for _, c := range chat {
		at := max(min(c.at-origin, length-minCue), 0).Truncate(time.Millisecond)
		if n := len(cues); n > 0 && at < cues[n-1].at+minCue {
			if last := &cues[n-1]; len(last.text)+1+len(c.text) <= maxCueText {
				last.text += "\n" + c.text
				continue
			}
			at = cues[n-1].at + minCue
		}
		cues = append(cues, cue{at, clipText(c.text, maxCueText)})
	}
	var samples []textSample
	now := time.Duration(0)
	for i, c := range cues {
		if c.at > now {
			samples = append(samples, textSample{"", c.at - now})
		}
		end := max(min(c.at+subtitleLength, length), c.at+minCue)
		if i+1 < len(cues) {
			end = min(end, cues[i+1].at)
		}
		samples = append(samples, textSample{c.text, end - c.at})
		now = end
	}
	return samples
}

// box is an ISO base media file format box (ISO/IEC 14496-12 section 4.2) of parts.
func box(kind string, parts ...[]byte) []byte {
	b := append(make([]byte, 4, 256), kind...)
	for _, p := range parts {
		b = append(b, p...)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

// u32 is numbers of 32 bits in a box.
func u32(numbers ...uint32) []byte {
	b := make([]byte, 0, 4*len(numbers))
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

// identity is the matrix that transforms nothing.
func identity() []byte { return u32(1<<16, 0, 0, 0, 1<<16, 0, 0, 0, 1<<30) }

// textMP4 is an MP4 file of nothing but a track of text. Times are in milliseconds.
func textMP4(samples []textSample) []byte {
	var data []byte
	var times, sizes []uint32
	total := uint32(0)
	for _, s := range samples {
		ms := uint32(s.lasts.Milliseconds())
		times, total = append(times, 1, ms), total+ms
		sizes = append(sizes, uint32(2+len(s.text)))
		data = binary.BigEndian.AppendUint16(data, uint16(len(s.text)))
		data = append(data, s.text...)
	}
	n := uint32(len(samples))
	ftyp := box("ftyp", []byte("isom"), u32(0x200), []byte("isomiso2mp41"))
	moov := func(at uint32) []byte {
		stbl := box("stbl",
			box("stsd", u32(0, 1), tx3g()),
			box("stts", u32(0, n), u32(times...)),
			box("stsc", u32(0, 1, 1, n, 1)),
			box("stsz", u32(0, 0, n), u32(sizes...)),
			box("stco", u32(0, 1, at)))
		dinf := box("dinf", box("dref", u32(0, 1), box("url ", u32(1))))
		mdia := box("mdia",
			box("mdhd", u32(0, 0, 0, 1000, total), []byte{0x55, 0xc4, 0, 0}), // language "und"
			box("hdlr", u32(0, 0), []byte("sbtl"), u32(0, 0, 0), []byte("chat\x00")),
			box("minf", box("nmhd", u32(0)), dinf, stbl))
		tkhd := box("tkhd", u32(3, 0, 0, 1, 0, total, 0, 0, 0, 0), identity(), u32(0, 0))
		mvhd := box("mvhd", u32(0, 0, 0, 1000, total, 1<<16, 1<<24, 0, 0), identity(), u32(0, 0, 0, 0, 0, 0, 2))
		return box("moov", mvhd, box("trak", tkhd, mdia))
	}
	at := len(ftyp) + len(moov(0)) + 8
	return append(append(ftyp, moov(uint32(at))...), box("mdat", data)...)
}

// tx3g describes the text: white, below, in a plain font.
func tx3g() []byte {
	style := append(u32(0), 0, 1, 0, 18, 255, 255, 255, 255) // all characters; font 1, 18 pixels, white
	return box("tx3g",
		[]byte{0, 0, 0, 0, 0, 0, 0, 1},  // reserved, data reference
		u32(0), []byte{1, 0xff}, u32(0), // flags; centered, at the bottom; no background
		make([]byte, 8), // the whole picture
		style,
		box("ftab", []byte{0, 1, 0, 1, 5}, []byte("Serif")))
}
