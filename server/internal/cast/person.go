// SPDX-License-Identifier: Apache-2.0

package cast

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Person is somebody in a room, or who was. It is safe for concurrent use.
type Person struct {
	cast     *Cast
	as       Entrance
	platform *talkcloud.Client
	reading  sync.WaitGroup
	acting   sync.Mutex // leaving and coming back take turns

	mu      sync.Mutex
	conn    *talkcloud.Conn // the present one, or the last
	in      bool
	net     map[net.Conn]struct{} // what the person's connections run over
	streams []*Stream
	seen    []Event
	taken   map[int]bool           // of seen, by index: what Await has returned
	dropped int                    // how many are gone from the beginning of seen
	changed chan struct{}          // closed and replaced with each event, and when out
	answers map[string]chan string // of the media server, by stream; each gets one
}

// maxSeen is how many events a person remembers.
const maxSeen = 10_000

// Name is who it is, by id and nickname.
func (p *Person) Name() string { return p.as.Name }

// Room is where it is, or was.
func (p *Person) Room() string { return p.as.Room }

// Role is the one that it has asked for.
func (p *Person) Role() Role { return p.as.Role }

// dial makes a connection that Drop can cut.
func (p *Person) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	dial := p.cast.cfg.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &cuttable{Conn: conn, of: p}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.net == nil {
		p.net = map[net.Conn]struct{}{}
	}
	p.net[c] = struct{}{}
	return c, nil
}

// cuttable is a connection that its person knows.
type cuttable struct {
	net.Conn
	of *Person
}

// Close closes the connection.
func (c *cuttable) Close() error {
	c.of.mu.Lock()
	delete(c.of.net, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// enter takes a connection to the room.
func (p *Person) enter(conn *talkcloud.Conn) {
	events := conn.Events()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conn, p.in = conn, true
	for _, m := range conn.Reply().Messages {
		if m.Key() == talkcloud.MessageClassBegin {
			p.add(classEvent(ClassBegun, m))
		}
	}
	p.reading.Go(func() { p.read(conn, events) })
}

// read takes what the room tells until the connection ends.
func (p *Person) read(conn *talkcloud.Conn, events <-chan talkcloud.Event) {
	for ev := range events {
		p.mu.Lock()
		p.answered(ev)
		if seen, ok := eventOf(ev, p.cast.cfg.Now); ok {
			p.add(seen)
		}
		p.mu.Unlock()
	}
	_ = conn.Close() // it has ended; this releases it
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == conn && p.in {
		p.in = false
		p.add(Event{Kind: Out, Time: p.cast.cfg.Now()})
	}
}

// connection is the present one.
func (p *Person) connection() (*talkcloud.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.in {
		return nil, p.outError()
	}
	return p.conn, nil
}

// Chat says something to everybody.
func (p *Person) Chat(ctx context.Context, text string) error {
	conn, err := p.connection()
	if err != nil {
		return err
	}
	return conn.SendChat(ctx, text)
}

// Begin begins a class, and returns when the room has been told of it: with
// recordts, when it began by the platform's clock. A class that is on is ended
// by it. A refusal is a [*talkcloud.RefusedError].
func (p *Person) Begin(ctx context.Context, class talkcloud.ClassBegin) (time.Time, error) {
	return p.change(ctx, ClassBegun, func(conn *talkcloud.Conn) error { return conn.Publish(ctx, class.Message()) })
}

// End ends the class, and returns when the room has been told of it, and when
// that was. It does so also when there is none.
func (p *Person) End(ctx context.Context) (time.Time, error) {
	return p.change(ctx, ClassEnded, func(conn *talkcloud.Conn) error { return conn.Delete(ctx, talkcloud.ClassEnd()) })
}

// change does something to ClassBegin and waits for its own echo.
func (p *Person) change(ctx context.Context, kind Kind, do func(*talkcloud.Conn) error) (time.Time, error) {
	p.mu.Lock()
	from := p.dropped + len(p.seen)
	p.mu.Unlock()
	conn, err := p.connection()
	if err != nil {
		return time.Time{}, err
	}
	if err := do(conn); err != nil {
		return time.Time{}, err
	}
	ev, err := p.find(ctx, from, func(_ int, ev Event) bool { return ev.Kind == kind && ev.From == p.as.Name || ev.Kind == Out })
	if err == nil && ev.Kind == Out {
		err = p.outError()
	}
	return ev.Time, err
}

// Leave leaves the room, in order. Who is out already stays out.
func (p *Person) Leave() {
	p.acting.Lock()
	defer p.acting.Unlock()
	p.stopStreams()
	p.mu.Lock()
	conn := p.conn
	p.mu.Unlock()
	_ = conn.Close() // always nil
	p.reading.Wait()
}

// Drop cuts the person's connections, without a goodbye, and its media.
func (p *Person) Drop() {
	p.acting.Lock()
	defer p.acting.Unlock()
	p.mu.Lock()
	for conn := range p.net {
		_ = conn.(*cuttable).Conn.Close()
	}
	p.mu.Unlock()
	p.stopStreams()
	p.reading.Wait()
}

// Rejoin comes back into the room as the same person, without media.
func (p *Person) Rejoin(ctx context.Context) error {
	p.acting.Lock()
	defer p.acting.Unlock()
	p.mu.Lock()
	conn, in := p.conn, p.in
	p.mu.Unlock()
	if in {
		return fmt.Errorf("%s is in room %s", p.as.Name, p.as.Room)
	}
	conn, err := p.platform.Rejoin(ctx, conn)
	if err != nil {
		return err
	}
	p.enter(conn)
	return nil
}

// close leaves for good.
func (p *Person) close() {
	p.Leave()
	_ = p.platform.Close() // always nil
}

func (p *Person) stopStreams() {
	p.mu.Lock()
	streams := p.streams
	p.streams = nil
	p.mu.Unlock()
	for _, s := range streams {
		_ = s.publisher.Close() // nobody is to be told good-bye
	}
}
