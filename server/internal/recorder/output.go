// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

const (
	headRoomUser  = 4 << 10  // of a publisher's file: some 20 tracks
	headRoomFile  = 64 << 10 // of a file for all: some 400 tracks
	clusterSpan   = 5 * time.Second
	clusterBytes  = 4 << 20
	writeBytes    = 1 << 20 // a batch larger than this is written in parts
	videoCueEvery = time.Second
	audioCueEvery = 5 * time.Second
	maxCues       = 1 << 16
	// subtitleLength is how long a line of chat is shown.
	subtitleLength = 5 * time.Second
)

var errHeadFull = errors.New("no room for another track in the file's head")

// mediaFile is what an output needs of an *os.File.
type mediaFile interface {
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Close() error
}

// fileOpener creates a media file or, for recovery, opens it.
type fileOpener func(path string) (mediaFile, error)

func openFile(path string) (mediaFile, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640) //nolint:gosec // the directory above is for us alone; the group may be given it
}

// slot is one track of an output.
type slot struct {
	*stream
	number int
	owner  *Track // writes here, alone; another may follow when it is closed
	config *codecConfig
	last   int64         // ms, of the newest block; -1 without
	end    time.Duration // of the newest block
	media  time.Duration // end of the newest block that is no silence of ours
	cued   time.Duration // time of the newest cue; -1 without
	lag    time.Duration // of sound: how much later than end the next frame is due, see fill.go
	// skipping says that sound is left out, because it belongs to time that has been written.
	skipping bool
	shown    pace
}

// pace counts pictures, but for pauses.
type pace struct {
	frames int64
	time   time.Duration
}

// maxPictureGap is the longest time between two pictures that is no pause.
const maxPictureGap = time.Second

func (p *pace) add(since time.Duration) {
	switch {
	case since > 0 && since <= maxPictureGap:
		p.frames++
		p.time += since
	case since < 0 && since >= -maxPictureGap: // shown before one that has been counted
		p.frames++
	}
}

// rate is in pictures a second; 0 when there are not two.
func (p *pace) rate() float64 {
	if p.time <= 0 {
		return 0
	}
	return float64(p.frames) / p.time.Seconds()
}

// output is one Matroska file being written. Its times count from origin. The file is complete after each flush: whole clusters of known
// size follow a head that names every track in them, so that a crash costs only what was not flushed.
// It belongs to one goroutine.
type output struct {
	name         string
	origin       time.Duration // in the recording
	file         mediaFile
	head         fileHead
	segmentStart int64
	slots        []*slot
	size         int64 // of what is whole
	end          time.Duration
	headDirty    bool

	buf       []byte // clusters not yet written
	clusterAt int    // start of the open one in buf; -1 without
	clusterTS int64
	cues      []cue
	thinned   time.Duration // the least distance of cues, when there were too many
	subtitles []subtitleAt  // the newest
	frames    int64
	saved     struct { // frames and end as of the last flush
		frames int64
		end    time.Duration
	}
}

// subtitleAt is where the duration of a line of chat stands in the file.
type subtitleAt struct {
	at       time.Duration
	duration int64
}

// lastSubtitles is how many lines within subtitleLength of the end are cut to it.
const lastSubtitles = 256

func newOutput(name string, file mediaFile, head fileHead) (*output, error) {
	start, err := head.segmentStart()
	if err != nil {
		return nil, err
	}
	return &output{name: name, file: file, head: head, segmentStart: start, size: int64(head.room), clusterAt: -1}, nil
}

// addStream makes a slot; the head on disk follows with the next flush, before any block of the new track.
// It returns errHeadFull when the file can hold no further track.
func (o *output) addStream(s *stream) (*slot, error) {
	h := o.head
	h.streams = append(h.streams[:len(h.streams):len(h.streams)], s)
	h.duration, h.cues, h.end = time.Hour, 1, 1<<40 // what will be added at the end needs room too
	if _, _, err := h.marshal(); err != nil {
		return nil, err
	}
	sl := &slot{stream: s, number: len(h.streams), last: -1, cued: -1}
	o.head.streams = h.streams
	o.slots = append(o.slots, sl)
	o.headDirty = true
	return sl, nil
}

