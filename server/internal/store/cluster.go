// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"
)

const (
	// pollEvery is how often the database is looked at for what other processes
	// have stored, beside when they ring.
	pollEvery = 500 * time.Millisecond
	// channel is the channel of LISTEN and NOTIFY.
	channel = "classrec"
	// databaseNow is the database's clock in Unix microseconds.
	databaseNow = `(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`
)

// cluster is what a process has that shares its database with others.
type cluster struct {
	*Store
	presence *presence
	life     string        // of this process: a ULID, so that the later one wins
	rung     bell          // somebody has stored something
	ringing  chan struct{} // holds one while others are to be told
	answers  answers
}

func newCluster(s *Store) *cluster {
	return &cluster{
		Store:    s,
		presence: &presence{self: s.cfg.ReplicaID, ttl: s.cfg.LeaseTTL},
		life:     ulid.Make().String(),
		ringing:  make(chan struct{}, 1),
	}
}

// start makes this replica known, and follows the others from then on.
func (c *cluster) start(ctx context.Context) error {
	if err := c.beat(ctx); err != nil {
		return fmt.Errorf("join the replicas: %w", err)
	}
	c.running.Go(c.beatOn)
	c.running.Go(c.poll)
	c.running.Go(c.listen)
	c.running.Go(c.ringOn)
	c.running.Go(c.serveQuestions)
	return nil
}

// notify tells the other processes that something was stored. It does not wait.
func (c *cluster) notify() {
	select {
	case c.ringing <- struct{}{}:
	default:
	}
}

func (c *cluster) ringOn() {
	for {
		select {
		case <-c.ringing:
			ctx, cancel := c.bounded(time.Second)
			c.notifyOnce(ctx)
			cancel()
		case <-c.lifetime.Done():
			return
		}
	}
}

// listen waits for what other processes ring, until the store is closed.
func (c *cluster) listen() {
	for c.lifetime.Err() == nil {
		_ = c.listenOnce() // the poller sees to it that nothing is missed
		sleep(c.lifetime, time.Second)
	}
}

func (c *cluster) listenOnce() error {
	ctx, cancel := context.WithTimeout(c.lifetime, c.cfg.Timeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, c.db.postgres.Copy())
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	for {
		n, err := conn.WaitForNotification(c.lifetime)
		if err != nil {
			return err
		}
		if n.Payload != c.cfg.ReplicaID {
			c.rung.ring()
		}
	}
}

// poll takes in what other processes store, until the store is closed.
func (c *cluster) poll() {
	troubled := false
	for {
		rung := c.rung.wait()
		ctx, cancel := c.bounded(c.cfg.Timeout)
		err := c.catchUp(ctx)
		if err == nil {
			err = c.look(ctx)
		}
		cancel()
		if err != nil && !troubled && c.lifetime.Err() == nil {
			c.log.Warn("the database cannot be read; trying again", "error", err)
		}
		if err == nil && troubled {
			c.log.Info("the database can be read again")
		}
		if troubled = err != nil; troubled && c.lifetime.Err() == nil {
			c.fail(err) // until the next change, or beat, is stored
		}
		c.deliveries.ring()
		select {
		case <-rung:
		case <-time.After(pollEvery):
		case <-c.lifetime.Done():
			return
		}
	}
}

// Sync returns when reads show all that was stored before the call, by
// whichever process. With SQLite it returns at once: nobody else stores
// anything, and Append returns only when reads show it.
//
// Errors: ErrUnavailable, after Config.Timeout at most; ctx's error.
func (s *Store) Sync(ctx context.Context) error {
	if s.cluster == nil {
		return nil
	}
	asking, done := s.asking(ctx)
	defer done()
	if err := s.cluster.catchUp(asking); err != nil {
		return s.because(ctx, fmt.Errorf("sync: %w", err))
	}
	return nil
}

