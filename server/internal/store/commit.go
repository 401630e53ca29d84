// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
)

// message is one event, as everybody takes it in.
type message struct {
	key      recordingKey   // id is "" for a lease
	entry    *Entry         // nil when it is none, or damaged
	lease    *storev1.Lease // nil when it is none, or damaged
	sequence uint64
	era      int // see Store.era
}

// change is what one caller wants stored; several share a transaction.
type change struct {
	ctx context.Context // done: nobody waits any more
	// run stores it. A refusal (isRefusal) comes before anything was written;
	// any other error breaks the transaction off, and run is called again.
	run  func(b *batch) error
	done chan error // takes one; never blocks the committer
}

// errRelapsed means that the database is at an earlier moment than it was.
var errRelapsed = errors.New("the database has lost events")

// batch is one transaction of the committer.
type batch struct {
	*tx
	store    *Store
	now      int64 // by the clock of the database, in Unix microseconds
	last     uint64
	size     int64
	revision uint64 // of webhook_cursor and delivery
	messages []message
	first    int64 // checksum of the first message
	tallies  map[StateKey]int
}

const (
	lockHistory = `SELECT last, size, revision FROM history WHERE one = 1`
	saveHistory = `UPDATE history SET last = $1, size = $2, revision = $3 WHERE one = 1`
	insertEvent = `INSERT INTO event (sequence, tenant, room, recording, time, size, body, crc) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`

	insertRecording = `INSERT INTO recording (` + recordingColumns + `)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING`
	updateRecording = `UPDATE recording SET name = $1, request_id = $2, state = $3, seconds = $4, nanos = $5, revision = $6, body = $7, crc = $8
		WHERE tenant = $9 AND room = $10 AND id = $11 AND revision = $12`
	selectRecording = `SELECT ` + recordingColumns + ` FROM recording WHERE tenant = $1 AND room = $2 AND id = $3`
	selectLiveID    = `SELECT id FROM recording WHERE tenant = $1 AND room = $2 AND state IN (1, 2, 3)`
	selectRoom      = `SELECT owner, epoch FROM room WHERE tenant = $1 AND room = $2`

	updateTally = `UPDATE tally SET n = n + $1 WHERE tenant = $2 AND state = $3`
	insertTally = `INSERT INTO tally (n, tenant, state) VALUES ($1, $2, $3)`

	deleteUsers = `DELETE FROM recording_user WHERE tenant = $1 AND user_id = $2 AND seconds = $3 AND nanos = $4 AND id = $5 AND room = $6`
	insertUser  = `INSERT INTO recording_user (tenant, user_id, seconds, nanos, id, room) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`
	deleteURL   = `DELETE FROM recording_url WHERE tenant = $1 AND digest = $2 AND room = $3 AND id = $4`
	insertURL   = `INSERT INTO recording_url (tenant, digest, room, id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`
)

// submit has the committer run a change and returns when it is stored and every
// read shows it. Errors: run's refusal; ErrUnavailable; ctx's.
func (s *Store) submit(ctx context.Context, run func(b *batch) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c := &change{ctx: ctx, run: run, done: make(chan error, 1)}
	select {
	case s.changes <- c:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.lifetime.Done():
		return errClosed()
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ended:
		select {
		case err := <-c.done:
			return err
		default:
			return errClosed()
		}
	}
}

// commit stores changes, as many as wait in one transaction, until the store is
// closed.
func (s *Store) commit() {
	defer close(s.ended)
	for {
		var group []*change
		select {
		case c := <-s.changes:
			group = append(group, c)
		case <-s.lifetime.Done():
			return
		}
		for len(group) < maxBatch {
			select {
			case c := <-s.changes:
				group = append(group, c)
				continue
			default:
			}
			break
		}
		group = slices.DeleteFunc(group, func(c *change) bool { return c.ctx.Err() != nil })
		if len(group) > 0 {
			s.commitGroup(group)
		}
	}
}

