// SPDX-License-Identifier: Apache-2.0

package room

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/tracing"
)

// core is a stay in a room, shared by sessions. The goroutine of run owns all of its state but what
// is marked; others send it operations.
type core struct {
	manager  *Manager
	key      Key
	password talkcloud.Secret // with which the room was entered
	logger   *slog.Logger
	ctx      context.Context // ends when nobody needs the session
	cancel   context.CancelFunc

	// Owned by the manager, under its lock.
	refs    int
	leaving bool        // is not shared any more
	linger  *time.Timer // leaves later; nil unless refs is 0

	ops   chan func()   // what others want done; taken until done
	ready chan struct{} // closed when the first join has come out; user and joinErr are set before
	done  chan struct{} // closed when the session has ended; err and endedAt are set before
	gone  chan struct{} // closed when the connection is closed too

	user    talkcloud.UserID
	joinErr error
	err     error
	endedAt time.Time

	conn     *talkcloud.Conn // the present connection, or the last one while coming back
	online   bool
	incoming <-chan talkcloud.RawEvent // of conn, nil while offline
	attempt  chan attempt              // the join under way answers here, nil while there is none
	retry    *time.Timer               // the wait before the next attempt, nil while there is none
	failed   int                       // attempts in a row
	saved    map[string]talkcloud.Message
	ends     map[string]talkcloud.Message // the last deletes of what subscriptions ask for by key
	vacant   bool                         // when we last joined, there was no saved message and nobody else
	others   map[talkcloud.UserID]struct{}
	alone    atomic.Int64 // since when nobody else is there, in Unix nanoseconds; 0 when somebody is. Any goroutine may read it
	subs     map[*Subscription]struct{}
	waits    []*wait
	orphans  int // echoes that may still come on this connection, for nobody
}

// attempt is the outcome of a join.
type attempt struct {
	conn *talkcloud.Conn
	err  error
}

// now is the time of day.
func (c *core) now() time.Time { return c.manager.cfg.Now() }

func newCore(m *Manager, key Key, password talkcloud.Secret) *core {
	c := &core{
		manager: m, key: key, password: password, logger: m.cfg.Logger.With("room", key.Room),
		ops: make(chan func()), ready: make(chan struct{}), done: make(chan struct{}), gone: make(chan struct{}),
	}
	c.ctx, c.cancel = context.WithCancel(m.ctx)
	return c
}

// do has the session's goroutine do something; false says that the session has ended, and it will not.
func (c *core) do(op func()) bool {
	select {
	case c.ops <- op:
		return true
	case <-c.done:
		return false
	}
}

// joined reports whether the room was entered. Any goroutine may ask.
func (c *core) joined() bool {
	select {
	case <-c.ready:
		return c.joinErr == nil
	default:
		return false
	}
}

// run is the session, from the first join, which is within the span asked, until all is closed.
func (c *core) run(asked tracing.Span, opts talkcloud.JoinOptions) {
	c.begin(func(ctx context.Context) (*talkcloud.Conn, error) {
		return c.manager.client.Join(tracing.Within(ctx, asked), opts)
	})
	err := c.loop()
	c.end(err)
}

// loop takes events and operations until the session ends, and returns why.
func (c *core) loop() error {
	for {
		var retry <-chan time.Time
		if c.retry != nil {
			retry = c.retry.C
		}
		select {
		case raw, ok := <-c.incoming:
			if !ok {
				c.offline(c.conn.Err())
				c.schedule()
			} else if err := c.receive(raw); err != nil {
				return err
			}
		case op := <-c.ops:
			op()
		case a := <-c.attempt:
			if err := c.attempted(a); err != nil {
				return err
			}
		case <-retry:
			c.retry = nil
			c.rejoin()
		case <-c.ctx.Done():
			return ErrReleased
		}
	}
}

// begin starts a join. It runs in a goroutine of its own, so that the session stays answerable, and
// so that the deep stack of a TLS handshake is not kept for as long as the session lives.
func (c *core) begin(join func(context.Context) (*talkcloud.Conn, error)) {
	outcome := make(chan attempt, 1)
	c.attempt = outcome
	go func() {
		ctx, cancel := context.WithTimeout(c.ctx, c.manager.cfg.AttemptTimeout)
		defer cancel()
		conn, err := join(ctx)
		outcome <- attempt{conn, err}
	}()
}

