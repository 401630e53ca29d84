// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"pgregory.net/rapid"

	"github.com/classrec/classrec/server/internal/recorder"
)

// A picture is a frame to be sent, and what is to be found in the file.
type picture struct {
	payloads [][]byte // in order; packed in some legal way
	early    int      // so many of them bear the time of before, as parameter sets may
	want     []byte   // nil: no picture, nothing in the file
}

// recordPictures sends pictures, 40 ms from one to the next, and returns the blocks of the file.
func recordPictures(t testing.TB, info recorder.TrackInfo, pictures []picture, marker func() bool) (blocks []block) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "r")
	info.UserID, info.StreamID, info.Kind = "u", "s", recorder.Video
	rec := must[*recorder.Recording](t)(recorder.New(recorder.Config{}).Start(recorder.Options{Dir: dir, Type: recorder.TypeList}))
	track := must[*recorder.Track](t)(rec.AddTrack(info))
	seq := uint16(65000)
	for i, p := range pictures {
		time.Sleep(40 * time.Millisecond)
		for j, payload := range p.payloads {
			ts := uint32(i) * 3600
			if j < p.early {
				ts -= 100
			}
			last := j == len(p.payloads)-1
			packet := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: ts, Marker: last && marker()}, Payload: payload}
			if err := track.WriteRTP(packet, time.Now()); err != nil {
				t.Fatal(err)
			}
			seq++
		}
	}
	files := must[[]recorder.File](t)(rec.Stop(context.Background()))
	if len(files) != 1 {
		t.Fatalf("files %v", files)
	}
	for _, b := range demux(t, in(dir, files[0])).blocks {
		blocks = b
	}
	return blocks
}

// sameFrames compares the file with what was sent.
func sameFrames(t testing.TB, blocks []block, pictures []picture) {
	t.Helper()
	pictures = slices.DeleteFunc(slices.Clone(pictures), func(p picture) bool { return p.want == nil })
	if len(blocks) != len(pictures) {
		t.Fatalf("%d frames in the file, %d sent", len(blocks), len(pictures))
	}
	for i, p := range pictures {
		if !bytes.Equal(blocks[i].data, p.want) {
			t.Fatalf("frame %d is %.80x (%d bytes), want %.80x (%d)", i, blocks[i].data, len(blocks[i].data), p.want, len(p.want))
		}
	}
	if !blocks[0].key {
		t.Error("the first frame is no keyframe")
	}
}

// anyPacking checks that a stream packed in random legal ways gives the same frames.
func anyPacking(t *testing.T, info recorder.TrackInfo, draw func(r *rapid.T) []picture) {
	t.Helper()
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		pictures := draw(r)
		marks := rapid.Bool().Draw(r, "markers")
		synctest.Test(t, func(t *testing.T) {
			sameFrames(t, recordPictures(t, info, pictures, func() bool { return marks }), pictures)
		})
	})
}

func drawBytes(r *rapid.T, head []byte, most int) []byte {
	data := make([]byte, rapid.IntRange(1, most).Draw(r, "length"))
	_, _ = rand.NewChaCha8([32]byte{rapid.Byte().Draw(r, "seed")}).Read(data) // never fails
	return append(slices.Clone(head), data...)
}

// cut divides b at random places, into pieces that are not empty.
func cut(r *rapid.T, b []byte) (pieces [][]byte) {
	for len(b) > 0 {
		n := rapid.IntRange(1, len(b)).Draw(r, "piece")
		if len(pieces) > 5 {
			n = len(b)
		}
		pieces, b = append(pieces, b[:n:n]), b[n:]
	}
	return pieces
}

// lengthPrefixed are NAL units as Matroska has them.
func lengthPrefixed(nals ...[]byte) (out []byte) {
	for _, n := range nals {
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(n))), n...)
	}
	return out
}

func unbase64(s string) []byte {
	b, _ := base64.StdEncoding.DecodeString(s) // a constant
	return b
}

