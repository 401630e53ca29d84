// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	"github.com/classrec/classrec/server/internal/storetest"
	"github.com/classrec/classrec/server/internal/webhook"
)

const (
	pending   = adminv1.WebhookDeliveryState_WEBHOOK_DELIVERY_STATE_PENDING
	delivered = adminv1.WebhookDeliveryState_WEBHOOK_DELIVERY_STATE_DELIVERED
	failed    = adminv1.WebhookDeliveryState_WEBHOOK_DELIVERY_STATE_FAILED
)

// Every event of every recording comes, in order, once, over https.
func TestDelivery(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	newClass(s, "before", "before").live(t) // the endpoint is not there yet
	r := &receiver{t: t, changed: make(chan struct{})}
	r.Server = httptest.NewTLSServer(r)
	t.Cleanup(r.Close)
	roots := x509.NewCertPool()
	roots.AddCert(r.Certificate())
	e := endpointOf(t, "a", r.URL+"/hooks?token=secret")
	e.RootCAs = roots
	d := open(t, s, quick(e))
	newClass(s, "between", "between").live(t) // it is there, and not served yet
	run(t, d)
	var classes sync.WaitGroup
	for i := range 20 {
		classes.Go(func() { newClass(s, fmt.Sprint("room", i), fmt.Sprint("id", i)).live(t) })
	}
	classes.Wait()
	taken := r.waitTaken(t, 21*len(eventsOfLife()))
	checkLives(t, taken, 21)
	if _, ok := typesByRoom(taken)["before"]; ok {
		t.Error("a new endpoint was told of what was before")
	}
	eventually(t, "all is settled", func() bool { return len(list(t, d, "a", delivered)) == len(taken) })
	if n := len(list(t, d, "a", 0)); n != len(taken) || len(r.requests()) != n || d.Stats()[0].Delivered != uint64(n) {
		t.Errorf("%d deliveries, %d requests, %+v", n, len(r.requests()), d.Stats()[0])
	}
	endpoints, err := d.Endpoints(t.Context())
	if err != nil || endpoints[0].GetTarget() != r.URL {
		t.Errorf("%v, %v", endpoints, err)
	}
}

// An endpoint gets the events and rooms that it wants.
func TestFilter(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	r := newReceiver(t, nil)
	e := endpointOf(t, "a", r.URL)
	e.Rooms = []string{"math-*", "art"}
	e.Events = []string{webhook.RecordingAvailable, webhook.ClassBegin}
	d := open(t, s, quick(e))
	run(t, d)
	for _, room := range []string{"math", "math-1", "art", "arts", "x-math-1"} {
		newClass(s, room, room).live(t)
	}
	newClass(s, "math-last", "last").live(t)
	r.wait(t, "the last room", func(taken []received) bool { return len(typesByRoom(taken)["math-last"]) == 2 })
	want := []string{webhook.ClassBegin, webhook.RecordingAvailable}
	for room, types := range typesByRoom(r.waitTaken(t, 6)) {
		if !slices.Contains([]string{"math-1", "art", "math-last"}, room) || !slices.Equal(types, want) {
			t.Errorf("room %s: %v", room, types)
		}
	}
}

// However attempts fail, the events of a recording are taken in order, and all
// of them.
func TestOrderUnderFailures(t *testing.T) {
	t.Parallel()
	const rooms = 12
	s := storetest.New(t)
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(1, 2))
	last := make(map[string]uint64) // by room: the highest sequence that was seen at all
	settled := make(map[string]bool)
	r := newReceiver(t, nil)
	r.answer = func(w http.ResponseWriter, got received) {
		mu.Lock()
		dice, sleep := random.IntN(10), time.Duration(random.IntN(20))*time.Millisecond
		seq := got.Event.GetData().GetSequence()
		if seq < last[got.room()] && !settled[got.ID] {
			t.Errorf("%s of room %s came after a later event, and was not taken before", got.ID, got.room())
		}
		last[got.room()] = max(last[got.room()], seq)
		if dice >= 6 {
			settled[got.ID] = true
		}
		mu.Unlock()
		switch {
		case dice < 2:
			w.WriteHeader(http.StatusInternalServerError)
		case dice < 4: // the connection breaks before an answer
			r.note(got, false)
			panic(http.ErrAbortHandler) //nolint:forbidigo // how a handler breaks the connection
		case dice < 5:
			w.Header().Set("Location", r.URL)
			w.WriteHeader(http.StatusFound)
		case dice < 6:
			time.Sleep(sleep)
			w.WriteHeader(http.StatusTooManyRequests)
		default:
			w.WriteHeader(http.StatusAccepted)
		}
	}
	d := open(t, s, quick(endpointOf(t, "a", r.URL)))
	stop := run(t, d)
	var classes sync.WaitGroup
	for i := range rooms {
		classes.Go(func() { newClass(s, fmt.Sprint("room", i), fmt.Sprint("id", i)).live(t) })
	}
	r.waitTaken(t, 5)
	stop() // in the middle
	d = open(t, s, quick(endpointOf(t, "a", r.URL)))
	run(t, d)
	classes.Wait()
	checkLives(t, r.waitTaken(t, rooms*len(eventsOfLife())), rooms)
}

