// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
)

// leaseTTL is that of the tests: short, but machines stall.
const leaseTTL = 3 * time.Second

// openReplica opens a store on a cluster.
func openReplica(t testing.TB, urls string, cfg store.Config) *store.Store {
	t.Helper()
	cfg.NATSURL, cfg.Replicas = urls, 3
	if cfg.LeaseTTL == 0 {
		cfg.LeaseTTL = leaseTTL
	}
	return storetest.OpenConfig(t, cfg)
}

// openReplicas opens stores on a new cluster of three servers.
func openReplicas(t testing.TB, n int) (*storetest.Cluster, []*store.Store) {
	t.Helper()
	return openReplicasConfig(t, n, store.Config{})
}

func openReplicasConfig(t testing.TB, n int, cfg store.Config) (*storetest.Cluster, []*store.Store) {
	t.Helper()
	c := storetest.NewCluster(t, 3)
	all := make([]*store.Store, n)
	for i := range all {
		all[i] = openReplica(t, c.URLs(), cfg)
	}
	return c, all
}

// mustAcquire acquires the room as soon as it can.
func mustAcquire(t testing.TB, s *store.Store) *store.Lease {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		l, err := s.Acquire(t.Context(), tenant, "room")
		if err == nil {
			return l
		}
		if time.Now().After(deadline) {
			t.Fatalf("acquire: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func mustSync(t testing.TB, s *store.Store) {
	t.Helper()
	if err := s.Sync(t.Context()); err != nil {
		t.Fatalf("sync: %v", err)
	}
}

// waitChange waits until the changes, put together, satisfy.
func waitChange(t testing.TB, c *store.Changes, satisfy func(rooms []string, all bool) bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case <-c.C():
			if satisfy(c.Take()) {
				return
			}
		case <-deadline:
			t.Fatal("the change is not told")
		}
	}
}

func isAll(_ []string, all bool) bool { return all }

// What one replica stores, every other reads after a Sync; of two Appends on
// one revision one wins, and the loser sees why.
func TestCluster_OneLog(t *testing.T) {
	t.Parallel()
	_, r := openReplicas(t, 3)
	for i := range syncRounds {
		e := mustAppend(t, r[0], newRecord("room", "id", available))
		reader := r[1+i%2]
		mustSync(t, reader)
		if got := reader.RoomRevision(tenant, "room"); got != e.Revision {
			t.Fatalf("round %d: it reads %d after %d was stored", i, got, e.Revision)
		}
	}
	for i := range 50 {
		revision := r[0].RoomRevision(tenant, "room")
		mustSync(t, r[1])
		mustSync(t, r[2])
		var wins atomic.Int32
		var wg sync.WaitGroup
		for n, s := range r {
			wg.Go(func() {
				_, err := s.Append(t.Context(), newRecord("room", fmt.Sprint("id", n), available), revision)
				switch {
				case err == nil:
					wins.Add(1)
				case !errors.Is(err, store.ErrConflict):
					t.Errorf("append: %v", err)
				case s.RoomRevision(tenant, "room") == revision:
					t.Error("the loser does not see why")
				}
			})
		}
		wg.Wait()
		if wins.Load() != 1 {
			t.Fatalf("round %d: %d have won", i, wins.Load())
		}
		mustSync(t, r[0])
	}
	// A watcher goes on at another replica, which may not be as far.
	w := mustWatch(t, r[0], everything, 0)
	for range 20 {
		mustReceive(t, w)
	}
	last := mustReceive(t, w)
	w = mustWatch(t, r[2], everything, last)
	if got := mustReceive(t, w); got != last+1 {
		t.Errorf("resumed after %d: got %d", last, got)
	}
	e := mustAppend(t, r[0], newRecord("room", "last", available))
	mustWatch(t, r[1], everything, e.Revision)
	var ahead *store.AheadError
	if _, err := r[1].Watch(t.Context(), everything, e.Revision+1); !errors.As(err, &ahead) {
		t.Errorf("watch after what is not there: %v", err)
	}
}

