// SPDX-License-Identifier: Apache-2.0

// Package recorder writes RTP tracks and chat into media files.
//
// A [Recorder] starts a [Recording] in a directory of its own; each publisher's streams are added as a [Track],
// which takes RTP packets in any order. VP8, VP9, AV1, H264, H265, Opus, G.711 and G.722 go into Matroska as they are, without
// transcoding, and into WebM those of them that it knows; MP4, MP3 and mixed recordings are made at the end by ffmpeg, where it is installed.
//
// # What is guaranteed
//
// Media reaches the file at least every Config.FlushInterval, so a process that is killed loses less than a
// second, and the file plays as it stands: whole clusters follow a head that names every track. What a crash
// left is finished by [Recorder.Recover], from a manifest that is written before anything else.
//
// Audio, video and chat share one clock, whose zero is Options.Begin in every file: see clock.go. Tracks may
// come late, pause, change their picture's size and leave; a later stream of the same user and codec goes on in
// the same file.
//
// Packets may be lost, doubled and out of order. Video begins with a keyframe, and after a loss pauses until
// the next one, which is asked for; when none comes for five seconds it goes on as it is. A keyframe is also
// asked for every ten seconds, so that one can seek.
//
// WriteRTP never waits for the disk. Frames wait in memory, at most Config.QueueBytes for a recording; when
// that is full, new frames are dropped (and counted in the log) until the disk follows. A disk that refuses a
// write interrupts the recording, and what was written stays playable: it is tried again after half a second, then
// less and less often, at least every 30 s, and media goes on in the same files from the next keyframe on; Stop tells
// of what is missing. A power cut may cost, beside the media that the system had not put on the disk yet, a recording
// that had just begun; one that Stop has finished is safe.
//
// # Which files there are
//
//	TypeList  <nickname>.mkv or .webm for each publisher, chat.vtt. A second stream of the same kind at the same
//	          time (a shared screen), or another person of that name, goes into <nickname>-2.mkv and so on.
//	TypeFile  recording.mkv or .webm with all tracks, and the chat as a subtitle track; chat.vtt.
//	MP4       the same, converted.
//	TypeMP3   recording.mp3, chat.vtt
//	TypeMix   recording.mp4, recording.mp3, chat.vtt
//
// WebM cannot hold H264, H265, G.711 and G.722: a file with such a track is written as .mkv although WebM was asked for.
// In MP4, H264, H265 and AV1 are copied; G.711 and G.722 become AAC.
//
// Pictures are written in the order of decoding, with the times at which they are shown, so B-frames are as they came.
// Of the qualities of a simulcast the best that comes is recorded, all in one track; of a stream with spatial layers, all
// layers. Without any
// media there is no media file; chat alone gives chat.vtt.
//
// # What is left to others
//
// Where RTP comes from, who may record, and serving the files. A directory belongs to one Recording at a time;
// nothing keeps two processes from writing in it.
package recorder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/classrec/classrec/server/internal/ffmpeg"
)

// Config holds what all recordings have in common. The zero value is usable.
type Config struct {
	// FFmpegPath is the ffmpeg program; empty means the one in PATH. It is looked up anew each time.
	FFmpegPath string
	// FlushInterval is how often media is written; 0 means 400 ms, more than 750 ms is taken as 750 ms.
	FlushInterval time.Duration
	// QueueBytes bounds the media of one recording that waits for the disk; 0 means 32 MiB.
	QueueBytes int
	// Conversions is how many recordings are converted at a time; others wait. 0 means 1.
	Conversions int
	// FFmpegThreads bounds the threads of each encoder; 0 means 2.
	FFmpegThreads int
	// MP4Audio is the codec of the sound in MP4 files; the zero value is AAC. A mixed MP4 always has AAC.
	MP4Audio MP4Audio
	// MayWrite is asked before media are written; an error has the same effect as a disk that refuses. It should wrap a
	// syscall.Errno, which says that it may pass. What is buffered when a recording is stopped is written without
	// asking. nil means always.
	MayWrite func() error
	// Now is the server's clock; nil means time.Now.
	Now func() time.Time
	// Logger gets what an operator should know; nil means nothing is logged.
	Logger *slog.Logger
}

// Recorder starts recordings. It is safe for concurrent use and has no state to release.
type Recorder struct {
	cfg      Config
	open     fileOpener
	converts chan struct{} // a token for each ffmpeg that may run
	digests  chan struct{} // and for each file that may be digested
	counts   counts
	buffers  buffers
}