// block adds a frame to the open cluster.
func (o *output) block(s *slot, f frame) error {
	var err error
	if s.Type == trackAudio {
		err = o.sound(s, f)
	} else {
		err = o.simple(s, f)
	}
	s.media = s.end
	return err
}

// simple writes a frame. The times of a track rise, but for frames that are shown before those that they need.
func (o *output) simple(s *slot, f frame) error {
	ms := f.ts.Milliseconds()
	if !f.reordered {
		ms = max(ms, s.last+1)
	}
	if err := o.open(ms, f.key && s.Type == trackVideo); err != nil {
		return err
	}
	o.cue(s, ms, f.key)
	o.buf = appendSimpleBlock(o.buf, s.number, int16(ms-o.clusterTS), f.key, f.data)
	o.advance(s, ms, f.lasts)
	return nil
}

// subtitle adds a line of chat.
func (o *output) subtitle(s *slot, ts time.Duration, text []byte) error {
	ms := max(ts.Milliseconds(), s.last+1)
	if err := o.open(ms, false); err != nil {
		return err
	}
	o.buf = appendBlockGroup(o.buf, s.number, int16(ms-o.clusterTS), subtitleLength.Milliseconds(), text)
	o.noteSubtitle(s, ms, o.size+int64(len(o.buf)))
	return nil
}

// noteSubtitle remembers where a line's duration stands, the last 8 bytes before end, to shorten it at the last.
func (o *output) noteSubtitle(s *slot, ms int64, end int64) {
	s.last = ms
	if len(o.subtitles) >= 2*lastSubtitles {
		o.subtitles = append(o.subtitles[:0], o.subtitles[lastSubtitles:]...)
	}
	o.subtitles = append(o.subtitles, subtitleAt{at: time.Duration(ms) * time.Millisecond, duration: end - 8})
}

// endSubtitles lets no line be shown past the end of the media, unless it came after that.
func (o *output) endSubtitles() error {
	end := o.end
	for _, s := range o.subtitles {
		switch {
		case s.duration >= o.size, s.at+subtitleLength <= end:
		case s.at >= end:
			o.end = max(o.end, s.at+subtitleLength)
		default:
			lasts := binary.BigEndian.AppendUint64(nil, uint64((end - s.at).Milliseconds()))
			if _, err := o.file.WriteAt(lasts, s.duration); err != nil {
				return fmt.Errorf("%w %s: %w", ErrWrite, o.name, err)
			}
		}
	}
	return nil
}

func (o *output) advance(s *slot, ms int64, lasts time.Duration) {
	if lasts == 0 { // video: as long as the frame before, within reason
		lasts = 40 * time.Millisecond
		if s.last >= 0 {
			lasts = min(max(time.Duration(ms-s.last)*time.Millisecond, 0), 100*time.Millisecond)
		}
	}
	if s.Type == trackVideo && s.last >= 0 {
		s.shown.add(time.Duration(ms-s.last) * time.Millisecond)
	}
	s.last = max(s.last, ms)
	s.end = max(s.end, time.Duration(ms)*time.Millisecond+lasts)
	o.end = max(o.end, s.end)
	o.frames++
}

// maxBack is how far before its cluster's time a block may be: times within a cluster have 16 bits and a sign.
const maxBack = 10 * time.Second

// open makes sure that a cluster is open that can hold a block at ms; fresh wants it to be a new one.
func (o *output) open(ms int64, fresh bool) error {
	if o.clusterAt >= 0 {
		d := ms - o.clusterTS
		if !fresh && d > -maxBack.Milliseconds() && d < clusterSpan.Milliseconds() && len(o.buf)-o.clusterAt < clusterBytes {
			return nil
		}
		o.closeCluster()
		if len(o.buf) >= writeBytes {
			if err := o.flush(); err != nil {
				return err
			}
		}
	}
	o.clusterAt, o.clusterTS = len(o.buf), ms
	o.buf = appendCluster(o.buf, ms)
	return nil
}

