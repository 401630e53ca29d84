// SPDX-License-Identifier: Apache-2.0

package ffmpeg

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"time"
)

// pipeBytes is what a pipe holds, where the system lets it.
const pipeBytes = 1 << 20

// Source is a stream to decode.
type Source struct {
	Dir    string        // where File is
	File   string        // below Dir
	Stream int           // its number in the file, from 0
	From   time.Duration // decoding begins with the keyframe at or before it; 0 means the beginning
	// Width and Height are what pictures are made. Both are even.
	Width, Height int
	// Bars puts black bars beside pictures of another shape, which otherwise are stretched.
	Bars bool
}

// Frame is a decoded picture or a piece of sound.
type Frame struct {
	At   time.Duration // on the file's clock
	Data []byte        // planar YUV 4:2:0 of Width by Height; or 48 kHz, two channels, 16 bits, little endian
}

// Decoder gives the frames of a stream. It belongs to one goroutine, which calls Close.
type Decoder struct {
	process *process
	out     *os.File
	frames  func(buf []byte) (Frame, error)
	cancel  context.CancelFunc
}

// Pictures decodes video.
func (p Program) Pictures(ctx context.Context, s Source) (*Decoder, error) {
	filter := fmt.Sprintf("scale=%d:%d:flags=bilinear", s.Width, s.Height)
	if s.Bars {
		filter += fmt.Sprintf(":force_original_aspect_ratio=decrease,pad=%d:%d:-1:-1", s.Width, s.Height)
	}
	filter += ",setsar=1,format=yuv420p"
	return p.decode(ctx, s, "-an", "-vf", filter, "-c:v", "rawvideo", "-fps_mode", "passthrough", "-enc_time_base:v", "1:1000")
}

// Sound decodes audio.
func (p Program) Sound(ctx context.Context, s Source) (*Decoder, error) {
	return p.decode(ctx, s, "-vn", "-ac", "2", "-ar", strconv.Itoa(SampleRate), "-c:a", "pcm_s16le")
}

// SampleRate is that of decoded sound, in Hz.
const SampleRate = 48000

func (p Program) decode(ctx context.Context, s Source, output ...string) (*Decoder, error) {
	args := []string{"-threads", "1", "-copyts"}
	if s.From > 0 {
		args = append(args, "-noaccurate_seek", "-seek_timestamp", "1", "-ss", fmt.Sprintf("%.3f", s.From.Seconds()))
	}
	args = append(args, "-i", "file:"+s.File, "-map", "0:"+strconv.Itoa(s.Stream), "-map_metadata", "-1")
	args = append(append(args, output...), "-f", "matroska", "pipe:1")
	d, err := p.read(ctx, s.Dir, args)
	if err == nil {
		d.frames = (&frameReader{r: bufio.NewReaderSize(d.out, 64<<10)}).next
	}
	return d, err
}

// read runs ffmpeg with its output in a pipe.
func (p Program) read(ctx context.Context, dir string, args []string) (*Decoder, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("ffmpeg: %w", err)
	}
	widen(r)
	ctx, cancel := context.WithCancel(ctx)
	run, err := p.start(ctx, dir, nil, w, args)
	_ = w.Close() // it is the process's
	if err != nil {
		cancel()
		return nil, errors.Join(err, r.Close())
	}
	return &Decoder{process: run, out: r, cancel: cancel}, nil
}

// Next returns the next frame, whose data are in buf if it is large enough. At the end the error is io.EOF, or says why
// ffmpeg could not go on; then the stream is over too.
func (d *Decoder) Next(buf []byte) (Frame, error) {
	f, err := d.frames(buf)
	if err == nil {
		return f, nil
	}
	if d.process == nil {
		return Frame{}, io.EOF
	}
	if failed := d.end(); failed != nil {
		return Frame{}, failed
	}
	return Frame{}, io.EOF
}

// end waits for the process, which has nothing more to give.
func (d *Decoder) end() error {
	err := d.process.wait()
	d.process = nil
	return err
}

// Close stops decoding and waits for the process.
func (d *Decoder) Close() {
	d.cancel()
	_ = d.out.Close() // it was only read from
	if d.process != nil {
		_ = d.end() // it was killed
	}
}

// frameReader reads the blocks of a Matroska stream of one track.
type frameReader struct {
	r       *bufio.Reader
	cluster int64
}