// Parameter sets of 320x180 and 640x360 as x264 writes them.
var (
	spsSmall = unbase64("Z0LADNkBQZ+fARAAAAMAEAAAAwMg8UKkgA==")
	spsLarge = unbase64("Z0LAHtkAoC/5cBEAAAMAAQAAAwAyDxYuSA==")
	ppsOne   = unbase64("aMuDyyA=")
	ppsTwo   = unbase64("aMuDy2A=") // another entropy of the same id
)

func TestPacking_H264(t *testing.T) {
	anyPacking(t, recorder.TrackInfo{MimeType: "video/H264"}, func(r *rapid.T) (pictures []picture) {
		sps, pps := spsSmall, ppsOne
		for i := range rapid.IntRange(2, 8).Draw(r, "pictures") {
			key := i == 0 || rapid.IntRange(0, 3).Draw(r, "key") == 0
			var nals, sets [][]byte
			if rapid.Bool().Draw(r, "aud") {
				nals = append(nals, []byte{9, 0xf0})
			}
			if i == 0 || rapid.IntRange(0, 3).Draw(r, "sets") == 0 {
				if i > 0 && key && rapid.Bool().Draw(r, "resize") {
					sps = spsLarge
				}
				if i > 0 && rapid.Bool().Draw(r, "new pps") {
					pps = ppsTwo
				}
				sets = [][]byte{sps, pps}
			}
			nals = append(nals, sets...)
			if rapid.Bool().Draw(r, "sei") {
				text := drawBytes(r, nil, 20)
				nals = append(nals, append(append([]byte{6, 5, byte(len(text))}, text...), 0x80))
			}
			head := []byte{0x61, 0xe0} // first_mb 0, slice_type 0... and pps 0
			if key {
				head = []byte{0x65, 0x88, 0x80}
			}
			for n := range rapid.IntRange(1, 3).Draw(r, "slices") {
				if n > 0 {
					head = append(head[:1:1], 0x20, 0x80) // first_mb 3
				}
				nals = append(nals, drawBytes(r, head, 3000))
			}
			p := picture{payloads: packH264(r, nals)}
			want := slices.DeleteFunc(slices.Clone(nals), func(n []byte) bool { return n[0]&0x1f == 9 })
			if key && sets == nil {
				want = append([][]byte{sps, pps}, want...)
			}
			p.want = lengthPrefixed(want...)
			pictures = append(pictures, p)
		}
		return pictures
	})
}

// packH264 packs units as single ones, STAP-A and FU-A (RFC 6184, packetization mode 1).
func packH264(r *rapid.T, nals [][]byte) (out [][]byte) {
	for len(nals) > 0 {
		switch n := rapid.IntRange(1, len(nals)).Draw(r, "together"); {
		case n > 1:
			stap := []byte{0x78}
			for _, nal := range nals[:n] {
				stap = append(binary.BigEndian.AppendUint16(stap, uint16(len(nal))), nal...)
			}
			out, nals = append(out, stap), nals[n:]
		case len(nals[0]) > 2 && rapid.Bool().Draw(r, "fragment"):
			pieces := cut(r, nals[0][1:])
			for i, piece := range pieces {
				head := nals[0][0] & 0x1f
				if i == 0 {
					head |= 0x80
				}
				if i == len(pieces)-1 {
					head |= 0x40
				}
				if len(pieces) == 1 { // start and end in one is not legal
					out = append(out, nals[0])
					break
				}
				out = append(out, append([]byte{nals[0][0]&0xe0 | 28, head}, piece...))
			}
			nals = nals[1:]
		default:
			out, nals = append(out, nals[0]), nals[1:]
		}
	}
	return out
}

