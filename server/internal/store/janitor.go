// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
)

const (
	// buckets is how finely the size of history is known by sequence.
	buckets = 1024
	// rememberedSubjects bounds what the janitor keeps in memory.
	rememberedSubjects = 4096
	// headerSize is that of a message's data, when only headers are asked for.
	headerSize = "Nats-Msg-Size"
	// messageOverhead is about what the server adds to a message's headers,
	// subject and data in its files.
	messageOverhead = 40
)

// janitor forgets history, in two steps: first it says in the log up to where,
// and only when that is stored and this store shows it, it removes. So nobody
// takes a log with holes for a whole one, and whoever is stopped in between
// leaves nothing wrong: the next run removes the rest. Several processes may do
// so at the same time on one log.
type janitor struct {
	*Store
	retention Retention
	cleaned   uint64    // history up to here has been removed
	next      time.Time // when to look again, whatever has come
	size      uint64    // the log's, after the last run
	kept      map[string]uint64
}

// tend runs until the store is closed.
func (s *Store) tend() {
	j := &janitor{Store: s, retention: s.cfg.Retention}
	for {
		select {
		case <-time.After(j.retention.Interval / 60):
		case <-s.lifetime.Done():
			return
		}
		err := j.run(s.lifetime)
		switch {
		case s.lifetime.Err() != nil:
			return
		case errors.Is(err, ErrConflict): // another has done the same
		case err != nil:
			s.log.Warn("old events could not be forgotten; trying again", "error", err)
		}
	}
}

// run forgets what is to be forgotten, if it is time to.
func (j *janitor) run(ctx context.Context) error {
	state, err := j.state(ctx)
	if err != nil {
		return err
	}
	bound := uint64(max(j.retention.Bytes, 0))
	grown := bound > 0 && state.Bytes > bound && state.Bytes > j.size+bound/8
	if time.Now().Before(j.next) && !grown {
		return nil
	}
	j.kept = make(map[string]uint64)
	mark, err := j.mark(ctx, state)
	if err != nil {
		return err
	}
	if mark > j.Forgotten() {
		if err := j.say(ctx, mark); err != nil {
			return err
		}
	}
	if forgotten := j.Forgotten(); forgotten > j.cleaned {
		subjects, err := j.remove(ctx, forgotten)
		if err != nil {
			return err
		}
		j.cleaned = forgotten
		j.log.Info("old events are forgotten", "up to", forgotten, "recordings", subjects)
	}
	if state, err = j.state(ctx); err != nil {
		return err
	}
	j.size, j.next = state.Bytes, time.Now().Add(j.retention.Interval)
	return nil
}

func (j *janitor) state(ctx context.Context) (jetstream.StreamState, error) {
	ctx, cancel := context.WithTimeout(ctx, j.cfg.AckTimeout)
	defer cancel()
	info, err := j.stream.Info(ctx)
	if err != nil {
		return jetstream.StreamState{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return info.State, nil
}

// mark returns the sequence up to which history is to be forgotten.
func (j *janitor) mark(ctx context.Context, state jetstream.StreamState) (uint64, error) {
	mark, revision := j.index.retention()
	last := min(state.LastSeq, j.LastSequence())
	if age := j.retention.Age; age > 0 {
		aged, err := j.before(ctx, time.Now().Add(-age))
		if err != nil {
			return 0, err
		}
		mark = max(mark, min(aged, last))
	}
	if limit := j.retention.Bytes; limit > 0 && state.Bytes > uint64(limit) {
		sized, err := j.over(ctx, mark, last, limit)
		if err != nil {
			return 0, err
		}
		mark = max(mark, sized)
	}
	if mark > 0 && mark == revision {
		mark-- // it is no event: not worth to say it again
	}
	return mark, nil
}

// before returns the greatest sequence that is older than the time.
func (j *janitor) before(ctx context.Context, t time.Time) (uint64, error) {
	state, err := j.state(ctx)
	if err != nil {
		return 0, err
	}
	found := state.LastSeq
	err = j.headers(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartTimePolicy,
		OptStartTime:  &t,
	}, 1, func(h header) (bool, error) {
		found = min(found, h.sequence-1)
		return false, nil
	})
	return found, err
}

// over returns the least sequence after from, about, so that no more than limit
// of history is after it, up to last.
func (j *janitor) over(ctx context.Context, from, last uint64, limit int64) (uint64, error) {
	var sizes [buckets]int64
	width := (last-from)/buckets + 1
	total := int64(0)
	err := j.headers(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:   from + 1,
	}, 0, func(h header) (bool, error) {
		if h.sequence > last {
			return false, nil
		}
		kept, err := j.keptFrom(ctx, h.subject)
		if err == nil && h.sequence < kept {
			sizes[(h.sequence-from-1)/width] += h.size
			total += h.size
		}
		return err == nil, err
	})
	mark := from
	for i := 0; total > limit; i++ {
		total -= sizes[i]
		mark = min(from+uint64(i+1)*width, last)
	}
	return mark, err
}

