// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// maxDrain is how long a recording that ends waits for what is missing.
	maxDrain = 8 * time.Second
	// interleave is how long frames are held back to sort those of different tracks by time.
	interleave = 200 * time.Millisecond
	// kickBytes wakes the writer before its time.
	kickBytes = 2 << 20
	// maxChatQueue bounds the chat messages that wait for the disk.
	maxChatQueue = 4096
)

// A Recording is one class being recorded. Its methods are safe for concurrent use.
//
// One goroutine writes the files. Tracks put whole frames into a batch in memory, which it takes and writes
// every Config.FlushInterval.
type Recording struct {
	r    *Recorder
	opts Options

	mu      sync.Mutex
	pending *batch
	tracks  []*Track
	senders map[senderKey]*senderClock
	stopped bool
	dropped int // frames, since the last flush
	notes   notes
	states  []StreamState

	err  atomic.Pointer[error] // why the disk refuses, while it does
	kick chan struct{}
	stop chan struct{} // closed by the first Stop
	done chan struct{} // closed by run

	concluding sync.Mutex
	concluded  bool
	files      []File
	finalErr   error

	writer  *writer
	refusal refusal // the writer's goroutine's
}

// refusal is what the disk has refused so far, and when it is tried again.
type refusal struct {
	first error // what the recording is to be blamed for at its end
	final bool  // it is not the disk that refuses: trying again is of no use
	last  time.Time
	wait  time.Duration // after last
	gap   Gap           // what is told of it
}

// How long a disk that refuses is left alone: it is tried again after the first, then after twice that, and so on up to
// the second.
const (
	minRefusal = 500 * time.Millisecond
	maxRefusal = 30 * time.Second
)

type senderKey struct{ user, stream string }