func TestPacking_VP8(t *testing.T) {
	anyPacking(t, recorder.TrackInfo{MimeType: "video/VP8"}, func(r *rapid.T) (pictures []picture) {
		for i := range rapid.IntRange(2, 6).Draw(r, "pictures") {
			frame := drawBytes(r, []byte{0x11, 2, 0}, 3000)
			if i == 0 {
				frame = drawBytes(r, []byte{0x10, 2, 0, 0x9d, 1, 0x2a, 64, 1, 180, 0}, 3000)
			}
			p := picture{want: frame}
			partition := byte(0)
			for j, piece := range cut(r, frame) {
				start := j == 0
				if j > 0 && partition < 8 && rapid.Bool().Draw(r, "partition") {
					start, partition = true, partition+1
				}
				d := []byte{partition | byte(rapid.IntRange(0, 1).Draw(r, "N"))<<5}
				if start {
					d[0] |= 0x10
				}
				if ext := rapid.Byte().Draw(r, "extensions") & 0xf0; ext != 0 {
					d[0] |= 0x80
					d = append(d, ext)
					if ext&0x80 != 0 {
						if rapid.Bool().Draw(r, "long id") {
							d = append(d, 0x80|byte(i), 7)
						} else {
							d = append(d, byte(i))
						}
					}
					if ext&0x40 != 0 {
						d = append(d, 3)
					}
					if ext&0x30 != 0 {
						d = append(d, 0x21)
					}
				}
				p.payloads = append(p.payloads, append(d, piece...))
			}
			pictures = append(pictures, p)
		}
		return pictures
	})
}

// vp9Key begins a key frame of 320x180, vp9Inter another frame.
var (
	vp9Key   = []byte{0x82, 0x49, 0x83, 0x42, 0x20, 0x13, 0xf0, 0x0b, 0x30}
	vp9Inter = []byte{0x86, 0x00}
)

func TestPacking_VP9(t *testing.T) {
	anyPacking(t, recorder.TrackInfo{MimeType: "video/VP9"}, func(r *rapid.T) (pictures []picture) {
		layers := rapid.IntRange(1, 3).Draw(r, "spatial layers")
		flexible := rapid.Bool().Draw(r, "flexible")
		for i := range rapid.IntRange(2, 6).Draw(r, "pictures") {
			var p picture
			var sizes []int
			for sid := range layers {
				head := slices.Clone(vp9Inter)
				if i == 0 && sid == 0 {
					head = slices.Clone(vp9Key)
				}
				if sid < layers-1 {
					head[0] &^= 2 // not shown: only the highest layer is
				}
				frame := drawBytes(r, append(head, make([]byte, 30)...), 1500) // the rest of a header
				sizes = append(sizes, len(frame))
				p.want = append(p.want, frame...)
				pieces := cut(r, frame)
				for j, piece := range pieces {
					d := vp9Describe(r, i, sid, layers, flexible, j == 0, j == len(pieces)-1)
					p.payloads = append(p.payloads, append(d, piece...))
				}
			}
			if layers > 1 {
				marker := byte(0xc0 | 3<<3 | (layers - 1))
				p.want = append(p.want, marker)
				for _, n := range sizes {
					p.want = binary.LittleEndian.AppendUint32(p.want, uint32(n))
				}
				p.want = append(p.want, marker)
			}
			pictures = append(pictures, p)
		}
		return pictures
	})
}

// TestPacking_VP9Hidden has a picture of two layers that are both to be shown: the lower one is hidden.
func TestPacking_VP9Hidden(t *testing.T) {
	t.Parallel()
	lower := []byte{0x86, 0x00, 0x40, 0x92, 0x9c, 0x4f, 0x03, 0x80, 0x08, 0x10, 0x20, 0x30, 0xaa, 0xbb}
	frames := [][][]byte{
		{append([]byte{0x0c}, append(slices.Clone(vp9Key), make([]byte, 20)...)...)},
		{append([]byte{0x6c, 0, 0}, lower...), append([]byte{0x6c, 2, 0}, lower...)},
	}
	out := must[[][]byte](t)(recorder.Depacketize(recorder.TrackInfo{Kind: recorder.Video, MimeType: "video/VP9"}, frames))
	got := out[1]
	n := int(binary.LittleEndian.Uint32(got[len(got)-9:]))
	first, second := got[:n], got[n:n+len(lower)]
	if first[0] != 0x84 || first[1] != 0x00 || !bytes.HasSuffix(first, []byte{0xaa, 0xbb}) || !bytes.Equal(second, lower) {
		t.Errorf("%x and %x of %x", first, second, lower)
	}
	// From the bit after error_resilient_mode on, everything is one bit later.
	if first[2] != lower[1]<<7|lower[2]>>1 || first[3] != lower[2]<<7|lower[3]>>1 {
		t.Errorf("%x is not %x moved by a bit", first, lower)
	}
}

