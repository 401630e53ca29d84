// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

package chaos_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/classrec/classrec/server/internal/chaostest"
)

// damageOnce does one of each that a short test has the time for.
func (c *clustering) damageOnce(ctx context.Context) {
	c.await(ctx)
	c.kill(ctx, c.busiest(ctx), time.Second)
	c.awaitTakenOver(ctx)
	c.crash(ctx, time.Second)
	c.cutFromDatabase(ctx, c.busiest(ctx), 8*time.Second, true)
	c.cutFromPlatform(ctx, c.replicas[2], time.Second, true)
	c.promote(ctx, time.Second)
	c.await(ctx)
}

// await waits until a few classes have been acknowledged that were not before.
func (c *clustering) await(ctx context.Context) {
	for n, deadline := c.ledger.Len()+len(c.rooms)/2, time.Now().Add(chaostest.Patience); c.ledger.Len() < n; {
		if time.Now().After(deadline) || !chaostest.Pause(ctx, 50*time.Millisecond) {
			c.t.Errorf("only %d classes were acknowledged", c.ledger.Len())
			return
		}
	}
}

// busiest returns the replica that has most rooms.
func (c *clustering) busiest(ctx context.Context) *replica {
	busiest, most := c.replicas[0], 0
	held := map[string]int{}
	for _, holder := range c.holders(ctx) {
		held[holder]++
	}
	for _, r := range c.replicas {
		lives := r.node.Lives()
		if n := held[lives[len(lives)-1].Replica()]; n > most {
			busiest, most = r, n
		}
	}
	return busiest
}

// awaitTakenOver waits until the replica that was killed last has no room any more.
func (c *clustering) awaitTakenOver(ctx context.Context) {
	dead := c.silent[len(c.silent)-1].replica
	for deadline := time.Now().Add(chaostest.Patience); slices.Contains(slices.Collect(maps.Values(c.holders(ctx))), dead); {
		if time.Now().After(deadline) || !chaostest.Pause(ctx, 200*time.Millisecond) {
			c.t.Error("the rooms of a replica that was killed are not taken over")
			return
		}
	}
}

// holders are the replicas that have rooms, by room.
func (c *clustering) holders(ctx context.Context) map[string]string {
	log, err := chaostest.ReadRawLog(ctx, c.own.URL())
	if err != nil {
		c.t.Errorf("read the log from the database: %v", err)
	}
	return chaostest.Holders(log)
}

// dice decides what is broken, and for how long.
type dice struct{ *rand.Rand }

func newDice(seed, number uint64) dice { return dice{rand.New(rand.NewPCG(seed, number))} }

// upTo returns a time that is greater than 0, and d at most.
func (r dice) upTo(d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) + 1 }

// damageAtRandom breaks something, and makes it whole again, until the time is over: of the replicas one at a time, and
// beside it the database. In the middle its standby is promoted. The seed decides what and for how long; what it meets there it does not.
func (c *clustering) damageAtRandom(ctx context.Context, until time.Time, seed uint64) {
	goesOn := func() bool { return time.Now().Before(until) && !c.t.Failed() && ctx.Err() == nil }
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() {
		middle := time.Now().Add(time.Until(until) / 2)
		for r := newDice(seed, 1); chaostest.Pause(ctx, 12*time.Second+r.upTo(20*time.Second)) && goesOn(); {
			if lasts := r.upTo(5 * time.Second); time.Now().After(middle) && !c.database.Promoted() {
				c.promote(ctx, lasts)
			} else {
				c.crash(ctx, lasts)
			}
		}
	})
	for r := newDice(seed, 0); chaostest.Pause(ctx, 2*time.Second+r.upTo(6*time.Second)) && goesOn(); {
		victim, lasts, breaks := c.replicas[r.IntN(3)], r.upTo(14*time.Second), r.IntN(2) == 0
		switch n := r.IntN(12); {
		case n < 5:
			c.kill(ctx, victim, lasts/2)
		case n < 6:
			c.freeze(ctx, victim, lasts)
		case n < 9:
			c.cutFromDatabase(ctx, victim, lasts, breaks)
		case n < 11:
			c.cutFromPlatform(ctx, victim, lasts/2, breaks)
		default:
			c.terminate(ctx, victim)
		}
	}
}

