// SPDX-License-Identifier: Apache-2.0

package engineio

// Frame is a message encoded once, to be sent on any number of connections of either revision. It is immutable.
type Frame struct {
	wire []byte // a whole WebSocket frame as a server sends it: header, packet type, message
	head int    // length of the header
}

// NewFrame encodes a message. The message is copied, and has to be UTF-8.
func NewFrame(message []byte) *Frame { return newFrame(PacketMessage, message) }

// Message is what the frame carries. It must not be changed.
func (f *Frame) Message() []byte { return f.text()[1:] }

// text is the WebSocket message: packet type and data.
func (f *Frame) text() []byte { return f.wire[f.head:] }

func newFrame(t PacketType, data []byte) *Frame {
	wire := appendHeader(make([]byte, 0, maxHeaderBytes+len(data)), opText, 1+len(data))
	head := len(wire)
	return &Frame{wire: AppendPacket(wire, Packet{t, data}), head: head}
}
