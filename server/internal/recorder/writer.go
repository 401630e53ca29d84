// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// maxEarlyChat bounds the chat that waits for the one file of TypeFile to come into being.
const maxEarlyChat = 4096

// writer decides which frame goes into which file. It belongs to the recording's goroutine.
type writer struct {
	r        *Recorder
	gap      func(Gap)    // notes a gap
	warn     func(string) // notes a warning
	opts     Options
	manifest *manifest
	outputs  []*output
	slots    map[*Track]*slot
	outputOf map[*slot]*output

	carry *batch  // frames held back for the next flush
	spare *batch  // what will be carry; nil between writes
	order []frame // what is being written, by time
	chat  *chatFile
	early []ChatMessage // waits for the file

	states     []StreamState // not yet written
	statesFile mediaFile     // nil before the first
	statesSize int64
}

func newWriter(r *Recorder, opts Options, m *manifest) *writer {
	return &writer{
		r: r, opts: opts, manifest: m, slots: map[*Track]*slot{}, outputOf: map[*slot]*output{},
		carry: &batch{},
	}
}

// write writes the frames of b, except for the newest few, which are held back for the next time unless last is
// set, and flushes every file. noted says that the manifest has news of its own.
func (w *writer) write(b *batch, last, noted bool) error {
	for i := range w.carry.frames {
		w.carry.frames[i].kept = true
	}
	if w.spare == nil {
		w.spare = w.r.buffers.batch()
	}
	w.order = append(append(w.order[:0], w.carry.frames...), b.frames...)
	sortByTime(w.order)
	var newest time.Duration
	if n := len(w.order); n > 0 {
		newest = w.order[n-1].order
	}
	for _, f := range w.order {
		if !last && !f.kept && f.order > newest-interleave {
			w.spare.add(f, f.data)
			continue
		}
		switch w.claim(f.track, last) {
		case claimLater:
			w.spare.add(f, f.data)
			continue
		case claimNever:
			continue
		case claimNow:
		}
		if err := w.frame(f); err != nil {
			return err
		}
	}
	w.r.buffers.giveBatch(w.carry)
	w.carry, w.spare = w.spare, nil
	clear(w.order)
	for _, m := range b.chat {
		if err := w.message(m); err != nil {
			return err
		}
	}
	if err := w.writeStates(); err != nil {
		return err
	}
	for _, o := range w.outputs {
		if err := o.fill(o.end - fillLag); err != nil {
			return err
		}
		if err := o.flush(); err != nil {
			return err
		}
		o.buf = w.r.buffers.giveBytes(o.buf)
	}
	w.forgetClosed()
	if noted && !last { // finish saves the manifest too
		return w.save()
	}
	return nil
}

// resume tries the disk again after write has failed: what had been gathered by then is written, and it is an error
// when that fails. The frames of the write that failed are lost.
func (w *writer) resume() error {
	w.carry.reset()
	w.spare = nil
	clear(w.order)
	for _, o := range w.outputs {
		if err := w.contain(o); err != nil {
			return err
		}
		if err := o.flush(); err != nil {
			return err
		}
	}
	return w.save()
}

// forgetClosed lets go of tracks that will give no more frames: what they gave has been written when they have
// been closed for two flushes.
func (w *writer) forgetClosed() {
	for t, s := range w.slots {
		if !t.gone.Load() {
			continue
		}
		if t.buried++; t.buried < 3 {
			continue
		}
		delete(w.slots, t)
		if s.owner == t {
			s.owner = nil
		}
	}
}

func (w *writer) frame(f frame) error {
	s := w.slots[f.track]
	if s == nil {
		var err error
		if s, err = w.slot(f); err != nil {
			return err
		}
		w.slots[f.track] = s
		if w.opts.Type == TypeMix && s.begins(f.track.info.StreamID, f.ts) {
			if err := w.save(); err != nil {
				return err
			}
		}
	}
	o := w.outputOf[s]
	if o.buf == nil {
		o.buf = w.r.buffers.take()
	}
	if s.config != f.config && f.config != nil {
		if err := w.reconfigure(o, s, f.config); err != nil {
			return err
		}
	}
	f.ts = max(f.ts-o.origin, 0)
	if f.ts > o.end+fillLag { // nothing came for a while: silence goes first, in its order
		if err := o.fill(f.ts - fillLag); err != nil {
			return err
		}
	}
	return o.block(s, f)
}

// reconfigure notes a change of the picture's size.
func (w *writer) reconfigure(o *output, s *slot, c *codecConfig) error {
	if s.config != nil && (s.config.width != c.width || s.config.height != c.height) {
		s.Resized = true
		s.Width, s.Height = max(s.Width, c.width), max(s.Height, c.height)
		o.headDirty = true
		if err := w.save(); err != nil {
			return err
		}
	}
	s.config = c
	return nil
}

