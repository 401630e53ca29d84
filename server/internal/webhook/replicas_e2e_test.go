// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package webhook_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/webhook"
)

// Of three replicas one works for the endpoint; when it is cut off, or stops,
// another goes on. Everything comes, in order, and any replica can be asked.
func TestReplicas(t *testing.T) {
	t.Parallel()
	postgres := storetest.NewPostgres(t)
	var status atomic.Int32
	status.Store(http.StatusOK)
	r := newReceiver(t, gate(&status))
	type replica struct {
		*store.Store
		link *storetest.Link
		d    *webhook.Dispatcher
		stop func()
	}
	var replicas []*replica
	for range 3 {
		link := postgres.Link(t)
		s := storetest.OpenConfig(t, store.Config{URL: link.URL(), LeaseTTL: time.Second, Timeout: 2 * time.Second})
		d := open(t, s, quick(endpointOf(t, "a", r.URL)))
		replicas = append(replicas, &replica{s, link, d, run(t, d)})
	}
	working := func() *replica {
		for _, replica := range replicas {
			if replica.d.Stats()[0].Delivered > 0 {
				return replica
			}
		}
		t.Fatal("nobody works")
		return nil
	}
	lives := 0
	live := func(s *store.Store) {
		newClass(s, fmt.Sprint("room", lives), fmt.Sprint("id", lives)).live(t)
		lives++
	}
	await := func() {
		t.Helper()
		checkLives(t, r.waitTaken(t, lives*len(eventsOfLife())), lives)
	}
	for _, replica := range replicas {
		live(replica.Store)
	}
	await()
	if r.twice > 0 {
		t.Errorf("%d came twice", r.twice)
	}
	first := working()
	for _, replica := range replicas {
		if replica != first && replica.d.Stats()[0].Delivered > 0 {
			t.Error("two replicas work")
		}
	}

	// The one that works is cut off, with events in hand.
	status.Store(http.StatusInternalServerError)
	live(first.Store)
	eventually(t, "an attempt fails", func() bool { return first.d.Stats()[0].Failed > 0 })
	first.link.Cut()
	var others []*replica
	for _, replica := range replicas {
		if replica != first {
			others = append(others, replica)
		}
	}
	live(others[0].Store)
	eventually(t, "another one works", func() bool {
		return others[0].d.Stats()[0].Failed+others[1].d.Stats()[0].Failed > 0
	})
	attempts := first.d.Stats()[0].Failed
	status.Store(http.StatusOK)
	await()
	if now := first.d.Stats()[0]; now.Failed > attempts+uint64(lives) || now.Delivered > uint64(lives*len(eventsOfLife())) {
		t.Errorf("the replica that was cut off went on: %+v", now)
	}

	// It comes back, and does nothing; the one that works stops in order.
	first.link.Heal()
	eventually(t, "the first one is back", func() bool {
		_, err := first.d.Delivery(t.Context(), "endpoints/a/deliveries/none")
		return errors.Is(err, webhook.ErrDelivery)
	})
	second, third := others[0], others[1]
	if third.d.Stats()[0].Delivered > 0 {
		second, third = third, second
	}
	second.stop()
	live(third.Store)
	await()
	name := list(t, third.d, "a", delivered)[0].GetName()
	requests := len(r.requests())
	eventually(t, "the first one can write", func() bool {
		_, err := first.d.Redeliver(t.Context(), name)
		return err == nil
	})
	eventually(t, "it is sent again", func() bool { return len(r.requests()) > requests })
	t.Logf("%d requests, %d came twice", len(r.requests()), r.twice)
}

// A database that goes away and comes back ends nothing: what is in it is sent, and
// what is asked for again too.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	postgres := storetest.NewPostgres(t)
	r := newReceiver(t, nil)
	s := storetest.OpenConfig(t, store.Config{URL: postgres.URL(), LeaseTTL: time.Second, Timeout: time.Second})
	d := open(t, s, quick(endpointOf(t, "a", r.URL)))
	run(t, d)
	n := len(eventsOfLife())
	for life := range 3 {
		c := newClass(s, fmt.Sprint("room", life), fmt.Sprint("id", life))
		for _, step := range steps {
			step.change(c.rec)
			eventually(t, "the log takes "+step.name, func() bool {
				_, err := c.append(t.Context())
				return err == nil
			})
		}
		r.waitTaken(t, (life+1)*n)
		postgres.Kill()
		if _, err := d.Endpoints(t.Context()); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("without the log: %v", err)
		}
		postgres.Start()
	}
	checkLives(t, r.waitTaken(t, 3*n), 3)
	var name string
	eventually(t, "deliveries are listed", func() bool {
		page, _, err := d.Deliveries(t.Context(), &adminv1.ListWebhookDeliveriesRequest{Parent: "endpoints/a"})
		if err == nil && len(page) > 0 {
			name = page[0].GetName()
		}
		return name != ""
	})
	before := len(r.requests())
	eventually(t, "it is asked for again", func() bool {
		_, err := d.Redeliver(t.Context(), name)
		return err == nil
	})
	eventually(t, "it is sent again", func() bool { return len(r.requests()) > before })
}
