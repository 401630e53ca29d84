// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/store"
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

// BenchmarkWatch_FanOut is one entry to 10,000 watchers, each read by a
// goroutine of its own.
func BenchmarkWatch_FanOut(b *testing.B) {
	const watchers = 10_000
	s := storetest.New(b)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var received, running sync.WaitGroup
	for range watchers {
		w := mustWatch(b, s, everything, s.LastSequence())
		running.Go(func() {
			for range w.C() {
				received.Done()
			}
		})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	var took []time.Duration
	for b.Loop() {
		received.Add(watchers)
		mustAppend(b, s, newRecord("room", "id", available))
		begin := time.Now()
		received.Wait()
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "last-watcher-p50-us")
	used := after.HeapInuse + after.StackInuse - before.HeapInuse - before.StackInuse
	b.ReportMetric(float64(used)/watchers, "B/watcher")
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	running.Wait()
}

// BenchmarkOpen opens a log of 50,000 recordings of four changes each.
func BenchmarkOpen(b *testing.B) {
	const recordings = 50_000
	dir := b.TempDir()
	s := storetest.Open(b, dir)
	var wg sync.WaitGroup
	for worker := range 500 {
		wg.Go(func() {
			for i := range recordings / 500 {
				room, id := fmt.Sprint("room", worker), fmt.Sprintf("id%05d", i)
				for _, state := range []classrecv1.RecordingState{starting, recording, processing, available} {
					rec := newRecord(room, id, state)
					if state != starting {
						rec.Recording.RecordTime.Seconds += int64(i*500 + worker)
					}
					rec.Recording.UserId = fmt.Sprint("user", worker%100)
					rec.ClassBeginData = `{"recordtype":"1","convert":0,"layout":0,"recordchat":true}`
					if _, err := s.Append(b.Context(), rec, s.RoomRevision(tenant, room)); err != nil {
						b.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s := storetest.Open(b, dir)
		if s.LastSequence() != 4*recordings {
			b.Fatalf("last sequence %d", s.LastSequence())
		}
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkList is one page in the middle of 20,000 recordings.
func BenchmarkList(b *testing.B) {
	s := storetest.New(b)
	const recordings = 20_000
	var wg sync.WaitGroup
	for worker := range 500 {
		wg.Go(func() {
			for i := range recordings / 500 {
				rec := newRecord(fmt.Sprint("room", worker), fmt.Sprintf("id%d-%d", worker, i), available)
				rec.Recording.RecordTime.Seconds += int64(i*500 + worker)
				rec.Recording.UserId = "user"
				if _, err := s.Append(b.Context(), rec, s.RoomRevision(tenant, rec.Recording.Room)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	middle := store.Cursor{Seconds: 1_700_000_000 + recordings/2}
	for b.Loop() {
		if page, _, _ := s.List(tenant, store.Filter{UserID: "user"}, middle, 50); len(page) != 50 {
			b.Fatalf("a page of %d", len(page))
		}
	}
}