// catchUp takes in all that is in the database.
func (c *cluster) catchUp(ctx context.Context) error {
	p, err := c.progress(ctx)
	if err != nil {
		return err
	}
	if last := c.index.lastSequence(); p.id == c.HistoryID() && p.last == last {
		return nil
	}
	select {
	case c.following <- struct{}{}:
		defer func() { <-c.following }()
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	}
	last := c.index.lastSequence()
	switch {
	case p.id != c.HistoryID():
		if now, err := c.progress(ctx); err != nil || now.id == c.HistoryID() {
			return err
		}
		return c.reload(ctx, "the database has another history", &AheadError{Last: p.last})
	case p.last < last:
		// It may be the answer that is old.
		if now, err := c.progress(ctx); err != nil || now.last >= last {
			return err
		}
		c.relive("the database ends before what was read of it")
		return nil
	}
	if p.forgotten > 0 {
		c.index.forgot(p.forgotten)
	}
	return c.fetch(ctx, p.last)
}

// presence is which replicas are alive, as the database says. Each has a row,
// which it renews every fifth of the TTL, by the clock of the database. It
// counts itself as alive until three quarters of the TTL after it began to
// renew: so it knows before the others do.
type presence struct {
	self string
	ttl  time.Duration

	mu         sync.RWMutex
	validUntil time.Time // of ourselves
	superseded bool      // a later process has our id
	living     []string  // by id
}

func (p *presence) valid() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return !p.superseded && time.Now().Before(p.validUntil)
}

