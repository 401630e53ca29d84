// SPDX-License-Identifier: Apache-2.0

package room

import "sync/atomic"

// Stats is how the sessions of a [Manager] do.
type Stats struct {
	// Open is how many sessions there are now, those that are joining and leaving too; Online how many of them have a
	// connection.
	Open, Online int64
	// Joined and JoinFailed count first joins, Lost connections that were lost, Rejoined and RejoinFailed attempts to
	// come back, Ended sessions that the platform has put an end to, and Slow subscriptions that were cut off because
	// they did not keep up.
	Joined, JoinFailed, Lost, Rejoined, RejoinFailed, Ended, Slow uint64
}

// Plus returns the sum of both.
func (s Stats) Plus(o Stats) Stats {
	return Stats{
		Open: s.Open + o.Open, Online: s.Online + o.Online,
		Joined: s.Joined + o.Joined, JoinFailed: s.JoinFailed + o.JoinFailed, Lost: s.Lost + o.Lost,
		Rejoined: s.Rejoined + o.Rejoined, RejoinFailed: s.RejoinFailed + o.RejoinFailed, Ended: s.Ended + o.Ended,
		Slow: s.Slow + o.Slow,
	}
}

// counts are the Stats as they are kept.
type counts struct {
	open, online                                                  atomic.Int64
	joined, joinFailed, lost, rejoined, rejoinFailed, ended, slow atomic.Uint64
}

// Stats returns the counts of now.
func (m *Manager) Stats() Stats {
	c := &m.counts
	return Stats{
		Open: c.open.Load(), Online: c.online.Load(),
		Joined: c.joined.Load(), JoinFailed: c.joinFailed.Load(), Lost: c.lost.Load(),
		Rejoined: c.rejoined.Load(), RejoinFailed: c.rejoinFailed.Load(), Ended: c.ended.Load(),
		Slow: c.slow.Load(),
	}
}
