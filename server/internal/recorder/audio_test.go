// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/classrec/classrec/server/internal/recorder"
)

// TestSound_Telephony has the codecs of telephony with a second missing: it is filled with their silence.
func TestSound_Telephony(t *testing.T) {
	for mime, quiet := range map[string]byte{"audio/PCMU": 0xff, "audio/PCMA": 0xd5, "audio/G722": 0xff} {
		t.Run(mime, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "r")
				rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList})
				track := must[*recorder.Track](t)(rec.AddTrack(recorder.TrackInfo{UserID: "u", Kind: recorder.Audio, MimeType: mime, ClockRate: 8000, Channels: 1}))
				seq := uint16(0)
				for i := range uint32(120) {
					if i < 10 || i >= 60 {
						p := &rtp.Packet{Header: rtp.Header{SequenceNumber: seq, Timestamp: i * 160}, Payload: bytes.Repeat([]byte{0x11}, 160)}
						seq++
						if err := track.WriteRTP(p, time.Now()); err != nil {
							t.Fatal(err)
						}
					}
					time.Sleep(20 * time.Millisecond)
				}
				sound, silence, at := 0, 0, time.Duration(0)
				for _, b := range demux(t, in(dir, stop(t, rec)[0])).track(t, "A_MS/ACM") {
					if d := b.at - at; d < -time.Millisecond || d > time.Millisecond {
						t.Fatalf("a block at %v, want %v", b.at, at)
					}
					at += time.Duration(len(b.data)) * time.Second / 8000
					if b.data[0] == 0x11 {
						sound += len(b.data)
					} else if silence += len(b.data); !bytes.Equal(b.data, bytes.Repeat([]byte{quiet}, len(b.data))) {
						t.Fatalf("silence is %x", b.data)
					}
				}
				if sound != 70*160 || silence != 50*160 {
					t.Errorf("%d bytes of sound and %d of silence, want %d and %d", sound, silence, 70*160, 50*160)
				}
			})
		})
	}
}
