// SPDX-License-Identifier: Apache-2.0

package transport_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"github.com/classrec/classrec/server/internal/transport"
)

// TestCongestionFeedback has pion read what was told of packets that come late, in bursts, out of order, or not at all.
func TestCongestionFeedback(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		loss, swap float64
		pause      time.Duration
	}{
		"all":     {},
		"loss":    {loss: 0.2},
		"order":   {swap: 0.1},
		"pauses":  {pause: 3 * time.Second},
		"all bad": {loss: 0.3, swap: 0.1, pause: 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(1, 1))
			var c transport.Congestion
			at := 5 * time.Second
			sent := map[uint16]time.Duration{}
			told := map[uint16]time.Duration{}
			seq := uint16(65000)
			var held *uint16
			for i := range 3000 {
				at += time.Duration(rng.IntN(8000)) * time.Microsecond
				if i%500 == 499 {
					at += tc.pause
				}
				seq++
				n := seq
				if rng.Float64() < tc.loss {
					continue
				}
				if held == nil && rng.Float64() < tc.swap {
					held = &n
					continue
				}
				sent[n] = at
				c.Add(n, at)
				if held != nil {
					sent[*held] = at
					c.Add(*held, at)
					held = nil
				}
				if i%40 == 0 {
					feedback(t, &c, told)
				}
			}
			for feedback(t, &c, told) {
			}
			late := 0
			for n, at := range sent {
				got, ok := told[n]
				if !ok {
					late++
				} else if d := got - at; d.Abs() > 500*time.Microsecond {
					t.Fatalf("packet %d came at %v, told is %v", n, at, got)
				}
			}
			for n := range told {
				if _, ok := sent[n]; !ok {
					t.Errorf("packet %d is told of, and never came", n)
				}
			}
			if late > len(sent)/100 { // those that came after their number had been told of
				t.Errorf("%d of %d packets are not told of", late, len(sent))
			}
		})
	}
}

// feedback reads the next packet into told; false when there is none.
func feedback(t *testing.T, c *transport.Congestion, told map[uint16]time.Duration) bool {
	t.Helper()
	raw := c.Append()
	if len(raw) == 0 {
		return false
	}
	var p rtcp.TransportLayerCC
	if err := p.Unmarshal(raw); err != nil {
		t.Fatalf("%v: %x", err, raw)
	}
	at := time.Duration(p.ReferenceTime) * 64 * time.Millisecond
	seq, deltas := p.BaseSequenceNumber, p.RecvDeltas
	status := func(symbol uint16) {
		if symbol != rtcp.TypeTCCPacketNotReceived {
			at += time.Duration(deltas[0].Delta) * time.Microsecond
			told[seq] = at
			deltas = deltas[1:]
		}
		seq++
	}
	left := int(p.PacketStatusCount)
	for _, chunk := range p.PacketChunks {
		switch chunk := chunk.(type) {
		case *rtcp.RunLengthChunk:
			for range chunk.RunLength {
				status(chunk.PacketStatusSymbol)
				left--
			}
		case *rtcp.StatusVectorChunk:
			for _, symbol := range chunk.SymbolList {
				if left > 0 {
					status(symbol)
					left--
				}
			}
		}
	}
	if left != 0 || len(deltas) != 0 {
		t.Errorf("%d numbers and %d times are left over", left, len(deltas))
	}
	return true
}
