// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/webhook"
)

// gate is a receiver's answer that can be changed.
func gate(status *atomic.Int32) func(http.ResponseWriter, received) {
	return func(w http.ResponseWriter, _ received) { w.WriteHeader(int(status.Load())) }
}

func TestRedeliver(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	var status atomic.Int32
	status.Store(500)
	r := newReceiver(t, gate(&status))
	e := endpointOf(t, "a", r.URL)
	e.RetryFor = time.Nanosecond
	d := open(t, s, quick(e))
	run(t, d)
	for i := range 3 {
		newClass(s, fmt.Sprint("room", i), fmt.Sprint("id", i)).live(t)
	}
	n := len(eventsOfLife())
	eventually(t, "all is given up", func() bool { return len(list(t, d, "a", failed)) == 3*n })
	status.Store(200)

	// One, with the id that it had.
	one := list(t, d, "a", failed)[0]
	asked, err := d.Redeliver(t.Context(), one.GetName())
	if err != nil || asked.GetState() != pending || asked.GetRedeliverTime() == nil {
		t.Fatalf("%v, %v", asked, err)
	}
	r.waitTaken(t, 1)
	eventually(t, "it is delivered", func() bool { return len(list(t, d, "a", delivered)) == 1 })
	got, err := d.Delivery(t.Context(), one.GetName())
	if err != nil || got.GetState() != delivered || got.GetAttempts() != one.GetAttempts()+1 {
		t.Errorf("%v, %v", got, err)
	}
	// Once more, though it was delivered.
	if _, err := d.Redeliver(t.Context(), one.GetName()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is delivered again", func() bool {
		got, err := d.Delivery(t.Context(), one.GetName())
		return err == nil && got.GetState() == delivered && got.GetAttempts() == one.GetAttempts()+2
	})

	// None is as young as that; then all, in order for each recording.
	count, _, more, err := d.RedeliverFailed(t.Context(), "endpoints/a", time.Now().Add(time.Hour))
	if count != 0 || more || err != nil {
		t.Errorf("%d, %v, %v", count, more, err)
	}
	count, notKept, more, err := d.RedeliverFailed(t.Context(), "endpoints/a", time.Time{})
	if count != 3*n-1 || notKept != 0 || more || err != nil {
		t.Errorf("%d, %d, %v, %v", count, notKept, more, err)
	}
	taken := r.waitTaken(t, 3*n)
	for room, types := range typesByRoom(taken) {
		if room != one.GetRoom() && !slices.Equal(types, eventsOfLife()) { // that one's last event has come before
			t.Errorf("room %s: %v", room, types)
		}
	}
	eventually(t, "nothing is pending", func() bool { return len(list(t, d, "a", delivered)) == 3*n })
}

