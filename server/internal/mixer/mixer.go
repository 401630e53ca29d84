// SPDX-License-Identifier: Apache-2.0

// Package mixer makes one picture and one sound of the streams of a class, from the files that they were recorded in.
//
// The sound is everybody's, each sample at its time: what is missing is silence, what is too loud is limited. The
// picture has a cell for each person who publishes at the time, the shared screen large and the speaker beside it, and
// names; who has the video off is a card with the name. See [Arrange] for where cells are.
//
// ffmpeg decodes and encodes, in processes of its own; pictures are put together and sound is added here. At any time
// there is a decoder for each picture that is seen and each sound that is heard, so memory does not grow with the
// length of the class. An input that cannot be decoded is left out, and told of in the result.
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

// Input is a track of a recorded file.
type Input struct {
	File   string // below Job.Dir
	Stream int    // the number in the file, from 0
	Video  bool   // or else audio
	User   string
	// Name, Teacher and Screen are as in StreamState, for streams of which there is no state.
	Name            string
	Teacher, Screen bool
	// Offset is where the file's zero is in the class, and End where the file ends.
	Offset, End time.Duration
	// Width and Height are those of the largest picture, of video; Resized says that there are others.
	Width, Height int
	Resized       bool
	// Parts are the streams whose media the track has, one after the other. It has one at least.
	Parts []Part
}

// Part is a stream that begins in a track.
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
	// MP4 and MP3 are the products, below Dir; an empty one is not made.
	MP4, MP3 string
	Logger   *slog.Logger
}

// Result is what became of a Job.
type Result struct {
	// MP4 and MP3 say which were made: of a class without sound there is no MP3. Sound says that the MP4 has some.
	MP4, MP3, Sound bool
	// Warnings say what was left out, and why, in words for whoever watches the recording.
	Warnings []string
}

// mix is a Job being done.
type mix struct {
	Job
	people   *people
	warnings []string
	speakers []speech // who speaks from when on
}

// Run does the job. An error is ffmpeg's, the disk's or the context's; then the products may be there in part. It is to be
// called once for a Job at a time: working files have names of their own only by Prefix.
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
