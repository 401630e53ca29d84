// SPDX-License-Identifier: Apache-2.0

package mediafile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	"github.com/classrec/classrec/server/internal/clips"
)

// parseOgg reads the first Opus stream of an Ogg file (RFC 3533, RFC 7845). Its
// packets follow each other without a pause.
func parseOgg(data []byte) (*clips.Clip, error) {
	c := &clips.Clip{MimeType: clips.MimeTypeOpus, ClockRate: 48000}
	var serial uint32
	var packet []byte // as far as it has come
	heads := 0        // packets of the head that have come
	var at time.Duration
	take := func() {
		switch {
		case heads == 0 && bytes.HasPrefix(packet, []byte("OpusHead")) && len(packet) > 9:
			c.Channels, heads = uint16(packet[9]), 1
		case heads == 1: // OpusTags
			heads = 2
		case heads == 2 && len(packet) > 0:
			lasts := opusDuration(packet)
			c.Frames = append(c.Frames, clips.Frame{Data: packet, Time: at, Duration: lasts, Key: true})
			at += lasts
		}
		packet = nil
	}
	const head = 27
	for rest := data; len(rest) > 0; {
		if len(rest) < head || string(rest[:4]) != "OggS" {
			return nil, errors.New("has something that is no page of Ogg")
		}
		segments := int(rest[26])
		if len(rest) < head+segments {
			return nil, errors.New("ends in a page")
		}
		number := binary.LittleEndian.Uint32(rest[14:])
		table, body := rest[head:head+segments], rest[head+segments:]
		ours := heads > 0 && number == serial
		if heads == 0 && bytes.HasPrefix(body, []byte("OpusHead")) {
			serial, ours = number, true
		}
		for _, size := range table {
			if len(body) < int(size) {
				return nil, errors.New("ends in a page")
			}
			if ours {
				packet = append(packet, body[:size]...)
				if size < 255 {
					take()
				}
			}
			body = body[size:]
		}
		rest = body
	}
	if heads == 0 {
		return nil, errors.New("has no Opus in it")
	}
	return c, nil
}
