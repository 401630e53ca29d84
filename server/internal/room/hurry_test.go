// SPDX-License-Identifier: Apache-2.0

package room_test

import (
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/room"
)

// A session that is told to hurry comes back at once, however long it would have
// waited.
func TestSession_Hurry(t *testing.T) {
	t.Parallel()
	p, _ := newRoom(t)
	m := newManager(t, p.NewClient(t, nil), room.Config{BackoffMin: time.Hour, BackoffMax: time.Hour})
	s := mustAcquire(t, m, join("1", "u"))
	sub := mustSubscribe(t, s)
	s.Hurry() // while all is well, nothing comes of it
	p.Drop("1")
	waitEvent(t, sub, room.Disconnected)
	s.Hurry()
	s.Hurry()
	waitEvent(t, sub, room.Connected)
	if n := len(p.Joins()); n != 2 {
		t.Errorf("joined %d times", n)
	}
	s.Release()
	<-s.Done()
	s.Hurry()
}
