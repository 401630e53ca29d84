// SPDX-License-Identifier: Apache-2.0

//go:build bench

package store_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/benchtest"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
)

// What each --sync costs: callers that append one change after the other, each
// in a room of its own. The ways take turns, three rounds each.
func TestBenchSync(t *testing.T) {
	const rounds, perRound = 3, 2 * time.Second
	for _, callers := range []int{1, 16, 200} {
		took := make(map[time.Duration][]time.Duration)
		intervals := []time.Duration{0, 100 * time.Millisecond, time.Second}
		for range rounds {
			for _, interval := range intervals {
				s := storetest.OpenConfig(t, store.Config{Dir: t.TempDir(), SyncInterval: interval})
				took[interval] = append(took[interval], appendFor(t, s, callers, perRound)...)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, interval := range intervals {
			name := "always"
			if interval > 0 {
				name = interval.String()
			}
			benchtest.Info(t, "--sync %-6s %3d callers: %6.0f appends/s, p50 %8.3f ms, p99 %8.3f ms", name, callers,
				float64(len(took[interval]))/(rounds*perRound.Seconds()),
				milliseconds(benchtest.Quantile(took[interval], 0.5)), milliseconds(benchtest.Quantile(took[interval], 0.99)))
		}
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// appendFor returns how long each Append took.
func appendFor(t *testing.T, s *store.Store, callers int, d time.Duration) []time.Duration {
	t.Helper()
	var mu sync.Mutex
	var all []time.Duration
	var wg sync.WaitGroup
	end := time.Now().Add(d)
	for i := range callers {
		wg.Go(func() {
			room := fmt.Sprint("room", i)
			var took []time.Duration
			for begin := time.Now(); begin.Before(end); begin = time.Now() {
				if _, err := s.Append(t.Context(), sized(room, 500), s.RoomRevision(tenant, room)); err != nil {
					t.Error(err)
					return
				}
				took = append(took, time.Since(begin))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
		})
	}
	wg.Wait()
	return all
}
