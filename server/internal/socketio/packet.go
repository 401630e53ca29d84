// SPDX-License-Identifier: Apache-2.0

package socketio

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// PacketType is the first character of a packet.
type PacketType byte

// The packet types. [PacketError] is CONNECT_ERROR in protocol 5.
const (
	PacketConnect     PacketType = '0'
	PacketDisconnect  PacketType = '1'
	PacketEvent       PacketType = '2'
	PacketAck         PacketType = '3'
	PacketError       PacketType = '4'
	PacketBinaryEvent PacketType = '5'
	PacketBinaryAck   PacketType = '6'
)

// RootNamespace is the namespace of packets that name none.
const RootNamespace = "/"

// Packet is one packet: type, namespace, acknowledgement id and JSON data, such as `2/chat,12["message",{}]`.
type Packet struct {
	Type      PacketType
	Namespace string          // begins with "/"
	ID        uint64          // meaningful if HasID
	HasID     bool            // an event wants an answer; an acknowledgement always has one
	Data      json.RawMessage // nil = none
}

// maxIDDigits bounds acknowledgement ids to what a uint64 holds for sure.
const maxIDDigits = 19

// ParsePacket decodes a packet. Data aliases text and is valid JSON within the limits of this package, an array where the type wants
// one. The query that protocol 4 allows behind a namespace is dropped. The error is [ErrMalformed] or [ErrBinary].
func ParsePacket(text []byte) (Packet, error) {
	if len(text) == 0 {
		return Packet{}, fmt.Errorf("%w: empty", ErrMalformed)
	}
	p := Packet{Type: PacketType(text[0]), Namespace: RootNamespace}
	switch {
	case p.Type == PacketBinaryEvent || p.Type == PacketBinaryAck:
		return Packet{}, ErrBinary
	case p.Type < PacketConnect || p.Type > PacketBinaryAck:
		return Packet{}, fmt.Errorf("%w: unknown type %q", ErrMalformed, text[0])
	}
	rest := text[1:]
	if len(rest) > 0 && rest[0] == '/' {
		namespace, after, _ := bytes.Cut(rest, []byte{','})
		namespace, _, _ = bytes.Cut(namespace, []byte{'?'})
		p.Namespace, rest = string(namespace), after
	}
	digits := 0
	for digits < len(rest) && '0' <= rest[digits] && rest[digits] <= '9' {
		digits++
	}
	// Digits are an id only where one may stand; elsewhere they are data.
	if digits > 0 && (p.Type == PacketEvent || p.Type == PacketAck) {
		if digits > maxIDDigits {
			return Packet{}, fmt.Errorf("%w: id of %d digits", ErrMalformed, digits)
		}
		id, err := strconv.ParseUint(string(rest[:digits]), 10, 64)
		if err != nil {
			return Packet{}, fmt.Errorf("%w: id: %w", ErrMalformed, err)
		}
		p.ID, p.HasID, rest = id, true, rest[digits:]
	}
	if len(rest) > 0 {
		p.Data = rest
	}
	if err := p.check(); err != nil {
		return Packet{}, err
	}
	return p, nil
}

// check reports what is wrong with a decoded packet.
func (p *Packet) check() error {
	if p.Data != nil {
		if depth := nesting(p.Data); depth > MaxDepth {
			return fmt.Errorf("%w: nested deeper than %d", ErrMalformed, MaxDepth)
		}
		if !json.Valid(p.Data) {
			return fmt.Errorf("%w: data is not JSON", ErrMalformed)
		}
	}
	switch p.Type {
	case PacketEvent, PacketAck:
		if p.Data == nil || p.Data[0] != '[' {
			return fmt.Errorf("%w: data is not an array", ErrMalformed)
		}
		if p.Type == PacketAck && !p.HasID {
			return fmt.Errorf("%w: acknowledgement without id", ErrMalformed)
		}
	case PacketDisconnect:
		if p.Data != nil {
			return fmt.Errorf("%w: disconnect with data", ErrMalformed)
		}
	case PacketConnect, PacketError, PacketBinaryEvent, PacketBinaryAck:
	}
	return nil
}

// AppendPacket appends the text of p to dst.
func AppendPacket(dst []byte, p Packet) []byte {
	dst = append(dst, byte(p.Type))
	if p.Namespace != RootNamespace {
		dst = append(dst, p.Namespace...)
		// The comma may be left out only at the end, and the reference implementation never does.
		dst = append(dst, ',')
	}
	if p.HasID {
		dst = strconv.AppendUint(dst, p.ID, 10)
	}
	return append(dst, p.Data...)
}
