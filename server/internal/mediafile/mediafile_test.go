// SPDX-License-Identifier: Apache-2.0

package mediafile_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/at-wat/ebml-go/mkvcore"
	"github.com/at-wat/ebml-go/webm"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/mediafile"
)

// clipFile is a file of package clips.
func clipFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "clips", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func mustClip(t testing.TB, make func() (*clips.Clip, error)) *clips.Clip {
	t.Helper()
	c, err := make()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// file is a WebM file that is written.
type file struct{ bytes.Buffer }

func (*file) Close() error { return nil }

// webmOf writes clips as a file, all times later by begin.
func webmOf(t testing.TB, begin time.Duration, list ...*clips.Clip) []byte {
	t.Helper()
	codecs := map[string]string{
		clips.MimeTypeVP8: "V_VP8", clips.MimeTypeVP9: "V_VP9", clips.MimeTypeH264: "V_MPEG4/ISO/AVC", clips.MimeTypeOpus: "A_OPUS",
	}
	var entries []webm.TrackEntry
	for i, c := range list {
		e := webm.TrackEntry{TrackNumber: uint64(i + 1), TrackUID: uint64(i + 1), CodecID: codecs[c.MimeType]}
		if e.CodecID == "" {
			e.CodecID = c.MimeType
		}
		if c.MimeType == clips.MimeTypeOpus {
			e.TrackType, e.Audio = 2, &webm.Audio{SamplingFrequency: 48000, Channels: uint64(c.Channels)}
		} else {
			e.TrackType, e.Video = 1, &webm.Video{PixelWidth: uint64(c.Width), PixelHeight: uint64(c.Height)}
		}
		if c.MimeType == clips.MimeTypeH264 {
			e.CodecPrivate = avcC(c.Frames[0].Data)
		}
		entries = append(entries, e)
	}
	out := &file{}
	writers, err := webm.NewSimpleBlockWriter(out, entries, mkvcore.WithSeekHead(false))
	if err != nil {
		t.Fatal(err)
	}
	type block struct {
		track int
		clips.Frame
	}
	var blocks []block
	for i, c := range list {
		for _, f := range c.Frames {
			if c.MimeType == clips.MimeTypeH264 {
				f.Data = lengths(f.Data)
			}
			blocks = append(blocks, block{i, f})
		}
	}
	slices.SortStableFunc(blocks, func(a, b block) int { return int(a.Time - b.Time) })
	for _, b := range blocks {
		if _, err := writers[b.track].Write(b.Key, (begin + b.Time).Milliseconds(), b.Data); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range writers {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

// units are the NAL units of an access unit.
func units(annexB []byte) [][]byte {
	return bytes.Split(annexB, []byte{0, 0, 0, 1})[1:]
}

// lengths is an access unit as Matroska has it, without parameter sets.
func lengths(annexB []byte) []byte {
	var out []byte
	for _, u := range units(annexB) {
		if kind := u[0] & 0x1f; kind == 7 || kind == 8 {
			continue
		}
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(u))), u...)
	}
	return out
}

func avcC(annexB []byte) []byte {
	record := []byte{1, 0x42, 0xc0, 0x1f, 0xff}
	for _, kind := range []byte{7, 8} {
		for _, u := range units(annexB) {
			if u[0]&0x1f == kind {
				count := byte(1)
				if kind == 7 {
					count |= 0xe0
				}
				record = append(binary.BigEndian.AppendUint16(append(record, count), uint16(len(u))), u...)
			}
		}
	}
	return record
}

// same wants the frames of a clip, at times that are right to the millisecond.
func same(t *testing.T, what string, got, want *clips.Clip) {
	t.Helper()
	if got == nil {
		t.Fatalf("%s: is not there", what)
	}
	if got.MimeType != want.MimeType || got.ClockRate != want.ClockRate || got.Channels != want.Channels || got.Width != want.Width || got.Height != want.Height {
		t.Errorf("%s: %s %d Hz, %d channels, %dx%d", what, got.MimeType, got.ClockRate, got.Channels, got.Width, got.Height)
	}
	if len(got.Frames) != len(want.Frames) {
		t.Fatalf("%s: %d frames; want %d", what, len(got.Frames), len(want.Frames))
	}
	for i, f := range got.Frames {
		w := want.Frames[i]
		if !bytes.Equal(f.Data, w.Data) || f.Key != w.Key || (f.Time-w.Time).Abs() > time.Millisecond || (f.Duration-w.Duration).Abs() > 2*time.Millisecond {
			t.Fatalf("%s: frame %d of %d bytes at %v for %v, key %v; want %d bytes at %v for %v, key %v",
				what, i, len(f.Data), f.Time, f.Duration, f.Key, len(w.Data), w.Time, w.Duration, w.Key)
		}
	}
	if (got.Duration - want.Duration).Abs() > 2*time.Millisecond {
		t.Errorf("%s: lasts %v; want %v", what, got.Duration, want.Duration)
	}
}

func TestRead_Files(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		file         string
		video, audio func() (*clips.Clip, error)
	}{
		{"teacher.ivf", clips.TeacherVideo, nil},
		{"student.ivf", clips.StudentVideo, nil},
		{"bench720p.ivf", clips.Bench720p, nil},
	} {
		m, err := mediafile.Read(filepath.Join("..", "clips", tc.file))
		if err != nil {
			t.Fatal(err)
		}
		same(t, tc.file, m.Video, mustClip(t, tc.video))
		if m.Audio != nil {
			t.Errorf("%s: has sound", tc.file)
		}
	}
}