func (c *clustering) count(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done[what]++
	c.t.Logf("%v: %s", time.Now().UTC().Format(time.StampMilli), what)
}

// while notes that a replica is not well as long as something is done to it.
func (c *clustering) while(r *replica, do func()) {
	r.mu.Lock()
	r.sick = append(r.sick, span{from: time.Now()})
	r.mu.Unlock()
	do()
	r.mu.Lock()
	r.sick[len(r.sick)-1].to = time.Now()
	r.mu.Unlock()
}

// silence notes that a replica cannot be heard from now on, until what it returns is called.
func (c *clustering) silence(r *replica) (back func()) {
	lives := r.node.Lives()
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.silent)
	c.silent = append(c.silent, silence{at: time.Now(), replica: lives[len(lives)-1].Replica()})
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.silent[n].back = time.Now()
	}
}

// kill ends a replica by SIGKILL, and starts it again after a while.
func (c *clustering) kill(ctx context.Context, r *replica, away time.Duration) {
	c.count("replicas killed")
	c.while(r, func() {
		c.silence(r)
		r.node.Kill()
		chaostest.Pause(ctx, away)
		c.again(ctx, r)
	})
}

// terminate ends it in order.
func (c *clustering) terminate(ctx context.Context, r *replica) {
	c.count("replicas told to end")
	c.while(r, func() {
		if err := r.node.Terminate(ctx, 20*time.Second); err != nil {
			c.t.Errorf("replica %d, told to end: %v", r.number, err)
		}
		c.again(ctx, r)
	})
}

// again starts it. Without its database it waits for it; it may also give up, and is started anew as by its
// supervisor.
func (c *clustering) again(ctx context.Context, r *replica) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*chaostest.Patience)
	defer cancel()
	for {
		r.node.Begin()
		err := r.node.AwaitUp(ctx)
		if err == nil {
			return
		}
		r.node.Kill()
		if ctx.Err() != nil {
			c.t.Errorf("replica %d does not serve: %v", r.number, err)
			return
		}
		c.count("starts that the database has not let through")
	}
}

// freeze stops its process where it stands, with all that it was about to write.
func (c *clustering) freeze(ctx context.Context, r *replica, lasts time.Duration) {
	c.count("replicas frozen")
	c.while(r, func() {
		back := c.silence(r)
		r.node.Freeze()
		chaostest.Pause(ctx, lasts)
		r.node.Thaw()
		back()
	})
}

// cutFromDatabase delays all between it and the database: at the end what was held comes, or the connections break.
func (c *clustering) cutFromDatabase(ctx context.Context, r *replica, lasts time.Duration, breaks bool) {
	c.count("replicas cut off from the database")
	c.while(r, func() {
		back := c.silence(r)
		r.database.Hold()
		chaostest.Pause(ctx, lasts)
		if breaks {
			r.database.Cut()
		}
		r.database.Release()
		back()
	})
}

// cutFromPlatform is the same with the platform.
func (c *clustering) cutFromPlatform(ctx context.Context, r *replica, lasts time.Duration, breaks bool) {
	c.count("replicas cut off from the platform")
	c.while(r, func() {
		r.platform.Hold()
		if breaks {
			r.platform.Cut()
		}
		chaostest.Pause(ctx, lasts)
		r.platform.Release()
	})
}

// without notes that the database is away until what is done is done.
func (c *clustering) without(do func()) {
	c.mu.Lock()
	c.away = append(c.away, span{from: time.Now()})
	n := len(c.away) - 1
	c.mu.Unlock()
	do()
	c.mu.Lock()
	c.away[n].to = time.Now()
	c.mu.Unlock()
}

// crash ends the database as a power cut would, and starts it again after a while.
func (c *clustering) crash(ctx context.Context, away time.Duration) {
	c.count("the database has crashed")
	c.without(func() {
		c.database.Crash()
		chaostest.Pause(ctx, away)
		c.database.Recover()
	})
}

// promote ends it for good, and has its standby take its place after a while.
func (c *clustering) promote(ctx context.Context, away time.Duration) {
	c.count("the standby was promoted")
	c.without(func() {
		c.database.Crash()
		chaostest.Pause(ctx, away)
		c.database.Promote()
	})
}