func (o *output) closeCluster() {
	if o.clusterAt >= 0 {
		closeCluster(o.buf[o.clusterAt:])
		o.clusterAt = -1
	}
}

// cue enters the block that is about to be written into the index, if one should be able to seek to it.
func (o *output) cue(s *slot, ms int64, key bool) {
	o.cueAt(s, ms, key, o.size+int64(o.clusterAt), uint32(len(o.buf)-o.clusterAt-12))
}

func (o *output) cueAt(s *slot, ms int64, key bool, cluster int64, relative uint32) {
	ts := time.Duration(ms) * time.Millisecond
	every := max(videoCueEvery, o.thinned)
	if s.Type == trackAudio {
		every = max(audioCueEvery, o.thinned)
	}
	if !key || s.cued >= 0 && ts-s.cued < every {
		return
	}
	s.cued = ts
	o.cues = append(o.cues, cue{at: ms, cluster: cluster, relative: relative, track: uint32(s.number)})
	if len(o.cues) < maxCues {
		return
	}
	kept := o.cues[:0]
	for i, c := range o.cues {
		if i%2 == 0 {
			kept = append(kept, c)
		}
	}
	o.cues = kept
	o.thinned = 2 * max(videoCueEvery, o.thinned)
}

// flush writes what has come: the head first when it has changed, then the clusters in one piece.
func (o *output) flush() error {
	if o.headDirty {
		if err := o.writeHead(); err != nil {
			return err
		}
	}
	o.closeCluster()
	if len(o.buf) == 0 {
		return nil
	}
	if _, err := o.file.WriteAt(o.buf, o.size); err != nil {
		return fmt.Errorf("%w %s: %w", ErrWrite, o.name, err)
	}
	o.size += int64(len(o.buf))
	o.saved.frames, o.saved.end = o.frames, o.end
	o.buf = o.buf[:0]
	if cap(o.buf) > 4*writeBytes {
		o.buf = nil
	}
	return nil
}

func (o *output) writeHead() error {
	data, n, err := o.head.marshal()
	if err != nil {
		return fmt.Errorf("%w %s: %w", ErrWrite, o.name, err)
	}
	if o.size > int64(o.head.room) {
		data = data[:n] // the rest is zeros already, and a short write is as good as atomic
	}
	if _, err := o.file.WriteAt(data, 0); err != nil {
		return fmt.Errorf("%w %s: %w", ErrWrite, o.name, err)
	}
	o.headDirty = false
	return nil
}

// finish makes the file final: cues, duration, sizes; and closes it. It does as much as it can when the disk
// refuses something: what was not written is forgotten, and without room for the cues the file has none.
func (o *output) finish() error {
	err := o.fill(o.end)
	if err == nil {
		err = o.flush()
	}
	if err != nil {
		o.frames, o.end = o.saved.frames, o.saved.end
		o.cues = slices.DeleteFunc(o.cues, func(c cue) bool { return c.cluster >= o.size })
	}
	o.buf, o.clusterAt = nil, -1
	if o.frames == 0 {
		return errors.Join(err, o.file.Close())
	}
	if e := o.endSubtitles(); e != nil {
		err = errors.Join(err, e)
	}
	if e := o.writeCues(); e != nil {
		err = errors.Join(err, e)
	}
	// A write that failed may have left half a cluster behind.
	if e := o.file.Truncate(o.size); e != nil {
		err = errors.Join(err, fmt.Errorf("%w %s: %w", ErrWrite, o.name, e))
	}
	o.head.end, o.head.duration = o.size, o.end
	err = errors.Join(err, o.writeHead())
	if e := errors.Join(o.file.Sync(), o.file.Close()); e != nil {
		err = errors.Join(err, fmt.Errorf("%w %s: %w", ErrWrite, o.name, e))
	}
	return err
}

func (o *output) writeCues() error {
	cues, err := marshalCues(o.cues, o.segmentStart)
	if err == nil {
		_, err = o.file.WriteAt(cues, o.size)
	}
	if err != nil {
		return fmt.Errorf("%w %s: %w", ErrWrite, o.name, err)
	}
	o.head.cues = o.size
	o.size += int64(len(cues))
	return nil
}
