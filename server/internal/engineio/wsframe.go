// SPDX-License-Identifier: Apache-2.0

package engineio

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// Opcodes of WebSocket frames (RFC 6455 section 5.2).
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

const (
	finBit  = 0x80
	rsvBits = 0x70
	maskBit = 0x80

	maxHeaderBytes  = 14  // of a masked frame with 64 bits of length
	maxControlBytes = 125 // of payload in a control frame
)

// appendHeader appends the header of an unmasked, final frame with n bytes of payload, as servers send it.
func appendHeader(dst []byte, op byte, n int) []byte {
	op |= finBit
	switch {
	case n <= 125:
		return append(dst, op, byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, op, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, op, 127), uint64(n))
	}
}

// header is the header of a frame that a client has sent.
type header struct {
	op   byte
	fin  bool
	n    int64 // length of the payload
	mask [4]byte
}

func (h header) control() bool { return h.op&0x8 != 0 }

// errFraming is a violation of RFC 6455 below the messages; the peer is told so with code 1002.
var errFraming = fmt.Errorf("%w: websocket", ErrMalformed)

// parseHeader decodes the header at the beginning of b and returns its length, or 0 if b is too short to tell.
func parseHeader(b []byte) (h header, size int, err error) {
	if len(b) < 2 {
		return h, 0, nil
	}
	h.op, h.fin = b[0]&0xf, b[0]&finBit != 0
	switch {
	case b[0]&rsvBits != 0:
		return h, 0, fmt.Errorf("%w: reserved bits set", errFraming)
	case b[1]&maskBit == 0:
		return h, 0, fmt.Errorf("%w: frame is not masked", errFraming)
	case h.op > opBinary && h.op < opClose || h.op > opPong:
		return h, 0, fmt.Errorf("%w: unknown opcode %#x", errFraming, h.op)
	}
	size = 2
	switch n := b[1] &^ maskBit; n {
	case 126:
		size += 2
		if len(b) < size {
			return h, 0, nil
		}
		h.n = int64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		size += 8
		if len(b) < size {
			return h, 0, nil
		}
		if h.n = int64(binary.BigEndian.Uint64(b[2:])); h.n < 0 {
			return h, 0, fmt.Errorf("%w: length with the highest bit set", errFraming)
		}
	default:
		h.n = int64(n)
	}
	if h.control() && (!h.fin || h.n > maxControlBytes) {
		return h, 0, fmt.Errorf("%w: control frame is fragmented or too long", errFraming)
	}
	if len(b) < size+4 {
		return h, 0, nil
	}
	copy(h.mask[:], b[size:])
	return h, size + 4, nil
}

// unmask undoes the masking of b, which begins at byte at of the payload (RFC 6455 section 5.3).
func unmask(b []byte, mask [4]byte, at int64) {
	var key [8]byte
	for i := range key {
		key[i] = mask[(at+int64(i))&3]
	}
	wide := binary.LittleEndian.Uint64(key[:])
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= key[i]
	}
}

// parseClose decodes the payload of a close frame (RFC 6455 sections 5.5.1 and 7.4).
func parseClose(body []byte) (*CloseError, error) {
	if len(body) == 0 {
		return &CloseError{Code: codeNoStatus}, nil
	}
	if len(body) == 1 {
		return nil, fmt.Errorf("%w: close frame with half a code", errFraming)
	}
	code := int(binary.BigEndian.Uint16(body))
	known := code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
	if !known {
		return nil, fmt.Errorf("%w: close code %d", errFraming, code)
	}
	if !utf8.Valid(body[2:]) {
		return nil, fmt.Errorf("%w: close reason is not UTF-8", errFraming)
	}
	return &CloseError{Code: code, Reason: string(body[2:])}, nil
}

// Close codes (RFC 6455 section 7.4.1).
const (
	codeNormal      = 1000
	codeGoingAway   = 1001
	codeProtocol    = 1002
	codeUnsupported = 1003
	codeNoStatus    = 1005 // never on the wire: a close frame without a code
	codeAbnormal    = 1006 // never on the wire: no close frame
	codeInvalid     = 1007
	codeTooBig      = 1009
	codeInternal    = 1011
)

// closeBody encodes the payload of a close frame. A reason that does not fit is cut off.
func closeBody(code int, reason string) []byte {
	if code == codeNoStatus || code == codeAbnormal {
		return []byte{}
	}
	reason = reason[:min(len(reason), maxControlBytes-2)]
	for !utf8.ValidString(reason) {
		reason = reason[:len(reason)-1]
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)
}
