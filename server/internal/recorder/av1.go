// SPDX-License-Identifier: Apache-2.0

package recorder

import "slices"

// OBU types (AV1 bitstream specification, section 6.2.2).
const (
	obuSequenceHeader    = 1
	obuTemporalDelimiter = 2
	obuFrameHeader       = 3
	obuTileGroup         = 4
	obuFrame             = 6
	obuTileList          = 8
	obuPadding           = 15
)

// av1 depacketizes AV1 (RTP Payload Format For AV1, v1.0) into temporal units as Matroska stores them: OBUs with sizes,
// without temporal delimiters. A keyframe without its sequence header gets the last one.
type av1 struct {
	sequence []byte // the OBU, with its size; replaced, never changed
	header   av1Sequence
	private  []byte

	// the temporal unit being gathered
	obu      []byte // one in fragments
	open     bool
	headless bool // it began with the rest of an OBU
	key      bool
	picture  bool
	inBand   bool // the sequence header is in it
}

// av1Sequence is what matters of a sequence header.
type av1Sequence struct {
	profile, level, tier                      uint32
	highBitDepth, twelveBit, mono, subX, subY uint32
	chromaPosition                            uint32
	width, height                             int
	reduced                                   bool
	orderHint, decoderModelled                bool
}

func (a *av1) push(frame, payload []byte, begin bool) ([]byte, error) {
	if begin {
		a.obu, a.open, a.headless, a.key, a.picture, a.inBand = a.obu[:0], false, false, false, false, false
	}
	if len(payload) < 1 {
		return frame, errPayload
	}
	z, y, w := payload[0]&0x80 != 0, payload[0]&0x40 != 0, int(payload[0]>>4&3)
	rest := payload[1:]
	if begin && z {
		a.headless = true
		return frame, errPayload
	}
	if z != a.open {
		return frame, errPayload
	}
	for i := 1; len(rest) > 0; i++ {
		size := len(rest)
		if w == 0 || i < w {
			v, n := leb128(rest)
			if n == 0 || v > uint64(len(rest)-n) {
				return frame, errPayload
			}
			rest, size = rest[n:], int(v)
		}
		element := rest[:size]
		rest = rest[size:]
		a.obu = append(a.obu, element...)
		if a.open = y && len(rest) == 0; a.open {
			break
		}
		var err error
		if frame, err = a.whole(frame); err != nil {
			return frame, err
		}
	}
	return frame, nil
}

// whole appends the OBU that is gathered, with a size.
func (a *av1) whole(frame []byte) ([]byte, error) {
	obu := a.obu
	a.obu = a.obu[:0]
	if len(obu) == 0 {
		return frame, nil // an element of no bytes
	}
	kind, head := obu[0]>>3&0xf, 1
	if obu[0]&4 != 0 { // obu_extension_flag
		head = 2
	}
	if len(obu) < head {
		return frame, errPayload
	}
	data := obu[head:]
	if obu[0]&2 != 0 { // obu_has_size_field
		v, n := leb128(data)
		if n == 0 || v > uint64(len(data)-n) {
			return frame, errPayload
		}
		data = data[n : n+int(v)]
	}
	switch kind {
	case obuTemporalDelimiter, obuTileList, obuPadding:
		return frame, nil
	case obuFrameHeader, obuFrame:
		if !a.picture {
			a.key = a.keyframe(data)
		}
		a.picture = true
	case obuTileGroup:
		a.picture = true
	}
	at := len(frame)
	frame = append(frame, obu[0]|2)
	frame = append(frame, obu[1:head]...)
	frame = append(appendLEB128(frame, uint64(len(data))), data...)
	if kind == obuSequenceHeader {
		a.noteSequence(frame[at:], data)
	}
	return frame, nil
}

// noteSequence remembers a sequence header.
func (a *av1) noteSequence(obu, data []byte) {
	a.inBand = true
	if slices.Equal(obu, a.sequence) {
		return
	}
	if h, ok := parseAV1Sequence(data); ok {
		a.sequence, a.header, a.private = slices.Clone(obu), h, nil
	}
}

// keyframe reads the beginning of a frame header (section 5.9.2): a key frame that is shown.
func (a *av1) keyframe(data []byte) bool {
	if a.header.reduced {
		return true
	}
	r := bitReader{data: data}
	existing, kind, shown := r.bit(), r.bits(2), r.bit()
	return !r.short && existing == 0 && kind == 0 && shown == 1
}

func (a *av1) complete(f []byte) ([]byte, frameInfo) {
	info := frameInfo{broken: a.open, headless: a.headless, empty: !a.picture}
	if info.empty || info.broken || !a.key || a.sequence == nil {
		return f, info
	}
	if a.private == nil {
		a.private = av1C(a.header, a.sequence)
	}
	info.key, info.private, info.width, info.height = true, a.private, a.header.width, a.header.height
	if !a.inBand {
		f = slices.Insert(f, 0, a.sequence...)
	}
	return f, info
}

