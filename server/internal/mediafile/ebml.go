// SPDX-License-Identifier: Apache-2.0

package mediafile

import (
	"errors"
	"math"
	"math/bits"
)

// Ids of the elements that are read (RFC 9559).
const (
	idSegment       = 0x18538067
	idInfo          = 0x1549a966
	idTimestamp     = 0x2ad7b1 // TimestampScale
	idTracks        = 0x1654ae6b
	idTrackEntry    = 0xae
	idTrackNumber   = 0xd7
	idCodecID       = 0x86
	idCodecPrivate  = 0x63a2
	idVideo         = 0xe0
	idWidth         = 0xb0
	idHeight        = 0xba
	idAudio         = 0xe1
	idChannels      = 0x9f
	idCluster       = 0x1f43b675
	idClusterTime   = 0xe7
	idSimpleBlock   = 0xa3
	idBlockGroup    = 0xa0
	idBlock         = 0xa1
	idCues          = 0x1c53bb6b
	idChapters      = 0x1043a770
	idTags          = 0x1254c367
	idAttachments   = 0x1941a469
	idSeekHead      = 0x114d9b74
	unknownSize     = math.MaxUint64
	maxVintBytes    = 8
	maxElementIDLen = 4
)

var errBroken = errors.New("is broken")

// element is one of EBML (RFC 8794). Its data ends with the file at the latest:
// a recording that was cut off is read as far as it goes.
type element struct {
	id   uint32
	data []byte
}

// eachElement calls visit for the elements in data, one after the other. An
// element of unknown size goes on until one comes that is no part of it.
func eachElement(data []byte, visit func(element) error) error {
	for len(data) > 0 {
		id, n := vint(data, maxElementIDLen, false)
		if n == 0 {
			return errBroken
		}
		data = data[n:]
		size, n := vint(data, maxVintBytes, true)
		if n == 0 {
			return nil // cut off
		}
		data = data[n:]
		end := uint64(len(data))
		if size == unknownSize {
			end = uint64(extent(uint32(id), data))
		} else {
			end = min(end, size)
		}
		if err := visit(element{uint32(id), data[:end:end]}); err != nil {
			return err
		}
		data = data[end:]
	}
	return nil
}

// vint reads a number of variable length; n is 0 where there is none. A size
// goes without its length marker, and may be unknown.
func vint(data []byte, most int, size bool) (v uint64, n int) {
	if len(data) == 0 || data[0] == 0 {
		return 0, 0
	}
	n = bits.LeadingZeros8(data[0]) + 1
	if n > most || n > len(data) {
		return 0, 0
	}
	for _, b := range data[:n] {
		v = v<<8 | uint64(b)
	}
	if !size {
		return v, n
	}
	mask := uint64(1)<<(7*n) - 1
	if v &= mask; v == mask {
		return unknownSize, n
	}
	return v, n
}

// extent is how far an element of unknown size goes: a segment to the end, a
// cluster to the next element of its own level.
func extent(id uint32, data []byte) int {
	if id != idCluster {
		return len(data)
	}
	at := 0
	for at < len(data) {
		id, n := vint(data[at:], maxElementIDLen, false)
		if n == 0 {
			return len(data)
		}
		switch id {
		case idCluster, idCues, idChapters, idTags, idAttachments, idSeekHead, idInfo, idTracks:
			return at
		}
		size, m := vint(data[at+n:], maxVintBytes, true)
		if left := uint64(len(data) - at - n - m); m == 0 || size > left {
			return len(data)
		}
		at += n + m + int(size)
	}
	return at
}

// number is an unsigned integer.
func (e element) number() uint64 {
	var v uint64
	for _, b := range e.data[:min(len(e.data), 8)] {
		v = v<<8 | uint64(b)
	}
	return v
}
