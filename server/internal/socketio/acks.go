// SPDX-License-Identifier: Apache-2.0

package socketio

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"

	"github.com/classrec/classrec/server/internal/engineio"
)

// calls are the events of this side that wait for their acknowledgement.
type calls struct {
	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan []json.RawMessage // each has room for its answer; closed when the connection ends
	err     error                             // why the connection ended
}

// call emits an event with an acknowledgement id and waits for the answer.
func (cs *calls) call(ctx context.Context, eng *engineio.Conn, name string, args []any) ([]json.RawMessage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	id, answer, err := cs.begin()
	if err != nil {
		return nil, err
	}
	defer cs.forget(id)
	f, err := eventFrame(Packet{Type: PacketEvent, Namespace: RootNamespace, ID: id, HasID: true}, name, args)
	if err != nil {
		return nil, err
	}
	if err := eng.Send(f); err != nil {
		return nil, err
	}
	select {
	case reply, ok := <-answer:
		if !ok {
			return nil, cs.reason()
		}
		return reply, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (cs *calls) begin() (uint64, chan []json.RawMessage, error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.err != nil {
		return 0, nil, cs.err
	}
	id := cs.next
	cs.next++
	if cs.waiting == nil {
		cs.waiting = make(map[uint64]chan []json.RawMessage)
	}
	answer := make(chan []json.RawMessage, 1)
	cs.waiting[id] = answer
	return id, answer, nil
}

func (cs *calls) forget(id uint64) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.waiting, id)
	if len(cs.waiting) == 0 {
		cs.waiting = nil // an idle connection holds no map
	}
}

func (cs *calls) reason() error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.err
}

// answered takes an acknowledgement. One that nobody waits for, or no more, is dropped.
func (cs *calls) answered(id uint64, reply []json.RawMessage) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if answer, ok := cs.waiting[id]; ok {
		delete(cs.waiting, id)
		answer <- reply
	}
}

// fail ends all calls, those to come too.
func (cs *calls) fail(err error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.err = err
	for id, answer := range cs.waiting {
		delete(cs.waiting, id)
		close(answer)
	}
}

// newEvent makes the event of an event packet.
func newEvent(eng *engineio.Conn, p Packet) (Event, error) {
	name, args, err := splitEvent(p.Data)
	if err != nil {
		return Event{}, err
	}
	ev := Event{Name: name, Args: args}
	if p.HasID {
		ev.Ack = acknowledge(eng, p.ID)
	}
	return ev, nil
}

// acknowledge returns the Ack function for the event with that id.
func acknowledge(eng *engineio.Conn, id uint64) func(...any) error {
	var done atomic.Bool
	return func(args ...any) error {
		f, err := arrayFrame(Packet{Type: PacketAck, Namespace: RootNamespace, ID: id, HasID: true}, args)
		if err != nil {
			return err
		}
		if done.Swap(true) {
			return ErrAcked
		}
		return eng.Send(f)
	}
}
