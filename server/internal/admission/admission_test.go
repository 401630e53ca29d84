// SPDX-License-Identifier: Apache-2.0

package admission_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/classrec/classrec/server/internal/admission"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// refused returns the refusal; nil when there is none.
func refused(t *testing.T, err error) *admission.Error {
	t.Helper()
	var e *admission.Error
	if err != nil && !errors.As(err, &e) {
		t.Fatal(err)
	}
	return e
}

// However many come at once, and come and go, there are never more than there may
// be, and as many as there may be get in.
func TestTenant_Exact(t *testing.T) {
	t.Parallel()
	const places, callers, turns = 7, 50, 200
	p := admission.NewProcess(admission.Limits{Rooms: places + 3})
	tenants := []*admission.Tenant{p.Tenant(admission.Limits{Rooms: places}), p.Tenant(admission.Limits{Rooms: places})}
	var all atomic.Int64
	of := make([]atomic.Int64, len(tenants))
	var wg sync.WaitGroup
	for i := range callers {
		n := i % len(tenants)
		wg.Go(func() {
			for range turns {
				release, err := tenants[n].Room(true)
				if err != nil {
					continue
				}
				if now := of[n].Add(1); now > places {
					t.Errorf("tenant %d has %d", n, now)
				}
				if now := all.Add(1); now > places+3 {
					t.Errorf("all have %d", now)
				}
				of[n].Add(-1)
				all.Add(-1)
				release()
			}
		})
	}
	wg.Wait()
	admitted := 0
	for range 2 * places {
		if _, err := tenants[0].Room(true); err == nil {
			admitted++
		}
	}
	if admitted != places {
		t.Errorf("%d are admitted after all have left, of %d places", admitted, places)
	}
}

// Which limit was met, whose it is, and what it is.
func TestTenant_Refused(t *testing.T) {
	t.Parallel()
	p := admission.NewProcess(admission.Limits{Rooms: 3, Watchers: 1})
	a, b := p.Tenant(admission.Limits{Rooms: 2}), p.Tenant(admission.Limits{})
	leave, err := a.Room(true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Room(false); err != nil {
		t.Fatal(err)
	}
	_, err = a.Room(true)
	if e := refused(t, err); e == nil || e.Limit != admission.LimitRooms || e.Value != 2 || !e.OfTenant || e.RetryAfter <= 0 {
		t.Errorf("the tenant's limit: %+v", e)
	}
	if _, err := a.Room(false); err != nil {
		t.Errorf("what is not asked for is refused: %v", err)
	}
	_, err = b.Room(true)
	if e := refused(t, err); e == nil || e.Limit != admission.LimitRooms || e.Value != 3 || e.OfTenant {
		t.Errorf("the limit of all: %+v", e)
	}
	leave()
	if _, err := b.Room(true); err != nil {
		t.Errorf("a place that was given back: %v", err)
	}
	if _, err := a.Watcher(); err != nil {
		t.Error(err)
	}
	_, err = b.Watcher()
	if e := refused(t, err); e == nil || e.Limit != admission.LimitWatchers || e.Value != 1 || e.OfTenant {
		t.Errorf("watchers: %+v", e)
	}
}

// Calls are metered by kind: those of one do not take another's place. What the
// process refuses, the tenant has not spent.
func TestTenant_Call(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := admission.NewProcess(admission.Limits{CallsPerSecond: 15})
		a, b := p.Tenant(admission.Limits{CallsPerSecond: 10}), p.Tenant(admission.Limits{CallsPerSecond: 10})
		taken := func(of *admission.Tenant, kind admission.Call) (n int, last *admission.Error) {
			for range 100 {
				if e := refused(t, of.Call(kind)); e != nil {
					last = e
				} else {
					n++
				}
			}
			return n, last
		}
		n, e := taken(a, admission.Start)
		if n != 10 || e.Limit != admission.LimitCallsPerSecond || e.Value != 10 || !e.OfTenant || e.RetryAfter < 100*time.Millisecond || e.RetryAfter > time.Second {
			t.Errorf("%d starts are taken, then %+v", n, e)
		}
		if n, e := taken(b, admission.Start); n != 5 || e.OfTenant || e.Value != 15 {
			t.Errorf("%d starts of another tenant are taken, then %+v", n, e)
		}
		if n, _ := taken(a, admission.Read); n != 10 {
			t.Errorf("%d reads are taken beside", n)
		}
		time.Sleep(time.Second / 2)
		if n, _ := taken(b, admission.Start); n != 7 {
			t.Errorf("%d starts are taken half a second later", n)
		}
	})
}

// Without limits, and without a tenant, everything is admitted.
func TestTenant_Unbounded(t *testing.T) {
	t.Parallel()
	for _, tenant := range []*admission.Tenant{nil, admission.NewProcess(admission.Limits{}).Tenant(admission.Limits{})} {
		for range 10_000 {
			_, room := tenant.Room(true)
			_, watcher := tenant.Watcher()
			if err := errors.Join(room, watcher, tenant.Call(admission.Start)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestError(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]*admission.Error{
		"the limit of the tenant is 20 recordings at a time":             admission.Full(admission.LimitRecordings, 20, true),
		"the limit of this server is 3 watchers at a time":               admission.Full(admission.LimitWatchers, 3, false),
		"the limit of this server is 0.5 calls of a kind in a second":    {Limit: admission.LimitCallsPerSecond, Value: 0.5},
		"the limit of the tenant is 1000000 calls of a kind in a second": {Limit: admission.LimitCallsPerSecond, Value: 1e6, OfTenant: true},
	} {
		if got := e.Error(); !strings.EqualFold(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
