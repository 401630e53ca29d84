// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
)

const (
	endpointStream  = "CLASSREC_ENDPOINTS"
	endpointPrefix  = "classrec.endpoint."
	deliveryStream  = "CLASSREC_DELIVERIES"
	deliveryPrefix  = "classrec.delivery."
	deliveryMaxAge  = 7 * 24 * time.Hour
	deliveryTimeout = 30 * time.Second // of one whole pass over an endpoint's deliveries, without an answer
)

// Webhooks keeps how far the webhooks of a tenant have come: for each endpoint
// a cursor in the log, and for each delivery its state. Of both only the last
// state is kept. The cursor is as durable as the log. The state of a delivery
// is not waited for until it is on the disk: a crash may take back the last
// few, after which they are as they were before. It is kept for 7 days after
// its last change.
//
// Writes are conditional on the revision of what they replace, so that of two
// processes that write the same one learns of the other.
type Webhooks struct {
	s                     *Store
	tenant                string
	js                    jetstream.JetStream
	endpoints, deliveries jetstream.Stream
}

// Delivery is the state of one delivery, and the revision that a write has to
// name to replace it. Nobody may change it.
type Delivery struct {
	Record   *storev1.WebhookDeliveryRecord
	Revision uint64
}

// Webhooks opens what is kept of the tenant's webhooks, and makes what is
// missing.
//
// Errors: ErrInvalid for a tenant that is no token; ErrUnavailable.
func (s *Store) Webhooks(ctx context.Context, tenant string) (*Webhooks, error) {
	if !isToken(tenant) {
		return nil, fmt.Errorf("open webhooks: %w: tenant %q", ErrInvalid, tenant)
	}
	w := &Webhooks{s: s, tenant: tenant}
	if err := w.open(ctx); err != nil {
		return nil, fmt.Errorf("open webhooks: %w", err)
	}
	return w, nil
}

func (w *Webhooks) open(ctx context.Context) (err error) {
	if w.js, err = jetstream.New(w.s.conn); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	w.endpoints, err = w.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:              endpointStream,
		Description:       "classrec: how far each webhook endpoint has come",
		Subjects:          []string{endpointPrefix + ">"},
		Storage:           jetstream.FileStorage,
		Replicas:          w.s.cfg.Replicas,
		MaxMsgsPerSubject: 1,
		Duplicates:        100 * time.Millisecond,
	})
	if err != nil {
		return w.failed(ctx, err)
	}
	cfg := jetstream.StreamConfig{
		Name:              deliveryStream,
		Description:       "classrec: what became of each webhook",
		Subjects:          []string{deliveryPrefix + ">"},
		Storage:           jetstream.FileStorage,
		Replicas:          w.s.cfg.Replicas,
		MaxMsgsPerSubject: 1,
		MaxAge:            deliveryMaxAge,
		Duplicates:        100 * time.Millisecond,
	}
	if cfg.Replicas == 1 { // the server has it for streams of one replica only
		cfg.PersistMode = jetstream.AsyncPersistMode
	}
	if w.deliveries, err = w.js.CreateOrUpdateStream(ctx, cfg); err != nil {
		return w.failed(ctx, err)
	}
	return nil
}

// Endpoint returns the state of an endpoint and its revision.
//
// Errors: ErrNotKept when there is none; ErrUnavailable; ctx's.
func (w *Webhooks) Endpoint(ctx context.Context, endpoint string) (*storev1.WebhookEndpointState, uint64, error) {
	m, err := w.last(ctx, w.endpoints, w.endpointSubject(endpoint))
	if err != nil {
		return nil, 0, fmt.Errorf("read the state of endpoint %s: %w", endpoint, err)
	}
	state := new(storev1.WebhookEndpointState)
	if err := proto.Unmarshal(m.Data, state); err != nil {
		return nil, 0, fmt.Errorf("read the state of endpoint %s: %w: %w", endpoint, ErrInvalid, err)
	}
	return state, m.Sequence, nil
}

