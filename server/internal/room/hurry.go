// SPDX-License-Identifier: Apache-2.0

package room

// Hurry ends the wait before the next attempt to come back, where the connection
// is lost: there is reason to think that the room can be entered, or that there
// is something to see. It does not wait for the attempt, changes nothing while
// the connection is there, and nothing in a session that has ended.
func (s *Session) Hurry() {
	c := s.core
	c.do(func() {
		if c.retry != nil {
			c.retry.Stop()
			c.retry = nil
			c.rejoin()
		}
	})
}
