// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
)

// NAL unit types (H.264 table 7-1, RFC 6184 section 5.2).
const (
	nalIDR    = 5
	nalSEI    = 6
	nalSPS    = 7
	nalPPS    = 8
	nalAUD    = 9
	nalSTAPA  = 24
	nalSTAPB  = 25
	nalMTAP16 = 26
	nalMTAP24 = 27
	nalFUA    = 28
	nalFUB    = 29
)

// h264 depacketizes H264 (RFC 6184) into length-prefixed NAL units. Parameter sets stay in the stream beside being put in
// the header, and each keyframe has those that it needs, so that a change survives seeking. What comes in an access unit
// without a picture (sets in packets of their own) goes before the next picture.
type h264 struct {
	sps, pps map[uint32][]byte
	sizes    map[uint32][2]int // of the sps
	private  []byte            // made of them; replaced, never changed
	pending  []byte            // units that wait for a picture
	unit     nalGatherer

	// the access unit being gathered
	slice    bool // it has a slice, so a picture
	idr      bool
	recovery bool // it has a recovery point that is exact at once: one can begin here
	headless bool // its first slice is not the picture's first
	wants    uint32
	inBand   map[uint32]bool // the sets that are in it: sps ids, and pps ids plus 1<<16
}

// newH264 takes parameter sets from sprop-parameter-sets of the SDP when they are there.
func newH264(fmtp string) *h264 {
	h := &h264{
		sps: map[uint32][]byte{}, pps: map[uint32][]byte{}, sizes: map[uint32][2]int{}, inBand: map[uint32]bool{},
	}
	for _, set := range sprops(fmtp, "sprop-parameter-sets") {
		h.note(set)
	}
	clear(h.inBand)
	return h
}

// sprops decodes a list of parameter sets in the SDP.
func sprops(fmtp, name string) (out [][]byte) {
	for param := range strings.SplitSeq(fmtp, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if !strings.EqualFold(key, name) {
			continue
		}
		for set := range strings.SplitSeq(value, ",") {
			if nal, err := base64.StdEncoding.DecodeString(strings.TrimSpace(set)); err == nil && len(nal) > 0 {
				out = append(out, nal)
			}
		}
	}
	return out
}

func (h *h264) push(frame, payload []byte, begin bool) ([]byte, error) {
	if begin {
		h.slice, h.idr, h.recovery, h.headless = false, false, false, false
		clear(h.inBand)
		h.unit.reset()
		frame = append(frame, h.pending...)
		for nal := range nalUnits(h.pending) {
			h.note(nal)
		}
		h.pending = h.pending[:0]
	}
	if len(payload) == 0 {
		return frame, errPayload
	}
	kind := payload[0] & 0x1f
	fragment := kind == nalFUA || kind == nalFUB
	if !fragment && h.unit.open {
		return frame, errPayload // the fragmented unit has no end
	}
	switch {
	case kind > 0 && kind < nalSTAPA:
		return h.whole(frame, payload), nil
	case kind == nalSTAPA:
		return h.aggregate(frame, payload[1:])
	case kind == nalSTAPB && len(payload) > 3: // a decoding order number first
		return h.aggregate(frame, payload[3:])
	case fragment:
		return h.fragment(frame, payload)
	}
	return frame, errPayload
}

// aggregate takes the units of an aggregation packet (RFC 6184 section 5.7.1).
func (h *h264) aggregate(frame, rest []byte) ([]byte, error) {
	for len(rest) > 0 {
		nal, after, ok := sizedUnit(rest)
		if !ok {
			return frame, errPayload
		}
		frame, rest = h.whole(frame, nal), after
	}
	return frame, nil
}

// sizedUnit cuts a NAL unit with a size of two bytes before it from b.
func sizedUnit(b []byte) (nal, rest []byte, ok bool) {
	if len(b) < 3 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if n == 0 || n > len(b)-2 {
		return nil, nil, false
	}
	return b[2 : 2+n], b[2+n:], true
}

