// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/classrec/classrec/server/internal/ffmpeg"
	"github.com/classrec/classrec/server/internal/mixer"
)

// mix makes one picture and one sound of all that was recorded. What is left out becomes a warning of the recording.
func (r *Recorder) mix(ctx context.Context, program ffmpeg.Program, dir string, m *manifest) (files []File, err error) {
	ended := r.counts.conversion()
	defer func() { ended(err) }()
	states, err := loadStates(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConvert, err)
	}
	job := mixer.Job{
		Dir: dir, Prefix: converting + rand.Text() + "-", FFmpeg: program, Portrait: m.Layout == Portrait,
		States: states, Logger: r.cfg.Logger,
	}
	job.Inputs, job.Length = mixInputs(m)
	job.MP3 = job.Prefix + "recording.mp3"
	if m.Type == TypeMix {
		job.MP4 = job.Prefix + "recording.mp4"
	}
	defer func() {
		for _, name := range []string{job.MP3, job.MP4} {
			if err != nil && name != "" {
				_ = os.Remove(filepath.Join(dir, name)) // may not be there
			}
		}
	}()
	made, err := mixer.Run(ctx, job)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConvert, err)
	}
	for _, w := range made.Warnings {
		m.warn(w)
	}
	if made.MP4 {
		f := File{Name: "recording.mp4", Duration: job.Length, MediaType: "video/mp4"}
		if err := finished(dir, job.MP4, &f); err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	if made.MP3 {
		f := File{Name: "recording.mp3", Duration: job.Length, MediaType: "audio/mpeg"}
		if err := finished(dir, job.MP3, &f); err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// mixInputs are the tracks as they were recorded, and the length of the class.
func mixInputs(m *manifest) (inputs []mixer.Input, length time.Duration) {
	for i := range m.Outputs {
		o := &m.Outputs[i]
		if o.Frames == 0 {
			continue
		}
		length = max(length, o.Duration)
		for n, s := range o.Streams {
			if s.Type == trackSubtitle || s.Type == trackVideo && m.Type == TypeMP3 {
				continue
			}
			in := mixer.Input{
				File: o.Name, Stream: n, Video: s.Type == trackVideo, User: s.UserID, End: o.Duration,
				Width: s.Width, Height: s.Height, Resized: s.Resized,
			}
			for _, p := range s.Parts {
				in.Parts = append(in.Parts, mixer.Part{Stream: p.StreamID, From: p.From})
			}
			if len(in.Parts) == 0 { // recorded by an earlier version
				in.Parts = []mixer.Part{{Stream: s.StreamID}}
			}
			inputs = append(inputs, in)
		}
	}
	return inputs, length
}

// warn adds to what the recording says of itself.
func (m *manifest) warn(text string) {
	n := notes{warnings: m.Warnings}
	n.warn(text)
	m.Warnings = n.warnings
}
