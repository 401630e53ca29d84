// SPDX-License-Identifier: Apache-2.0

// Package store keeps recordings in one NATS JetStream stream and in nothing
// else. Every change of a recording is one message that carries its whole new
// state, a classrec.store.v1.Record. The message's stream sequence is the
// record's revision and the sequence of the event that the API shows.
//
// Subjects are classrec.log.<tenant>.<room token>.<id>; the room token is the
// base64url form (RFC 4648 section 5, no padding) of the room's bytes, so that
// any room name makes one legal subject token.
//
// What it guarantees:
//
//   - Durable. [Store.Append] returns without an error only when the change is
//     synced to disk (SyncAlways); nobody is shown a change that is not. One
//     Append is at most one synced write; concurrent ones share a write.
//   - Conditional. An Append names the revision of the room that it was
//     decided on. The server refuses it when the room has moved, also when
//     another process moved it, so that of all Appends on one revision one
//     wins. An Append that would make a second recording of a room live is
//     refused too.
//   - Read your writes. When Append returns, every read of this Store sees the
//     change.
//   - Ordered. Readers and watchers see all changes of all rooms in the
//     order of their revisions. A [Watcher] misses none and sees none twice,
//     or is told.
//
// Reads are answered from an index in memory, which one goroutine keeps by
// following the stream; it is built anew when the store is opened. That
// goroutine, and not the Append, is what makes a change visible: so the order
// stays right when several processes write one stream.
//
//   - Forgetting is told. Of what [Retention] lets go, only changes that a
//     later one of the same recording has replaced are removed, and only after
//     the log says up to where; a watcher that would have to begin before that
//     is refused. The last message of a subject is never removed, so that no
//     recording and no room's revision is lost.
//
//   - One log for several processes, when it is kept in a NATS cluster: a
//     [Lease] says which of them works a room, and the sequence of its grant
//     fences off the one before; [Store.Sync] makes reads show what any of them
//     has stored; [Store.Claim] makes a request id good for one recording. What
//     fails without an answer may have been stored; nothing is stored twice.
//     Beside the stream there are buckets for this: replicas
//     that are alive, request ids that are claimed, the fingerprint of the
//     sealing key.
//
// What it leaves to others: which changes make sense (package recording), and
// removing recordings.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Store is an open log of recordings and its index. Its methods may be called
// from any goroutine.
type Store struct {
	cfg    Config
	log    *slog.Logger
	server *embedded // nil when joined to another NATS
	conn   *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream

	index   *index
	fanout  *fanout
	gate    *gate
	changes changesHub
	leases  leases
	claims  claims
	tails   tails
	cluster *cluster // nil when the log is embedded
	opened  uint64   // the log's last sequence at Open

	appends  chan *appendCall
	fanned   chan change   // from the follower to the fan-out, in order
	shown    atomic.Uint64 // the last entry that can be seen, or is about to be
	replays  chan struct{} // semaphore: how many watchers read the log at once
	skipped  atomic.Uint64
	failed   atomic.Pointer[error] // why nothing can be stored, if so
	failedAt atomic.Int64          // when that was, in Unix nanoseconds
	lifetime context.Context       // ends when Close begins
	end      context.CancelFunc
	running  sync.WaitGroup
	closing  sync.Once
	closeErr error
}

