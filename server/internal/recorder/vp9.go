// SPDX-License-Identifier: Apache-2.0

package recorder

// vp9 depacketizes VP9 (RFC 9628). The layer frames of a picture, one for each spatial layer, become one superframe (VP9
// bitstream specification, annex B), of which decoders show the highest.
type vp9 struct {
	starts   []int // where the layer frames begin
	headless bool  // the first packet of the picture, or of a layer frame, was not its beginning
	open     bool  // a layer frame has no end yet
	sizes    [8][2]int
	top      int // the highest spatial layer of the picture
}

// vp9Descriptor is what matters of a payload descriptor (RFC 9628 section 4.2).
type vp9Descriptor struct {
	begin, end bool
	sid        int
	sizes      [][2]int // by spatial layer, of a scalability structure that has them
}

func (v *vp9) push(frame, payload []byte, begin bool) ([]byte, error) {
	d, data, err := parseVP9(payload)
	if err != nil {
		return frame, err
	}
	if begin {
		v.starts, v.headless, v.open, v.top = v.starts[:0], false, false, 0
	}
	if d.begin {
		v.headless = v.headless || v.open
		v.starts = append(v.starts, len(frame))
	} else if !v.open {
		v.headless = true
	}
	v.open, v.top = !d.end, max(v.top, d.sid)
	copy(v.sizes[:], d.sizes)
	return append(frame, data...), nil
}

func parseVP9(b []byte) (d vp9Descriptor, data []byte, err error) {
	r := bitReader{data: b}
	picture, inter, layers, flexible := r.bit(), r.bit(), r.bit(), r.bit() // I, P, L, F
	d.begin, d.end = r.bit() == 1, r.bit() == 1
	structure := r.bit() // V
	r.bit()              // Z
	if picture == 1 {
		if r.bit() == 1 { // M
			r.bits(15)
		} else {
			r.bits(7)
		}
	}
	if layers == 1 {
		r.bits(4) // TID, U
		d.sid = int(r.bits(3))
		r.bit() // D
		if flexible == 0 {
			r.bits(8) // TL0PICIDX
		}
	}
	if flexible == 1 && inter == 1 {
		for n := 0; r.bits(8)&1 == 1; n++ { // P_DIFF, N
			if n == 2 {
				return d, nil, errPayload
			}
		}
	}
	if structure == 1 {
		d.sizes = vp9Structure(&r)
	}
	if r.short {
		return d, nil, errPayload
	}
	return d, b[r.pos/8:], nil
}

// vp9Structure reads a scalability structure (RFC 9628 section 4.2.1).
func vp9Structure(r *bitReader) (sizes [][2]int) {
	layers, sized, groups := int(r.bits(3))+1, r.bit(), r.bit()
	r.bits(3)
	if sized == 1 {
		for range layers {
			sizes = append(sizes, [2]int{int(r.bits(16)), int(r.bits(16))})
		}
	}
	if groups == 1 {
		for n := r.bits(8); n > 0 && !r.short; n-- {
			r.bits(4) // TID, U
			refs := r.bits(2)
			r.bits(2)
			r.bits(8 * int(refs))
		}
	}
	return sizes
}

// complete adds the superframe's index where there are several layer frames.
func (v *vp9) complete(f []byte) ([]byte, frameInfo) {
	info := vp9Frame(f)
	info.headless = v.headless
	if info.key && v.top > 0 && v.sizes[v.top][0] > 0 {
		info.width, info.height = v.sizes[v.top][0], v.sizes[v.top][1]
	}
	n := len(v.starts)
	if n < 2 || n > 8 {
		return f, info
	}
	marker := byte(0xc0 | 3<<3 | (n - 1)) // sizes of four bytes
	index := []byte{marker}
	for i, start := range v.starts {
		end := len(f)
		if i+1 < n {
			end = v.starts[i+1]
		}
		size := end - start
		index = append(index, byte(size), byte(size>>8), byte(size>>16), byte(size>>24))
	}
	return append(append(f, index...), marker), info
}

// vp9Frame reads the uncompressed header (VP9 bitstream specification, section 6.2).
func vp9Frame(f []byte) frameInfo {
	r := bitReader{data: f}
	if r.bits(2) != 2 { // frame_marker
		return frameInfo{}
	}
	profile := r.bit() | r.bit()<<1
	if profile == 3 {
		r.bit()
	}
	existing, inter := r.bit(), r.bit() // show_existing_frame, frame_type (0 is a key frame)
	if existing == 1 || inter == 1 {
		return frameInfo{}
	}
	r.bits(2) // show_frame, error_resilient_mode
	if r.bits(24) != 0x498342 {
		return frameInfo{}
	}
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
	width, height := int(r.bits(16))+1, int(r.bits(16))+1
	return frameInfo{key: !r.short, width: width, height: height}
}
