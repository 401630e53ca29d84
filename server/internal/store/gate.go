// SPDX-License-Identifier: Apache-2.0

package store

import "sync"

// gate holds the follower back while a shared write is on its way to the disk:
// the server lets consumers read the messages of an atomic batch a moment
// before it has synced them, and nobody shall be shown what a power cut could
// still take back.
type gate struct {
	mu      sync.Mutex
	changed *sync.Cond
	writing bool
	synced  uint64 // every sequence up to here is on the disk
	lost    int    // how often the log was recovered
	closed  bool
}

func newGate() *gate {
	g := new(gate)
	g.changed = sync.NewCond(&g.mu)
	return g
}

// begin is called before a shared write.
func (g *gate) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writing = true
}

// end is called after it; last is the last sequence that it synced, 0 when
// nothing of it was stored.
func (g *gate) end(last uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writing = false
	g.synced = max(g.synced, last)
	g.changed.Broadcast()
}

// abandon is called instead of end when the log has been recovered from the
// disk: what was read of the write has to be read again.
func (g *gate) abandon() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writing = false
	g.lost++
	g.changed.Broadcast()
}

// close lets nothing pass any more.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.changed.Broadcast()
}

// readings returns what pass wants to know: how often what was read had to be
// read again.
func (g *gate) readings() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lost
}

// pass waits until the sequence may be shown. It returns false when the gate
// was closed, and when what was read since readings has to be read again.
func (g *gate) pass(sequence uint64, readings int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.writing && sequence > g.synced && g.lost == readings && !g.closed {
		g.changed.Wait()
	}
	return !g.closed && g.lost == readings
}
