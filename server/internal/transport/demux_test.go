// SPDX-License-Identifier: Apache-2.0

package transport_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
	"go.uber.org/goleak"

	"github.com/classrec/classrec/server/internal/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t testing.TB, cfg transport.Config) *transport.Transport {
	t.Helper()
	tr, err := transport.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Close)
	return tr
}

// sender is a publisher of one session.
type sender struct {
	*transport.Sender
	t       testing.TB
	session *transport.Session
	now     time.Time
}

func newSender(t testing.TB, media ...transport.Media) *sender {
	t.Helper()
	tr := listen(t, transport.Config{NoTCP: true})
	s, err := tr.Open(transport.Params{Media: media})
	if err != nil {
		t.Fatal(err)
	}
	keyed, err := transport.Keyed(s)
	if err != nil {
		t.Fatal(err)
	}
	return &sender{keyed, t, s, time.Now()}
}

// send sends a packet; ext are pairs of an id and a text.
func (s *sender) send(ssrc uint32, pt uint8, seq uint16, payload string, ext ...any) {
	s.t.Helper()
	p := &rtp.Packet{Header: rtp.Header{Version: 2, SSRC: ssrc, PayloadType: pt, SequenceNumber: seq, Timestamp: uint32(seq) * 960}, Payload: []byte(payload)}
	for i := 0; i < len(ext); i += 2 {
		if err := p.SetExtension(uint8(ext[i].(int)), []byte(ext[i+1].(string))); err != nil { //nolint:forcetypeassert // of this file
			s.t.Fatal(err)
		}
	}
	s.now = s.now.Add(time.Millisecond)
	if err := s.Send(p, s.now); err != nil {
		s.t.Fatal(err)
	}
}

// repair sends a packet again, as RFC 4588 has it.
func (s *sender) repair(ssrc uint32, pt uint8, seq, original uint16, payload string, ext ...any) {
	s.t.Helper()
	s.send(ssrc, pt, seq, string(binary.BigEndian.AppendUint16(nil, original))+payload, ext...)
}

// read returns what the next stream has, by its SSRC, as "number:payload".
func (s *sender) read(n int) (ssrc uint32, got []string) {
	s.t.Helper()
	select {
	case st := <-s.session.Streams():
		for range n {
			p, err := st.Read()
			if err != nil {
				s.t.Fatal(err)
			}
			if p.SSRC != st.SSRC() || p.PayloadType == 97 {
				s.t.Errorf("packet of %d with payload type %d in the stream of %d", p.SSRC, p.PayloadType, st.SSRC())
			}
			got = append(got, fmt.Sprintf("%d:%s", p.SequenceNumber, p.Payload))
			st.Release(p)
		}
		return st.SSRC(), got
	case <-time.After(5 * time.Second):
		s.t.Fatal("no stream")
		return 0, nil
	}
}

const (
	midExt, ridExt, repairedExt = 1, 2, 3
	vp8, rtx, opus, red         = 96, 97, 111, 63
)

func video(sources ...transport.Source) transport.Media {
	return transport.Media{
		MID: "1", PayloadType: vp8, RTX: rtx, ClockRate: 90000, NACK: true,
		MIDExt: midExt, RIDExt: ridExt, RepairedRIDExt: repairedExt, Sources: sources,
	}
}

// TestSession_RepairComesFirst is what made recordings without pictures: the first packet that gets through is one that is
// sent again.
func TestSession_RepairComesFirst(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		media []transport.Media
		ext   []any
	}{
		"declared":   {[]transport.Media{video(transport.Source{SSRC: 5, RTX: 6})}, nil},
		"undeclared": {[]transport.Media{video()}, nil},
		"by MID":     {[]transport.Media{video(), {MID: "2", PayloadType: vp8, RTX: rtx, MIDExt: midExt}}, []any{midExt, "1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSender(t, tc.media...)
			s.repair(6, rtx, 1000, 70, "a", tc.ext...)
			s.send(6, rtx, 1001, "") // a probe of the bandwidth, as Chromium sends them
			s.repair(6, rtx, 1002, 71, "b", tc.ext...)
			s.send(5, vp8, 72, "c", tc.ext...)
			s.send(5, vp8, 71, "b", tc.ext...) // late: it is here already
			s.send(5, vp8, 73, "d")
			ssrc, got := s.read(4) // those that waited for their stream come before its first
			if want := []string{"70:a", "71:b", "72:c", "73:d"}; ssrc != 5 || !slices.Equal(got, want) {
				t.Errorf("stream %d has %v, want %v", ssrc, got, want)
			}
		})
	}
}