// Of a file of Ogg, what the clips' own reader leaves out at the end is there.
func TestParse_Ogg(t *testing.T) {
	t.Parallel()
	want := mustClip(t, clips.TeacherAudio)
	data := clipFile(t, "teacher.ogg")
	for name, data := range map[string][]byte{"a packet in each page": data, "many in each": repage(t, data, 50), "packets over pages": repage(t, data, 1000)} {
		m, err := mediafile.Parse(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(m.Audio.Frames) < len(want.Frames) {
			t.Fatalf("%s: %d packets; want %d or more", name, len(m.Audio.Frames), len(want.Frames))
		}
		m.Audio.Frames = m.Audio.Frames[:len(want.Frames)]
		m.Audio.Duration = want.Duration
		same(t, name, m.Audio, want)
	}
}

// repage writes the packets of an Ogg file into pages anew, so many segments in
// each of those with sound.
func repage(t testing.TB, data []byte, segments int) []byte {
	t.Helper()
	var out, table, body []byte
	page := func() {
		if len(table) == 0 {
			return
		}
		head := append([]byte("OggS"), make([]byte, 22)...)
		out = append(append(append(append(out, head...), byte(len(table))), table...), body...)
		table, body = nil, nil
	}
	for i := 0; len(data) > 0; i++ {
		n := int(data[26])
		sizes := data[27 : 27+n]
		data = data[27+n:]
		for _, size := range sizes {
			table, body = append(table, size), append(body, data[:size]...)
			data = data[size:]
			if len(table) == min(segments, 255) {
				page()
			}
		}
		if i < 2 { // the head and the tags have pages of their own
			page()
		}
	}
	page()
	return out
}

func TestParse_Matroska(t *testing.T) {
	t.Parallel()
	vp8, opus, h264 := mustClip(t, clips.TeacherVideo), mustClip(t, clips.TeacherAudio), mustClip(t, clips.TeacherH264)
	for _, tc := range []struct {
		name         string
		begin        time.Duration
		tracks       []*clips.Clip
		video, audio *clips.Clip
	}{
		{"VP8 and Opus", 0, []*clips.Clip{vp8, opus}, vp8, opus},
		{"sound first, late", 90 * time.Second, []*clips.Clip{opus, vp8}, vp8, opus},
		{"sound alone", time.Second, []*clips.Clip{opus}, nil, opus},
		{"H264 and Opus", 0, []*clips.Clip{h264, opus}, h264, opus},
		{"two of each", 0, []*clips.Clip{vp8, opus, mustClip(t, clips.StudentVideo), mustClip(t, clips.StudentAudio)}, vp8, opus},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m, err := mediafile.Parse(webmOf(t, tc.begin, tc.tracks...))
			if err != nil {
				t.Fatal(err)
			}
			if tc.video != nil {
				same(t, "video", m.Video, tc.video)
			} else if m.Video != nil {
				t.Error("has pictures")
			}
			same(t, "audio", m.Audio, tc.audio)
		})
	}
}