// rejoin starts a join after the connection was lost.
func (c *core) rejoin() {
	prev := c.conn
	c.begin(func(ctx context.Context) (*talkcloud.Conn, error) {
		_ = prev.Close() // always nil
		return c.manager.client.Rejoin(ctx, prev)
	})
}

// attempted takes the outcome of a join. It returns the error that ends the session.
func (c *core) attempted(a attempt) error {
	c.attempt = nil
	switch {
	case a.err == nil:
		c.connected(a.conn)
		return nil
	case c.ctx.Err() != nil:
		return ErrReleased
	case c.conn == nil:
		c.manager.counts.joinFailed.Add(1)
		c.joinErr = a.err
		return a.err
	}
	c.manager.counts.rejoinFailed.Add(1)
	switch talkcloud.KindOf(a.err) {
	case talkcloud.KindNotFound, talkcloud.KindPermissionDenied, talkcloud.KindUnauthenticated, talkcloud.KindInvalidArgument:
		return a.err // the room does not want us back, so asking again is no use
	default:
	}
	c.failed++
	c.logger.Warn("cannot join again yet", "attempts", c.failed, "error", a.err)
	c.schedule()
	return nil
}

func (c *core) schedule() { c.retry = time.NewTimer(c.manager.cfg.backoff(c.failed)) }

// connected takes a connection into use.
func (c *core) connected(conn *talkcloud.Conn) {
	first := c.conn == nil
	c.manager.counts.online.Add(1)
	if first {
		c.manager.counts.joined.Add(1)
	} else {
		c.manager.counts.rejoined.Add(1)
	}
	c.conn, c.online, c.incoming, c.failed = conn, true, conn.Incoming(), 0
	c.orphans = 0
	reply := conn.TakeReply()
	now := make(map[string]talkcloud.Message, len(reply.Messages))
	for _, m := range reply.Messages {
		now[m.Key()] = m
	}
	c.meet(reply.Users, conn.UserID())
	c.vacant = len(now) == 0 && len(c.others) == 0
	if first {
		c.user, c.saved = conn.UserID(), now
		close(c.ready)
	} else {
		before := c.saved
		c.saved = now
		lost := len(before) > 0 && c.vacant
		c.logger.Info("joined again", "state_lost", lost)
		c.emit(&Event{Kind: Connected, StateLost: lost, At: c.now()})
		for _, e := range difference(before, now, c.now()) {
			c.emit(e)
		}
	}
	for _, w := range slices.Clone(c.waits) {
		if w.sent {
			c.settle(w, w.judge(now, c.user))
		} else {
			c.send(w)
		}
	}
}

// maxOthers is how many people are told apart. A room that had more is not taken
// for empty before we join again: the platform tells no comings and goings of a
// large room (http-api.md section 5).
const maxOthers = 1000

// meet takes who is in the room now.
func (c *core) meet(users []talkcloud.Participant, self talkcloud.UserID) {
	c.others = make(map[talkcloud.UserID]struct{}, min(len(users), maxOthers))
	for _, p := range users {
		if p.ID != self {
			c.comes(p.ID)
		}
	}
	c.company()
}

// comes notes that somebody is there.
func (c *core) comes(user talkcloud.UserID) {
	if user != "" && user != c.user && len(c.others) < maxOthers {
		c.others[user] = struct{}{}
	}
}

// goes notes that somebody has left.
func (c *core) goes(user talkcloud.UserID) {
	if len(c.others) < maxOthers {
		delete(c.others, user)
	}
}

// company notes since when nobody else is there.
func (c *core) company() {
	switch {
	case len(c.others) > 0:
		c.alone.Store(0)
	case c.alone.Load() == 0:
		c.alone.Store(c.now().UnixNano())
	}
}

// difference returns what happened between two lists, as events at a time: first what is gone, then what is
// new or changed, each in order of seq.
func difference(before, now map[string]talkcloud.Message, at time.Time) []*Event {
	var events []*Event
	for _, m := range ordered(before) {
		if _, still := now[m.Key()]; !still {
			events = append(events, &Event{Kind: Deleted, Message: m, InList: true, At: at})
		}
	}
	for _, m := range ordered(now) {
		if old, had := before[m.Key()]; !had || !old.Equal(m) {
			events = append(events, &Event{Kind: Published, Message: m, InList: true, At: at})
		}
	}
	return events
}