// PutEndpoint replaces the state of an endpoint, whose revision has to be the
// given one, 0 for none, and returns its new revision. It is on the disk then.
//
// Errors: ErrConflict when the revision is another one; ErrInvalid;
// ErrUnavailable; ctx's. After the last two it may or may not have been stored.
func (w *Webhooks) PutEndpoint(ctx context.Context, state *storev1.WebhookEndpointState, revision uint64) (uint64, error) {
	if state.GetTenant() != w.tenant || !isToken(state.GetEndpoint()) {
		return 0, fmt.Errorf("store the state of an endpoint: %w: endpoint %q", ErrInvalid, state.GetEndpoint())
	}
	stored, err := w.put(ctx, w.endpointSubject(state.GetEndpoint()), state, revision)
	if err != nil {
		return 0, fmt.Errorf("store the state of endpoint %s: %w", state.GetEndpoint(), err)
	}
	return stored, nil
}

// Delivery returns the state of a delivery.
//
// Errors: ErrNotKept when there is none, or none any more; ErrUnavailable;
// ctx's.
func (w *Webhooks) Delivery(ctx context.Context, endpoint, id string) (*Delivery, error) {
	if !isToken(endpoint) || !isToken(id) {
		return nil, ErrNotKept
	}
	m, err := w.last(ctx, w.deliveries, w.deliverySubject(endpoint, id))
	if err != nil {
		return nil, fmt.Errorf("read delivery %s of endpoint %s: %w", id, endpoint, err)
	}
	return decodeDelivery(m.Subject, m.Data, m.Sequence)
}

// PutDelivery replaces the state of a delivery, whose revision has to be the
// given one, 0 for none, and returns the new one. rec must not be changed any
// more.
//
// Errors: as PutEndpoint.
func (w *Webhooks) PutDelivery(ctx context.Context, rec *storev1.WebhookDeliveryRecord, revision uint64) (*Delivery, error) {
	if rec.GetTenant() != w.tenant || !isToken(rec.GetEndpoint()) || !isToken(rec.GetId()) {
		return nil, fmt.Errorf("store a delivery: %w: %q of endpoint %q", ErrInvalid, rec.GetId(), rec.GetEndpoint())
	}
	stored, err := w.put(ctx, w.deliverySubject(rec.GetEndpoint(), rec.GetId()), rec, revision)
	if err != nil {
		return nil, fmt.Errorf("store delivery %s of endpoint %s: %w", rec.GetId(), rec.GetEndpoint(), err)
	}
	return &Delivery{Record: rec, Revision: stored}, nil
}

// Deliveries calls fn with the state of every delivery to the endpoint that is
// kept, in the order in which they changed, until fn returns an error, which it
// returns.
//
// Other errors: ErrUnavailable, ctx's.
func (w *Webhooks) Deliveries(ctx context.Context, endpoint string, fn func(*Delivery) error) error {
	err := w.read(ctx, endpoint, func(d *Delivery) error {
		if d == nil {
			return errAllRead
		}
		return fn(d)
	})
	if errors.Is(err, errAllRead) {
		return nil
	}
	return err
}

// Follow is Deliveries that goes on: when fn has got all that is kept, it gets
// one nil, and then each change as it comes, by whichever process. It returns
// when ctx ends, or fn returns an error, or the server is lost; called again it
// begins anew.
func (w *Webhooks) Follow(ctx context.Context, endpoint string, fn func(*Delivery) error) error {
	return w.read(ctx, endpoint, fn)
}

// ErrNotKept means that there is no such change, endpoint or delivery, or not
// any more.
var ErrNotKept = errors.New("is not kept")

var errAllRead = errors.New("all has been read")

