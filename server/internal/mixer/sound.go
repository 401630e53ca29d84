// SPDX-License-Identifier: Apache-2.0

package mixer

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/classrec/classrec/server/internal/ffmpeg"
)

// Sound is mixed in blocks of frames, a sample for each of two channels, as is the Opus of most.
const (
	channels    = 2
	blockLength = 20 * time.Millisecond
	blockFrames = ffmpeg.SampleRate / 50
	frameBytes  = 2 * channels
)

// slack is how far a piece of sound may be from the end of the one before and still follow it, in frames: 2.5 ms.
// Timestamps are whole milliseconds, and clocks differ; what adds up beyond is put right at once.
const slack = ffmpeg.SampleRate / 400

// fade is how many frames sound takes to come after a hole or a cut: a click is heard otherwise.
const fade = ffmpeg.SampleRate / 1000

// mixSound writes everybody's sound into the MP3, and into an MP4 at path for the picture to take; heard is false, and
// nothing is written, when there is none. It finds out who speaks.
func (m *mix) mixSound(ctx context.Context, path string) (heard bool, err error) {
	var voices []*voice
	for _, in := range m.Inputs {
		if !in.Video {
			voices = append(voices, &voice{
				input: in, person: m.people.index[in.User], next: frameAt(in.Offset),
			})
		}
	}
	if len(voices) == 0 {
		return false, nil
	}
	encoder, err := m.FFmpeg.Encode(ctx, m.Dir, m.soundArgs(path)...)
	if err != nil {
		return false, err
	}
	defer func() {
		for _, v := range voices {
			v.close()
		}
	}()
	if err := m.addVoices(ctx, voices, encoder); err != nil {
		return false, abandon(ctx, encoder, err)
	}
	return true, encoder.Close()
}

// abandon ends an encoder that could not be given everything, and returns why: what ffmpeg says of it, where it does.
func abandon(ctx context.Context, encoder *ffmpeg.Encoder, err error) error {
	if ctx.Err() != nil {
		encoder.Abort()
		return ctx.Err()
	}
	if failed := encoder.Close(); failed != nil {
		return failed
	}
	return err
}

// soundArgs encode both products in one run.
func (m *mix) soundArgs(path string) []string {
	args := []string{"-y", "-f", "s16le", "-ar", strconv.Itoa(ffmpeg.SampleRate), "-ac", strconv.Itoa(channels), "-i", "pipe:0"}
	if m.MP3 != "" {
		args = append(args, "-c:a", "libmp3lame", "-b:a", "96k", "-f", "mp3", "file:"+m.MP3)
	}
	if m.MP4 != "" {
		args = append(args, "-c:a", "aac", "-aac_coder", "fast", "-b:a", "128k", "-f", "mp4", "file:"+path)
	}
	return args
}

