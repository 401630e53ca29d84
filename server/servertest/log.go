// SPDX-License-Identifier: Apache-2.0

package servertest

import (
	"strings"
	"sync"
	"testing"
)

// maxLog is how many lines of log are kept for a test that fails.
const maxLog = 5000

// testLog keeps what is logged until it is known whether the test has failed.
type testLog struct {
	tb      testing.TB
	verbose bool

	mu    sync.Mutex
	lines []string
	lost  int
	ended bool
}

func newTestLog(tb testing.TB, o options) *testLog {
	tb.Helper()
	return &testLog{tb: tb, verbose: o.verbose}
}

// Write takes one line.
func (l *testLog) Write(line []byte) (int, error) {
	text := strings.TrimSuffix(string(line), "\n")
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ended:
	case l.verbose:
		l.tb.Log(text)
	default:
		if len(l.lines) >= maxLog {
			l.lost += len(l.lines) / 2
			l.lines = append([]string(nil), l.lines[len(l.lines)/2:]...)
		}
		l.lines = append(l.lines, text)
	}
	return len(line), nil
}

// end tells what was logged, if the test has failed. Afterwards nothing may be
// told to it any more.
func (l *testLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if !l.tb.Failed() || len(l.lines) == 0 {
		return
	}
	if l.lost > 0 {
		l.tb.Logf("classrec logged %d lines before these", l.lost)
	}
	l.tb.Log("classrec logged:\n" + strings.Join(l.lines, "\n"))
}
