// SPDX-License-Identifier: Apache-2.0

package server

import "cmp"

const (
	// descriptorsOwn are those of the process itself: listeners, the store, connections that it opens.
	descriptorsOwn = 64
	// leastReserved are kept for media and files even where there are few.
	leastReserved = 256
	// leastConnections are what a listener accepts however few there are.
	leastConnections = 8
)

// withinDescriptors returns limits that leave descriptors for media and files: a quarter of all, which idle connections
// cannot use up. limit is how many files the process may have open, 0 for no bound. The second result reports whether a
// limit had to be lowered.
func (c Config) withinDescriptors(limit uint64) (Config, bool) {
	if limit == 0 || limit > 1<<30 {
		return c, false
	}
	all := int(limit)
	reserved := max(all/4, min(all/2, leastReserved))
	connections := max(all-reserved-descriptorsOwn, 0)
	before := c
	if 3*c.Doors.MaxConnections+2*c.Doors.RoomMaxConnections > connections {
		c.Doors.MaxConnections = min(c.Doors.MaxConnections, max(connections/8, leastConnections))
		left := (connections - 3*c.Doors.MaxConnections) / 2
		c.Doors.RoomMaxConnections = min(c.Doors.RoomMaxConnections, max(left, leastConnections))
	}
	// A publisher's file, and its connection where it comes by TCP.
	c.RoomLimits.MaxPublishers = min(c.RoomLimits.MaxPublishers, reserved/2)
	c.RoomLimits.maxTCPMedia = min(cmp.Or(c.RoomLimits.maxTCPMedia, 1024), reserved/4)
	lowered := c.Doors.MaxConnections != before.Doors.MaxConnections || c.Doors.RoomMaxConnections != before.Doors.RoomMaxConnections ||
		c.RoomLimits.MaxPublishers != before.RoomLimits.MaxPublishers
	return c, lowered
}

// fitDescriptors lowers the limits to what the process may have open, and says so.
func (s *Server) fitDescriptors() {
	limit := openFilesLimit()
	fitted, lowered := s.cfg.withinDescriptors(limit)
	s.cfg = fitted
	if lowered {
		s.cfg.Logger.Warn("limits lowered to what the process may have open (RLIMIT_NOFILE); raise it with ulimit -n or LimitNOFILE=",
			"open_files", limit, "max-connections", fitted.Doors.MaxConnections,
			"room-max-connections", fitted.Doors.RoomMaxConnections, "room-max-publishers", fitted.RoomLimits.MaxPublishers)
	}
}
