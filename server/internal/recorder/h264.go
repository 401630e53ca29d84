// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// NAL unit types (H.264 table 7-1, RFC 6184 section 5.2).
const (
	nalIDR   = 5
	nalSPS   = 7
	nalPPS   = 8
	nalAUD   = 9
	nalSTAPA = 24
	nalFUA   = 28
)

// h264 depacketizes H264 (RFC 6184, packetization modes 0 and 1) into length-prefixed NAL units. Parameter sets
// stay in the stream beside being put in the header, so that a change of resolution survives seeking.
type h264 struct {
	sps, pps []byte
	private  []byte // made of sps and pps; replaced, never changed
	w, h     int
	slice    bool // the frame being gathered has a slice, so a picture
	idr      bool // and it is an IDR slice
	broken   bool // its first slice is not the picture's first
	fragment int  // where in the frame the fragmented unit's length stands; -1 without one
}

// newH264 takes parameter sets from sprop-parameter-sets of the SDP when they are there.
func newH264(fmtp string) *h264 {
	h := &h264{fragment: -1}
	for param := range strings.SplitSeq(fmtp, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if !strings.EqualFold(name, "sprop-parameter-sets") {
			continue
		}
		for set := range strings.SplitSeq(value, ",") {
			if nal, err := base64.StdEncoding.DecodeString(set); err == nil && len(nal) > 0 {
				h.note(nal)
			}
		}
	}
	return h
}

func (h *h264) push(frame, payload []byte, begin bool) ([]byte, error) {
	if begin {
		h.slice, h.idr, h.broken, h.fragment = false, false, false, -1
	}
	if len(payload) == 0 {
		return frame, errPayload
	}
	kind := payload[0] & 0x1f
	if kind != nalFUA && h.fragment >= 0 {
		return frame, errPayload // the fragmented unit has no end
	}
	switch {
	case kind > 0 && kind < nalSTAPA:
		return h.unit(frame, payload), nil
	case kind == nalSTAPA:
		for rest := payload[1:]; len(rest) > 0; {
			if len(rest) < 2 {
				return frame, errPayload
			}
			n := int(binary.BigEndian.Uint16(rest))
			if n == 0 || n > len(rest)-2 {
				return frame, errPayload
			}
			frame = h.unit(frame, rest[2:2+n])
			rest = rest[2+n:]
		}
		return frame, nil
	case kind == nalFUA:
		return h.fu(frame, payload)
	}
	return frame, errPayload
}

// unit appends a whole NAL unit.
func (h *h264) unit(frame, nal []byte) []byte {
	h.note(nal)
	if nal[0]&0x1f == nalAUD {
		return frame
	}
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(nal)))
	return append(frame, nal...)
}

// fu appends a fragment (RFC 6184 section 5.8).
func (h *h264) fu(frame, payload []byte) ([]byte, error) {
	if len(payload) < 2 {
		return frame, errPayload
	}
	first, last := payload[1]&0x80 != 0, payload[1]&0x40 != 0
	switch {
	case first && h.fragment >= 0, !first && h.fragment < 0:
		return frame, errPayload
	case first:
		h.fragment = len(frame)
		frame = append(frame, 0, 0, 0, 0, payload[0]&0xe0|payload[1]&0x1f)
	}
	frame = append(frame, payload[2:]...)
	if last {
		nal := frame[h.fragment+4:]
		binary.BigEndian.PutUint32(frame[h.fragment:], uint32(len(nal)))
		h.fragment = -1
		h.note(nal)
	}
	return frame, nil
}

