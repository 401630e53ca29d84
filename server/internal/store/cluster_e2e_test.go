// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package store_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
)

// syncRounds is how often a change is read at another replica.
const syncRounds = 1000

// Losing one server of three changes nothing; losing two makes calls fail, and
// all goes on when they are back.
func TestCluster_ServersLost(t *testing.T) {
	t.Parallel()
	c, r := openReplicas(t, 2)
	a, b := r[0], r[1]
	w := mustWatch(t, b, everything, 0)
	l := mustAcquire(t, a)
	mustAppend(t, a, newRecord("room", "id", starting))
	stored := []uint64{a.LastSequence()}
	leader := c.Leader("CLASSREC")
	c.Stop(leader)
	for range 5 {
		begin := time.Now()
		stored = append(stored, mustAppend(t, a, newRecord("room", "id", starting)).Revision)
		mustSync(t, b)
		if took := time.Since(begin); took > 20*time.Second {
			t.Errorf("with two servers it took %v", took)
		}
	}
	second := (leader + 1) % 3
	c.Stop(second)
	begin := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := a.Append(ctx, newRecord("other", "id", starting), 0)
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("append: %v", err)
	}
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("it took %v to say so: %v", took, err)
	}
	begin = time.Now()
	if _, err := a.Append(ctx, newRecord("another", "id", starting), 0); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("append: %v", err)
	}
	if took := time.Since(begin); took > 7*time.Second { // not the ten again
		t.Errorf("it took %v to say so again; first: %v", took, err)
	}
	waitFor(t, func() bool { return l.State() != store.Held })
	c.Start(leader)
	c.Start(second)
	for deadline := time.Now().Add(60 * time.Second); ; {
		e, err := a.Append(ctx, newRecord("room", "id", starting), a.RoomRevision(tenant, "room"))
		if err == nil {
			stored = append(stored, e.Revision)
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("append: %v", err)
		}
		ctx = t.Context()
	}
	for _, want := range stored {
		for {
			if got := mustReceive(t, w); got == want {
				break
			} else if got > want {
				t.Fatalf("the watcher got %d, and not %d", got, want)
			}
		}
	}
	for deadline := time.Now().Add(30 * time.Second); l.State() != store.Held; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the lease is %v", l.State())
		}
	}
}

// Three replicas write while servers are killed and cut off, one at a time, and
// replicas are cut off. What was acknowledged is there, once, in order; a
// revision was given to one; all replicas and a watcher agree.
func TestCluster_Chaos(t *testing.T) {
	t.Parallel()
	const rooms = 20
	c := storetest.NewCluster(t, 3)
	var links []*storetest.Client
	var replicas []*store.Store
	for range 3 {
		link := c.Client(t)
		links = append(links, link)
		replicas = append(replicas, openReplica(t, link.URLs(), store.Config{}))
	}
	w := mustWatch(t, replicas[0], everything, 0)
	seen := make(chan map[uint64]string, 1)
	stop := make(chan struct{})
	go func() {
		all := make(map[uint64]string)
		defer func() { seen <- all }()
		last := uint64(0)
		for {
			select {
			case e, ok := <-w.C():
				if !ok {
					t.Errorf("watch: %v", w.Err())
					return
				}
				if e.Revision <= last {
					t.Errorf("the watcher got %d after %d", e.Revision, last)
				}
				last = e.Revision
				all[e.Revision] = e.Record.GetClassBeginData()
			case <-stop:
				return
			}
		}
	}()

	var mu sync.Mutex
	acknowledged := make(map[uint64]string)
	var longest time.Duration
	failures := 0
	quit := make(chan struct{})
	var writers sync.WaitGroup
	for n, s := range replicas {
		for i := range 4 {
			writers.Go(func() {
				var lease *store.Lease
				for k := 0; ; k++ {
					select {
					case <-quit:
						return
					default:
					}
					room := fmt.Sprint("room", rand.N(rooms))
					rec := newRecord(room, "id", available)
					rec.ClassBeginData = fmt.Sprint(n, "-", i, "-", k)
					begin := time.Now()
					var e *store.Entry
					var err error
					if lease, err = s.Acquire(t.Context(), tenant, room); err == nil {
						e, err = s.AppendAs(t.Context(), lease, rec, s.RoomRevision(tenant, room))
						_ = lease.Release(t.Context())
					}
					mu.Lock()
					switch {
					case err == nil && acknowledged[e.Revision] != "":
						t.Errorf("%d was given twice", e.Revision)
					case err == nil:
						acknowledged[e.Revision] = rec.GetClassBeginData()
					case errors.Is(err, store.ErrUnavailable):
						failures++
					case !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrLeased) && !errors.Is(err, store.ErrFenced):
						t.Errorf("append: %v", err)
					}
					longest = max(longest, time.Since(begin))
					mu.Unlock()
					if err != nil {
						time.Sleep(20 * time.Millisecond)
					}
				}
			})
		}
	}
	count := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		t.Logf("%s: acknowledged %d, unavailable %d", what, len(acknowledged), failures)
	}
	for round := range 6 {
		count("healed")
		time.Sleep(time.Duration(500+rand.N(1000)) * time.Millisecond)
		switch victim := rand.N(3); round % 3 {
		case 0:
			if victim = c.Leader("CLASSREC"); victim < 0 {
				continue
			}
			c.Kill(victim)
			count("before kill")
			time.Sleep(time.Duration(2000+rand.N(8000)) * time.Millisecond)
			c.Start(victim)
		case 1:
			links[victim].Cut()
			count("before cut of client")
			time.Sleep(time.Duration(1000+rand.N(6000)) * time.Millisecond)
			links[victim].Heal()
		case 2:
			c.Cut(victim)
			count("before cut of server")
			time.Sleep(time.Duration(1000+rand.N(12000)) * time.Millisecond)
			c.Heal(victim)
		}
	}
	close(quit)
	writers.Wait()
	deadline := time.Now().Add(60 * time.Second)
	for _, s := range replicas {
		for s.Sync(t.Context()) != nil {
			if time.Now().After(deadline) {
				t.Fatal("a replica does not come back")
			}
		}
	}
	for _, s := range replicas[1:] {
		mustSync(t, s)
		for i := range rooms {
			room := fmt.Sprint("room", i)
			if a, b := replicas[0].RoomRevision(tenant, room), s.RoomRevision(tenant, room); a != b {
				t.Errorf("%s is at %d and at %d", room, a, b)
			}
		}
	}
	// The log read again, at another replica, is what the watcher saw.
	end := mustAppend(t, replicas[1], newRecord("room0", "end", available)).Revision
	mustSync(t, replicas[0])
	again := mustWatch(t, replicas[1], everything, 0)
	log := make(map[uint64]string)
	for e := range again.C() {
		if e.Revision == end {
			break
		}
		log[e.Revision] = e.Record.GetClassBeginData()
	}
	waitFor(t, func() bool { return len(w.C()) == 0 })
	close(stop)
	live := <-seen
	for revision, what := range acknowledged {
		if live[revision] != what {
			t.Errorf("%d was acknowledged to %s; the watcher saw %q", revision, what, live[revision])
		}
	}
	delete(live, end)
	if !maps.Equal(live, log) {
		t.Errorf("the watcher saw %d changes, the log has %d, or others", len(live), len(log))
	}
	t.Logf("acknowledged %d, unavailable %d, longest call %v", len(acknowledged), failures, longest)
}
