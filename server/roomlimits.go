// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"fmt"

	"github.com/classrec/classrec/server/internal/roomserver"
)

// RoomLimits bounds what the embedded platform takes. What is over is refused,
// and hurts nobody who is there: on the socket with ["error", {code: 4103,
// reason: "LIMIT_EXCEEDED"}] in the ack, by WHIP with HTTP status 429 or 507.
// Zeros are the defaults.
type RoomLimits struct {
	// MaxRooms is how many rooms may have somebody in them: 20,000.
	MaxRooms int
	// MaxParticipants is how many people there may be in all rooms, and those who
	// are about to enter one: 50,000; MaxPerRoom in one room: 5,000.
	MaxParticipants, MaxPerRoom int
	// MaxMessageBytes bounds one message: 1 MiB. A larger one ends its connection.
	MaxMessageBytes int64
	// ClassesPerMinute is how many classes begin in a room in a minute: 10. Negative:
	// no bound.
	ClassesPerMinute int
	// MessagesPerSecond is how many messages one participant may send in a second,
	// on average over ten: 300. Negative: no bound.
	MessagesPerSecond int
	// MaxSavedMessages and MaxSavedBytes bound what a room keeps for those who
	// come late: 1,000 and 4 MiB.
	MaxSavedMessages int
	MaxSavedBytes    int64
	// MaxPublishers is how many streams of media are taken at once: 2,000;
	// MaxStreams of one participant: 4.
	MaxPublishers, MaxStreams int
	// maxTCPMedia is how many of them may come by TCP; 0: 1,024.
	maxTCPMedia int
	// MinFree is how many bytes of the disk are left alone: below, no class is
	// begun, and what is published is no longer recorded. 0: 256 MiB. Negative: no
	// bound.
	MinFree int64
}

func (l RoomLimits) withDefaults() RoomLimits {
	l.MaxRooms = cmp.Or(l.MaxRooms, 20_000)
	l.MaxParticipants = cmp.Or(l.MaxParticipants, 50_000)
	l.MaxPerRoom = cmp.Or(l.MaxPerRoom, 5_000)
	l.MaxMessageBytes = cmp.Or(l.MaxMessageBytes, 1<<20)
	l.MessagesPerSecond = cmp.Or(l.MessagesPerSecond, 300)
	l.ClassesPerMinute = cmp.Or(l.ClassesPerMinute, 10)
	l.MaxSavedMessages = cmp.Or(l.MaxSavedMessages, 1_000)
	l.MaxSavedBytes = cmp.Or(l.MaxSavedBytes, 4<<20)
	l.MaxPublishers = cmp.Or(l.MaxPublishers, 2_000)
	l.MaxStreams = cmp.Or(l.MaxStreams, 4)
	l.MinFree = cmp.Or(l.MinFree, 256<<20)
	return l
}

// validate finds what makes no sense.
func (l RoomLimits) validate() (errs []error) {
	for _, limit := range []struct {
		flag string
		n    int64
	}{
		{"--room-max-rooms", int64(l.MaxRooms)},
		{"--room-max-participants", int64(l.MaxParticipants)},
		{"--room-max-people", int64(l.MaxPerRoom)},
		{"--room-max-message", l.MaxMessageBytes},
		{"--room-max-saved", int64(l.MaxSavedMessages)},
		{"--room-max-saved-bytes", l.MaxSavedBytes},
		{"--room-max-publishers", int64(l.MaxPublishers)},
		{"--room-max-streams", int64(l.MaxStreams)},
	} {
		if limit.n < 0 {
			errs = append(errs, fmt.Errorf("%s: is negative", limit.flag))
		}
	}
	return errs
}

// apply sets the limits of a room server.
func (l RoomLimits) apply(cfg *roomserver.Config) {
	cfg.MaxRooms, cfg.MaxParticipants, cfg.MaxPerRoom = l.MaxRooms, l.MaxParticipants, l.MaxPerRoom
	cfg.MaxMessageBytes, cfg.MessagesPerSecond = l.MaxMessageBytes, l.MessagesPerSecond
	cfg.ClassesPerMinute = l.ClassesPerMinute
	cfg.MaxSavedMessages, cfg.MaxSavedBytes = l.MaxSavedMessages, int(l.MaxSavedBytes)
	cfg.MaxPublishers, cfg.MaxStreams, cfg.MinFree = l.MaxPublishers, l.MaxStreams, l.MinFree
	cfg.MaxTCPPublishers = l.maxTCPMedia
}