// commitGroup stores a group, and answers each change. With a PostgreSQL that
// is away or changes over, it tries until the calls are out of time.
func (s *Store) commitGroup(group []*change) {
	timeout := s.cfg.Timeout * 9 / 10
	if s.Err() != nil {
		timeout /= 4 // who calls now does not wait for what others have waited for
	}
	ctx, cancel := s.bounded(timeout)
	defer cancel()
	for {
		b := &batch{store: s, tallies: make(map[StateKey]int)}
		var results []error
		ambiguous, err := s.db.transact(ctx, func(t *tx) (err error) {
			b.tx = t
			results, err = b.run(group)
			return err
		})
		if err != nil && ambiguous && s.landed(ctx, b) {
			err = nil
		}
		switch {
		case err == nil:
			s.stored(b)
			for i, c := range group {
				c.done <- results[i]
			}
			return
		case errors.Is(err, errRelapsed):
			s.following <- struct{}{}
			s.relive("the database ends before what was read of it")
			<-s.following
			if !s.again(ctx, err) {
				s.fail(err)
				for _, c := range group {
					c.done <- fmt.Errorf("%w: %w", ErrUnavailable, err)
				}
				return
			}
		case refusal(err) != nil && len(group) == 1:
			group[0].done <- fmt.Errorf("%w: %w", refusal(err), err)
			return
		case refusal(err) != nil: // alone, each is told what is its own fault
			for _, c := range group {
				s.commitGroup([]*change{c})
			}
			return
		case s.db.postgres == nil || !s.again(ctx, err):
			s.fail(err)
			for _, c := range group {
				c.done <- err
			}
			return
		}
	}
}

// again waits before a transaction is tried again that PostgreSQL has refused;
// false when there is no time for that.
func (s *Store) again(ctx context.Context, err error) bool {
	switch postgresCode(err) {
	case "40001", "40P01": // it collided with another one
		return sleep(ctx, 5*time.Millisecond)
	case "25006": // the server is a standby now
		s.db.drop()
	}
	return sleep(ctx, 100*time.Millisecond)
}

// landed reports whether a batch is stored whose commit had no answer.
func (s *Store) landed(ctx context.Context, b *batch) bool {
	for len(b.messages) > 0 {
		var crc int64
		var recording string
		err := s.db.row(ctx, []any{&recording, &crc}, `SELECT recording, crc FROM event WHERE sequence = $1`, b.messages[0].sequence)
		switch {
		case err == nil:
			return recording == b.messages[0].key.id && crc == b.first
		case errors.Is(err, ErrNotFound):
			return false
		case s.db.postgres == nil || !sleep(ctx, 100*time.Millisecond):
			return false
		}
	}
	return false
}

// stored makes visible what a batch has stored.
func (s *Store) stored(b *batch) {
	s.failed.Store(nil)
	if len(b.messages) > 0 {
		s.take(b.messages)
	}
	if b.revision > 0 {
		s.deliveries.ring()
	}
	if s.cluster != nil {
		s.cluster.notify()
	}
}

// run stores a group and returns what is to be told to each.
func (b *batch) run(group []*change) ([]error, error) {
	history := lockHistory
	if b.postgres != nil {
		history = `SELECT last, size, revision, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint FROM history WHERE one = 1 FOR UPDATE`
	}
	shown := b.store.index.lastSequence()
	var revision uint64
	dest := []any{&b.last, &b.size, &revision}
	if b.postgres != nil {
		dest = append(dest, &b.now)
	}
	if err := b.row(dest, history); err != nil {
		return nil, missing(err)
	}
	if b.last < shown {
		return nil, errRelapsed
	}
	if b.postgres == nil {
		b.now = time.Now().UnixMicro()
	}
	before := revision
	b.revision = revision
	results := make([]error, len(group))
	for i, c := range group {
		err := c.run(b)
		if err != nil && !isRefusal(err) {
			return nil, err
		}
		results[i] = err
	}
	if err := b.saveTallies(); err != nil {
		return nil, err
	}
	if len(b.messages) > 0 || b.revision != before {
		if _, err := b.exec(saveHistory, b.last, b.size, b.revision); err != nil {
			return nil, err
		}
	}
	if b.revision == before {
		b.revision = 0
	}
	return results, nil
}

