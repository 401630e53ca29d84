// SPDX-License-Identifier: Apache-2.0

package room_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// away makes sessions lose their connection, and changes the room before they come back: nobody
// may enter until back is called.
func away(t *testing.T, p *talkcloudtest.Platform, drop func()) (back func()) {
	t.Helper()
	gate := make(chan struct{})
	var once sync.Once
	back = func() { once.Do(func() { close(gate); p.Answer(talkcloud.PathGetConfig, nil) }) }
	t.Cleanup(back)
	p.Answer(talkcloud.PathGetConfig, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-gate:
		case <-r.Context().Done():
		}
		w.WriteHeader(http.StatusServiceUnavailable) // and again, by the usual answer
	})
	drop()
	return back
}

func TestSession_ComesBack(t *testing.T) {
	t.Parallel()
	for name, drop := range map[string]func(*talkcloudtest.Platform){
		"after a drop":           func(p *talkcloudtest.Platform) { p.Drop("1") },
		"after 41":               func(p *talkcloudtest.Platform) { p.Disconnect("1") },
		"after forceReconnect":   func(p *talkcloudtest.Platform) { p.Send("1", talkcloud.EventForceReconnect) },
		"after a bad frame":      func(p *talkcloudtest.Platform) { p.Send("1", "x", strings.Repeat("x", 5<<20)) }, // over 4 MiB
		"after too many at once": func(p *talkcloudtest.Platform) { p.Drop("1"); p.Drop("1") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, m := newRoom(t)
			s := mustAcquire(t, m, join("1", "u"))
			sub := mustSubscribe(t, s)
			begun := mustPublish(t, s, classBegin())
			waitEvent(t, sub, room.Published)
			drop(p)
			if e := waitEvent(t, sub, room.Disconnected); e.Err == nil {
				t.Fatal("disconnected without a reason")
			}
			if e := waitEvent(t, sub, room.Connected); e.StateLost {
				t.Fatal("state lost")
			}
			if _, err := s.Delete(within(t), talkcloud.ClassEnd()); err != nil {
				t.Fatal(err)
			}
			if e := waitEvent(t, sub, room.Deleted); e.InList { // and no event about what did not change
				t.Fatalf("event is %+v; began %+v", e, begun)
			}
			if n := len(p.Forms(talkcloud.PathCheckRoom)); n != 1 {
				t.Fatalf("checkroom was called %d times", n)
			}
			p.Await(within(t), t, "only one of us is there", func() bool { return len(p.Members("1")) == 1 })
		})
	}
}

// TestSession_Difference: what happened while we were away comes as ordinary events.
func TestSession_Difference(t *testing.T) {
	t.Parallel()
	p, m := newRoom(t)
	s := mustAcquire(t, m, join("1", "u"))
	sub := mustSubscribe(t, s)
	kept, gone := mustPublish(t, s, talkcloud.Message{ID: "kept"}), mustPublish(t, s, talkcloud.Message{ID: "gone"})
	begun := mustPublish(t, s, classBegin())
	for range 3 {
		waitEvent(t, sub, room.Published)
	}
	back := away(t, p, func() { p.Drop("1") })
	waitEvent(t, sub, room.Disconnected)
	again := begun // the teacher ended the class and began another
	again.FromID, again.TS, again.Seq = "teacher", begun.TS+100, begun.Seq+100
	fresh := talkcloud.Message{ID: "fresh", Seq: 1000}
	p.Save("1", kept, again, fresh)
	late := s.Subscribe()
	if e := waitEvent(t, late, room.Snapshot); len(e.Messages) != 3 {
		t.Fatalf("snapshot is %+v", e.Messages)
	}
	waitEvent(t, late, room.Disconnected)
	back()
	for _, sub := range []*room.Subscription{sub, late} {
		if e := waitEvent(t, sub, room.Connected); e.StateLost {
			t.Fatal("state lost")
		}
		if e := waitEvent(t, sub, room.Deleted); !e.InList || !e.Message.Equal(gone) {
			t.Fatalf("event is %+v", e)
		}
		if e := waitEvent(t, sub, room.Published); !e.InList || !e.Message.Equal(again) {
			t.Fatalf("event is %+v", e)
		}
		if e := waitEvent(t, sub, room.Published); !e.InList || !e.Message.Equal(fresh) {
			t.Fatalf("event is %+v", e)
		}
	}
	mustSubscribe(t, s, kept, again, fresh)
}

