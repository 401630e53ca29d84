// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/classrec/classrec/server/internal/recorder"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// class is the recording of one class, from ClassBegin on.
type class struct {
	manifest manifest
	dir      string // of the recording, absolute
	rec      *recorder.Recording
	refused  map[talkcloud.UserID]recorder.Gap // who could not publish; guarded by the room's mutex
	log      *slog.Logger
	warned   []string // guarded by the room's mutex
}

// chat records a line. One that comes while the class ends is lost with it.
func (c *class) chat(m recorder.ChatMessage) {
	if !c.manifest.RecordChat {
		return
	}
	if err := c.rec.WriteChat(m); err != nil && !errors.Is(err, recorder.ErrStopped) {
		c.log.Warn("chat message not recorded", "error", err)
	}
}

// beginClass does pubMsg of ClassBegin: it starts the recording first, and tells the room only when there is one. The
// directory and files are made without the room's mutex; classes of one room begin one after the other.
//
// Whatever stands in the message, the class is recorded: what is not understood has its default, and is said in the log
// and in the recording. One that is published while its own class goes on changes the message alone.
func (p *participant) beginClass(in incoming, ack ackFunc) error {
	s, r := p.server, p.room
	if !p.ours && !s.classPace.allow(r.id, s.cfg.Now(), s.cfg.ClassesPerMinute) {
		return s.over(limitClassRate, "a room has %d classes a minute at most", s.cfg.ClassesPerMinute)
	}
	r.beginning.Lock()
	defer r.beginning.Unlock()
	if done, err := r.updateClass(p, in, ack); done {
		return err
	}
	begin, warnings := readBeginning(in)
	if err := s.recorder.Check(begin.options("")); err != nil {
		if p.recorder { // whoever asked for it through the service is told
			return s.refusedRecording(err)
		}
		warnings = append(warnings, begin.withoutFFmpeg())
	}
	if err := s.space.check(); err != nil {
		return s.over(limitDisk, "the disk is nearly full: no class can be recorded")
	}
	c, err := s.startClass(manifest{
		Room: r.id, UserID: p.id, RecordType: begin.RecordType, Convert: begin.Convert, Layout: begin.Layout,
		RecordChat: begin.RecordChat,
	})
	if err != nil {
		return s.notStarted(r.id, err)
	}
	for _, text := range warnings {
		c.rec.Warn(text)
	}
	if len(warnings) > 0 {
		c.log.Warn("ClassBegin asks for what is not understood; the class is recorded with defaults", "user", p.id, "warnings", warnings)
	}
	if err := r.announceClass(p, in, c, ack); err != nil {
		s.discard(c)
		return err
	}
	return nil
}

// notStarted is what is said of a class that could not begin.
func (s *Server) notStarted(id talkcloud.RoomID, err error) error {
	if errors.Is(err, errTooSoon) {
		return s.over(limitClassRate, "the room's classes begin faster than the clock goes")
	}
	s.log.Error("recording not started", "room", id, "error", err)
	return s.refusedRecording(err)
}

// updateClass takes a ClassBegin of the class that goes on: of the same ts, or by who began it. Its recording goes on as it
// is. done is false for one of another class.
func (r *room) updateClass(p *participant, in incoming, ack ackFunc) (done bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.class.Load()
	switch {
	case p.gone:
		return true, refuse(codeFailure, reasonNotJoined, "no longer in the room")
	case c == nil || r.begin == nil || c.manifest.UserID != p.id && in.claimed != c.manifest.RecordTS:
		return false, nil
	}
	if begin, _ := readBeginning(in); begin != c.beginning() {
		c.warn("published again with other options, which a recording that goes on does not take")
	}
	old := r.begin
	r.begin = nil
	r.forget(old)
	r.tellClass(p, in, c, ack)
	return true, nil
}

