// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
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
			if outcome == nil {
				return
			}
			if found, ok := outcome.(listed); ok { // siblings may have taken some since
				found.files = without(found.files, w.s.siblingFiles(ctx, e.Record))
				outcome = found
			}
			w.apply(ctx, id, outcome)
			if found, ok := outcome.(listed); !ok || !found.complete {
				w.s.late.add(w.room, id, w.s.now())
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

	findings                    // as last listed
	listedIn map[int64][]string // by part: what getUserRecordlist gave of it
	next     int                // the part that is asked for next, where there are too many to ask for all
	since    time.Time          // the platform has listed just these
	told     bool               // the log knows that they cannot be fetched
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
	return listed{files: f.files, gaps: f.gaps, warnings: f.warnings, complete: f.done}
}

// again looks once. changed says that other files are listed than before, and
// done that all are; then err is nil when all of them can be fetched now.
func (l *search) again(ctx context.Context) (changed, done bool, err error) {
	found, err := l.find(ctx)
	if err != nil {
		return false, false, err
	}
	if changed = !sameFiles(found.files, l.files); changed {
		l.since = l.s.now()
	}
	l.findings = found // of the same files, the platform may tell more by now, or another URL
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

const (
	// windowSlack is by how much the clocks of a platform's parts may differ.
	windowSlack = time.Minute
	// maxPartsAtOnce is for how many parts of one recording getUserRecordlist is
	// asked in one look. More have their turn in the next looks.
	maxPartsAtOnce = 16
)

// findFiles asks the platform once.
func (s *Service) findFiles(ctx context.Context, rec *storev1.Record) (findings, error) {
	l := search{s: s, rec: rec}
	return l.find(ctx)
}

// find asks the platform once, for the time of the class. A class that was begun
// again has several parts, each with files of its own. An answer that is
// understood in part gives that part, and a warning; an error comes only with
// nothing.
func (l *search) find(ctx context.Context) (found findings, err error) {
	if len(l.rec.GetRecordTs()) == 0 {
		return findings{}, nil
	}
	if l.s.cfg.RichRecordList {
		if err = l.findItems(ctx, &found); ctx.Err() != nil || found.done || len(found.files) > 0 {
			return l.ownOf(ctx, found), ctx.Err()
		}
		found = findings{} // without a path, it is only mentioned
	}
	if urlErr := l.findURLs(ctx, &found); urlErr != nil && len(found.files) == 0 {
		return findings{}, cmp.Or(urlErr, err)
	}
	return l.ownOf(ctx, found), nil
}

// ownOf leaves out files that are listed twice, and those of other recordings
// that began in the same second.
func (l *search) ownOf(ctx context.Context, found findings) findings {
	found.files = without(once(found.files), l.s.siblingFiles(ctx, l.rec))
	bytes := 0
	for i, f := range found.files {
		if bytes += proto.Size(f); bytes > maxFilesBytes {
			found.warnings = appendWarning(found.warnings, fmt.Sprintf("the platform lists %d files; the first %d are kept", len(found.files), i))
			found.files = found.files[:i]
			break
		}
	}
	return found
}

// siblings returns the other recordings of the room that have a part of the same
// second, oldest name first.
func (s *Service) siblings(ctx context.Context, rec *storev1.Record, ts int64) []*store.Entry {
	same, _, _, _ := s.store.List(ctx, rec.GetTenant(), store.Filter{Room: rec.GetRecording().GetRoom(), RecordTime: ts}, store.Cursor{}, maxSameSecond)
	same = slices.DeleteFunc(same, func(e *store.Entry) bool { return e.Record.GetId() == rec.GetId() })
	slices.SortFunc(same, func(a, b *store.Entry) int { return cmp.Compare(a.Record.GetId(), b.Record.GetId()) })
	return same
}

// siblingFiles returns the files that are known to be theirs.
func (s *Service) siblingFiles(ctx context.Context, rec *storev1.Record) (files []*classrecv1.RecordingFile) {
	for _, ts := range rec.GetRecordTs() {
		for _, e := range s.siblings(ctx, rec, ts) {
			files = append(files, e.Record.GetRecording().GetFiles()...)
		}
	}
	return files
}

// findItems asks getrecordlist for the time of the class.
func (l *search) findItems(ctx context.Context, found *findings) error {
	parts := l.rec.GetRecordTs()
	from, to := time.Unix(slices.Min(parts), 0), time.Unix(slices.Max(parts), 0)
	if stop := l.rec.GetRecording().GetStopTime(); stop != nil && stop.AsTime().After(to) {
		to = stop.AsTime()
	}
	items, err := l.s.items(ctx, l.rec.GetRecording().GetRoom(), from.Add(-windowSlack), to.Add(windowSlack))
	if err != nil && len(items) == 0 {
		return err
	}
	finished := true
	for _, part := range parts { // the list may have them newest first
		of := l.s.itemsOf(ctx, l.rec, part, items)
		if len(of) > 0 {
			found.parts++
		}
		for _, item := range of {
			finished = finished && item.Files != nil
			found.add(item, time.Duration(part-parts[0])*time.Second)
		}
	}
	found.done = finished && found.parts >= len(parts)
	if err != nil && found.parts > 0 {
		found.warnings = appendWarning(found.warnings, public(err).Error())
	}
	return nil
}

// itemsOf returns the items of one part of a recording. Where several recordings
// began in that second, each has the item of its place among them, by id, and the
// last one what is left.
func (s *Service) itemsOf(ctx context.Context, rec *storev1.Record, part int64, items []talkcloud.RecordListItem) (of []talkcloud.RecordListItem) {
	for _, item := range items {
		if ts, ok := startTime(item); ok && ts == part {
			of = append(of, item)
		}
	}
	place, others := 0, s.siblings(ctx, rec, part)
	for _, e := range others {
		if e.Record.GetId() < rec.GetId() {
			place++
		}
	}
	if len(others) == 0 || rec.GetId() == "" || len(of) == 0 {
		return of
	}
	slices.SortStableFunc(of, func(a, b talkcloud.RecordListItem) int {
		return cmp.Or(cmp.Compare(a.RecordTitle.String(), b.RecordTitle.String()), cmp.Compare(a.RecordID.String(), b.RecordID.String()))
	})
	of = of[min(place, len(of)):]
	if place < len(others) {
		of = of[:min(1, len(of))]
	}
	return of
}

// add takes over what the platform tells of one part of a class, which began so
// long after the class.
func (f *findings) add(item talkcloud.RecordListItem, after time.Duration) {
	for _, file := range itemFiles(item) {
		if file.GetStartOffset() != nil {
			file.StartOffset = durationpb.New(file.GetStartOffset().AsDuration() + after)
		}
		f.files = append(f.files, file)
	}
	f.gaps = append(f.gaps, itemGaps(item)...)
	f.warnings = append(f.warnings, itemWarnings(item)...)
}

// items asks getrecordlist for the recordings of a room that began in a time, and
// where those are too many for one answer, batchGetRecord, or for smaller times.
// There are none where the platform does not know the room. What is understood
// comes with the error.
func (s *Service) items(ctx context.Context, roomID string, from, to time.Time) (items []talkcloud.RecordListItem, odd error) {
	query := talkcloud.RecordListQuery{Room: talkcloud.RoomID(roomID), From: from, To: to}
	items, odd = s.platform.RecordList(ctx, query)
	if talkcloud.KindOf(odd) == talkcloud.KindNotFound {
		odd = nil
	}
	if !errors.Is(odd, talkcloud.ErrTooLarge) || to.Sub(from) < 2*time.Second {
		return items, odd
	}
	if to.Sub(from) <= batchWindow {
		if items, err := s.batch(ctx, query); err == nil {
			return items, nil
		}
	}
	middle := from.Add(to.Sub(from) / 2).Truncate(time.Second)
	later, err := s.items(ctx, roomID, middle.Add(time.Second), to)
	if err != nil && len(later) == 0 || ctx.Err() != nil {
		return nil, err
	}
	earlier, odd := s.items(ctx, roomID, from, middle)
	return append(later, earlier...), cmp.Or(odd, err)
}

const (
	// batchWindow is the longest time that batchGetRecord takes.
	batchWindow = 31 * 24 * time.Hour
	// maxBatchPages is how many of its pages are asked for.
	maxBatchPages = 100
)

// batch asks batchGetRecord for all pages.
func (s *Service) batch(ctx context.Context, query talkcloud.RecordListQuery) (items []talkcloud.RecordListItem, err error) {
	for page := 1; page <= maxBatchPages; page++ {
		more, total, err := s.platform.BatchRecordList(ctx, query, page)
		if err != nil {
			return nil, err
		}
		items = append(items, more...)
		if len(more) < talkcloud.BatchPageSize || total > 0 && len(items) >= total {
			return items, nil
		}
	}
	return items, nil
}

// findURLs asks getUserRecordlist in both of the document's ways: by recordts
// and room, with the user too where it would give the files of several
// recordings; and, where the recording has a user id of its own, by that, which
// lists all parts at once.
func (l *search) findURLs(ctx context.Context, found *findings) error {
	r, parts := l.rec.GetRecording(), l.rec.GetRecordTs()
	if l.listedIn == nil {
		l.listedIn = map[int64][]string{}
	}
	var odd error
	for range min(len(parts), maxPartsAtOnce) {
		ts := parts[l.next%len(parts)]
		query := talkcloud.RecordQuery{Room: talkcloud.RoomID(r.GetRoom()), RecordTS: ts}
		if l.rec.GetOwnUserId() && len(l.s.siblings(ctx, l.rec, ts)) > 0 {
			query.UserID = talkcloud.UserID(r.GetUserId())
		}
		urls, err := l.s.platform.UserRecordList(ctx, query)
		if err != nil && len(urls) == 0 {
			return err
		}
		odd = cmp.Or(odd, err)
		l.listedIn[ts] = urls
		l.next++
	}
	for _, ts := range parts {
		if len(l.listedIn[ts]) > 0 {
			found.parts++
		}
		found.addURLs(l.listedIn[ts])
	}
	if len(found.files) == 0 && r.GetUserId() != "" && l.rec.GetOwnUserId() {
		urls, err := l.s.platform.UserRecordList(ctx, talkcloud.RecordQuery{UserID: talkcloud.UserID(r.GetUserId())})
		if err != nil && len(urls) == 0 {
			return err
		}
		odd = cmp.Or(odd, err)
		found.addURLs(urls)
		found.parts = len(parts)
	}
	if odd != nil && len(found.files) > 0 {
		found.warnings = appendWarning(found.warnings, public(odd).Error())
	}
	return nil
}

func (f *findings) addURLs(urls []string) {
	for _, u := range urls {
		f.files = append(f.files, &classrecv1.RecordingFile{Url: u})
	}
}

// startTime returns when the recording of an entry began, in Unix seconds: its
// starttime, or else its title, whether they are in seconds or milliseconds.
func startTime(item talkcloud.RecordListItem) (ts int64, ok bool) {
	for _, field := range []talkcloud.Scalar{item.StartTime, item.RecordTitle} {
		if n, isNumber := field.Int(); isNumber {
			if at, known := talkcloud.Timestamp(n).Time(); known {
				return at.Unix(), true
			}
		}
	}
	return 0, false
}