func (p *presence) isAlive(replica string) bool {
	if replica == p.self {
		return p.valid()
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.Contains(p.living, replica)
}

// all returns the replicas that are taken for alive, ourselves among them.
func (p *presence) all() []string {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if slices.Contains(p.living, p.self) {
		return p.living
	}
	return append(slices.Clone(p.living), p.self)
}

// set takes in who is alive, and reports whether that is news.
func (p *presence) set(living []string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Equal(p.living, living) {
		return false
	}
	p.living = living
	return true
}

// beatOn renews our row until the store is closed, and removes it then.
func (c *cluster) beatOn() {
	wasValid := true
	tell := func() {
		if valid := c.presence.valid(); valid != wasValid {
			wasValid = valid
			c.log.Warn("the leases of this replica change", "held", valid)
			c.hub.all()
		}
	}
	for c.lifetime.Err() == nil {
		begun := time.Now()
		ctx, cancel := c.bounded(max(c.presence.ttl/4, 500*time.Millisecond))
		stop := context.AfterFunc(c.lifetime, cancel)
		err := c.beat(ctx)
		stop()
		cancel()
		if err != nil && c.lifetime.Err() == nil {
			c.log.Warn("the other replicas cannot be told that this one is alive", "error", err)
		}
		tell()
		for c.lifetime.Err() == nil && time.Since(begun) < c.presence.ttl/5 {
			sleep(c.lifetime, c.presence.ttl/20)
			tell()
		}
	}
	ctx, cancel := c.bounded(time.Second)
	defer cancel()
	_, err := c.db.write.ExecContext(ctx, `DELETE FROM replica WHERE id = $1 AND life = $2`, c.cfg.ReplicaID, c.life)
	if err != nil {
		c.log.Warn("the other replicas could not be told that this one ends", "error", err)
	}
	c.notifyOnce(ctx)
}

// notifyOnce tells the other processes. A database that does not know how leaves
// all to the poller.
func (c *cluster) notifyOnce(ctx context.Context) {
	_, _ = c.db.write.ExecContext(ctx, "SELECT pg_notify($1, $2)", channel, c.cfg.ReplicaID)
}

// beat renews our row. When the others may have taken us for dead, we are valid
// again only once we have read what they have done meanwhile.
func (c *cluster) beat(ctx context.Context) error {
	begun := time.Now()
	ttl := c.presence.ttl.Microseconds()
	n := int64(0)
	_, err := c.db.transact(ctx, func(t *tx) (err error) {
		n, err = t.exec(`INSERT INTO replica (id, life, until) VALUES ($1, $2, `+databaseNow+` + $3)
			ON CONFLICT (id) DO UPDATE SET life = excluded.life, until = excluded.until WHERE replica.life <= excluded.life`,
			c.cfg.ReplicaID, c.life, ttl)
		if err == nil {
			_, err = t.exec(`DELETE FROM replica WHERE until < `+databaseNow+` - $1`, 20*ttl)
		}
		return err
	})
	if err != nil {
		return err
	}
	c.failed.Store(nil)
	if n == 0 {
		c.presence.mu.Lock()
		known := c.presence.superseded
		c.presence.superseded = true
		c.presence.mu.Unlock()
		if !known {
			c.log.Error("another process has the id of this replica, which works no room any more", "replica", c.cfg.ReplicaID)
		}
		return nil
	}
	if !c.presence.valid() {
		if err := c.catchUp(ctx); err != nil {
			return err
		}
	}
	c.presence.mu.Lock()
	if until := begun.Add(3 * c.presence.ttl / 4); until.After(c.presence.validUntil) {
		c.presence.validUntil = until
	}
	c.presence.mu.Unlock()
	return c.look(ctx)
}

// look reads who is alive, and says that every room has to be looked at when
// that are others.
func (c *cluster) look(ctx context.Context) error {
	var living []string
	err := c.db.query(ctx, func(row scanner) error {
		var id string
		err := row.Scan(&id)
		living = append(living, id)
		return failed(err)
	}, `SELECT id FROM replica WHERE until > `+databaseNow+` ORDER BY id`)
	if err == nil && c.presence.set(living) {
		c.log.Info("the living replicas are others now", "replicas", living)
		c.hub.all()
	}
	return err
}

// maxAnswers bounds how many requests of other replicas run at once, of each
// tenant.
const maxAnswers = 64

type answers struct {
	mu sync.Mutex
	by map[string]func(ctx context.Context, request []byte) []byte // by tenant
}

// States of a question.
const (
	asked = iota
	answered
	refused
)

// Ask sends a tenant's request to another replica and returns what its Answer
// function for that tenant answers. A request may be answered though its answer
// is lost. It waits as long as ctx lets it, or, when ctx has no deadline, for
// three times Config.Timeout.
//
// Errors: ErrUnavailable when there is no such replica, it does not know the
// tenant or does not answer, or it has too much to do; ctx's error.
func (s *Store) Ask(ctx context.Context, tenant, replica string, request []byte) ([]byte, error) {
	if !isToken(replica) || !isToken(tenant) {
		return nil, fmt.Errorf("ask replica %s: %w", replica, ErrInvalid)
	}
	if s.cluster == nil {
		return nil, fmt.Errorf("ask replica %s: %w: there is no other replica", replica, ErrUnavailable)
	}
	patience := 3 * s.cfg.Timeout
	if deadline, ok := ctx.Deadline(); ok {
		patience = time.Until(deadline)
	}
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer context.AfterFunc(s.lifetime, cancel)() //nolint:contextcheck // it ends with either
	answer, err := s.cluster.ask(asking, tenant, replica, request, patience)
	if err != nil {
		return nil, s.because(ctx, fmt.Errorf("ask replica %s: %w", replica, err))
	}
	return answer, nil
}

func (c *cluster) ask(ctx context.Context, tenant, replica string, request []byte, patience time.Duration) (answer []byte, err error) {
	id := ulid.Make().String()
	_, err = c.db.write.ExecContext(ctx, `INSERT INTO question (id, replica, tenant, until, state, body, answer)
		VALUES ($1, $2, $3, `+databaseNow+` + $4, 0, $5, $6)`, id, replica, tenant, patience.Microseconds(), request, []byte{})
	if err != nil {
		return nil, failed(err)
	}
	c.notify()
	defer func() {
		clean, cancel := c.bounded(time.Second)
		defer cancel()
		_, _ = c.db.write.ExecContext(clean, `DELETE FROM question WHERE id = $1`, id)
	}()
	for {
		rung := c.rung.wait()
		var state int
		if err := c.db.row(ctx, []any{&state, &answer}, `SELECT state, answer FROM question WHERE id = $1`, id); err != nil {
			return nil, missing(err)
		}
		switch {
		case state == answered:
			return answer, nil
		case state == refused:
			return nil, fmt.Errorf("%w: %s", ErrUnavailable, answer)
		case !c.presence.isAlive(replica):
			return nil, fmt.Errorf("%w: it is dead", ErrUnavailable)
		}
		select {
		case <-rung:
		case <-time.After(pollEvery / 2):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
		}
	}
}

// Answer sets what answers the requests of other replicas for a tenant. It is to
// be called once for each. Each call runs in a goroutine of the store's, 64 at
// most of a tenant: who asks beyond that gets ErrUnavailable. Its context ends
// when the asker waits no longer, and when Close begins; Close waits for the
// calls. With SQLite nobody asks.
func (s *Store) Answer(tenant string, answer func(ctx context.Context, request []byte) []byte) {
	if s.cluster == nil {
		return
	}
	a := &s.cluster.answers
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.by == nil {
		a.by = make(map[string]func(context.Context, []byte) []byte)
	}
	a.by[tenant] = answer
	s.cluster.rung.ring()
}

// question is one that was asked of this replica.
type question struct {
	id, tenant string
	patience   time.Duration
	body       []byte
}

// serveQuestions answers other replicas until the store is closed.
func (c *cluster) serveQuestions() {
	var mu sync.Mutex
	taken := make(map[string]bool) // those under way
	busy := make(map[string]int)   // by tenant
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		rung := c.rung.wait()
		asked, err := c.questions()
		if err != nil {
			asked = nil // the poller tells
		}
		for _, q := range asked {
			mu.Lock()
			known := taken[q.id]
			full := busy[q.tenant] >= maxAnswers
			if !known {
				taken[q.id] = true
				busy[q.tenant]++
			}
			mu.Unlock()
			if known {
				continue
			}
			calls.Go(func() {
				c.reply(q, full)
				mu.Lock()
				defer mu.Unlock()
				delete(taken, q.id)
				busy[q.tenant]--
			})
		}
		select {
		case <-rung:
		case <-time.After(pollEvery):
		case <-c.lifetime.Done():
			return
		}
	}
}