func newRecording(r *Recorder, opts Options, m *manifest) *Recording {
	rec := &Recording{
		r: r, opts: opts, pending: &batch{}, senders: map[senderKey]*senderClock{},
		kick: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	rec.writer = newWriter(r, opts, m)
	rec.writer.gap, rec.writer.warn = rec.noteGap, rec.noteWarning
	return rec
}

// AddTrack adds a stream. It may be called at any time before Stop; the stream enters the files with its first
// media. ErrUnsupportedCodec, ErrInvalidOptions when the info makes no sense, ErrStopped.
func (rec *Recording) AddTrack(info TrackInfo) (*Track, error) {
	if info.ClockRate == 0 {
		info.ClockRate = 90000
		if info.Kind == Audio {
			info.ClockRate = 48000
		}
	}
	if info.Kind == Audio && info.Channels == 0 {
		info.Channels = 2
	}
	if info.Channels > 2 || info.ClockRate > 1e6 {
		return nil, fmt.Errorf("%w: %d channels at %d Hz", ErrInvalidOptions, info.Channels, info.ClockRate)
	}
	codec, d, err := newDepacketizer(info)
	if err != nil {
		return nil, err
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if rec.stopped {
		return nil, ErrStopped
	}
	key := senderKey{info.UserID, info.StreamID}
	sender := rec.senders[key]
	if sender == nil {
		sender = newSenderClock()
		rec.senders[key] = sender
	}
	t := newTrack(rec, info, codec, d, sender)
	t.ignored = rec.opts.Type == TypeMP3 && info.Kind == Video
	if !rec.joinLayers(t) {
		rec.r.counts.track(info.Kind)
	}
	rec.tracks = append(slices.Clip(rec.tracks), t) // the writer may be reading the old slice
	return t, nil
}

// forget drops a closed track, and its sender's clock with the last track of it.
func (rec *Recording) forget(t *Track) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	same := 0
	kept := make([]*Track, 0, len(rec.tracks))
	for _, o := range rec.tracks {
		if o == t {
			continue
		}
		kept = append(kept, o)
		if o.clock.sender == t.clock.sender {
			same++
		}
	}
	rec.tracks = kept
	if same == 0 {
		delete(rec.senders, senderKey{t.info.UserID, t.info.StreamID})
	}
}

// WriteChat records a message when Options.Chat is set, and ignores it otherwise. ErrStopped, ErrOverloaded when
// the disk is so far behind that thousands of messages wait, ErrWrite while the disk refuses, as WriteRTP.
func (rec *Recording) WriteChat(m ChatMessage) error {
	if !rec.opts.Chat {
		return nil
	}
	if err := rec.failed(); err != nil {
		return err
	}
	if m.At.IsZero() {
		m.At = rec.r.cfg.Now()
	}
	m, cut := m.clipped()
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if rec.stopped {
		return ErrStopped
	}
	if cut {
		rec.notes.warn("Chat messages of more than 8 KiB, or nicknames of more than 256 bytes, were cut; an ellipsis is where.")
	}
	if len(rec.pending.chat) >= maxChatQueue {
		return ErrOverloaded
	}
	rec.pending.chat = append(rec.pending.chat, m)
	return nil
}

// Stop ends the recording: it waits until what is missing has come or is given up (see TrackInfo.Patience; at most 8 s),
// writes what is left, gives every file its duration and index, and converts where
// the options ask for it. It returns the finished files, none and no error when there was no media.
//
// When the disk refused media the error wraps ErrWrite, and when the conversion failed ErrConvert; what could be
// saved is returned beside it. With ErrUnsaved another Stop should follow when the disk may have room again; the
// files are there, but after a crash Recover would have to finish them anew. When ctx ends first, its error is returned and the rest is left to another Stop
// or to Recover. Further calls return the same once it is settled. Stop may be called by several goroutines.
func (rec *Recording) Stop(ctx context.Context) ([]File, error) {
	rec.mu.Lock()
	first := !rec.stopped
	rec.stopped = true
	tracks := rec.tracks
	if first {
		rec.notes.closeGaps(rec.r.cfg.Now())
	}
	rec.mu.Unlock()
	if first {
		for _, t := range tracks {
			t.Finish()
		}
		close(rec.stop)
	}
	select {
	case <-rec.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("stop recording: %w", ctx.Err())
	}
	rec.concluding.Lock()
	defer rec.concluding.Unlock()
	if rec.concluded {
		return slices.Clone(rec.files), rec.finalErr
	}
	files, err := rec.r.conclude(ctx, rec.opts.Dir, rec.writer.manifest)
	if ctx.Err() == nil && !errors.Is(err, ErrUnsaved) {
		rec.concluded, rec.files, rec.finalErr = true, files, err
	}
	return slices.Clone(files), err
}

// failed returns why the disk refuses media, or nil.
func (rec *Recording) failed() error {
	if p := rec.err.Load(); p != nil {
		return *p
	}
	return nil
}

// closedError is the error for a write to a closed track.
func (rec *Recording) closedError() error {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if rec.stopped {
		return ErrStopped
	}
	return ErrTrackClosed
}

// since converts a time to one since the beginning, within reason.
func (rec *Recording) since(at time.Time) time.Duration {
	if at.IsZero() {
		at = rec.r.cfg.Now()
	}
	return min(max(at.Sub(rec.opts.Begin), 0), maxDuration)
}

// push hands a frame to the writer; false when the queue is full, or the disk refuses.
func (rec *Recording) push(f frame, data []byte) bool {
	if rec.failed() != nil {
		return false
	}
	rec.mu.Lock()
	b := rec.pending
	if len(b.data)+len(data) > rec.r.cfg.QueueBytes {
		rec.dropped++
		rec.mu.Unlock()
		return false
	}
	b.add(f, data)
	full := len(b.data) >= kickBytes
	rec.mu.Unlock()
	if full {
		select {
		case rec.kick <- struct{}{}:
		default:
		}
	}
	return true
}

// withdraw takes back the frames of a track that wait for the writer.
func (rec *Recording) withdraw(t *Track) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.pending.frames = slices.DeleteFunc(rec.pending.frames, func(f frame) bool { return f.track == t })
}

