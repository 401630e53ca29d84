// SPDX-License-Identifier: Apache-2.0

package impair_test

import (
	"encoding/binary"
	"math"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/classrec/classrec/server/internal/impair"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// send sends numbered RTP-like datagrams through a link and returns which arrived, in order of arrival.
func send(t *testing.T, cfg impair.Config, count int) (arrived []int, took time.Duration) {
	t.Helper()
	server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	_ = server.SetReadBuffer(4 << 20)
	link, err := impair.New(server.LocalAddr(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	client, err := net.Dial("udp", link.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	begun := time.Now()
	for i := range count {
		if _, err := client.Write(binary.BigEndian.AppendUint32([]byte{0x80, 96}, uint32(i))); err != nil {
			t.Fatal(err)
		}
		if i%100 == 99 {
			<-time.After(time.Millisecond)
		}
	}
	buf := make([]byte, 100)
	for {
		_ = server.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		n, err := server.Read(buf)
		if err != nil {
			return arrived, took
		}
		took = time.Since(begun)
		arrived = append(arrived, int(binary.BigEndian.Uint32(buf[2:n])))
	}
}

func TestLink_Conditions(t *testing.T) {
	t.Parallel()
	const count = 4000
	for name, tc := range map[string]struct {
		up         impair.Conditions
		lost       float64
		meanBurst  float64
		reordered  bool
		slowerThan time.Duration
	}{
		"perfect": {},
		"loss":    {up: impair.Conditions{Loss: 0.1}, lost: 0.1, meanBurst: 1.1},
		"bursts":  {up: impair.Conditions{Loss: 0.1, Burst: 5}, lost: 0.1, meanBurst: 5},
		"delay":   {up: impair.Conditions{Delay: 100 * time.Millisecond, Jitter: 20 * time.Millisecond}, slowerThan: 100 * time.Millisecond},
		"reorder": {up: impair.Conditions{Reorder: 0.05}, reordered: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, took := send(t, impair.Config{Seed: 1, Up: tc.up}, count)
			if lost := 1 - float64(len(got))/count; math.Abs(lost-tc.lost) > 0.04 {
				t.Errorf("lost %.3f, want %.3f", lost, tc.lost)
			}
			bursts, missing, swapped := 0, 0, false
			for i, n := range got[1:] {
				if d := n - got[i] - 1; d > 0 {
					bursts, missing = bursts+1, missing+d
				} else if d < 0 {
					swapped = true
				}
			}
			if swapped != tc.reordered {
				t.Errorf("reordered: %v", swapped)
			}
			if mean := float64(missing) / float64(max(bursts, 1)); tc.meanBurst > 0 && math.Abs(mean-tc.meanBurst) > 1 {
				t.Errorf("%.1f lost in a row, want %.1f", mean, tc.meanBurst)
			}
			if took < tc.slowerThan {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestLink_Repeats(t *testing.T) {
	t.Parallel()
	cfg := impair.Config{Seed: 7, Up: impair.Conditions{Loss: 0.2}}
	one, _ := send(t, cfg, 500)
	two, _ := send(t, cfg, 500)
	if len(one) != len(two) {
		t.Fatalf("%d and %d arrived", len(one), len(two))
	}
	for i := range one {
		if one[i] != two[i] {
			t.Fatalf("the %d. to arrive is %d, then %d", i, one[i], two[i])
		}
	}
}

func TestNth(t *testing.T) {
	t.Parallel()
	got, _ := send(t, impair.Config{Drop: impair.Nth(true, impair.RTP, 3)}, 10)
	for i, n := range got {
		if i < 3 && n != i || i >= 3 && n != i+1 {
			t.Errorf("arrived %v", got)
			break
		}
	}
	if len(got) != 9 {
		t.Errorf("%d arrived, want 9", len(got))
	}
}
