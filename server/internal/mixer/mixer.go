// SPDX-License-Identifier: Apache-2.0

// Package mixer composes the recorded streams of a class into one picture and one sound track.
//
// All participants are heard, each sample at its time: gaps are silence, and a limiter prevents clipping. The picture
// has one cell for each participant who is publishing at the time, a shared screen large with the speaker beside it, and
// names; a participant whose video is off is a card with the name. [Arrange] defines the layout.
//
// ffmpeg decodes and encodes in its own processes; composing and mixing happen here. There is one decoder for each
// visible picture and each audio track, so memory does not grow with the length of the class. An input that cannot be
// decoded is left out, with a warning in the result.
package mixer

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/classrec/classrec/server/internal/ffmpeg"
)

// Input is one track of a recorded file.
type Input struct {
	File   string // below Job.Dir
	Stream int    // the number in the file, from 0
	Video  bool   // or else audio
	User   string
	// Name, Teacher and Screen are as in StreamState, for streams of which there is no state.
	Name            string
	Teacher, Screen bool
	// Offset is the time in the class at which the file begins, and End that at which it ends.
	Offset, End time.Duration
	// Width and Height are those of the largest picture, of video, or 0 if unknown; Resized reports that others are smaller.
	Width, Height int
	Resized       bool
	// Parts are the streams that the track holds, one after the other; at least one.
	Parts []Part
}

// Part is the beginning of a stream within a track.
type Part struct {
	Stream string
	From   time.Duration // in the class
}

// Job is a class to mix. Dir, FFmpeg, Length and Inputs are
// required.
type Job struct {
	// Dir has the inputs and gets the products; Prefix begins the names of working files in it, which are removed.
	Dir, Prefix string
	FFmpeg      ffmpeg.Program
	Portrait    bool // 720x1280, and not 1280x720
	Length      time.Duration
	Inputs      []Input
	States      []StreamState // by time
	// MP4 and MP3 name the files to make, below Dir; an empty name omits one.
	MP4, MP3 string
	Logger   *slog.Logger
}

// Result describes the outcome of a Job.
type Result struct {
	// MP4 and MP3 report which files were made: a class without sound has no MP3. Sound reports whether the MP4 has sound.
	MP4, MP3, Sound bool
	// Warnings say what was left out and why, in sentences for viewers of the recording.
	Warnings []string
}

// mix is a Job being done.
type mix struct {
	Job
	people   *people
	warnings []string
	speakers []speech // who speaks from when on
}

// Run does the job. An error comes from ffmpeg, the disk or the context; partial files may then be left behind. Jobs that
// run at the same time in one Dir need different prefixes.
func Run(ctx context.Context, job Job) (Result, error) {
	m := &mix{Job: job, people: newPeople(job)}
	sound := filepath.Join(job.Dir, job.Prefix+"sound.m4a")
	defer func() { _ = os.Remove(sound) }() // not there without sound
	heard, err := m.mixSound(ctx, sound)
	if err != nil {
		return Result{}, fmt.Errorf("mix sound: %w", err)
	}
	if job.MP4 != "" {
		if err := m.mixPicture(ctx, sound, heard); err != nil {
			return Result{}, fmt.Errorf("mix picture: %w", err)
		}
	}
	return Result{
		MP4: job.MP4 != "", MP3: heard && job.MP3 != "", Sound: heard && job.MP4 != "", Warnings: m.warnings,
	}, nil
}

// warn notes that something is left out.
func (m *mix) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	m.warnings = append(m.warnings, text)
	m.Logger.Warn("recording: part of the mix is left out", "dir", m.Dir, "reason", text)
}
