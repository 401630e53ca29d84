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
	stop    func() // stops the reader
	closed  bool
}

func newGate() *gate {
	g := new(gate)
	g.changed = sync.NewCond(&g.mu)
	return g
}

// begin is called before a shared write, and stored after every other one.
func (g *gate) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writing = true
}

// stored is called when a write that is not shared is on the disk.
func (g *gate) stored(sequence uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.synced = max(g.synced, sequence)
}

// end is called after a shared write; last is the last sequence that it synced, 0 when
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
	if g.stop != nil {
		g.stop()
	}
	g.changed.Broadcast()
}

// close lets nothing pass any more.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.changed.Broadcast()
}

// enter is called before a reader reads on; stop makes it stop, when what it
// reads has to be read again. It returns what pass wants to know.
func (g *gate) enter(stop func()) (reading int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stop = stop
	return g.lost
}

// pass waits until the sequence may be shown. It returns false when the gate
// was closed, and when what was read since enter has to be read again.
func (g *gate) pass(sequence uint64, reading int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.writing && sequence > g.synced && g.lost == reading && !g.closed {
		g.changed.Wait()
	}
	return !g.closed && g.lost == reading
}
