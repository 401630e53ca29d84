// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"errors"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	"github.com/classrec/classrec/server/internal/store"
)

func mustWebhooks(t *testing.T, s *store.Store) *store.Webhooks {
	t.Helper()
	w, err := s.Webhooks(tenant)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func delivery(endpoint, id string, attempts int32) *storev1.WebhookDeliveryRecord {
	return &storev1.WebhookDeliveryRecord{
		Tenant: tenant, Endpoint: endpoint, Id: id, Revision: 1, RecordingId: "r",
		Delivery: &adminv1.WebhookDelivery{Attempts: attempts},
	}
}

// mustPut stores a delivery.
func mustPut(t *testing.T, w *store.Webhooks, rec *storev1.WebhookDeliveryRecord, revision uint64) *store.Delivery {
	t.Helper()
	d, err := w.PutDelivery(t.Context(), rec, 0, revision)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func testWebhooks_Endpoint(t *testing.T, open opener) {
	s := open(t, store.Config{})
	w := mustWebhooks(t, s)
	if _, _, err := w.Endpoint(t.Context(), "a"); !errors.Is(err, store.ErrNotKept) {
		t.Fatalf("an endpoint that never was: %v", err)
	}
	state := &storev1.WebhookEndpointState{Tenant: tenant, Endpoint: "a", Cursor: 7}
	first, err := w.PutEndpoint(t.Context(), state, 0)
	if err != nil {
		t.Fatal(err)
	}
	state.Cursor = 8
	if _, err := w.PutEndpoint(t.Context(), state, 0); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("a second first state: %v", err)
	}
	second, err := w.PutEndpoint(t.Context(), state, first)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	w = mustWebhooks(t, open(t, store.Config{}))
	got, revision, err := w.Endpoint(t.Context(), "a")
	if err != nil || revision != second || !proto.Equal(got, state) {
		t.Fatalf("after a restart: %v at %d, %v", got, revision, err)
	}
	if _, err := w.PutEndpoint(t.Context(), &storev1.WebhookEndpointState{Tenant: tenant, Endpoint: "a.b"}, 0); !errors.Is(err, store.ErrInvalid) {
		t.Fatalf("a name that is no token: %v", err)
	}
	if _, err := w.PutEndpoint(t.Context(), &storev1.WebhookEndpointState{Tenant: "other", Endpoint: "a"}, 0); !errors.Is(err, store.ErrInvalid) {
		t.Fatalf("of another tenant: %v", err)
	}
}

func testWebhooks_Deliveries(t *testing.T, open opener) {
	w := mustWebhooks(t, open(t, store.Config{}))
	for i := range 300 { // more than a consumer fetches at once
		mustPut(t, w, delivery("a", fmt.Sprint("e", i), 1), 0)
	}
	mustPut(t, w, delivery("b", "e1", 1), 0)
	d, err := w.Delivery(t.Context(), "a", "e7")
	if err != nil || d.Record.GetId() != "e7" {
		t.Fatalf("%v, %v", d, err)
	}
	if _, err := w.PutDelivery(t.Context(), delivery("a", "e7", 2), 0, d.Revision-1); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("on an old revision: %v", err)
	}
	mustPut(t, w, delivery("a", "e7", 2), d.Revision)
	for _, id := range []string{"e300", "e.7", ""} {
		if _, err := w.Delivery(t.Context(), "a", id); !errors.Is(err, store.ErrNotKept) {
			t.Errorf("delivery %q: %v", id, err)
		}
	}

	all, err := w.ChangedSince(t.Context(), "a", 0, 1000)
	if err != nil || len(all) != 300 || all[299].Record.GetId() != "e7" || all[299].Record.GetDelivery().GetAttempts() != 2 {
		t.Fatalf("%d deliveries, the last %v: %v", len(all), all[len(all)-1], err)
	}
	if since, err := w.ChangedSince(t.Context(), "a", all[298].Revision, 1000); err != nil || len(since) != 1 {
		t.Errorf("since the last but one: %d, %v", len(since), err)
	}
	if of, err := w.ChangedSince(t.Context(), "nobody", 0, 1000); err != nil || len(of) != 0 {
		t.Errorf("of nobody: %v, %v", of, err)
	}
}

// Deliveries are in the order of their events, and within one of their kinds.
func testWebhooks_Order(t *testing.T, open opener) {
	w := mustWebhooks(t, open(t, store.Config{}))
	for _, d := range []struct {
		id       string
		revision uint64
		kind     int
		state    adminv1.WebhookDeliveryState
	}{{"c", 2, 1, 3}, {"a", 1, 0, 1}, {"b", 2, 0, 1}, {"d", 9, 0, 3}} {
		rec := delivery("e", d.id, 1)
		rec.Revision, rec.Delivery.State = d.revision, d.state
		if _, err := w.PutDelivery(t.Context(), rec, d.kind, 0); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		filter store.DeliveryFilter
		want   string
	}{
		"newest first":   {store.DeliveryFilter{Limit: 9}, "dcba"},
		"oldest first":   {store.DeliveryFilter{Limit: 3, Oldest: true}, "abc"},
		"that failed":    {store.DeliveryFilter{Limit: 9, State: 3}, "dc"},
		"older than c":   {store.DeliveryFilter{Limit: 9, Sequence: 2, Kind: 1}, "ba"},
		"younger than b": {store.DeliveryFilter{Limit: 9, Sequence: 2, Oldest: true}, "cd"},
	} {
		found, err := w.Deliveries(t.Context(), "e", tc.filter)
		got := ""
		for _, d := range found {
			got += d.Record.GetId()
		}
		if err != nil || got != tc.want {
			t.Errorf("%s: %s, not %s; %v", name, got, tc.want, err)
		}
	}
}

func testWebhooks_Read(t *testing.T, open opener) {
	s := open(t, store.Config{})
	w := mustWebhooks(t, s)
	e, err := s.Append(t.Context(), newRecord("room", "id", available), 0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.Read(t.Context(), e.Revision)
	if err != nil || !proto.Equal(got.Record, e.Record) || got.Revision != e.Revision {
		t.Fatalf("%v, %v", got, err)
	}
	for _, revision := range []uint64{0, e.Revision + 1} {
		if _, err := w.Read(t.Context(), revision); !errors.Is(err, store.ErrNotKept) {
			t.Errorf("change %d: %v", revision, err)
		}
	}
	other, err := s.Webhooks("other")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Read(t.Context(), e.Revision); !errors.Is(err, store.ErrNotKept) {
		t.Errorf("of another tenant: %v", err)
	}
	if _, err := s.Webhooks("a.b"); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("a tenant that is no token: %v", err)
	}
}
