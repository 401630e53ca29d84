// SPDX-License-Identifier: Apache-2.0

package ffmpeg

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
)

// Encoder takes raw media on ffmpeg's standard input. It belongs to one goroutine, which calls Close or Abort.
type Encoder struct {
	process *process
	in      *os.File
	cancel  context.CancelFunc
	head    []byte
}

// Encode runs ffmpeg in dir with these arguments, of which one input is pipe:0.
func (p Program) Encode(ctx context.Context, dir string, args ...string) (*Encoder, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("ffmpeg: %w", err)
	}
	widen(w)
	ctx, cancel := context.WithCancel(ctx)
	run, err := p.start(ctx, dir, r, nil, args)
	_ = r.Close() // it is the process's
	if err != nil {
		cancel()
		return nil, errors.Join(err, w.Close())
	}
	return &Encoder{process: run, in: w, cancel: cancel}, nil
}

// X264 are the options of a video encoder for what is seen once or twice: fast, and of fair quality.
func (p Program) X264() []string {
	return append(p.Bounded(), "-c:v", "libx264", "-preset", "veryfast", "-crf", "23")
}

// Write passes on sound, or whatever ffmpeg reads.
func (e *Encoder) Write(b []byte) (int, error) { return e.in.Write(b) }

// Begin writes the head of a Matroska stream of planar YUV 4:2:0 pictures, for -f matroska. The last one is shown for
// the time of one frame; each of the others until the next.
func (e *Encoder) Begin(width, height int, frame time.Duration) error {
	var b []byte
	b = appendElement(b, idHeader, appendElement(nil, idDocType, []byte("matroska")))
	b = binary.BigEndian.AppendUint32(b, idSegment)
	b = binary.BigEndian.AppendUint64(b, 1<<57-1) // of unknown size
	b = appendElement(b, idInfo, appendNumber(nil, idScale, uint64(time.Millisecond)))
	video := appendNumber(nil, idWidth, uint64(width))     //nolint:gosec // it is positive
	video = appendNumber(video, idHeight, uint64(height))  //nolint:gosec // it is positive
	video = appendElement(video, idFourCC, []byte("I420")) // of V_UNCOMPRESSED
	track := appendNumber(appendNumber(nil, idNumber, 1), idUID, 1)
	track = appendNumber(track, idType, 1)                                      // video
	track = appendNumber(track, idDefaultDuration, uint64(frame.Nanoseconds())) //nolint:gosec // it is positive
	track = appendElement(track, idCodec, []byte("V_UNCOMPRESSED"))
	track = appendElement(track, idVideo, video)
	b = appendElement(b, idTracks, appendElement(nil, idTrackEntry, track))
	_, err := e.in.Write(b)
	return err
}

// Picture writes a picture, later than the one before by a millisecond at least.
func (e *Encoder) Picture(at time.Duration, data []byte) error {
	timestamp := appendNumber(nil, idTimestamp, uint64(at.Milliseconds())) //nolint:gosec // it is not negative
	block := []byte{0x81, 0, 0, 0x80}                                      // track 1, at the cluster's time, a keyframe
	size := len(block) + len(data)
	b := binary.BigEndian.AppendUint32(e.head[:0], idCluster)
	b = binary.BigEndian.AppendUint64(b, 1<<56|uint64(len(timestamp)+1+8+size))
	b = append(b, timestamp...)
	b = append(b, idSimpleBlock)
	b = binary.BigEndian.AppendUint64(b, 1<<56|uint64(size))
	e.head = append(b, block...)
	if _, err := e.in.Write(e.head); err != nil {
		return err
	}
	_, err := e.in.Write(data)
	return err
}

// Close ends the input and waits for ffmpeg to finish. After a Write that failed, its error says why.
func (e *Encoder) Close() error {
	defer e.cancel()
	closed := e.in.Close()
	if err := e.process.wait(); err != nil {
		return err
	}
	return closed
}

// Abort kills ffmpeg and waits for its end.
func (e *Encoder) Abort() {
	e.cancel()
	_ = e.in.Close()     // what it was for is given up
	_ = e.process.wait() // it was killed
}

func appendElement(b []byte, id uint32, data []byte) []byte {
	b = appendID(b, id)
	b = binary.BigEndian.AppendUint64(b, 1<<56|uint64(len(data)))
	return append(b, data...)
}

func appendNumber(b []byte, id uint32, v uint64) []byte {
	return appendElement(b, id, binary.BigEndian.AppendUint64(nil, v))
}

// appendID writes an id, which has its length in its first byte.
func appendID(b []byte, id uint32) []byte {
	for shift := 24; shift >= 0; shift -= 8 {
		if id>>shift != 0 {
			b = append(b, byte(id>>shift)) //nolint:gosec // the lowest of them
		}
	}
	return b
}