// TestSession_StateLost tells a room that forgot from a room in which somebody deleted.
func TestSession_StateLost(t *testing.T) {
	t.Parallel()
	for _, others := range []bool{false, true} {
		p, m := newRoom(t)
		s := mustAcquire(t, m, join("1", "u"))
		if others {
			mustAcquire(t, m, join("1", "other"))
		}
		sub := mustSubscribe(t, s)
		begun := mustPublish(t, s, classBegin())
		waitEvent(t, sub, room.Published)
		back := away(t, p, func() { p.Drop("1", "u") })
		waitEvent(t, sub, room.Disconnected)
		p.Save("1")
		back()
		if e := waitEvent(t, sub, room.Connected); e.StateLost == others {
			t.Fatalf("state lost is %v, with others in the room: %v", e.StateLost, others)
		}
		if e := waitEvent(t, sub, room.Deleted); !e.InList || !e.Message.Equal(begun) {
			t.Fatalf("event is %+v", e)
		}
	}
}

// TestSession_ChangeWhileAway: a change waits for the connection, or learns its fate from the list.
func TestSession_ChangeWhileAway(t *testing.T) {
	t.Parallel()

	t.Run("waits until we are back", func(t *testing.T) {
		t.Parallel()
		p, m := newRoom(t)
		s := mustAcquire(t, m, join("1", "u"))
		sub := mustSubscribe(t, s)
		back := away(t, p, func() { p.Drop("1") })
		waitEvent(t, sub, room.Disconnected)
		var wg sync.WaitGroup
		wg.Go(func() { mustPublish(t, s, classBegin()) })
		back()
		wg.Wait()
	})

	// The change is on the wire when the connection is lost; then the list tells.
	lost := func(t *testing.T, before []talkcloud.Message, change func(*room.Session) (talkcloud.Message, error), after func(sent talkcloud.Message) []talkcloud.Message) (talkcloud.Message, error) {
		t.Helper()
		p, m := newRoom(t)
		p.Save("1", before...)
		s := mustAcquire(t, m, join("1", "u"))
		sub := mustSubscribe(t, s, before...)
		arrived := make(chan struct{}, 1)
		p.Script(talkcloudtest.Script{Silent: func(event string) bool {
			if event == talkcloud.EventJoinRoom {
				return false
			}
			arrived <- struct{}{}
			return true
		}})
		type outcome struct {
			echo talkcloud.Message
			err  error
		}
		done := make(chan outcome, 1)
		go func() {
			echo, err := change(s)
			done <- outcome{echo, err}
		}()
		<-arrived
		back := away(t, p, func() { p.Drop("1") })
		waitEvent(t, sub, room.Disconnected)
		p.Save("1", after(talkcloud.Message{Name: "ClassBegin", ID: "ClassBegin", FromID: "u", Seq: 5, TS: 1795375999})...)
		back()
		waitEvent(t, sub, room.Connected)
		o := <-done
		return o.echo, o.err
	}
	publish := func(s *room.Session) (talkcloud.Message, error) { return s.Publish(within(t), classBegin()) }
	remove := func(s *room.Session) (talkcloud.Message, error) { return s.Delete(within(t), talkcloud.ClassEnd()) }
	old := talkcloud.Message{Name: "ClassBegin", ID: "ClassBegin", FromID: "u", Seq: 1, TS: 1795375001}
	none := func(talkcloud.Message) []talkcloud.Message { return nil }
	itself := func(m talkcloud.Message) []talkcloud.Message { return []talkcloud.Message{m} }
	unchanged := func(talkcloud.Message) []talkcloud.Message { return []talkcloud.Message{old} }
	another := func(m talkcloud.Message) []talkcloud.Message {
		m.FromID = "teacher"
		return []talkcloud.Message{m}
	}
	for name, tc := range map[string]struct {
		before []talkcloud.Message
		change func(*room.Session) (talkcloud.Message, error)
		after  func(talkcloud.Message) []talkcloud.Message
		ts     talkcloud.Timestamp
		ok     bool
	}{
		"published":                     {nil, publish, itself, 1795375999, true},
		"published over an old one":     {[]talkcloud.Message{old}, publish, itself, 1795375999, true},
		"not published":                 {nil, publish, none, 0, false},
		"not published over an old one": {[]talkcloud.Message{old}, publish, unchanged, 0, false},
		"published by another":          {nil, publish, another, 0, false},
		"deleted":                       {[]talkcloud.Message{old}, remove, none, 0, true},
		"not deleted":                   {[]talkcloud.Message{old}, remove, unchanged, 0, false},
		"nothing to delete":             {nil, remove, none, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			echo, err := lost(t, tc.before, tc.change, tc.after)
			if tc.ok && (err != nil || echo.TS != tc.ts || echo.Key() != "ClassBegin") {
				t.Fatalf("echo is %+v, %v", echo, err)
			}
			if !tc.ok && (!errors.Is(err, room.ErrNotConfirmed) || talkcloud.KindOf(err) != talkcloud.KindUnavailable) {
				t.Fatalf("error is %v", err)
			}
		})
	}
}

