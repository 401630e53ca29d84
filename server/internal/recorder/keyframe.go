// SPDX-License-Identifier: Apache-2.0

package recorder

import "strings"

// PacketRole is what an RTP payload is to decoding, as far as it can be seen without the packets around it.
type PacketRole int

// The roles.
const (
	// PartOfPicture is a part of a picture that needs others before it, or the rest of any picture.
	PartOfPicture PacketRole = iota
	// BeforePicture has no picture in it: parameter sets and the like, which belong to the next picture.
	BeforePicture
	// BeginsKeyframe is the beginning of a picture that needs no other before it.
	BeginsKeyframe
)

// RoleOf looks at the payload of a packet of video with the media type ("video/VP8"). Of a type that is not recorded, and
// of what is malformed, nothing begins.
func RoleOf(mimeType string, payload []byte) PacketRole {
	if len(payload) == 0 {
		return BeforePicture
	}
	key := false
	switch strings.ToLower(mimeType) {
	case "video/vp8":
		data, first, err := vp8Payload(payload)
		key = err == nil && first && len(data) > 0 && data[0]&1 == 0
	case "video/vp9":
		d, data, err := parseVP9(payload)
		key = err == nil && d.begin && d.sid == 0 && vp9Key(data)
	case "video/av1":
		key = payload[0]&0x88 == 0x08 // N: a coded video sequence begins (section 4.4)
	case "video/h264":
		return roleOfNALs(h264Units(payload))
	case "video/h265":
		return roleOfNALs(h265Units(payload))
	}
	if key {
		return BeginsKeyframe
	}
	return PartOfPicture
}

// unitKind is what a NAL unit is.
type unitKind int

const (
	unitOther unitKind = iota // sets, delimiters, messages
	unitPicture
	unitKey
)

// roleOfNALs joins the kinds of the units in a packet.
func roleOfNALs(kinds []unitKind) PacketRole {
	role := BeforePicture
	for _, k := range kinds {
		switch k {
		case unitKey:
			return BeginsKeyframe
		case unitPicture:
			role = PartOfPicture
		case unitOther:
		}
	}
	return role
}

// h264Units are the kinds of the units in a payload.
func h264Units(p []byte) (kinds []unitKind) {
	of := func(nal []byte) {
		kind := unitOther
		switch nal[0] & 0x1f {
		case 1, 2, 3, 4:
			kind = unitPicture
		case nalIDR:
			kind = unitKey
		case nalSEI:
			if recoveryPoint(nal) {
				kind = unitKey
			}
		}
		kinds = append(kinds, kind)
	}
	rest := p[1:]
	switch p[0] & 0x1f {
	case nalSTAPB:
		rest = rest[min(2, len(rest)):]
		fallthrough
	case nalSTAPA:
		for nal, after, ok := sizedUnit(rest); ok; nal, after, ok = sizedUnit(after) {
			of(nal)
		}
	case nalFUA, nalFUB:
		if len(p) < 2 || p[1]&0x80 == 0 {
			return []unitKind{unitPicture}
		}
		of([]byte{p[1] & 0x1f})
	case nalMTAP16, nalMTAP24:
		splitMTAP(packet{payload: p}, func(u packet) { of(u.payload) })
	default:
		of(p)
	}
	return kinds
}

// h265Units are the kinds of the units in a payload. Aggregations with decoding order numbers are not looked into: only
// a first unit is seen.
func h265Units(p []byte) (kinds []unitKind) {
	of := func(kind byte) {
		switch {
		case kind >= hevcBLA && kind <= hevcIRAP:
			kinds = append(kinds, unitKey)
		case kind < 32:
			kinds = append(kinds, unitPicture)
		default:
			kinds = append(kinds, unitOther)
		}
	}
	if len(p) <= hevcHeader {
		return nil
	}
	switch kind := p[0] >> 1 & 0x3f; kind {
	case hevcAP:
		for nal, after, ok := sizedUnit(p[hevcHeader:]); ok; nal, after, ok = sizedUnit(after) {
			of(nal[0] >> 1 & 0x3f)
		}
	case hevcFU:
		if p[hevcHeader]&0x80 == 0 {
			return []unitKind{unitPicture}
		}
		of(p[hevcHeader] & 0x3f)
	default:
		of(kind)
	}
	return kinds
}

// vp9Key reports whether the first bits of a frame are those of a key frame.
func vp9Key(f []byte) bool {
	r := bitReader{data: f}
	marker, profile := r.bits(2), r.bit()|r.bit()<<1
	if profile == 3 {
		r.bit()
	}
	existing, inter := r.bit(), r.bit()
	return marker == 2 && existing == 0 && inter == 0 && !r.short
}
