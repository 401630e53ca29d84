// SPDX-License-Identifier: Apache-2.0

package room

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/tracing"
)

// Manager gives out sessions and keeps them. It is safe for concurrent use; its lock is never held
// while anything is asked of the platform.
type Manager struct {
	client *talkcloud.Client
	cfg    Config
	ctx    context.Context // the parent of all sessions
	cancel context.CancelFunc
	wg     sync.WaitGroup // one for each core
	turns  chan struct{}  // holds one for each change under way
	counts counts

	mu       sync.Mutex
	closed   bool
	sessions map[Key]*core // those that can be shared, until they are gone
}

// NewManager makes a manager of sessions on one platform. The caller retains ownership of the
// client, and closes the manager first.
func NewManager(client *talkcloud.Client, cfg Config) *Manager {
	m := &Manager{client: client, cfg: cfg.withDefaults(client.EchoTimeout()), sessions: make(map[Key]*core)}
	m.turns = make(chan struct{}, m.cfg.MaxChanges)
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

// Close leaves all rooms and waits until that is done. Sessions end with [ErrReleased].
func (m *Manager) Close() error {
	m.mu.Lock()
	m.closed = true
	for _, c := range m.sessions {
		if c.linger != nil {
			c.linger.Stop()
		}
	}
	m.mu.Unlock()
	m.cancel()
	m.wg.Wait()
	return nil
}

// Acquire enters a room, or shares the live session of that room and user id; with an empty user id
// it never shares. Callers that ask at the same time share one attempt, which goes on as long as
// one of them waits. A password other than the session's is checked with the platform before the
// session is shared. The session must be released.
//
// An attempt that fails is not repeated: the error is that of [talkcloud.Client.Join].
func (m *Manager) Acquire(ctx context.Context, opts talkcloud.JoinOptions) (*Session, error) {
	c, err := m.reserve(ctx, opts)
	if err != nil {
		return nil, err
	}
	select {
	case <-c.ready:
	case <-ctx.Done():
		m.release(c)
		return nil, joinError(opts.Room, ctx.Err())
	}
	switch {
	case c.joinErr == nil:
	case errors.Is(c.joinErr, ErrReleased): // not by us, who hold it
		m.release(c)
		return nil, ErrClosed
	default:
		m.release(c)
		return nil, c.joinErr
	}
	if c.password != opts.Password {
		if err := m.client.Check(ctx, opts); err != nil {
			m.release(c)
			return nil, err
		}
	}
	return &Session{core: c}, nil
}

// reserve returns a session, live or just starting, with a reference taken.
func (m *Manager) reserve(ctx context.Context, opts talkcloud.JoinOptions) (*core, error) {
	key := Key{Room: opts.Room, User: opts.UserID}
	for {
		m.mu.Lock()
		if m.closed {
			m.mu.Unlock()
			return nil, ErrClosed
		}
		c := m.sessions[key] // none has an empty user
		switch {
		case c == nil:
			c = m.open(tracing.Of(ctx), key, opts) //nolint:contextcheck // a session outlives who asked for it first
		case c.leaving: // the same user must be out of the room before it enters again
			m.mu.Unlock()
			select {
			case <-c.gone:
				continue
			case <-ctx.Done():
				return nil, joinError(opts.Room, ctx.Err())
			}
		}
		c.refs++
		if c.linger != nil {
			c.linger.Stop()
			c.linger = nil
		}
		m.mu.Unlock()
		return c, nil
	}
}

// open starts a session, whose first join is within the span asked. The lock is held.
func (m *Manager) open(asked tracing.Span, key Key, opts talkcloud.JoinOptions) *core {
	c := newCore(m, key, opts.Password)
	if key.User != "" {
		m.sessions[key] = c
	}
	m.counts.open.Add(1)
	m.wg.Go(func() {
		c.run(asked, opts)
		m.counts.open.Add(-1)
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.sessions[key] == c {
			delete(m.sessions, key)
		}
		close(c.gone)
	})
	return c
}

// release gives a reference back; the last one ends the session, after Linger.
func (m *Manager) release(c *core) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c.refs--
	if c.refs > 0 || c.leaving {
		return
	}
	if m.cfg.Linger <= 0 || !c.joined() {
		m.leave(c)
		return
	}
	c.linger = time.AfterFunc(m.cfg.Linger, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if c.refs == 0 {
			m.leave(c)
		}
	})
}

// leave ends a session that nobody needs. The lock is held.
func (m *Manager) leave(c *core) {
	c.leaving = true
	c.cancel()
}

// ended marks a session that has ended by itself, so that it is not shared any more.
func (m *Manager) ended(c *core) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leave(c)
}

func joinError(room talkcloud.RoomID, err error) error {
	return &talkcloud.Error{Op: "join room " + string(room), Source: talkcloud.SourceJoin, Kind: talkcloud.KindOf(err), Err: err}
}
