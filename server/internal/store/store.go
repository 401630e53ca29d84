// SPDX-License-Identifier: Apache-2.0

// Package store keeps recordings, their events, and what became of webhooks, in
// one SQL database: SQLite in the process, or a PostgreSQL that several
// processes share. Every change of a recording is one transaction: its row, an
// event that carries its whole new state, and what is derived of it. The event's
// sequence is the recording's revision, and what the API shows.
//
// What it guarantees:
//
//   - Durable. [Store.Append] returns without an error only when the change is
//     committed; nobody is shown a change that is not. Changes that wait at the
//     same time share a transaction.
//   - Conditional. An Append names the revision of the recording that it was
//     decided on, and is refused when that is another one by now: of all
//     Appends on one revision one wins. Indexes of the database see to it that
//     a room has one live recording, and that a request id has one recording.
//   - Read your writes. When Append returns, every read of this Store sees the
//     change.
//   - Ordered. Readers and watchers see all changes of all rooms in the order of
//     their sequences, which is that of the commits. A [Watcher] misses none and
//     sees none twice, or is told.
//   - Forgetting is told. [Retention] removes events, never a recording; a
//     watcher that would have to begin before what is kept is refused.
//   - Damage is told. Each body has a checksum. What cannot be read is an
//     ErrDataLoss, or an [Entry] that is Damaged, for that recording alone; it
//     is logged and counted ([Store.Damages]).
//   - One database for several processes: a [Lease] says which of them works a
//     room, and the epoch of its grant fences off the one before, without
//     clocks; [Store.Sync] makes reads show what any of them has stored.
//   - A history has an identity ([Store.History]); a backup begins another one.
//
// Only what is unfinished, and who works which room, is held in memory. One
// goroutine commits, and makes visible in order what is committed; of other
// processes that is read from the database, when they ring (LISTEN, NOTIFY), and
// twice a second in any case.
//
// What it leaves to others: which changes make sense (package recording), and
// removing recordings.
package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Store is an open database. Its methods may be called from any goroutine.
type Store struct {
	cfg     Config
	log     *slog.Logger
	db      *database
	cluster *cluster // nil with SQLite

	index      *index
	fanout     *fanout
	hub        changesHub
	leases     leases
	deliveries bell   // rings when a delivery or a cursor has changed
	opened     uint64 // the last sequence at Open

	changes   chan *change
	following chan struct{} // holds one while somebody takes in events
	era       int           // of what is taken in: another after each cut; guarded by following
	fanned    chan message  // from the follower to the fan-out, in order
	shown     atomic.Uint64 // the last sequence that can be seen, or is about to be
	replays   chan struct{} // semaphore: how many watchers read the database at once
	history   atomic.Pointer[string]
	damages   atomic.Uint64
	failed    atomic.Pointer[error] // why nothing can be stored, if so
	failedAt  atomic.Int64          // when that was, in Unix nanoseconds
	lifetime  context.Context       // ends when Close begins
	end       context.CancelFunc
	ended     chan struct{} // closed when no change will be answered any more
	running   sync.WaitGroup
	closing   sync.Once
	closeErr  error
}

