// SPDX-License-Identifier: Apache-2.0

package engineio

import "encoding/binary"

// Frame is a message encoded once, to be sent on any number of connections of either revision. It is immutable.
type Frame struct {
	wire []byte // a whole WebSocket frame as a server sends it: header, packet type, message
	head int    // length of the header
}

// NewFrame encodes a message. The message is copied, and has to be UTF-8.
func NewFrame(message []byte) *Frame { return newFrame(opText, PacketMessage, message) }

// Message is what the frame carries. It must not be changed.
func (f *Frame) Message() []byte { return f.wire[f.head+1:] }

// text is the WebSocket message: packet type and data.
func (f *Frame) text() []byte { return f.wire[f.head:] }

// WebSocket opcodes with the FIN bit (RFC 6455 section 5.2).
const (
	opText  = 0x80 | 0x1
	opClose = 0x80 | 0x8
	opPong  = 0x80 | 0xA
)

func newFrame(op byte, t PacketType, data []byte) *Frame {
	wire := appendHeader(make([]byte, 0, maxHeaderBytes+1+len(data)), op, 1+len(data))
	head := len(wire)
	return &Frame{wire: AppendPacket(wire, Packet{t, data}), head: head}
}

// maxHeaderBytes is the length of the longest header of an unmasked frame.
const maxHeaderBytes = 10

// appendHeader appends the header of an unmasked frame with n bytes of payload (RFC 6455 section 5.2).
func appendHeader(dst []byte, op byte, n int) []byte {
	switch {
	case n <= 125:
		return append(dst, op, byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, op, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, op, 127), uint64(n))
	}
}
