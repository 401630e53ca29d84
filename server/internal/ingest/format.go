// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// The media types that can be received.
const (
	mimeOpus = "audio/opus"
	mimeVP8  = "video/VP8"
	mimeVP9  = "video/VP9"
	mimeH264 = "video/H264"
	mimeAV1  = "video/AV1"
	mimeH265 = "video/H265"
	mimePCMU = "audio/PCMU"
	mimePCMA = "audio/PCMA"
	mimeG722 = "audio/G722"
)

// format is one payload format of a section: an entry of its m= line with its rtpmap and fmtp.
type format struct {
	pt       uint8
	name     string // the encoding name as the publisher spells it
	rate     uint32
	channels uint16
	fmtp     string
}

// staticFormats are the payload types that need no rtpmap (RFC 3551 table 4), those of them that can be recorded.
func staticFormats() map[uint8]string {
	return map[uint8]string{0: "PCMU/8000", 8: "PCMA/8000", 9: "G722/8000"}
}

// formatsOf lists the payload formats of a section in the publisher's order of preference (RFC 3264 section 5.1).
func formatsOf(m *sdp.MediaDescription) []format {
	names, fmtps := staticFormats(), map[uint8]string{}
	for _, a := range m.Attributes {
		number, value, _ := strings.Cut(a.Value, " ")
		pt, err := strconv.ParseUint(number, 10, 7)
		if err != nil {
			continue
		}
		switch a.Key {
		case "rtpmap":
			names[uint8(pt)] = strings.TrimSpace(value)
		case "fmtp":
			fmtps[uint8(pt)] = strings.TrimSpace(value)
		}
	}
	var out []format
	for _, text := range m.MediaName.Formats {
		pt, err := strconv.ParseUint(text, 10, 7)
		if err != nil || names[uint8(pt)] == "" {
			continue
		}
		parts := strings.Split(names[uint8(pt)], "/")
		f := format{pt: uint8(pt), name: parts[0], fmtp: fmtps[uint8(pt)]}
		if len(parts) > 1 {
			rate, _ := strconv.ParseUint(parts[1], 10, 32) // 0 is no rate of any codec
			f.rate = uint32(rate)
		}
		if len(parts) > 2 {
			channels, _ := strconv.ParseUint(parts[2], 10, 16)
			f.channels = uint16(channels)
		}
		out = append(out, f)
	}
	return out
}

// param returns a format parameter; names are case-insensitive (RFC 4855 section 3).
func (f format) param(name string) string {
	for p := range strings.SplitSeq(f.fmtp, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(key, name) {
			return value
		}
	}
	return ""
}

// mime returns the canonical media type of a format that can be received; ok is false for any other.
func (f format) mime(kind string) (mime string, ok bool) {
	for _, known := range mimeTypes() {
		if !strings.EqualFold(kind+"/"+f.name, known) {
			continue
		}
		switch known {
		case mimeOpus: // RFC 7587 section 7: always 48000/2
			return known, f.rate == 48000 && f.channels == 2
		case mimeH264: // the interleaved mode is not received (RFC 6184 section 6.4)
			return known, f.rate == 90000 && f.param("packetization-mode") != "2"
		case mimeH265: // one stream for all layers (RFC 7798 section 7.1)
			return known, f.rate == 90000 && (f.param("tx-mode") == "" || f.param("tx-mode") == "SRST")
		case mimePCMU, mimePCMA, mimeG722:
			return known, f.rate == 8000 && f.channels <= 1
		}
		return known, f.rate == 90000
	}
	return "", false
}

// mimeTypes are the media types that can be received.
func mimeTypes() []string {
	return []string{
		mimeOpus, mimePCMU, mimePCMA, mimeG722,
		mimeVP8, mimeVP9, mimeH264, mimeAV1, mimeH265,
	}
}

// videoCodecs are the names of those of video, audioCodecs those of audio.
func videoCodecs() []string { return codecNames("video/") }

func audioCodecs() []string { return codecNames("audio/") }

func codecNames(prefix string) (out []string) {
	for _, mime := range mimeTypes() {
		if name, ok := strings.CutPrefix(mime, prefix); ok {
			out = append(out, name)
		}
	}
	return out
}

// choose returns the one codec that a section is answered with, and the formats that accompany it (retransmission, redundancy). The
// publisher's order decides, except that a codec of prefer goes first. A publisher told of several codecs could change
// between them in mid-stream, which no recording can follow. The result is empty when there is no codec in common.
func choose(kind string, offered []format, allowed, prefer []string) []format {
	best := -1
	for i, f := range offered {
		mime, ok := f.mime(kind)
		if !ok || !slices.ContainsFunc(allowed, func(a string) bool { return strings.EqualFold(a, codecName(mime)) }) {
			continue
		}
		if best < 0 {
			best = i
		}
		if slices.ContainsFunc(prefer, func(p string) bool { return strings.EqualFold(p, codecName(mime)) }) {
			best = i
			break
		}
	}
	if best < 0 {
		return nil
	}
	chosen := []format{offered[best]}
	for _, f := range offered {
		if f.is("rtx") && f.param("apt") == strconv.Itoa(int(chosen[0].pt)) || f.repeats(chosen[0]) {
			chosen = append(chosen, f)
		}
	}
	return chosen
}

// repeats reports whether a format is the redundancy of a codec (RFC 2198, RFC 4102): of it alone.
func (f format) repeats(c format) bool {
	if !f.is("red") || f.rate != c.rate || f.channels != c.channels || f.fmtp == "" {
		return false
	}
	for pt := range strings.SplitSeq(f.fmtp, "/") {
		if pt != strconv.Itoa(int(c.pt)) {
			return false
		}
	}
	return true
}

// codecName is a media type without its kind.
func codecName(mime string) string {
	_, name, _ := strings.Cut(mime, "/")
	return name
}

// names lists the offered codecs for a message: a few, and nothing in them that does not belong into a log.
func names(offered []format) string {
	var out []string
	for _, f := range offered {
		name := strings.Map(func(r rune) rune {
			if r > ' ' && r < 0x7f {
				return r
			}
			return '?'
		}, f.name)
		if name = name[:min(len(name), 20)]; !slices.Contains(out, name) && len(out) < 8 {
			out = append(out, name)
		}
	}
	if len(out) == 0 {
		return "nothing"
	}
	return strings.Join(out, ", ")
}

// is reports whether it is a format of that name.
func (f format) is(name string) bool { return strings.EqualFold(f.name, name) }

// localParameters are the format parameters of the answer: those that the publisher offered, without the ones that only
// speak of the stream that it sends (RFC 6184 section 8.2.2).
func (f format) localParameters() string {
	if f.is("red") {
		return f.fmtp // a list of payload types
	}
	var kept []string
	for p := range strings.SplitSeq(f.fmtp, ";") {
		if p = strings.TrimSpace(p); p != "" && !strings.HasPrefix(strings.ToLower(p), "sprop-") {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, ";")
}

// rtpmap is the format's rtpmap attribute.
func (f format) rtpmap() string {
	text := fmt.Sprintf("%d %s/%d", f.pt, f.name, f.rate)
	if f.channels > 0 {
		text += fmt.Sprintf("/%d", f.channels)
	}
	return text
}
