// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// mix makes one picture and one sound of all that was recorded.
func (r *Recorder) mix(ctx context.Context, ffmpeg, dir string, m *manifest) ([]File, error) {
	inputs, products := mixCommand(m)
	if len(products) == 0 {
		return nil, nil
	}
	return r.run(ctx, ffmpeg, dir, inputs, products)
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
