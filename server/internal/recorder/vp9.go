// SPDX-License-Identifier: Apache-2.0

package recorder

import "github.com/pion/rtp/codecs"

// vp9 depacketizes VP9 (RFC 9628). Of a stream with spatial layers only the base layer is kept: a file has one
// picture size, and the base layer decodes alone.
type vp9 struct{ p codecs.VP9Packet }

func (v *vp9) push(frame, payload []byte, begin bool) ([]byte, error) {
	v.p = codecs.VP9Packet{}
	data, err := v.p.Unmarshal(payload)
	if err != nil {
		return frame, err
	}
	if v.p.SID > 0 {
		return frame, nil
	}
	if begin && !v.p.B {
		return frame, errPayload
	}
	return append(frame, data...), nil
}

// inspect reads the uncompressed header (VP9 bitstream specification, section 6.2).
func (v *vp9) inspect(f []byte) frameInfo {
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
