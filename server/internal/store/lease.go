// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"sync"

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

	// Guarded by leases.mu. The token is the sequence of the grant in the log:
	// the lease is lost as soon as the room's last grant is another. It is 0
	// until the lease is granted, and always when the log is embedded.
	token    uint64
	released bool
}

// leases is which rooms this process works, or is about to.
type leases struct {
	mu   sync.Mutex
	held map[roomKey]*Lease
}

// Acquire makes this process the one that works the room. Nothing is written
// when the log is embedded: the lock of its directory is the lease of every
// room. In a cluster it is one write to the log.
//
// Errors: ErrLeased when a living replica holds it, or another caller in this
// process does; ErrConflict when the room moved meanwhile: look again;
// ErrInvalid; ErrUnavailable, and ctx's error. After the last two the grant
// may have been stored; to acquire again is right.
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

// State tells what the lease is worth now. It costs no message.
func (l *Lease) State() LeaseState {
	token, released := l.granted()
	if released || l.store.lifetime.Err() != nil {
		return Lost
	}
	if l.store.cluster == nil {
		return Held
	}
	return l.store.cluster.state(l.room, token)
}

func (l *Lease) granted() (token uint64, released bool) {
	l.store.leases.mu.Lock()
	defer l.store.leases.mu.Unlock()
	return l.token, l.released
}

// Resumed tells whether another process, or an earlier life of this one, may
// have acted on e before this lease was got: then look what there is before
// anything is done again.
func (l *Lease) Resumed(e *Entry) bool { return l.takeover || e.Revision <= l.clean }

// Release gives the room back; in a cluster it is one write. A lease that is
// lost already is released without a word.
//
// Errors: ErrConflict when the room moved meanwhile: the lease is still ours,
// look again whether it is needed; ErrUnavailable, and ctx's error, after which
// it may have been released: State tells.
func (l *Lease) Release(ctx context.Context) error {
	if l.State() != Lost && l.store.cluster != nil {
		err := l.store.cluster.free(ctx, l)
		if err != nil && !errors.Is(err, ErrFenced) {
			return fmt.Errorf("release room: %w", err)
		}
	}
	l.store.leases.drop(l)
	return nil
}

// AppendAs is [Store.Append] by the worker of the room that holds l.
//
// Errors: ErrFenced, which wraps nothing else, when the lease is lost: nothing
// was stored. Otherwise those of Append; a lease that is suspended may still
// append, as long as nobody has taken it over.
func (s *Store) AppendAs(ctx context.Context, l *Lease, rec *storev1.Record, roomRevision uint64) (*Entry, error) {
	call, err := newAppendCall(ctx, rec, roomRevision)
	if err != nil {
		return nil, fmt.Errorf("append: %w", err)
	}
	if l.store != s || l.room != call.key.roomKey() {
		return nil, fmt.Errorf("append: %w: the lease is of another room", ErrInvalid)
	}
	call.lease = l
	e, err := s.append(ctx, call)
	if err != nil {
		if errors.Is(err, ErrConflict) && s.lifetime.Err() == nil && l.State() == Lost {
			return nil, ErrFenced // by what made the room move
		}
		if errors.Is(err, ErrFenced) {
			return nil, ErrFenced
		}
		return nil, fmt.Errorf("append: %w", err)
	}
	return e, nil
}

// Holder returns the replica that holds the room's lease, and whether it is
// alive as far as is known here; "" when the lease is free. With the embedded
// log it is this process, for the rooms it has acquired.
func (s *Store) Holder(tenant, room string) (replica string, alive bool) {
	key := roomKey{tenant, room}
	if s.cluster != nil {
		return s.cluster.holder(key)
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
	pending := old != nil && old.token == 0
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

// leaseID is the last token of the subject of a room's leases; no recording
// has this id.
const leaseID = "lease"

// leaseMessage encodes who holds the room from now on.
func leaseMessage(room roomKey, holder string) ([]byte, error) {
	return proto.Marshal(&storev1.Lease{
		Tenant: room.tenant,
		Room:   room.room,
		Holder: holder,
		Time:   timestamppb.Now(),
	})
}

// decodeLease makes sense of a lease message.
func decodeLease(key recordingKey, data []byte) (*storev1.Lease, error) {
	lease := new(storev1.Lease)
	if err := proto.Unmarshal(data, lease); err != nil {
		return nil, err
	}
	if lease.GetTenant() != key.tenant || lease.GetRoom() != key.room {
		return nil, fmt.Errorf("%w: the lease does not belong to its subject", ErrInvalid)
	}
	if holder := lease.GetHolder(); holder != "" && !isToken(holder) {
		return nil, fmt.Errorf("%w: a lease of replica %q", ErrInvalid, holder)
	}
	return lease, nil
}