// say stores what is forgotten, unless another process has said something
// meanwhile: ErrConflict. It returns when this store shows it and it is synced.
func (j *janitor) say(ctx context.Context, mark uint64) error {
	data, err := proto.Marshal(&storev1.Retention{Forgotten: mark})
	if err != nil {
		return err
	}
	_, revision := j.index.retention()
	writing, cancel := context.WithTimeout(ctx, j.cfg.AckTimeout)
	defer cancel()
	ack, err := j.js.Publish(writing, retentionSubject, data, jetstream.WithExpectLastSequencePerSubject(revision))
	var refused *jetstream.APIError
	switch {
	case errors.As(err, &refused) && (&apiError{Code: int(refused.ErrorCode)}).isConflict():
		return fmt.Errorf("%w: %w", ErrConflict, err)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	select {
	case <-j.index.waitSequence(ack.Sequence):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	// What is acknowledged is synced, or will be when the server syncs next.
	select {
	case <-time.After(2 * j.cfg.SyncInterval):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// remove removes all history up to the sequence. It takes as long to wait as it
// takes to remove, so that writes find the disk free half of the time.
func (j *janitor) remove(ctx context.Context, upTo uint64) (subjects int, err error) {
	done := make(map[string]struct{})
	err = j.headers(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}, 0, func(h header) (bool, error) {
		if h.sequence > upTo {
			return false, nil
		}
		kept, err := j.keptFrom(ctx, h.subject)
		if err != nil || h.sequence >= kept {
			return true, err
		}
		if _, ok := done[h.subject]; ok { // it was on its way already
			return true, nil
		}
		if len(done) == rememberedSubjects {
			clear(done)
		}
		done[h.subject] = struct{}{}
		begin := time.Now()
		if err := j.purge(ctx, h.subject, min(upTo+1, kept)); err != nil {
			return false, err
		}
		subjects++
		select {
		case <-time.After(time.Since(begin)):
			return true, nil
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	})
	return subjects, err
}

// purge removes the subject's messages before the sequence.
func (j *janitor) purge(ctx context.Context, subject string, before uint64) error {
	ctx, cancel := context.WithTimeout(ctx, j.cfg.AckTimeout)
	defer cancel()
	if err := j.stream.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(before)); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// keptFrom returns the sequence from which on the subject's messages are never
// removed: the last one that can be understood, as far as this store knows, or
// just the last one where there is none.
func (j *janitor) keptFrom(ctx context.Context, subject string) (uint64, error) {
	if key, ok := parseSubject(subject); ok {
		if e := j.index.get(key); e != nil {
			return e.Revision, nil
		}
	}
	if kept, ok := j.kept[subject]; ok {
		return kept, nil
	}
	ctx, cancel := context.WithTimeout(ctx, j.cfg.AckTimeout)
	defer cancel()
	m, err := j.stream.GetLastMsgForSubject(ctx, subject)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if len(j.kept) == rememberedSubjects {
		clear(j.kept)
	}
	j.kept[subject] = m.Sequence
	return m.Sequence, nil
}

// header is what a scan of the headers tells of a message.
type header struct {
	subject  string
	sequence uint64
	size     int64 // about what it takes of the log
}

// headers calls fn with the messages of the log, without their data, in order,
// until it returns false or has seen all. It asks for ahead messages at a time;
// 0 is what the client thinks good.
func (j *janitor) headers(ctx context.Context, cfg jetstream.OrderedConsumerConfig, ahead int, fn func(header) (bool, error)) error {
	cfg.HeadersOnly = true
	cfg.InactiveThreshold = 10 * time.Second
	asking, cancel := context.WithTimeout(ctx, j.cfg.AckTimeout)
	defer cancel()
	consumer, err := j.stream.OrderedConsumer(asking, cfg)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if consumer.CachedInfo().NumPending == 0 {
		return nil
	}
	var opts []jetstream.PullMessagesOpt
	if ahead > 0 {
		opts = append(opts, jetstream.PullMaxMessages(ahead))
	}
	iter, err := consumer.Messages(opts...)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer func() {
		iter.Stop()
		// If this fails, the consumer ends itself when it has been idle.
		_ = j.stream.DeleteConsumer(ctx, consumer.CachedInfo().Name)
	}()
	for {
		h, pending, err := j.nextHeader(ctx, iter)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if more, err := fn(h); err != nil || !more || pending == 0 {
			return err
		}
	}
}

func (j *janitor) nextHeader(ctx context.Context, iter jetstream.MessagesContext) (header, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, j.cfg.AckTimeout)
	defer cancel()
	m, err := iter.Next(jetstream.NextContext(ctx))
	if err != nil {
		return header{}, 0, err
	}
	meta, err := m.Metadata()
	if err != nil {
		return header{}, 0, err
	}
	h := header{subject: m.Subject(), sequence: meta.Sequence.Stream, size: messageOverhead + int64(len(m.Subject()))}
	for key, values := range m.Headers() {
		for _, v := range values {
			if key == headerSize {
				data, err := strconv.ParseInt(v, 10, 64)
				if err != nil {
					return header{}, 0, err
				}
				h.size += data
				continue
			}
			h.size += int64(len(key) + len(v) + len(": \r\n"))
		}
	}
	return h, meta.NumPending, nil
}
