// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/classrec/classrec/server/internal/auth"
	"github.com/classrec/classrec/server/internal/webhook"
)

// openWebhooks makes what tells the endpoints of [Config.WebhooksFile]. An
// endpoint that is new gets what happens from here on.
func (s *Server) openWebhooks(ctx context.Context) error {
	log := s.cfg.Logger.With("part", "webhooks")
	endpoints, err := readWebhooks(s.cfg.WebhooksFile, s.isTenant, log)
	if err != nil {
		return err
	}
	s.webhooks, err = webhook.Open(ctx, s.store, webhook.Config{
		Endpoints: endpoints,
		HandOut:   s.links.sent,
		Grace:     min(2*time.Second, s.cfg.ShutdownTimeout/5),
		Logger:    log,
	})
	if err != nil {
		return fmt.Errorf("--webhooks-file: %s: %w", s.cfg.WebhooksFile, err)
	}
	s.parts.add(part{name: "webhooks", run: s.webhooks.Run})
	return nil
}

// readWebhooks reads [Config.WebhooksFile]. An error names the line, and never
// what stands there: it may be a secret.
func readWebhooks(path string, isTenant func(string) bool, logger *slog.Logger) ([]webhook.Endpoint, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--webhooks-file: %w", err)
	}
	endpoints, err := parseWebhooks(text, isTenant)
	if err != nil {
		return nil, fmt.Errorf("--webhooks-file: %s: %w", path, err)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		logger.Warn("the file of webhooks has secrets, and others may read it; chmod 600 it",
			slog.String("file", path), slog.String("mode", info.Mode().Perm().String()))
	}
	return endpoints, nil
}

func parseWebhooks(text []byte, isTenant func(string) bool) (endpoints []webhook.Endpoint, err error) {
	root, err := parseYAML(text)
	if err != nil {
		return nil, err
	}
	return endpoints, eachKey(root, func(key string, value ast.Node) error {
		if key != "endpoints" {
			return errors.New("has a key that is not endpoints")
		}
		return eachItem(value, func(item ast.Node) error {
			e, err := parseEndpoint(item)
			if err == nil && !isTenant(e.Tenant) {
				err = errors.New("has an endpoint of a tenant that there is not")
			}
			endpoints = append(endpoints, e)
			return err
		})
	})
}

func parseEndpoint(node ast.Node) (e webhook.Endpoint, err error) {
	e.Tenant = auth.DefaultTenant
	return e, eachKey(node, func(key string, value ast.Node) (err error) {
		switch key {
		case "name":
			e.Name, err = scalar(value)
		case "tenant":
			e.Tenant, err = scalar(value)
		case "url":
			e.URL, err = scalar(value)
		case "secrets":
			err = eachScalar(value, func(text string) error {
				secret, err := webhook.ParseSecret(text)
				e.Secrets = append(e.Secrets, secret)
				return err
			})
		case "events":
			err = eachScalar(value, func(text string) error { e.Events = append(e.Events, text); return nil })
		case "rooms":
			err = eachScalar(value, func(text string) error { e.Rooms = append(e.Rooms, text); return nil })
		case "allow_addresses":
			err = eachScalar(value, func(text string) error {
				prefix, err := parsePrefix(text)
				e.AllowAddresses = append(e.AllowAddresses, prefix)
				return err
			})
		case "timeout":
			e.Timeout, err = duration(value)
		case "retry_for":
			e.RetryFor, err = duration(value)
		case "headers":
			e.Headers = map[string]string{}
			err = eachKey(value, func(name string, value ast.Node) (err error) {
				e.Headers[name], err = scalar(value)
				return err
			})
		case "ca_file":
			var file string
			if file, err = scalar(value); err == nil {
				e.RootCAs, err = rootsFrom(file)
			}
		default:
			err = errors.New("has a key that is none of name, tenant, url, secrets, events, rooms, allow_addresses, timeout, retry_for, headers, ca_file")
		}
		return err
	})
}

// parsePrefix reads a network, or one address.
func parsePrefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a.WithZone(""), a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, errors.New("has a network that is not address/bits")
	}
	return p.Masked(), nil
}

// webhookMetrics tells Prometheus what is counted of each endpoint.
type webhookMetrics struct {
	webhooks *webhook.Dispatcher

	attempts, givenUp, skipped, pending *prometheus.Desc
}

func newWebhookMetrics(webhooks *webhook.Dispatcher) *webhookMetrics {
	return &webhookMetrics{
		webhooks: webhooks,
		attempts: prometheus.NewDesc("classrec_webhook_attempts_total",
			"Attempts to send an event to an endpoint; outcome is delivered or failed.", []string{"endpoint", "outcome"}, nil),
		givenUp: prometheus.NewDesc("classrec_webhook_given_up_total",
			"Events that were given up.", []string{"endpoint"}, nil),
		skipped: prometheus.NewDesc("classrec_webhook_skips_total",
			"How often the log had forgotten events before they were looked at.", []string{"endpoint"}, nil),
		pending: prometheus.NewDesc("classrec_webhook_pending",
			"Events that this process has taken for an endpoint and that are neither delivered nor given up.", []string{"endpoint"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *webhookMetrics) Describe(c chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{m.attempts, m.givenUp, m.skipped, m.pending} {
		c <- desc
	}
}

// Collect implements prometheus.Collector.
func (m *webhookMetrics) Collect(c chan<- prometheus.Metric) {
	for _, s := range m.webhooks.Stats() {
		count := func(desc *prometheus.Desc, n uint64, labels ...string) {
			c <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), append([]string{s.Endpoint}, labels...)...)
		}
		count(m.attempts, s.Delivered, "delivered")
		count(m.attempts, s.Failed, "failed")
		count(m.givenUp, s.GivenUp)
		count(m.skipped, s.Skipped)
		c <- prometheus.MustNewConstMetric(m.pending, prometheus.GaugeValue, float64(s.Pending), s.Endpoint)
	}
}
