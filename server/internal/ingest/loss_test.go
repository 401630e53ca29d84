// SPDX-License-Identifier: Apache-2.0

package ingest_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/impair"
	"github.com/classrec/classrec/server/internal/ingest"
	"github.com/classrec/classrec/server/internal/publisher"
)

// join publishes through a link and waits until both tracks give media.
func join(t testing.TB, s *ingest.Server, l *impair.Link) error {
	h := newSink()
	pub, err := publisher.Publish(t.Context(), publisher.Config{
		Video: mustClip(t, clips.TeacherVideo), Audio: mustClip(t, clips.TeacherAudio),
	}, through(l, s, h))
	if err != nil {
		return err
	}
	defer func() { _ = pub.Close() }()
	deadline := time.After(20 * time.Second)
	seen := map[ingest.Kind]int{}
	for seen[ingest.Audio] < 20 || seen[ingest.Video] < 20 {
		select {
		case p := <-h.packets:
			seen[p.kind]++
		case err := <-h.closed:
			return fmt.Errorf("closed after %v packets: %w", seen, err)
		case <-deadline:
			return fmt.Errorf("%v packets", seen)
		}
	}
	return nil
}

// TestPeer_JoinsAtLoss joins a hundred times at 15 % loss in both directions: each has both tracks.
func TestPeer_JoinsAtLoss(t *testing.T) {
	t.Parallel()
	s := newServer(t, ingest.Config{})
	lossy := impair.Conditions{Loss: 0.15, Delay: 10 * time.Millisecond}
	places := make(chan struct{}, 25)
	var all sync.WaitGroup
	for seed := range uint64(100) {
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			l := newLink(t, s, impair.Config{Seed: seed, Up: lossy, Down: lossy})
			if err := join(t, s, l); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		})
	}
	all.Wait()
}

// TestPeer_HandshakeDatagramLost loses one datagram at each place of the handshake.
func TestPeer_HandshakeDatagramLost(t *testing.T) {
	t.Parallel()
	s := newServer(t, ingest.Config{})
	for _, kind := range []impair.Kind{impair.STUN, impair.DTLS} {
		for _, up := range []bool{true, false} {
			for n := range 6 {
				t.Run(fmt.Sprintf("kind %d up %v number %d", kind, up, n), func(t *testing.T) {
					t.Parallel()
					if err := join(t, s, newLink(t, s, impair.Config{Drop: impair.Nth(up, kind, n)})); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

// TestPeer_EarlyMedia loses the publisher's last flight of the handshake (ChangeCipherSpec and Finished): what it sends
// until we have asked for it again is kept.
func TestPeer_EarlyMedia(t *testing.T) {
	t.Parallel()
	s := newServer(t, ingest.Config{})
	const changeCipherSpec = 20 // the first record's type (RFC 6347 section 4.1)
	var early, flights atomic.Int32
	l := newLink(t, s, impair.Config{Drop: func(d impair.Datagram) bool {
		if d.Up && d.Kind == impair.RTP && flights.Load() <= 3 {
			early.Add(1)
		}
		return d.Up && d.Kind == impair.DTLS && d.Data[0] == changeCipherSpec && flights.Add(1) <= 3
	}})
	h := newSink()
	var firstSent atomic.Uint32
	pub, err := publisher.Publish(t.Context(), publisher.Config{
		Audio: mustClip(t, clips.TeacherAudio),
		Loss: func(p publisher.Packet) bool {
			firstSent.CompareAndSwap(0, uint32(p.SequenceNumber))
			return false
		},
	}, through(l, s, h))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pub.Close() }()
	tr := receive(t, h.tracks, "track")
	if early.Load() < 5 {
		t.Errorf("only %d packets came before the end of the handshake", early.Load())
	}
	n := uint64(0)
	first := receive(t, h.packets, "packet")
	last := first
	for ; n < 50 && tr.Kind() == ingest.Audio; n++ {
		last = receive(t, h.packets, "packet")
	}
	if d := uint64(last.rtp.SequenceNumber - first.rtp.SequenceNumber); d != n {
		t.Errorf("%d packets were received of %d", n, d)
	}
	if sent := firstSent.Load(); uint32(first.rtp.SequenceNumber) != sent {
		t.Errorf("the first packet received is number %d, the first sent %d", first.rtp.SequenceNumber, sent)
	}
}

// repairCase is a network, and what has to come through.
type repairCase struct {
	conditions impair.Conditions
	withoutRTX bool
	least      float64 // share of packets
}

// TestTrack_Repair sends for some seconds through bad networks, and counts what comes, and how often it was sent again.
func TestTrack_Repair(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	for name, tc := range map[string]repairCase{
		"1 % at 300 ms":               {impair.Conditions{Loss: 0.01, Delay: 150 * ms}, false, 0.9999},
		"5 % at 40 ms":                {impair.Conditions{Loss: 0.05, Delay: 20 * ms}, false, 0.9999},
		"5 % at 40 ms without RTX":    {impair.Conditions{Loss: 0.05, Delay: 20 * ms}, true, 0.9999},
		"10 % at 100 ms":              {impair.Conditions{Loss: 0.10, Delay: 50 * ms}, false, 0.999},
		"10 % in bursts, with jitter": {impair.Conditions{Loss: 0.10, Burst: 4, Delay: 50 * ms, Jitter: 30 * ms}, false, 0.999},
		"reordering alone":            {impair.Conditions{Reorder: 0.05, Delay: 20 * ms, Jitter: 10 * ms}, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.run(t)
		})
	}
}

func (tc repairCase) run(t *testing.T) {
	s := newServer(t, ingest.Config{})
	l := newLink(t, s, impair.Config{Seed: 11})
	h := newSink()
	h.packets = make(chan packet, 1<<16)
	var mu sync.Mutex
	var resent int64
	sent := map[publisher.Packet]bool{}
	exchange := through(l, s, h)
	if tc.withoutRTX {
		exchange = withoutRTX(exchange)
	}
	pub, err := publisher.Publish(t.Context(), publisher.Config{
		Video: mustClip(t, clips.TeacherVideo), Audio: mustClip(t, clips.TeacherAudio),
		Loss: func(p publisher.Packet) bool {
			mu.Lock()
			defer mu.Unlock()
			p.Resent = false
			if sent[p] {
				resent++
			}
			sent[p] = true
			return false
		},
	}, exchange)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pub.Close() }()
	receive(t, h.packets, "packet")
	before := l.Stats()
	l.Set(tc.conditions, tc.conditions)
	<-time.After(6 * time.Second)
	l.Set(impair.Conditions{}, impair.Conditions{})
	lost := l.Stats().LostUp - before.LostUp
	<-time.After(3 * time.Second) // for what is still asked for
	stats := s.Stats()
	total := stats.Packets + stats.Lost
	if share := float64(stats.Packets) / float64(total); share < tc.least {
		t.Errorf("%d of %d packets came (%.4f)", stats.Packets, total, share)
	}
	mu.Lock()
	defer mu.Unlock()
	t.Logf("%+v, lost on the way %d, sent again %d", stats, lost, resent)
	if float64(resent) > 1.5*float64(lost)+5 {
		t.Errorf("%d lost, %d asked for, %d sent again", lost, stats.Requested, resent)
	}
}

// withoutRTX takes the retransmission format out of the offer: what is asked for comes again as it was.
func withoutRTX(x publisher.Exchange) publisher.Exchange {
	return edit(x, "a=rtpmap:97 rtx/90000", "a=rtpmap:97 x/90000")
}