// missing makes a row that must be there, and is not, a loss.
func missing(err error) error {
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: %w: a row is missing", ErrUnavailable, ErrDataLoss)
	}
	return err
}

func (b *batch) saveTallies() error {
	for key, n := range b.tallies {
		if n == 0 {
			continue
		}
		rows, err := b.exec(updateTally, n, key.Tenant, int(key.State))
		if err == nil && rows == 0 {
			_, err = b.exec(insertTally, n, key.Tenant, int(key.State))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// event adds an event and returns its sequence.
func (b *batch) event(key recordingKey, body []byte, m message) (uint64, error) {
	b.last++
	b.size += int64(len(body))
	m.key, m.sequence = key, b.last
	if m.entry != nil {
		m.entry.Revision, m.entry.Stored = b.last, time.UnixMicro(b.now)
	}
	crc := checksum(body, b.last)
	if len(b.messages) == 0 {
		b.first = crc
	}
	b.messages = append(b.messages, m)
	_, err := b.exec(insertEvent, b.last, key.tenant, key.room, key.id, b.now, b.size, body, crc)
	return b.last, err
}

// Append stores rec as the new state of its recording, provided that its
// revision is still the given one; 0: there is no such recording. It returns
// when that is on the disk and every read of this store shows it; watchers get
// it right after. rec stays the caller's; the Entry holds a copy.
//
// Errors: ErrInvalid; ErrConflict when the recording has another revision, when
// another one holds its request id, or, wrapping ErrRoomLive, when rec is live
// and another recording of the room is; ErrUnavailable (also ErrClosed), and
// ctx's error. After the last two the change may or may not have been stored:
// Get tells, once the store is available again.
func (s *Store) Append(ctx context.Context, rec *storev1.Record, revision uint64) (*Entry, error) {
	return s.append(ctx, nil, rec, revision)
}

// AppendAs is [Store.Append] by the worker of the room that holds l.
//
// Errors: ErrFenced, which wraps nothing else, when the lease is lost: nothing
// was stored. Otherwise those of Append; a lease that is suspended may still
// append, as long as nobody has taken it over.
func (s *Store) AppendAs(ctx context.Context, l *Lease, rec *storev1.Record, revision uint64) (*Entry, error) {
	if l.store != s || l.room != (roomKey{rec.GetTenant(), rec.GetRecording().GetRoom()}) {
		return nil, fmt.Errorf("append: %w: the lease is of another room", ErrInvalid)
	}
	return s.append(ctx, l, rec, revision)
}

func (s *Store) append(ctx context.Context, l *Lease, rec *storev1.Record, revision uint64) (*Entry, error) {
	body, err := encode(rec)
	if err != nil {
		return nil, fmt.Errorf("append: %w", err)
	}
	a := &appending{lease: l, record: proto.CloneOf(rec), body: body, revision: revision}
	err = s.submit(ctx, a.run)
	switch {
	case errors.Is(err, ErrFenced):
		return nil, ErrFenced
	case errors.Is(err, ErrConflict):
		// What stands in the way may be another process's: let reads show it.
		if syncErr := s.Sync(ctx); syncErr != nil {
			err = syncErr
		}
	}
	if err != nil {
		return nil, fmt.Errorf("append: %w", err)
	}
	return a.entry, nil
}

// appending is one Append.
type appending struct {
	lease    *Lease
	record   *storev1.Record
	body     []byte
	revision uint64
	entry    *Entry
}

func (a *appending) run(b *batch) error {
	if err := b.fence(a.lease); err != nil {
		return err
	}
	e := &Entry{Record: a.record, Revision: b.last + 1}
	c := columnsOf(e)
	old, err := b.before(c.recordingKey, a.revision)
	if err != nil {
		return err
	}
	if isLive(c.state) && (old == nil || !isLive(old.state())) {
		var other string
		switch err := b.row([]any{&other}, selectLiveID, c.tenant, c.room); {
		case err == nil && other != c.id:
			if old == nil {
				return fmt.Errorf("%w: %w", ErrConflict, ErrRoomLive)
			}
			return ErrRoomLive
		case err != nil && !errors.Is(err, ErrNotFound):
			return err
		}
	}
	crc := checksum(a.body, c.revision)
	var rows int64
	if old == nil {
		rows, err = b.exec(insertRecording, c.tenant, c.room, c.id, c.name, c.request, int(c.state), c.seconds, c.nanos, c.revision, a.body, crc)
	} else {
		rows, err = b.exec(updateRecording, c.name, c.request, int(c.state), c.seconds, c.nanos, c.revision, a.body, crc,
			c.tenant, c.room, c.id, a.revision)
	}
	switch {
	case err != nil:
		return err
	case rows == 0:
		return ErrConflict
	}
	if _, err := b.event(c.recordingKey, a.body, message{entry: e}); err != nil {
		return err
	}
	if err := b.derive(old, e); err != nil {
		return err
	}
	a.entry = e
	return nil
}

// fence refuses what is done for a lease that another replica has.
func (b *batch) fence(l *Lease) error {
	if l == nil {
		return nil
	}
	token, released := l.granted()
	if released {
		return ErrFenced
	}
	if b.store.cluster == nil {
		return nil
	}
	var owner string
	var epoch uint64
	err := b.row([]any{&owner, &epoch}, selectRoom, l.room.tenant, l.room.room)
	if errors.Is(err, ErrNotFound) || err == nil && (owner != b.store.cfg.ReplicaID || epoch != token) {
		return ErrFenced
	}
	return err
}

// before returns what a recording is until now, nil for a new one.
func (b *batch) before(key recordingKey, revision uint64) (*Entry, error) {
	if revision == 0 {
		return nil, nil
	}
	for i := len(b.messages) - 1; i >= 0; i-- { // of this transaction
		if m := b.messages[i]; m.key == key {
			if m.sequence != revision {
				return nil, ErrConflict
			}
			return m.entry, nil
		}
	}
	if e := b.store.index.get(key); e != nil && e.Revision == revision {
		return e, nil
	}
	var old *Entry
	err := b.query(func(row scanner) (err error) {
		old, err = scanRecording(row)
		return err
	}, selectRecording, key.tenant, key.room, key.id)
	switch {
	case err != nil:
		return nil, err
	case old == nil || old.Revision != revision:
		return nil, ErrConflict
	}
	return old, nil
}

// derive changes what is kept of a recording beside its row.
func (b *batch) derive(old, e *Entry) error {
	c := columnsOf(e)
	b.tallies[StateKey{c.tenant, c.state}]++
	var was columns
	var users, urls []string // that it had
	if old != nil {
		was = columnsOf(old)
		b.tallies[StateKey{was.tenant, was.state}]--
		users, urls = usersOf(old.Record), old.Record.GetRecording().GetUrls()
	}
	now := usersOf(e.Record)
	moved := was.seconds != c.seconds || was.nanos != c.nanos
	for _, user := range users {
		if moved || !slices.Contains(now, user) {
			if _, err := b.exec(deleteUsers, c.tenant, user, was.seconds, was.nanos, c.id, c.room); err != nil {
				return err
			}
		}
	}
	for _, user := range now {
		if moved || !slices.Contains(users, user) {
			if _, err := b.exec(insertUser, c.tenant, user, c.seconds, c.nanos, c.id, c.room); err != nil {
				return err
			}
		}
	}
	return b.deriveURLs(c, urls, e.Record.GetRecording().GetUrls())
}

func (b *batch) deriveURLs(c columns, old, now []string) error {
	for _, u := range old {
		if !slices.Contains(now, u) {
			if _, err := b.exec(deleteURL, c.tenant, digest(u), c.room, c.id); err != nil {
				return err
			}
		}
	}
	for _, u := range now {
		if !slices.Contains(old, u) {
			if _, err := b.exec(insertURL, c.tenant, digest(u), c.room, c.id); err != nil {
				return err
			}
		}
	}
	return nil
}

// digest stands for a URL, which may be a secret.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}
