// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"context"
	"crypto/rand"
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
		made, err := r.run(ctx, program, dir, []string{"-copyts", "-i", o.Name}, []product{mp4Product(m, o)})
		if err != nil {
			return nil, err
		}
		files = append(files, made...)
	}
	return files, nil
}

// mp4Product remuxes H264 and Opus and transcodes other video.
func mp4Product(m *manifest, o *manifestOutput) product {
	p := product{file: o.facts(m), muxer: "mp4"}
	p.file.Name, p.file.MediaType = trimExt(o.Name)+".mp4", "audio/mp4"
	p.args = []string{"-map", "0", "-c:a", "copy", "-c:s", "mov_text"}
	n := 0
	for _, s := range o.Streams {
		if s.Type != trackVideo {
			continue
		}
		p.file.MediaType, p.file.VideoCodec = "video/mp4", "H264"
		if s.Codec == codecH264 && !s.Resized {
			p.args = append(p.args, fmt.Sprintf("-c:v:%d", n), "copy")
		} else {
			w, h := even(s.Width), even(s.Height)
			p.args = append(p.args, fmt.Sprintf("-filter:v:%d", n), fmt.Sprintf(
				"scale=%d:%d:force_original_aspect_ratio=decrease,pad=%d:%d:-1:-1,setsar=1,format=yuv420p", w, h, w, h))
			p.args = append(p.args, x264(fmt.Sprintf(":v:%d", n))...)
		}
		n++
	}
	p.args = append(p.args, "-fps_mode", "passthrough", "-enc_time_base:v", "1:1000", "-movflags", "+faststart")
	return p
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
