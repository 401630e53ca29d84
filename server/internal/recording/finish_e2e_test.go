// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package recording_test

import (
	"sync"
	"testing"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// What has been seen in a room is stored, also when the work is to end before the database has taken it.
func TestRun_StoresWhatItHasSeen(t *testing.T) {
	t.Parallel()
	const classes = 20
	platform := talkcloudtest.NewPlain(t)
	client, log := platform.NewClient(t, nil), storetest.NewPostgres(t).Link(t)
	st := storetest.OpenConfig(t, store.Config{URL: log.URL()})
	cfg := config()
	cfg.Grace = patience
	s := newLife(t, st, client, cfg)
	mustStart(t, s, &classrecv1.StartRecordingRequest{Room: "42", UserId: "recorder"})
	session, err := s.rooms.Acquire(testContext(t), talkcloud.JoinOptions{Room: "42", UserID: "recorder"})
	if err != nil {
		t.Fatal(err)
	}
	beside := session.Subscribe()

	log.Cut()
	for range classes {
		platform.Delete("42", talkcloud.ClassBegin{}.Message())
		m := talkcloud.ClassBegin{}.Message()
		m.FromID = "teacher"
		platform.Publish("42", m)
	}
	for seen := 0; seen < classes; { // who looks on beside the worker has it all
		select {
		case ev := <-beside.C:
			if ev.Kind == room.Published {
				seen++
			}
		case <-testContext(t).Done():
			t.Fatalf("%d classes have come", seen)
		}
	}
	session.Release()
	var stopping sync.WaitGroup
	stopping.Go(s.stop)
	roomservertest.Poll(t, "the end of the work", func() bool { return !s.Serving() })
	log.Heal()
	stopping.Wait()

	again := newLife(t, st, client, config())
	recordings := mustList(t, again, &classrecv1.ListRecordingsRequest{Room: "42", PageSize: 100})
	if len(recordings) != 1+classes {
		t.Fatalf("%d recordings are listed, want %d", len(recordings), 1+classes)
	}
	ended := 0
	for _, r := range recordings {
		if r.GetEndReason() == classrecv1.EndReason_END_REASON_STOPPED_IN_ROOM {
			ended++
		}
	}
	if ended != classes {
		t.Errorf("%d were seen to end, want %d", ended, classes)
	}
}
