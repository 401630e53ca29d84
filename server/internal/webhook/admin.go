// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	"github.com/classrec/classrec/server/internal/store"
)

var (
	// ErrEndpoint means that no endpoint of the name is configured.
	ErrEndpoint = errors.New("no such endpoint")
	// ErrDelivery means that no delivery of the name is kept.
	ErrDelivery = errors.New("no such delivery")
	// ErrEventNotKept means that the log does not have the event any more.
	ErrEventNotKept = errors.New("the event is not kept any more")
	// ErrPageToken means that a page token is not from the list.
	ErrPageToken = errors.New("page token is not from this list")
)

const (
	defaultPageSize = 50
	maxPageSize     = 1000
	// maxRedeliver is how many deliveries RedeliverFailed takes at a time.
	maxRedeliver = 1000
	// maxAsks is how often a delivery that changes is asked for again.
	maxAsks = 20
)

// Endpoints returns all endpoints, in the order of the configuration, as they
// were when their state was last stored, by whichever process.
//
// Errors: [store.ErrUnavailable]; ctx's.
func (d *Dispatcher) Endpoints(ctx context.Context) ([]*adminv1.WebhookEndpoint, error) {
	list := make([]*adminv1.WebhookEndpoint, 0, len(d.endpoints))
	for _, e := range d.endpoints {
		state, _, err := e.state.Endpoint(ctx, e.Name)
		if err != nil {
			return nil, err
		}
		list = append(list, &adminv1.WebhookEndpoint{
			Name: endpointName(e.Name), Tenant: e.Tenant, Target: e.target.origin, Events: e.Events, Rooms: e.Rooms, Status: state.GetStatus(),
		})
	}
	return list, nil
}

// TenantOf returns the tenant of an endpoint.
//
// Errors: ErrEndpoint.
func (d *Dispatcher) TenantOf(endpoint string) (string, error) {
	e, err := d.endpoint(endpoint)
	if err != nil {
		return "", err
	}
	return e.Tenant, nil
}

// Deliveries returns one page of the deliveries to an endpoint, the newest
// event first, and the token of the next page or "".
//
// Errors: ErrEndpoint, ErrPageToken; [store.ErrUnavailable]; ctx's.
func (d *Dispatcher) Deliveries(ctx context.Context, req *adminv1.ListWebhookDeliveriesRequest) ([]*adminv1.WebhookDelivery, string, error) {
	e, err := d.endpoint(req.GetParent())
	if err != nil {
		return nil, "", err
	}
	token, err := parsePageToken(req)
	if err != nil {
		return nil, "", err
	}
	size := int(req.GetPageSize())
	if size == 0 {
		size = defaultPageSize
	}
	size = min(size, maxPageSize)
	filter := store.DeliveryFilter{State: int(req.GetState()), Sequence: token.at.revision, Kind: token.at.index}
	found, err := d.scan(ctx, e, filter, size+1, func(delivery *adminv1.WebhookDelivery) bool {
		return req.GetRecording() == "" || delivery.GetRecording() == req.GetRecording()
	})
	if err != nil {
		return nil, "", err
	}
	next := ""
	if len(found) > size {
		found = found[:size]
		next = pageToken{at: placeOf(found[size-1].Record), filter: filterHash(req)}.String()
	}
	page := make([]*adminv1.WebhookDelivery, 0, len(found))
	for _, stored := range found {
		page = append(page, stored.Record.GetDelivery())
	}
	return page, next, nil
}

// Delivery returns one delivery.
//
// Errors: ErrEndpoint, ErrDelivery; [store.ErrUnavailable]; ctx's.
func (d *Dispatcher) Delivery(ctx context.Context, name string) (*adminv1.WebhookDelivery, error) {
	_, stored, err := d.delivery(ctx, name)
	if err != nil {
		return nil, err
	}
	return stored.Record.GetDelivery(), nil
}

// Redeliver asks for a delivery to be sent again, whatever became of it; the
// process that works for the endpoint sees that. It returns the delivery, which
// is pending.
//
// Errors: ErrEndpoint, ErrDelivery, ErrEventNotKept; [store.ErrUnavailable],
// also when the delivery changes all the time; ctx's.
func (d *Dispatcher) Redeliver(ctx context.Context, name string) (*adminv1.WebhookDelivery, error) {
	for range maxAsks {
		e, stored, err := d.delivery(ctx, name)
		if err != nil {
			return nil, err
		}
		asked, err := e.ask(ctx, stored)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		return asked, err
	}
	return nil, fmt.Errorf("%w: the delivery changes all the time", store.ErrUnavailable)
}

