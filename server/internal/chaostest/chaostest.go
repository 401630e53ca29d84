// SPDX-License-Identifier: Apache-2.0

//go:build e2e || chaos

// Package chaostest is what the tests of package chaos do their damage with, and how they look at what is left: real
// classrecd processes that are killed, frozen and started again on the same data ([Daemon], [Node]), networks that are
// cut ([Proxy]), a PostgreSQL with a standby ([Database]) and its events ([ReadRawLog]), publishers who come back after each interruption
// ([Person]), others in a room ([Attendee]), watchers who reconnect and resume ([Watcher]), and readers of recorded files
// that share no code with the writer ([ReadMedia]).
//
// Nothing here is part of the process under test: what is known of it comes in by its ports, and its data directory is
// not looked into. What the callers were told is kept on this side, so that it can be held against what is there at the
// end.
//
// Everything is ended by the test's cleanup. Helpers may be used from any goroutine, and report by the test's Errorf what
// must not be; they end the test only where it cannot go on.
package chaostest

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

// Print prints a line of the report. The lines begin with CHAOS, so that make chaos can pick them out.
func Print(tb testing.TB, format string, args ...any) {
	tb.Helper()
	fmt.Fprintf(os.Stdout, "CHAOS "+format+"\n", args...)
}

// Quantile returns the value below which the share p of all lie, 0 ≤ p ≤ 1; zero when there are none.
func Quantile[T cmp.Ordered](all []T, p float64) T {
	var none T
	if len(all) == 0 {
		return none
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}

// Spread says in words how durations are distributed.
func Spread(all []time.Duration) string {
	const unit = time.Millisecond
	return fmt.Sprintf("p50 %v, p99 %v, max %v",
		Quantile(all, 0.5).Round(unit), Quantile(all, 0.99).Round(unit), Quantile(all, 1).Round(unit))
}

// UpTo returns a random time that is greater than 0, and d at most.
func UpTo(d time.Duration) time.Duration { return rand.N(d) + 1 }

// Pause waits for a while, or until ctx ends; then it returns false.
func Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