// vp9Describe is a payload descriptor (RFC 9628 section 4.2).
func vp9Describe(r *rapid.T, picture, sid, layers int, flexible, begin, end bool) []byte {
	d := []byte{0}
	flag := func(on bool, bit byte) bool {
		if on {
			d[0] |= bit
		}
		return on
	}
	id := flag(flexible || rapid.Bool().Draw(r, "I"), 0x80)
	inter := flag(picture > 0, 0x40)
	layered := flag(layers > 1 || rapid.Bool().Draw(r, "L"), 0x20)
	flag(flexible, 0x10)
	flag(begin, 0x08)
	flag(end, 0x04)
	structure := flag(picture == 0 && sid == 0 && begin && (layers > 1 || rapid.Bool().Draw(r, "V")), 0x02)
	flag(rapid.Bool().Draw(r, "Z"), 0x01)
	if id {
		if rapid.Bool().Draw(r, "M") {
			d = append(d, 0x80, byte(picture))
		} else {
			d = append(d, byte(picture))
		}
	}
	if layered {
		d = append(d, byte(sid<<1)|byte(rapid.IntRange(0, 1).Draw(r, "D")))
		if !flexible {
			d = append(d, byte(picture))
		}
	}
	if flexible && inter {
		n := rapid.IntRange(1, 3).Draw(r, "references")
		for i := range n {
			more := byte(1)
			if i == n-1 {
				more = 0
			}
			d = append(d, byte(i+1)<<1|more)
		}
	}
	if structure {
		d = append(d, byte(layers-1)<<5|0x18) // Y and G
		for i := range layers {
			d = binary.BigEndian.AppendUint16(d, uint16(320<<i))
			d = binary.BigEndian.AppendUint16(d, uint16(180<<i))
		}
		d = append(d, 2, 0x04, 1, 0x28, 1, 2) // N_G: one with a reference, one with two
	}
	return d
}

// av1Sequence is a sequence header of 320x180 as libaom writes it, an OBU without size.
var av1SequenceHeader = []byte{0x08, 0x00, 0x00, 0x00, 0x04, 0x3c, 0xfe, 0xcc, 0xda, 0xf9, 0x00, 0x40}

func TestPacking_AV1(t *testing.T) {
	anyPacking(t, recorder.TrackInfo{MimeType: "video/AV1"}, func(r *rapid.T) (pictures []picture) {
		for i := range rapid.IntRange(2, 6).Draw(r, "pictures") {
			key := i == 0 || rapid.IntRange(0, 2).Draw(r, "key") == 0
			repeated := i == 0 || key && rapid.Bool().Draw(r, "sequence header again")
			var obus [][]byte // without sizes
			if rapid.Bool().Draw(r, "delimiter") {
				obus = append(obus, []byte{0x10})
			}
			if repeated {
				obus = append(obus, av1SequenceHeader)
			}
			if rapid.Bool().Draw(r, "metadata") {
				obus = append(obus, drawBytes(r, []byte{0x28, 1}, 20))
			}
			head := []byte{0x30, 0x30} // an inter frame
			if key {
				head = []byte{0x30, 0x10}
			}
			if rapid.Bool().Draw(r, "layer") {
				head = slices.Insert(head, 1, 0x20)
				head[0] |= 4
			}
			obus = append(obus, drawBytes(r, head, 3000))
			if rapid.Bool().Draw(r, "padding") {
				obus = append(obus, []byte{0x78, 0x80})
			}
			var p picture
			if key && !repeated {
				p.want = appendOBU(p.want, av1SequenceHeader)
			}
			var elements [][]byte
			for _, o := range obus {
				if kind := o[0] >> 3 & 15; kind != 2 && kind != 15 {
					p.want = appendOBU(p.want, o)
				}
				if rapid.Bool().Draw(r, "size field") {
					o = appendOBU(nil, o)
				}
				elements = append(elements, o)
			}
			p.payloads = packAV1(r, elements)
			pictures = append(pictures, p)
		}
		return pictures
	})
}