// The elements that are read and written (RFC 9559 section 5.1).
const (
	idHeader          = 0x1a45dfa3
	idDocType         = 0x4282
	idSegment         = 0x18538067
	idInfo            = 0x1549a966
	idScale           = 0x2ad7b1
	idTracks          = 0x1654ae6b
	idTrackEntry      = 0xae
	idNumber          = 0xd7
	idUID             = 0x73c5
	idType            = 0x83
	idCodec           = 0x86
	idDefaultDuration = 0x23e383
	idVideo           = 0xe0
	idWidth           = 0xb0
	idHeight          = 0xba
	idFourCC          = 0x2eb524
	idCluster         = 0x1f43b675
	idTimestamp       = 0xe7
	idSimpleBlock     = 0xa3
	idBlockGroup      = 0xa0
	idBlock           = 0xa1
)

// maxFrame bounds a frame: no picture or piece of sound here is larger.
const maxFrame = 64 << 20

var errNotMatroska = errors.New("ffmpeg: not Matroska")

// next reads as far as the next block. Segments, clusters and groups are entered, everything else is skipped.
func (f *frameReader) next(buf []byte) (Frame, error) {
	for {
		id, size, err := readElement(f.r)
		if err != nil {
			return Frame{}, err
		}
		switch id {
		case idSegment, idCluster, idBlockGroup:
		case idTimestamp:
			var at [8]byte
			if size > 8 {
				return Frame{}, errNotMatroska
			}
			if _, err := io.ReadFull(f.r, at[8-size:]); err != nil {
				return Frame{}, err
			}
			f.cluster = int64(binary.BigEndian.Uint64(at[:])) //nolint:gosec // at worst it is an impossible time
		case idSimpleBlock, idBlock:
			return f.block(buf, size)
		default:
			if _, err := io.CopyN(io.Discard, f.r, size); err != nil {
				return Frame{}, err
			}
		}
	}
}

// block reads a block of the one track: its number in one byte, a time of two, flags, and the frame.
func (f *frameReader) block(buf []byte, size int64) (Frame, error) {
	var head [4]byte
	if size < int64(len(head)) || size > maxFrame {
		return Frame{}, errNotMatroska
	}
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return Frame{}, err
	}
	n := int(size) - len(head)
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(f.r, buf); err != nil {
		return Frame{}, err
	}
	at := f.cluster + int64(int16(binary.BigEndian.Uint16(head[1:3]))) //nolint:gosec // it is signed
	return Frame{At: time.Duration(at) * time.Millisecond, Data: buf}, nil
}

// readElement reads an id and a size (RFC 8794 section 4); an unknown size is math.MaxInt64.
func readElement(r *bufio.Reader) (id uint32, size int64, err error) {
	n, _, err := readVint(r, 4)
	if err != nil {
		return 0, 0, err
	}
	s, bits, err := readVint(r, 8)
	if err != nil {
		return 0, 0, err
	}
	s &= 1<<bits - 1
	if s == 1<<bits-1 {
		return uint32(n), math.MaxInt64, nil //nolint:gosec // it has four bytes
	}
	return uint32(n), int64(s), nil //nolint:gosec // 32 and 56 bits
}

// readVint reads an integer of variable length with its marker; bits is how many follow that.
func readVint(r *bufio.Reader, most int) (v uint64, bits int, err error) {
	first, err := r.ReadByte()
	if err != nil {
		return 0, 0, err
	}
	length := 1
	for mask := byte(0x80); mask != 0 && first&mask == 0; mask >>= 1 {
		length++
	}
	if length > most {
		return 0, 0, errNotMatroska
	}
	v = uint64(first)
	for range length - 1 {
		b, err := r.ReadByte()
		if err != nil {
			return 0, 0, err
		}
		v = v<<8 | uint64(b)
	}
	return v, 7 * length, nil
}

// Script is a text to draw: a script of Advanced SubStation Alpha, of which there is a picture for each second.
type Script struct {
	Dir           string
	File          string // below Dir, of letters, digits, points and hyphens
	Width, Height int
	Frames        int
}

// Text draws a script in grey, a byte for each pixel, in limited range. It takes an ffmpeg with libass.
func (p Program) Text(ctx context.Context, s Script) (*Decoder, error) {
	d, err := p.read(ctx, s.Dir, []string{
		"-f", "lavfi", "-i", fmt.Sprintf("color=c=black:s=%dx%d:r=1:d=%d", s.Width, s.Height, s.Frames),
		"-vf", "ass=filename=" + s.File + ",format=gray", "-frames:v", strconv.Itoa(s.Frames),
		"-c:v", "rawvideo", "-f", "rawvideo", "pipe:1",
	})
	if err == nil {
		d.frames = fixedFrames{d.out, s.Width * s.Height}.next
	}
	return d, err
}

// fixedFrames reads frames of one size without times.
type fixedFrames struct {
	r    io.Reader
	size int
}

func (f fixedFrames) next([]byte) (Frame, error) {
	data := make([]byte, f.size)
	_, err := io.ReadFull(f.r, data)
	return Frame{Data: data}, err
}
