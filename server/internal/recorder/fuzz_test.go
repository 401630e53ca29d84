// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/recorder"
)

// FuzzWriteRTP feeds a track packets made of random bytes. Whatever comes, nothing panics, and the file that
// results is whole and no longer than the recording was.
//
// A packet in the input: flags, step of the sequence, of the timestamp, of the time; length of the payload, payload.
func FuzzWriteRTP(f *testing.F) {
	for kind, load := range []func() (*clips.Clip, error){clips.TeacherVideo, clips.TeacherH264, clips.TeacherAudio} {
		s := newSource(f, "u", load)
		var in []byte
		for range 3 {
			packets := s.frame()
			for i, p := range packets {
				flags := byte(0)
				if p.Marker {
					flags = 1
				}
				step := uint32(0)
				if i == 0 {
					step = 3000
				}
				in = append(in, flags)
				in = binary.BigEndian.AppendUint16(in, 1)
				in = binary.BigEndian.AppendUint32(in, step)
				in = append(in, 10)
				body := p.Payload[:min(len(p.Payload), 200)]
				in = binary.BigEndian.AppendUint16(in, uint16(len(body)))
				in = append(in, body...)
			}
		}
		f.Add(uint8(kind), in)
	}
	f.Add(uint8(3), []byte{1, 0, 1, 0, 0, 0, 0, 5, 0, 12, 0x8c, 0x82, 0x49, 0x83, 0x42, 0, 9, 9, 9, 9, 9, 9})
	f.Add(uint8(2), []byte{2, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 200, 0, 1, 0xfc, 4, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0})
	f.Fuzz(func(t *testing.T, kind uint8, in []byte) {
		info := []recorder.TrackInfo{
			{Kind: recorder.Video, MimeType: "video/VP8"},
			{Kind: recorder.Video, MimeType: "video/H264"},
			{Kind: recorder.Audio, MimeType: "audio/opus"},
			{Kind: recorder.Video, MimeType: "video/VP9"},
		}[kind%4]
		dir := t.TempDir()
		rec := start(t, recorder.Config{}, recorder.Options{Dir: dir, Type: recorder.TypeList})
		track := must[*recorder.Track](t)(rec.AddTrack(info))
		begin := time.Now()
		var p rtp.Packet
		var elapsed time.Duration
		for len(in) >= 10 {
			n := min(int(binary.BigEndian.Uint16(in[8:])), len(in)-10)
			p.Marker = in[0]&1 != 0
			p.SSRC = uint32(in[0] >> 7)
			p.SequenceNumber += binary.BigEndian.Uint16(in[1:])
			p.Timestamp += binary.BigEndian.Uint32(in[3:])
			elapsed += time.Duration(in[7]) * time.Duration(in[7]) * time.Millisecond
			p.Payload = in[10 : 10+n]
			if err := track.WriteRTP(&p, begin.Add(elapsed)); err != nil {
				t.Fatal(err)
			}
			if in[0]&2 != 0 {
				track.WriteSenderReport(time.Unix(int64(p.Timestamp), int64(in[7])), p.Timestamp+uint32(in[2]), begin.Add(elapsed))
			}
			in = in[10+n:]
		}
		track.WriteSenderReport(time.Time{}, math.MaxUint32, begin)
		for _, file := range stop(t, rec) {
			demux(t, dir+"/"+file.Name)
			if file.Duration > elapsed+3*time.Second {
				t.Errorf("%v long, of a recording of %v", file.Duration, elapsed)
			}
		}
	})
}
