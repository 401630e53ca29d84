// SPDX-License-Identifier: Apache-2.0

package recorder

import "github.com/pion/rtp/codecs"

// vp8 depacketizes VP8 (RFC 7741).
type vp8 struct{ p codecs.VP8Packet }

func (v *vp8) push(frame, payload []byte, begin bool) ([]byte, error) {
	data, err := v.p.Unmarshal(payload)
	if err != nil {
		return frame, err
	}
	if begin && (v.p.S != 1 || v.p.PID != 0) {
		return frame, errPayload // the middle of a frame
	}
	return append(frame, data...), nil
}

// inspect reads the frame header of RFC 6386 section 9.1.
func (v *vp8) inspect(f []byte) frameInfo {
	if len(f) < 10 || f[0]&1 != 0 || f[3] != 0x9d || f[4] != 0x01 || f[5] != 0x2a {
		return frameInfo{}
	}
	width := int(f[6]) | int(f[7]&0x3f)<<8
	height := int(f[8]) | int(f[9]&0x3f)<<8
	return frameInfo{key: width > 0 && height > 0, width: width, height: height}
}
