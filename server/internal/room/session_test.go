// SPDX-License-Identifier: Apache-2.0

package room_test

import (
	"testing"

	"github.com/classrec/classrec/server/internal/room"
)

func TestSession_PublishDelete(t *testing.T) {
	t.Parallel()
	p, m := newRoom(t)
	s := mustAcquire(t, m, join("1", "u"))
	sub := mustSubscribe(t, s)
	echo, err := s.Publish(within(t), classBegin())
	if err != nil {
		t.Fatal(err)
	}
	if echo.FromID != "u" || echo.TS.Unix() == 0 || echo.Seq != 1 {
		t.Fatalf("echo is %+v", echo)
	}
	if e := waitEvent(t, sub, room.Published); !e.Message.Equal(echo) || e.InList {
		t.Fatalf("event is %+v", e)
	}
	mustSubscribe(t, s, echo)
	if _, err := s.Delete(within(t), classBegin()); err != nil {
		t.Fatal(err)
	}
	waitEvent(t, sub, room.Deleted)
	s.Release()
	if e := waitEvent(t, sub, room.Ended); e.Err != room.ErrReleased {
		t.Fatalf("ended with %v", e.Err)
	}
	p.Await(within(t), t, "everyone has left", func() bool { return len(p.Members("1")) == 0 })
}
