// SPDX-License-Identifier: Apache-2.0

package transport

import "encoding/binary"

// redBlock is one block of a RED payload (RFC 2198 section 3).
type redBlock struct {
	payloadType uint8
	offset      uint32 // how much earlier than the packet's timestamp
	data        []byte
}

// maxRedBlocks bounds the blocks of one packet; senders use two or three.
const maxRedBlocks = 16

// parseRED splits a RED payload; the last block is the primary one. ok is false for a malformed payload. The blocks
// refer to the payload.
func parseRED(payload []byte, blocks []redBlock) (_ []redBlock, ok bool) {
	var lengths [maxRedBlocks]int
	rest := payload
	for {
		if len(rest) == 0 || len(blocks) == maxRedBlocks {
			return nil, false
		}
		if rest[0]&0x80 == 0 {
			blocks = append(blocks, redBlock{payloadType: rest[0]})
			rest = rest[1:]
			break
		}
		if len(rest) < 4 {
			return nil, false
		}
		h := binary.BigEndian.Uint32(rest)
		lengths[len(blocks)] = int(h & 0x3ff)
		blocks = append(blocks, redBlock{payloadType: uint8(h>>24) & 0x7f, offset: h >> 10 & 0x3fff})
		rest = rest[4:]
	}
	for i := range blocks {
		n := lengths[i]
		if i == len(blocks)-1 {
			n = len(rest)
		}
		if n > len(rest) {
			return nil, false
		}
		blocks[i].data, rest = rest[:n], rest[n:]
	}
	return blocks, true
}
