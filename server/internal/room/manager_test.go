// SPDX-License-Identifier: Apache-2.0

package room_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// TestManager_Shares: one connection for a room and identity, however many want it, until the last
// one has released it.
func TestManager_Shares(t *testing.T) {
	t.Parallel()
	p, m := newRoom(t)
	sessions := make([]*room.Session, 100)
	var wg sync.WaitGroup
	for i := range sessions {
		wg.Go(func() {
			s, err := m.Acquire(within(t), join("1", "u"))
			if err != nil {
				t.Error(err)
				return
			}
			sessions[i] = s
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	if n := len(p.Joins()); n != 1 {
		t.Fatalf("joined %d times", n)
	}
	last := sessions[len(sessions)-1]
	for _, s := range sessions[:len(sessions)-1] {
		s.Release()
		s.Release() // counts once
	}
	mustPublish(t, last, classBegin())
	last.Release()
	p.Await(within(t), t, "we have left", func() bool { return len(p.Members("1")) == 0 })

	again := mustAcquire(t, m, join("1", "u"))
	mustPublish(t, again, classBegin())
	if n := len(p.Joins()); n != 2 {
		t.Fatalf("joined %d times", n)
	}
}

func TestManager_DoesNotShare(t *testing.T) {
	t.Parallel()
	p, m := newRoom(t)
	a, b := mustAcquire(t, m, join("1", "")), mustAcquire(t, m, join("1", ""))
	c, d := mustAcquire(t, m, join("1", "u")), mustAcquire(t, m, join("2", "u"))
	if a.User() == b.User() || a.User() == "" || c.User() != "u" || d.Room() != "2" {
		t.Fatalf("users are %s, %s, %s", a.User(), b.User(), c.User())
	}
	if n := len(p.Joins()); n != 4 {
		t.Fatalf("joined %d times", n)
	}
}

// TestManager_Password: sharing a session is no way around the room's password.
func TestManager_Password(t *testing.T) {
	t.Parallel()
	p, m := newRoom(t)
	p.Answer(talkcloud.PathCheckRoom, func(w http.ResponseWriter, r *http.Request) {
		if r.PostForm.Get("password") != "right" {
			_, _ = w.Write([]byte(`{"result":4008}`))
			return
		}
		_, _ = w.Write([]byte(`{"result":0,"room":{"serial":"1"}}`))
	})
	opts := join("1", "u")
	opts.Password = "right"
	mustAcquire(t, m, opts)
	mustAcquire(t, m, opts)
	if n := len(p.Forms(talkcloud.PathCheckRoom)); n != 1 {
		t.Fatalf("checkroom was called %d times", n)
	}
	opts.Password = "wrong"
	if _, err := m.Acquire(within(t), opts); talkcloud.KindOf(err) != talkcloud.KindPermissionDenied {
		t.Fatalf("error is %v", err)
	}
}

// TestManager_AbsentAtFirst: an attempt that fails is over; the next one may succeed.
func TestManager_AbsentAtFirst(t *testing.T) {
	t.Parallel()
	p, m := newRoom(t)
	p.Answer(talkcloud.PathCheckRoom, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := m.Acquire(within(t), join("1", "u")); talkcloud.KindOf(err) != talkcloud.KindUnavailable {
				t.Errorf("error is %v", err)
			}
		})
	}
	wg.Wait()
	p.Answer(talkcloud.PathCheckRoom, nil)
	mustPublish(t, mustAcquire(t, m, join("1", "u")), classBegin())
}

func TestManager_NothingThere(t *testing.T) {
	t.Parallel()
	c, err := talkcloud.New(talkcloud.Config{BaseURL: "http://" + talkcloudtest.Refusing(t)})
	if err != nil {
		t.Fatal(err)
	}
	m := newManager(t, c, fast())
	_, err = m.Acquire(within(t), join("1", "u"))
	if talkcloud.KindOf(err) != talkcloud.KindUnavailable {
		t.Fatalf("error is %v", err)
	}
}

// TestManager_Canceled: the attempt goes on as long as one waits for it, and no longer.
func TestManager_Canceled(t *testing.T) {
	t.Parallel()
	p, m := newRoom(t)
	arrived, gate := make(chan struct{}, 10), make(chan struct{})
	p.Answer(talkcloud.PathCheckRoom, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-gate:
			_, _ = w.Write([]byte(`{"result":0,"room":{"serial":"1"}}`))
		case <-r.Context().Done():
		}
	})
	impatient := func() (stop context.CancelFunc, done chan error) {
		ctx, cancel := context.WithCancel(t.Context())
		done = make(chan error, 1)
		go func() {
			_, err := m.Acquire(ctx, join("1", "u"))
			done <- err
		}()
		return cancel, done
	}
	stop, done := impatient()
	<-arrived
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) || talkcloud.KindOf(err) != talkcloud.KindCanceled {
		t.Fatalf("error is %v", err)
	}
	stop, done = impatient() // a new attempt
	<-arrived
	var wg sync.WaitGroup
	wg.Go(func() { mustPublish(t, mustAcquire(t, m, join("1", "u")), classBegin()) })
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
	close(gate)
	wg.Wait()
}

func TestManager_Linger(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.NewPlain(t)
	cfg := fast()
	cfg.Linger = 50 * time.Millisecond
	m := newManager(t, p.NewClient(t, nil), cfg)
	for range 3 {
		s, err := m.Acquire(within(t), join("1", "u"))
		if err != nil {
			t.Fatal(err)
		}
		s.Release()
	}
	if n := len(p.Joins()); n != 1 {
		t.Fatalf("joined %d times", n)
	}
	p.Await(within(t), t, "we have left", func() bool { return len(p.Members("1")) == 0 })
	mustAcquire(t, m, join("1", "u")).Release() // and closing does not wait for the lingering
}

func TestManager_Close(t *testing.T) {
	t.Parallel()
	p, m := newRoom(t)
	s := mustAcquire(t, m, join("1", "u"))
	sub := mustSubscribe(t, s)
	arrived := make(chan struct{}, 1)
	p.Answer(talkcloud.PathCheckRoom, func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := m.Acquire(within(t), join("2", "u")); !errors.Is(err, room.ErrClosed) {
			t.Errorf("acquire is %v", err)
		}
	})
	<-arrived
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if e := waitEvent(t, sub, room.Ended); !errors.Is(e.Err, room.ErrReleased) {
		t.Fatalf("ended with %v", e.Err)
	}
	if _, err := m.Acquire(within(t), join("1", "u")); !errors.Is(err, room.ErrClosed) {
		t.Fatalf("acquire is %v", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestManager_OnTheHour: many classes begin at once.
func TestManager_OnTheHour(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.New(t)
	m := newManager(t, p.NewClient(t, nil), room.Config{EchoTimeout: 20 * time.Second})
	n := 200
	if testing.Short() {
		n = 20
	}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			s, err := m.Acquire(within(t), join(talkcloud.RoomID(fmt.Sprint(i)), "u"))
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Release()
			mustPublish(t, s, classBegin())
		})
	}
	wg.Wait()
	if joins := len(p.Joins()); joins != n {
		t.Fatalf("joined %d times", joins)
	}
}
