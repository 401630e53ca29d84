// SPDX-License-Identifier: Apache-2.0

package roomserver_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/publisher"
	"github.com/classrec/classrec/server/internal/roomserver"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// TestRecord_SilentSection has a publisher whose video never comes: it is a gap of the class, a warning and a count.
func TestRecord_SilentSection(t *testing.T) {
	t.Parallel()
	seen := make(lines, 1000)
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) { c.Logger = slog.New(slog.NewTextHandler(seen, nil)) }))
	teacher := s.Join(t, "42", "teacher")
	cfg := clip(t)
	cfg.Loss = func(p publisher.Packet) bool { return p.Kind == publisher.Video }
	s.PublishWHIP(t, "42", "student", cfg)
	teacher.Wait(t, talkcloud.EventAddStream)
	ts := teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList})
	seen.waitFor(t, `level=WARN msg="publisher is connected, but gives nothing that can be recorded" room=42 user=student kind=video`)
	if n := s.Room().Stats().Media.Silences; n != 1 {
		t.Errorf("%d silences are counted", n)
	}
	<-time.After(200 * time.Millisecond)
	teacher.EndClass(t)
	item := recorded(t, s, "42", ts)
	if len(item.Gaps) != 1 || item.Gaps[0].UserID != "student" || item.Gaps[0].Kind != talkcloud.KindVideo || item.Gaps[0].Reason == "" {
		t.Errorf("gaps: %+v", item.Gaps)
	}
}
