// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// NAL unit types (H.265 table 7-1, RFC 7798 section 1.1.4).
const (
	hevcBLA    = 16 // 16 to 23: one can begin here
	hevcIRAP   = 23
	hevcVPS    = 32
	hevcSPS    = 33
	hevcPPS    = 34
	hevcAUD    = 35
	hevcAP     = 48
	hevcFU     = 49
	hevcPACI   = 50
	hevcHeader = 2
)

// h265 depacketizes H265 (RFC 7798) into length-prefixed NAL units, as h264 does.
type h265 struct {
	donl    bool              // packets bear decoding order numbers
	sets    map[uint32][]byte // by type<<8 and id
	size    map[uint32][2]int // of the sps
	private []byte
	pending []byte
	unit    nalGatherer

	slice, key, headless bool
	inBand               map[uint32]bool
}

// newH265 takes what the SDP says (RFC 7798 section 7.1).
func newH265(fmtp string) *h265 {
	h := &h265{sets: map[uint32][]byte{}, size: map[uint32][2]int{}, inBand: map[uint32]bool{}}
	for param := range strings.SplitSeq(fmtp, ";") {
		if key, value, _ := strings.Cut(strings.TrimSpace(param), "="); strings.EqualFold(key, "sprop-max-don-diff") {
			n, err := strconv.Atoi(value)
			h.donl = err == nil && n > 0
		}
	}
	for _, name := range []string{"sprop-vps", "sprop-sps", "sprop-pps"} {
		for _, nal := range sprops(fmtp, name) {
			h.note(nal)
		}
	}
	clear(h.inBand)
	return h
}

func (h *h265) push(frame, payload []byte, begin bool) ([]byte, error) {
	if begin {
		h.slice, h.key, h.headless = false, false, false
		clear(h.inBand)
		h.unit.reset()
		frame = append(frame, h.pending...)
		for nal := range nalUnits(h.pending) {
			h.note(nal)
		}
		h.pending = h.pending[:0]
	}
	if len(payload) > hevcHeader && payload[0]>>1&0x3f == hevcPACI {
		payload = unwrapPACI(payload)
	}
	if len(payload) <= hevcHeader {
		return frame, errPayload
	}
	kind := payload[0] >> 1 & 0x3f
	if kind != hevcFU && h.unit.open {
		return frame, errPayload
	}
	switch {
	case kind < hevcAP:
		nal := payload
		if h.donl {
			if len(payload) < hevcHeader+3 {
				return frame, errPayload
			}
			nal = append([]byte{payload[0], payload[1]}, payload[hevcHeader+2:]...)
		}
		return h.whole(frame, nal), nil
	case kind == hevcAP:
		return h.aggregate(frame, payload[hevcHeader:])
	case kind == hevcFU:
		return h.fragment(frame, payload)
	}
	return frame, errPayload
}

// unwrapPACI takes the payload out of a PACI packet (RFC 7798 section 4.4.4).
func unwrapPACI(b []byte) []byte {
	if len(b) < 4 {
		return nil
	}
	fields := binary.BigEndian.Uint16(b[2:])
	extension := 4 + int(fields>>4&0x1f) // PHSsize
	if extension >= len(b) {
		return nil
	}
	head := []byte{b[0]&0x80 | byte(fields>>9&0x3f)<<1 | b[0]&1, b[1]} // cType stands for the type
	return append(head, b[extension:]...)
}

// aggregate takes the units of an aggregation packet (section 4.4.2).
func (h *h265) aggregate(frame, rest []byte) ([]byte, error) {
	for first := true; len(rest) > 0; first = false {
		if h.donl {
			skip := 1 // DOND
			if first {
				skip = 2 // DONL
			}
			if len(rest) < skip {
				return frame, errPayload
			}
			rest = rest[skip:]
		}
		nal, after, ok := sizedUnit(rest)
		if !ok || len(nal) <= hevcHeader {
			return frame, errPayload
		}
		frame, rest = h.whole(frame, nal), after
	}
	return frame, nil
}

// fragment takes a fragment (section 4.4.3).
func (h *h265) fragment(frame, payload []byte) ([]byte, error) {
	if len(payload) < hevcHeader+1 {
		return frame, errPayload
	}
	fu := payload[hevcHeader]
	first, last := fu&0x80 != 0, fu&0x40 != 0
	data := payload[hevcHeader+1:]
	if h.donl && first {
		if len(data) < 2 {
			return frame, errPayload
		}
		data = data[2:]
	}
	frame, nal, err := h.unit.add(frame, []byte{payload[0]&0x81 | fu&0x3f<<1, payload[1]}, data, first, last)
	if nal != nil && err == nil {
		h.note(nal)
	}
	return frame, err
}

func (h *h265) whole(frame, nal []byte) []byte {
	h.note(nal)
	if nal[0]>>1&0x3f == hevcAUD {
		return frame
	}
	return appendNAL(frame, nal)
}

// note looks at a NAL unit on its way.
func (h *h265) note(nal []byte) {
	if len(nal) <= hevcHeader {
		return
	}
	kind := uint32(nal[0] >> 1 & 0x3f)
	switch {
	case kind < 32: // a slice segment
		if !h.slice {
			h.headless = nal[2]&0x80 == 0 // first_slice_segment_in_pic_flag
			h.key = kind >= hevcBLA && kind <= hevcIRAP
		}
		h.slice = true
	case kind == hevcVPS, kind == hevcSPS, kind == hevcPPS:
		id, size, ok := hevcSet(kind, nal)
		if !ok {
			return
		}
		key := kind<<8 | id
		if h.inBand[key] = true; !bytes.Equal(h.sets[key], nal) {
			h.sets[key], h.private = bytes.Clone(nal), nil
			if kind == hevcSPS {
				h.size[key] = size
			}
		}
	}
}