func ordered(messages map[string]talkcloud.Message) []talkcloud.Message {
	return slices.SortedFunc(maps.Values(messages), func(a, b talkcloud.Message) int {
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Key(), b.Key()))
	})
}

// offline takes the connection out of use.
func (c *core) offline(reason error) {
	c.online, c.incoming = false, nil
	c.manager.counts.online.Add(-1)
	c.manager.counts.lost.Add(1)
	c.logger.Info("connection lost", "error", reason)
	c.emit(&Event{Kind: Disconnected, Err: reason, At: c.now()})
}

// receive takes a live event. It returns the error that ends the session.
func (c *core) receive(raw talkcloud.RawEvent) error {
	e, ok := talkcloud.ParseEvent(raw)
	if !ok {
		c.logger.Debug("event ignored: it lacks what it needs", "event", raw.Name)
		return nil
	}
	switch e.Kind {
	case talkcloud.Published:
		c.published(e.Message)
	case talkcloud.Deleted:
		c.deleted(e.Message)
	case talkcloud.List:
		for _, m := range e.List {
			if old, had := c.saved[m.Key()]; !had || !old.Equal(m) && !older(m, old) {
				c.saved[m.Key()] = m
				c.emit(&Event{Kind: Published, Message: m, InList: true, At: c.now()})
			}
		}
	case talkcloud.ParticipantLeft:
		c.goes(e.UserID)
		c.company()
		c.drop(func(m talkcloud.Message) bool { return m.AssociatedUserID == string(e.UserID) }, talkcloud.Message{FromID: e.UserID})
	case talkcloud.Evicted:
		return talkcloud.EvictionError(c.key.Room, e.Reason)
	case talkcloud.ForceReconnect:
		c.offline(errForceReconnect)
		c.rejoin()
	case talkcloud.ParticipantJoined:
		c.comes(e.UserID)
		c.company()
	case talkcloud.Chat, talkcloud.Property, talkcloud.Stream, talkcloud.Other:
	}
	return nil
}

// older reports whether a message is from before another: by seq, or by the whole seconds of ts
// where the platform gives no seq. It is so when an event overtook the answer to the join, or the
// reverse, and of an echo that comes late.
func older(m, than talkcloud.Message) bool {
	if m.Seq > 0 && than.Seq > 0 {
		return m.Seq < than.Seq
	}
	at, ok := m.TS.Time()
	before, known := than.TS.Time()
	return ok && known && at.Unix() < before.Unix()
}

func (c *core) published(m talkcloud.Message) {
	c.confirm(Published, m)
	if !m.DoNotSave || m.IsClassBegin() { // a class is kept whatever it says
		old, had := c.saved[m.Key()]
		if had && (older(m, old) || m.Seq > 0 && old.Equal(m)) {
			return // known from the list already
		}
		if end, ended := c.ends[m.Key()]; ended && !had && older(m, end) {
			// Its echo comes after that of its delete, or once more: both are told, in order.
			c.emit(&Event{Kind: Published, Message: m, At: c.now()})
			c.emit(&Event{Kind: Deleted, Message: end, At: c.now()})
			return
		}
		c.saved[m.Key()] = m
	}
	c.emit(&Event{Kind: Published, Message: m, At: c.now()})
}

func (c *core) deleted(m talkcloud.Message) {
	c.confirm(Deleted, m)
	if c.followed(m.Key()) {
		if c.ends == nil {
			c.ends = make(map[string]talkcloud.Message)
		}
		c.ends[m.Key()] = m
	}
	if old, had := c.saved[m.Key()]; had && older(m, old) {
		return
	} else if had { // what the room did not have cannot go: the platform may tell it twice
		delete(c.saved, m.Key())
		c.emit(&Event{Kind: Deleted, Message: m, At: c.now()})
	}
	all := m.Key() == talkcloud.MessageAllAll
	c.drop(func(o talkcloud.Message) bool { return all || o.AssociatedMsgID == m.Key() }, m)
}