// whole appends a whole NAL unit.
func (h *h264) whole(frame, nal []byte) []byte {
	h.note(nal)
	if nal[0]&0x1f == nalAUD {
		return frame // the container says where pictures begin
	}
	return appendNAL(frame, nal)
}

// isMTAP reports whether a payload aggregates units of several times (RFC 6184 section 5.7.2).
func isMTAP(payload []byte) bool {
	kind := payload[0] & 0x1f
	return kind == nalMTAP16 || kind == nalMTAP24
}

// splitMTAP gives each unit of such a payload as a packet of its own, in the order of decoding. What is malformed is left
// out.
func splitMTAP(p packet, give func(packet)) {
	type timed struct {
		order byte
		packet
	}
	stamp := 2
	if p.payload[0]&0x1f == nalMTAP24 {
		stamp = 3
	}
	var units []timed
	for rest := p.payload[min(3, len(p.payload)):]; len(rest) > 3+stamp; {
		n := int(binary.BigEndian.Uint16(rest))
		if n == 0 || n > len(rest)-3-stamp {
			break
		}
		u := timed{order: rest[2], packet: p}
		later := uint32(0)
		for _, b := range rest[3 : 3+stamp] {
			later = later<<8 | uint32(b)
		}
		u.ts, u.marker, u.payload = p.ts+later, false, rest[3+stamp:3+stamp+n]
		units, rest = append(units, u), rest[3+stamp+n:]
	}
	slices.SortStableFunc(units, func(a, b timed) int { return int(a.order) - int(b.order) })
	for i, u := range units {
		u.marker = p.marker && i == len(units)-1
		give(u.packet)
	}
}

// appendNAL appends a unit with its length.
func appendNAL(frame, nal []byte) []byte {
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(nal)))
	return append(frame, nal...)
}

// nalUnits iterates over length-prefixed units.
func nalUnits(frame []byte) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(frame) > 4 {
			n := int(binary.BigEndian.Uint32(frame))
			if n == 0 || n > len(frame)-4 || !yield(frame[4:4+n]) {
				return
			}
			frame = frame[4+n:]
		}
	}
}

// fragment appends a fragment (RFC 6184 section 5.8).
func (h *h264) fragment(frame, payload []byte) ([]byte, error) {
	if len(payload) < 2 {
		return frame, errPayload
	}
	first, last := payload[1]&0x80 != 0, payload[1]&0x40 != 0
	data := payload[2:]
	if payload[0]&0x1f == nalFUB && first {
		if len(data) < 2 {
			return frame, errPayload
		}
		data = data[2:] // a decoding order number
	}
	frame, nal, err := h.unit.add(frame, []byte{payload[0]&0xe0 | payload[1]&0x1f}, data, first, last)
	if nal != nil {
		h.note(nal)
	}
	return frame, err
}

// nalGatherer puts fragmented units together, in the frame.
type nalGatherer struct {
	open bool
	at   int // where in the frame the unit's length stands
}

func (g *nalGatherer) reset() { g.open = false }

// add appends a fragment; nal is the unit when it is whole.
func (g *nalGatherer) add(frame, head, data []byte, first, last bool) (out, nal []byte, err error) {
	if first == g.open {
		return frame, nil, errPayload
	}
	if first {
		g.open, g.at = true, len(frame)
		frame = append(append(frame, 0, 0, 0, 0), head...)
	}
	frame = append(frame, data...)
	if !last {
		return frame, nil, nil
	}
	g.open = false
	nal = frame[g.at+4:]
	binary.BigEndian.PutUint32(frame[g.at:], uint32(len(nal)))
	return frame, nal, nil
}

