// SPDX-License-Identifier: Apache-2.0

package clock_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/classrec/classrec/server/internal/clock"
)

func TestClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c := new(clock.Clock)
		if !c.Now().Equal(began) {
			t.Errorf("a new clock shows %v, the system's %v", c.Now(), began)
		}
		moved := c.Moved()
		c.Advance(time.Hour)
		<-moved
		select {
		case <-c.Moved():
			t.Error("moved without an advance")
		default:
		}
		time.Sleep(time.Minute)
		if got := c.Since(began); got != time.Hour+time.Minute {
			t.Errorf("%v have passed", got)
		}
		c.Advance(-time.Hour)
		c.Advance(0)
		if got := c.Until(began); got != -time.Hour-time.Minute {
			t.Errorf("time went back: %v", got)
		}
	})
}

func TestClock_Systems(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c *clock.Clock
		c.Advance(time.Hour)
		if !c.Now().Equal(time.Now()) || c.Moved() != nil {
			t.Errorf("the system's clock shows %v, moved %v", c.Now(), c.Moved())
		}
	})
}

func TestClock_WithTimeout(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		clock *clock.Clock
	}{{"system's", nil}, {"movable", new(clock.Clock)}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				ctx, cancel := tc.clock.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				<-ctx.Done()
				if !errors.Is(context.Cause(ctx), context.DeadlineExceeded) || time.Since(began) != time.Minute {
					t.Errorf("ended after %v with %v", time.Since(began), context.Cause(ctx))
				}
				ctx, cancel = tc.clock.WithTimeout(t.Context(), time.Minute)
				cancel()
				if !errors.Is(context.Cause(ctx), context.Canceled) {
					t.Errorf("canceled with %v", context.Cause(ctx))
				}
			})
		})
	}
	t.Run("advanced", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			c := new(clock.Clock)
			began := time.Now()
			ctx, cancel := c.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			c.Advance(30 * time.Minute)
			synctest.Wait()
			if ctx.Err() != nil {
				t.Fatal("ended too early")
			}
			c.Advance(30 * time.Minute)
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), context.DeadlineExceeded) || !time.Now().Equal(began) {
				t.Errorf("ended after %v with %v", time.Since(began), context.Cause(ctx))
			}
		})
	})
}