// TestSession_NeverBack: while nobody lets us in, a change ends by its timeout, and Release still ends all.
func TestSession_NeverBack(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.NewPlain(t)
	cfg := fast()
	cfg.EchoTimeout = 50 * time.Millisecond
	m := newManager(t, p.NewClient(t, nil), cfg)
	s := mustAcquire(t, m, join("1", "u"))
	sub := mustSubscribe(t, s)
	away(t, p, func() { p.Drop("1") })
	waitEvent(t, sub, room.Disconnected)
	_, err := s.Publish(within(t), classBegin())
	if talkcloud.KindOf(err) != talkcloud.KindUnavailable || errors.Is(err, room.ErrNotConfirmed) {
		t.Fatalf("error is %v", err)
	}
	s.Release()
	if e := waitEvent(t, sub, room.Ended); !errors.Is(e.Err, room.ErrReleased) {
		t.Fatalf("ended with %v", e.Err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSession_ManyAttempts comes back however often it fails, whatever the platform answers.
func TestSession_ManyAttempts(t *testing.T) {
	t.Parallel()
	p, m := newRoom(t)
	s := mustAcquire(t, m, join("1", "u"))
	sub := mustSubscribe(t, s)
	bad := []string{"", "<html>", `{"result":0,"courseserver":"nowhere.invalid:x"}`, `{"result":-1}`, `{"result":`}
	var mu sync.Mutex
	n := 0
	p.Answer(talkcloud.PathGetConfig, func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if n++; n == 20 {
			p.Answer(talkcloud.PathGetConfig, nil)
		}
		_, _ = w.Write([]byte(bad[n%len(bad)]))
	})
	p.Drop("1")
	waitEvent(t, sub, room.Disconnected)
	waitEvent(t, sub, room.Connected)
	mu.Lock()
	defer mu.Unlock()
	if n < 20 {
		t.Fatalf("came back after %d attempts", n)
	}
}

// TestSession_NotWanted ends when the room will not have us back.
func TestSession_NotWanted(t *testing.T) {
	t.Parallel()
	p, m := newRoom(t)
	s := mustAcquire(t, m, join("1", "u"))
	sub := mustSubscribe(t, s)
	p.Answer(talkcloud.PathGetConfig, talkcloudtest.Body(`{"result":4007}`))
	p.Drop("1")
	waitEvent(t, sub, room.Disconnected)
	e := waitEvent(t, sub, room.Ended)
	if talkcloud.KindOf(e.Err) != talkcloud.KindNotFound || !errors.Is(s.Err(), e.Err) {
		t.Fatalf("ended with %v, %v", e.Err, s.Err())
	}
}

func TestSession_Evicted(t *testing.T) {
	t.Parallel()
	for reason, kind := range map[int]talkcloud.Kind{
		talkcloud.EvictedSameUser: talkcloud.KindEvicted, talkcloud.EvictedRoomOver: talkcloud.KindEvicted,
		talkcloud.EvictedRoomDisabled: talkcloud.KindPermissionDenied,
	} {
		p, m := newRoom(t)
		s := mustAcquire(t, m, join("1", "u"))
		sub := mustSubscribe(t, s)
		p.Script(talkcloudtest.Script{Silent: func(event string) bool { return event == talkcloud.EventPubMsg }})
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := s.Publish(within(t), classBegin())
			if talkcloud.KindOf(err) != kind {
				t.Errorf("publish is %v", err)
			}
		})
		p.Send("1", talkcloud.EventParticipantEvicted, map[string]int{"reason": reason})
		e := waitEvent(t, sub, room.Ended)
		wg.Wait()
		var ended *talkcloud.Error
		if !errors.As(e.Err, &ended) || ended.Kind != kind || ended.Source != talkcloud.SourceEviction || ended.Code != reason {
			t.Fatalf("ended with %v", e.Err)
		}
		<-s.Done()
		again := mustAcquire(t, m, join("1", "u")) // by its own wish a caller may enter again
		if again.Err() != nil {
			t.Fatal(again.Err())
		}
		s.Release() // which must not take the new session with it
		mustSubscribe(t, again)
	}
}

// TestSession_Vacant tells a room in which there was nothing and nobody from any other.
func TestSession_Vacant(t *testing.T) {
	t.Parallel()
	p, m := newRoom(t)
	vacant := func(s *room.Session) bool {
		sub := s.Subscribe()
		defer sub.Close()
		return waitEvent(t, sub, room.Snapshot).Vacant
	}
	first := mustAcquire(t, m, join("1", "u"))
	if !vacant(first) || vacant(mustAcquire(t, m, join("1", "v"))) {
		t.Fatal("only the first found the room vacant")
	}
	mustPublish(t, first, classBegin())
	if vacant(first) {
		t.Fatal("a room with a message is not vacant")
	}
	p.Save("2", talkcloud.Message{ID: "a"})
	if vacant(mustAcquire(t, m, join("2", "u"))) {
		t.Fatal("a room with a message is not vacant")
	}
}