// What is asked for while nobody works, or while it is tried, is not lost.
func TestRedeliver_Pending(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	var status atomic.Int32
	status.Store(500)
	r := newReceiver(t, gate(&status))
	e := endpointOf(t, "a", r.URL)
	cfg := quick(e)
	cfg.RetryMin, cfg.RetryMax = time.Hour, time.Hour
	d := open(t, s, cfg)
	stop := run(t, d)
	newClass(s, "room", "id").live(t)
	eventually(t, "the first attempt", func() bool { return len(r.requests()) == 1 })
	first := fmt.Sprintf("endpoints/a/deliveries/%s", r.requests()[0].ID)
	eventually(t, "it is stored", func() bool {
		got, err := d.Delivery(t.Context(), first)
		return err == nil && time.Until(got.GetNextAttemptTime().AsTime()) > 30*time.Minute
	})
	status.Store(200)
	if _, err := d.Redeliver(t.Context(), first); err != nil { // not in an hour: now
		t.Fatal(err)
	}
	checkLives(t, r.waitTaken(t, len(eventsOfLife())), 1)
	stop()
	if _, err := d.Redeliver(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	before := len(r.requests())
	run(t, open(t, s, cfg))
	eventually(t, "it is sent", func() bool { return len(r.requests()) == before+1 })
	if got := r.requests()[before]; "endpoints/a/deliveries/"+got.ID != first {
		t.Errorf("%s was sent", got.ID)
	}
}

func TestAdmin_Errors(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	d := open(t, s, quick(endpointOf(t, "a", "http://127.0.0.1:1")))
	for name, want := range map[string]error{
		"endpoints/b/deliveries/evt_1_class_begin": webhook.ErrEndpoint,
		"endpoints/a/deliveries/evt_1_class_begin": webhook.ErrDelivery,
		"endpoints/a/deliveries/":                  webhook.ErrDelivery,
		"endpoints/a":                              webhook.ErrDelivery,
		"endpoints/a/deliveries/*":                 webhook.ErrDelivery,
	} {
		if _, err := d.Delivery(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("get %s: %v", name, err)
		}
		if _, err := d.Redeliver(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("redeliver %s: %v", name, err)
		}
	}
	if _, _, _, err := d.RedeliverFailed(t.Context(), "endpoints/b", time.Time{}); !errors.Is(err, webhook.ErrEndpoint) {
		t.Error(err)
	}
	if _, _, err := d.Deliveries(t.Context(), &adminv1.ListWebhookDeliveriesRequest{Parent: "endpoints/b"}); !errors.Is(err, webhook.ErrEndpoint) {
		t.Error(err)
	}
}

// A delivery that is known of another event, under the same id, is not taken for
// the event that is in the log: one whose end was lost gives revisions again.
func TestReusedRevision(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	r := newReceiver(t, nil)
	d := open(t, s, quick(endpointOf(t, "a", r.URL)))
	w, err := s.Webhooks(tenant)
	if err != nil {
		t.Fatal(err)
	}
	next := s.LastSequence() + 2 // the second step of a life has the first events
	put := func(typ, word string, revision uint64, state adminv1.WebhookDeliveryState) string {
		id := fmt.Sprintf("evt_%d_%s", store.SequenceOf(revision), word)
		_, err := w.PutDelivery(t.Context(), &storev1.WebhookDeliveryRecord{
			Tenant: tenant, Endpoint: "a", Id: id, Revision: revision, RecordingId: "lost",
			Delivery: &adminv1.WebhookDelivery{Name: "endpoints/a/deliveries/" + id, Type: typ, State: state, EventTime: timestamppb.Now()},
		}, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return "endpoints/a/deliveries/" + id
	}
	put(webhook.ClassBegin, "class_begin", next, delivered)
	put(webhook.RecordingStarted, "recording_started", next, pending)
	stop := run(t, d)
	newClass(s, "room", "id").live(t)
	checkLives(t, r.waitTaken(t, len(eventsOfLife())), 1)
	if _, err := d.Redeliver(t.Context(), put(webhook.RecordingFailed, "recording_failed", next, failed)); !errors.Is(err, webhook.ErrEventNotKept) {
		t.Errorf("redeliver an event that the log has lost: %v", err)
	}
	stop()
	put(webhook.RecordingAvailable, "recording_available", next, pending)
	run(t, open(t, s, quick(endpointOf(t, "a", r.URL))))
	eventually(t, "it is given up", func() bool { return len(list(t, d, "a", failed)) == 2 })
	if n := len(r.requests()); n != len(eventsOfLife()) {
		t.Errorf("%d requests", n)
	}
}

// Pages are whole, newest first, and belong to their filter.
func TestPages(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	r := newReceiver(t, nil)
	d := open(t, s, quick(endpointOf(t, "a", r.URL)))
	run(t, d)
	for i := range 5 {
		newClass(s, fmt.Sprint("room", i), fmt.Sprint("id", i)).live(t)
	}
	n := 5 * len(eventsOfLife())
	r.waitTaken(t, n)
	eventually(t, "all is settled", func() bool { return len(list(t, d, "a", delivered)) == n })
	req := &adminv1.ListWebhookDeliveriesRequest{Parent: "endpoints/a", State: delivered, PageSize: 3}
	var names []string
	last := ^uint64(0)
	for {
		page, token, err := d.Deliveries(t.Context(), req)
		if err != nil || len(page) > 3 {
			t.Fatalf("%d, %v", len(page), err)
		}
		for _, got := range page {
			if got.GetSequence() > last {
				t.Errorf("%s comes after %d", got.GetName(), last)
			}
			last = got.GetSequence()
			names = append(names, got.GetName())
		}
		if req.PageToken = token; token == "" {
			break
		}
	}
	slices.Sort(names)
	if len(slices.Compact(names)) != n {
		t.Errorf("%d deliveries on all pages, want %d", len(names), n)
	}
	_, token, err := d.Deliveries(t.Context(), &adminv1.ListWebhookDeliveriesRequest{Parent: "endpoints/a", PageSize: 3})
	if err != nil {
		t.Fatal(err)
	}
	for _, req := range []*adminv1.ListWebhookDeliveriesRequest{
		{Parent: "endpoints/a", State: failed, PageToken: token},
		{Parent: "endpoints/a", Recording: "rooms/room1/recordings/1", PageToken: token},
		{Parent: "endpoints/a", PageToken: token + "x"},
		{Parent: "endpoints/a", PageToken: "?"},
	} {
		if _, _, err := d.Deliveries(t.Context(), req); !errors.Is(err, webhook.ErrPageToken) {
			t.Errorf("%v: %v", req, err)
		}
	}
	page, _, err := d.Deliveries(t.Context(), &adminv1.ListWebhookDeliveriesRequest{Parent: "endpoints/a", Recording: "rooms/room1/recordings/1700000000"})
	if err != nil || len(page) != len(eventsOfLife()) {
		t.Errorf("%d of one recording, %v", len(page), err)
	}
}

// An endpoint that was away for longer than the log keeps goes on from what is
// left; what was taken and is forgotten is given up, and cannot be asked for.
func TestForgotten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var status atomic.Int32
	status.Store(500)
	r := newReceiver(t, gate(&status))
	s := storetest.Open(t, dir)
	cfg := quick(endpointOf(t, "a", r.URL))
	cfg.Window = 2
	d := open(t, s, cfg)
	stop := run(t, d)
	for i := range 5 {
		newClass(s, fmt.Sprint("room", i), fmt.Sprint("id", i)).live(t)
	}
	eventually(t, "the window is full", func() bool { return d.Stats()[0].Pending >= 2 })
	stop()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = storetest.OpenConfig(t, store.Config{Dir: dir, Retention: store.Retention{Age: time.Nanosecond, Interval: 10 * time.Millisecond}})
	eventually(t, "the log forgets", func() bool { return s.Forgotten() > 20 })
	status.Store(200)
	d = open(t, s, cfg)
	run(t, d)
	newClass(s, "last", "last").live(t)
	r.wait(t, "the last room", func(taken []received) bool {
		return len(taken) > 0 && taken[len(taken)-1].Event.GetType() == webhook.RecordingAvailable && taken[len(taken)-1].room() == "last"
	})
	eventually(t, "nothing is pending", func() bool { return len(list(t, d, "a", pending)) == 0 })
	given := list(t, d, "a", failed)
	if len(given) == 0 || given[0].GetLastError() != "the log does not have the event any more" {
		t.Fatalf("%v", given)
	}
	if _, err := d.Redeliver(t.Context(), given[0].GetName()); !errors.Is(err, webhook.ErrEventNotKept) {
		t.Error(err)
	}
	count, notKept, more, err := d.RedeliverFailed(t.Context(), "endpoints/a", time.Time{})
	if count != 0 || notKept != len(given) || more || err != nil {
		t.Errorf("%d, %d, %v, %v", count, notKept, more, err)
	}
	if n := d.Stats()[0].Skipped; n < 1 {
		t.Error("the gap is not counted")
	}
}
