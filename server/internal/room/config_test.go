// SPDX-License-Identifier: Apache-2.0

package room_test

import (
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/room"
)

func TestConfig_Backoff(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		cfg      room.Config
		failed   int
		from, to time.Duration
	}{
		{room.Config{}, 0, 500 * time.Millisecond, time.Second},
		{room.Config{}, 1, 500 * time.Millisecond, 2 * time.Second},
		{room.Config{}, 2, 500 * time.Millisecond, 4 * time.Second},
		{room.Config{}, 3, 500 * time.Millisecond, 5 * time.Second},
		{room.Config{}, 1 << 30, 500 * time.Millisecond, 5 * time.Second},
		{room.Config{BackoffMin: time.Minute, BackoffMax: time.Second}, 0, time.Minute, time.Minute},
		{room.Config{BackoffMin: time.Millisecond, BackoffMax: time.Millisecond}, 9, time.Millisecond, time.Millisecond},
	} {
		low, high := tc.to, tc.from
		for range 2000 {
			d := tc.cfg.Backoff(tc.failed)
			low, high = min(low, d), max(high, d)
		}
		spread := tc.to - tc.from
		if low < tc.from || high > tc.to || low > tc.from+spread/4 || high < tc.to-spread/4 {
			t.Errorf("after %d failures: from %v to %v, want %v to %v", tc.failed, low, high, tc.from, tc.to)
		}
	}
}
