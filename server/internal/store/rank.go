// SPDX-License-Identifier: Apache-2.0

package store

import (
	"crypto/sha256"
	"encoding/binary"
)

// Rank returns this replica's place among the living ones for the room, 0 is
// the first: who should work it when nobody does. All replicas that hear of
// the same others agree; one that comes or goes moves only the rooms that it
// is first for (rendezvous hashing). With SQLite it is 0.
func (s *Store) Rank(tenant, room string) int {
	if s.cluster == nil {
		return 0
	}
	key := roomKey{tenant, room}
	own := weight(key, s.cfg.ReplicaID)
	rank := 0
	for _, replica := range s.cluster.presence.all() {
		if weight(key, replica) > own {
			rank++
		}
	}
	return rank
}

func weight(room roomKey, replica string) uint64 {
	sum := sha256.Sum256([]byte(room.tenant + "\x00" + replica + "\x00" + room.room))
	return binary.BigEndian.Uint64(sum[:])
}
