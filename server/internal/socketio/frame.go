// SPDX-License-Identifier: Apache-2.0

package socketio

import "github.com/classrec/classrec/server/internal/engineio"

// Frame is an event encoded once, to be sent on any number of connections of either revision. It is immutable.
type Frame struct {
	frame *engineio.Frame
}

// NewFrame encodes an event. The arguments are encoded as by json.Marshal, but for <, > and &, which stay as they are;
// the error tells which argument could not be encoded.
func NewFrame(name string, args ...any) (*Frame, error) {
	f, err := eventFrame(Packet{Type: PacketEvent, Namespace: RootNamespace}, name, args)
	if err != nil {
		return nil, err
	}
	return &Frame{f}, nil
}

// eventFrame encodes an event, with the id of p if an answer is wanted.
func eventFrame(p Packet, name string, args []any) (*engineio.Frame, error) {
	return arrayFrame(p, append([]any{name}, args...))
}

// arrayFrame encodes p with the elements as data.
func arrayFrame(p Packet, elements []any) (*engineio.Frame, error) {
	data, err := joinArray(elements)
	if err != nil {
		return nil, err
	}
	p.Data = data
	return packetFrame(p), nil
}

func packetFrame(p Packet) *engineio.Frame {
	return engineio.NewFrame(AppendPacket(nil, p))
}
