// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"testing"
	"time"
)

func TestValues(t *testing.T) {
	noEnvironment(t)
	for _, tc := range []struct {
		size, sync string
		bytes      int64
		interval   time.Duration
	}{
		{"4096", "always", 4096, 0},
		{"512MiB", "100ms", 512 << 20, 100 * time.Millisecond},
		{"3 KiB", "1s", 3 << 10, time.Second},
		{"1TiB", "1ms", 1 << 40, time.Millisecond},
		{"0", "always", -1, 0},
	} {
		cfg := mustParse(t, "--event-retention-bytes", tc.size, "--sync", tc.sync, "--event-retention", "0").config()
		if cfg.EventRetentionBytes != tc.bytes || cfg.SyncInterval != tc.interval || cfg.EventRetention >= 0 {
			t.Errorf("%s, %s: %d, %v, %v", tc.size, tc.sync, cfg.EventRetentionBytes, cfg.SyncInterval, cfg.EventRetention)
		}
	}
	for text, want := range map[string]float64{"0": -1, "0.25": 0.25, "1": 1} {
		if got := mustParse(t, "--otlp-ratio", text).config().TraceRatio; got != want {
			t.Errorf("a ratio of %s is %v", text, got)
		}
	}
	for _, arg := range []string{
		"--otlp-ratio=2", "--otlp-ratio=-1", "--otlp-ratio=NaN", "--otlp-ratio=all",
		"--event-retention-bytes=-1", "--event-retention-bytes=", "--event-retention-bytes=1.5GiB",
		"--event-retention-bytes=9000000TiB", "--event-retention-bytes=MiB",
		"--sync=never", "--sync=0", "--sync=-1s", "--sync=",
	} {
		var stdout, stderr bytes.Buffer
		if _, ctx, code := parse([]string{arg}, &stdout, &stderr); ctx != nil || code != 2 {
			t.Errorf("%s is taken, or ends in %d: %s", arg, code, &stderr)
		}
	}
}