func (w *Webhooks) read(ctx context.Context, endpoint string, fn func(*Delivery) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.s.lifetime, cancel)() //nolint:contextcheck // it ends with either
	if !isToken(endpoint) {
		return fmt.Errorf("read deliveries: %w: endpoint %q", ErrInvalid, endpoint)
	}
	consumer, err := w.deliveries.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects:    []string{w.deliverySubject(endpoint, "*")},
		DeliverPolicy:     jetstream.DeliverAllPolicy,
		InactiveThreshold: deliveryTimeout,
	})
	if err != nil {
		return fmt.Errorf("read deliveries: %w", w.failed(ctx, err))
	}
	pending := consumer.CachedInfo().NumPending
	iter, err := consumer.Messages()
	if err != nil {
		return fmt.Errorf("read deliveries: %w", w.failed(ctx, err))
	}
	defer func() {
		iter.Stop()
		// If this fails, the consumer ends itself when it has been idle.
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = w.deliveries.DeleteConsumer(stop, consumer.CachedInfo().Name)
	}()
	all := false
	for {
		if pending == 0 && !all {
			all = true
			if err := fn(nil); err != nil {
				return err
			}
		}
		m, err := iter.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("read deliveries: %w", w.failed(ctx, err))
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read deliveries: %w", w.failed(ctx, err))
		}
		pending = meta.NumPending
		d, err := decodeDelivery(m.Subject(), m.Data(), meta.Sequence.Stream)
		if err != nil {
			w.s.log.Error("the state of a delivery cannot be understood and is skipped", "subject", m.Subject(), "error", err)
			continue
		}
		if err := fn(d); err != nil {
			return err
		}
	}
}

func (w *Webhooks) endpointSubject(endpoint string) string {
	return endpointPrefix + w.tenant + "." + endpoint
}

func (w *Webhooks) deliverySubject(endpoint, id string) string {
	return deliverySubject(w.tenant, endpoint, id)
}

func deliverySubject(tenant, endpoint, id string) string {
	return deliveryPrefix + tenant + "." + endpoint + "." + id
}

func decodeDelivery(subject string, data []byte, sequence uint64) (*Delivery, error) {
	rec := new(storev1.WebhookDeliveryRecord)
	if err := proto.Unmarshal(data, rec); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if deliverySubject(rec.GetTenant(), rec.GetEndpoint(), rec.GetId()) != subject {
		return nil, fmt.Errorf("%w: it does not belong to its subject", ErrInvalid)
	}
	return &Delivery{Record: rec, Revision: sequence}, nil
}

func (w *Webhooks) last(ctx context.Context, stream jetstream.Stream, subject string) (*jetstream.RawStreamMsg, error) {
	bounded, cancel := context.WithTimeout(ctx, w.s.cfg.AckTimeout)
	defer cancel()
	m, err := stream.GetLastMsgForSubject(bounded, subject)
	if err != nil {
		return nil, w.failed(ctx, err)
	}
	return m, nil
}

func (w *Webhooks) put(ctx context.Context, subject string, value proto.Message, revision uint64) (uint64, error) {
	data, err := proto.Marshal(value)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	m := nats.NewMsg(subject)
	m.Data = data
	m.Header.Set(headerExpectedSequence, strconv.FormatUint(revision, 10))
	bounded, cancel := context.WithTimeout(ctx, w.s.cfg.AckTimeout)
	defer cancel()
	for {
		ack, err := w.js.PublishMsg(bounded, m)
		switch {
		case err == nil:
			return ack.Sequence, nil
		case !isInFlight(err) || !sleep(bounded, inFlightPoll):
			return 0, w.failed(ctx, err)
		}
	}
}

// failed makes an error of NATS one of the store's; ctx is the caller's.
func (w *Webhooks) failed(ctx context.Context, err error) error {
	var api *jetstream.APIError
	switch {
	case w.s.lifetime.Err() != nil:
		return errClosed()
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return ErrNotKept
	case errors.As(err, &api) && (&apiError{Code: int(api.ErrorCode)}).isConflict():
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// Read returns the change of a recording with the revision, as the log has it.
//
// Errors: ErrNotKept when the log has no such change of the tenant, or not any
// more; ErrUnavailable; ctx's.
func (w *Webhooks) Read(ctx context.Context, revision uint64) (*Entry, error) {
	if revision == 0 || revision > w.s.LastSequence() {
		return nil, ErrNotKept
	}
	bounded, cancel := context.WithTimeout(ctx, w.s.cfg.AckTimeout)
	defer cancel()
	m, err := w.s.stream.GetMsg(bounded, revision)
	if err != nil {
		return nil, fmt.Errorf("read change %d: %w", revision, w.failed(ctx, err))
	}
	e, err := decode(m.Subject, m.Data, m.Sequence)
	if err != nil || e.key().tenant != w.tenant {
		return nil, ErrNotKept
	}
	return e, nil
}
