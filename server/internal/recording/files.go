// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"context"
	"math"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/durationpb"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// poll looks for the files of a recording in PROCESSING until the platform
// lists them or its deadline has passed.
func (w *worker) poll(ctx context.Context, t *tenure, e *store.Entry) {
	id := e.Record.GetId()
	if w.polling[id] {
		return
	}
	w.polling[id] = true
	w.child(ctx, func() func() {
		outcome := w.s.awaitFiles(t.ctx, e.Record) //nolint:contextcheck // made of ctx, it ends with the tenure too
		return func() {
			delete(w.polling, id)
			if outcome != nil {
				w.apply(ctx, id, outcome)
			}
		}
	})
}

// awaitFiles returns listed or notListed, or nil when ctx ended.
func (s *Service) awaitFiles(ctx context.Context, rec *storev1.Record) (outcome event) {
	ctx, end := s.trace(ctx, rec, "await files")
	defer func() { end(missing(outcome)) }()
	deadline := rec.GetDeadline().AsTime()
	one, leave := s.pollers.enter(rec.GetRecording().GetRoom(), rec.GetId())
	defer leave()
	pause := s.cfg.PollMin
	look := search{s: s, rec: rec}
	for {
		moved := s.cfg.Clock.Moved()
		changed, done, err := look.again(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case done && err == nil:
			return look.listed()
		case !s.now().Before(deadline):
			return look.giveUp(ctx, err)
		case changed:
			pause = s.cfg.PollMin
		}
		wait := max(time.Millisecond, min(pause, s.cfg.Clock.Until(deadline), look.settling()))
		s.pollers.note(one, s.now().Add(wait), err)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
			pause = min(2*pause, s.cfg.PollMax)
		case <-one.nudges:
			pause = s.cfg.PollMin
		case <-moved:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// search is the look-out for the files of one recording.
type search struct {
	s   *Service
	rec *storev1.Record

	findings           // as last listed
	since    time.Time // the platform has listed just these
	told     bool      // the log knows that they cannot be fetched
}

// findings are what the platform tells of a recording.
type findings struct {
	files    []*classrecv1.RecordingFile
	gaps     []*classrecv1.RecordingGap
	warnings []string
	parts    int  // of how many parts of the class they are
	done     bool // the platform calls the recording finished: this is all there is
}

func (f findings) listed() listed {
	return listed{files: f.files, gaps: f.gaps, warnings: f.warnings}
}

// again looks once. changed says that the list is another one than before, and
// done that all is listed; then err is nil when all of it can be fetched now.
func (l *search) again(ctx context.Context) (changed, done bool, err error) {
	found, err := l.s.findFiles(ctx, l.rec)
	if err != nil {
		return false, false, err
	}
	if changed = !sameURLs(found.files, l.files); changed {
		l.since = l.s.now()
	}
	l.findings = found // of the same URLs, the platform may tell more by now
	done = found.done
	if len(found.files) > 0 && !done && found.parts >= len(l.rec.GetRecordTs()) {
		// Without the platform's word that all is there, an answer that stays
		// the same is the best evidence there is; not while a whole part of the
		// class is missing.
		done = l.s.cfg.Clock.Since(l.since) >= l.s.cfg.SettleTime
	}
	if !done {
		return changed, false, nil
	}
	return changed, true, l.fetchable(ctx)
}

// settling returns for how long the list has yet to stay as it is; if nothing is
// listed, or it has stayed for long enough, longer than anything.
func (l *search) settling() time.Duration {
	if left := l.s.cfg.Clock.Until(l.since.Add(l.s.cfg.SettleTime)); len(l.files) > 0 && l.parts >= len(l.rec.GetRecordTs()) && left > 0 {
		return left
	}
	return math.MaxInt64
}

// giveUp tells how it ends when the time is up: with what is listed, if that
// can be fetched.
func (l *search) giveUp(ctx context.Context, err error) event {
	if len(l.files) == 0 {
		return notListed{status: l.s.cfg.Status(errFilesNotListed(public(err)))}
	}
	switch err := l.fetchable(ctx); {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return notListed{status: l.s.cfg.Status(err), files: l.files}
	}
	if all := len(l.rec.GetRecordTs()); l.parts < all {
		l.s.logOf(l.rec).Warn("the platform has not listed every part of the class in time; the recording is what it has listed", "parts", all, "listed", l.parts)
	}
	return l.listed()
}

const (
	// maxFileChecks is how many files of one recording are asked for at once.
	maxFileChecks = 8
	// fileCheckTimeout bounds one check of all files of a recording.
	fileCheckTimeout = time.Minute
)

// fetchable asks for all files, and returns which one cannot be fetched.
func (l *search) fetchable(ctx context.Context) error {
	if l.s.cfg.SkipFileCheck {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, fileCheckTimeout)
	defer cancel()
	group, each := errgroup.WithContext(bounded)
	group.SetLimit(maxFileChecks)
	for i, f := range l.files {
		group.Go(func() error {
			if err := l.s.cfg.Fetchable(each, f.GetUrl()); err != nil {
				return errFilesNotFetchable(i+1, len(l.files), public(err))
			}
			return nil
		})
	}
	err := group.Wait()
	if err != nil && !l.told && ctx.Err() == nil {
		l.told = true
		l.s.logOf(l.rec).Info("the files are listed, and cannot be fetched yet", "error", err)
	}
	return err
}

// findFiles asks the platform once. A class that was begun again has several
// parts, each with files of its own.
func (s *Service) findFiles(ctx context.Context, rec *storev1.Record) (found findings, err error) {
	if s.cfg.RichRecordList {
		items, err := s.items(ctx, rec.GetRecording().GetRoom())
		if err != nil {
			return findings{}, err
		}
		for _, part := range rec.GetRecordTs() { // the list may have them newest first
			for _, item := range items {
				if ts, ok := startTime(item); ok && ts == part {
					found.addPart(item, time.Duration(ts-rec.GetRecordTs()[0])*time.Second)
				}
			}
		}
		if found.parts > 0 {
			found.done = found.parts >= len(rec.GetRecordTs())
			return found, nil
		}
	}
	found.files, found.parts, err = s.findURLs(ctx, rec)
	return found, err
}

// addPart takes over what the platform tells of one part of a class, which
// began so long after the class.
func (f *findings) addPart(item talkcloud.RecordListItem, after time.Duration) {
	f.parts++
	for _, file := range itemFiles(item) {
		if file.GetStartOffset() != nil {
			file.StartOffset = durationpb.New(file.GetStartOffset().AsDuration() + after)
		}
		f.files = append(f.files, file)
	}
	f.gaps = append(f.gaps, itemGaps(item)...)
	f.warnings = append(f.warnings, itemWarnings(item)...)
}

// items asks getrecordlist for a room; none when it does not know the room.
func (s *Service) items(ctx context.Context, roomID string) ([]talkcloud.RecordListItem, error) {
	items, err := s.platform.RecordList(ctx, talkcloud.RecordListQuery{Room: talkcloud.RoomID(roomID)})
	if err != nil && talkcloud.KindOf(err) != talkcloud.KindNotFound {
		return nil, err
	}
	return items, nil
}

// findURLs asks getUserRecordlist in both of the document's ways: by recordts
// and room; and, where the recording has a user id of its own, by that, which
// lists all parts at once.
func (s *Service) findURLs(ctx context.Context, rec *storev1.Record) (files []*classrecv1.RecordingFile, parts int, err error) {
	r := rec.GetRecording()
	var urls []string
	for _, ts := range rec.GetRecordTs() {
		part, err := s.platform.UserRecordList(ctx, talkcloud.RecordQuery{Room: talkcloud.RoomID(r.GetRoom()), RecordTS: ts})
		if err != nil {
			return nil, 0, err
		}
		if len(part) > 0 {
			parts++
		}
		urls = append(urls, part...)
	}
	if len(urls) == 0 && r.GetUserId() != "" && rec.GetOwnUserId() {
		own, err := s.platform.UserRecordList(ctx, talkcloud.RecordQuery{UserID: talkcloud.UserID(r.GetUserId())})
		if err != nil {
			return nil, 0, err
		}
		urls, parts = own, len(rec.GetRecordTs())
	}
	for _, u := range urls {
		files = append(files, &classrecv1.RecordingFile{Url: u})
	}
	return files, parts, nil
}

// startTime returns when the recording of an entry began, in Unix seconds.
func startTime(item talkcloud.RecordListItem) (ts int64, ok bool) {
	return item.StartTime.Int()
}

func sameURLs(a, b []*classrecv1.RecordingFile) bool {
	return slices.EqualFunc(a, b, func(a, b *classrecv1.RecordingFile) bool { return a.GetUrl() == b.GetUrl() })
}
