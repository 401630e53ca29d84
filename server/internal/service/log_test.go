// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/publisher"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/storetest"
)

// While the log answers nothing, calls that need it fail soon and say when to
// come back, nothing is acknowledged, and the media of a class that is on goes
// on being written; when it answers again, all goes on.
func TestLogAnswersNothing(t *testing.T) {
	t.Parallel()
	platform := roomservertest.New(t, roomservertest.Plain())
	log := storetest.NewCluster(t, 1).Client(t)
	sealKey := filepath.Join(t.TempDir(), "seal.key")
	if err := os.WriteFile(sealKey, []byte(strings.Repeat("5a", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	s := apitest.New(t, apitest.Platform(t, platform.URL), func(c *server.Config) {
		key := filepath.Join(t.TempDir(), "enterprise.key")
		if err := os.WriteFile(key, []byte(roomservertest.Key), 0o600); err != nil {
			t.Fatal(err)
		}
		c.EnterpriseKeyFile, c.RichRecordList, c.SkipFileCheck = key, true, true
		c.NATS, c.NATSReplicas, c.SealKeyFile = log.URLs(), 1, sealKey
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
