// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/webhook"
)

const (
	tenant   = "default"
	patience = 60 * time.Second

	secretText = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	otherText  = "whsec_b3RoZXItc2VjcmV0LW90aGVyLXNlY3JldC0wMQ=="
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		childMain(dir, os.Getenv(urlVariable))
		return
	}
	goleak.VerifyTestMain(m)
}

func mustSecret(t *testing.T, text string) webhook.Secret {
	t.Helper()
	s, err := webhook.ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// loopback allows what the tests' receivers have.
func loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

// received is one event as a receiver got it.
type received struct {
	Place int // among all requests, as they came
	ID    string
	Event *classrecv1.WebhookEvent
	At    time.Time
}

func (r received) room() string { return r.Event.GetData().GetRecording().GetRoom() }

// receiver takes events. Each request's signature is verified with the library
// of Standard Webhooks, and its body checked, before answer is asked for a
// status.
type receiver struct {
	*httptest.Server
	t      testing.TB
	answer func(w http.ResponseWriter, r received) // nil: 204

	mu      sync.Mutex
	came    int        // requests so far
	all     []received // every request
	taken   []received // those that were answered with a 2xx, in the order in which they came, without what came twice
	twice   int
	changed chan struct{}
}

func newReceiver(t testing.TB, answer func(http.ResponseWriter, received)) *receiver {
	t.Helper()
	r := &receiver{t: t, answer: answer, changed: make(chan struct{})}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // broken off
	}
	verifier, err := standardwebhooks.NewWebhook(secretText)
	if err != nil {
		r.t.Error(err)
	}
	if err := verifier.Verify(body, req.Header); err != nil {
		r.t.Errorf("signature: %v", err)
	}
	r.mu.Lock()
	r.came++
	place := r.came
	r.mu.Unlock()
	got := received{Place: place, ID: req.Header.Get("webhook-id"), Event: new(classrecv1.WebhookEvent), At: time.Now()}
	if err := protojson.Unmarshal(body, got.Event); err != nil {
		r.t.Errorf("body: %v: %s", err, body)
	}
	if !json.Valid(body) || req.Method != http.MethodPost || req.Header.Get("Content-Type") != "application/json" {
		r.t.Errorf("%s %s: %s", req.Method, req.Header.Get("Content-Type"), body)
	}
	if want := fmt.Sprintf("evt_%d_%s", got.Event.GetData().GetSequence(), strings.ReplaceAll(got.Event.GetType(), ".", "_")); got.ID != want {
		r.t.Errorf("webhook-id is %s, want %s", got.ID, want)
	}
	status := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	if r.answer == nil {
		status.WriteHeader(http.StatusNoContent)
	} else {
		r.answer(status, got)
	}
	r.note(got, status.status/100 == 2)
}

