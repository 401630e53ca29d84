// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"sync/atomic"
	"time"
)

// Stats is what a Recorder has done since it was made, and what it does now.
type Stats struct {
	// Recordings is how many take media now, and Refused how many of them are interrupted because the disk refuses.
	Recordings, Refused int64
	// AudioTracks and VideoTracks are how many streams were added, over all.
	AudioTracks, VideoTracks uint64
	// Packets is how many RTP packets were taken, and Lost how many never came, nor again when they were asked for.
	Packets, Lost uint64
	// Dropped is how many frames were left out because the disk did not follow.
	Dropped uint64
	// Keyless is how often a picture was told to have no keyframes: it could not be recorded for five seconds or more, or
	// had none for a minute.
	Keyless uint64
	// Bytes is how many bytes of media files were written, without those that ffmpeg makes.
	Bytes uint64
	// Interruptions is how often the disk has begun to refuse media.
	Interruptions uint64
	// Converting is how many runs of ffmpeg there are now, Converted and ConvertFailed how many have ended, and
	// ConvertTime how long these took together.
	Converting               int64
	Converted, ConvertFailed uint64
	ConvertTime              time.Duration
}

// counts are the Stats as they are kept.
type counts struct {
	recordings, refused, converting             atomic.Int64
	audio, video, packets, lost, dropped, bytes atomic.Uint64
	keyless                                     atomic.Uint64
	interruptions, converted, convertFailed     atomic.Uint64
	convertTime                                 atomic.Int64
}

// Stats returns the counts of now.
func (r *Recorder) Stats() Stats {
	c := &r.counts
	return Stats{
		Recordings: c.recordings.Load(), Refused: c.refused.Load(),
		AudioTracks: c.audio.Load(), VideoTracks: c.video.Load(),
		Packets: c.packets.Load(), Lost: c.lost.Load(), Dropped: c.dropped.Load(), Bytes: c.bytes.Load(),
		Interruptions: c.interruptions.Load(), Keyless: c.keyless.Load(),
		Converting: c.converting.Load(), Converted: c.converted.Load(), ConvertFailed: c.convertFailed.Load(),
		ConvertTime: time.Duration(c.convertTime.Load()),
	}
}

// track counts a stream.
func (c *counts) track(kind Kind) {
	if kind == Video {
		c.video.Add(1)
	} else {
		c.audio.Add(1)
	}
}

// conversion counts a run of ffmpeg; the returned function is called with what came of it.
func (c *counts) conversion() (ended func(error)) {
	begun := time.Now()
	c.converting.Add(1)
	return func(err error) {
		c.converting.Add(-1)
		c.convertTime.Add(int64(time.Since(begun)))
		if err != nil {
			c.convertFailed.Add(1)
		} else {
			c.converted.Add(1)
		}
	}
}

// countedFile counts what is written.
type countedFile struct {
	mediaFile
	counts *counts
}

// WriteAt writes.
func (f countedFile) WriteAt(p []byte, at int64) (int, error) {
	n, err := f.mediaFile.WriteAt(p, at)
	f.counts.bytes.Add(uint64(max(n, 0))) // it is not negative
	return n, err
}
