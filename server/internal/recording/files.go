// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"cmp"
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
			return listed{files: look.files}
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

	files []*classrecv1.RecordingFile // as last listed
	parts int                         // of how many parts of the class they are
	since time.Time                   // the platform has listed just these
	told  bool                        // the log knows that they cannot be fetched
}

// again looks once. changed says that the list is another one than before, and
// done that all is listed; then err is nil when all of it can be fetched now.
func (l *search) again(ctx context.Context) (changed, done bool, err error) {
	files, parts, done, err := l.s.findFiles(ctx, l.rec)
	if err != nil {
		return false, false, err
	}
	l.parts = parts
	if changed = !sameURLs(files, l.files); changed {
		l.since = l.s.now()
	}
	l.files = files // of the same URLs, the platform may tell more by now
	if len(files) > 0 && !done && parts >= len(l.rec.GetRecordTs()) {
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
	return listed{files: l.files}
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
// parts, each with files of its own: parts is how many of them are listed. done
// says that the platform calls the recording finished, so that what it lists is
// all there is.
func (s *Service) findFiles(ctx context.Context, rec *storev1.Record) (files []*classrecv1.RecordingFile, parts int, done bool, err error) {
	if s.cfg.RichRecordList {
		items, err := s.items(ctx, rec.GetRecording().GetRoom())
		if err != nil {
			return nil, 0, false, err
		}
		for _, part := range rec.GetRecordTs() { // the list may have them newest first
			for _, item := range items {
				if ts, ok := startTime(item); ok && ts == part {
					parts++
					files = append(files, itemFiles(item)...)
				}
			}
		}
		if parts > 0 {
			return files, parts, parts >= len(rec.GetRecordTs()), nil
		}
	}
	files, parts, err = s.findURLs(ctx, rec)
	return files, parts, false, err
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

// itemFiles returns the files of an entry of getrecordlist: all that the
// embedded platform tells of them, or the play addresses that TalkCloud gives,
// https before http.
func itemFiles(item talkcloud.RecordListItem) []*classrecv1.RecordingFile {
	var files []*classrecv1.RecordingFile
	for _, f := range item.Files {
		file := &classrecv1.RecordingFile{Url: f.URL, UserId: string(f.UserID), Size: f.Size, MediaType: f.MediaType}
		if f.DurationMS > 0 {
			file.Duration = durationpb.New(time.Duration(f.DurationMS) * time.Millisecond)
		}
		files = append(files, file)
	}
	if len(files) > 0 {
		return files
	}
	for _, either := range [][2]talkcloud.Scalar{
		{item.HTTPSPlayPathMP4, item.PlayPathMP4},
		{item.HTTPSPlayPath, item.PlayPath},
		{item.HTTPSPlayPathM4A, item.PlayPathM4A},
	} {
		if u := cmp.Or(either[0].String(), either[1].String()); u != "" {
			files = append(files, &classrecv1.RecordingFile{Url: u})
		}
	}
	return files
}

func sameURLs(a, b []*classrecv1.RecordingFile) bool {
	return slices.EqualFunc(a, b, func(a, b *classrecv1.RecordingFile) bool { return a.GetUrl() == b.GetUrl() })
}
