// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ffmpegWait is how long a canceled ffmpeg may take to go.
const ffmpegWait = 5 * time.Second

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
	ffmpeg, err := r.ffmpeg(what)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConvert, err)
	}
	select {
	case r.converts <- struct{}{}:
		defer func() { <-r.converts }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrConvert, ctx.Err())
	}
	var files []File
	if opts.mixes() {
		inputs, products := mixCommand(m)
		if len(products) > 0 {
			if files, err = r.run(ctx, ffmpeg, dir, inputs, products); err != nil {
				return nil, err
			}
		}
	} else {
		for i := range m.Outputs {
			o := &m.Outputs[i]
			if o.Frames == 0 {
				continue
			}
			made, err := r.run(ctx, ffmpeg, dir, []string{"-copyts", "-i", o.Name}, []product{mp4Product(m, o)})
			if err != nil {
				return nil, err
			}
			files = append(files, made...)
		}
	}
	return files, nil
}

// mp4Product remuxes H264 and Opus and transcodes other video.
func mp4Product(m *manifest, o *manifestOutput) product {
	p := product{file: File{Name: trimExt(o.Name) + ".mp4", Duration: o.Duration, MediaType: "audio/mp4"}, muxer: "mp4"}
	if m.options("").perUser() {
		p.file.UserID = o.Streams[0].UserID
	}
	p.args = []string{"-map", "0", "-c:a", "copy", "-c:s", "mov_text"}
	n := 0
	for _, s := range o.Streams {
		if s.Type != trackVideo {
			continue
		}
		p.file.MediaType = "video/mp4"
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

// mixCommand arranges everybody in one picture and one sound. Each stream is an input of its own, so that
// ffmpeg reads each as far as it needs, and memory stays bounded when someone leaves early or is mute for long.
func mixCommand(m *manifest) (inputs []string, products []product) {
	type source struct {
		file   string
		stream int
	}
	var videos, audios []source
	var length time.Duration
	for _, o := range m.Outputs {
		if o.Frames == 0 {
			continue
		}
		length = max(length, o.Duration)
		for i, s := range o.Streams {
			switch s.Type {
			case trackVideo:
				videos = append(videos, source{o.Name, i})
			case trackAudio:
				audios = append(audios, source{o.Name, i})
			}
		}
	}
	if m.Type == TypeMP3 {
		videos = nil
	}
	inputs = []string{"-copyts"}
	var graph []string
	n := 0
	var mixed strings.Builder
	for i, a := range audios {
		inputs = append(inputs, "-vn", "-i", a.file)
		graph = append(graph, fmt.Sprintf("[%d:%d]aresample=48000:async=1:first_pts=0[a%d]", n, a.stream, i))
		fmt.Fprintf(&mixed, "[a%d]", i)
		n++
	}
	if len(audios) > 0 {
		end := ",anull[sound]"
		if m.Type == TypeMix {
			end = ",asplit[sound][sound2]"
		}
		graph = append(graph, fmt.Sprintf("%samix=inputs=%d:duration=longest:normalize=0,alimiter=limit=0.95:level=0%s",
			&mixed, len(audios), end))
		products = append(products, product{
			file: File{Name: "recording.mp3", Duration: length, MediaType: "audio/mpeg"}, muxer: "mp3",
			args: []string{"-map", "[sound]", "-c:a", "libmp3lame", "-b:a", "96k"},
		})
	}
	if m.Type == TypeMP3 {
		return inputs, withGraph(products, graph)
	}
	width, height := 1280, 720
	if m.Layout == Portrait {
		width, height = height, width
	}
	base := "base"
	graph = append(graph, fmt.Sprintf("color=c=black:s=%dx%d:r=25:d=%.3f[base]", width, height, length.Seconds()))
	columns, rows := grid(len(videos), m.Layout)
	cw, ch := width/columns, height/rows
	for i, v := range videos {
		inputs = append(inputs, "-reinit_filter", "0", "-an", "-i", v.file)
		graph = append(graph,
			fmt.Sprintf("[%d:%d]scale=%d:%d:force_original_aspect_ratio=decrease,setsar=1[v%d]", n, v.stream, cw, ch, i),
			fmt.Sprintf("[%s][v%d]overlay=x=%d+(%d-w)/2:y=%d+(%d-h)/2:eof_action=pass[o%d]",
				base, i, i%columns*cw, cw, i/columns*ch, ch, i))
		base = fmt.Sprintf("o%d", i)
		n++
	}
	graph = append(graph, fmt.Sprintf("[%s]format=yuv420p[picture]", base))
	p := product{
		file: File{Name: "recording.mp4", Duration: length, MediaType: "video/mp4"}, muxer: "mp4",
		args: append([]string{"-map", "[picture]"}, x264("")...),
	}
	if len(audios) > 0 {
		p.args = append(p.args, "-map", "[sound2]", "-c:a", "aac", "-b:a", "128k")
	}
	p.args = append(p.args, "-movflags", "+faststart")
	return inputs, withGraph(append([]product{p}, products...), graph)
}

// withGraph puts the filter graph before the first product's options.
func withGraph(products []product, graph []string) []product {
	if len(products) > 0 {
		products[0].args = append([]string{"-filter_complex", strings.Join(graph, ";")}, products[0].args...)
	}
	return products
}

// grid says how n pictures are arranged: two side by side or one above the other, more in a grid.
func grid(n int, layout Layout) (columns, rows int) {
	columns, rows = 1, 1
	for columns*rows < n {
		if (layout == Landscape) == (columns <= rows) {
			columns++
		} else {
			rows++
		}
	}
	return columns, rows
}

// converting begins the names of what ffmpeg has not finished.
const converting = ".converting-"

// run is the function, counted.
func (r *Recorder) run(ctx context.Context, ffmpeg, dir string, inputs []string, products []product) ([]File, error) {
	ended := r.counts.conversion()
	files, err := run(ctx, ffmpeg, dir, inputs, products)
	ended(err)
	return files, err
}

// run makes products in one run of ffmpeg. They get their names when all of them are whole. Until then their names are
// this run's alone: when a process is killed, its ffmpeg goes on beside that of the next one.
func run(ctx context.Context, ffmpeg, dir string, inputs []string, products []product) (files []File, err error) {
	args := append([]string{"-hide_banner", "-nostdin", "-loglevel", "error", "-y"}, inputs...)
	prefix := converting + rand.Text() + "-"
	temporary := func(p product) string { return prefix + p.file.Name }
	for _, p := range products {
		args = append(args, p.args...)
		args = append(args, "-f", p.muxer, temporary(p))
	}
	defer func() {
		if err != nil {
			for _, p := range products {
				_ = os.Remove(filepath.Join(dir, temporary(p))) // may not be there
			}
		}
	}()
	cmd := exec.CommandContext(ctx, ffmpeg, args...)
	cmd.Dir = dir
	cmd.WaitDelay = ffmpegWait
	var stderr tail
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("%w: ffmpeg: %w: %s", ErrConvert, err, stderr.String())
	}
	for _, p := range products {
		path := filepath.Join(dir, p.file.Name)
		if err := os.Rename(filepath.Join(dir, temporary(p)), path); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConvert, err)
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConvert, err)
		}
		p.file.Size = info.Size()
		files = append(files, p.file)
	}
	return files, nil
}

// tail keeps the last of what is written to it.
type tail struct{ buf []byte }

const tailSize = 2 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if n := len(t.buf); n > tailSize {
		t.buf = append(t.buf[:0], t.buf[n-tailSize:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(bytes.TrimSpace(t.buf)) }
