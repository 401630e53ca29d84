// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/recording"
	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// seldom looks once, and then not again in the time of a test.
func seldom(cfg *recording.Config) {
	cfg.PollMin, cfg.PollMax, cfg.ProcessingTimeout = time.Hour, time.Hour, 2*time.Hour
}

// A nudge makes the files be looked for at once; what is there then counts, and
// not the nudge.
func TestNudge_Files(t *testing.T) {
	t.Parallel()
	platform := newLister(t, "/files/a.mkv")
	platform.Answer("/files/a.mkv", served)
	list := platform.listing(t)
	s := platform.service(t, func(cfg *recording.Config) {
		seldom(cfg)
		cfg.NudgeEvery = time.Millisecond
	})
	r := record(t, s)
	roomservertest.Poll(t, "the first look", func() bool { return platform.asked.Load() > 0 })
	looks := platform.asked.Load()
	s.FilesMayBeThere("42") // too early: it is a look, and no more
	s.FilesMayBeThere("43")
	roomservertest.Poll(t, "the next look", func() bool { return platform.asked.Load() > looks })
	if got, err := s.Get(testContext(t), r.GetName()); err != nil || got.GetState() != processing {
		t.Errorf("believed: %v, %v", got, err)
	}
	list.Store(true)
	roomservertest.Poll(t, "the nudge to be heeded", func() bool {
		s.FilesMayBeThere("42")
		got, err := s.Get(testContext(t), r.GetName())
		return err == nil && got.GetState() == available
	})
}

// listing makes the platform list nothing until it is told to.
func (l *lister) listing(t *testing.T) *atomic.Bool {
	t.Helper()
	on := new(atomic.Bool)
	l.Answer(talkcloud.PathGetUserRecordList, func(w http.ResponseWriter, _ *http.Request) {
		defer l.asked.Add(1)
		urls := []string{}
		if on.Load() {
			urls = append(urls, l.Config().BaseURL+"/files/a.mkv")
		}
		_ = json.NewEncoder(w).Encode(urls)
	})
	return on
}

// However many nudges come, the platform is asked no more often than one in
// NudgeEvery makes it be.
func TestNudge_Flood(t *testing.T) {
	t.Parallel()
	platform := newLister(t)
	s := platform.service(t, func(cfg *recording.Config) {
		seldom(cfg)
		cfg.NudgeEvery = time.Hour
	})
	r := record(t, s)
	roomservertest.Poll(t, "the first look", func() bool { return platform.asked.Load() > 0 })
	looks := platform.asked.Load()
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 10_000 {
				s.FilesMayBeThere("42")
				s.ClassMayHaveChanged("42")
			}
		})
	}
	all.Wait()
	roomservertest.Poll(t, "the look after the first nudge", func() bool { return platform.asked.Load() > looks })
	mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42"}) // the worker is well
	// One look asks twice: by room and by user.
	if n := platform.asked.Load(); n > 4 {
		t.Errorf("the list was asked for %d times", n)
	}
	if got, err := s.Get(testContext(t), r.GetName()); err != nil || got.GetState() != processing {
		t.Errorf("believed: %v, %v", got, err)
	}
}

// A nudge enters no room, and changes nothing that is stored.
func TestNudge_ChangesNothing(t *testing.T) {
	t.Parallel()
	platform := talkcloudtest.NewPlain(t)
	st := storetest.New(t)
	cfg := config()
	cfg.RichRecordList, cfg.NudgeEvery = false, time.Nanosecond
	s := newLife(t, st, platform.NewClient(t, nil), cfg)
	mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42"})
	before, joins := st.LastSequence(), len(platform.Joins())
	for range 100 {
		for _, roomID := range []string{"42", "43", "", "../x"} {
			s.FilesMayBeThere(roomID)
			s.ClassMayHaveChanged(roomID)
		}
	}
	// Calls go through the same worker, after the nudges.
	w, err := s.Watch(testContext(t), &classrecv1.WatchClassBeginRequest{Room: "42"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	if after := st.LastSequence(); after != before || len(platform.Joins()) != joins || s.Rooms() != 1 {
		t.Errorf("%d changes, %d joins, %d rooms", after-before, len(platform.Joins())-joins, s.Rooms())
	}
}

// A worker that is away comes back at once, and sees what has become of its
// class.
func TestNudge_ClassEndedWhileAway(t *testing.T) {
	t.Parallel()
	platform := talkcloudtest.NewPlain(t)
	cfg := config()
	cfg.RichRecordList, cfg.NudgeEvery = false, time.Millisecond
	s := newLifeIn(t, storetest.New(t), platform.NewClient(t, nil), room.Config{BackoffMin: time.Hour, BackoffMax: time.Hour}, cfg)
	r := mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42"})
	platform.Save("42", talkcloud.Message{ID: "Whiteboard", Name: "Whiteboard"}) // the room has kept its state
	platform.Drop("42", talkcloud.UserID(r.GetUserId()))
	roomservertest.Poll(t, "the nudge to be heeded", func() bool {
		s.ClassMayHaveChanged("42")
		got, err := s.Get(testContext(t), r.GetName())
		return err == nil && got.GetState() == processing && got.GetEndReason() == classrecv1.EndReason_END_REASON_ENDED_WHILE_AWAY
	})
}
