// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// tailHeartbeat is how often the server says that it has nothing new. A
	// tail ends when it has heard nothing for twice as long.
	tailHeartbeat = time.Second
	// tailExpiry is how long a tail asks for messages at a time.
	tailExpiry = 4 * time.Second
	// tailIdle is after how long the server forgets a tail that nobody reads.
	tailIdle = 10 * time.Second
)

// tail reads the messages of a stream as they come, in order, without a gap:
// whatever could make one ends it, and the reader opens another.
type tail struct {
	iter jetstream.MessagesContext
	next uint64 // of the consumer's own numbers
}

// openTail begins to read. ctx bounds only that.
func openTail(ctx context.Context, stream jetstream.Stream, policy jetstream.DeliverPolicy, start uint64) (*tail, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*requestTimeout)
	defer cancel()
	cfg := jetstream.ConsumerConfig{
		DeliverPolicy:     policy,
		OptStartSeq:       start,
		AckPolicy:         jetstream.AckNonePolicy,
		MaxDeliver:        1,
		InactiveThreshold: tailIdle,
		Replicas:          1,
		MemoryStorage:     true,
	}
	if policy == jetstream.DeliverLastPerSubjectPolicy {
		cfg.FilterSubject = ">" // the server wants one
	}
	consumer, err := stream.CreateConsumer(ctx, cfg)
	if err != nil {
		return nil, err
	}
	iter, err := consumer.Messages(
		jetstream.PullHeartbeat(tailHeartbeat),
		jetstream.PullExpiry(tailExpiry),
		jetstream.WithMessagesErrOnMissingHeartbeat(true),
	)
	if err != nil {
		return nil, err
	}
	return &tail{iter: iter, next: 1}, nil
}

// read returns the next message.
func (t *tail) read(ctx context.Context) (jetstream.Msg, *jetstream.MsgMetadata, error) {
	m, err := t.iter.Next(jetstream.NextContext(ctx))
	if err != nil {
		return nil, nil, err
	}
	meta, err := m.Metadata()
	if err != nil {
		return nil, nil, err
	}
	if meta.Sequence.Consumer != t.next {
		return nil, nil, errors.New("a message was lost on its way")
	}
	t.next++
	return m, meta, nil
}

func (t *tail) close() { t.iter.Stop() }

// tails ends the tails that are read, so that they are opened anew.
type tails struct {
	mu      sync.Mutex
	cancels map[*context.CancelFunc]struct{}
}

// context returns a context that stop ends, too.
func (t *tails) context(parent context.Context) (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancel(parent)
	key := &cancel
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cancels == nil {
		t.cancels = make(map[*context.CancelFunc]struct{})
	}
	t.cancels[key] = struct{}{}
	return ctx, func() {
		cancel()
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.cancels, key)
	}
}

func (t *tails) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for cancel := range t.cancels {
		(*cancel)()
	}
}
