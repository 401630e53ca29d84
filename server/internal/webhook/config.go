// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// Config of a [Dispatcher]. The zero value works, and sends nothing.
type Config struct {
	// Endpoints are told.
	Endpoints []Endpoint
	// Parallel is how many recordings an endpoint is told of at once; default
	// 16.
	Parallel int
	// Window is how many events of an endpoint are taken from the log and not
	// settled, at most; default 1,000.
	Window int
	// RetryMin and RetryMax bound the pause after an attempt that failed: it
	// doubles from the first to the second, and is up to a quarter shorter or
	// longer at random. Default 1 s and 5 min.
	RetryMin, RetryMax time.Duration
	// Grace is how long attempts that are under way may take when the work is
	// to end; default 2 s.
	Grace time.Duration
	// HandOut makes of a tenant's recording what endpoints get of it, at the time
	// of each attempt. It must not change it. nil: the recording itself.
	HandOut func(tenant string, r *classrecv1.Recording) *classrecv1.Recording
	// Logger gets what an operator wants to know; nil discards.
	Logger *slog.Logger
}

// Endpoint is a receiver of events. Name, URL and Secrets are needed.
type Endpoint struct {
	// Name is 1 to 64 letters, digits, hyphens and underscores. What is known
	// of the endpoint is kept under it and its tenant. No two have the same.
	Name string
	// Tenant is whose recordings it is told of, and of nobody else's; default
	// "default".
	Tenant string
	// URL is where events are posted: https, or http when written so.
	URL string
	// Secrets sign each event, all of them: to change the secret, put the new
	// one before the old one, let the receiver change, and remove the old one.
	Secrets []Secret
	// Events are the types that are sent; empty for all.
	Events []string
	// Rooms are patterns of the rooms whose events are sent, as path.Match has
	// them (`math-*`); empty for all.
	Rooms []string
	// AllowAddresses are networks that may be talked to though they are not
	// public.
	AllowAddresses []netip.Prefix
	// Timeout bounds one attempt as a whole; default 15 s, at most 5 min.
	Timeout time.Duration
	// RetryFor is how long an event is sent again, counted from when it was
	// logged or last asked for; default 24 h, at most 7 days.
	RetryFor time.Duration
	// Headers are sent too, an Authorization say.
	Headers map[string]string
	// RootCAs are trusted instead of the system's; nil for those.
	RootCAs *x509.CertPool
}

const (
	defaultTimeout  = 15 * time.Second
	maxTimeout      = 5 * time.Minute
	defaultRetryFor = 24 * time.Hour
	maxRetryFor     = 7 * 24 * time.Hour
	maxSecrets      = 8
)

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	if c.Parallel <= 0 {
		c.Parallel = 16
	}
	if c.Window <= 0 {
		c.Window = 1000
	}
	def(&c.RetryMin, time.Second)
	def(&c.RetryMax, 5*time.Minute)
	def(&c.Grace, 2*time.Second)
	if c.HandOut == nil {
		c.HandOut = func(_ string, r *classrecv1.Recording) *classrecv1.Recording { return r }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func newEndpoint(cfg Config, e Endpoint) (*endpoint, error) {
	if !isToken(e.Name) {
		return nil, errors.New("the name is not 1 to 64 letters, digits, - and _")
	}
	if e.Tenant == "" {
		e.Tenant = "default"
	}
	if !isToken(e.Tenant) {
		return nil, errors.New("the tenant is not 1 to 64 letters, digits, - and _")
	}
	if len(e.Secrets) == 0 || len(e.Secrets) > maxSecrets {
		return nil, fmt.Errorf("it has not 1 to %d secrets", maxSecrets)
	}
	if slices.ContainsFunc(e.Secrets, Secret.isZero) {
		return nil, errors.New("a secret is empty")
	}
	for _, typ := range e.Events {
		if !slices.Contains(Types(), typ) {
			return nil, fmt.Errorf("%q is none of %s", typ, strings.Join(Types(), ", "))
		}
	}
	if len(e.Events) == 0 {
		e.Events = Types()
	}
	for _, pattern := range e.Rooms {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return nil, fmt.Errorf("%q is not a pattern of rooms", pattern)
		}
	}
	for _, prefix := range e.AllowAddresses {
		if !prefix.IsValid() || prefix.Addr().Is4In6() {
			return nil, errors.New("an allowed network is not one")
		}
	}
	if e.Timeout < 0 || e.Timeout > maxTimeout {
		return nil, fmt.Errorf("the timeout is not within %v", maxTimeout)
	}
	if e.Timeout == 0 {
		e.Timeout = defaultTimeout
	}
	if e.RetryFor < 0 || e.RetryFor > maxRetryFor {
		return nil, fmt.Errorf("the time to retry for is not within %v", maxRetryFor)
	}
	if e.RetryFor == 0 {
		e.RetryFor = defaultRetryFor
	}
	if err := checkHeaders(e.Headers); err != nil {
		return nil, err
	}
	t, err := newTarget(e, cfg.Parallel)
	if err != nil {
		return nil, err
	}
	return &endpoint{Endpoint: e, target: t}, nil
}

// ownHeaders are made here, or by the connection.
func ownHeaders() []string {
	return []string{
		"content-type", "content-length", "content-encoding", "host", "connection", "transfer-encoding", "trailer", "te",
		"upgrade", "expect", "keep-alive", "proxy-connection",
	}
}

func checkHeaders(headers map[string]string) error {
	for name, value := range headers {
		lower := strings.ToLower(name)
		switch {
		case name == "" || strings.ContainsFunc(name, func(r rune) bool { return !isHeaderRune(r) }):
			return errors.New("the name of a header is not one")
		case slices.Contains(ownHeaders(), lower) || strings.HasPrefix(lower, "webhook-"):
			return fmt.Errorf("the header %s cannot be configured", lower)
		case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r >= 0x7f }):
			return fmt.Errorf("the header %s has a character that cannot be", lower)
		}
	}
	return nil
}

// isHeaderRune tells a character of a token (RFC 9110 section 5.6.2).
func isHeaderRune(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// isToken tells what may be part of a name.
func isToken(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// wantsRoom tells whether the endpoint gets events of the room.
func (e *endpoint) wantsRoom(room string) bool {
	return len(e.Rooms) == 0 || slices.ContainsFunc(e.Rooms, func(pattern string) bool {
		ok, err := path.Match(pattern, room)
		return ok && err == nil
	})
}

// wants tells whether the endpoint gets events of the type.
func (e *endpoint) wants(typ string) bool { return slices.Contains(e.Events, typ) }
