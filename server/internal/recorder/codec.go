// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"errors"
	"fmt"
	"strings"
)

// Matroska codec ids, see https://www.matroska.org/technical/codec_specs.html.
const (
	codecVP8      = "V_VP8"
	codecVP9      = "V_VP9"
	codecAV1      = "V_AV1"
	codecH264     = "V_MPEG4/ISO/AVC"
	codecH265     = "V_MPEGH/ISO/HEVC"
	codecOpus     = "A_OPUS"
	codecWebVTT   = "D_WEBVTT/SUBTITLES"
	maxFrameBytes = 8 << 20
)

// errPayload says that an RTP payload does not make sense; its frame is lost.
var errPayload = errors.New("malformed payload")

// codecConfig is what the file's header says of a stream. It is immutable; a change makes a new one.
type codecConfig struct {
	codec         string
	private       []byte
	width, height int
	sampleRate    int
	channels      int
}

// depacketizer turns the RTP payloads of one video codec into frames as Matroska stores them.
type depacketizer interface {
	// push appends what a payload carries to frame; begin is true for the first payload of a frame.
	push(frame, payload []byte, begin bool) ([]byte, error)
	// complete makes a gathered frame whole, and says what it is.
	complete(frame []byte) ([]byte, frameInfo)
}

// frameInfo is what a depacketizer knows of a frame.
type frameInfo struct {
	key           bool
	empty         bool   // no picture in it (parameter sets alone); not to be written
	broken        bool   // a part of it is missing
	headless      bool   // it does not look like the beginning of a picture; after a loss, that is what is missing
	width, height int    // of a keyframe
	private       []byte // CodecPrivate, of a keyframe; not changed later
}

// newDepacketizer returns the codec of a track; the depacketizer is nil for audio.
func newDepacketizer(info TrackInfo) (codec string, d depacketizer, err error) {
	switch mime := strings.ToLower(info.MimeType); {
	case info.Kind == Audio && audioCodecs()[mime] != "":
		return audioCodecs()[mime], nil, nil
	case info.Kind == Video && mime == "video/vp8":
		return codecVP8, &vp8{}, nil
	case info.Kind == Video && mime == "video/vp9":
		return codecVP9, &vp9{}, nil
	case info.Kind == Video && mime == "video/h264":
		return codecH264, newH264(info.FmtpLine), nil
	case info.Kind == Video && mime == "video/h265":
		return codecH265, newH265(info.FmtpLine), nil
	case info.Kind == Video && mime == "video/av1":
		return codecAV1, &av1{}, nil
	}
	return "", nil, fmt.Errorf("%w: %s %q", ErrUnsupportedCodec, info.Kind, info.MimeType)
}

// inWebM reports whether a WebM file may hold the codec.
func inWebM(codec string) bool {
	switch codec {
	case codecVP8, codecVP9, codecAV1, codecOpus, codecWebVTT:
		return true
	}
	return false
}

// codecName is a codec as RTP calls it.
func codecName(codec string) string {
	names := map[string]string{
		codecVP8: "VP8", codecVP9: "VP9", codecAV1: "AV1", codecH264: "H264", codecH265: "H265",
		codecOpus: "opus", codecPCMU: "PCMU", codecPCMA: "PCMA", codecG722: "G722",
	}
	return names[codec]
}
