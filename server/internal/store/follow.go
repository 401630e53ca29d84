// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// page is how many events are read at a time.
const page = 512

const selectEvents = `SELECT sequence, tenant, room, recording, time, body, crc FROM event WHERE sequence > $1 AND sequence <= $2 ORDER BY sequence LIMIT $3`

// scanEvent reads an event. One that is damaged has neither entry nor lease.
func (s *Store) scanEvent(row scanner) (m message, err error) {
	var at, crc int64
	var body []byte
	if err := row.Scan(&m.sequence, &m.key.tenant, &m.key.room, &m.key.id, &at, &body, &crc); err != nil {
		return m, failed(err)
	}
	err = errors.New("the checksum is wrong")
	switch {
	case crc != checksum(body, m.sequence):
	case m.key.id == "":
		m.lease, err = decodeLease(m.key.roomKey(), body)
	default:
		var e *Entry
		if e, err = decode(body, m.sequence); err == nil && e.key() != m.key {
			err = errors.New("it is of another recording")
		}
		if err == nil {
			e.Stored = time.UnixMicro(at)
			m.entry = e
		}
	}
	if err != nil {
		s.damaged("an event", "sequence", m.sequence, "tenant", m.key.tenant, "room", m.key.room, "id", m.key.id, "error", err)
	}
	return m, nil
}

// events reads up to a page of events with after < sequence <= upTo.
func (s *Store) events(ctx context.Context, after, upTo uint64) (found []message, err error) {
	err = s.db.query(ctx, func(row scanner) error {
		m, err := s.scanEvent(row)
		found = append(found, m)
		return err
	}, selectEvents, after, upTo, page)
	return found, err
}

// progress is the row of table history.
type progress struct {
	id              string
	last, forgotten uint64
}

func (s *Store) progress(ctx context.Context) (p progress, err error) {
	err = s.db.row(ctx, []any{&p.id, &p.last, &p.forgotten}, `SELECT id, last, forgotten FROM history WHERE one = 1`)
	return p, missing(err)
}

// load reads the present state of all that is unfinished, and the last events.
// Nobody else may take in events meanwhile.
func (s *Store) load(ctx context.Context) error {
	for {
		p, err := s.progress(ctx)
		if err != nil {
			return err
		}
		unfinished, err := s.loadUnfinished(ctx)
		if err != nil {
			return err
		}
		leases, err := s.loadLeases(ctx)
		if err != nil {
			return err
		}
		recent, err := s.recent(ctx, p)
		if err != nil {
			return err
		}
		after, err := s.progress(ctx)
		if err != nil {
			return err
		}
		if after != p { // all has to be of one moment
			continue
		}
		s.history.Store(&p.id)
		s.index.load(p.last, p.forgotten, unfinished, leases)
		base := max(p.forgotten, p.last-min(p.last, uint64(s.cfg.History))) //nolint:gosec // it is positive
		s.fanout.load(base, p.last, recent)
		s.shown.Store(p.last)
		return nil
	}
}

// loadUnfinished returns all that is unfinished. What is damaged is made whole
// from its event, or else given up.
func (s *Store) loadUnfinished(ctx context.Context) (whole []*Entry, err error) {
	var damaged []*Entry
	err = s.db.query(ctx, func(row scanner) error {
		e, err := scanRecording(row)
		switch {
		case err != nil:
			return err
		case e.Damaged:
			damaged = append(damaged, e)
		default:
			whole = append(whole, e)
		}
		return nil
	}, `SELECT `+recordingColumns+` FROM recording WHERE state IN (1, 2, 3, 4) ORDER BY revision`)
	for _, e := range damaged {
		if e = s.restore(ctx, e); !e.Damaged && !isFinal(e.state()) {
			whole = append(whole, e)
		} else if e.Damaged {
			s.giveUp(ctx, e)
		}
	}
	return whole, err
}

// restore looks for what a damaged row said, in its event, and mends the row.
func (s *Store) restore(ctx context.Context, e *Entry) *Entry {
	key := e.key()
	var found *Entry
	err := s.db.query(ctx, func(row scanner) error {
		m, err := s.scanEvent(row)
		if m.entry != nil && m.key == key {
			found = m.entry
		}
		return err
	}, `SELECT sequence, tenant, room, recording, time, body, crc FROM event WHERE sequence = $1`, e.Revision)
	if err != nil || found == nil {
		s.damaged("a recording", "tenant", key.tenant, "room", key.room, "id", key.id, "recording", e.Record.GetRecording().GetName())
		return e
	}
	s.damaged("a recording, which is read from its last event instead",
		"tenant", key.tenant, "room", key.room, "id", key.id, "recording", found.Record.GetRecording().GetName())
	body, err := encode(found.Record)
	if err != nil {
		return found
	}
	c := columnsOf(found)
	_, err = s.db.transact(context.WithoutCancel(ctx), func(t *tx) error {
		_, err := t.exec(updateRecording, c.name, c.request, int(c.state), c.seconds, c.nanos, c.revision, body, checksum(body, c.revision),
			c.tenant, c.room, c.id, e.Revision)
		return err
	})
	if err != nil {
		s.log.Warn("the damaged row could not be mended", "error", err)
	}
	return found
}