// followed reports whether a subscription asks for messages with this key.
func (c *core) followed(key string) bool {
	for sub := range c.subs {
		if slices.Contains(sub.keys, key) {
			return true
		}
	}
	return false
}

// drop deletes saved messages that went together with something else, at its time and by its hand.
func (c *core) drop(which func(talkcloud.Message) bool, by talkcloud.Message) {
	for _, m := range ordered(c.saved) {
		if !which(m) {
			continue
		}
		delete(c.saved, m.Key())
		m.FromID, m.TS, m.Seq = by.FromID, by.TS, by.Seq
		c.confirm(Deleted, m)
		c.emit(&Event{Kind: Deleted, Message: m, At: c.now()})
	}
}

// subscribe begins a subscription.
func (c *core) subscribe(sub *Subscription) {
	sub.offer(&Event{Kind: Snapshot, Messages: ordered(c.saved), Vacant: c.vacant && len(c.saved) == 0, At: c.now()})
	if !c.online {
		sub.offer(&Event{Kind: Disconnected, At: c.now()})
	}
	if c.subs == nil {
		c.subs = make(map[*Subscription]struct{})
	}
	c.subs[sub] = struct{}{}
}

func (c *core) emit(e *Event) {
	for sub := range c.subs {
		if sub.wants(e) && !sub.offer(e) {
			delete(c.subs, sub)
		}
	}
}

// await takes a change to be sent and confirmed.
func (c *core) await(w *wait) {
	c.waits = append(c.waits, w)
	if c.online {
		c.send(w)
	}
}

// send gives a change the connection to send it on.
func (c *core) send(w *wait) {
	w.sent = true
	if old, had := c.saved[w.message.Key()]; had {
		w.before = &old
	}
	w.conn <- c.conn
}

// confirm settles what a live event confirms. A deletion confirms all deletes of the message. An
// echo confirms the publishes with the same data: to the room they are one. Where no data is the
// same, the platform has rewritten it; then the echo is that of the only publish under way, unless
// it may be a late one of another.
func (c *core) confirm(kind Kind, m talkcloud.Message) {
	var waiting, confirmed []*wait
	for _, w := range c.waits {
		if w.echoedBy(kind, m, c.user) {
			waiting = append(waiting, w)
			if kind == Deleted || sameData(w.message, m) {
				confirmed = append(confirmed, w)
			}
		}
	}
	if len(confirmed) == 0 && len(waiting) == 1 && c.orphans == 0 {
		confirmed = waiting
	}
	for i, w := range confirmed {
		c.settle(w, result{message: m})
		if i > 0 {
			c.orphans++ // its own echo is to come yet
		}
	}
}

func (c *core) settle(w *wait, r result) {
	w.result <- r
	c.remove(w)
}

// abandon forgets a change that nobody waits for any more.
func (c *core) abandon(w *wait) {
	if c.remove(w) && w.sent {
		c.orphans++
	}
}

func (c *core) remove(w *wait) bool {
	i := slices.Index(c.waits, w)
	if i >= 0 {
		c.waits = slices.Delete(c.waits, i, i+1)
	}
	return i >= 0
}

// end tells everyone that the session is over, and then closes what is open.
func (c *core) end(err error) {
	c.err, c.endedAt = err, c.now()
	if c.online {
		c.manager.counts.online.Add(-1)
	}
	if c.joined() && !errors.Is(err, ErrReleased) {
		c.manager.counts.ended.Add(1)
	}
	c.manager.ended(c)
	close(c.done) // before the event, so that who gets it can ask Err
	c.emit(&Event{Kind: Ended, Err: err, At: c.endedAt})
	c.subs = nil
	for _, w := range slices.Clone(c.waits) {
		c.settle(w, result{err: err})
	}
	if !c.joined() {
		if c.joinErr == nil {
			c.joinErr = err
		}
		close(c.ready)
	}
	if c.retry != nil {
		c.retry.Stop()
	}
	if c.attempt != nil {
		if a := <-c.attempt; a.err == nil { // soon: its context has ended
			_ = a.conn.Close()
		}
	}
	if c.conn != nil {
		_ = c.conn.Close()
	}
}