// What an endpoint does that is not a 2xx is a failure that is tried again, and
// told.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		answer func(http.ResponseWriter)
		want   string
		status int32
		pause  time.Duration // at least, until the second attempt
	}{
		{"redirect", func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, "status 307: redirects are not followed", 307, 0},
		{"error", func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) }, "status 500 Internal Server Error", 500, 0},
		{"gone", func(w http.ResponseWriter) { w.WriteHeader(http.StatusGone) }, "status 410 Gone", 410, 0},
		{"too many", func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		}, "status 429 Too Many Requests", 429, time.Second},
		{"unavailable", func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, "status 503 Service Unavailable", 503, time.Second},
		{"hangs", func(w http.ResponseWriter) { time.Sleep(2 * time.Second) }, "no answer within 1s", 0, 0},
		{"no HTTP", func(w http.ResponseWriter) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = conn.Write([]byte("220 mail.example ESMTP\r\n"))
				_ = conn.Close()
			}
		}, "no answer that is HTTP", 0, 0},
		{"closes", func(http.ResponseWriter) {
			panic(http.ErrAbortHandler) //nolint:forbidigo // how a handler breaks the connection
		}, "the connection was closed before an answer came", 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := storetest.New(t)
			var mu sync.Mutex
			var times []time.Time
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				mu.Lock()
				times = append(times, time.Now())
				first := len(times) == 1
				mu.Unlock()
				if first {
					tc.answer(w)
				}
			}))
			t.Cleanup(srv.Close)
			e := endpointOf(t, "a", srv.URL+"/path?token=mark")
			e.Timeout = time.Second
			d := open(t, s, quick(e))
			run(t, d)
			c := newClass(s, "room", "id")
			c.rec.Recording.State = 6
			if _, err := c.append(t.Context()); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the second attempt", func() bool { return len(list(t, d, "a", delivered)) == 1 })
			mu.Lock()
			defer mu.Unlock()
			if len(times) != 2 || times[1].Sub(times[0]) < tc.pause {
				t.Errorf("%d attempts, pause %v", len(times), times[len(times)-1].Sub(times[0]))
			}
			got := list(t, d, "a", delivered)[0]
			if got.GetAttempts() != 2 || got.GetLastError() != "" || got.GetLastStatusCode() != 200 {
				t.Errorf("%v", got)
			}
			eventually(t, "the endpoint's state", func() bool {
				endpoints, err := d.Endpoints(t.Context())
				return err == nil && endpoints[0].GetStatus().GetLastError() == tc.want && endpoints[0].GetStatus().GetLastSuccessTime() != nil
			})
		})
	}
}

// A 2xx is one whatever its body does.
func TestGiantAnswer(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	written := make(chan int, 10)
	r := newReceiver(t, func(w http.ResponseWriter, _ received) {
		w.WriteHeader(http.StatusOK)
		n := 0
		chunk := make([]byte, 64<<10)
		for n < 64<<20 {
			m, err := w.Write(chunk)
			n += m
			if err != nil {
				break
			}
		}
		written <- n
	})
	d := open(t, s, quick(endpointOf(t, "a", r.URL)))
	run(t, d)
	newClass(s, "room", "id").live(t)
	checkLives(t, r.waitTaken(t, len(eventsOfLife())), 1)
	if n := <-written; n >= 64<<20 {
		t.Errorf("%d bytes of an answer were taken", n)
	}
}

// An endpoint that is dead, and one that is slow, hold back nobody else; and
// nobody's recordings those of others.
func TestIndependence(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	dead := httptest.NewServer(nil)
	dead.Close()
	release := make(chan struct{})
	slow := newReceiver(t, func(w http.ResponseWriter, got received) {
		if got.room() == "room0" {
			<-release
		}
		w.WriteHeader(http.StatusOK)
	})
	well := newReceiver(t, nil)
	cfg := quick(endpointOf(t, "dead", dead.URL), endpointOf(t, "slow", slow.URL), endpointOf(t, "well", well.URL))
	d := open(t, s, cfg)
	run(t, d)
	for i := range 4 {
		newClass(s, fmt.Sprint("room", i), fmt.Sprint("id", i)).live(t)
	}
	n := len(eventsOfLife())
	checkLives(t, well.waitTaken(t, 4*n), 4)
	checkLives(t, slow.waitTaken(t, 3*n), 3)
	close(release)
	checkLives(t, slow.waitTaken(t, 4*n), 4)
	// Each endpoint reads the log at its own pace.
	eventually(t, "deliveries to the dead endpoint", func() bool { return len(list(t, d, "dead", pending)) == 4*n })
	eventually(t, "the dead endpoint's state", func() bool {
		endpoints, err := d.Endpoints(t.Context())
		status := endpoints[0].GetStatus()
		return err == nil && status.GetPendingCount() == int32(4*n) && status.GetOldestPendingTime() != nil &&
			status.GetLastError() == "connection refused" && status.GetLastSuccessTime() == nil
	})
}

