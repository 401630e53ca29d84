// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/classrec/classrec/server/internal/recorder"
)

// TestSync_Bufferbloat has all packets of a sender delayed for some seconds, as by a full queue on the way, and then no
// more: that is no change of its clock, so each packet of sound is kept, and none has silence before it.
func TestSync_Bufferbloat(t *testing.T) {
	for _, late := range []time.Duration{500 * time.Millisecond, 900 * time.Millisecond, 2 * time.Second} {
		t.Run(late.String(), func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				const step = 20 * time.Millisecond
				dir := t.TempDir()
				rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList})
				track := must[*recorder.Track](t)(rec.AddTrack(recorder.TrackInfo{Kind: recorder.Audio, MimeType: "audio/opus", ClockRate: 48000}))
				begin, n := time.Now(), 0
				for ; n < 1500; n++ {
					sent := begin.Add(time.Duration(n) * step)
					arrival := sent.Add(30 * time.Millisecond)
					if at := time.Duration(n) * step; at > 12*time.Second && at < 16*time.Second {
						arrival = arrival.Add(late)
					} else if full := begin.Add(16*time.Second + late); at >= 16*time.Second && arrival.Before(full) {
						arrival = full // the queue is emptied at once
					}
					time.Sleep(time.Until(arrival))
					p := &rtp.Packet{
						Header:  rtp.Header{SequenceNumber: uint16(n), Timestamp: uint32(n * 960), Marker: true},
						Payload: binary.BigEndian.AppendUint32([]byte{0xfc}, uint32(n)),
					}
					if err := track.WriteRTP(p, arrival); err != nil {
						t.Fatal(err)
					}
					if n%150 == 0 {
						track.WriteSenderReport(sent, p.Timestamp, arrival)
					}
				}
				blocks := demux(t, in(dir, stop(t, rec)[0])).track(t, "A_OPUS")
				if kept := withoutSilence(blocks); len(kept) != n || len(blocks) != n {
					t.Errorf("of %d packets %d are kept, and %d of silence", n, len(kept), len(blocks)-len(kept))
				}
			})
		})
	}
}
