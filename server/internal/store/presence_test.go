// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/classrec/classrec/server/internal/store"
)

// Who is taken for alive, as time goes by: each case is what is heard, by the
// second, of a TTL of ten.
func TestPresence(t *testing.T) {
	t.Parallel()
	const ttl = 10 * time.Second
	for name, c := range map[string]struct {
		self, other [40]bool     // what is heard in each second; we put every second
		alive       map[int]bool // at the end of the second
	}{
		"both": {
			self: seconds(0, 40), other: seconds(0, 40),
			alive: map[int]bool{0: true, 39: true},
		},
		"never there": {
			self:  seconds(0, 40),
			alive: map[int]bool{0: false, 39: false},
		},
		"it falls silent": {
			self: seconds(0, 40), other: seconds(0, 5),
			alive: map[int]bool{4: true, 13: true, 14: false, 39: false},
		},
		"it comes back": {
			self: seconds(0, 40), other: or(seconds(0, 5), seconds(30, 40)),
			alive: map[int]bool{29: false, 30: true, 39: true},
		},
		"we hear nothing, so nobody is dead": {
			self: seconds(0, 5), other: seconds(0, 5),
			alive: map[int]bool{39: true},
		},
		"we hear again, and wait anew": {
			self: or(seconds(0, 5), seconds(20, 40)), other: seconds(0, 5),
			alive: map[int]bool{20: true, 29: true, 31: false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := store.NewPresence("self", ttl)
				for i := range 40 {
					if c.other[i] {
						p.Hear("other", uint64(i+1))
					}
					if c.self[i] {
						p.HearSelf(time.Now())
					}
					if want, ok := c.alive[i]; ok && p.Alive("other") != want {
						t.Errorf("second %d: alive is %t", i, !want)
					}
					time.Sleep(time.Second)
				}
				if p.Alive("other") {
					p.Gone("other")
				}
				if p.Alive("other") || !p.Alive("self") {
					t.Error("it has said that it goes, or we are dead")
				}
			})
		})
	}
}

// We count ourselves as alive for a shorter time than the others do.
func TestPresence_Valid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := store.NewPresence("self", 8*time.Second)
		if p.Valid() {
			t.Error("valid before anything was put")
		}
		p.Extend(time.Now())
		p.Extend(time.Now().Add(-time.Minute))
		time.Sleep(6*time.Second - time.Millisecond)
		if !p.Valid() {
			t.Error("not valid any more")
		}
		time.Sleep(time.Millisecond)
		if p.Valid() {
			t.Error("still valid")
		}
	})
}

// What is read again, because the bucket is, is no sign of life.
func TestPresence_OldPuts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := store.NewPresence("self", 10*time.Second)
		p.HearSelf(time.Now())
		for range 12 {
			p.Hear("other", 7)
			time.Sleep(time.Second)
			p.HearSelf(time.Now())
		}
		if p.Alive("other") {
			t.Error("alive for an old put")
		}
	})
}

func seconds(from, to int) (s [40]bool) {
	for i := from; i < to; i++ {
		s[i] = true
	}
	return s
}

func or(a, b [40]bool) [40]bool {
	for i := range a {
		a[i] = a[i] || b[i]
	}
	return a
}