func (r *receiver) note(got received, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, got)
	switch {
	case !ok:
	case slices.ContainsFunc(r.taken, func(known received) bool { return known.ID == got.ID }):
		r.twice++
	default:
		i, _ := slices.BinarySearchFunc(r.taken, got, func(a, b received) int { return a.Place - b.Place })
		r.taken = slices.Insert(r.taken, i, got)
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// statusWriter keeps the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// wait waits until holds is true of what was taken.
func (r *receiver) wait(t testing.TB, what string, holds func(taken []received) bool) []received {
	t.Helper()
	deadline := time.After(patience)
	for {
		r.mu.Lock()
		taken, changed := slices.Clone(r.taken), r.changed
		r.mu.Unlock()
		if holds(taken) {
			return taken
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%s: not within %v; %d were taken", what, patience, len(taken))
		}
	}
}

// waitTaken waits for so many events.
func (r *receiver) waitTaken(t testing.TB, n int) []received {
	t.Helper()
	return r.wait(t, fmt.Sprintf("%d events", n), func(taken []received) bool { return len(taken) >= n })
}

func (r *receiver) requests() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// endpointOf is the configuration of a receiver.
func endpointOf(t *testing.T, name, url string) webhook.Endpoint {
	t.Helper()
	return webhook.Endpoint{Name: name, URL: url, Secrets: []webhook.Secret{mustSecret(t, secretText)}, AllowAddresses: loopback()}
}

func quick(endpoints ...webhook.Endpoint) webhook.Config {
	return webhook.Config{Endpoints: endpoints, RetryMin: 5 * time.Millisecond, RetryMax: 40 * time.Millisecond}
}

// open makes a dispatcher without running it.
func open(t *testing.T, s *store.Store, cfg webhook.Config) *webhook.Dispatcher {
	t.Helper()
	d, err := webhook.Open(t.Context(), s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// run runs a dispatcher until stop is called, or the test ends.
func run(t *testing.T, d *webhook.Dispatcher) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := d.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

// class is a recording whose life a test writes into the log.
type class struct {
	s   *store.Store
	rec *storev1.Record
}

func newClass(s *store.Store, room, id string) *class {
	return &class{s: s, rec: &storev1.Record{
		Tenant: tenant, Id: id,
		Recording: &classrecv1.Recording{Room: room, State: classrecv1.RecordingState_RECORDING_STATE_STARTING},
	}}
}

// append stores the record as it is.
func (c *class) append(ctx context.Context) (*store.Entry, error) {
	c.rec.Recording.UpdateTime = timestamppb.Now()
	for {
		revision := uint64(0)
		switch e, err := c.s.Get(ctx, tenant, c.rec.GetRecording().GetRoom(), c.rec.GetId()); {
		case err == nil:
			revision = e.Revision
		case !errors.Is(err, store.ErrNotFound):
			return nil, err
		}
		e, err := c.s.Append(ctx, c.rec, revision)
		if !errors.Is(err, store.ErrConflict) {
			return e, err
		}
	}
}

// The steps of a life; each is one change of the log.
var steps = []struct {
	name   string
	events []string
	change func(*storev1.Record)
}{
	{"starting", nil, func(*storev1.Record) {}},
	{"add", []string{webhook.ClassBegin, webhook.RecordingStarted}, func(r *storev1.Record) {
		r.Recording.State = classrecv1.RecordingState_RECORDING_STATE_RECORDING
		r.Recording.Name = "rooms/" + r.Recording.Room + "/recordings/1700000000"
		r.Event = &classrecv1.ClassBeginEvent{
			Action: classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD, Room: r.Recording.Room, MessageId: "ClassBegin",
			Time: &timestamppb.Timestamp{Seconds: 1700000000}, FromUserId: "teacher", Data: `{"recordtype":1}`,
		}
	}},
	{"stopping", nil, func(r *storev1.Record) {
		r.AddSequence, r.Event = 2, nil
		r.Recording.State = classrecv1.RecordingState_RECORDING_STATE_STOPPING
	}},
	{"remove", []string{webhook.ClassEnd, webhook.RecordingStopped}, func(r *storev1.Record) {
		r.Recording.State = classrecv1.RecordingState_RECORDING_STATE_PROCESSING
		r.Event = &classrecv1.ClassBeginEvent{
			Action: classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_REMOVE, Room: r.Recording.Room, MessageId: "ClassBegin",
			Time: &timestamppb.Timestamp{Seconds: 1700003600},
		}
	}},
	{"available", []string{webhook.RecordingAvailable}, func(r *storev1.Record) {
		r.Event = nil
		r.Recording.State = classrecv1.RecordingState_RECORDING_STATE_AVAILABLE
		r.Recording.Urls = []string{"https://files.example/a.mp4"}
	}},
}

// eventsOfLife is what a whole life is told by.
func eventsOfLife() []string {
	var all []string
	for _, step := range steps {
		all = append(all, step.events...)
	}
	return all
}

// live writes a whole life.
func (c *class) live(t testing.TB) {
	t.Helper()
	for _, step := range steps {
		step.change(c.rec)
		if _, err := c.append(context.Background()); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
	}
}

// typesByRoom is what was taken of each room, in order.
func typesByRoom(taken []received) map[string][]string {
	rooms := make(map[string][]string)
	for _, r := range taken {
		rooms[r.room()] = append(rooms[r.room()], r.Event.GetType())
	}
	return rooms
}

// checkLives fails the test unless each of n rooms was told of in full and in
// order.
func checkLives(t testing.TB, taken []received, n int) {
	t.Helper()
	rooms := typesByRoom(taken)
	if len(rooms) != n {
		t.Errorf("%d rooms, want %d", len(rooms), n)
	}
	for room, types := range rooms {
		if !slices.Equal(types, eventsOfLife()) {
			t.Errorf("room %s: %v", room, types)
		}
	}
}

// list returns all deliveries to an endpoint in a state, newest first.
func list(t *testing.T, d *webhook.Dispatcher, endpoint string, state adminv1.WebhookDeliveryState) []*adminv1.WebhookDelivery {
	t.Helper()
	page, _, err := d.Deliveries(t.Context(), &adminv1.ListWebhookDeliveriesRequest{Parent: "endpoints/" + endpoint, State: state, PageSize: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
