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
	c.loseServer(ctx, rand.IntN(3), 2*time.Second)
	c.cutFromNATS(ctx, c.busiest(ctx), 8*time.Second, true)
	c.cutFromPlatform(ctx, c.replicas[2], time.Second, true)
	c.loseTwo(ctx, rand.IntN(3), 2*time.Second)
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
	log, err := chaostest.ReadRawLog(ctx, c.own.URLs())
	if err != nil {
		c.t.Errorf("read the log from NATS: %v", err)
	}
	return chaostest.Holders(log)
}

// dice decides what is broken, and for how long.
type dice struct{ *rand.Rand }

func newDice(seed, number uint64) dice { return dice{rand.New(rand.NewPCG(seed, number))} }

// upTo returns a time that is greater than 0, and d at most.
func (r dice) upTo(d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) + 1 }

// damageAtRandom breaks something, and makes it whole again, until the time is over: of the replicas one at a time, and
// beside it of NATS. The seed decides what and for how long; what it meets there it does not.
func (c *clustering) damageAtRandom(ctx context.Context, until time.Time, seed uint64) {
	goesOn := func() bool { return time.Now().Before(until) && !c.t.Failed() && ctx.Err() == nil }
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() {
		for r := newDice(seed, 1); chaostest.Pause(ctx, 12*time.Second+r.upTo(20*time.Second)) && goesOn(); {
			i, lasts := r.IntN(3), r.upTo(10*time.Second)
			switch n := r.IntN(6); {
			case n < 3:
				c.loseServer(ctx, i, lasts)
			case n < 5:
				c.cutServer(ctx, i, lasts)
			default:
				c.loseTwo(ctx, i, lasts/2)
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
			c.cutFromNATS(ctx, victim, lasts, breaks)
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

// again starts it. Without a quorum of NATS it waits for one; it may also give up, and is started anew as by its
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
		c.count("starts that NATS has not let through")
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

// cutFromNATS delays all between it and NATS: at the end what was held comes, or the connections break.
func (c *clustering) cutFromNATS(ctx context.Context, r *replica, lasts time.Duration, breaks bool) {
	c.count("replicas cut off from NATS")
	c.while(r, func() {
		back := c.silence(r)
		r.nats.Hold()
		chaostest.Pause(ctx, lasts)
		if breaks {
			r.nats.Cut()
		}
		r.nats.Release()
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

// without notes that a part of NATS is away until it is whole again.
func (c *clustering) without(spans *[]span, do func()) {
	c.mu.Lock()
	*spans = append(*spans, span{from: time.Now()})
	n := len(*spans) - 1
	c.mu.Unlock()
	do()
	c.mu.Lock()
	(*spans)[n].to = time.Now()
	c.mu.Unlock()
}

// loseServer kills a server of NATS, and starts it again after a while.
func (c *clustering) loseServer(ctx context.Context, i int, away time.Duration) {
	c.count("NATS servers killed")
	c.without(&c.fewer, func() {
		c.nats.Kill(i)
		chaostest.Pause(ctx, away)
		c.startServers(ctx, i)
	})
}

// cutServer cuts it off from the other two.
func (c *clustering) cutServer(ctx context.Context, i int, lasts time.Duration) {
	c.count("NATS servers cut off")
	c.without(&c.fewer, func() {
		c.nats.Hold(i)
		chaostest.Pause(ctx, lasts)
		c.nats.Release(i)
		c.startServers(ctx)
	})
}

// loseTwo kills all but one: then there is no quorum.
func (c *clustering) loseTwo(ctx context.Context, stays int, away time.Duration) {
	c.count("two NATS servers killed at once")
	c.without(&c.noQuorum, func() {
		one, other := (stays+1)%3, (stays+2)%3
		c.nats.Kill(one)
		c.nats.Kill(other)
		chaostest.Pause(ctx, away)
		c.startServers(ctx, one, other)
	})
}

// startServers starts those of NATS that are given, and waits until all are well.
func (c *clustering) startServers(ctx context.Context, which ...int) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), chaostest.Patience)
	defer cancel()
	for _, i := range which {
		if err := c.nats.Start(ctx, i); err != nil {
			c.t.Error(err)
			return
		}
	}
	for i := range 3 {
		if err := c.nats.AwaitHealthy(ctx, i); err != nil {
			c.t.Error(err)
		}
	}
}
