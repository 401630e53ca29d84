// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
)

// LeaseState is what a lease is worth.
type LeaseState int

// The states of a lease.
const (
	// Lost: another replica holds it, or it was released, or the store was
	// closed. It never comes back.
	Lost LeaseState = iota
	// Suspended: we cannot prove that the others still count us as alive, so
	// that one of them may take it over at any moment. Do not act in the room;
	// it may be Held again.
	Suspended
	// Held: it is ours.
	Held
)

func (s LeaseState) String() string {
	switch s {
	case Held:
		return "held"
	case Suspended:
		return "suspended"
	default:
		return "lost"
	}
}

// Lease is this process's right to work one room: to act in it, and to append
// as its worker.
type Lease struct {
	store *Store
	room  roomKey
	// Set before anybody else has the Lease. What comes after clean, nobody
	// but us can have acted on; with takeover, there is nothing of that kind.
	clean    uint64
	takeover bool

	// Guarded by leases.mu. The token is the epoch of the grant: the lease is
	// lost as soon as the room has another. It is 0 until the lease is granted,
	// and always with SQLite.
	token    uint64
	released bool
}

// leases is which rooms this process works, or is about to.
type leases struct {
	mu   sync.Mutex
	held map[roomKey]*Lease
}

// Acquire makes this process the one that works the room. With SQLite nothing
// is written: the lock of the directory is the lease of every room. Where
// several processes share the database, it is one change.
//
// Errors: ErrLeased when a living replica holds it, or another caller in this
// process does; ErrInvalid; ErrUnavailable, and ctx's error. After the last two
// the grant may have been stored; to acquire again is right.
func (s *Store) Acquire(ctx context.Context, tenant, room string) (*Lease, error) {
	l := &Lease{store: s, room: roomKey{tenant, room}, clean: s.opened}
	if err := checkRoom(tenant, room); err != nil {
		return nil, fmt.Errorf("acquire room: %w", err)
	}
	if s.lifetime.Err() != nil {
		return nil, fmt.Errorf("acquire room: %w", errClosed())
	}
	if !s.leases.reserve(l) {
		return nil, fmt.Errorf("acquire room: %w by this replica", ErrLeased)
	}
	if s.cluster == nil {
		return l, nil
	}
	if err := s.cluster.grant(ctx, l); err != nil {
		s.leases.drop(l)
		return nil, fmt.Errorf("acquire room: %w", err)
	}
	return l, nil
}

// State returns what the lease is worth now. It asks nobody.
func (l *Lease) State() LeaseState {
	token, released := l.granted()
	if released || l.store.lifetime.Err() != nil {
		return Lost
	}
	if l.store.cluster == nil {
		return Held
	}
	switch last := l.store.index.room(l.room).lease; {
	case token == 0 || last.epoch != token:
		return Lost
	case !l.store.cluster.presence.valid():
		return Suspended
	default:
		return Held
	}
}

func (l *Lease) granted() (token uint64, released bool) {
	l.store.leases.mu.Lock()
	defer l.store.leases.mu.Unlock()
	return l.token, l.released
}

// Resumed reports whether another process, or an earlier life of this one, may
// have acted on e before this lease was got: then look what there is before
// anything is done again.
func (l *Lease) Resumed(e *Entry) bool { return l.takeover || e.Revision <= l.clean }

// Release gives the room back; where several processes share the database, it is
// one change. A lease that is lost already is released without a word.
//
// Errors: ErrUnavailable, and ctx's error, after which it may have been released:
// State tells.
func (l *Lease) Release(ctx context.Context) error {
	if l.State() != Lost && l.store.cluster != nil {
		if err := l.store.cluster.free(ctx, l); err != nil && !errors.Is(err, ErrFenced) {
			return fmt.Errorf("release room: %w", err)
		}
	}
	l.store.leases.drop(l)
	return nil
}

// Holder returns the replica that holds the room's lease, and whether it is
// alive as far as is known here; "" when the lease is free. With SQLite it is
// this process, for the rooms it has acquired.
func (s *Store) Holder(tenant, room string) (replica string, alive bool) {
	key := roomKey{tenant, room}
	if s.cluster != nil {
		replica = s.index.room(key).lease.holder
		return replica, replica != "" && s.cluster.presence.isAlive(replica)
	}
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	if s.leases.held[key] == nil {
		return "", false
	}
	return s.cfg.ReplicaID, true
}

// ReplicaID returns this process's name among the replicas.
func (s *Store) ReplicaID() string { return s.cfg.ReplicaID }

// reserve makes l the one lease of its room in this process, unless there is
// one that is not lost.
func (t *leases) reserve(l *Lease) bool {
	t.mu.Lock()
	old := t.held[l.room]
	pending := old != nil && l.store.cluster != nil && old.token == 0
	t.mu.Unlock()
	if old != nil && (pending || old.State() != Lost) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held[l.room] != old {
		return false
	}
	t.held[l.room] = l
	return true
}

// drop forgets l, which is of no use any more.
func (t *leases) drop(l *Lease) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l.released = true
	if t.held[l.room] == l {
		delete(t.held, l.room)
	}
}

// grant makes l's room ours, if it is nobody's, or of a replica that is dead by
// the clock of the database.
func (c *cluster) grant(ctx context.Context, l *Lease) error {
	if !c.presence.valid() {
		return fmt.Errorf("%w: this replica is not known to be alive", ErrUnavailable)
	}
	return c.submit(ctx, func(b *batch) error {
		var owner string
		var epoch uint64
		err := b.row([]any{&owner, &epoch}, selectRoom, l.room.tenant, l.room.room)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if owner != "" && owner != c.cfg.ReplicaID {
			var until int64
			err := b.row([]any{&until}, `SELECT until FROM replica WHERE id = $1`, owner)
			if err == nil && until > b.now {
				return fmt.Errorf("%w by replica %s", ErrLeased, owner)
			} else if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
		}
		l.clean, l.takeover = epoch, owner != ""
		token, err := b.lease(l.room, c.cfg.ReplicaID)
		c.leases.mu.Lock()
		defer c.leases.mu.Unlock()
		l.token = token
		return err
	})
}

// free makes l's room nobody's.
func (c *cluster) free(ctx context.Context, l *Lease) error {
	return c.submit(ctx, func(b *batch) error {
		if err := b.fence(l); err != nil {
			return err
		}
		_, err := b.lease(l.room, "")
		return err
	})
}

// lease stores who works a room from now on.
func (b *batch) lease(room roomKey, holder string) (epoch uint64, err error) {
	lease := &storev1.Lease{Tenant: room.tenant, Room: room.room, Holder: holder, Time: timestamppb.New(time.UnixMicro(b.now))}
	body, err := proto.Marshal(lease)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if epoch, err = b.event(recordingKey{tenant: room.tenant, room: room.room}, body, message{lease: lease}); err != nil {
		return 0, err
	}
	_, err = b.exec(`INSERT INTO room (tenant, room, owner, epoch) VALUES ($1, $2, $3, $4)
		ON CONFLICT (tenant, room) DO UPDATE SET owner = excluded.owner, epoch = excluded.epoch`, room.tenant, room.room, holder, epoch)
	return epoch, err
}
