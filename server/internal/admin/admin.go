// SPDX-License-Identifier: Apache-2.0

// Package admin answers the calls of classrec.admin.v1: WebhookService and
// RoomService.
//
// It is the thin edge between gRPC and packages webhook and recording: requests
// have passed their field rules, and what goes wrong gets the reason and the kind
// that package service makes a code of. What is of a tenant or room that the
// caller does not see does not exist for him. It leaves all else to those.
package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	"github.com/classrec/classrec/server/internal/recording"
	"github.com/classrec/classrec/server/internal/store"
	"github.com/classrec/classrec/server/internal/webhook"
)

// Service implements classrec.admin.v1.WebhookService.
type Service struct {
	adminv1.UnimplementedWebhookServiceServer

	webhooks *webhook.Dispatcher
	rooms    *Rooms
}

// New returns a service over webhooks and the recordings of each tenant, which the
// caller runs.
func New(webhooks *webhook.Dispatcher, rooms *Rooms) *Service {
	return &Service{webhooks: webhooks, rooms: rooms}
}

// Register adds the service to a gRPC server, which has the interceptors of
// package service.
func (s *Service) Register(r grpc.ServiceRegistrar) {
	adminv1.RegisterWebhookServiceServer(r, s)
	adminv1.RegisterRoomServiceServer(r, s.rooms)
}

// ListWebhookEndpoints implements classrec.admin.v1.WebhookService.
func (s *Service) ListWebhookEndpoints(ctx context.Context, _ *adminv1.ListWebhookEndpointsRequest) (*adminv1.ListWebhookEndpointsResponse, error) {
	endpoints, err := s.webhooks.Endpoints(ctx)
	if err != nil {
		return nil, public(err, "")
	}
	endpoints = slices.DeleteFunc(endpoints, func(e *adminv1.WebhookEndpoint) bool { return !seesAll(ctx, e.GetTenant()) })
	return &adminv1.ListWebhookEndpointsResponse{Endpoints: endpoints}, nil
}

// ListWebhookDeliveries implements classrec.admin.v1.WebhookService.
func (s *Service) ListWebhookDeliveries(ctx context.Context, req *adminv1.ListWebhookDeliveriesRequest) (*adminv1.ListWebhookDeliveriesResponse, error) {
	if err := s.sees(ctx, req.GetParent()); err != nil {
		return nil, public(err, req.GetParent())
	}
	page, token, err := s.webhooks.Deliveries(ctx, req)
	if err != nil {
		return nil, public(err, req.GetParent())
	}
	return &adminv1.ListWebhookDeliveriesResponse{Deliveries: page, NextPageToken: token}, nil
}

// GetWebhookDelivery implements classrec.admin.v1.WebhookService.
func (s *Service) GetWebhookDelivery(ctx context.Context, req *adminv1.GetWebhookDeliveryRequest) (*adminv1.GetWebhookDeliveryResponse, error) {
	if err := s.sees(ctx, req.GetName()); err != nil {
		return nil, public(err, req.GetName())
	}
	delivery, err := s.webhooks.Delivery(ctx, req.GetName())
	if err != nil {
		return nil, public(err, req.GetName())
	}
	return &adminv1.GetWebhookDeliveryResponse{Delivery: delivery}, nil
}

// RedeliverWebhook implements classrec.admin.v1.WebhookService.
func (s *Service) RedeliverWebhook(ctx context.Context, req *adminv1.RedeliverWebhookRequest) (*adminv1.RedeliverWebhookResponse, error) {
	if err := s.sees(ctx, req.GetName()); err != nil {
		return nil, public(err, req.GetName())
	}
	delivery, err := s.webhooks.Redeliver(ctx, req.GetName())
	if err != nil {
		return nil, public(err, req.GetName())
	}
	return &adminv1.RedeliverWebhookResponse{Delivery: delivery}, nil
}

// RedeliverFailedWebhooks implements classrec.admin.v1.WebhookService.
func (s *Service) RedeliverFailedWebhooks(ctx context.Context, req *adminv1.RedeliverFailedWebhooksRequest) (*adminv1.RedeliverFailedWebhooksResponse, error) {
	if err := s.sees(ctx, req.GetParent()); err != nil {
		return nil, public(err, req.GetParent())
	}
	var since time.Time
	if req.GetSince() != nil {
		since = req.GetSince().AsTime()
	}
	asked, notKept, more, err := s.webhooks.RedeliverFailed(ctx, req.GetParent(), since)
	if err != nil {
		return nil, public(err, req.GetParent())
	}
	return &adminv1.RedeliverFailedWebhooksResponse{RedeliveredCount: int32(asked), NotKeptCount: int32(notKept), More: more}, nil //nolint:gosec // both are bounded by the size of a call
}

// sees refuses an endpoint, or a delivery to one, that does not exist for the
// caller, in the words of one that there is not.
func (s *Service) sees(ctx context.Context, name string) error {
	endpoint, _, _ := strings.Cut(name, "/deliveries/")
	tenant, err := s.webhooks.TenantOf(endpoint)
	if err == nil && !seesAll(ctx, tenant) {
		err = webhook.ErrEndpoint
	}
	return err
}

// seesAll says whether the caller is told of an endpoint of a tenant: it is told
// of any of the tenant's rooms, so he has to see all.
func seesAll(ctx context.Context, tenant string) bool {
	who := caller(ctx)
	return who.SeesTenant(tenant) && who.SeesAllRooms()
}

// public gives an error the form that package service makes a code of; name is
// what the call was about.
func public(err error, name string) error {
	var e *recording.Error
	switch {
	case errors.Is(err, webhook.ErrEndpoint):
		e = &recording.Error{Kind: recording.KindNotFound, Reason: "ENDPOINT_NOT_FOUND", Message: "no such endpoint is configured: " + name}
	case errors.Is(err, webhook.ErrDelivery):
		e = &recording.Error{Kind: recording.KindNotFound, Reason: "DELIVERY_NOT_FOUND", Message: "no such delivery is kept: " + name}
	case errors.Is(err, webhook.ErrEventNotKept):
		e = &recording.Error{Kind: recording.KindFailedPrecondition, Reason: "EVENT_NOT_KEPT", Message: "the log does not have the event any more: " + name}
	case errors.Is(err, webhook.ErrPageToken):
		e = &recording.Error{Kind: recording.KindInvalidArgument, Reason: "INVALID_PAGE_TOKEN", Field: "page_token", Message: "page_token is not from this list"}
	case errors.Is(err, store.ErrUnavailable):
		e = &recording.Error{Kind: recording.KindUnavailable, Reason: "STORE_UNAVAILABLE", Message: "the store cannot be asked now", RetryAfter: time.Second}
	default:
		return err
	}
	if name != "" {
		e.Metadata = map[string]string{"name": name}
	}
	return fmt.Errorf("%w (%w)", e, err)
}
