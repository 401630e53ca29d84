// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"cmp"
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// poll looks for the files of a recording in PROCESSING until the platform
// lists them or its deadline has passed.
func (w *worker) poll(ctx context.Context, e *store.Entry) {
	id := e.Record.GetId()
	if w.polling[id] {
		return
	}
	w.polling[id] = true
	w.child(ctx, func() func() {
		outcome := w.s.awaitFiles(ctx, e.Record)
		return func() {
			delete(w.polling, id)
			if outcome != nil {
				w.apply(ctx, id, outcome)
			}
		}
	})
}

// awaitFiles returns listed or notListed, or nil when ctx ended.
func (s *Service) awaitFiles(ctx context.Context, rec *storev1.Record) event {
	deadline := rec.GetDeadline().AsTime()
	pause := s.cfg.PollMin
	var last []*classrecv1.RecordingFile
	var since time.Time // the platform has listed just these
	for {
		files, done, err := s.findFiles(ctx, rec)
		if err == nil && !sameURLs(files, last) {
			last, since = files, time.Now()
			pause = s.cfg.PollMin
		}
		if err == nil && len(files) > 0 && !done {
			// Without the platform's word that all is there, an answer that
			// stays the same is the best evidence there is.
			done = time.Since(since) >= s.cfg.SettleTime
		}
		if err == nil && done {
			return listed{files: files}
		}
		if ctx.Err() != nil {
			return nil
		}
		if !time.Now().Before(deadline) {
			if len(last) > 0 {
				return listed{files: last}
			}
			return notListed{status: s.cfg.Status(errFilesNotListed(public(err)))}
		}
		timer := time.NewTimer(min(pause, max(time.Until(deadline), time.Millisecond)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		pause = min(2*pause, s.cfg.PollMax)
	}
}

// findFiles asks the platform once. done says that the platform calls the
// recording finished, so that what it lists is all there is.
func (s *Service) findFiles(ctx context.Context, rec *storev1.Record) (files []*classrecv1.RecordingFile, done bool, err error) {
	if s.cfg.RichRecordList {
		items, err := s.items(ctx, rec.GetRecording().GetRoom())
		if err != nil {
			return nil, false, err
		}
		parts := 0
		for _, part := range rec.GetRecordTs() { // the list may have them newest first
			for _, item := range items {
				if ts, ok := startTime(item); ok && ts == part {
					parts++
					files = append(files, itemFiles(item)...)
				}
			}
		}
		if parts > 0 && parts >= len(rec.GetRecordTs()) {
			return files, true, nil
		}
		if parts > 0 {
			return files, false, nil
		}
	}
	return s.findURLs(ctx, rec)
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
// and room; and, where the recording has a user id of its own, by that.
func (s *Service) findURLs(ctx context.Context, rec *storev1.Record) ([]*classrecv1.RecordingFile, bool, error) {
	r := rec.GetRecording()
	var urls []string
	for _, ts := range rec.GetRecordTs() {
		part, err := s.platform.UserRecordList(ctx, talkcloud.RecordQuery{Room: talkcloud.RoomID(r.GetRoom()), RecordTS: ts})
		if err != nil {
			return nil, false, err
		}
		urls = append(urls, part...)
	}
	if len(urls) == 0 && r.GetUserId() != "" && rec.GetOwnUserId() {
		own, err := s.platform.UserRecordList(ctx, talkcloud.RecordQuery{UserID: talkcloud.UserID(r.GetUserId())})
		if err != nil {
			return nil, false, err
		}
		urls = own
	}
	var files []*classrecv1.RecordingFile
	for _, u := range urls {
		files = append(files, &classrecv1.RecordingFile{Url: u})
	}
	return files, false, nil
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