// appendOBU gives an OBU its size field.
func appendOBU(b, obu []byte) []byte {
	head := 1
	if obu[0]&4 != 0 {
		head = 2
	}
	b = append(append(b, obu[0]|2), obu[1:head]...)
	return append(leb128(b, len(obu)-head), obu[head:]...)
}

func leb128(b []byte, n int) []byte {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// packAV1 aggregates and fragments OBUs (RTP Payload Format For AV1, section 4.4).
func packAV1(r *rapid.T, elements [][]byte) (out [][]byte) {
	first := true
	continued := false
	for len(elements) > 0 {
		n := rapid.IntRange(1, min(3, len(elements))).Draw(r, "elements")
		part := slices.Clone(elements[:n])
		elements = slices.Clone(elements[n:])
		var head byte
		if continued {
			head |= 0x80
		}
		if last := part[n-1]; len(last) > 1 && rapid.Bool().Draw(r, "fragment") {
			at := rapid.IntRange(1, len(last)-1).Draw(r, "at")
			part[n-1] = last[:at]
			elements = slices.Insert(elements, 0, last[at:])
			head |= 0x40
		}
		continued = head&0x40 != 0
		sized := rapid.Bool().Draw(r, "all sized")
		if !sized {
			head |= byte(n) << 4
		}
		if first {
			head |= 8
			first = false
		}
		payload := []byte{head}
		for i, e := range part {
			if sized || i < n-1 {
				payload = leb128(payload, len(e))
			}
			payload = append(payload, e...)
		}
		out = append(out, payload)
	}
	return out
}

// Parameter sets of 320x180 as x265 writes them.
var (
	hevcVPS = unbase64("QAEMAf//AWAAAAMAkAAAAwAAAwA8lZgJ")
	hevcSPS = unbase64("QgEBAWAAAAMAkAAAAwAAAwA8oAoIC595ZWaSTK8BaAgAAAMACAAAAwDIQA==")
	hevcPPS = unbase64("RAHBcrRiQA==")
)

func TestPacking_H265(t *testing.T) {
	for name, donl := range map[string]bool{"plain": false, "with DONL": true} {
		info := recorder.TrackInfo{MimeType: "video/H265"}
		if donl {
			info.FmtpLine = "sprop-max-don-diff=2"
		}
		t.Run(name, func(t *testing.T) {
			anyPacking(t, info, func(r *rapid.T) (pictures []picture) {
				for i := range rapid.IntRange(2, 6).Draw(r, "pictures") {
					key := i == 0 || rapid.IntRange(0, 2).Draw(r, "key") == 0
					repeated := i == 0 || rapid.IntRange(0, 2).Draw(r, "sets") == 0
					var nals [][]byte
					if rapid.Bool().Draw(r, "aud") {
						nals = append(nals, []byte{35 << 1, 1, 0x50})
					}
					if repeated {
						nals = append(nals, hevcVPS, hevcSPS, hevcPPS)
					}
					kind := byte(1)
					if key {
						kind = 19
					}
					nals = append(nals, drawBytes(r, []byte{kind << 1, 1, 0x80}, 2000))
					if rapid.Bool().Draw(r, "second slice") {
						nals = append(nals, drawBytes(r, []byte{kind << 1, 1, 0x40}, 2000))
					}
					want := slices.DeleteFunc(slices.Clone(nals), func(n []byte) bool { return n[0]>>1 == 35 })
					if key && !repeated {
						want = append([][]byte{hevcVPS, hevcSPS, hevcPPS}, want...)
					}
					pictures = append(pictures, picture{payloads: packH265(r, nals, donl), want: lengthPrefixed(want...)})
				}
				return pictures
			})
		})
	}
}

// packH265 packs units as single ones, aggregation packets and fragments (RFC 7798 section 4.4).
func packH265(r *rapid.T, nals [][]byte, donl bool) (out [][]byte) {
	order := func(b []byte, n int) []byte {
		if donl {
			b = append(b, make([]byte, n)...)
		}
		return b
	}
	for len(nals) > 0 {
		nal := nals[0]
		n := rapid.IntRange(1, len(nals)).Draw(r, "together")
		pieces := cut(r, nal[2:])
		switch {
		case n > 1:
			ap := []byte{48 << 1, 1}
			for i, nal := range nals[:n] {
				ap = order(ap, 1)
				if i == 0 {
					ap = order(ap, 1)
				}
				ap = append(binary.BigEndian.AppendUint16(ap, uint16(len(nal))), nal...)
			}
			out, nals = append(out, ap), nals[n:]
			continue
		case len(pieces) == 1:
			out = append(out, append(order(nal[:2:2], 2), nal[2:]...))
		default:
			for i, piece := range pieces {
				fu := []byte{nal[0]&0x81 | 49<<1, nal[1], nal[0] >> 1 & 0x3f}
				if i == 0 {
					fu[2] |= 0x80
					fu = order(fu, 2)
				}
				if i == len(pieces)-1 {
					fu[2] |= 0x40
				}
				out = append(out, append(fu, piece...))
			}
		}
		nals = nals[1:]
	}
	return out
}

// TestPacking_Unusual has what encoders and senders do that is legal, and not usual.
func TestPacking_Unusual(t *testing.T) {
	key, inter := []byte{0x65, 0x88, 0x80, 1, 2}, []byte{0x61, 0xe0, 3}
	sei := []byte{6, 5, 1, 9, 0x80}
	stap := func(kind byte, head []byte, nals ...[]byte) []byte {
		b := append([]byte{kind}, head...)
		for _, n := range nals {
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(n))), n...)
		}
		return b
	}
	first := picture{payloads: [][]byte{spsSmall, ppsOne, key}, want: lengthPrefixed(spsSmall, ppsOne, key)}
	for name, pictures := range map[string][]picture{
		"sets before their picture": {
			{payloads: [][]byte{spsSmall, ppsOne, key}, early: 2, want: lengthPrefixed(spsSmall, ppsOne, key)},
			{payloads: [][]byte{inter}, want: lengthPrefixed(inter)},
		},
		"sets with a marker of their own": {
			{payloads: [][]byte{stap(0x78, nil, spsSmall, ppsOne)}},
			{payloads: [][]byte{key}, want: lengthPrefixed(spsSmall, ppsOne, key)},
		},
		"a new set in mid-stream": {
			first,
			{payloads: [][]byte{ppsTwo}},
			{payloads: [][]byte{sei, inter}, want: lengthPrefixed(ppsTwo, sei, inter)},
			{payloads: [][]byte{key}, want: lengthPrefixed(spsSmall, ppsTwo, key)},
		},
		"another size": {
			first,
			{payloads: [][]byte{spsLarge, ppsOne, key}, early: 2, want: lengthPrefixed(spsLarge, ppsOne, key)},
		},
		"STAP-B": {
			{payloads: [][]byte{stap(0x79, []byte{0, 7}, spsSmall, ppsOne, key)}, want: lengthPrefixed(spsSmall, ppsOne, key)},
		},
		"FU-B": {
			{
				payloads: [][]byte{stap(0x78, nil, spsSmall, ppsOne), {0x7d, 0x85, 0, 9, 0x88, 0x80}, {0x7c, 0x45, 1, 2}},
				want:     lengthPrefixed(spsSmall, ppsOne, key),
			},
		},
		"MTAP16 of two pictures": {
			first,
			{payloads: [][]byte{{
				0x7a, 0, 0, // decoding order base
				0, 3, 1, 0x02, 0x58, inter[0], inter[1], inter[2],
				0, 5, 0, 0, 0, key[0], key[1], key[2], key[3], key[4],
			}}, want: lengthPrefixed(spsSmall, ppsOne, key)},
			{want: lengthPrefixed(inter)},
		},
		"recovery point": {
			{payloads: [][]byte{spsSmall, ppsOne, {6, 6, 1, 0xc0, 0x80}, inter}, want: lengthPrefixed(spsSmall, ppsOne, []byte{6, 6, 1, 0xc0, 0x80}, inter)},
		},
		"end of sequence": {
			first,
			{payloads: [][]byte{inter, {10}}, want: lengthPrefixed(inter, []byte{10})},
		},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				sameFrames(t, recordPictures(t, recorder.TrackInfo{MimeType: "video/H264"}, pictures, func() bool { return true }), pictures)
			})
		})
	}
}