// announceClass makes a started class the room's. One that goes on ends by it, and the room is told.
func (r *room) announceClass(p *participant, in incoming, c *class, ack ackFunc) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.gone {
		return refuse(codeFailure, reasonNotJoined, "no longer in the room")
	}
	if old := r.begin; old != nil {
		r.forget(old)
		r.deleted(old, p.id)
	}
	r.class.Store(c)
	r.noteStreams(nil)
	r.noteSilences(c)
	for _, st := range r.liveStreams() {
		st.session.recordRefusals(c)
	}
	r.attended = slices.ContainsFunc(r.list, takesPart)
	r.tellClass(p, in, c, ack)
	r.settle()
	return nil
}

// tellClass keeps the message of a class and passes it on. It is kept whatever the room has place for; a data too large for
// what its sender may cause is left out.
func (r *room) tellClass(p *participant, in incoming, c *class, ack ackFunc) {
	ts := talkcloud.Timestamp(c.manifest.RecordTS)
	raw := r.stamp(p, &in, ts)
	if r.spend(p, target{}, len(raw)) != nil && len(in.Data) > 0 {
		c.warn("the data is too large to be passed on, and was left out")
		in.members = bare(in.members)
		raw = r.stamp(p, &in, ts)
	}
	expires := expiry(in.Message, r.server.cfg.Now())
	if !expires.IsZero() && !expires.After(r.server.cfg.Now()) {
		expires = time.Time{}
		c.warn("expires before it begins, which is taken for never")
	}
	r.begin = r.keep(p, in, raw, expires)
	r.seq++
	answer(ack, ok)
	r.deliverClass(in.target, p, raw)
}

// isClass reports whether an id is that of the message of the class that goes on.
func (r *room) isClass(id string) bool { return r.begin != nil && r.begin.message.ID == id }

// endClass ends the class, if there is one: its media stop at once, its files are finished in the background.
func (r *room) endClass() {
	if c := r.class.Swap(nil); c != nil {
		r.server.finish(c)
	}
}

// warn notes something in the recording, and says it in the log the first time. The room's mutex is held.
func (c *class) warn(text string) {
	if !slices.Contains(c.warned, text) {
		c.warned = append(c.warned, text) // one of a few constants
		c.log.Warn("ClassBegin is odd", "warning", text)
		c.rec.Warn(text)
	}
}

// beginning is what ClassBegin asks for.
type beginning struct{ talkcloud.ClassBegin }

// beginning is how the class is recorded.
func (c *class) beginning() beginning {
	m := c.manifest
	return beginning{talkcloud.ClassBegin{
		RecordType: m.RecordType, HasRecordType: true, Convert: m.Convert, Layout: m.Layout, RecordChat: m.RecordChat,
	}}
}

// readBeginning reads ClassBegin. Where it says nothing of the record type, it is a list: one file for each publisher, as
// in the vendor's web client. A warning tells of what is not understood.
func readBeginning(in incoming) (beginning, []string) {
	b, warnings := talkcloud.ReadClassBegin(in.Data)
	if in.target.unknown {
		warnings = append(warnings, fmt.Sprintf("toID %.40q is not known; everybody was told", in.To))
	}
	return beginning{b}, warnings
}

// withoutFFmpeg makes of a beginning one that needs no ffmpeg, and says so.
func (b *beginning) withoutFFmpeg() (warning string) {
	asked := "MP4"
	switch b.RecordType {
	case talkcloud.RecordTypeMP3:
		asked, b.RecordType = "MP3", talkcloud.RecordTypeList
	case talkcloud.RecordTypeMix:
		asked, b.RecordType = "MIX", talkcloud.RecordTypeList
	}
	if b.Convert == talkcloud.ConvertMP4 {
		b.Convert = talkcloud.ConvertNone
	}
	return asked + " needs ffmpeg, which is not installed; Matroska is recorded"
}

// The recorder's words for those of ClassBegin.
func formats() map[int]recorder.Format {
	return map[int]recorder.Format{
		talkcloud.ConvertNone: recorder.MKV, talkcloud.ConvertWebM: recorder.WebM, talkcloud.ConvertMP4: recorder.MP4,
	}
}

