// SPDX-License-Identifier: Apache-2.0

package engineio

import (
	"encoding/json"
	"fmt"
	"time"
)

// PacketType is the first character of every packet.
type PacketType byte

// The packet types. Over WebSocket alone, Upgrade and Noop never matter.
const (
	PacketOpen    PacketType = '0'
	PacketClose   PacketType = '1'
	PacketPing    PacketType = '2'
	PacketPong    PacketType = '3'
	PacketMessage PacketType = '4'
	PacketUpgrade PacketType = '5'
	PacketNoop    PacketType = '6'
)

// Packet is one packet: a WebSocket text message of type character and data.
type Packet struct {
	Type PacketType
	Data []byte
}

// ParsePacket cuts a text message into type and data; Data aliases text. An empty text or an unknown type is [ErrMalformed].
func ParsePacket(text []byte) (Packet, error) {
	if len(text) == 0 {
		return Packet{}, fmt.Errorf("%w: empty", ErrMalformed)
	}
	t := PacketType(text[0])
	if t < PacketOpen || t > PacketNoop {
		return Packet{}, fmt.Errorf("%w: unknown type %q", ErrMalformed, text[0])
	}
	return Packet{Type: t, Data: text[1:]}, nil
}

// AppendPacket appends the text of p to dst.
func AppendPacket(dst []byte, p Packet) []byte {
	return append(append(dst, byte(p.Type)), p.Data...)
}

// Handshake is the data of the open packet, which the server sends first.
type Handshake struct {
	SID          string
	PingInterval time.Duration // whole milliseconds on the wire
	PingTimeout  time.Duration // whole milliseconds on the wire
	MaxPayload   int64         // bytes the server takes in one message; revision 4 only, 0 = not said
}

type handshakeJSON struct {
	SID          string   `json:"sid"`
	Upgrades     []string `json:"upgrades"`
	PingInterval int64    `json:"pingInterval"`
	PingTimeout  int64    `json:"pingTimeout"`
	MaxPayload   int64    `json:"maxPayload,omitempty"`
}

// maxPingMillis bounds the ping times that are believed: a day.
const maxPingMillis = 24 * 60 * 60 * 1000

// ParseHandshake decodes the data of an open packet. The sid has to be there and the ping times have to be positive
// and at most a day, otherwise [ErrMalformed].
func ParseHandshake(data []byte) (Handshake, error) {
	var j handshakeJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return Handshake{}, fmt.Errorf("%w: open packet: %w", ErrMalformed, err)
	}
	if j.SID == "" {
		return Handshake{}, fmt.Errorf("%w: open packet without sid", ErrMalformed)
	}
	if j.PingInterval <= 0 || j.PingTimeout <= 0 || j.PingInterval > maxPingMillis || j.PingTimeout > maxPingMillis {
		return Handshake{}, fmt.Errorf("%w: open packet with pingInterval %d, pingTimeout %d", ErrMalformed, j.PingInterval, j.PingTimeout)
	}
	if j.MaxPayload < 0 {
		return Handshake{}, fmt.Errorf("%w: open packet with maxPayload %d", ErrMalformed, j.MaxPayload)
	}
	return Handshake{
		SID:          j.SID,
		PingInterval: time.Duration(j.PingInterval) * time.Millisecond,
		PingTimeout:  time.Duration(j.PingTimeout) * time.Millisecond,
		MaxPayload:   j.MaxPayload,
	}, nil
}

// AppendHandshake appends the JSON text of h, the data of an open packet, to dst.
func AppendHandshake(dst []byte, h Handshake) ([]byte, error) {
	text, err := json.Marshal(handshakeJSON{
		SID:          h.SID,
		Upgrades:     []string{},
		PingInterval: h.PingInterval.Milliseconds(),
		PingTimeout:  h.PingTimeout.Milliseconds(),
		MaxPayload:   h.MaxPayload,
	})
	if err != nil {
		return dst, fmt.Errorf("encode open packet: %w", err)
	}
	return append(dst, text...), nil
}
