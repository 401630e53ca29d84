// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	log      *slog.Logger
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
func (p *participant) beginClass(m talkcloud.Message, ack ackFunc) error {
	s, r := p.server, p.room
	begin, err := classBegin(m)
	if err != nil {
		return err
	}
	if err := s.recorder.Check(begin.options("")); err != nil {
		return s.refusedRecording(err)
	}
	if err := s.space.check(); err != nil {
		return s.over(limitDisk, "the disk is nearly full: no class can be recorded")
	}
	r.beginning.Lock()
	defer r.beginning.Unlock()
	c, err := s.startClass(manifest{
		Room: r.id, RecordTS: s.archive.nextBegin(r.id, s.cfg.Now()), UserID: p.id,
		RecordType: begin.RecordType, Convert: begin.Convert, Layout: begin.Layout, RecordChat: begin.RecordChat,
	})
	if err != nil {
		s.log.Error("recording not started", "room", r.id, "error", err)
		return s.refusedRecording(err)
	}
	if err := r.announceClass(p, m, c, ack); err != nil {
		s.discard(c)
		return err
	}
	return nil
}

// announceClass makes a started class the room's, in place of one that goes on.
func (r *room) announceClass(p *participant, m talkcloud.Message, c *class, ack ackFunc) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.gone {
		return refuse(codeFailure, reasonNotJoined, "no longer in the room")
	}
	if err := r.publish(p, m, talkcloud.Timestamp(c.manifest.RecordTS), ack); err != nil {
		return err
	}
	r.endClass()
	r.class.Store(c)
	r.noteStreams(nil)
	r.noteSilences(c)
	return nil
}

// endClass ends the class, if there is one: its media stop at once, its files are finished in the background.
func (r *room) endClass() {
	if c := r.class.Swap(nil); c != nil {
		r.server.finish(c)
	}
}

// beginning is what ClassBegin asks for.
type beginning struct{ talkcloud.ClassBegin }

// classBegin reads the data of ClassBegin. Where it says nothing of the record type, it is a list: one file for each
// publisher, as in the vendor's web client.
func classBegin(m talkcloud.Message) (beginning, error) {
	b, err := talkcloud.ParseClassBegin(m.Data)
	if err != nil {
		b = talkcloud.ClassBegin{} // data of another shape says nothing of the recording
	}
	if !b.HasRecordType {
		b.RecordType = talkcloud.RecordTypeList
	}
	switch {
	case b.RecordType < talkcloud.RecordTypeFile || b.RecordType > talkcloud.RecordTypeMix:
		return beginning{}, refuse(codeField, reasonClass, "recordtype is not 0 to 3")
	case b.Convert < talkcloud.ConvertNone || b.Convert > talkcloud.ConvertMP4:
		return beginning{}, refuse(codeField, reasonClass, "convert is not 0 to 2")
	case b.Layout < talkcloud.LayoutLandscape || b.Layout > talkcloud.LayoutPortrait:
		return beginning{}, refuse(codeField, reasonClass, "layout is not 0 or 1")
	}
	return beginning{b}, nil
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
	s.starters <- struct{}{}
	defer func() { <-s.starters }()
	dir, err := s.archive.create(m)
	if err != nil {
		return nil, err
	}
	begin := beginning{talkcloud.ClassBegin{
		RecordType: m.RecordType, Convert: m.Convert, Layout: m.Layout, RecordChat: m.RecordChat,
	}}
	log := s.log.With("room", m.Room, "recordts", m.RecordTS)
	options := begin.options(dir)
	options.Logger = log
	rec, err := s.recorder.Start(options)
	if err != nil {
		return nil, errors.Join(err, s.archive.remove(m))
	}
	return &class{manifest: m, dir: dir, rec: rec, log: log}, nil
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