func types() map[int]recorder.Type {
	return map[int]recorder.Type{
		talkcloud.RecordTypeFile: recorder.TypeFile, talkcloud.RecordTypeList: recorder.TypeList,
		talkcloud.RecordTypeMP3: recorder.TypeMP3, talkcloud.RecordTypeMix: recorder.TypeMix,
	}
}

func layouts() map[int]recorder.Layout {
	return map[int]recorder.Layout{
		talkcloud.LayoutLandscape: recorder.Landscape, talkcloud.LayoutPortrait: recorder.Portrait,
	}
}

func (b beginning) options(dir string) recorder.Options {
	return recorder.Options{
		Dir: dir, Format: formats()[b.Convert], Type: types()[b.RecordType], Layout: layouts()[b.Layout], Chat: b.RecordChat,
	}
}

// beginningOf is what was asked for, of a recording with these options.
func beginningOf(o recorder.Options) beginning {
	var b beginning
	for n, v := range formats() {
		if v == o.Format {
			b.Convert = n
		}
	}
	for n, v := range types() {
		if v == o.Type {
			b.RecordType = n
		}
	}
	for n, v := range layouts() {
		if v == o.Layout {
			b.Layout = n
		}
	}
	b.RecordChat = o.Chat
	return b
}

func (s *Server) refusedRecording(err error) error {
	switch {
	case errors.Is(err, recorder.ErrNeedsFFmpeg):
		return refuse(codeFailure, reasonFFmpeg, err.Error()+" where the platform runs")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return s.over(limitDisk, "the disk is full: no class can be recorded")
	}
	return refuse(codeWriteFailed, reasonRecording, "the recording could not be started")
}

// startClass makes the directory of a recording and starts it. Classes begin on the hour, all at once: a few at a time
// are started, because each that waits for the disk holds a thread.
func (s *Server) startClass(m manifest) (*class, error) {
	dir, err := s.makeClassDir(&m)
	if err != nil {
		return nil, err
	}
	c := &class{manifest: m, dir: dir, log: s.log.With("room", m.Room, "recordts", m.RecordTS)}
	options := c.beginning().options(dir)
	options.Logger, options.Avoid = c.log, s.archive.takenNames(m.Room)
	if c.rec, err = s.recorder.Start(options); err != nil {
		return nil, errors.Join(err, s.archive.remove(m))
	}
	return c, nil
}

// How long a class waits for the clock, of whose seconds the room has used up those that there are.
const (
	clockWait  = 250 * time.Millisecond
	clockWaits = 12
)

// makeClassDir gives a class its ts and its directory. The ts is never more than maxAhead before the clock: the class
// waits instead, for a few seconds at most.
func (s *Server) makeClassDir(m *manifest) (dir string, err error) {
	for range clockWaits {
		s.starters <- struct{}{}
		dir, err = s.archive.create(m, s.cfg.Now())
		<-s.starters
		if !errors.Is(err, errTooSoon) {
			return dir, err
		}
		select {
		case <-time.After(clockWait):
		case <-s.closing.Done():
			return "", err
		}
	}
	return "", err
}

// finish ends a recording and lists it, in the background, at most Config.Finalizers at once. It is called for each
// class once, by whoever took it out of its room, while its Server is not closed.
func (s *Server) finish(c *class) {
	c.manifest.EndTS = max(s.cfg.Now().Unix(), c.manifest.RecordTS)
	places := s.finishers
	if c.manifest.converts() {
		places = s.converters
	}
	stop := func() error {
		places <- struct{}{}
		defer func() { <-places }()
		files, err := c.rec.Stop(s.hurry)
		return s.list(c.manifest, files, err)
	}
	s.finishing.Go(func() {
		if err := untilSaved(s.closing, stop); err != nil {
			c.log.Error("recording is left to be listed at the next start", "error", err)
		}
	})
}

// How long a disk that had no room for the end of a recording is left alone: first, and at most.
const (
	minRetry = 500 * time.Millisecond
	maxRetry = 30 * time.Second
)

