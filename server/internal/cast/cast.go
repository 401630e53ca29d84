// SPDX-License-Identifier: Apache-2.0

// Package cast puts people into rooms of a platform: teachers and students who
// do over the vendor's wire what people do, publish media by WebRTC, chat, begin
// and end classes, lose their connection and come back, and who remember what
// they have seen.
//
// It guarantees that what a method has returned from has happened in the room:
// the platform has echoed or acknowledged it. Nobody comes back by himself. It
// leaves to others what is to happen when.
package cast

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Config says where people go. BaseURL is required.
type Config struct {
	// BaseURL is the platform's.
	BaseURL string
	// DialContext makes connections to it; nil is the net package.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// Now is the time of day; nil is [time.Now].
	Now func() time.Time
	// Logger; nil = discard.
	Logger *slog.Logger
}

// Cast is all people of one platform. It is safe for concurrent use.
type Cast struct {
	cfg Config

	mu     sync.Mutex
	people map[*Person]struct{}
	closed bool
}

// New makes a cast of nobody. Close it.
func New(cfg Config) *Cast {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Cast{cfg: cfg, people: map[*Person]struct{}{}}
}

// Role of a person in a room: one of talkcloud's.
type Role int

// Entrance says who enters which room.
type Entrance struct {
	Room string
	// Name is the user's id in the room, and its nickname.
	Name string
	// Role is what an open room gives who asks for it. Where a room has
	// passwords, the password says it.
	Role     Role
	Password string
}

// ErrClosed is returned when the cast is closed.
var ErrClosed = errors.New("cast is closed")

// Join brings a person into a room. It fails as [talkcloud.Client.Join] does.
// Somebody of the same name who is in the room is put out by the platform.
func (c *Cast) Join(ctx context.Context, as Entrance) (*Person, error) {
	p := &Person{cast: c, as: as, changed: make(chan struct{}), answers: map[string]chan string{}}
	platform, err := talkcloud.New(talkcloud.Config{
		BaseURL: c.cfg.BaseURL, DialContext: p.dial, Logger: c.cfg.Logger,
		CheckroomParams: map[string]string{"userrole": strconv.Itoa(int(as.Role))},
	})
	if err != nil {
		return nil, err
	}
	p.platform = platform
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return nil, errors.Join(ErrClosed, platform.Close())
	}
	conn, err := platform.Join(ctx, talkcloud.JoinOptions{
		Room: talkcloud.RoomID(as.Room), UserID: talkcloud.UserID(as.Name), Nickname: as.Name, Password: talkcloud.Secret(as.Password),
	})
	if err != nil {
		return nil, errors.Join(err, platform.Close())
	}
	p.enter(conn)
	c.mu.Lock()
	if closed = c.closed; !closed {
		c.people[p] = struct{}{}
	}
	c.mu.Unlock()
	if closed {
		p.close()
		return nil, ErrClosed
	}
	return p, nil
}

// Close has everybody leave and waits for it.
func (c *Cast) Close() error {
	c.mu.Lock()
	c.closed = true
	people := c.people
	c.people = map[*Person]struct{}{}
	c.mu.Unlock()
	var errs sync.WaitGroup
	for p := range people {
		errs.Go(p.close)
	}
	errs.Wait()
	return nil
}

// outError tells that somebody is not in the room.
func (p *Person) outError() error {
	return fmt.Errorf("%s is not in room %s", p.as.Name, p.as.Room)
}
