// SPDX-License-Identifier: Apache-2.0

package recorder

import "errors"

var (
	// ErrNeedsFFmpeg says that the wanted format or type of recording takes ffmpeg, and that there is none.
	ErrNeedsFFmpeg = errors.New("ffmpeg is needed")
	// ErrInvalidOptions says that Options are not usable; the text names the field.
	ErrInvalidOptions = errors.New("invalid recording options")
	// ErrUnsupportedCodec says that a track's codec cannot be recorded.
	ErrUnsupportedCodec = errors.New("unsupported codec")
	// ErrStopped is returned for writes to a recording that has been stopped.
	ErrStopped = errors.New("recording is stopped")
	// ErrTrackClosed is returned for writes to a track that has been closed.
	ErrTrackClosed = errors.New("track is closed")
	// ErrWrite says that the disk refused media (full, or broken). What was written before stays playable.
	// It wraps the system's error, so errors.Is(err, syscall.ENOSPC) works.
	ErrWrite = errors.New("write recording")
	// ErrUnsaved says that the recording is not finished yet, because the disk had no room for what is written at
	// the end. Stop, and Recover, can be called again until the disk takes it. It comes with ErrWrite.
	ErrUnsaved = errors.New("recording is not finished")
	// ErrConvert says that ffmpeg failed; the files as recorded are kept in its place.
	ErrConvert = errors.New("convert recording")
	// ErrNoManifest is returned by Recover for a directory that holds no recording.
	ErrNoManifest = errors.New("no manifest of a recording")
	// ErrOverloaded says that a chat message was not taken because too many wait to be written.
	ErrOverloaded = errors.New("recording is overloaded")
)
