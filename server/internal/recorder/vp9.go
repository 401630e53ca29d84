// SPDX-License-Identifier: Apache-2.0

package recorder

// vp9 depacketizes VP9 (RFC 9628). The layer frames of a picture, one for each spatial layer, become one superframe (VP9
// bitstream specification, annex B), of which decoders show the highest.
type vp9 struct {
	starts   []int // where the layer frames begin
	headless bool  // the first packet of the picture, or of a layer frame, was not its beginning
	open     bool  // a layer frame has no end yet
	refs     [8][2]int
	spare    []byte
}

// vp9Descriptor is what matters of a payload descriptor (RFC 9628 section 4.2).
type vp9Descriptor struct {
	begin, end bool
	sid        int
}

func (v *vp9) push(frame, payload []byte, begin bool) ([]byte, error) {
	d, data, err := parseVP9(payload)
	if err != nil {
		return frame, err
	}
	if begin {
		v.starts, v.headless, v.open = v.starts[:0], false, false
	}
	if d.begin {
		v.headless = v.headless || v.open
		v.starts = append(v.starts, len(frame))
	} else if !v.open {
		v.headless = true
	}
	v.open = !d.end
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
		skipVP9Structure(&r)
	}
	if r.short {
		return d, nil, errPayload
	}
	return d, b[r.pos/8:], nil
}

// skipVP9Structure skips a scalability structure (RFC 9628 section 4.2.1): the frames say the same.
func skipVP9Structure(r *bitReader) {
	layers, sized, groups := int(r.bits(3))+1, r.bit(), r.bit()
	r.bits(3)
	if sized == 1 {
		for range layers {
			r.bits(32)
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
}

// complete joins the layer frames of a picture: all but the last are decoded and not shown, which some decoders do by
// themselves and others do not, and an index tells where they begin.
func (v *vp9) complete(f []byte) ([]byte, frameInfo) {
	info := frameInfo{headless: v.headless}
	n := len(v.starts)
	if n == 0 || n > 8 {
		return f, info
	}
	if n == 1 {
		if h, ok := parseVP9Header(f, &v.refs); ok {
			v.replace(h)
			info.key, info.width, info.height = h.key, h.width, h.height
		}
		return f, info
	}
	out := v.spare[:0]
	index := []byte{byte(0xc0 | 3<<3 | (n - 1))} // sizes of four bytes
	for i, start := range v.starts {
		end := len(f)
		if i+1 < n {
			end = v.starts[i+1]
		}
		part := f[start:end]
		h, ok := parseVP9Header(part, &v.refs)
		if ok {
			v.replace(h)
			info.key = info.key || h.key && i == 0
			info.width, info.height = h.width, h.height
			if i+1 < n {
				part = h.hidden(part)
			}
		}
		size := len(part)
		index = append(index, byte(size), byte(size>>8), byte(size>>16), byte(size>>24))
		out = append(out, part...)
	}
	v.spare = f // which the caller has in exchange for what it gets
	return append(append(out, index...), index[0]), info
}

// replace notes the sizes of the references that a frame replaces.
func (v *vp9) replace(h vp9Header) {
	for i := range v.refs {
		if h.refresh>>i&1 == 1 {
			v.refs[i] = [2]int{h.width, h.height}
		}
	}
}