// What comes before the first keyframe is left out, and its sound with it.
func TestParse_Beginning(t *testing.T) {
	t.Parallel()
	vp8, opus := *mustClip(t, clips.TeacherVideo), mustClip(t, clips.TeacherAudio)
	second := slices.IndexFunc(vp8.Frames[1:], func(f clips.Frame) bool { return f.Key }) + 1
	if second == 0 {
		t.Skip("the clip has one keyframe")
	}
	vp8.Frames = vp8.Frames[1:]
	m, err := mediafile.Parse(webmOf(t, 0, &vp8, opus))
	if err != nil {
		t.Fatal(err)
	}
	if !m.Video.Frames[0].Key || m.Video.Frames[0].Time != 0 || len(m.Video.Frames) != len(vp8.Frames)-second+1 {
		t.Errorf("begins with key %v at %v, %d frames", m.Video.Frames[0].Key, m.Video.Frames[0].Time, len(m.Video.Frames))
	}
	if first := m.Audio.Frames[0].Time; first < 0 || first > 20*time.Millisecond || len(m.Audio.Frames) >= len(opus.Frames) {
		t.Errorf("sound begins at %v with %d packets of %d", first, len(m.Audio.Frames), len(opus.Frames))
	}
}

func TestParse_Refused(t *testing.T) {
	t.Parallel()
	vp8 := mustClip(t, clips.TeacherVideo)
	backwards := *vp8
	backwards.Frames = slices.Clone(vp8.Frames[:20])
	ivf := clipFile(t, "teacher.ivf")
	av1 := *vp8
	av1.MimeType = "V_AV1"
	noKey := *vp8
	noKey.Frames = vp8.Frames[1:5]
	for _, tc := range []struct {
		name, want string
		data       []byte
	}{
		{"nothing", "is not WebM", nil},
		{"a text", "is not WebM", []byte("hello")},
		{"MP4", "is not WebM", []byte("\x00\x00\x00\x20ftypisom")},
		{"the head of IVF", "ends in the head", ivf[:20]},
		{"IVF of AV1", "not VP8 or VP9", append([]byte("DKIF\x00\x00\x20\x00AV01"), ivf[12:]...)},
		{"half an IVF", "ends in a frame", ivf[:len(ivf)/2]},
		{"IVF without a frame", "no keyframe", ivf[:32]},
		{"half an Ogg", "ends in a page", clipFile(t, "teacher.ogg")[:5000]},
		{"Ogg of something else", "no Opus", append(append([]byte("OggS"), make([]byte, 22)...), 1, 3, 'a', 'b', 'c')},
		{"WebM of AV1", `has a track in "V_AV1"`, webmOf(t, 0, &av1)},
		{"WebM without a keyframe", "no keyframe", webmOf(t, 0, &noKey)},
		{"VP9 of profile 1", "another profile", webmOf(t, 0, &clips.Clip{MimeType: clips.MimeTypeVP9, Frames: []clips.Frame{{Data: []byte{0xa2, 0x49, 0x83}, Key: true}}})},
		{"half a head of WebM", "", webmOf(t, 0, vp8)[:20]},
	} {
		m, err := mediafile.Parse(tc.data)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, %v; want an error with %q", tc.name, m, err, tc.want)
		}
	}
	if _, err := mediafile.Read(filepath.Join(t.TempDir(), "none.webm")); err == nil {
		t.Error("a file that is not there is read")
	}
}

// No content breaks it, and what it returns can be played.
func FuzzParse(f *testing.F) {
	// Small ones: what is new in a large input takes the fuzzer a minute to cut down.
	f.Add(clipFile(f, "student.ogg")[:700])
	f.Add(append(clipFile(f, "student.ivf")[:32], "\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x02"...))
	video := &clips.Clip{MimeType: clips.MimeTypeVP8, Width: 16, Height: 16, Frames: []clips.Frame{
		{Data: []byte{0, 1}, Key: true}, {Data: []byte{1, 2}, Time: 40 * time.Millisecond},
	}}
	audio := &clips.Clip{MimeType: clips.MimeTypeOpus, Channels: 1, Frames: []clips.Frame{{Data: []byte{0x78, 1}, Key: true}}}
	f.Add(webmOf(f, 0, video, audio))
	f.Add(webmOf(f, 0, &clips.Clip{MimeType: clips.MimeTypeH264, Frames: []clips.Frame{
		{Data: []byte{0, 0, 0, 1, 0x67, 0x42, 0, 0, 0, 1, 0x68, 1, 0, 0, 0, 1, 0x65, 9}, Key: true},
	}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := mediafile.Parse(data)
		if err != nil {
			return
		}
		for _, c := range []*clips.Clip{m.Video, m.Audio} {
			if c == nil {
				continue
			}
			if len(c.Frames) == 0 || !c.Frames[0].Key || c.Duration <= 0 {
				t.Fatalf("%s: %d frames in %v", c.MimeType, len(c.Frames), c.Duration)
			}
		}
		if m.Video == nil && m.Audio == nil {
			t.Fatal("nothing to play, and no error")
		}
	})
}
