// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package service_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/publisher"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// newWithLink is a server on a PostgreSQL, behind a link that can be cut.
func newWithLink(t *testing.T, changes ...func(*server.Config)) (*apitest.Server, *storetest.Link) {
	t.Helper()
	log := storetest.NewPostgres(t).Link(t)
	sealKey := filepath.Join(t.TempDir(), "seal.key")
	if err := os.WriteFile(sealKey, []byte(strings.Repeat("5a", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	return apitest.New(t, append(changes, func(c *server.Config) {
		c.Database, c.SealKeyFile = log.URL(), sealKey
	})...), log
}

// While the database answers nothing, calls that need it fail soon and say when to
// come back, nothing is acknowledged, and the media of a class that is on goes
// on being written; when it answers again, all goes on.
func TestDatabaseAnswersNothing(t *testing.T) {
	t.Parallel()
	platform := roomservertest.New(t, roomservertest.Plain())
	s, log := newWithLink(t, apitest.Platform(t, platform.URL), func(c *server.Config) {
		key := filepath.Join(t.TempDir(), "enterprise.key")
		if err := os.WriteFile(key, []byte(roomservertest.Key), 0o600); err != nil {
			t.Fatal(err)
		}
		c.EnterpriseKeyFile, c.RichRecordList, c.SkipFileCheck = key, true, true
	})
	video, err := clips.StudentVideo()
	if err != nil {
		t.Fatal(err)
	}
	platform.Join(t, "42", "teacher").Publish(t, publisher.Config{Video: video})
	rec := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"42"}`})
	written := func() (n int64) {
		files, err := filepath.Glob(filepath.Join(platform.Dir, "recordings", "42", "*", "*.mkv"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if info, err := os.Stat(name); err == nil {
				n += info.Size()
			}
		}
		return n
	}
	roomservertest.Poll(t, "media", func() bool { return written() > 0 })

	log.Cut()
	before := written()
	for _, way := range []apitest.Transport{apitest.GRPC, apitest.REST} {
		out := s.Call(t, way, apitest.Call{Name: apitest.Start, Request: `{"room":"other"}`})
		if out.Code != codes.Unavailable || out.RetryAfter <= 0 {
			t.Errorf("%s: start without a log: %+v", way, out)
		}
	}
	if out := s.Call(t, apitest.GRPC, apitest.Call{Name: apitest.Stop, Request: `{"name":"` + rec.GetName() + `"}`}); out.Code != codes.Unavailable || out.RetryAfter <= 0 {
		t.Errorf("stop without a log: %+v", out)
	}
	if during := written(); during <= before {
		t.Errorf("%d bytes were written without a log, %d before", during, before)
	}
	roomservertest.Poll(t, "more media", func() bool { return written() > 2*before })

	log.Heal()
	roomservertest.Poll(t, "a start in another room", func() bool {
		out := s.Call(t, apitest.GRPC, apitest.Call{Name: apitest.Start, Request: `{"room":"other"}`})
		return out.Code == codes.OK || out.Code == codes.AlreadyExists
	})
	roomservertest.Poll(t, "the stop", func() bool {
		return s.Call(t, apitest.GRPC, apitest.Call{Name: apitest.Stop, Request: `{"name":"` + rec.GetName() + `"}`}).Code == codes.OK
	})
	rec = awaitState(t, s, rec.GetName(), stateAvailable)
	var size int64
	for _, f := range rec.GetFiles() {
		size += f.GetSize()
	}
	if size <= 2*before || len(rec.GetGaps()) != 0 {
		t.Errorf("it became %v; %d bytes were written before the log went", rec, before)
	}
}

// While the database is away, more happens in a room than can be stored: classes begin
// and end, and much else that is none of our concern. Who wants to watch is told
// to try again, and all of it is stored when the database is back.
func TestDatabaseAnswersNothing_RoomGoesOn(t *testing.T) {
	t.Parallel()
	platform := talkcloudtest.NewPlain(t)
	s, log := newWithLink(t, apitest.Platform(t, platform.Config().BaseURL))
	teacher := apitest.JoinAt(t, platform.Config().BaseURL, "42", "teacher")
	w := s.Watch(t, apitest.GRPC, "42", 0)
	w.Synced(t)
	teacher.Begin(t, talkcloud.ClassBegin{})
	first := w.Events(t, 1)[0]

	log.Cut()
	roomservertest.Poll(t, "watching to be refused", func() bool {
		out := s.Call(t, apitest.GRPC, apitest.Call{Name: apitest.Watch, Request: `{"room":"42"}`})
		if out.Code == codes.Unavailable && out.RetryAfter <= 0 {
			t.Fatalf("without a word on when to try again: %+v", out)
		}
		return out.Code == codes.Unavailable
	})
	for range 3 {
		for i := range 300 {
			platform.Publish("42", talkcloud.Message{ID: fmt.Sprint("stroke-", i), Name: "SharpsChange", Data: talkcloud.TextData("a line")})
			if i%50 == 49 {
				teacher.Sync(t) // no faster than a connection takes them
			}
		}
		teacher.End(t)
		teacher.Begin(t, talkcloud.ClassBegin{})
	}
	log.Heal()
	last := first
	for i, ev := range w.Events(t, 6) {
		begun := i%2 == 1
		if begun != (ev.GetAction() == classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD) ||
			begun == (ev.GetRecording().GetName() == last.GetRecording().GetName()) ||
			!begun && ev.GetRecording().GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED_IN_ROOM {
			t.Errorf("after %v of %s comes %v", last.GetAction(), last.GetRecording().GetName(), ev)
		}
		last = ev
	}
}

// Nobody can store what becomes of a start when the database goes: the caller is told
// to try again, and does not wait for ever.
func TestDatabaseAnswersNothing_WhileStarting(t *testing.T) {
	t.Parallel()
	platform := talkcloudtest.NewPlain(t)
	published := make(chan struct{}, 16)
	platform.Script(talkcloudtest.Script{Silent: func(event string) bool {
		if event == talkcloud.EventPubMsg {
			published <- struct{}{}
		}
		return event == talkcloud.EventPubMsg
	}})
	s, log := newWithLink(t, apitest.Platform(t, platform.Config().BaseURL))
	start := apitest.Call{Name: apitest.Start, Request: `{"room":"42","request_id":"r"}`}
	ctx := apitest.Context(t)
	ended := make(chan apitest.Outcome, 1)
	go func() {
		out, err := s.TryCall(ctx, apitest.GRPC, start)
		if err != nil {
			t.Error(err)
		}
		ended <- out
	}()
	<-published
	log.Cut()
	if out := <-ended; out.Code != codes.Unavailable || out.Reason != "STORE_UNAVAILABLE" || out.RetryAfter <= 0 {
		t.Errorf("the start ended in %+v", out)
	}
	log.Heal()
	// The same request again tells what came of it.
	roomservertest.Poll(t, "the outcome", func() bool {
		out := s.Call(t, apitest.GRPC, start)
		if out.Code != codes.Unavailable && out.Code != codes.DeadlineExceeded {
			t.Fatalf("asked again, it is %+v", out)
		}
		return out.Reason == "START_NOT_CONFIRMED"
	})
}
