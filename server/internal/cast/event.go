// SPDX-License-Identifier: Apache-2.0

package cast

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Kind says what somebody has seen.
type Kind string

// The kinds.
const (
	Joined     Kind = "joined"      // somebody has come: From
	Left       Kind = "left"        // somebody has gone: From
	ClassBegun Kind = "class begun" // by From, or was on when we came
	ClassEnded Kind = "class ended" // by From
	Said       Kind = "said"        // in the chat, by From: Text
	MediaBegun Kind = "media begun" // From publishes
	MediaEnded Kind = "media ended" // the stream Text has ended
	Published  Kind = "published"   // another message of the room: Text is its name
	Deleted    Kind = "deleted"     // the same, deleted
	Evicted    Kind = "evicted"     // we are put out of the room
	Out        Kind = "out"         // we are not in the room any more
)

// Event is something that somebody has seen.
type Event struct {
	Kind Kind
	// From is who did it; "" where that is not told.
	From string
	// Text is what was said, or the name of a message or stream.
	Text string
	// Data is what a message carries.
	Data string
	// Time is when, by the platform where it tells, to the second.
	Time time.Time
}

// eventOf makes an event of one of the wire; ok is false for what nobody would
// ask for.
func eventOf(ev talkcloud.Event, now func() time.Time) (seen Event, ok bool) {
	seen.Time = now()
	switch ev.Kind {
	case talkcloud.Published:
		return messageEvent(ClassBegun, Published, ev.Message), true
	case talkcloud.Deleted:
		return messageEvent(ClassEnded, Deleted, ev.Message), true
	case talkcloud.ParticipantJoined:
		seen.Kind, seen.From = Joined, string(ev.UserID)
	case talkcloud.ParticipantLeft:
		seen.Kind, seen.From = Left, string(ev.UserID)
	case talkcloud.Evicted:
		seen.Kind = Evicted
	case talkcloud.Chat:
		seen.Kind, seen.From, seen.Text = Said, string(ev.ChatMessage.FromID), ev.ChatMessage.Text
		if at, ok := ev.ChatMessage.TS.Time(); ok {
			seen.Time = at
		}
	case talkcloud.Stream:
		var stream struct {
			ID          string `json:"id"`
			ExtensionID string `json:"extensionId"`
		}
		if len(ev.Args) == 0 || json.Unmarshal(ev.Args[0], &stream) != nil {
			return Event{}, false
		}
		switch ev.Name {
		case talkcloud.EventAddStream:
			seen.Kind, seen.From, seen.Text = MediaBegun, stream.ExtensionID, stream.ID
		case talkcloud.EventRemoveStream:
			seen.Kind, seen.Text = MediaEnded, stream.ID
		default:
			return Event{}, false
		}
	default:
		return Event{}, false
	}
	return seen, true
}

// messageEvent is of kind class for ClassBegin, else of kind other.
func messageEvent(class, other Kind, m talkcloud.Message) Event {
	if m.Key() == talkcloud.MessageClassBegin {
		return classEvent(class, m)
	}
	ev := classEvent(other, m)
	ev.Text = m.Name
	return ev
}

func classEvent(kind Kind, m talkcloud.Message) Event {
	ev := Event{Kind: kind, From: string(m.FromID), Data: m.DataText()}
	ev.Time, _ = m.TS.Time()
	return ev
}

// add remembers an event. The mutex is held.
func (p *Person) add(ev Event) {
	if len(p.seen) >= maxSeen {
		p.seen = append([]Event(nil), p.seen[maxSeen/2:]...)
		p.dropped += maxSeen / 2
	}
	p.seen = append(p.seen, ev)
	close(p.changed)
	p.changed = make(chan struct{})
}

// Seen is what the person has seen so far, the oldest first; of very many, the
// last thousands.
func (p *Person) Seen() []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Event(nil), p.seen...)
}

// Await returns the first event that matches and that Await has not returned
// before, and waits for it. What can never come any more, since the person is
// out of the room, is an error.
func (p *Person) Await(ctx context.Context, match func(Event) bool) (Event, error) {
	return p.find(ctx, 0, func(i int, ev Event) bool {
		if p.taken[i] || !match(ev) {
			return false
		}
		if p.taken == nil {
			p.taken = map[int]bool{}
		}
		p.taken[i] = true
		return true
	})
}

// find waits for the first event from an index on that matches, which is asked
// under the mutex.
func (p *Person) find(ctx context.Context, next int, match func(i int, ev Event) bool) (Event, error) {
	for {
		p.mu.Lock()
		for next = max(next, p.dropped); next < p.dropped+len(p.seen); next++ {
			if ev := p.seen[next-p.dropped]; match(next, ev) {
				p.mu.Unlock()
				return ev, nil
			}
		}
		changed, in := p.changed, p.in
		p.mu.Unlock()
		if !in {
			return Event{}, p.outError()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Event{}, fmt.Errorf("%s in room %s: %w", p.as.Name, p.as.Room, context.Cause(ctx))
		}
	}
}