// Who alone writes to a room is never refused, however fast: the leader
// acknowledges a message before it has forgotten that it was under way.
func TestCluster_OneWriterHasNoConflict(t *testing.T) {
	t.Parallel()
	_, r := openReplicas(t, 1)
	var revision uint64
	for i := range syncRounds {
		e, err := r[0].Append(t.Context(), newRecord("room", "id", available), revision)
		if err != nil {
			t.Fatalf("append %d: %v", i, err)
		}
		revision = e.Revision
	}
}

func TestCluster_OneLeaseOfARoom(t *testing.T) {
	t.Parallel()
	_, r := openReplicas(t, 3)
	var won atomic.Pointer[store.Lease]
	var wins atomic.Int32
	var wg sync.WaitGroup
	for i := range 300 {
		s := r[i%3]
		wg.Go(func() {
			l, err := s.Acquire(t.Context(), tenant, "room")
			switch {
			case err == nil:
				won.Store(l)
				wins.Add(1)
			case !errors.Is(err, store.ErrLeased) && !errors.Is(err, store.ErrConflict):
				t.Errorf("acquire: %v", err)
			}
		})
	}
	wg.Wait()
	if wins.Load() != 1 {
		t.Fatalf("%d hold the room", wins.Load())
	}
	if state := won.Load().State(); state != store.Held {
		t.Errorf("it is %v", state)
	}
	holder, _ := r[0].Holder(tenant, "room")
	for _, s := range r {
		mustSync(t, s)
		if id, alive := s.Holder(tenant, "room"); id != holder || !alive {
			t.Errorf("%s says that %q, alive %t, holds it; another says %q", s.ReplicaID(), id, alive, holder)
		}
	}
	ranks := make(map[int]bool)
	for _, s := range r {
		ranks[s.Rank(tenant, "room")] = true
	}
	if !ranks[0] || !ranks[1] || !ranks[2] {
		t.Errorf("ranks %v", ranks)
	}
}

