// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classrec/classrec/server"
)

// journal is what happened, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

// part runs until its context ends.
func (j *journal) part(name string) server.Part {
	return server.Part{
		Name: name,
		Run: func(ctx context.Context) error {
			<-ctx.Done()
			j.add(name + " ran")
			return nil
		},
		Stop: func(context.Context) error {
			j.add(name + " stopped")
			return nil
		},
	}
}

var inReverse = []string{"c stopped", "c ran", "b stopped", "b ran", "a stopped", "a ran"}

func TestParts_StopInReverse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := server.RunParts(ctx, time.Second, j.part("a"), j.part("b"), j.part("c")); err != nil {
			t.Error(err)
		}
		if !slices.Equal(j.lines, inReverse) {
			t.Errorf("%q", j.lines)
		}
	})
}

// A part runs when what it needs has begun; not at all when that takes longer than the whole, or fails.
func TestParts_Begun(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		takes time.Duration
		fails bool
		want  []string
	}{
		"soon":   {time.Minute, false, []string{"a has begun", "b runs"}},
		"late":   {2 * time.Hour, false, nil},
		"failed": {time.Minute, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var j journal
				begun := make(chan struct{})
				a := server.Part{Name: "a", Begun: begun, Run: func(ctx context.Context) error {
					select {
					case <-time.After(tc.takes):
					case <-ctx.Done():
						return nil
					}
					if tc.fails {
						return errors.New("broken")
					}
					j.add("a has begun")
					close(begun)
					<-ctx.Done()
					return nil
				}}
				b := server.Part{Name: "b", Run: func(ctx context.Context) error {
					j.add("b runs")
					<-ctx.Done()
					return nil
				}}
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				if err := server.RunParts(ctx, time.Second, a, b); (err != nil) != tc.fails {
					t.Error(err)
				}
				if !slices.Equal(j.lines, tc.want) {
					t.Errorf("%q, want %q", j.lines, tc.want)
				}
			})
		})
	}
}

// The first failure stops the rest, in the same order, and is told; so is what
// goes wrong in stopping.
func TestParts_Failure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		broken, stuck := errors.New("broken"), errors.New("stuck")
		b := j.part("b")
		b.Run = func(context.Context) error {
			time.Sleep(time.Minute) // virtual: the others are up by then
			j.add("b ran")
			return broken
		}
		b.Stop = func(context.Context) error {
			j.add("b stopped")
			return stuck
		}
		err := server.RunParts(t.Context(), time.Second, j.part("a"), b, j.part("c"))
		if !errors.Is(err, broken) || !errors.Is(err, stuck) || !strings.HasPrefix(err.Error(), "b: broken") {
			t.Error(err)
		}
		if want := []string{"b ran", "c stopped", "c ran", "b stopped", "a stopped", "a ran"}; !slices.Equal(j.lines, want) {
			t.Errorf("%q", j.lines)
		}
	})
}

// A part that has nothing more to do does not end the others.
func TestParts_Done(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		done := server.Part{Name: "once", Run: func(context.Context) error { return nil }}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begin := time.Now()
		if err := server.RunParts(ctx, time.Second, j.part("a"), done); err != nil {
			t.Error(err)
		}
		if ran := time.Since(begin); ran != time.Hour {
			t.Errorf("ran for %v", ran)
		}
	})
}

// A part that does not stop is told of, and keeps neither the others nor the
// process from stopping.
func TestParts_Stuck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		release := make(chan struct{})
		b, c := j.part("b"), j.part("c")
		b.Run = func(context.Context) error { <-release; return nil }
		c.Stop = func(context.Context) error { <-release; return nil }
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begin := time.Now()
		err := server.RunParts(ctx, time.Second, j.part("a"), b, c)
		if took := time.Since(begin) - time.Hour; took != time.Second {
			t.Errorf("stopping took %v", took)
		}
		if err == nil || !strings.Contains(err.Error(), "stop c: has not stopped in time") || !strings.Contains(err.Error(), "stop b: has") {
			t.Error(err)
		}
		close(release)
	})
}
