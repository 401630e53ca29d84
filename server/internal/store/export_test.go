// SPDX-License-Identifier: Apache-2.0

package store

import (
	"google.golang.org/protobuf/proto"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
)

// What the tests see of the inside: the form of the log.

func ParseSubject(subject string) (tenant, room, id string, ok bool) {
	k, ok := parseSubject(subject)
	return k.tenant, k.room, k.id, ok
}

func Subject(tenant, room, id string) string { return recordingKey{tenant, room, id}.subject() }

func Decode(subject string, data []byte, sequence uint64) (*Entry, error) {
	return decode(subject, data, sequence)
}

func Encode(rec *storev1.Record) []byte {
	data, err := proto.Marshal(rec)
	if err != nil {
		return nil
	}
	return data
}

// Syncs tells whether the embedded server syncs every write.
func Syncs(s *Store) bool { return s.server.server.JetStreamConfig().SyncAlways }

// Recover makes the embedded server recover its files, as after an error of
// the disk.
func Recover(s *Store) error {
	if err := s.server.restart(); err != nil {
		return err
	}
	s.gate.abandon()
	return nil
}

// Gate is the gate between the log and its readers.
type Gate struct{ g *gate }

func NewGate() Gate                                   { return Gate{newGate()} }
func (g Gate) Begin()                                 { g.g.begin() }
func (g Gate) End(last uint64)                        { g.g.end(last) }
func (g Gate) Stored(sequence uint64)                 { g.g.stored(sequence) }
func (g Gate) Abandon()                               { g.g.abandon() }
func (g Gate) Close()                                 { g.g.close() }
func (g Gate) Enter(stop func()) int                  { return g.g.enter(stop) }
func (g Gate) Pass(sequence uint64, reading int) bool { return g.g.pass(sequence, reading) }