// RedeliverFailed asks for deliveries to an endpoint that were given up to be
// sent again: those whose event was logged at since or later, oldest first,
// 1,000 at most. It returns for how many it did, for how many it could not
// because the log does not have their event any more, and whether there are
// more.
//
// Errors: ErrEndpoint; [store.ErrUnavailable]; ctx's. Some may have been asked
// for then.
func (d *Dispatcher) RedeliverFailed(ctx context.Context, endpoint string, since time.Time) (asked, notKept int, more bool, err error) {
	e, err := d.endpoint(endpoint)
	if err != nil {
		return 0, 0, false, err
	}
	var after place
	for {
		filter := store.DeliveryFilter{State: int(failed), Oldest: true, Sequence: after.revision, Kind: after.index}
		found, err := d.scan(ctx, e, filter, maxRedeliver+1, func(delivery *adminv1.WebhookDelivery) bool {
			return !delivery.GetEventTime().AsTime().Before(since)
		})
		if err != nil {
			return asked, notKept, false, err
		}
		for _, stored := range found {
			if asked == maxRedeliver {
				return asked, notKept, true, nil
			}
			after = placeOf(stored.Record)
			_, err := e.ask(ctx, stored)
			switch {
			case err == nil:
				asked++
			case errors.Is(err, ErrEventNotKept):
				notKept++
			case !errors.Is(err, store.ErrConflict): // else somebody else has asked for it
				return asked, notKept, false, err
			}
		}
		if len(found) <= maxRedeliver {
			return asked, notKept, false, nil
		}
	}
}

// ask stores that a delivery is to be sent again. Errors: store.ErrConflict
// when it has changed; ErrEventNotKept.
func (e *endpoint) ask(ctx context.Context, stored *store.Delivery) (*adminv1.WebhookDelivery, error) {
	if _, err := e.entry(ctx, stored.Record); err != nil {
		if errors.Is(err, store.ErrNotKept) {
			return nil, ErrEventNotKept
		}
		return nil, err
	}
	next, err := e.put(ctx, askAgain(stored.Record, time.Now()), stored.Revision)
	if err != nil {
		return nil, err
	}
	return next.Record.GetDelivery(), nil
}

func (d *Dispatcher) endpoint(name string) (*endpoint, error) {
	for _, e := range d.endpoints {
		if endpointName(e.Name) == name {
			return e, nil
		}
	}
	return nil, ErrEndpoint
}

func (d *Dispatcher) delivery(ctx context.Context, name string) (*endpoint, *store.Delivery, error) {
	endpoint, id, ok := strings.Cut(name, "/deliveries/")
	if !ok {
		return nil, nil, ErrDelivery
	}
	e, err := d.endpoint(endpoint)
	if err != nil {
		return nil, nil, err
	}
	stored, err := e.state.Delivery(ctx, e.Name, id)
	if errors.Is(err, store.ErrNotKept) {
		return nil, nil, ErrDelivery
	}
	return e, stored, err
}

// scan returns the first limit deliveries to an endpoint that match, from a place
// on, newest event first, or oldest first.
func (d *Dispatcher) scan(ctx context.Context, e *endpoint, f store.DeliveryFilter, limit int, matches func(*adminv1.WebhookDelivery) bool) (found []*store.Delivery, err error) {
	for f.Limit = maxPageSize + 1; len(found) < limit; {
		read, err := e.state.Deliveries(ctx, e.Name, f)
		if err != nil {
			return nil, err
		}
		for _, stored := range read {
			if len(found) < limit && matches(stored.Record.GetDelivery()) {
				found = append(found, stored)
			}
			at := placeOf(stored.Record)
			f.Sequence, f.Kind = at.revision, at.index
		}
		if len(read) < f.Limit {
			break
		}
	}
	return found, nil
}

// pageToken is where a page ended. It holds for one filter.
type pageToken struct {
	at     place
	filter []byte
}

type pageTokenJSON struct {
	Revision uint64 `json:"r"`
	Index    int    `json:"i"`
	Filter   []byte `json:"q"`
}

func (t pageToken) String() string {
	raw, err := json.Marshal(pageTokenJSON{t.at.revision, t.at.index, t.filter})
	if err != nil {
		return "" // it holds nothing that JSON cannot
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

func parsePageToken(req *adminv1.ListWebhookDeliveriesRequest) (pageToken, error) {
	if req.GetPageToken() == "" {
		return pageToken{}, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(req.GetPageToken())
	if err != nil {
		return pageToken{}, ErrPageToken
	}
	var t pageTokenJSON
	if err := json.Unmarshal(raw, &t); err != nil || !slices.Equal(t.Filter, filterHash(req)) || t.Revision == 0 {
		return pageToken{}, ErrPageToken
	}
	return pageToken{at: place{t.Revision, t.Index}, filter: t.Filter}, nil
}

// filterHash identifies what a page token belongs to.
func filterHash(req *adminv1.ListWebhookDeliveriesRequest) []byte {
	filter := &adminv1.ListWebhookDeliveriesRequest{Parent: req.GetParent(), State: req.GetState(), Recording: req.GetRecording()}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(filter)
	if err != nil {
		return nil
	}
	sum := sha256.Sum256(raw)
	return sum[:8]
}