// hevcSet reads the id of a parameter set, and the picture size of an SPS.
func hevcSet(kind uint32, nal []byte) (id uint32, size [2]int, ok bool) {
	switch kind {
	case hevcVPS:
		return uint32(nal[2] >> 4), size, true
	case hevcPPS:
		r := bitReader{data: unescape(nal[hevcHeader:min(len(nal), 32)])}
		id = r.ue()
		return id, size, !r.short && id < 64
	}
	sps, ok := parseHEVCSPS(nal)
	return sps.id, [2]int{sps.width, sps.height}, ok
}

// unescape takes out the emulation prevention bytes.
func unescape(b []byte) []byte { return bytes.ReplaceAll(b, []byte{0, 0, 3}, []byte{0, 0}) }

// hevcSequence is what matters of a sequence parameter set.
type hevcSequence struct {
	id, subLayers, nested, chroma, lumaDepth, chromaDepth uint32
	profile                                               []byte // 12 bytes: general_profile_space to general_level_idc
	width, height                                         int
}

// parseHEVCSPS reads H.265 section 7.3.2.2.1 as far as the bit depths.
func parseHEVCSPS(nal []byte) (s hevcSequence, ok bool) {
	if len(nal) > 1024 {
		return s, false
	}
	b := unescape(nal[hevcHeader:])
	r := bitReader{data: b}
	r.bits(4) // sps_video_parameter_set_id
	s.subLayers = r.bits(3) + 1
	s.nested = r.bit()
	if len(b) < 13 {
		return s, false
	}
	s.profile = b[1:13]
	r.pos += 12 * 8
	skipSubLayers(&r, s.subLayers)
	s.id = r.ue()
	if s.chroma = r.ue(); s.chroma == 3 {
		r.bit()
	}
	s.width, s.height = int(r.ue()), int(r.ue())
	if r.bit() == 1 { // conformance_window_flag
		x, y := 1, 1
		if s.chroma == 1 || s.chroma == 2 {
			x = 2
		}
		if s.chroma == 1 {
			y = 2
		}
		s.width -= x * int(r.ue()+r.ue())
		s.height -= y * int(r.ue()+r.ue())
	}
	s.lumaDepth, s.chromaDepth = r.ue(), r.ue()
	return s, !r.short && s.id < 16 && s.chroma < 4 && s.lumaDepth < 8 && s.chromaDepth < 8 &&
		s.width > 0 && s.height > 0 && s.width <= 1<<14 && s.height <= 1<<14
}

// skipSubLayers skips the profiles and levels of sub-layers (section 7.3.3).
func skipSubLayers(r *bitReader, layers uint32) {
	var profile, level [8]bool
	for i := range layers - 1 {
		profile[i], level[i] = r.bit() == 1, r.bit() == 1
	}
	if layers > 1 {
		r.bits(2 * int(8-(layers-1)))
	}
	for i := range layers - 1 {
		if profile[i] {
			r.pos += 88
		}
		if level[i] {
			r.pos += 8
		}
	}
}

// complete keeps what has no picture for the next, and gives a keyframe the parameter sets that it lacks.
func (h *h265) complete(frame []byte) ([]byte, frameInfo) {
	if h.unit.open {
		return frame, frameInfo{broken: true}
	}
	if !h.slice {
		if len(frame) <= maxPending {
			h.pending = append(h.pending[:0], frame...)
		}
		return frame, frameInfo{empty: true}
	}
	info := frameInfo{headless: h.headless}
	sps := h.ofType(hevcSPS)
	if !h.key || len(sps) == 0 || len(h.ofType(hevcPPS)) == 0 {
		return frame, info
	}
	if h.private == nil {
		h.private = h.hvcC()
	}
	info.key, info.private = true, h.private
	for key, size := range h.size {
		if h.inBand[key] || info.width == 0 {
			info.width, info.height = size[0], size[1]
		}
	}
	if len(h.inBand) < len(h.sets) {
		var sets []byte
		for _, kind := range []uint32{hevcVPS, hevcSPS, hevcPPS} {
			for _, nal := range h.ofType(kind) {
				sets = appendNAL(sets, nal)
			}
		}
		frame = slices.Insert(frame, 0, sets...)
	}
	return frame, info
}

// ofType lists the parameter sets of a type by id.
func (h *h265) ofType(kind uint32) (out [][]byte) {
	for _, key := range slices.Sorted(maps.Keys(h.sets)) {
		if key>>8 == kind {
			out = append(out, h.sets[key])
		}
	}
	return out
}

// hvcC is the decoder configuration record (ISO/IEC 14496-15 section 8.3.3.1).
func (h *h265) hvcC() []byte {
	s, _ := parseHEVCSPS(h.ofType(hevcSPS)[0]) // it was parsed before it was kept
	b := append([]byte{1}, s.profile...)
	b = append(b, 0xf0, 0, 0xfc, 0xfc|byte(s.chroma), 0xf8|byte(s.lumaDepth), 0xf8|byte(s.chromaDepth), 0, 0,
		byte(s.subLayers<<3|s.nested<<2|3), 0)
	at := len(b) - 1
	for _, kind := range []uint32{hevcVPS, hevcSPS, hevcPPS} {
		of := h.ofType(kind)
		if len(of) == 0 {
			continue
		}
		b[at]++
		b = append(b, 0x80|byte(kind))
		b = binary.BigEndian.AppendUint16(b, uint16(len(of)))
		for _, nal := range of {
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(nal))), nal...)
		}
	}
	return b
}