func (c *cluster) questions() (found []question, err error) {
	ctx, cancel := c.bounded(c.cfg.Timeout)
	defer cancel()
	err = c.db.query(ctx, func(row scanner) error {
		var q question
		var micros int64
		err := row.Scan(&q.id, &q.tenant, &micros, &q.body)
		q.patience = time.Duration(micros) * time.Microsecond
		found = append(found, q)
		return failed(err)
	}, `SELECT id, tenant, until - `+databaseNow+`, body FROM question WHERE replica = $1 AND state = 0 AND until > `+databaseNow+` LIMIT 256`, c.cfg.ReplicaID)
	return found, err
}

func (c *cluster) reply(q question, full bool) {
	c.answers.mu.Lock()
	answer := c.answers.by[q.tenant]
	c.answers.mu.Unlock()
	state, text := refused, []byte("it does not know the tenant")
	switch {
	case full:
		text = []byte("too many requests")
	case answer != nil:
		ctx, cancel := context.WithTimeout(c.lifetime, q.patience)
		state, text = answered, answer(ctx, q.body)
		cancel()
	}
	if text == nil {
		text = []byte{}
	}
	ctx, cancel := c.bounded(c.cfg.Timeout)
	defer cancel()
	_, err := c.db.write.ExecContext(ctx, `UPDATE question SET state = $1, answer = $2 WHERE id = $3`, state, text, q.id)
	if err != nil && c.lifetime.Err() == nil && !errors.Is(err, context.Canceled) {
		c.log.Warn("the answer to another replica was lost", "error", failed(err))
	}
	c.notify()
}
