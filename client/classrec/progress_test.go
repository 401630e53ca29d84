// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/classrec/classrec/client"
)

// The bar says how much, how fast and how long; what was there before does not
// count as fast.
func TestProgress_Bar(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	now := clock()
	var screen strings.Builder
	p := &progress{w: &screen, bar: true, width: func() int { return 110 }, now: func() time.Time { return now }, files: make([]client.DownloadProgress, 2)}
	p.files[1].Size = 10 * mib
	last := func() string {
		text := screen.String()
		return strings.TrimSuffix(text[strings.LastIndex(text, "\r")+1:], "\x1b[K")
	}
	at := func(seconds float64, f client.DownloadProgress, want string) {
		t.Helper()
		now = clock().Add(time.Duration(seconds * float64(time.Second)))
		p.progress(f)
		if got := last(); got != want {
			t.Errorf("after %v s:\n%q, want\n%q", seconds, got, want)
		}
	}
	at(0, client.DownloadProgress{Size: 30 * mib, Done: 20 * mib, Resumed: 20 * mib}, "[####################--------------------]  50%  20.0 MiB of 40.0 MiB  0 of 2 files")
	at(1, client.DownloadProgress{Size: 30 * mib, Done: 22 * mib, Resumed: 20 * mib}, "[######################------------------]  55%  22.0 MiB of 40.0 MiB  2.0 MiB/s  0:09 left  0 of 2 files")
	at(1.05, client.DownloadProgress{Size: 30 * mib, Done: 23 * mib, Resumed: 20 * mib}, "[######################------------------]  55%  22.0 MiB of 40.0 MiB  2.0 MiB/s  0:09 left  0 of 2 files") // too soon
	at(5, client.DownloadProgress{Size: 30 * mib, Done: 30 * mib, Resumed: 20 * mib, Complete: true}, "[##############################----------]  75%  30.0 MiB of 40.0 MiB  2.0 MiB/s  0:05 left  1 of 2 files")
	at(10, client.DownloadProgress{File: 1, Size: 10 * mib, Done: 10 * mib, Complete: true}, "[########################################] 100%  40.0 MiB of 40.0 MiB  2.0 MiB/s  2 of 2 files")
	p.end()

	p = &progress{w: &screen, bar: true, width: func() int { return 30 }, now: func() time.Time { return now }, files: make([]client.DownloadProgress, 1)}
	at(0, client.DownloadProgress{Done: 5 * mib}, "5.0 MiB")
	at(1, client.DownloadProgress{Done: 6 * mib}, "6.0 MiB  1.0 MiB/s")
	at(2, client.DownloadProgress{Done: 8 * mib, Size: 100 * mib}, "  8%  8.0 MiB of 100.0 MiB  1")
	p.interrupt("cut\x1b off")
	if !strings.Contains(screen.String(), "\r\x1b[Kcut\uFFFD off\n\r  8%") {
		t.Errorf("%q", screen.String())
	}
}