// note looks at a NAL unit on its way.
func (h *h264) note(nal []byte) {
	switch nal[0] & 0x1f {
	case 1, 2, 3, 4, nalIDR:
		if !h.slice && (len(nal) < 2 || nal[1]&0x80 == 0) { // first_mb_in_slice is not 0
			h.broken = true
		}
		h.slice, h.idr = true, nal[0]&0x1f == nalIDR
	case nalSPS:
		if !bytes.Equal(nal, h.sps) {
			if w, ht, ok := spsSize(nal); ok {
				h.sps, h.w, h.h = bytes.Clone(nal), w, ht
				h.private = nil
			}
		}
	case nalPPS:
		if !bytes.Equal(nal, h.pps) {
			h.pps = bytes.Clone(nal)
			h.private = nil
		}
	}
}

func (h *h264) inspect([]byte) frameInfo {
	if h.broken || h.fragment >= 0 {
		return frameInfo{broken: true}
	}
	if !h.slice {
		return frameInfo{empty: true}
	}
	if !h.idr || h.sps == nil || h.pps == nil {
		return frameInfo{}
	}
	if h.private == nil {
		h.private = avcC(h.sps, h.pps)
	}
	return frameInfo{key: true, width: h.w, height: h.h, private: h.private}
}

// avcC is the decoder configuration record (ISO/IEC 14496-15 section 5.3.3.1).
func avcC(sps, pps []byte) []byte {
	b := []byte{1, sps[1], sps[2], sps[3], 0xff, 0xe1}
	b = binary.BigEndian.AppendUint16(b, uint16(len(sps)))
	b = append(b, sps...)
	b = append(b, 1)
	b = binary.BigEndian.AppendUint16(b, uint16(len(pps)))
	b = append(b, pps...)
	switch sps[1] {
	case 100, 110, 122, 144: // the high profiles say their chroma format; WebRTC has 4:2:0 in 8 bits
		b = append(b, 0xfd, 0xf8, 0xf8, 0)
	}
	return b
}

// spsSize reads the picture size of a sequence parameter set (H.264 section 7.3.2.1.1).
func spsSize(nal []byte) (width, height int, ok bool) {
	if len(nal) < 4 || len(nal) > 1024 {
		return 0, 0, false
	}
	r := bitReader{data: bytes.ReplaceAll(nal[1:], []byte{0, 0, 3}, []byte{0, 0})}
	profile := r.bits(8)
	r.bits(16)
	r.ue() // seq_parameter_set_id
	chroma := uint32(1)
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		if chroma = r.ue(); chroma == 3 {
			r.bit()
		}
		r.ue()
		r.ue()
		r.bit()
		if r.bit() == 1 {
			scalingLists(&r, chroma)
		}
	}
	r.ue()                         // log2_max_frame_num_minus4
	if kind := r.ue(); kind == 0 { // pic_order_cnt_type
		r.ue()
	} else if kind == 1 {
		r.bit()
		r.se()
		r.se()
		for n := r.ue(); n > 0 && !r.short; n-- {
			r.se()
		}
	}
	r.ue()
	r.bit()
	w, h := int(r.ue())+1, int(r.ue())+1
	frames := int(r.bit()) // frame_mbs_only_flag
	if frames == 0 {
		r.bit()
	}
	r.bit()
	width, height = w*16, h*16*(2-frames)
	if r.bit() == 1 { // frame_cropping_flag
		x, y := 2, 2*(2-frames)
		switch chroma {
		case 0, 3:
			x, y = 1, 2-frames
		case 2:
			y = 2 - frames
		}
		width -= x * int(r.ue()+r.ue())
		height -= y * int(r.ue()+r.ue())
	}
	return width, height, !r.short && width > 0 && height > 0 && width <= 1<<14 && height <= 1<<14
}

func scalingLists(r *bitReader, chroma uint32) {
	n := 8
	if chroma == 3 {
		n = 12
	}
	for i := range n {
		if r.bit() == 0 {
			continue
		}
		size := 16
		if i >= 6 {
			size = 64
		}
		last, next := int32(8), int32(8)
		for range size {
			if next != 0 {
				next = (last + r.se()) & 0xff
			}
			if next != 0 {
				last = next
			}
		}
	}
}
