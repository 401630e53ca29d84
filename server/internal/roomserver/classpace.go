// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"sync"
	"time"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// classPace counts the beginnings of classes of each room, in the last minute.
type classPace struct {
	mu    sync.Mutex
	rooms map[talkcloud.RoomID][]time.Time // oldest first, of the last minute
	swept time.Time
}

// allow counts one more, unless they are too many.
func (c *classPace) allow(id talkcloud.RoomID, now time.Time, perMinute int) bool {
	if perMinute < 0 {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rooms == nil {
		c.rooms = make(map[talkcloud.RoomID][]time.Time)
	}
	if now.Sub(c.swept).Abs() >= time.Minute {
		c.swept = now
		for other, times := range c.rooms {
			if len(lastMinute(times, now)) == 0 {
				delete(c.rooms, other)
			}
		}
	}
	times := lastMinute(c.rooms[id], now)
	if len(times) >= perMinute {
		c.rooms[id] = times
		return false
	}
	c.rooms[id] = append(times, now)
	return true
}

// lastMinute leaves out what is longer ago, and what is ahead of a clock that was set back.
func lastMinute(times []time.Time, now time.Time) []time.Time {
	for len(times) > 0 && now.Sub(times[0]).Abs() >= time.Minute {
		times = times[1:]
	}
	return times
}