// giveUp makes a damaged recording one that nobody works, so that it does not
// stand in the way of others in its room.
func (s *Store) giveUp(ctx context.Context, e *Entry) {
	key := e.key()
	_, err := s.db.transact(context.WithoutCancel(ctx), func(t *tx) error {
		_, err := t.exec(`UPDATE recording SET state = 6 WHERE tenant = $1 AND room = $2 AND id = $3`, key.tenant, key.room, key.id)
		return err
	})
	if err != nil {
		s.log.Error("a damaged recording stays in the way of its room", "room", key.room, "id", key.id, "error", err)
	}
}

func (s *Store) loadLeases(ctx context.Context) (map[roomKey]leaseGrant, error) {
	leases := make(map[roomKey]leaseGrant)
	if s.db.postgres == nil {
		return leases, nil
	}
	err := s.db.query(ctx, func(row scanner) error {
		var room roomKey
		var lease leaseGrant
		if err := row.Scan(&room.tenant, &room.room, &lease.holder, &lease.epoch); err != nil {
			return failed(err)
		}
		leases[room] = lease
		return nil
	}, `SELECT tenant, room, owner, epoch FROM room WHERE owner <> ''`)
	return leases, err
}

// recent returns the last events for the watchers' history, as far as they can
// be read.
func (s *Store) recent(ctx context.Context, p progress) (entries []*Entry, err error) {
	after := p.last - min(p.last, uint64(s.cfg.History)) //nolint:gosec // it is positive
	for after < p.last {
		found, err := s.events(ctx, after, p.last)
		if err != nil {
			return nil, err
		}
		for _, m := range found {
			if m.entry != nil {
				entries = append(entries, m.entry)
			}
		}
		if len(found) < page {
			break
		}
		after = found[len(found)-1].sequence
	}
	return entries, nil
}

// take makes events visible that this process has stored, after those before
// them that others have.
func (s *Store) take(own []message) {
	s.following <- struct{}{}
	defer func() { <-s.following }()
	last := s.index.lastSequence()
	for len(own) > 0 && own[0].sequence <= last { // somebody has read them from the database meanwhile
		own = own[1:]
	}
	if len(own) == 0 {
		return
	}
	if own[0].sequence > last+1 {
		ctx, cancel := s.bounded(s.cfg.Timeout)
		defer cancel()
		if err := s.fetch(ctx, own[0].sequence-1); err != nil {
			s.log.Warn("events of other processes cannot be read; they are looked for again", "error", err)
			return // the poller takes them all
		}
	}
	s.show(own)
}

// fetch takes in what others have stored, up to a sequence that is known to be
// there. following is held.
func (s *Store) fetch(ctx context.Context, upTo uint64) error {
	for last := s.index.lastSequence(); last < upTo; last = s.index.lastSequence() {
		found, err := s.events(ctx, last, upTo)
		switch {
		case err != nil:
			return err
		case len(found) == 0 || found[0].sequence != last+1:
			return s.reload(ctx, fmt.Sprintf("events after %d are forgotten", last), nil)
		}
		s.show(found)
	}
	return nil
}

// show makes events visible, which follow on each other. following is held.
func (s *Store) show(messages []message) {
	for _, m := range messages {
		s.shown.Store(m.sequence)
		m.era = s.era
		s.index.advance(m)
		s.hub.room(m.key.roomKey())
		select {
		case s.fanned <- m:
		case <-s.lifetime.Done():
		}
	}
}

// fan hands events to the watchers until the store is closed.
func (s *Store) fan() {
	for {
		select {
		case m := <-s.fanned:
			s.fanout.publish(m)
		case <-s.lifetime.Done():
			return
		}
	}
}

// relive begins anew with a history that is not the one that was followed: the
// database was replaced by an earlier one, or by one that has not got all.
// following is held.
func (s *Store) relive(reason string) {
	ctx, cancel := s.bounded(s.cfg.Timeout)
	defer cancel()
	old := s.HistoryID()
	_, err := s.db.transact(ctx, func(t *tx) error {
		_, err := t.exec(`UPDATE history SET id = $1 WHERE id = $2`, newHistoryID(), old)
		return err
	})
	if err == nil {
		err = s.reload(ctx, reason, &AheadError{Last: s.index.lastSequence()})
	}
	if err != nil {
		s.log.Error("the database has lost events that were there; it cannot be read anew yet", "reason", reason, "error", err)
		s.history.Store(&old) // the poller tries again
	}
}

// reload reads everything anew. end is what watchers are told; nil: those that
// miss something are told that it is too old. following is held.
func (s *Store) reload(ctx context.Context, reason string, end error) error {
	s.log.Error("the present state is read anew from the database", "reason", reason)
	if err := s.load(ctx); err != nil {
		return err
	}
	s.era = s.fanout.cut(end)
	s.hub.all()
	return nil
}