// Open opens the database, makes it when there is none, and reads what is
// unfinished; ctx bounds that and nothing after. The caller closes the store.
//
// Errors: [ErrLocked] when another process has Config.Dir open; [ErrOtherKey];
// [ErrDataLoss] when the database cannot be opened for damage; [ErrUnavailable]
// when it cannot be opened, made or read.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{
		cfg:       cfg,
		log:       cfg.Logger,
		index:     newIndex(),
		fanout:    newFanout(cfg.WatchQueue, cfg.History),
		leases:    leases{held: make(map[roomKey]*Lease)},
		changes:   make(chan *change, maxBatch),
		fanned:    make(chan message, fannedQueue),
		replays:   make(chan struct{}, maxReplays),
		following: make(chan struct{}, 1),
		ended:     make(chan struct{}),
	}
	s.lifetime, s.end = context.WithCancel(context.Background())
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) (err error) {
	if s.db, err = openDatabase(ctx, s.cfg); err != nil {
		close(s.ended)
		return err
	}
	if err := s.prepare(ctx); err != nil {
		close(s.ended)
		return err
	}
	s.opened = s.index.lastSequence()
	if s.cfg.Dir != "" {
		if err := saveMarker(s.cfg.Dir, s.HistoryID()); err != nil {
			close(s.ended)
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	s.running.Go(s.fan)
	s.running.Go(s.commit) //nolint:contextcheck // it lives until Close, not until ctx ends
	if s.cfg.Retention.enabled() || s.db.postgres == nil {
		s.running.Go(s.tend)
	}
	if s.cfg.SyncInterval > 0 && s.db.postgres == nil {
		s.running.Go(s.syncEvery)
	}
	if s.cfg.Scrub && s.db.postgres == nil {
		s.running.Go(s.scrub)
	}
	if s.cluster != nil {
		return s.cluster.start(ctx)
	}
	return nil
}

// prepare reads what is unfinished, of a history that it begins if there is none.
func (s *Store) prepare(ctx context.Context) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	err := s.db.warm(ctx, lockHistory, saveHistory, insertEvent, insertRecording, updateRecording, selectRecording, selectLiveID,
		updateTally, insertTally, deleteUsers, insertUser, deleteURL, insertURL,
		selectCursor, insertCursor, updateCursor, selectDeliveryRow, insertDelivery, updateDelivery)
	if err != nil {
		return err
	}
	if s.db.postgres != nil {
		s.cluster = newCluster(s)
	} else if err := s.mend(ctx); err != nil {
		return err
	}
	return s.load(ctx)
}

// begin makes the row of the history, unless it is there, and checks that it
// belongs to our key.
func (s *Store) begin(ctx context.Context) error {
	fingerprint := ""
	if len(s.cfg.Fingerprint) > 0 {
		sum := sha256.Sum256(append([]byte("classrec: fingerprint\x00"), s.cfg.Fingerprint...))
		fingerprint = hex.EncodeToString(sum[:])
	}
	var stored string
	_, err := s.db.transact(ctx, func(t *tx) error {
		if _, err := t.exec(`INSERT INTO history (one, id, last, size, forgotten, revision, fingerprint)
			VALUES (1, $1, 0, 0, 0, 0, $2) ON CONFLICT DO NOTHING`, newHistoryID(), fingerprint); err != nil {
			return err
		}
		if fingerprint != "" {
			if _, err := t.exec(`UPDATE history SET fingerprint = $1 WHERE fingerprint = ''`, fingerprint); err != nil {
				return err
			}
		}
		return missing(t.row([]any{&stored}, `SELECT fingerprint FROM history WHERE one = 1`))
	})
	if err == nil && fingerprint != "" && stored != fingerprint {
		return ErrOtherKey
	}
	return err
}

// Close ends all watchers and waiting calls, stops the store's goroutines, and
// waits for them. It may be called more than once.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.end()
		s.fanout.close()
		s.index.close()
		s.running.Wait()
		s.fanout.wait()
		if s.db != nil {
			s.closeErr = s.db.close()
		}
	})
	return s.closeErr
}

// bounded is a context that ends with the store, and after a while.
func (s *Store) bounded(within time.Duration) (context.Context, context.CancelFunc) {
	if s.db.postgres == nil {
		return context.Background(), func() {} // what is begun is done soon
	}
	return context.WithTimeout(context.WithoutCancel(s.lifetime), within)
}

// asking bounds a read by ctx, Config.Timeout and the store's life.
func (s *Store) asking(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.db.postgres == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	stop := context.AfterFunc(s.lifetime, cancel) //nolint:contextcheck // it ends with either
	return ctx, func() { stop(); cancel() }
}

// because makes of an error of a read the caller's own, if its context has ended,
// or that of a store that is closed.
func (s *Store) because(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case s.lifetime.Err() != nil:
		return errClosed()
	}
	return err
}

// fail takes in that nothing can be stored.
func (s *Store) fail(err error) {
	s.failedAt.Store(time.Now().UnixNano())
	s.failed.Store(&err)
}

// LastSequence returns the sequence of the last change that this store shows;
// 0 when there is none.
func (s *Store) LastSequence() uint64 { return s.index.lastSequence() }

// HistoryID returns the identity of the history: sequences are of it alone.
func (s *Store) HistoryID() string {
	if id := s.history.Load(); id != nil {
		return *id
	}
	return ""
}

// Damages returns how many times something was found since the store was opened
// that is damaged; each has a line in the log.
func (s *Store) Damages() uint64 { return s.damages.Load() }

// damaged tells of a damage.
func (s *Store) damaged(what string, attrs ...any) {
	s.damages.Add(1)
	s.log.Error("stored data is damaged: "+what, attrs...)
}

// Err returns nil while the store can be written, and what the last change
// failed with, an [ErrUnavailable], while it cannot. It is meant for a readiness
// check.
func (s *Store) Err() error {
	if p := s.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// Failing returns what [Store.Err] does, if that was since a time.
func (s *Store) Failing(since time.Time) error {
	if time.Unix(0, s.failedAt.Load()).Before(since) {
		return nil
	}
	return s.Err()
}

func newHistoryID() string { return strings.ToLower(rand.Text()[:16]) }

// bell wakes all who wait for it. The zero value is ready.
type bell struct {
	mu sync.Mutex
	c  chan struct{}
}

// wait returns a channel that is closed when the bell next rings.
func (b *bell) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.c == nil {
		b.c = make(chan struct{})
	}
	return b.c
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.c != nil {
		close(b.c)
		b.c = nil
	}
}
