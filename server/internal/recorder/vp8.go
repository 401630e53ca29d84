// SPDX-License-Identifier: Apache-2.0

package recorder

// vp8 depacketizes VP8 (RFC 7741). Partitions follow one another in a frame as they do in the packets.
type vp8 struct {
	headless bool // the frame's first packet was not its beginning
}

func (v *vp8) push(frame, payload []byte, begin bool) ([]byte, error) {
	data, first, err := vp8Payload(payload)
	if err != nil {
		return frame, err
	}
	if begin {
		v.headless = !first
	}
	return append(frame, data...), nil
}

// vp8Payload takes off the payload descriptor (RFC 7741 section 4.2); first says that a frame begins here.
func vp8Payload(b []byte) (data []byte, first bool, err error) {
	if len(b) < 1 {
		return nil, false, errPayload
	}
	n := 1
	if b[0]&0x80 != 0 { // X
		if len(b) < 2 {
			return nil, false, errPayload
		}
		n = 2
		if b[1]&0x80 != 0 { // I: PictureID, of 7 or 15 bits
			if len(b) <= n {
				return nil, false, errPayload
			}
			n += 1 + int(b[n]>>7)
		}
		if b[1]&0x40 != 0 { // L: TL0PICIDX
			n++
		}
		if b[1]&0x30 != 0 { // T or K: TID, Y, KEYIDX
			n++
		}
	}
	if n > len(b) {
		return nil, false, errPayload
	}
	return b[n:], b[0]&0x17 == 0x10, nil // S, and PID 0
}

// complete reads the frame header of RFC 6386 section 9.1.
func (v *vp8) complete(f []byte) ([]byte, frameInfo) {
	info := frameInfo{headless: v.headless}
	if len(f) < 10 || f[0]&1 != 0 || f[3] != 0x9d || f[4] != 0x01 || f[5] != 0x2a {
		return f, info
	}
	info.width = int(f[6]) | int(f[7]&0x3f)<<8
	info.height = int(f[8]) | int(f[9]&0x3f)<<8
	info.key = info.width > 0 && info.height > 0
	return f, info
}