// Open opens the log, makes it when there is none, and reads the present state
// of every recording; ctx bounds that and nothing after. The caller closes the
// store.
//
// Errors: [ErrLocked] when another process has Config.Dir open;
// [ErrUnavailable] when the log cannot be opened, made or read.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{
		cfg:     cfg,
		log:     cfg.Logger,
		index:   newIndex(),
		fanout:  newFanout(cfg.WatchQueue, cfg.History),
		gate:    newGate(),
		leases:  leases{held: make(map[roomKey]*Lease)},
		appends: make(chan *appendCall, maxBatch),
		fanned:  make(chan change, fannedQueue),
		replays: make(chan struct{}, maxReplays),
	}
	s.lifetime, s.end = context.WithCancel(context.Background())
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	if err := s.connect(ctx); err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	if err := s.load(ctx); err != nil {
		return fmt.Errorf("open store: read recordings: %w", err)
	}
	s.opened = s.index.lastSequence()
	inbox := s.conn.NewInbox()
	replies, err := s.conn.SubscribeSync(inbox + ".*")
	if err != nil {
		return fmt.Errorf("open store: %w: %w", ErrUnavailable, err)
	}
	s.running.Go(s.follow)
	s.running.Go(s.fan)
	if s.cfg.Retention.enabled() {
		s.running.Go(s.tend)
	}
	s.running.Go(func() { s.commit(replies, inbox) }) //nolint:contextcheck // it lives until Close, not until ctx ends
	if s.cluster != nil {
		if err := s.cluster.start(ctx); err != nil {
			return fmt.Errorf("open store: %w", err)
		}
	}
	return nil
}

// connect starts or joins the NATS server and makes the stream.
func (s *Store) connect(ctx context.Context) (err error) {
	if s.cfg.NATSURL != "" {
		s.cluster = newCluster(s)
		s.conn, err = s.dial(ctx)
	} else {
		if s.server, err = startEmbedded(s.cfg); err != nil {
			return err
		}
		s.conn, err = nats.Connect("", nats.Name("classrec store"), nats.InProcessServer(s.server.server),
			nats.MaxReconnects(-1), nats.ReconnectWait(200*time.Millisecond),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
				s.log.Warn("nats", "error", err)
			}))
	}
	if err != nil {
		return fmt.Errorf("%w: connect to nats: %w", ErrUnavailable, err)
	}
	if s.js, err = jetstream.New(s.conn); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	config := jetstream.StreamConfig{
		Name:               streamName,
		Description:        "classrec: every change of every recording",
		Subjects:           []string{subjectPrefix + ">", retentionSubject},
		Storage:            jetstream.FileStorage,
		Replicas:           s.cfg.Replicas,
		Discard:            jetstream.DiscardNew, // a full log refuses; it forgets nothing
		AllowAtomicPublish: true,
		Duplicates:         100 * time.Millisecond, // the least; message ids are not used
	}
	err = s.retry(ctx, "the log", func(ctx context.Context) error {
		s.stream, err = s.js.CreateOrUpdateStream(ctx, config)
		return err
	})
	if err != nil {
		return fmt.Errorf("%w: make stream: %w", ErrUnavailable, err)
	}
	if s.cluster != nil {
		return s.cluster.setUp(ctx)
	}
	return nil
}

// patience is how long the cluster is asked until a call fails: not long when
// the last one has failed.
func (s *Store) patience() time.Duration {
	if p := s.failed.Load(); p != nil && errors.Is(*p, errNoAnswer) {
		return min(s.cfg.AckTimeout, requestTimeout)
	}
	return s.cfg.AckTimeout
}

// Close ends all watchers and waiting calls, stops the store's goroutines and
// the embedded server, and waits for them. It may be called more than once.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.end()
		s.fanout.close()
		s.index.close()
		s.running.Wait()
		s.fanout.wait()
		if s.conn != nil {
			s.conn.Close()
		}
		if s.server != nil {
			s.closeErr = s.server.close()
		}
	})
	return s.closeErr
}

// LastSequence returns the sequence of the last change that this store shows;
// 0 when there is none.
func (s *Store) LastSequence() uint64 { return s.index.lastSequence() }

// Skipped returns how many messages of the log could not be understood since
// the store was opened. They are logged, and otherwise as if they were not
// there, except that they move their room's revision.
func (s *Store) Skipped() uint64 { return s.skipped.Load() }

// Err returns nil while the store can be written, and what [Store.Append]
// last failed with, an [ErrUnavailable], while it cannot. It is meant for a
// readiness check.
func (s *Store) Err() error {
	if p := s.failed.Load(); p != nil {
		return *p
	}
	return nil
}