// untilSaved repeats an attempt until the disk takes it; when ctx ends, there is one more. Between attempts nothing is
// held but the goroutine. The error is the last attempt's.
func untilSaved(ctx context.Context, attempt func() error) error {
	for wait := minRetry; ; wait = min(2*wait, maxRetry) {
		last := ctx.Err() != nil
		err := attempt()
		if err == nil || last {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// list puts a finished recording into the record list, unless finishing it was broken off. The error says that the disk
// refuses what is to be kept of it: it is not listed, and finishing it is to be repeated.
func (s *Server) list(m manifest, files []recorder.File, err error) error {
	log := s.log.With("room", m.Room, "recordts", m.RecordTS)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		log.Warn("recording is left to be finished at the next start", "error", err)
		return nil
	}
	if errors.Is(err, recorder.ErrUnsaved) {
		log.Warn("recording not listed yet", "error", err)
		return err
	}
	if err != nil {
		log.Error("recording finished with an error; what there is of it is listed", "error", err)
	}
	for _, f := range files {
		m.Files = append(m.Files, finishedFile(f))
	}
	if err := m.takeNotes(s.archive.path(m)); err != nil {
		log.Warn("gaps and warnings of a recording not listed", "error", err)
	}
	if err := s.archive.finish(m); err != nil {
		log.Warn("recording not listed yet", "error", err)
		return fmt.Errorf("list recording: %w", err)
	}
	return nil
}

// takeNotes takes over the gaps and warnings of the recording in dir.
func (m *manifest) takeNotes(dir string) error {
	gaps, warnings, err := recorder.Notes(dir)
	if errors.Is(err, recorder.ErrNoManifest) {
		return nil
	}
	m.Warnings = warnings
	for _, g := range gaps {
		gap := talkcloud.RecordGap{
			UserID: talkcloud.UserID(g.UserID), StartMS: g.Start.UnixMilli(), EndMS: m.EndTS * 1000, Reason: g.Reason,
		}
		if g.Kind != 0 {
			gap.Kind = g.Kind.String()
		}
		if !g.End.IsZero() {
			gap.EndMS = g.End.UnixMilli()
		}
		gap.EndMS = max(gap.EndMS, gap.StartMS)
		m.Gaps = append(m.Gaps, gap)
	}
	return err
}

// discard throws away a recording that nobody was told of.
func (s *Server) discard(c *class) {
	if _, err := c.rec.Stop(s.hurry); err != nil {
		c.log.Debug("stop of a discarded recording", "error", err)
	}
	if err := s.archive.remove(c.manifest); err != nil {
		c.log.Warn("discarded recording not removed", "error", err)
	}
}

// Recover finishes the recordings that were going on when an earlier server of this directory ended, and lists them,
// Config.Finalizers at a time. It takes the time that converting takes, and may run beside everything else; Close waits
// for it only if the caller does. While the disk has no room it tries again. What cannot be finished is logged, and listed with the files that there are. The
// error is the context's.
func (s *Server) Recover(ctx context.Context) error {
	var workers sync.WaitGroup
	for range s.cfg.Finalizers {
		workers.Go(func() {
			for ctx.Err() == nil && s.recoverOne(ctx) {
			}
		})
	}
	workers.Wait()
	return ctx.Err()
}

// recoverOne tells whether there was one to recover.
func (s *Server) recoverOne(ctx context.Context) bool {
	m, ok := s.archive.takePending()
	if !ok {
		return false
	}
	err := untilSaved(ctx, func() error {
		files, err := s.recorder.Recover(ctx, s.archive.path(m))
		if err := ctx.Err(); err != nil {
			return err
		}
		if errors.Is(err, recorder.ErrNoManifest) {
			err = nil // the server was killed before there was anything
		}
		for _, f := range files {
			m.EndTS = max(m.EndTS, m.RecordTS+int64(f.Duration.Seconds()))
		}
		return s.list(m, files, err)
	})
	if err != nil {
		s.archive.returnPending(m)
	}
	return true
}