// slot finds the place for a track's first frame: a place of the same user, source and codec whose track has ended, or a
// new place in a file of the user, preferably that of the same stream, or a new file.
func (w *writer) slot(f frame) (*slot, error) {
	t := f.track
	var best *output
	changed := false // the codec
	for _, o := range w.outputs {
		if w.opts.perUser() && o.slots[0].UserID != t.info.UserID {
			continue
		}
		fits, same := true, false
		for _, s := range o.slots {
			same = same || s.StreamID == t.info.StreamID
			if !s.isOf(t) {
				fits = fits && (s.Type != t.kind() || !w.opts.perUser())
				continue
			}
			if s.Codec == t.codec && s.free() && s.Channels == f.config.channels {
				w.goOn(o, s, f)
				return s, nil
			}
			if s.free() && !changed {
				changed = true
				w.absent(o, s, f)
			}
			fits = fits && (s.free() && o.holds(t.codec) || !w.opts.perUser())
		}
		if fits && (best == nil || same) {
			best = o
		}
		if fits && same {
			break
		}
	}
	if changed {
		w.warn(fmt.Sprintf("The %s of %s goes on in another codec (%s): %s.", t.info.Kind, cmp.Or(t.info.Nickname, t.info.UserID),
			codecName(t.codec), map[bool]string{true: "it is another track of the file", false: "it is in another file"}[best != nil]))
	}
	return w.newSlot(best, f)
}

// holds reports whether a track of the codec can be added to the file without changing what it is.
func (o *output) holds(codec string) bool { return o.head.docType != "webm" || inWebM(codec) }

// isOf reports whether the slot is for what the track shows: of the same person, kind and source.
func (s *slot) isOf(t *Track) bool {
	return s.Type == t.kind() && s.UserID == t.info.UserID && s.Source == t.info.Source
}

// free reports whether another track may go on in the slot.
func (s *slot) free() bool { return s.owner == nil || s.owner.gone.Load() || s.owner.replaced }

// newSlot makes a slot for a track in a file, or in a new one.
func (w *writer) newSlot(o *output, f frame) (*slot, error) {
	t, c := f.track, f.config
	sl, err := w.place(o, &stream{
		UserID: t.info.UserID, StreamID: t.info.StreamID, Source: t.info.Source, Nickname: t.info.Nickname, Role: t.info.Role,
		Type: t.kind(), Codec: t.codec, Private: c.private,
		Width: c.width, Height: c.height, SampleRate: c.sampleRate, Channels: c.channels,
	}, f.ts)
	if err != nil {
		return nil, err
	}
	sl.owner, sl.config = t, c
	return sl, nil
}

// place adds a stream, whose first frame is at a time of the recording, to a file, or to a new one when o is nil or full.
func (w *writer) place(o *output, s *stream, at time.Duration) (*slot, error) {
	if o != nil {
		sl, err := o.addStream(s)
		switch {
		case err == nil:
			w.outputOf[sl] = o
			return sl, w.extended(o)
		case !errors.Is(err, errHeadFull):
			return nil, fmt.Errorf("%w %s: %w", ErrWrite, o.name, err)
		}
	}
	o, err := w.create(s, at)
	if err != nil {
		return nil, err
	}
	sl, err := o.addStream(s)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrWrite, o.name, err)
	}
	w.outputs = append(w.outputs, o)
	w.outputOf[sl] = o
	if err := w.extended(o); err != nil {
		return nil, err
	}
	return sl, w.earlyChat()
}

// create makes a file for a stream. It begins at its first frame, but for what is to be mixed: that has the class's times.
func (w *writer) create(s *stream, at time.Duration) (*output, error) {
	if w.opts.mixes() {
		at = 0
	}
	head := fileHead{docType: "matroska", begin: w.opts.Begin.Add(at), room: headRoomFile}
	base := "recording"
	if w.opts.perUser() {
		base, head.room = fileName(s.Nickname, s.UserID), headRoomUser
	}
	ext := ".mkv"
	if w.opts.Format == WebM && !w.opts.mixes() && inWebM(s.Codec) {
		ext, head.docType = ".webm", "webm"
	}
	name := base + ext
	for n := 2; w.taken(name); n++ {
		name = fmt.Sprintf("%s-%d%s", base, n, ext)
	}
	f, err := w.r.open(filepath.Join(w.opts.Dir, name))
	if err == nil {
		f = countedFile{f, &w.r.counts}
	}
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrWrite, name, err)
	}
	o, err := newOutput(name, f, head)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w %s: %w", ErrWrite, name, err), f.Close())
	}
	o.origin = at
	w.manifest.Outputs = append(w.manifest.Outputs, manifestOutput{Name: name, Origin: at})
	return o, nil
}

