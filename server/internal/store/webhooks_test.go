// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/storetest"
)

func mustWebhooks(t *testing.T, s *store.Store) *store.Webhooks {
	t.Helper()
	w, err := s.Webhooks(t.Context(), tenant)
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
	d, err := w.PutDelivery(t.Context(), rec, revision)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestWebhooks_Endpoint(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := storetest.Open(t, dir)
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

	w = mustWebhooks(t, storetest.Open(t, dir))
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

func TestWebhooks_Deliveries(t *testing.T) {
	t.Parallel()
	w := mustWebhooks(t, storetest.New(t))
	for i := range 300 { // more than a consumer fetches at once
		mustPut(t, w, delivery("a", fmt.Sprint("e", i), 1), 0)
	}
	mustPut(t, w, delivery("b", "e1", 1), 0)
	d, err := w.Delivery(t.Context(), "a", "e7")
	if err != nil || d.Record.GetId() != "e7" {
		t.Fatalf("%v, %v", d, err)
	}
	if _, err := w.PutDelivery(t.Context(), delivery("a", "e7", 2), d.Revision-1); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("on an old revision: %v", err)
	}
	mustPut(t, w, delivery("a", "e7", 2), d.Revision)
	for _, id := range []string{"e300", "e.7", ""} {
		if _, err := w.Delivery(t.Context(), "a", id); !errors.Is(err, store.ErrNotKept) {
			t.Errorf("delivery %q: %v", id, err)
		}
	}

	var ids []string
	err = w.Deliveries(t.Context(), "a", func(d *store.Delivery) error {
		ids = append(ids, fmt.Sprintf("%s/%d", d.Record.GetId(), d.Record.GetDelivery().GetAttempts()))
		return nil
	})
	if err != nil || len(ids) != 300 || ids[299] != "e7/2" || slices.Contains(ids, "e7/1") {
		t.Fatalf("%d deliveries, the last %s: %v", len(ids), ids[len(ids)-1], err)
	}
	stop := errors.New("stop")
	if err := w.Deliveries(t.Context(), "a", func(*store.Delivery) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("stopped: %v", err)
	}
	if err := w.Deliveries(t.Context(), "nobody", func(*store.Delivery) error { return stop }); err != nil {
		t.Fatalf("of nobody: %v", err)
	}
	if err := w.Deliveries(t.Context(), "a.>", func(*store.Delivery) error { return nil }); !errors.Is(err, store.ErrInvalid) {
		t.Fatalf("of a pattern: %v", err)
	}
}

// Follow gives what is there, says so, and goes on.
func TestWebhooks_Follow(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	w := mustWebhooks(t, s)
	first := mustPut(t, w, delivery("a", "e1", 1), 0)
	seen := make(chan string)
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- w.Follow(ctx, "a", func(d *store.Delivery) error {
			text := "all"
			if d != nil {
				text = fmt.Sprintf("%s/%d", d.Record.GetId(), d.Record.GetDelivery().GetAttempts())
			}
			select {
			case seen <- text:
			case <-ctx.Done():
			}
			return nil
		})
	}()
	got := []string{<-seen, <-seen}
	mustPut(t, w, delivery("b", "e1", 1), 0)
	mustPut(t, w, delivery("a", "e1", 2), first.Revision)
	mustPut(t, w, delivery("a", "e2", 1), 0)
	got = append(got, <-seen, <-seen)
	if diff := cmp.Diff([]string{"e1/1", "all", "e1/2", "e2/1"}, got); diff != "" {
		t.Error(diff)
	}
	reason := errors.New("enough")
	cancel(reason)
	if err := <-ended; !errors.Is(err, reason) {
		t.Errorf("ended with %v", err)
	}

	// A store that is closed ends it too.
	go func() { ended <- w.Follow(context.Background(), "b", func(*store.Delivery) error { return nil }) }()
	time.AfterFunc(50*time.Millisecond, func() { _ = s.Close() })
	if err := <-ended; !errors.Is(err, store.ErrClosed) {
		t.Errorf("ended with %v", err)
	}
}

func TestWebhooks_Read(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
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
	other, err := s.Webhooks(t.Context(), "other")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Read(t.Context(), e.Revision); !errors.Is(err, store.ErrNotKept) {
		t.Errorf("of another tenant: %v", err)
	}
	if _, err := s.Webhooks(t.Context(), "a.b"); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("a tenant that is no token: %v", err)
	}
}

// At a server that is not embedded all is the same, and the loss of the server
// is ErrUnavailable.
func TestWebhooks_Server(t *testing.T) {
	t.Parallel()
	n := newNATS(t)
	w := mustWebhooks(t, n.open(t))
	d := mustPut(t, w, delivery("a", "e1", 1), 0)
	n.restart(t, func() {
		if _, err := w.PutDelivery(t.Context(), delivery("a", "e1", 2), d.Revision); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("put without a server: %v", err)
		}
		if err := w.Deliveries(t.Context(), "a", func(*store.Delivery) error { return nil }); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("read without a server: %v", err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		got, err := w.Delivery(ctx, "a", "e1")
		if err == nil {
			if got.Record.GetId() != "e1" {
				t.Errorf("%v", got)
			}
			return
		}
		if !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
	}
}
