// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/at-wat/ebml-go"
	"github.com/at-wat/ebml-go/webm"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"go.uber.org/goleak"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/recorder"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// virtual runs a test in virtual time: what takes an hour takes a moment.
func virtual(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// source plays a clip as RTP.
type source struct {
	info    recorder.TrackInfo
	player  *clips.Player
	clip    *clips.Clip
	payload rtp.Payloader
	begin   time.Time // when the clip's time 0 is sent
	seq     uint16
	ts      uint32
	ssrc    uint32
	rate    float64 // RTP ticks a second, as the source's crystal has it
	next    *clips.Frame
	asked   atomic.Int32 // for keyframes
}

func newSource(t testing.TB, user string, load func() (*clips.Clip, error)) *source {
	t.Helper()
	c := must[*clips.Clip](t)(load())
	s := &source{clip: c, player: c.Play(), begin: time.Now(), seq: 65500, ts: 0xfffff000, ssrc: 1, rate: float64(c.ClockRate)}
	s.info = recorder.TrackInfo{
		UserID: user, StreamID: user + "-camera", Kind: recorder.Video, MimeType: c.MimeType, ClockRate: c.ClockRate,
		Channels: c.Channels, RequestKeyframe: func() { s.asked.Add(1) },
	}
	switch c.MimeType {
	case clips.MimeTypeVP8:
		s.payload = &codecs.VP8Payloader{EnablePictureID: true}
	case clips.MimeTypeH264:
		s.payload = &codecs.H264Payloader{}
	default:
		s.info.Kind = recorder.Audio
		s.payload = &codecs.OpusPayloader{}
	}
	return s
}

// frame returns the packets of the next frame.
func (s *source) frame() []*rtp.Packet {
	f := s.peek()
	s.next = nil
	var packets []*rtp.Packet
	payloads := s.payload.Payload(1200, slices.Clone(f.Data))
	for i, p := range payloads {
		packets = append(packets, &rtp.Packet{Header: rtp.Header{
			Version: 2, SequenceNumber: s.seq, Timestamp: s.rtpTime(f.Time), SSRC: s.ssrc, Marker: i == len(payloads)-1,
		}, Payload: p})
		s.seq++
	}
	return packets
}

func (s *source) rtpTime(d time.Duration) uint32 { return s.ts + uint32(int64(d.Seconds()*s.rate)) }

func (s *source) peek() clips.Frame {
	if s.next == nil {
		f := s.player.Next()
		s.next = &f
	}
	return *s.next
}

// play sends what the sources have for the next d, each frame at its time.
func play(t testing.TB, d time.Duration, feeds ...*feed) {
	t.Helper()
	end := time.Now().Add(d)
	for {
		var first *feed
		for _, f := range feeds {
			if first == nil || f.at().Before(first.at()) {
				first = f
			}
		}
		if !first.at().Before(end) {
			time.Sleep(time.Until(end))
			return
		}
		time.Sleep(time.Until(first.at()))
		packets := first.frame()
		for _, p := range packets {
			first.send(t, p)
		}
	}
}

// feed is a source that plays into a track.
type feed struct {
	*source
	track *recorder.Track
	pass  func(*rtp.Packet) []*rtp.Packet // what the network makes of a packet; nil: nothing
}

func (f *feed) at() time.Time { return f.begin.Add(f.peek().Time) }

func (f *feed) send(t testing.TB, p *rtp.Packet) {
	t.Helper()
	packets := []*rtp.Packet{p}
	if f.pass != nil {
		packets = f.pass(p)
	}
	for _, p := range packets {
		if err := f.track.WriteRTP(p, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
}

func addFeed(t testing.TB, rec *recorder.Recording, s *source) *feed {
	t.Helper()
	return &feed{source: s, track: must[*recorder.Track](t)(rec.AddTrack(s.info))}
}

func start(t testing.TB, cfg recorder.Config, opts recorder.Options) *recorder.Recording {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	rec := must[*recorder.Recording](t)(recorder.New(cfg).Start(opts))
	t.Cleanup(func() { _, _ = rec.Stop(context.Background()) })
	return rec
}

// document is a Matroska file as ebml-go reads it.
type document struct {
	Header  webm.EBMLHeader `ebml:"EBML"`
	Segment struct {
		SeekHead *webm.SeekHead `ebml:"SeekHead"`
		Info     webm.Info      `ebml:"Info"`
		Tracks   webm.Tracks    `ebml:"Tracks"`
		Cluster  []webm.Cluster `ebml:"Cluster"`
		Cues     *webm.Cues     `ebml:"Cues"`
	} `ebml:"Segment"`
}

// block is one frame of a file.
type block struct {
	at   time.Duration
	key  bool
	data []byte
}

// movie is a file, demuxed.
type movie struct {
	document
	blocks map[int][]block // by track number
	raw    []byte
}

// demux reads a file and checks what must be true of every finished one.
func demux(t testing.TB, path string) *movie {
	t.Helper()
	m := demuxLoose(t, path)
	s := m.Segment
	last := time.Duration(0)
	for n, blocks := range m.blocks {
		for i, b := range blocks {
			if i > 0 && b.at <= blocks[i-1].at {
				t.Errorf("%s: track %d: block %d at %v after %v", path, n, i, b.at, blocks[i-1].at)
			}
			last = max(last, b.at)
		}
	}
	if d := m.duration(); d < last || d > last+200*time.Millisecond {
		t.Errorf("%s: duration %v, but the last block is at %v", path, d, last)
	}
	if s.Cues == nil || len(s.Cues.CuePoint) == 0 {
		t.Fatalf("%s: no cues", path)
	}
	head := bytes.Index(m.raw, []byte{0x18, 0x53, 0x80, 0x67}) + 12
	for _, p := range s.Cues.CuePoint {
		for _, c := range p.CueTrackPositions {
			at := head + int(c.CueClusterPosition)
			if at+4 > len(m.raw) || !bytes.Equal(m.raw[at:at+4], []byte{0x1f, 0x43, 0xb6, 0x75}) {
				t.Fatalf("%s: cue at %d points at no cluster", path, p.CueTime)
			}
		}
		if !slices.ContainsFunc(m.blocks[int(p.CueTrackPositions[0].CueTrack)], func(b block) bool {
			return b.key && b.at.Milliseconds() == int64(p.CueTime)
		}) {
			t.Errorf("%s: cue at %d ms is no keyframe", path, p.CueTime)
		}
	}
	if len(s.SeekHead.Seek) != 3 {
		t.Errorf("%s: %d entries in SeekHead, want 3", path, len(s.SeekHead.Seek))
	}
	for _, k := range s.SeekHead.Seek {
		at := head + int(k.SeekPosition)
		if at+4 > len(m.raw) || !bytes.Equal(m.raw[at:at+4], k.SeekID) {
			t.Errorf("%s: SeekHead points at no %x", path, k.SeekID)
		}
	}
	return m
}

func demuxLoose(t testing.TB, path string) *movie {
	t.Helper()
	m := &movie{raw: must[[]byte](t)(os.ReadFile(path)), blocks: map[int][]block{}}
	if err := ebml.Unmarshal(bytes.NewReader(m.raw), &m.document, ebml.WithIgnoreUnknown(true)); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	for _, c := range m.Segment.Cluster {
		add := func(b ebml.Block, key bool) {
			m.blocks[int(b.TrackNumber)] = append(m.blocks[int(b.TrackNumber)], block{
				at: time.Duration(int64(c.Timecode)+int64(b.Timecode)) * time.Millisecond, key: key, data: b.Data[0],
			})
		}
		for _, b := range c.SimpleBlock {
			add(b, b.Keyframe)
		}
		for _, g := range c.BlockGroup {
			add(g.Block, true)
		}
	}
	return m
}

func (m *movie) duration() time.Duration {
	return time.Duration(m.Segment.Info.Duration * float64(time.Millisecond))
}

// track returns the blocks of the only track with the codec.
func (m *movie) track(t testing.TB, codec string) []block {
	t.Helper()
	for _, e := range m.Segment.Tracks.TrackEntry {
		if e.CodecID == codec {
			return m.blocks[int(e.TrackNumber)]
		}
	}
	t.Fatalf("no track with codec %s", codec)
	return nil
}

// withoutSilence leaves out what fills holes.
func withoutSilence(blocks []block) []block {
	return slices.DeleteFunc(slices.Clone(blocks), func(b block) bool {
		return len(b.data) == 3 && b.data[0]&0xe7 == 0xe0 && b.data[1] == 0xff && b.data[2] == 0xfe
	})
}

func stop(t testing.TB, rec *recorder.Recording) []recorder.File {
	t.Helper()
	return must[[]recorder.File](t)(rec.Stop(context.Background()))
}

func names(files []recorder.File) (names []string) {
	for _, f := range files {
		names = append(names, f.Name)
	}
	return names
}

func in(dir string, f recorder.File) string { return filepath.Join(dir, f.Name) }