// taken reports whether a file must not have the name: another has it, or has had it in a recording that this one
// continues, or it is that of a file of another kind.
func (w *writer) taken(name string) bool {
	key := nameKey(name)
	same := func(other string) bool { return nameKey(other) == key }
	if slices.ContainsFunc(w.outputs, func(o *output) bool { return same(o.name) }) {
		return true
	}
	others := []string{"recording", "class", trimExt(chatName)}
	return slices.ContainsFunc(w.opts.Avoid, same) || w.opts.perUser() && slices.ContainsFunc(others, same)
}

// extended follows up a change of a file's tracks.
func (w *writer) extended(o *output) error {
	if err := w.contain(o); err != nil {
		return err
	}
	return w.save()
}

// contain makes a WebM that has got H264 an MKV.
func (w *writer) contain(o *output) error {
	if o.head.docType == "webm" && slices.ContainsFunc(o.slots, func(s *slot) bool { return !inWebM(s.Codec) }) {
		name := trimExt(o.name) + ".mkv"
		head := o.head
		head.docType = "matroska"
		// The document type is longer, and every position counts from behind it.
		start, err := head.segmentStart()
		if err != nil {
			return fmt.Errorf("%w %s: %w", ErrWrite, o.name, err)
		}
		if err := os.Rename(filepath.Join(w.opts.Dir, o.name), filepath.Join(w.opts.Dir, name)); err != nil {
			return fmt.Errorf("%w %s: %w", ErrWrite, o.name, err)
		}
		for i := range w.manifest.Outputs {
			if w.manifest.Outputs[i].Name == o.name {
				w.manifest.Outputs[i].Name = name
			}
		}
		o.name, o.head, o.segmentStart = name, head, start
		o.headDirty = true
	}
	return nil
}

// save brings the manifest up to date.
func (w *writer) save() error {
	for i := range w.manifest.Outputs {
		m := &w.manifest.Outputs[i]
		for _, o := range w.outputs {
			if o.name == m.Name {
				m.Streams, m.DocType, m.Room = o.head.streams, o.head.docType, o.head.room
			}
		}
	}
	if err := w.manifest.save(w.opts.Dir); err != nil {
		return fmt.Errorf("%w: %w", ErrWrite, err)
	}
	return nil
}

// message writes a line of chat: into chat.vtt, and for TypeFile into the file as well.
func (w *writer) message(m ChatMessage) error {
	if w.chat == nil {
		c, err := newChatFile(w.r.open, w.opts.Dir)
		if err != nil {
			return err
		}
		w.chat = c
	}
	at := w.at(m)
	if err := w.chat.write(at, m); err != nil {
		return err
	}
	if w.opts.Type != TypeFile {
		return nil
	}
	if len(w.outputs) == 0 {
		if len(w.early) < maxEarlyChat {
			w.early = append(w.early, m)
		}
		return nil
	}
	return w.subtitle(at, m)
}

// earlyChat writes the chat that came before the file was there.
func (w *writer) earlyChat() error {
	early := w.early
	w.early = nil
	for _, m := range early {
		if err := w.subtitle(w.at(m), m); err != nil {
			return err
		}
	}
	return nil
}

// at is when a message came.
func (w *writer) at(m ChatMessage) time.Duration {
	return min(max(m.At.Sub(w.opts.Begin), 0), maxDuration)
}

func (w *writer) subtitle(at time.Duration, m ChatMessage) error {
	o := w.outputs[0]
	var sub *slot
	for _, s := range o.slots {
		if s.Type == trackSubtitle {
			sub = s
		}
	}
	if sub == nil {
		s, err := o.addStream(&stream{Type: trackSubtitle, Codec: codecWebVTT})
		if err != nil {
			return fmt.Errorf("%w %s: %w", ErrWrite, o.name, err)
		}
		w.outputOf[s] = o
		if err := w.save(); err != nil {
			return err
		}
		sub = s
	}
	text := "\n\n" + trackText(chatText(m)) // no identifier, no settings
	return o.subtitle(sub, max(at-o.origin, 0), []byte(text))
}

// finish makes every file final, after an error as well; err is why the recording broke off, if it did.
func (w *writer) finish(err error) error {
	errs := []error{err}
	for i := range w.manifest.Outputs {
		m := &w.manifest.Outputs[i]
		for _, o := range w.outputs {
			if o.name != m.Name {
				continue
			}
			errs = append(errs, o.finish())
			o.describe(m)
		}
	}
	if err := w.closeStates(); err != nil {
		w.manifest.warn("The picture is arranged without all that happened in the class: the disk refused to note it.")
	}
	if w.chat != nil {
		errs = append(errs, w.chat.close())
		w.manifest.Chat = true
	}
	w.manifest.State = stateWritten
	if err = errors.Join(errs...); err != nil {
		w.manifest.WriteError, w.manifest.cause = err.Error(), err
	}
	if w.manifest.save(w.opts.Dir) != nil {
		w.manifest.unsaved = true // conclude tries again, and tells
	}
	return err
}
