// SPDX-License-Identifier: Apache-2.0

// Package webhook tells endpoints over HTTP what happens to recordings: events
// out of the one log, signed as Standard Webhooks 1.0 says.
//
// What it guarantees:
//
//   - At least once. An event that is in the log is sent to every endpoint that
//     wants it until the endpoint answers with a 2xx, or for Endpoint.RetryFor;
//     at least one attempt is made, however late. That holds across restarts:
//     what is not known to be settled is sent again, with the same webhook-id.
//   - In order for each recording: an event is not sent before the one before
//     it was delivered or given up. Of different recordings, many are sent at
//     once, in no order.
//   - Of several replicas one works for an endpoint at a time, the one that
//     holds its lease. When it dies, another goes on.
//   - Endpoints are independent: each reads the log itself, and one that is dead
//     or slow holds back nobody else.
//   - Bounded. At most Config.Window events of an endpoint are taken from the log
//     and not settled; when it is full, reading stops: the log is the queue.
//   - No address that is not public is talked to, unless it is allowed for the
//     endpoint; what is checked is the address that is dialed. Redirects are not
//     followed, and no proxy is used.
//   - Secrets, headers, and of URLs all but scheme and host, are in no error and
//     no log.
//
// What was asked for again by [Dispatcher.Redeliver] goes in the order of the
// log too, among what is pending of its recording.
//
// It leaves to others: what an event means (package recording writes the log),
// how the state is kept (package store), and the calls (package admin).
package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
	"github.com/classrec/classrec/server/internal/store"
)

// Dispatcher sends to each endpoint the events of its tenant. Run does the
// work; its other methods may be called from any goroutine, running or not.
type Dispatcher struct {
	cfg       Config
	log       *slog.Logger
	store     *store.Store
	endpoints []*endpoint
}

// endpoint is one receiver, as configured, and what is counted of it.
type endpoint struct {
	Endpoint
	state  *store.Webhooks // of its tenant
	target target
	count  counters
}

// Open makes a dispatcher over st, which has to outlive it. An endpoint that
// was not there before gets what happens from now on.
//
// Errors: a fault of the configuration, which names it without repeating a
// secret; [store.ErrUnavailable].
func Open(ctx context.Context, st *store.Store, cfg Config) (*Dispatcher, error) {
	cfg = cfg.withDefaults()
	d := &Dispatcher{cfg: cfg, log: cfg.Logger, store: st}
	if err := d.addEndpoints(); err != nil {
		return nil, err
	}
	states := make(map[string]*store.Webhooks) // by tenant
	for _, e := range d.endpoints {
		if states[e.Tenant] == nil {
			state, err := st.Webhooks(e.Tenant)
			if err != nil {
				return nil, err
			}
			states[e.Tenant] = state
		}
		e.state = states[e.Tenant]
		if err := d.begin(ctx, e); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *Dispatcher) addEndpoints() error {
	names := make(map[string]bool)
	for i, e := range d.cfg.Endpoints {
		made, err := newEndpoint(d.cfg, e)
		if err == nil && names[e.Name] {
			err = errors.New("there is another one of this name")
		}
		if err != nil {
			if isToken(e.Name) {
				return fmt.Errorf("endpoint %s: %w", e.Name, err)
			}
			return fmt.Errorf("endpoint %d: %w", i+1, err)
		}
		names[e.Name] = true
		d.endpoints = append(d.endpoints, made)
	}
	return nil
}

// begin gives an endpoint that is new its place in the log: the end. Another
// process may do the same at the same time.
func (d *Dispatcher) begin(ctx context.Context, e *endpoint) error {
	_, _, err := e.state.Endpoint(ctx, e.Name)
	if !errors.Is(err, store.ErrNotKept) {
		return err
	}
	last := d.store.LastSequence()
	_, err = e.state.PutEndpoint(ctx, &storev1.WebhookEndpointState{
		Tenant: e.Tenant, Endpoint: e.Name, Cursor: last,
		Status: &adminv1.WebhookEndpointStatus{ReadSequence: store.SequenceOf(last)},
	}, 0)
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}

// restartWait is the pause after an endpoint's work had to be broken off.
const restartWait = time.Second

// Run sends until ctx ends. What is being sent then may take Config.Grace to
// end. It returns nil, and can be called once.
func (d *Dispatcher) Run(ctx context.Context) error {
	done := make(chan struct{})
	for _, e := range d.endpoints {
		go func() {
			defer func() { done <- struct{}{} }()
			d.serve(ctx, e)
		}()
	}
	for range d.endpoints {
		<-done
	}
	return nil
}

// serve works for one endpoint until ctx ends, whenever this process holds its
// lease.
func (d *Dispatcher) serve(ctx context.Context, e *endpoint) {
	log := d.log.With("tenant", e.Tenant, "endpoint", e.Name, "target", e.target.origin)
	defer e.target.close()
	for {
		lease, err := d.acquire(ctx, e)
		if err != nil {
			return
		}
		err = newWorker(d, e, lease, log).run(ctx)
		d.release(ctx, lease)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errLost):
			log.Warn("webhooks: another replica works for the endpoint now")
		default:
			log.Warn("webhooks: the work was broken off; taking it up again", "error", err)
		}
		pause(ctx, restartWait)
	}
}
