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
		f := File{Name: "recording.mp4", Duration: job.Length, MediaType: "video/mp4", VideoCodec: "H264", FrameRate: mixer.FrameRate}
		f.Width, f.Height = mixer.Size(job.Portrait)
		if made.Sound {
			f.AudioCodec, f.SampleRate = "AAC", ffmpeg.SampleRate
		}
		if err := finished(dir, job.MP4, &f); err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	if made.MP3 {
		f := File{Name: "recording.mp3", Duration: job.Length, MediaType: "audio/mpeg", AudioCodec: "MP3", SampleRate: ffmpeg.SampleRate}
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
		length = max(length, o.Origin+o.Duration)
		for n, s := range o.Streams {
			if s.Type == trackSubtitle || s.Type == trackVideo && m.Type == TypeMP3 {
				continue
			}
			in := mixer.Input{
				File: o.Name, Stream: n, Video: s.Type == trackVideo,
				User: s.UserID, Name: s.Nickname, Teacher: s.Role != nil && *s.Role == roleTeacher, Screen: shared(s.Source),
				Offset: o.Origin, End: o.Origin + o.Duration, Width: s.Width, Height: s.Height, Resized: s.Resized,
			}
			for _, p := range s.Parts {
				in.Parts = append(in.Parts, mixer.Part{Stream: p.StreamID, From: p.From})
			}
			if len(in.Parts) == 0 { // recorded by an earlier version
				in.Parts = []mixer.Part{{Stream: s.StreamID, From: o.Origin}}
			}
			inputs = append(inputs, in)
		}
	}
	return inputs, length
}

// roleTeacher is TrackInfo.Role of a teacher.
const roleTeacher = 0

// shared reports whether a TrackInfo.Source is shown large.
func shared(source string) bool { return source == "screen" || source == "media" || source == "file" }

// warn adds to what the recording says of itself.
func (m *manifest) warn(text string) {
	n := notes{warnings: m.Warnings}
	n.warn(text)
	m.Warnings = n.warnings
}
