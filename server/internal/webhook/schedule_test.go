// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/classrec/classrec/server/internal/webhook"
)

// An endpoint that never answers, over days of virtual time: pauses grow from a
// second to five minutes, and the event is given up when 24 hours are over, where
// nothing else is configured.
func TestSchedule_Day(t *testing.T) {
	t.Parallel()
	retryFor, err := webhook.RetryFor(endpointOf(t, "a", "http://127.0.0.1:1"))
	if err != nil || retryFor != 24*time.Hour {
		t.Fatalf("retried for %v, %v", retryFor, err)
	}
	s := webhook.NewSchedule()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s.Add("r", 1, webhook.ClassBegin, start)
	now, attempts := start, 0
	var pauses []time.Duration
	for {
		a, ok := s.Take(now)
		if !ok {
			next, ok := s.Next()
			if !ok {
				t.Fatal("nothing is to come")
			}
			pauses = append(pauses, next.Sub(now))
			now = next
			continue
		}
		attempts++
		if got := s.Done(a, 500, retryFor, now, 1); got.GetState() == failed {
			break
		}
	}
	if now.Sub(start) != 24*time.Hour || s.Pending() != 0 {
		t.Errorf("given up after %v", now.Sub(start))
	}
	if pauses[0] != time.Second || pauses[1] != 2*time.Second || pauses[20] != 5*time.Minute || attempts < 288 || attempts > 300 {
		t.Errorf("%d attempts, pauses %v", attempts, pauses[:12])
	}
}

// Whatever fails and for however long, in virtual time: the events of a
// recording are under way one at a time and in order, each is settled before
// the next begins, each is tried at least once and not after its time, and the
// cursor never passes what is not settled.
func TestSchedule_Property(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := webhook.NewSchedule()
		start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		now := start
		retryFor := time.Duration(rapid.IntRange(0, 100_000).Draw(t, "retry for")) * time.Second
		var read uint64
		var busy []webhook.Attempt
		logged := make(map[uint64]time.Time)
		unsettled := make(map[uint64]bool)
		attempts := make(map[uint64]int)
		last := make(map[string]uint64) // by recording, the highest that was settled
		check := func() {
			cursor := s.Cursor(read)
			for revision := range unsettled {
				if revision <= cursor {
					t.Fatalf("the cursor is %d, and %d is not settled", cursor, revision)
				}
			}
			if len(unsettled) == 0 && cursor != read {
				t.Fatalf("the cursor is %d of %d, and all is settled", cursor, read)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				read++
				s.Add(fmt.Sprint("r", rapid.IntRange(0, 4).Draw(t, "recording")), read, webhook.ClassBegin, now)
				logged[read], unsettled[read] = now, true
				check()
			},
			"take": func(t *rapid.T) {
				a, ok := s.Take(now)
				if !ok {
					return
				}
				for _, other := range busy {
					if other.Recording == a.Recording {
						t.Fatalf("two of %s are under way", a.Recording)
					}
				}
				if a.Revision <= last[a.Recording] {
					t.Fatalf("%d of %s after %d", a.Revision, a.Recording, last[a.Recording])
				}
				attempts[a.Revision]++
				busy = append(busy, a)
			},
			"done": func(t *rapid.T) {
				if len(busy) == 0 {
					return
				}
				i := rapid.IntRange(0, len(busy)-1).Draw(t, "which")
				a := busy[i]
				busy = append(busy[:i], busy[i+1:]...)
				status := rapid.SampledFrom([]int{200, 500, 0}).Draw(t, "status")
				got := s.Done(a, status, retryFor, now, rapid.Float64Range(0.75, 1.25).Draw(t, "jitter"))
				over := !now.Before(logged[a.Revision].Add(retryFor))
				if got.GetState() == pending && (over || status == 200) || got.GetState() == failed && !over {
					t.Fatalf("%v, %v after it was logged", got, now.Sub(logged[a.Revision]))
				}
				if got.GetState() != pending {
					last[a.Recording] = a.Revision
					delete(unsettled, a.Revision)
				}
				check()
			},
			"wait": func(t *rapid.T) {
				if next, ok := s.Next(); ok && next.After(now) {
					now = next
				}
				now = now.Add(time.Duration(rapid.IntRange(0, 10_000).Draw(t, "seconds")) * time.Second)
			},
		})
		for steps := 0; s.Pending() > 0; steps++ { // it comes to an end
			if steps > 100_000 {
				t.Fatal("it does not come to an end")
			}
			for _, a := range busy {
				if s.Done(a, 500, retryFor, now, 1).GetState() != pending {
					delete(unsettled, a.Revision)
				}
			}
			busy = nil
			if a, ok := s.Take(now); ok {
				attempts[a.Revision]++
				busy = append(busy, a)
			} else if next, ok := s.Next(); ok {
				now = next
			}
		}
		for revision := range logged {
			if attempts[revision] == 0 {
				t.Fatalf("%d was never tried", revision)
			}
		}
		check()
	})
}
