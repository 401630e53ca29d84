// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
)

// retryWait is how long the follower waits before it asks again for a log that
// it cannot read.
const retryWait = 200 * time.Millisecond

// message is one message of the log, as read.
type message struct {
	key      recordingKey   // zero when the subject is not one of ours
	entry    *Entry         // nil when it is no record, or cannot be understood
	lease    *storev1.Lease // nil when it is no lease, or cannot be understood
	sequence uint64

	retention bool   // it says what is forgotten, unless it cannot be understood
	forgotten uint64 // what it says
}

// change is what the fan-out gets of a message.
type change struct {
	entry    *Entry // may be nil when cut is set
	sequence uint64
	cut      bool // entries before it, and after the one that the fan-out got last, are lost
}

// unreadable tells a message that should be the state of a recording.
func (m message) unreadable() bool {
	return m.entry == nil && m.key != (recordingKey{}) && m.key.id != leaseID
}

// cursor is the place of its recording in lists.
func (m message) cursor() Cursor {
	if m.entry == nil {
		return Cursor{}
	}
	return CursorOf(m.entry)
}

// read makes sense of a message; what it cannot make sense of it counts, logs
// and leaves empty.
func (s *Store) read(m jetstream.Msg) (message, uint64, error) {
	meta, err := m.Metadata()
	if err != nil {
		return message{}, 0, err
	}
	msg := message{sequence: meta.Sequence.Stream}
	msg.key, _ = parseSubject(m.Subject())
	msg.retention = m.Subject() == retentionSubject
	switch {
	case msg.retention:
		msg.forgotten, err = decodeRetention(m.Data())
	case msg.key.id == leaseID:
		msg.lease, err = decodeLease(msg.key, m.Data())
	default:
		msg.entry, err = decode(m.Subject(), m.Data(), msg.sequence)
	}
	if msg.entry != nil {
		msg.entry.Stored = meta.Timestamp
	}
	if err != nil {
		s.skipped.Add(1)
		s.log.Error("a message of the log cannot be understood and is skipped",
			"sequence", msg.sequence, "subject", m.Subject(), "error", err)
	}
	return msg, meta.NumPending, nil
}

// scan calls fn with the messages that match cfg, in order, until it has seen
// all that are there, or has seen max of them (0 is no bound). A sequence may
// come once more when the server is lost in between, never out of order.
func (s *Store) scan(ctx context.Context, cfg jetstream.OrderedConsumerConfig, max int, fn func(message)) error {
	cfg.InactiveThreshold = 10 * time.Second
	consumer, err := s.stream.OrderedConsumer(ctx, cfg)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if consumer.CachedInfo().NumPending == 0 {
		return nil
	}
	iter, err := consumer.Messages()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer func() {
		iter.Stop()
		// If this fails, the consumer ends itself when it has been idle.
		_ = s.stream.DeleteConsumer(ctx, consumer.CachedInfo().Name)
	}()
	for n := 1; ; n++ {
		m, err := iter.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		msg, pending, err := s.read(m)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		fn(msg)
		if pending == 0 || n == max {
			return nil
		}
	}
}

// load builds the index from the last message of each recording, and the
// watchers' history from the last messages of all.
func (s *Store) load(ctx context.Context) error {
	info, err := s.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	last := info.State.LastSeq
	var messages []message
	err = s.scan(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy}, 0,
		func(m message) { messages = append(messages, m) })
	if err != nil {
		return err
	}
	for _, m := range messages {
		if !m.unreadable() {
			continue
		}
		before, err := s.lastReadable(ctx, m.key)
		if err != nil {
			return err
		}
		if before.entry != nil {
			messages = append(messages, before)
		}
	}
	// What has come since is among them, but not all of it: following begins
	// right after last.
	s.index.load(messages, last)
	return s.loadHistory(ctx, last)
}

// lastReadable returns the newest message of a recording that can be understood,
// an empty one when none can.
func (s *Store) lastReadable(ctx context.Context, key recordingKey) (last message, err error) {
	err = s.scan(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverAllPolicy, FilterSubjects: []string{key.subject()},
	}, 0, func(m message) {
		if m.entry != nil {
			last = m
		}
	})
	return last, err
}

func (s *Store) loadHistory(ctx context.Context, last uint64) error {
	base := max(last-min(last, uint64(s.cfg.History)), s.Forgotten()) //nolint:gosec // it is not negative
	var entries []*Entry
	err := s.scan(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:   base + 1,
	}, 0, func(m message) {
		if m.entry != nil && m.sequence <= last {
			entries = append(entries, m.entry)
		}
	})
	if err != nil {
		return err
	}
	// Another process may have removed some while they were read.
	forgotten, err := s.forgottenOfLog(ctx)
	if err != nil {
		return err
	}
	base = max(base, min(forgotten, last))
	entries = slices.DeleteFunc(entries, func(e *Entry) bool { return e.Revision <= base })
	s.fanout.load(base, last, entries)
	return nil
}

// follow takes every message of the log in, in order, and hands it on to the
// fan-out, until the store is closed.
func (s *Store) follow() {
	defer close(s.fanned)
	for s.lifetime.Err() == nil {
		err := s.followOnce()
		if s.lifetime.Err() != nil {
			return
		}
		s.log.Warn("the log cannot be followed; trying again", "error", err)
		select {
		case <-time.After(retryWait):
		case <-s.lifetime.Done():
		}
	}
}

func (s *Store) followOnce() error {
	ctx, done := s.tails.context(s.lifetime)
	defer done()
	reading := s.gate.enter(s.tails.stop)
	t, err := openTail(ctx, s.stream, jetstream.DeliverByStartSequencePolicy, s.index.lastSequence()+1)
	if err != nil {
		return err
	}
	defer t.close()
	for {
		m, _, err := t.read(ctx)
		if err != nil {
			return err
		}
		msg, _, err := s.read(m)
		if err != nil {
			return err
		}
		if msg.sequence <= s.index.lastSequence() {
			continue
		}
		if !s.gate.pass(msg.sequence, reading) {
			return errors.New("the log was recovered")
		}
		cut, err := s.jumped(ctx, msg.sequence)
		if err != nil {
			return err
		}
		if msg.entry != nil {
			s.shown.Store(msg.sequence) // before anybody can see it
		}
		s.index.advance(msg)
		if msg.entry != nil || msg.lease != nil {
			s.changes.room(msg.key.roomKey())
		}
		if msg.entry == nil && !cut {
			continue
		}
		select {
		case s.fanned <- change{entry: msg.entry, sequence: msg.sequence, cut: cut}:
		case <-s.lifetime.Done():
			return s.lifetime.Err()
		}
	}
}

// fan hands entries to the watchers.
func (s *Store) fan() {
	for c := range s.fanned {
		if c.cut {
			s.fanout.cut(c.sequence)
		}
		if c.entry != nil {
			s.fanout.publish(c.entry)
		}
	}
}
