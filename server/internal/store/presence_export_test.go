// SPDX-License-Identifier: Apache-2.0

package store

import "time"

// Presence is who is taken for alive.
type Presence struct{ p *presence }

func NewPresence(self string, ttl time.Duration) Presence {
	return Presence{newPresence(self, ttl)}
}
func (p Presence) Hear(replica string, sequence uint64) { p.p.hear(replica, sequence, time.Now()) }
func (p Presence) HearSelf(begun time.Time)             { p.p.hearSelf(begun, time.Now()) }
func (p Presence) Gone(replica string)                  { p.p.gone(replica) }
func (p Presence) Extend(begun time.Time)               { p.p.extend(begun) }
func (p Presence) Valid() bool                          { return p.p.valid() }
func (p Presence) Alive(replica string) bool            { return p.p.alive(replica) }
