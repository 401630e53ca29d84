// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"testing"
	"testing/synctest"

	"github.com/classrec/classrec/server/internal/store"
)

// pass asks for a sequence in the background; the answer comes on the channel.
func pass(g store.Gate, sequence uint64) <-chan bool {
	answer := make(chan bool, 1)
	reading := g.Enter(func() {})
	go func() { answer <- g.Pass(sequence, reading) }()
	synctest.Wait()
	return answer
}

func TestGate(t *testing.T) {
	t.Parallel()
	// Each case begins a write of sequences 11 to 20, asks for 15, and goes on.
	tests := map[string]struct {
		then func(store.Gate)
		want bool
	}{
		"synced":              {func(g store.Gate) { g.End(20) }, true},
		"refused":             {func(g store.Gate) { g.End(0) }, true},
		"recovered":           {func(g store.Gate) { g.Abandon() }, false},
		"closed":              {func(g store.Gate) { g.Close() }, false},
		"synced, next begins": {func(g store.Gate) { g.End(20); g.Begin() }, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := store.NewGate()
				g.Begin()
				g.End(10)
				g.Begin()
				if !<-pass(g, 10) {
					t.Error("what is synced does not pass")
				}
				g.Stored(12)
				if !<-pass(g, 12) {
					t.Error("what was stored alone does not pass")
				}
				answer := pass(g, 15)
				select {
				case <-answer:
					t.Fatal("what is not synced passes")
				default:
				}
				test.then(g)
				if got := <-answer; got != test.want {
					t.Errorf("passed: %v", got)
				}
			})
		})
	}
}