// TestPacking_FalseMarkers has a sender that marks every packet, as some do with slices.
func TestPacking_FalseMarkers(t *testing.T) {
	virtual(t, func(t *testing.T) {
		dir := t.TempDir() + "/r"
		rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList})
		track := must[*recorder.Track](t)(rec.AddTrack(recorder.TrackInfo{UserID: "u", Kind: recorder.Video, MimeType: "video/H264"}))
		var seq uint16
		nals := [][]byte{spsSmall, ppsOne, {0x65, 0x88, 0x80, 1}, {0x65, 0x20, 0x80, 2}}
		for i := range uint32(3) {
			for _, nal := range nals {
				p := &rtp.Packet{Header: rtp.Header{SequenceNumber: seq, Timestamp: i * 3600, Marker: true}, Payload: nal}
				if err := track.WriteRTP(p, time.Now()); err != nil {
					t.Fatal(err)
				}
				seq++
			}
			time.Sleep(40 * time.Millisecond)
		}
		blocks := demux(t, in(dir, stop(t, rec)[0])).blocks[1]
		if len(blocks) != 3 {
			t.Fatalf("%d pictures, want 3", len(blocks))
		}
		for _, b := range blocks {
			if !bytes.Equal(b.data, lengthPrefixed(nals...)) {
				t.Errorf("picture %x", b.data)
			}
		}
	})
}

