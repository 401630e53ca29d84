// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package recorder_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4/pkg/media/ivfreader"

	"github.com/classrec/classrec/server/internal/recorder"
)

// TestE2E_Codecs has ffmpeg encode, packetize and send, records what it sends, and decodes both what was sent and what was
// recorded: every picture and every sample is the same, at the same time.
func TestE2E_Codecs(t *testing.T) {
	t.Parallel()
	const x264 = "-c:v libx264 -threads 1 -preset veryfast -g 25 -rc-lookahead 0 -x264-params "
	for name, tt := range map[string]struct {
		encode, mime string
	}{
		"H264 with B-frames":      {x264 + "bframes=3:b-adapt=0", "video/H264"},
		"H264 with a pyramid":     {x264 + "bframes=5:b-adapt=0:b-pyramid=normal:open-gop=1", "video/H264"},
		"H264 in slices":          {x264 + "bframes=0:slices=4:aud=1:repeat-headers=1", "video/H264"},
		"H264 with intra refresh": {x264 + "bframes=0:intra-refresh=1", "video/H264"},
		"H265 with B-frames":      {"-c:v libx265 -preset ultrafast -x265-params log-level=none:pools=1:frame-threads=1:keyint=25:bframes=3:b-adapt=0:rc-lookahead=4", "video/H265"},
		"VP8":                     {"-c:v libvpx -deadline good -cpu-used 5 -threads 1 -g 25 -lag-in-frames 0", "video/VP8"},
		"VP9":                     {"-c:v libvpx-vp9 -deadline good -cpu-used 5 -threads 1 -g 25 -lag-in-frames 0 -strict experimental", "video/VP9"},
		"AV1":                     {"-c:v libaom-av1 -cpu-used 8 -usage realtime -threads 1 -g 25 -lag-in-frames 0", "video/AV1"},
		"PCMU":                    {"-c:a pcm_mulaw -ar 8000 -ac 1", "audio/PCMU"},
		"PCMA":                    {"-c:a pcm_alaw -ar 8000 -ac 1", "audio/PCMA"},
		"G722":                    {"-c:a g722 -ar 16000 -ac 1", "audio/G722"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			info := recorder.TrackInfo{UserID: "u", StreamID: "s", Kind: recorder.Video, MimeType: tt.mime, ClockRate: 90000}
			if strings.HasPrefix(tt.mime, "audio/") {
				info.Kind, info.ClockRate, info.Channels = recorder.Audio, 8000, 1
			}
			ref, out := filepath.Join(dir, "ref.mkv"), filepath.Join(dir, "out")
			var packets []*rtp.Packet
			if tt.mime == "video/AV1" { // which ffmpeg does not packetize
				packets = sentByPion(t, strings.Fields(tt.encode), ref)
			} else {
				packets = sentByFFmpeg(t, strings.Fields(tt.encode), info.Kind, ref)
			}
			files := recorded(t, recorder.Options{Dir: out, Type: recorder.TypeList}, info, packets)
			if len(files) != 1 {
				t.Fatalf("files %v", files)
			}
			sameMedia(t, ref, in(out, files[0]), info.Kind)
			mp4 := filepath.Join(dir, "mp4")
			files = recorded(t, recorder.Options{Dir: mp4, Type: recorder.TypeList, Format: recorder.MP4}, info, packets)
			switch tt.mime {
			case "video/H264", "video/H265", "video/AV1": // copied
				sameMedia(t, ref, in(mp4, files[0]), info.Kind)
			default:
				p := probe(t, in(mp4, files[0]))
				if len(p.Streams) != 1 || p.Streams[0].CodecName != map[recorder.Kind]string{recorder.Video: "h264", recorder.Audio: "aac"}[info.Kind] {
					t.Errorf("MP4 has %+v", p.Streams)
				}
			}
		})
	}
}

// recorded records packets in virtual time, each at the latest of the times so far.
func recorded(t *testing.T, opts recorder.Options, info recorder.TrackInfo, packets []*rtp.Packet) (files []recorder.File) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		rec := must[*recorder.Recording](t)(recorder.New(recorder.Config{}).Start(opts))
		track := must[*recorder.Track](t)(rec.AddTrack(info))
		begin := time.Now()
		for _, p := range packets {
			at := time.Duration(int32(p.Timestamp-packets[0].Timestamp)) * time.Second / time.Duration(info.ClockRate)
			time.Sleep(time.Until(begin.Add(at)))
			if err := track.WriteRTP(p, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		files = must[[]recorder.File](t)(rec.Stop(context.Background()))
	})
	return files
}

