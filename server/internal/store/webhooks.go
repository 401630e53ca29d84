// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	storev1 "github.com/classrec/classrec/gen/go/classrec/store/v1"
)

// Webhooks keeps how far the webhooks of a tenant have come: for each endpoint
// a cursor in the history, and for each delivery its state, which is kept for 7
// days after its last change.
//
// Writes are conditional on the revision of what they replace, so that of two
// processes that write the same one learns of the other.
type Webhooks struct {
	s      *Store
	tenant string
}

// Delivery is the state of one delivery, and the revision that a write has to
// name to replace it. Nobody may change it.
type Delivery struct {
	Record   *storev1.WebhookDeliveryRecord
	Revision uint64
}

// Webhooks returns what is kept of the tenant's webhooks.
//
// Errors: ErrInvalid for a tenant that is no token.
func (s *Store) Webhooks(tenant string) (*Webhooks, error) {
	if !isToken(tenant) {
		return nil, fmt.Errorf("open webhooks: %w: tenant %q", ErrInvalid, tenant)
	}
	return &Webhooks{s: s, tenant: tenant}, nil
}

const (
	selectCursor = `SELECT revision, body, crc FROM webhook_cursor WHERE tenant = $1 AND endpoint = $2`
	insertCursor = `INSERT INTO webhook_cursor (tenant, endpoint, revision, body, crc) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`
	updateCursor = `UPDATE webhook_cursor SET revision = $1, body = $2, crc = $3 WHERE tenant = $4 AND endpoint = $5 AND revision = $6`

	deliveryColumns   = `revision, body, crc`
	selectDeliveryRow = `SELECT ` + deliveryColumns + ` FROM delivery WHERE tenant = $1 AND endpoint = $2 AND id = $3`
	insertDelivery    = `INSERT INTO delivery (tenant, endpoint, sequence, kind, id, state, revision, changed, body, crc)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`
	updateDelivery = `UPDATE delivery SET sequence = $1, kind = $2, state = $3, revision = $4, changed = $5, body = $6, crc = $7
		WHERE tenant = $8 AND endpoint = $9 AND id = $10 AND revision = $11`
)

// Endpoint returns the state of an endpoint and its revision.
//
// Errors: ErrNotKept when there is none; ErrDataLoss; ErrUnavailable; ctx's.
func (w *Webhooks) Endpoint(ctx context.Context, endpoint string) (*storev1.WebhookEndpointState, uint64, error) {
	asking, done := w.s.asking(ctx)
	defer done()
	var revision uint64
	var body []byte
	var crc int64
	err := w.s.db.row(asking, []any{&revision, &body, &crc}, selectCursor, w.tenant, endpoint)
	state := new(storev1.WebhookEndpointState)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, 0, fmt.Errorf("the state of endpoint %s %w", endpoint, ErrNotKept)
	case err != nil:
		return nil, 0, fmt.Errorf("read the state of endpoint %s: %w", endpoint, w.s.because(ctx, err))
	case crc != checksum(body, revision) || proto.Unmarshal(body, state) != nil || state.GetEndpoint() != endpoint:
		w.s.damaged("how far a webhook endpoint has come", "tenant", w.tenant, "endpoint", endpoint)
		return nil, revision, fmt.Errorf("read the state of endpoint %s: %w", endpoint, ErrDataLoss)
	}
	return state, revision, nil
}