// note looks at a NAL unit on its way.
func (h *h264) note(nal []byte) {
	switch nal[0] & 0x1f {
	case 1, 2, nalIDR:
		r := bitReader{data: nal[1:min(len(nal), 32)]}
		first := r.ue()
		r.ue()
		if !h.slice {
			h.headless, h.wants = first != 0, r.ue()
		}
		h.slice, h.idr = true, h.idr || nal[0]&0x1f == nalIDR
	case nalSEI:
		h.recovery = h.recovery || recoveryPoint(nal)
	case nalSPS:
		h.noteSPS(nal)
	case nalPPS:
		r := bitReader{data: nal[1:min(len(nal), 32)]}
		id := r.ue()
		if h.inBand[1<<16|id] = true; !r.short && id < 256 && !bytes.Equal(nal, h.pps[id]) {
			h.pps[id], h.private = bytes.Clone(nal), nil
		}
	}
}

func (h *h264) noteSPS(nal []byte) {
	if len(nal) < 5 {
		return
	}
	r := bitReader{data: nal[4:min(len(nal), 32)]}
	id := r.ue()
	if h.inBand[id] = true; r.short || id > 31 || bytes.Equal(nal, h.sps[id]) {
		return
	}
	if w, ht, ok := spsSize(nal); ok {
		h.sps[id], h.sizes[id], h.private = bytes.Clone(nal), [2]int{w, ht}, nil
	}
}

// recoveryPoint reports whether a SEI unit says that decoding can begin at this picture (H.264 section D.2.8).
func recoveryPoint(nal []byte) bool {
	rest := nal[1:]
	for len(rest) > 2 {
		var v [2]int // type and size
		for i := range v {
			for len(rest) > 0 && rest[0] == 0xff {
				v[i], rest = v[i]+255, rest[1:]
			}
			if len(rest) == 0 {
				return false
			}
			v[i], rest = v[i]+int(rest[0]), rest[1:]
		}
		if v[1] > len(rest) {
			return false
		}
		if v[0] == 6 && v[1] > 0 {
			return rest[0]&0x80 != 0 // recovery_frame_cnt is 0
		}
		rest = rest[v[1]:]
	}
	return false
}

// complete keeps what has no picture for the next, and gives a keyframe the parameter sets that it lacks.
func (h *h264) complete(frame []byte) ([]byte, frameInfo) {
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
	pps := h.pps[h.wants]
	if !h.idr && !h.recovery || pps == nil {
		return frame, info
	}
	r := bitReader{data: pps[1:min(len(pps), 32)]}
	r.ue()
	id := r.ue()
	if h.sps[id] == nil {
		return frame, info
	}
	if h.private == nil {
		h.private = avcC(h.sorted(h.sps), h.sorted(h.pps))
	}
	info.key, info.private = true, h.private
	info.width, info.height = h.sizes[id][0], h.sizes[id][1]
	if !h.inBand[id] || !h.inBand[1<<16|h.wants] {
		frame = h.withSets(frame)
	}
	return frame, info
}

// maxPending bounds the units that wait for a picture.
const maxPending = 64 << 10

// withSets puts all parameter sets before a frame.
func (h *h264) withSets(frame []byte) []byte {
	var sets []byte
	for _, nal := range append(h.sorted(h.sps), h.sorted(h.pps)...) {
		sets = appendNAL(sets, nal)
	}
	return slices.Insert(frame, 0, sets...)
}

// sorted lists parameter sets by id.
func (h *h264) sorted(sets map[uint32][]byte) (out [][]byte) {
	for _, id := range slices.Sorted(maps.Keys(sets)) {
		out = append(out, sets[id])
	}
	return out
}

// avcC is the decoder configuration record (ISO/IEC 14496-15 section 5.3.3.1).
func avcC(sps, pps [][]byte) []byte {
	sps, pps = sps[:min(len(sps), 31)], pps[:min(len(pps), 255)]
	b := []byte{1, sps[0][1], sps[0][2], sps[0][3], 0xff, 0xe0 | byte(len(sps))}
	for _, s := range sps {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
	}
	b = append(b, byte(len(pps)))
	for _, p := range pps {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(p))), p...)
	}
	switch sps[0][1] {
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
