// SPDX-License-Identifier: Apache-2.0

package transport_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/transport"
)

// TestLoss plays a sender, a network and a receiver in virtual time: how much comes, and how often it is sent again.
func TestLoss(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	for name, tc := range map[string]struct {
		loss      float64
		rtt, know time.Duration // and the round trip that is believed in the beginning
		least     float64       // share of packets that come
		most      float64       // times that a lost packet is sent again
	}{
		"1 % at 300 ms":               {0.01, 300 * ms, 300 * ms, 0.9999, 1.5},
		"5 % at 40 ms":                {0.05, 40 * ms, 40 * ms, 0.9999, 1.5},
		"10 % at 100 ms":              {0.10, 100 * ms, 100 * ms, 0.9999, 1.5},
		"15 % at 500 ms":              {0.15, 500 * ms, 500 * ms, 0.999, 1.5},
		"5 % at 300 ms, believed 5":   {0.05, 300 * ms, 5 * ms, 0.9999, 1.5},
		"5 % at 20 ms, believed 1000": {0.05, 20 * ms, 1000 * ms, 0.9999, 1.5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(1, 2))
			l := transport.NewLoss(tc.know)
			begun := time.Now()
			arriving := map[time.Duration][]uint16{}
			const count = 20000
			sent, lost, resent, came := 0, 0, 0, 0
			for now := time.Duration(0); now < count*5*ms+10*time.Second; now += 5 * ms {
				if sent < count {
					if rng.Float64() < tc.loss {
						lost++
					} else {
						arriving[now+tc.rtt/2] = append(arriving[now+tc.rtt/2], uint16(sent))
					}
					sent++
				}
				for _, seq := range arriving[now] {
					if l.Arrived(seq, begun.Add(now)) {
						came++
					}
				}
				delete(arriving, now)
				for _, seq := range l.Due(begun.Add(now)) {
					if rng.Float64() < tc.loss {
						continue // the request is lost
					}
					resent++
					if rng.Float64() < tc.loss {
						lost++
						continue
					}
					arriving[now+tc.rtt] = append(arriving[now+tc.rtt], seq)
				}
			}
			t.Logf("%d of %d came, %d lost, %d sent again, %d given up; round trip %v", came, sent, lost, resent, l.Lost(), l.RoundTrip())
			if share := float64(came) / float64(sent); share < tc.least {
				t.Errorf("%.5f came", share)
			}
			if times := float64(resent) / float64(lost); times > tc.most {
				t.Errorf("each lost packet was sent again %.2f times", times)
			}
			if l.Patience() < 2*time.Second {
				t.Errorf("a packet is waited for %v", l.Patience())
			}
		})
	}
}

// TestLoss_Restart has a source count anew, and one that jumps ahead.
func TestLoss_Restart(t *testing.T) {
	t.Parallel()
	l := transport.NewLoss(50 * time.Millisecond)
	now := time.Now()
	for _, seq := range []uint16{10, 11, 40000, 40001, 40002, 40003} {
		l.Arrived(seq, now)
	}
	if due := l.Due(now.Add(time.Second)); len(due) != 0 {
		t.Errorf("asks for %d packets", len(due))
	}
	l.Arrived(40006, now)
	if due := l.Due(now.Add(time.Second)); len(due) != 2 || due[0] != 40004 {
		t.Errorf("asks for %v", due)
	}
	if l.Arrived(40006, now) {
		t.Error("a double is delivered")
	}
}