// sentByFFmpeg encodes three seconds, keeps them in ref, and returns the packets in which it sends them.
func sentByFFmpeg(t *testing.T, encode []string, kind recorder.Kind, ref string) (packets []*rtp.Packet) {
	t.Helper()
	conn := must[*net.UDPConn](t)(net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}))
	defer conn.Close()
	if err := conn.SetReadBuffer(4 << 20); err != nil {
		t.Fatal(err)
	}
	source := "testsrc2=s=320x180:r=25:d=3"
	if kind == recorder.Audio {
		source = "sine=f=440:beep_factor=4:d=3"
	}
	args := []string{"-v", "error", "-f", "lavfi", "-i", source}
	args = append(append(args, encode...), "-f", "rtp", fmt.Sprintf("rtp://%s?pkt_size=1200", conn.LocalAddr()))
	args = append(append(args, encode...), "-f", "matroska", ref)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ffmpeg", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- cmd.Wait()
		_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond)) // what is on its way
	}()
	buf := make([]byte, 2048)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			break
		}
		p := new(rtp.Packet)
		if err := p.Unmarshal(bytes.Clone(buf[:n])); err != nil {
			t.Fatal(err)
		}
		packets = append(packets, p)
	}
	if err := <-done; err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, stderr.String())
	}
	return packets
}

// sentByPion is sentByFFmpeg with pion's payloader.
func sentByPion(t *testing.T, encode []string, ref string) (packets []*rtp.Packet) {
	t.Helper()
	args := append([]string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=3"}, encode...)
	tool(t, "ffmpeg", append(args, ref)...)
	tool(t, "ffmpeg", "-v", "error", "-i", ref, "-c", "copy", "-f", "ivf", ref+".ivf")
	file := must[*os.File](t)(os.Open(ref + ".ivf"))
	defer file.Close()
	reader, _, err := ivfreader.NewWith(file)
	if err != nil {
		t.Fatal(err)
	}
	seq := uint16(0)
	for i := uint32(0); ; i++ {
		unit, _, err := reader.ParseNextFrame()
		if err != nil {
			return packets
		}
		payloads := (&codecs.AV1Payloader{}).Payload(1200, unit)
		for j, payload := range payloads {
			packets = append(packets, &rtp.Packet{Header: rtp.Header{
				Version: 2, SequenceNumber: seq, Timestamp: i * 3600, Marker: j == len(payloads)-1,
			}, Payload: payload})
			seq++
		}
	}
}

// sameMedia compares what two files decode to.
func sameMedia(t *testing.T, ref, got string, kind recorder.Kind) {
	t.Helper()
	a, b := decoded(t, ref, kind), decoded(t, got, kind)
	if kind == recorder.Audio { // packets may be cut in other places
		if a[0].sum != b[0].sum {
			t.Error("the sound is not what was sent")
		}
		return
	}
	if len(a) != len(b) || len(a) < 70 {
		t.Fatalf("%d pictures recorded, %d sent", len(b), len(a))
	}
	shift := b[0].at - a[0].at
	wrong := 0
	for i := range a {
		if a[i].sum != b[i].sum {
			wrong++
		}
		if d := (b[i].at - a[i].at - shift).Abs(); d > 3*time.Millisecond {
			t.Errorf("picture %d at %v, sent at %v", i, b[i].at-shift, a[i].at)
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d pictures are damaged", wrong, len(a))
	}
}

// decodedFrame is a picture, or all of the sound.
type decodedFrame struct {
	at  time.Duration
	sum string
}

func decoded(t *testing.T, path string, kind recorder.Kind) (out []decodedFrame) {
	t.Helper()
	if kind == recorder.Audio {
		return []decodedFrame{{sum: tool(t, "ffmpeg", "-v", "error", "-i", path, "-map", "0:a", "-f", "md5", "-")}}
	}
	text := tool(t, "ffmpeg", "-v", "error", "-copyts", "-i", path, "-map", "0:v", "-fps_mode", "passthrough",
		"-enc_time_base", "1:1000", "-f", "framemd5", "-")
	for line := range strings.Lines(text) {
		f := strings.Split(line, ",")
		if strings.HasPrefix(line, "#") || len(f) < 6 {
			continue
		}
		ms := must[int](t)(strconv.Atoi(strings.TrimSpace(f[2])))
		out = append(out, decodedFrame{time.Duration(ms) * time.Millisecond, strings.TrimSpace(f[5])})
	}
	return out
}