// New returns a Recorder.
func New(cfg Config) *Recorder {
	if cfg.FlushInterval <= 0 {
		cfg.FlushInterval = 400 * time.Millisecond
	}
	cfg.FlushInterval = min(cfg.FlushInterval, 750*time.Millisecond)
	if cfg.QueueBytes <= 0 {
		cfg.QueueBytes = 32 << 20
	}
	if cfg.Conversions <= 0 {
		cfg.Conversions = 1
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Recorder{cfg: cfg, open: openFile, converts: make(chan struct{}, cfg.Conversions), digests: make(chan struct{}, 1)}
}

// Check tells whether a recording with these options can be made here: ErrInvalidOptions, or ErrNeedsFFmpeg with
// what it is needed for. Dir may be empty.
func (r *Recorder) Check(opts Options) error {
	if opts.Dir == "" {
		opts.Dir = "."
	}
	if err := opts.validate(); err != nil {
		return err
	}
	what, ok := opts.converts()
	if !ok {
		return nil
	}
	_, err := r.ffmpeg(what)
	return err
}

// ffmpeg returns the program.
func (r *Recorder) ffmpeg(what string) (ffmpeg.Program, error) {
	name := r.cfg.FFmpegPath
	if name == "" {
		name = "ffmpeg"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return ffmpeg.Program{}, fmt.Errorf("%w %s, and is not installed", ErrNeedsFFmpeg, what)
	}
	return ffmpeg.Program{Path: path, Threads: r.cfg.FFmpegThreads}, nil
}

// Start begins a recording: it makes the directory and writes the manifest. It fails as Check does, and when the
// directory cannot be written or already holds a recording. The caller must call Stop, which also ends the
// recording's goroutine.
func (r *Recorder) Start(opts Options) (*Recording, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	if err := r.Check(opts); err != nil {
		return nil, err
	}
	if opts.Begin.IsZero() {
		opts.Begin = r.cfg.Now()
	}
	if opts.Logger == nil {
		opts.Logger = r.cfg.Logger
	}
	if err := os.MkdirAll(opts.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("start recording: %w", err)
	}
	switch _, err := os.Stat(manifestPath(opts.Dir)); {
	case err == nil:
		return nil, fmt.Errorf("start recording: %s holds a recording already: %w", opts.Dir, os.ErrExist)
	case !errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("start recording: %w", err)
	}
	m := newManifest(opts)
	if err := m.save(opts.Dir); err != nil {
		return nil, fmt.Errorf("start recording: %w", err)
	}
	rec := newRecording(r, opts, m)
	r.counts.recordings.Add(1)
	go rec.run()
	return rec, nil
}

// Describe returns the options of the recording in dir, whether it is finished or not; Chat tells only of chat that is
// finished. ErrNoManifest when there is none.
func Describe(dir string) (Options, error) {
	m, err := loadManifest(dir)
	if err != nil {
		return Options{}, err
	}
	o := m.options(dir)
	o.Chat = m.Chat
	return o, nil
}

// FileNames returns the names of the media files of the recording in dir as they were recorded, without their extensions,
// and those that it had to avoid itself. ErrNoManifest when there is none.
func FileNames(dir string) ([]string, error) {
	m, err := loadManifest(dir)
	if err != nil {
		return nil, err
	}
	names := slices.Clone(m.Avoid)
	for i := range m.Outputs {
		names = append(names, trimExt(m.Outputs[i].Name))
	}
	return names, nil
}

// Recover finishes what a crash left in dir: it cuts half-written ends, gives the files their duration and
// index, and converts them. A recording that was finished is left alone and its files are returned, so Recover
// may be called for any directory, and again after it failed. ErrNoManifest when dir holds no recording; other
// errors are those of Stop. It must not be called for a recording that is going on.
func (r *Recorder) Recover(ctx context.Context, dir string) ([]File, error) {
	m, err := loadManifest(dir)
	if err != nil {
		return nil, err
	}
	if m.State == stateRecording {
		if err := r.salvage(ctx, dir, m); err != nil {
			return nil, err
		}
	}
	return r.conclude(ctx, dir, m)
}

// mayWrite asks Config.MayWrite.
func (r *Recorder) mayWrite() error {
	if r.cfg.MayWrite == nil {
		return nil
	}
	if err := r.cfg.MayWrite(); err != nil {
		return fmt.Errorf("%w: %w", ErrWrite, err)
	}
	return nil
}