// addVoices adds block for block, to the end of the class.
func (m *mix) addVoices(ctx context.Context, voices []*voice, out io.Writer) error {
	sum := make([]float32, blockFrames*channels)
	var limit limiter
	heard := newListener(len(m.people.list))
	squares := make([]float64, len(m.people.list))
	end := frameAt(m.Length)
	var pcm []byte
	for at := int64(0); at < end; at += blockFrames {
		clear(sum)
		for _, v := range voices {
			square := v.add(ctx, m, at, sum)
			squares[v.person] += square / float64(levelEvery/blockLength)
		}
		if now := timeOf(at + blockFrames); now%levelEvery == 0 {
			heard.measure(now-levelEvery, squares)
			clear(squares)
		}
		pcm = limit.block(pcm[:0], sum)
		if _, err := out.Write(pcm); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	m.speakers = heard.speeches
	_, err := out.Write(limit.block(pcm[:0], make([]float32, blockFrames*channels)))
	return err
}

func frameAt(t time.Duration) int64 {
	return int64(t/time.Millisecond) * (ffmpeg.SampleRate / 1000)
}

func timeOf(frame int64) time.Duration {
	return time.Duration(frame) * time.Second / ffmpeg.SampleRate
}

// voice is a track of sound on its way into the mix.
type voice struct {
	input   Input
	person  int
	decoder *ffmpeg.Decoder // nil before the first frame is needed, and at the end
	over    bool
	next    int64  // where the sound goes on, in frames of the class
	begins  int64  // of what is left of the piece that was read
	left    []byte // of it
	buf     []byte
	fadeIn  int // frames left of it
}

// add adds what falls into a block, and returns its mean square. An error of the decoder ends the voice.
func (v *voice) add(ctx context.Context, m *mix, at int64, sum []float32) (square float64) {
	if v.over || at+blockFrames <= frameAt(v.input.Parts[0].From) {
		return 0
	}
	for !v.over {
		if len(v.left) == 0 && !v.read(ctx, m) {
			break
		}
		if v.begins >= at+blockFrames {
			break
		}
		if v.skip(at); len(v.left) == 0 {
			continue
		}
		n := min(len(v.left)/frameBytes, int(at+blockFrames-v.begins))
		square += v.mix(v.left[:n*frameBytes], sum[(v.begins-at)*channels:])
		v.left = v.left[n*frameBytes:]
		v.begins += int64(n)
	}
	return square / (blockFrames * channels)
}

// skip leaves out what is before a time that has been mixed.
func (v *voice) skip(at int64) {
	if late := int(min(at-v.begins, int64(len(v.left)/frameBytes))); late > 0 {
		v.left = v.left[late*frameBytes:]
		v.begins += int64(late)
	}
}

// mix adds samples and returns the sum of their squares.
func (v *voice) mix(pcm []byte, sum []float32) (square float64) {
	var squares float32
	for i := 0; i+1 < len(pcm); i += 2 {
		s := float32(int16(binary.LittleEndian.Uint16(pcm[i:]))) / (1 << 15) //nolint:gosec // it is signed
		if v.fadeIn > 0 {
			s *= 1 - float32(v.fadeIn)/fade
			if i%frameBytes != 0 {
				v.fadeIn--
			}
		}
		sum[i/2] += s
		squares += s * s
	}
	return float64(squares)
}

// read takes the next piece, and puts it where it belongs; false at the end.
func (v *voice) read(ctx context.Context, m *mix) bool {
	var err error
	if v.decoder == nil {
		v.decoder, err = m.FFmpeg.Sound(ctx, ffmpeg.Source{Dir: m.Dir, File: v.input.File, Stream: v.input.Stream})
	}
	var f ffmpeg.Frame
	if err == nil {
		f, err = v.decoder.Next(v.buf)
	}
	if err != nil {
		if !errors.Is(err, io.EOF) && ctx.Err() == nil {
			m.warn("The sound of %s is not in the mix from %s on: it cannot be decoded.", m.people.list[v.person].name, clockTime(timeOf(v.next)))
			m.Logger.Warn("recording: sound cannot be decoded", "file", v.input.File, "error", err)
		}
		v.close()
		return false
	}
	v.buf = f.Data
	v.place(frameAt(v.input.Offset+f.At), f.Data)
	return true
}

// place puts a piece of sound at a time: right after the one before if it is within slack of that. What overlaps with
// the one before is cut.
func (v *voice) place(begins int64, pcm []byte) {
	if d := begins - v.next; d > slack || d < -slack {
		v.fadeIn = fade
		if d < 0 {
			cut := min(int(-d)*frameBytes, len(pcm))
			pcm = pcm[cut:]
			begins += int64(cut / frameBytes)
		}
	} else {
		begins = v.next
	}
	begins = max(begins, v.next)
	v.begins, v.left = begins, pcm[:len(pcm)/frameBytes*frameBytes]
	v.next = begins + int64(len(pcm)/frameBytes)
}

func (v *voice) close() {
	if v.decoder != nil {
		v.decoder.Close()
	}
	v.decoder, v.over, v.left, v.buf = nil, true, nil, nil
}

// clockTime shows a time of the class as players do.
func clockTime(t time.Duration) string {
	s := int(t / time.Second)
	text := time.Time{}.Add(time.Duration(s) * time.Second).Format("04:05")
	if h := s / 3600; h > 0 {
		text = strconv.Itoa(h) + ":" + text
	}
	return text
}
