// SPDX-License-Identifier: Apache-2.0

package roomserver_test

import (
	"strings"
	"testing"

	"github.com/classrec/classrec/server/internal/publisher"
	"github.com/classrec/classrec/server/internal/roomserver"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// TestRecord_RefusedPublisher has room for one publisher: the second is a gap of the class with its reason, until there is
// room.
func TestRecord_RefusedPublisher(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) { c.MaxPublishers = 1 }))
	teacher := s.Join(t, "42", "teacher")
	first := s.PublishWHIP(t, "42", "first", clip(t))
	teacher.Wait(t, talkcloud.EventAddStream)
	ts := teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList})
	endpoint := publisher.WHIP{URL: s.URL + "/whip/42/second", Client: s.HTTPClient()}
	for range 3 {
		if pub, err := publisher.PublishWHIP(t.Context(), clip(t), endpoint); err == nil {
			_ = pub.Close()
			t.Fatal("a second publisher is taken")
		}
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	s.PublishWHIP(t, "42", "second", clip(t))
	teacher.Wait(t, talkcloud.EventAddStream)
	untilBlocks(t, s, "*/second*", 20)
	teacher.EndClass(t)
	item := recorded(t, s, "42", ts)
	n := 0
	for _, g := range item.Gaps {
		if g.UserID == "second" && strings.HasPrefix(g.Reason, "the publisher was refused: ") {
			n++
			if g.EndMS <= g.StartMS {
				t.Errorf("gap %+v", g)
			}
		}
	}
	if n != 1 {
		t.Errorf("gaps: %+v", item.Gaps)
	}
}