// A lease that was released, and one that was taken from a dead replica: what
// of the room's past may have been acted on.
func TestCluster_ReleaseAndResume(t *testing.T) {
	t.Parallel()
	const ttl = 20 * time.Second // nobody is to believe that it has to be waited for
	_, r := openReplicasConfig(t, 2, store.Config{LeaseTTL: ttl})
	a, b := r[0], r[1]
	changes := b.Changes(tenant)
	defer changes.Close()

	first := mustAppend(t, a, newRecord("room", "id", starting))
	l := mustAcquire(t, a)
	if l.Resumed(first) {
		t.Error("nobody can have acted in a room that never was leased")
	}
	second, err := a.AppendAs(t.Context(), l, newRecord("room", "id", recording), a.RoomRevision(tenant, "room"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Acquire(t.Context(), tenant, "room"); !errors.Is(err, store.ErrLeased) {
		t.Errorf("acquire again: %v", err)
	}
	mustSync(t, b)
	if _, err := b.Acquire(t.Context(), tenant, "room"); !errors.Is(err, store.ErrLeased) {
		t.Errorf("acquire what is held: %v", err)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l.State() != store.Lost {
		t.Errorf("released, it is %v", l.State())
	}
	if _, err := a.AppendAs(t.Context(), l, newRecord("room", "id", available), a.RoomRevision(tenant, "room")); err != store.ErrFenced { //nolint:errorlint // it wraps nothing
		t.Errorf("append with a released lease: %v", err)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Errorf("release again: %v", err)
	}
	waitChange(t, changes, func(rooms []string, _ bool) bool { return len(rooms) == 1 && rooms[0] == "room" })
	third := mustAppend(t, a, newRecord("room", "id", available))
	l = mustAcquire(t, b)
	if !l.Resumed(first) || !l.Resumed(second) || l.Resumed(third) {
		t.Errorf("resumed: %t %t %t", l.Resumed(first), l.Resumed(second), l.Resumed(third))
	}
	if err := b.Close(); err != nil { // a clean end is known at once
		t.Fatal(err)
	}
	if l.State() != store.Lost {
		t.Errorf("closed, it is %v", l.State())
	}
	begin := time.Now()
	l = mustAcquire(t, a)
	if took := time.Since(begin); took > ttl/2 {
		t.Errorf("it took %v", took)
	}
	last := mustAppend(t, a, newRecord("room", "id", available))
	if !l.Resumed(third) || !l.Resumed(last) {
		t.Error("what the dead replica left may have been acted on")
	}
}

// A replica that is cut off knows that before others take its rooms over; when
// it is back, what it held is lost and its token is of no use.
func TestCluster_Fencing(t *testing.T) {
	t.Parallel()
	c := storetest.NewCluster(t, 3)
	link := c.Client(t)
	a := openReplica(t, link.URLs(), store.Config{AckTimeout: 2 * time.Second})
	b := openReplica(t, c.URLs(), store.Config{})
	l := mustAcquire(t, a)
	mustAppend(t, a, newRecord("room", "id", starting))
	told := a.Changes(tenant)
	defer told.Close()
	mustSync(t, b)

	link.Cut()
	cut := time.Now()
	for l.State() != store.Suspended {
		if _, err := b.Acquire(t.Context(), tenant, "room"); err == nil {
			t.Fatal("it is taken over before it is suspended")
		}
		if time.Since(cut) > 20*time.Second {
			t.Fatal("it is not suspended")
		}
		time.Sleep(5 * time.Millisecond)
	}
	waitChange(t, told, isAll)
	taken := mustAcquire(t, b)
	took := time.Since(cut)
	t.Logf("taken over after %v", took)
	if took > 3*leaseTTL { // on a busy machine; `make chaos` measures it
		t.Errorf("taken over after %v", took)
	}
	e, err := b.AppendAs(t.Context(), taken, newRecord("room", "id", recording), b.RoomRevision(tenant, "room"))
	if err != nil {
		t.Fatal(err)
	}
	if l.State() != store.Suspended {
		t.Errorf("cut off, it is %v", l.State())
	}
	revision := a.RoomRevision(tenant, "room")
	link.Heal()
	// Whatever it believes: at once, and when it knows all.
	for deadline := time.Now().Add(30 * time.Second); ; {
		_, err := a.AppendAs(t.Context(), l, newRecord("room", "id", available), revision)
		if err == store.ErrFenced { //nolint:errorlint // it wraps nothing
			break
		}
		if err == nil || !errors.Is(err, store.ErrUnavailable) || time.Now().After(deadline) {
			t.Fatalf("append with the old token: %v", err)
		}
	}
	if _, err := a.AppendAs(t.Context(), l, newRecord("room", "id", available), a.RoomRevision(tenant, "room")); err != store.ErrFenced { //nolint:errorlint // it wraps nothing
		t.Fatalf("append with the old token: %v", err)
	}
	if l.State() != store.Lost {
		t.Errorf("it is %v", l.State())
	}
	if err := l.Release(t.Context()); err != nil {
		t.Errorf("release what is lost: %v", err)
	}
	mustSync(t, b)
	if got := b.RoomRevision(tenant, "room"); got != e.Revision || taken.State() != store.Held {
		t.Errorf("the room is at %d, not %d; the lease is %v", got, e.Revision, taken.State())
	}
	waitFor(t, func() bool { return a.Err() == nil && a.RoomRevision(tenant, "room") == e.Revision })
}

// A replica that is alone is suspended when it cannot be heard, and goes on
// with what it has when it is back.
func TestCluster_SuspendedAndBack(t *testing.T) {
	t.Parallel()
	c := storetest.NewCluster(t, 3)
	link := c.Client(t)
	a := openReplica(t, link.URLs(), store.Config{AckTimeout: time.Second})
	l := mustAcquire(t, a)
	e := mustAppend(t, a, newRecord("room", "id", starting))
	told := a.Changes(tenant)
	defer told.Close()
	link.Cut()
	waitChange(t, told, isAll)
	if l.State() != store.Suspended {
		t.Errorf("it is %v", l.State())
	}
	// Nothing waits longer than it has to, and nobody for another.
	begin := time.Now()
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if _, err := a.Append(t.Context(), newRecord(fmt.Sprint("room", i), "id", starting), 0); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("append: %v", err)
			}
			if err := a.Sync(t.Context()); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("sync: %v", err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(begin); took > 20*time.Second { // one after another, 40 s at least
		t.Errorf("forty calls took %v", took)
	}
	if a.Err() == nil {
		t.Error("it is said to be ready")
	}
	link.Heal()
	waitChange(t, told, func(_ []string, all bool) bool { return all && l.State() == store.Held })
	if l.Resumed(e) {
		t.Error("nobody else can have acted")
	}
	if _, err := a.AppendAs(t.Context(), l, newRecord("room", "id", recording), e.Revision); err != nil {
		t.Errorf("append with the same token: %v", err)
	}
	waitFor(t, func() bool { return a.Err() == nil })
}

// Of Starts with one request id on three replicas one wins, in one room or in
// several.
func TestCluster_Claims(t *testing.T) {
	t.Parallel()
	_, r := openReplicas(t, 3)
	// start does what a handler does; it returns the recording that answers.
	start := func(s *store.Store, room, id, request string) (*store.Entry, error) {
		rec := newRecord(room, id, starting)
		rec.RequestId = request
		for {
			if err := s.Claim(t.Context(), tenant, request, room, id); err != nil {
				return nil, err
			}
			revision := s.RoomRevision(tenant, room)
			if e, ok := s.ByRequestID(tenant, request); ok {
				return e, nil
			}
			e, err := s.Append(t.Context(), rec, revision)
			if err == nil || !errors.Is(err, store.ErrConflict) {
				return e, err
			}
		}
	}
	for round := range 15 {
		request := fmt.Sprint("request", round)
		var mu sync.Mutex
		answers := make(map[string]bool)
		var wg sync.WaitGroup
		for i, s := range r {
			room := fmt.Sprint("room", round)
			if round%2 == 1 {
				room = fmt.Sprint("room", round, "-", i)
			}
			wg.Go(func() {
				e, err := start(s, room, fmt.Sprint("id", round, "-", i), request)
				if err != nil {
					t.Errorf("start: %v", err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				answers[e.Record.GetId()] = true
			})
		}
		wg.Wait()
		if len(answers) != 1 {
			t.Errorf("round %d: %v were started", round, answers)
		}
	}
	// A start that failed before it had a name frees its request id, for all.
	e, err := start(r[0], "gone", "gone", "again")
	if err != nil {
		t.Fatal(err)
	}
	failure := newRecord("gone", "gone", failed)
	failure.RequestId = "again"
	if _, err := r[0].Append(t.Context(), failure, e.Revision); err != nil {
		t.Fatal(err)
	}
	if e, err = start(r[1], "other", "other", "again"); err != nil || e.Record.GetId() != "other" {
		t.Fatalf("start after a failed one: %v, %v", e, err)
	}
	// An Append without a claim, and one that was given up.
	rec := newRecord("late", "late", starting)
	rec.RequestId = "late"
	if _, err := r[0].Append(t.Context(), rec, 0); !errors.Is(err, store.ErrConflict) {
		t.Errorf("append without a claim: %v", err)
	}
	if err := r[0].Claim(t.Context(), tenant, "late", "late", "late"); err != nil {
		t.Fatal(err)
	}
	if err := r[0].Unclaim(t.Context(), tenant, "late", "late"); err != nil {
		t.Fatal(err)
	}
	if _, err := r[0].Append(t.Context(), rec, 0); !errors.Is(err, store.ErrConflict) {
		t.Errorf("append after its claim was given up: %v", err)
	}
	begin := time.Now()
	if _, err := start(r[2], "late", "later", "late"); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("after a claim was given up it took %v", took)
	}
}

// A claim whose recording never comes is taken over; its own Append comes too
// late then.
func TestCluster_ClaimTakenOver(t *testing.T) {
	t.Parallel()
	c := storetest.NewCluster(t, 3)
	a := openReplica(t, c.URLs(), store.Config{AckTimeout: time.Second})
	b := openReplica(t, c.URLs(), store.Config{AckTimeout: time.Second})
	for _, s := range []*store.Store{a, b} {
		begin := time.Now()
		if err := s.Claim(t.Context(), tenant, "request", "room", s.ReplicaID()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); s == b && took < 2*time.Second {
			t.Errorf("it was taken over after %v", took)
		}
	}
	for _, s := range []*store.Store{a, b} {
		rec := newRecord("room", s.ReplicaID(), starting)
		rec.RequestId = "request"
		_, err := s.Append(t.Context(), rec, 0)
		if s == a && !errors.Is(err, store.ErrConflict) || s == b && err != nil {
			t.Errorf("append: %v", err)
		}
	}
	if err := a.Claim(t.Context(), tenant, "request", "room", "another"); err != nil {
		t.Fatal(err)
	}
	if e, ok := a.ByRequestID(tenant, "request"); !ok || e.Record.GetId() != b.ReplicaID() {
		t.Errorf("the answer is %v", e)
	}
}

func TestCluster_OneSealingKey(t *testing.T) {
	t.Parallel()
	c := storetest.NewCluster(t, 3)
	for _, key := range []string{"key", "key", ""} {
		openReplica(t, c.URLs(), store.Config{Fingerprint: []byte(key)})
	}
	if s, err := store.Open(t.Context(), store.Config{NATSURL: c.URLs(), Replicas: 3, Fingerprint: []byte("other")}); !errors.Is(err, store.ErrOtherKey) {
		t.Errorf("with another key: %v", err)
		if err == nil {
			_ = s.Close()
		}
	}
}

// A later process with the same id takes the place of the earlier one.
func TestCluster_SameReplicaID(t *testing.T) {
	t.Parallel()
	c := storetest.NewCluster(t, 3)
	a := openReplica(t, c.URLs(), store.Config{ReplicaID: "same"})
	l := mustAcquire(t, a)
	e := mustAppend(t, a, newRecord("room", "id", starting))
	b := openReplica(t, c.URLs(), store.Config{ReplicaID: "same"})
	waitFor(t, func() bool { return l.State() == store.Suspended })
	taken := mustAcquire(t, b)
	if !taken.Resumed(e) {
		t.Error("the earlier process may have acted")
	}
	if _, err := a.AppendAs(t.Context(), l, newRecord("room", "id", recording), e.Revision); err == nil {
		t.Error("the earlier process still writes")
	}
	mustSync(t, a)
	if l.State() != store.Lost || taken.State() != store.Held {
		t.Errorf("they are %v and %v", l.State(), taken.State())
	}
}

func TestCluster_Ask(t *testing.T) {
	t.Parallel()
	_, r := openReplicas(t, 3)
	ask := func(to, request string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		answer, err := r[0].Ask(ctx, tenant, to, []byte(request))
		return string(answer), err
	}
	release, running := make(chan struct{}), make(chan struct{}, 64)
	r[1].Answer(tenant, func(ctx context.Context, request []byte) []byte {
		switch string(request) {
		case "wait":
			running <- struct{}{}
			select {
			case <-release:
			case <-ctx.Done():
			}
		case "big":
			return make([]byte, 64<<20)
		}
		return append(request, '!')
	})
	waitFor(t, func() bool { answer, err := ask(r[1].ReplicaID(), "hello"); return err == nil && answer == "hello!" })
	if answer, err := ask(r[1].ReplicaID(), ""); err != nil || answer != "!" {
		t.Errorf("nothing asked: %q, %v", answer, err)
	}
	for name, to := range map[string]string{"nobody": "nobody", "one that does not answer": r[2].ReplicaID()} {
		if _, err := ask(to, "hello"); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ask(r[1].ReplicaID(), "big"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("an answer that is too big: %v", err)
	}
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if answer, err := ask(r[1].ReplicaID(), "wait"); err != nil || answer != "wait!" {
				t.Errorf("one of many: %q, %v", answer, err)
			}
		})
	}
	for range 64 {
		<-running
	}
	if _, err := ask(r[1].ReplicaID(), "hello"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("one too many: %v", err)
	}
	close(release)
	wg.Wait()
	if err := r[1].Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(r[1].ReplicaID(), "hello"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("one that is dead: %v", err)
	}
}
