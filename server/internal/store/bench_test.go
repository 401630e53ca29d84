// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/storetest"
)

func BenchmarkAppend_Serial(b *testing.B) {
	s := storetest.New(b)
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		begin := time.Now()
		mustAppend(b, s, newRecord(fmt.Sprint("room", i), fmt.Sprint("id", i), available))
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}

// BenchmarkAppend_Parallel is one Append in each of 2,000 rooms, all at once.
func BenchmarkAppend_Parallel(b *testing.B) {
	const rooms = 2000
	s := storetest.New(b)
	var worst time.Duration
	for i := 0; b.Loop(); i++ {
		var wg sync.WaitGroup
		begin := time.Now()
		for r := range rooms {
			wg.Go(func() {
				rec := newRecord(fmt.Sprint("room", r), fmt.Sprint("id", i), available)
				if _, err := s.Append(b.Context(), rec, s.RoomRevision(tenant, rec.Recording.Room)); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
		worst = max(worst, time.Since(begin))
	}
	b.ReportMetric(float64(b.N)*rooms/b.Elapsed().Seconds(), "appends/s")
	b.ReportMetric(float64(worst.Milliseconds()), "worst-ms")
}
