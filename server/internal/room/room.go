// SPDX-License-Identifier: Apache-2.0

// Package room keeps sessions in rooms of the platform: one connection for a room and identity,
// shared and counted, that comes back by itself.
//
// A [Manager] gives out [Session]s. However many acquire the same room with the same user id, one
// connection serves them all; the last one that releases it leaves the room. Publish and Delete
// return when the platform has echoed the change back, the only confirmation there is. A
// [Subscription] sees the saved messages of the room as a snapshot and then every change of them.
//
// Guarantees. Events of a session come in one order, the same for all subscribers. When the
// connection is lost, the session joins again, with backoff and without limit, and tells the
// difference between what it knew and what it finds as ordinary events, so that a subscriber's
// picture of the saved messages is always the room's. It gives up only when the platform put it out
// of the room or refuses to let it in again; then the last event is Ended, with the reason. A
// subscriber that is too slow is told so and cut off; it slows nobody. Nothing blocks beyond its
// context or timeout.
//
// It leaves to others: what a message means, and publishing again what a room has forgotten.
package room

import (
	"errors"
	"time"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Key identifies a session that can be shared.
type Key struct {
	Room talkcloud.RoomID
	User talkcloud.UserID
}

// Errors of this package. What comes from the platform is a [*talkcloud.Error].
var (
	// ErrNotConfirmed is wrapped by the error of Publish and Delete when the message may have been
	// sent, but its echo did not come. Whether it took effect is unknown.
	ErrNotConfirmed = errors.New("not confirmed by the platform")
	// ErrReleased ends a session that was released, or whose manager was closed.
	ErrReleased = errors.New("session released")
	// ErrSlow ends a subscription that did not keep up.
	ErrSlow = errors.New("subscriber too slow")
	// ErrClosed is returned by a manager that is closed.
	ErrClosed = errors.New("room manager closed")

	errForceReconnect = errors.New("the platform asked for a new connection")
)

// Kind says what an event is.
type Kind uint8

// The kinds of events.
const (
	// Snapshot is the first event of a subscription: Messages holds the saved messages of now.
	Snapshot Kind = iota + 1
	// Published: a message was published. InList tells that it was found in the room's list, so it
	// was published earlier; it is given only if it is new or changed.
	Published
	// Deleted: a message was deleted. InList tells that it was missing from the room's list; then
	// Message is its last known state, not the deletion.
	Deleted
	// Connected: the connection is back. The difference follows as Published and Deleted events.
	Connected
	// Disconnected: the connection is lost and the session is coming back; Err tells why.
	Disconnected
	// Ended is the last event: the session is over; Err tells why.
	Ended
)

// String returns the kind's name, for logs.
func (k Kind) String() string {
	switch k {
	case Snapshot:
		return "snapshot"
	case Published:
		return "published"
	case Deleted:
		return "deleted"
	case Connected:
		return "connected"
	case Disconnected:
		return "disconnected"
	case Ended:
		return "ended"
	}
	return "unknown"
}

// Event is something that happened to a session. All subscribers share it: do not change it.
type Event struct {
	Kind     Kind
	Message  talkcloud.Message   // Published, Deleted
	InList   bool                // Published, Deleted: found by comparing lists, not seen live
	Messages []talkcloud.Message // Snapshot, in order of seq
	// StateLost, of Connected: the room came back without any saved message and without anyone else
	// in it, and had some before. It lost its state; nobody deleted the messages that are now gone.
	StateLost bool
	// Vacant, of Snapshot: when we last joined, there was no saved message in the room and nobody
	// else. Whoever knows of an earlier state takes it as lost.
	Vacant bool
	Err    error     // Disconnected, Ended
	At     time.Time // when we learned of it, by our clock
}
