// SPDX-License-Identifier: Apache-2.0

package recorder

// vp9Header is the uncompressed header of a VP9 frame (VP9 bitstream specification, section 6.2).
type vp9Header struct {
	key           bool
	shown         bool // and not only decoded
	existing      bool // it shows a frame that was decoded before, and has no more than that
	width, height int
	refresh       uint32 // which of the eight references it replaces

	showAt, afterErrorMode int // bits: where show_frame stands, and what follows error_resilient_mode
	bits                   int // the header's length
}

// parseVP9Header reads a header; refs are the sizes of the references. ok is false for one that is not whole.
func parseVP9Header(f []byte, refs *[8][2]int) (h vp9Header, ok bool) {
	r := bitReader{data: f}
	if r.bits(2) != 2 { // frame_marker
		return h, false
	}
	profile := r.bit() | r.bit()<<1
	if profile == 3 {
		r.bit()
	}
	if h.existing = r.bit() == 1; h.existing {
		i := r.bits(3)
		h.width, h.height, h.shown, h.bits = refs[i][0], refs[i][1], true, r.pos
		return h, !r.short
	}
	h.key = r.bit() == 0
	h.showAt = r.pos
	h.shown = r.bit() == 1
	errorMode := r.bit() == 1
	h.afterErrorMode = r.pos
	switch {
	case h.key:
		if r.bits(24) != 0x498342 {
			return h, false
		}
		vp9Color(&r, profile)
		h.size(&r)
		h.render(&r)
		h.refresh = 0xff
	default:
		if !h.inter(&r, refs, profile, errorMode) {
			return h, false
		}
	}
	if !errorMode {
		r.bits(2) // refresh_frame_context, frame_parallel_decoding_mode
	}
	r.bits(2) // frame_context_idx
	vp9LoopFilter(&r)
	r.bits(8) // base_q_idx
	for range 3 {
		vp9Delta(&r, 4)
	}
	vp9Segmentation(&r)
	vp9Tiles(&r, h.width)
	r.bits(16) // header_size_in_bytes
	h.bits = r.pos
	return h, !r.short && h.width > 0 && h.height > 0
}

func vp9Color(r *bitReader, profile uint32) {
	if profile >= 2 {
		r.bit() // ten_or_twelve_bit
	}
	if r.bits(3) != 7 { // color_space is not RGB
		r.bit() // color_range
		if profile&1 == 1 {
			r.bits(3)
		}
	} else if profile&1 == 1 {
		r.bit()
	}
}

func (h *vp9Header) size(r *bitReader) { h.width, h.height = int(r.bits(16))+1, int(r.bits(16))+1 }

func (h *vp9Header) render(r *bitReader) {
	if r.bit() == 1 {
		r.bits(32)
	}
}

// inter reads what frames have that are no key frames; false when the sync code is missing.
func (h *vp9Header) inter(r *bitReader, refs *[8][2]int, profile uint32, errorMode bool) bool {
	intraOnly := !h.shown && r.bit() == 1
	if !errorMode {
		r.bits(2) // reset_frame_context
	}
	if intraOnly {
		if r.bits(24) != 0x498342 {
			return false
		}
		if profile > 0 {
			vp9Color(r, profile)
		}
		h.refresh = r.bits(8)
		h.size(r)
		h.render(r)
		return true
	}
	h.refresh = r.bits(8)
	var from [3]uint32
	for i := range from {
		from[i] = r.bits(3)
		r.bit() // ref_frame_sign_bias
	}
	found := false
	for i := 0; i < 3 && !found; i++ {
		if found = r.bit() == 1; found {
			h.width, h.height = refs[from[i]][0], refs[from[i]][1]
		}
	}
	if !found {
		h.size(r)
	}
	h.render(r)
	r.bit()           // allow_high_precision_mv
	if r.bit() == 0 { // is_filter_switchable
		r.bits(2)
	}
	return true
}

func vp9LoopFilter(r *bitReader) {
	r.bits(9) // level, sharpness
	enabled := r.bit() == 1
	if updated := enabled && r.bit() == 1; updated {
		for range 4 + 2 {
			vp9Delta(r, 6)
		}
	}
}

// vp9Delta skips a value with a sign, if it is there.
func vp9Delta(r *bitReader, bits int) {
	if r.bit() == 1 {
		r.bits(bits + 1)
	}
}

func vp9Segmentation(r *bitReader) {
	if r.bit() == 0 {
		return
	}
	probability := func() {
		if r.bit() == 1 {
			r.bits(8)
		}
	}
	if r.bit() == 1 { // update_map
		for range 7 {
			probability()
		}
		if r.bit() == 1 { // temporal_update
			for range 3 {
				probability()
			}
		}
	}
	if r.bit() == 0 { // update_data
		return
	}
	r.bit() // abs_or_delta_update
	for range 8 {
		for _, bits := range [...]int{8 + 1, 6 + 1, 2, 0} { // the first two have signs
			if r.bit() == 1 {
				r.bits(bits)
			}
		}
	}
}

func vp9Tiles(r *bitReader, width int) {
	columns := ((width+7)>>3 + 7) >> 3 // of 64 pixels
	least, most := 0, 1
	for 64<<least < columns {
		least++
	}
	for columns>>most >= 4 {
		most++
	}
	for n := least; n < most-1 && r.bit() == 1; n++ {
	}
	if r.bit() == 1 { // tile_rows_log2
		r.bit()
	}
}

// hidden returns a frame as one that is decoded and not shown. A header of an inter frame has a bit more then, which says
// that it is not intra-only.
func (h *vp9Header) hidden(f []byte) []byte {
	if !h.shown || h.existing {
		return f
	}
	end := (h.bits + 7) / 8
	var w bitWriter
	r := bitReader{data: f}
	for r.pos < h.bits {
		switch {
		case r.pos == h.showAt:
			r.bit()
			w.bit(0)
			continue
		case r.pos == h.afterErrorMode && !h.key && w.n == r.pos:
			w.bit(0)
		}
		w.bit(r.bit())
	}
	return append(w.data, f[end:]...)
}

// bitWriter writes bits from the highest down.
type bitWriter struct {
	data []byte
	n    int
}

func (w *bitWriter) bit(b uint32) {
	if w.n%8 == 0 {
		w.data = append(w.data, 0)
	}
	w.data[w.n/8] |= byte(b) << (7 - w.n%8)
	w.n++
}
