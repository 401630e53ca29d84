// SPDX-License-Identifier: Apache-2.0

//go:build bench

// Package benchtest is what the benchmarks share that `make bench` runs: one
// way to print a row of its table, servers in processes of their own whose
// memory and CPU can be told from the load's, and the load of thousands of
// participants.
//
// A benchmark compares with a yardstick that is measured in the same run, in
// turns with it, because the machine does other things too; a row that misses
// its limit fails the test. What is measured and what it does not say is in
// docs/performance.md.
//
// It needs Linux, and the build tag bench.
package benchtest

import (
	"fmt"
	"os"
	"slices"
	"testing"
)

// AtMost prints a row of the table, and fails the test when reached is over
// the limit.
func AtMost(tb testing.TB, work string, reached, limit float64, unit string) {
	tb.Helper()
	row(work, reached, "at most", limit, unit)
	if reached > limit {
		tb.Errorf("%s: %.2f %s is over %.2f", work, reached, unit, limit)
	}
}

// AtLeast prints a row of the table, and fails the test when reached is under
// the limit.
func AtLeast(tb testing.TB, work string, reached, limit float64, unit string) {
	tb.Helper()
	row(work, reached, "at least", limit, unit)
	if reached < limit {
		tb.Errorf("%s: %.2f %s is under %.2f", work, reached, unit, limit)
	}
}

// Info prints a line that explains the row before it and has no limit.
func Info(tb testing.TB, format string, args ...any) {
	tb.Helper()
	fmt.Fprintf(os.Stdout, "BENCH   "+format+"\n", args...)
}

func row(work string, reached float64, bound string, limit float64, unit string) {
	fmt.Fprintf(os.Stdout, "BENCH %-62s %8.2f %-5s %8s %8.2f %s\n", work, reached, unit, bound, limit, unit)
}

// Quantile returns the value below which the share p of all lie, 0 ≤ p ≤ 1.
func Quantile[T float64 | ~int64](all []T, p float64) T {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}
