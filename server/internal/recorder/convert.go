// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/classrec/classrec/server/internal/ffmpeg"
)

// product is a file that ffmpeg makes.
type product struct {
	file  File
	args  []string // its options, without its name
	muxer string
}

// convert makes the wanted files with ffmpeg, beside the recorded ones.
func (r *Recorder) convert(ctx context.Context, dir string, m *manifest) ([]File, error) {
	opts := m.options(dir)
	what, _ := opts.converts()
	program, err := r.ffmpeg(what)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConvert, err)
	}
	select {
	case r.converts <- struct{}{}:
		defer func() { <-r.converts }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrConvert, ctx.Err())
	}
	if opts.mixes() {
		return r.mix(ctx, program, dir, m)
	}
	return r.convertEach(ctx, program, dir, m)
}

// convertEach makes an MP4 of each recorded file.
func (r *Recorder) convertEach(ctx context.Context, program ffmpeg.Program, dir string, m *manifest) (files []File, err error) {
	for i := range m.Outputs {
		o := &m.Outputs[i]
		if o.Frames == 0 {
			continue
		}
		inputs, p := []string{"-copyts", "-i", o.Name}, mp4Product(m, o, r.cfg.MP4Audio)
		chat, err := o.chatTrack(dir, m)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConvert, err)
		}
		if chat != "" {
			inputs = append(inputs, "-i", chat)
			p.args = append([]string{"-map", "1:s"}, p.args...)
		}
		made, err := r.run(ctx, program, dir, inputs, []product{p})
		if chat != "" {
			err = errors.Join(err, os.Remove(filepath.Join(dir, chat)))
		}
		if err != nil {
			return nil, err
		}
		files = append(files, made...)
	}
	return files, nil
}

// chatTrack makes a file of the chat, from which ffmpeg copies it into the MP4 of o, and returns its name; "" when the MP4
// is to have no chat.
func (o *manifestOutput) chatTrack(dir string, m *manifest) (string, error) {
	if m.Type != TypeFile || !m.Chat {
		return "", nil
	}
	data, err := os.ReadFile(filepath.Join(dir, chatName))
	if err != nil {
		return "", err
	}
	samples := textSamples(readChat(data), o.Origin, o.Duration)
	if len(samples) == 0 {
		return "", nil
	}
	name := converting + rand.Text() + "-chat.mp4"
	return name, os.WriteFile(filepath.Join(dir, name), textMP4(samples), 0o600)
}

// copiedToMP4 reports whether a track of video goes into MP4 as it is: one whose picture changes its size does not.
func (s *stream) copiedToMP4() bool {
	switch s.Codec {
	case codecH264, codecH265, codecAV1:
		return !s.Resized
	}
	return false
}

// mp4Product copies the video that MP4 can hold and transcodes other; the sound becomes AAC, unless Opus is asked for.
func mp4Product(m *manifest, o *manifestOutput, audio MP4Audio) product {
	p := product{file: o.facts(m), muxer: "mp4"}
	p.file.Name, p.file.MediaType = trimExt(o.Name)+".mp4", "audio/mp4"
	p.args = []string{"-map", "0:v?", "-map", "0:a?", "-c:s", "copy"}
	videos, audios := 0, 0
	for _, s := range o.Streams {
		switch s.Type {
		case trackVideo:
			p.file.MediaType = "video/mp4"
			if videos == 0 && !s.copiedToMP4() {
				p.file.VideoCodec = "H264"
			}
			p.args = append(p.args, mp4Video(s, videos)...)
			videos++
		case trackAudio:
			if audio == MP4AAC {
				p.file.AudioCodec, p.file.SampleRate = "AAC", 48000
			}
			p.args = append(p.args, mp4Sound(s, audios, audio)...)
			audios++
		}
	}
	p.args = append(p.args, "-fps_mode", "passthrough", "-enc_time_base:v", "1:1000", "-movflags", "+faststart")
	return p
}

// mp4Video is how the n-th track of pictures goes into an MP4.
func mp4Video(s *stream, n int) []string {
	if s.copiedToMP4() {
		args := []string{fmt.Sprintf("-c:v:%d", n), "copy"}
		if s.Codec == codecH265 {
			args = append(args, fmt.Sprintf("-tag:v:%d", n), "hvc1") // the form that Safari plays
		}
		return args
	}
	w, h := even(s.Width), even(s.Height)
	return append([]string{fmt.Sprintf("-filter:v:%d", n), fmt.Sprintf(
		"scale=%d:%d:force_original_aspect_ratio=decrease,pad=%d:%d:-1:-1,setsar=1,format=yuv420p", w, h, w, h)},
		x264(fmt.Sprintf(":v:%d", n))...)
}

// mp4Sound is how the n-th track of sound goes into an MP4. Sound that begins later than the file has silence before it.
func mp4Sound(s *stream, n int, audio MP4Audio) []string {
	if audio == MP4Opus && s.Codec == codecOpus {
		return []string{fmt.Sprintf("-c:a:%d", n), "copy"}
	}
	encoder := "aac"
	if audio == MP4Opus {
		encoder = "libopus"
	}
	return []string{
		fmt.Sprintf("-filter:a:%d", n), "aresample=48000:async=1:first_pts=0",
		fmt.Sprintf("-c:a:%d", n), encoder, fmt.Sprintf("-b:a:%d", n), "128k",
	}
}

func even(n int) int { return max(n+n%2, 2) }

func x264(stream string) []string {
	return []string{"-c" + stream, "libx264", "-preset" + stream, "veryfast", "-crf" + stream, "23"}
}

// converting begins the names of what ffmpeg has not finished.
const converting = ".converting-"

// run is the function, counted.
func (r *Recorder) run(ctx context.Context, program ffmpeg.Program, dir string, inputs []string, products []product) ([]File, error) {
	ended := r.counts.conversion()
	files, err := run(ctx, program, dir, inputs, products)
	ended(err)
	return files, err
}

// run makes products in one run of ffmpeg. They get their names when all of them are whole. Until then their names are
// this run's alone: when a process is killed, its ffmpeg goes on beside that of the next one.
func run(ctx context.Context, program ffmpeg.Program, dir string, inputs []string, products []product) (files []File, err error) {
	args := append([]string{"-y"}, inputs...)
	prefix := converting + rand.Text() + "-"
	temporary := func(p product) string { return prefix + p.file.Name }
	for _, p := range products {
		args = append(append(args, program.Bounded()...), p.args...)
		args = append(args, "-f", p.muxer, temporary(p))
	}
	defer func() {
		if err != nil {
			for _, p := range products {
				_ = os.Remove(filepath.Join(dir, temporary(p))) // may not be there
			}
		}
	}()
	if err := program.Run(ctx, dir, args...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConvert, err)
	}
	for _, p := range products {
		if err := finished(dir, temporary(p), &p.file); err != nil {
			return nil, err
		}
		files = append(files, p.file)
	}
	return files, nil
}

// finished gives a file that is whole its name.
func finished(dir, temporary string, file *File) error {
	path := filepath.Join(dir, file.Name)
	if err := os.Rename(filepath.Join(dir, temporary), path); err != nil {
		return fmt.Errorf("%w: %w", ErrConvert, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConvert, err)
	}
	file.Size = info.Size()
	return nil
}