// PutEndpoint replaces the state of an endpoint, whose revision has to be the
// given one, 0 for none, and returns its new revision.
//
// Errors: ErrConflict when the revision is another one; ErrInvalid;
// ErrUnavailable; ctx's. After the last two it may or may not have been stored.
func (w *Webhooks) PutEndpoint(ctx context.Context, state *storev1.WebhookEndpointState, revision uint64) (uint64, error) {
	body, err := proto.Marshal(state)
	if err != nil || state.GetTenant() != w.tenant || !isToken(state.GetEndpoint()) {
		return 0, fmt.Errorf("store the state of an endpoint: %w: endpoint %q", ErrInvalid, state.GetEndpoint())
	}
	var stored uint64
	err = w.s.submit(ctx, func(b *batch) error {
		next := b.revision + 1
		n, err := int64(0), error(nil)
		if revision == 0 {
			n, err = b.exec(insertCursor, w.tenant, state.GetEndpoint(), next, body, checksum(body, next))
		} else {
			n, err = b.exec(updateCursor, next, body, checksum(body, next), w.tenant, state.GetEndpoint(), revision)
		}
		if err == nil && n == 0 {
			err = ErrConflict
		}
		if err == nil {
			b.revision, stored = next, next
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("store the state of endpoint %s: %w", state.GetEndpoint(), err)
	}
	return stored, nil
}

// Delivery returns the state of a delivery.
//
// Errors: ErrNotKept when there is none, or none any more; ErrDataLoss;
// ErrUnavailable; ctx's.
func (w *Webhooks) Delivery(ctx context.Context, endpoint, id string) (*Delivery, error) {
	found, err := w.read(ctx, selectDeliveryRow, w.tenant, endpoint, id)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read delivery %s of endpoint %s: %w", id, endpoint, err)
	case len(found) == 0:
		return nil, fmt.Errorf("delivery %s of endpoint %s %w", id, endpoint, ErrNotKept)
	}
	return found[0], nil
}

// PutDelivery replaces the state of a delivery, whose revision has to be the
// given one, 0 for none, and returns the new one. kind orders the deliveries of
// one event. rec must not be changed any more.
//
// Errors: as PutEndpoint.
func (w *Webhooks) PutDelivery(ctx context.Context, rec *storev1.WebhookDeliveryRecord, kind int, revision uint64) (*Delivery, error) {
	body, err := proto.Marshal(rec)
	if err != nil || rec.GetTenant() != w.tenant || !isToken(rec.GetEndpoint()) || !isToken(rec.GetId()) {
		return nil, fmt.Errorf("store a delivery: %w: %q of endpoint %q", ErrInvalid, rec.GetId(), rec.GetEndpoint())
	}
	state := int(rec.GetDelivery().GetState())
	var stored uint64
	err = w.s.submit(ctx, func(b *batch) error {
		next := b.revision + 1
		n, err := int64(0), error(nil)
		if revision == 0 {
			n, err = b.exec(insertDelivery, w.tenant, rec.GetEndpoint(), rec.GetRevision(), kind, rec.GetId(), state, next, b.now, body, checksum(body, next))
		} else {
			n, err = b.exec(updateDelivery, rec.GetRevision(), kind, state, next, b.now, body, checksum(body, next), w.tenant, rec.GetEndpoint(), rec.GetId(), revision)
		}
		if err == nil && n == 0 {
			err = ErrConflict
		}
		if err == nil {
			b.revision, stored = next, next
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store delivery %s of endpoint %s: %w", rec.GetId(), rec.GetEndpoint(), err)
	}
	return &Delivery{Record: rec, Revision: stored}, nil
}

// DeliveryFilter says which deliveries to an endpoint are read, and in which
// order: by event, and by kind within one.
type DeliveryFilter struct {
	// State: only in this state; 0: in any.
	State int
	// Oldest: the oldest event first; else the newest.
	Oldest bool
	// After: only those that come after this place in the order, unless it is
	// zero.
	Sequence uint64
	Kind     int
	// Limit is how many at most.
	Limit int
}

// Deliveries returns deliveries to the endpoint that match.
//
// Errors: ErrUnavailable; ErrDataLoss; ctx's.
func (w *Webhooks) Deliveries(ctx context.Context, endpoint string, f DeliveryFilter) ([]*Delivery, error) {
	order, beyond := "DESC", "<"
	if f.Oldest {
		order, beyond = "", ">"
	}
	text := `SELECT ` + deliveryColumns + ` FROM delivery WHERE tenant = $1 AND endpoint = $2`
	args := []any{w.tenant, endpoint}
	if f.State != 0 {
		args = append(args, f.State)
		text += fmt.Sprintf(" AND state = $%d", len(args))
	}
	if f.Sequence != 0 {
		args = append(args, f.Sequence, f.Kind)
		text += fmt.Sprintf(" AND (sequence, kind) %s ($%d, $%d)", beyond, len(args)-1, len(args))
	}
	args = append(args, f.Limit)
	text += fmt.Sprintf(" ORDER BY sequence %[1]s, kind %[1]s LIMIT $%[2]d", order, len(args))
	return w.read(ctx, text, args...)
}

// ChangedSince returns up to limit deliveries to the endpoint that have changed
// after a revision, in the order of their changes.
//
// Errors: as Deliveries.
func (w *Webhooks) ChangedSince(ctx context.Context, endpoint string, revision uint64, limit int) ([]*Delivery, error) {
	return w.read(ctx, `SELECT `+deliveryColumns+` FROM delivery WHERE tenant = $1 AND endpoint = $2 AND revision > $3 ORDER BY revision LIMIT $4`,
		w.tenant, endpoint, revision, limit)
}

// Changed returns a channel that is closed when a delivery may have changed.
func (w *Webhooks) Changed() <-chan struct{} { return w.s.deliveries.wait() }

// read reads deliveries. One that is damaged is logged and left out: its event is
// sent again where it is not known to be settled.
func (w *Webhooks) read(ctx context.Context, query string, args ...any) (found []*Delivery, err error) {
	asking, done := w.s.asking(ctx)
	defer done()
	err = w.s.db.query(asking, func(row scanner) error {
		d := &Delivery{Record: new(storev1.WebhookDeliveryRecord)}
		var body []byte
		var crc int64
		if err := row.Scan(&d.Revision, &body, &crc); err != nil {
			return failed(err)
		}
		if crc != checksum(body, d.Revision) || proto.Unmarshal(body, d.Record) != nil {
			w.s.damaged("the state of a webhook's delivery", "tenant", w.tenant, "revision", d.Revision)
			return nil
		}
		found = append(found, d)
		return nil
	}, query, args...)
	return found, w.s.because(ctx, err)
}

// Read returns the change of a recording with the revision.
//
// Errors: ErrNotKept when there is no such change of the tenant, or not any
// more; ErrUnavailable; ctx's.
func (w *Webhooks) Read(ctx context.Context, revision uint64) (*Entry, error) {
	e, err := w.s.event(ctx, w.tenant, revision)
	if err != nil {
		return nil, fmt.Errorf("read change %d: %w", revision, err)
	}
	return e, nil
}
