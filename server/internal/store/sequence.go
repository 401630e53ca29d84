// SPDX-License-Identifier: Apache-2.0

package store

// SequenceOf returns the sequence by which the API names a revision: one more,
// so that 0, which asks for what is on now, is never a place to resume from,
// not even in a log that is still empty.
func SequenceOf(revision uint64) uint64 { return revision + 1 }

// RevisionOf is the reverse of SequenceOf.
func RevisionOf(sequence uint64) uint64 { return sequence - 1 }
