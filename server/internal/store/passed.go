// SPDX-License-Identifier: Apache-2.0

package store

// Passed returns a sequence up to which nothing is left for the watcher: all
// that concerned it has been read from C, and the rest did not concern it. So
// it moves on while nothing comes, and a watcher that resumes from it is not
// too old for having been patient. 0 while there is something to read. Only
// whoever reads C may call it.
func (w *Watcher) Passed() uint64 {
	w.fanout.mu.Lock()
	defer w.fanout.mu.Unlock()
	if !w.live || len(w.c) > 0 {
		return 0
	}
	return max(w.last, w.fanout.last)
}