// run is the goroutine that owns the files.
func (rec *Recording) run() {
	defer close(rec.done)
	defer rec.ended()
	ticker := time.NewTicker(rec.r.cfg.FlushInterval)
	defer ticker.Stop()
	for stopped := false; !stopped; {
		select {
		case <-ticker.C:
			rec.poll()
			rec.flush(false)
		case <-rec.kick:
			rec.flush(false)
		case <-rec.stop:
			stopped = true
		}
	}
	for begun := time.Now(); !rec.complete() && time.Since(begun) < maxDrain; {
		<-ticker.C
		rec.poll()
		rec.flush(false)
	}
	rec.mu.Lock()
	tracks := rec.tracks
	rec.mu.Unlock()
	for _, t := range tracks {
		_ = t.Close() // never fails
	}
	rec.flush(true)
	rec.takeNotes()
	rec.fail(rec.writer.finish(rec.refusal.first))
}

// complete reports whether all tracks have ended.
func (rec *Recording) complete() bool {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return len(rec.tracks) == 0
}

// ended takes the recording out of the counts of now.
func (rec *Recording) ended() {
	rec.r.counts.recordings.Add(-1)
	if rec.failed() != nil {
		rec.r.counts.refused.Add(-1)
	}
}

// poll lets the tracks do what is due.
func (rec *Recording) poll() {
	rec.mu.Lock()
	tracks := rec.tracks
	rec.mu.Unlock()
	now := rec.since(time.Time{})
	for _, t := range tracks {
		t.poll(now)
	}
}

// flush writes what has come, all of it when last is set.
func (rec *Recording) flush(last bool) {
	rec.mu.Lock()
	b := rec.pending
	rec.pending = rec.r.buffers.batch()
	dropped := rec.dropped
	rec.dropped = 0
	rec.mu.Unlock()
	if dropped > 0 {
		rec.r.counts.dropped.Add(uint64(dropped)) // it is positive
		rec.opts.Logger.Warn("recording: the disk is too slow, frames were dropped", "frames", dropped, "dir", rec.opts.Dir)
	}
	noted := rec.takeNotes()
	rec.takeStates()
	switch {
	case rec.failed() == nil:
		if err := rec.r.mayWrite(); err != nil && !last {
			rec.fail(err)
			break
		}
		rec.fail(rec.writer.write(b, last, noted))
	case !rec.refusal.final && (last || time.Since(rec.refusal.last) >= rec.refusal.wait):
		rec.resume()
	}
	rec.r.buffers.giveBatch(b)
}

// fail notes that the disk refuses. What comes until resume is dropped.
func (rec *Recording) fail(err error) {
	if err == nil {
		return
	}
	f := &rec.refusal
	if f.first == nil {
		f.first = err
	}
	if time.Since(f.last) > 2*maxRefusal {
		f.wait = 0 // an earlier one is forgotten
	}
	f.last, f.wait = time.Now(), min(max(2*f.wait, minRefusal), maxRefusal)
	var errno syscall.Errno
	f.final = !errors.As(err, &errno)
	if rec.err.Swap(&err) != nil {
		return
	}
	rec.r.counts.interruptions.Add(1)
	rec.r.counts.refused.Add(1)
	rec.refusal.gap = Gap{Start: rec.r.cfg.Now(), Reason: "the disk refused what was to be written"}
	rec.noteGap(rec.refusal.gap)
	rec.opts.Logger.Error("recording: the disk refused media", "error", err, "dir", rec.opts.Dir)
	rec.mu.Lock()
	tracks := rec.tracks
	rec.mu.Unlock()
	for _, t := range tracks { // from now on push refuses: nothing comes in between
		t.interrupt()
	}
}

// resume goes on if the disk does. What waited is not written: the tracks have been told that it is lost.
func (rec *Recording) resume() {
	if err := rec.r.mayWrite(); err != nil {
		rec.fail(err)
		return
	}
	if err := rec.writer.resume(); err != nil {
		rec.fail(err)
		return
	}
	if rec.err.Swap(nil) != nil {
		rec.r.counts.refused.Add(-1)
		rec.refusal.gap.End = rec.r.cfg.Now()
		rec.noteGap(rec.refusal.gap)
	}
	rec.opts.Logger.Info("recording: the disk takes media again", "dir", rec.opts.Dir)
}