// av1C is the codec configuration record (AV1 Codec ISO Media File Format Binding, section 2.3).
func av1C(h av1Sequence, sequence []byte) []byte {
	b := []byte{
		0x81, byte(h.profile<<5 | h.level),
		byte(h.tier<<7 | h.highBitDepth<<6 | h.twelveBit<<5 | h.mono<<4 | h.subX<<3 | h.subY<<2 | h.chromaPosition), 0,
	}
	return append(b, sequence...)
}

// parseAV1Sequence reads a sequence header (AV1 bitstream specification, section 5.5).
func parseAV1Sequence(data []byte) (h av1Sequence, ok bool) {
	r := bitReader{data: data}
	h.profile = r.bits(3)
	r.bit() // still_picture
	h.reduced = r.bit() == 1
	if h.reduced {
		h.level = r.bits(5)
	} else {
		h.operatingPoints(&r)
	}
	w, ht := int(r.bits(4))+1, int(r.bits(4))+1
	h.width, h.height = int(r.bits(w))+1, int(r.bits(ht))+1
	if !h.reduced && r.bit() == 1 { // frame_id_numbers_present_flag
		r.bits(7)
	}
	r.bits(3) // use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter
	if !h.reduced {
		r.bits(4) // interintra, masked compound, warped motion, dual filter
		if r.bit() == 1 {
			r.bits(2) // enable_jnt_comp, enable_ref_frame_mvs
			h.orderHint = true
		}
		force := uint32(2)
		if r.bit() == 0 { // seq_choose_screen_content_tools
			force = r.bit()
		}
		if force > 0 && r.bit() == 0 { // seq_choose_integer_mv
			r.bit()
		}
		if h.orderHint {
			r.bits(3) // order_hint_bits_minus_1
		}
	}
	r.bits(3) // enable_superres, enable_cdef, enable_restoration
	h.color(&r)
	return h, !r.short && h.width <= 1<<14 && h.height <= 1<<14
}

// operatingPoints reads timing and operating points; what counts is the level of the first.
func (h *av1Sequence) operatingPoints(r *bitReader) {
	delay := 0
	if r.bit() == 1 { // timing_info_present_flag
		r.bits(32)
		r.bits(32)
		if r.bit() == 1 {
			r.ue() // num_ticks_per_picture_minus_1, uvlc
		}
		if h.decoderModelled = r.bit() == 1; h.decoderModelled {
			delay = int(r.bits(5)) + 1
			r.bits(32)
			r.bits(10)
		}
	}
	display := r.bit()
	for i := range int(r.bits(5)) + 1 {
		r.bits(12)
		level, tier := r.bits(5), uint32(0)
		if level > 7 {
			tier = r.bit()
		}
		if h.decoderModelled && r.bit() == 1 {
			r.bits(delay)
			r.bits(delay)
			r.bit()
		}
		if display == 1 && r.bit() == 1 {
			r.bits(4)
		}
		if i == 0 {
			h.level, h.tier = level, tier
		}
	}
}

// color reads the color configuration (section 5.5.2).
func (h *av1Sequence) color(r *bitReader) {
	h.highBitDepth = r.bit()
	if h.profile == 2 && h.highBitDepth == 1 {
		h.twelveBit = r.bit()
	}
	if h.profile != 1 {
		h.mono = r.bit()
	}
	primaries, transfer, matrix := uint32(2), uint32(2), uint32(2)
	if r.bit() == 1 {
		primaries, transfer, matrix = r.bits(8), r.bits(8), r.bits(8)
	}
	h.subX, h.subY = 1, 1
	switch {
	case h.mono == 1:
		r.bit()
	case primaries == 1 && transfer == 13 && matrix == 0: // sRGB
		h.subX, h.subY = 0, 0
	default:
		r.bit()
		switch {
		case h.profile == 1:
			h.subX, h.subY = 0, 0
		case h.profile == 2 && h.twelveBit == 1:
			if h.subX = r.bit(); h.subX == 1 {
				h.subY = r.bit()
			} else {
				h.subY = 0
			}
		case h.profile == 2:
			h.subY = 0
		}
		if h.subX == 1 && h.subY == 1 {
			h.chromaPosition = r.bits(2)
		}
	}
}

// leb128 reads a number (section 4.10.5); n is 0 when it is not whole.
func leb128(b []byte) (v uint64, n int) {
	for i := range min(8, len(b)) {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			return v, i + 1
		}
	}
	return 0, 0
}

func appendLEB128(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}