// fuzzDepacketizer feeds random payloads: nothing panics, and what comes out is not much more than went in.
func fuzzDepacketizer(f *testing.F, info recorder.TrackInfo, seeds ...[]byte) {
	info.Kind = recorder.Video
	for _, s := range seeds {
		f.Add(append([]byte{0, byte(len(s))}, s...))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var frames [][][]byte
		for len(in) >= 2 {
			n := min(int(in[1]), len(in)-2)
			if len(frames) == 0 || in[0]&1 == 0 {
				frames = append(frames, nil)
			}
			frames[len(frames)-1] = append(frames[len(frames)-1], in[2:2+n])
			in = in[2+n:]
		}
		out, err := recorder.Depacketize(info, frames)
		if err != nil && errors.Is(err, recorder.ErrUnsupportedCodec) {
			t.Fatal(err)
		}
		for _, frame := range out {
			if len(frame) > 64<<10 {
				t.Errorf("a frame of %d bytes", len(frame))
			}
		}
	})
}

func FuzzH264(f *testing.F) {
	fuzzDepacketizer(f, recorder.TrackInfo{MimeType: "video/H264"}, spsSmall, ppsOne, []byte{0x65, 0x88, 0x80}, []byte{0x7c, 0x85, 0x88}, []byte{0x78, 0, 1, 9})
}

func FuzzH265(f *testing.F) {
	fuzzDepacketizer(f, recorder.TrackInfo{MimeType: "video/H265", FmtpLine: "sprop-max-don-diff=1"}, hevcVPS, hevcSPS, hevcPPS, []byte{50 << 1, 1, 2, 0, 1, 2, 3})
}

func FuzzVP8(f *testing.F) {
	fuzzDepacketizer(f, recorder.TrackInfo{MimeType: "video/VP8"}, []byte{0x90, 0xf0, 0x81, 2, 3, 4, 0x10, 2, 0, 0x9d, 1, 0x2a, 64, 1, 180, 0})
}

func FuzzVP9(f *testing.F) {
	fuzzDepacketizer(f, recorder.TrackInfo{MimeType: "video/VP9"}, append([]byte{0x8a, 1, 0x18, 1, 64, 0, 180, 1, 4, 1}, vp9Key...))
}

func FuzzAV1(f *testing.F) {
	fuzzDepacketizer(f, recorder.TrackInfo{MimeType: "video/AV1"}, append([]byte{0x18}, av1SequenceHeader...), []byte{0x10, 0x30, 0x10, 1, 2})
}