// What is not taken for too long is given up, and what follows is sent.
func TestGivingUp(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	r := newReceiver(t, func(w http.ResponseWriter, got received) {
		if got.Event.GetType() == webhook.RecordingStarted {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	e := endpointOf(t, "a", r.URL)
	e.RetryFor = time.Second
	d := open(t, s, quick(e))
	run(t, d)
	newClass(s, "room", "id").live(t)
	taken := r.waitTaken(t, len(eventsOfLife())-1)
	want := slices.DeleteFunc(eventsOfLife(), func(typ string) bool { return typ == webhook.RecordingStarted })
	if got := typesByRoom(taken)["room"]; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	given := list(t, d, "a", failed)
	if len(given) != 1 || given[0].GetType() != webhook.RecordingStarted || given[0].GetLastError() != "status 400 Bad Request" || given[0].GetNextAttemptTime() != nil {
		t.Fatalf("%v", given)
	}
	if given[0].GetAttempts() < 2 || given[0].GetLastAttemptTime().AsTime().Sub(given[0].GetEventTime().AsTime()) < time.Second/2 { // it may be under way when its time is over
		t.Errorf("given up too early: %v", given[0])
	}
	if stats := d.Stats()[0]; stats.GivenUp != 1 {
		t.Errorf("%+v", stats)
	}

	// One attempt is made, however late.
	late := newReceiver(t, nil)
	l := endpointOf(t, "late", late.URL)
	l.RetryFor = time.Nanosecond
	d = open(t, s, quick(l))
	newClass(s, "other", "other").live(t)
	run(t, d)
	checkLives(t, late.waitTaken(t, len(eventsOfLife())), 1)
}

// When too much is pending, the rest stays in the log, and nothing is lost.
func TestWindow(t *testing.T) {
	t.Parallel()
	s := storetest.New(t)
	opened := make(chan struct{})
	r := newReceiver(t, func(w http.ResponseWriter, _ received) {
		select {
		case <-opened:
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	cfg := quick(endpointOf(t, "a", r.URL))
	cfg.Window = 7
	d := open(t, s, cfg)
	stop := run(t, d)
	const rooms = 80 // 400 changes: more than a watcher holds
	for i := range rooms {
		newClass(s, fmt.Sprint("room", i), fmt.Sprint("id", i)).live(t)
	}
	eventually(t, "the window is full", func() bool { return d.Stats()[0].Pending >= 7 })
	if n := d.Stats()[0].Pending; n > 7+2 { // a change may be three events
		t.Errorf("%d are pending", n)
	}
	if n := len(list(t, d, "a", pending)); n > 7+2+3 { // and the reader has one more in hand
		t.Errorf("%d are stored", n)
	}
	stop()
	d = open(t, s, cfg)
	run(t, d)
	eventually(t, "the window is full again", func() bool { return d.Stats()[0].Pending >= 7 })
	close(opened)
	checkLives(t, r.waitTaken(t, rooms*len(eventsOfLife())), rooms)
}

// The receiver is down, the service is started again, and again: all comes, in
// order.
func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	down := make(chan struct{})
	r := newReceiver(t, func(w http.ResponseWriter, _ received) {
		select {
		case <-down:
		default:
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	for life := range 3 {
		s := storetest.Open(t, dir)
		d := open(t, s, quick(endpointOf(t, "a", r.URL)))
		stop := run(t, d)
		for i := range 5 {
			newClass(s, fmt.Sprintf("room%d-%d", life, i), fmt.Sprintf("id%d-%d", life, i)).live(t)
		}
		before := len(r.requests())
		if life == 2 {
			close(down)
			checkLives(t, r.waitTaken(t, 15*len(eventsOfLife())), 15)
		} else {
			eventually(t, "attempts", func() bool { return len(r.requests()) > before+10 })
		}
		stop()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if r.twice > 0 {
		t.Errorf("%d came twice though nothing was killed", r.twice)
	}
	s := storetest.Open(t, dir)
	d := open(t, s, quick(endpointOf(t, "a", r.URL)))
	for _, got := range list(t, d, "a", 0) {
		if got.GetState() != delivered || got.GetAttempts() < 1 {
			t.Errorf("%v", got)
		}
	}
	before := len(r.requests())
	run(t, d)
	newClass(s, "last", "last").live(t)
	r.waitTaken(t, 16*len(eventsOfLife()))
	if n := len(r.requests()); n != before+len(eventsOfLife()) {
		t.Errorf("what was delivered was sent again: %d requests more", n-before)
	}
}