// TestSession_Layers has three qualities by RID, with their repairs, and no SSRC declared.
func TestSession_Layers(t *testing.T) {
	t.Parallel()
	s := newSender(t, video())
	for i, rid := range []string{"q", "h", "f"} {
		ssrc := uint32(10 + i)
		s.send(ssrc, vp8, 1, rid+"1", midExt, "1", ridExt, rid)
		s.send(ssrc, vp8, 3, rid+"3")
	}
	for i, rid := range []string{"q", "h", "f"} {
		s.repair(uint32(20+i), rtx, 9, 2, rid+"2", midExt, "1", repairedExt, rid)
	}
	for i, rid := range []string{"q", "h", "f"} {
		ssrc, got := s.read(3)
		if want := []string{"1:" + rid + "1", "3:" + rid + "3", "2:" + rid + "2"}; ssrc != uint32(10+i) || !slices.Equal(got, want) {
			t.Errorf("stream %d has %v, want %v", ssrc, got, want)
		}
	}
}

// TestSession_OtherPayloads has comfort noise and padding between the packets: their numbers are known.
func TestSession_OtherPayloads(t *testing.T) {
	t.Parallel()
	s := newSender(t, transport.Media{MID: "0", PayloadType: opus, ClockRate: 48000, NACK: true})
	s.send(5, opus, 1, "a")
	s.send(5, 13, 2, "noise")
	s.send(5, opus, 3, "c")
	s.send(77, 50, 3, "nobody negotiated it")
	if _, got := s.read(3); !slices.Equal(got, []string{"1:a", "2:", "3:c"}) {
		t.Errorf("got %v", got)
	}
	select {
	case st := <-s.session.Streams():
		t.Errorf("a stream of SSRC %d", st.SSRC())
	default:
	}
}

// redPayload is a payload of RFC 2198, the older blocks first.
func redPayload(primary string, older ...string) string {
	var head, body []byte
	for i, data := range older {
		offset := uint32(len(older)-i) * 960
		head = binary.BigEndian.AppendUint32(head, 1<<31|opus<<24|offset<<10|uint32(len(data)))
		body = append(body, data...)
	}
	return string(append(append(head, opus), body...)) + primary
}

// TestSession_RED loses two packets in a row, which come back out of the third.
func TestSession_RED(t *testing.T) {
	t.Parallel()
	s := newSender(t, transport.Media{MID: "0", PayloadType: opus, RED: red, ClockRate: 48000, NACK: true})
	s.send(5, red, 1, redPayload("a"))
	s.send(5, red, 2, redPayload("b", "a"))
	s.send(5, red, 5, redPayload("e", "c", "d"))
	s.send(5, red, 6, "\x80") // malformed
	s.send(5, opus, 7, "g")   // it may stop to be redundant at any time
	if _, got := s.read(7); !slices.Equal(got, []string{"1:a", "2:b", "3:c", "4:d", "5:e", "6:", "7:g"}) {
		t.Errorf("got %v", got)
	}
}

func TestParseRED(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		payload string
		want    []string
		ok      bool
	}{
		"primary":        {redPayload("a"), []string{"a"}, true},
		"three":          {redPayload("c", "a", "bb"), []string{"a", "bb", "c"}, true},
		"empty primary":  {redPayload("", "a"), []string{"a", ""}, true},
		"nothing":        {"", nil, false},
		"cut header":     {"\xef\x00", nil, false},
		"too long block": {"\xef\x00\x03\xff\x6fa", nil, false},
	} {
		data, ok := transport.ParseRED([]byte(tc.payload))
		var got []string
		for _, d := range data {
			got = append(got, string(d))
		}
		if ok != tc.ok || ok && !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
}

func FuzzParseRED(f *testing.F) {
	f.Add([]byte(redPayload("c", "a", "bb")))
	f.Fuzz(func(t *testing.T, payload []byte) {
		blocks, ok := transport.ParseRED(payload)
		sum := 0
		for _, b := range blocks {
			sum += len(b)
		}
		if ok && sum >= len(payload) {
			t.Errorf("%d bytes out of %d", sum, len(payload))
		}
	})
}

// TestSession_NoAllocations receives without allocating, once buffers are there.
func TestSession_NoAllocations(t *testing.T) {
	s := newSender(t, transport.Media{MID: "0", PayloadType: opus, ClockRate: 48000, NACK: true, MIDExt: midExt})
	s.send(5, opus, 0, "a")
	st := <-s.session.Streams()
	seq := uint16(0)
	read := func() {
		p, err := st.Read()
		if err != nil {
			t.Fatal(err)
		}
		st.Release(p)
	}
	read()
	// What the sender of this test allocates: the packet, and what is made of it twice.
	if n := testing.AllocsPerRun(1000, func() {
		seq++
		s.send(5, opus, seq, "payload")
		read()
	}); n > 4.5 {
		t.Errorf("%.1f allocations a packet", n)
	}
}
