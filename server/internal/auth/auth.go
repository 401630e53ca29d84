// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config of an [Authenticator]. The zero value asks nobody who he is.
type Config struct {
	// TokensFile has the API tokens. Where it is not there and TokensRequired is
	// not set, tokens are off until it is. "": no tokens.
	TokensFile     string
	TokensRequired bool
	// Issuers are those whose JSON Web Tokens count.
	Issuers []Issuer
	// Certificates are those whom a verified TLS client certificate may name.
	Certificates []Certificate
	// Now is the time of day. nil: time.Now.
	Now func() time.Time
	// Logger gets what goes wrong with files and keys, never a credential. nil
	// discards.
	Logger *slog.Logger
}

// Authenticator finds out who makes a call. It is safe for concurrent use.
type Authenticator struct {
	now          func() time.Time
	log          *slog.Logger
	tokens       *tokenTable
	issuers      map[string]*issuer
	certificates map[string]Principal

	mu        sync.Mutex
	following map[*follower]struct{}
}

// New returns an authenticator. It asks nobody anything yet.
func New(cfg Config) (*Authenticator, error) {
	a := &Authenticator{now: cfg.Now, log: cfg.Logger, following: map[*follower]struct{}{}}
	if a.now == nil {
		a.now = time.Now
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.tokens = &tokenTable{file: TokenFile{cfg.TokensFile}, required: cfg.TokensRequired, log: a.log}
	if cfg.TokensFile != "" {
		if err := a.tokens.load(); err != nil {
			return nil, err
		}
	}
	var err error
	if a.issuers, err = newIssuers(cfg.Issuers, a.now, a.log); err != nil {
		return nil, err
	}
	a.certificates, err = newCertificates(cfg.Certificates)
	return a, err
}

// Run ends what [Authenticator.Follow] follows when its token is revoked, until
// ctx ends, which is nil.
func (a *Authenticator) Run(ctx context.Context) error {
	ticker := time.NewTicker(tokenCheckEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			a.check()
		}
	}
}

// On says whether anybody is asked who he is.
func (a *Authenticator) On() bool {
	return len(a.issuers) > 0 || len(a.certificates) > 0 || a.tokens.on()
}

// Credentials are what a call came with.
type Credentials struct {
	// Authorization are the values of the header, or of the metadata.
	Authorization []string
	// Certificate is the client's, which TLS has verified; or nil.
	Certificate *x509.Certificate
}

// Grant is a credential that counts.
type Grant struct {
	Principal

	expires time.Time // zero: never
	tokenID string    // of an API token; else ""
}

// Authenticate returns who has the credentials: [Anonymous] while nobody is
// asked. A bearer token goes before a certificate. The error is an [*Error], or
// ctx's.
func (a *Authenticator) Authenticate(ctx context.Context, c Credentials) (Grant, error) {
	if !a.On() {
		return Grant{Principal: Anonymous()}, nil
	}
	switch {
	case len(c.Authorization) > 1:
		return Grant{}, errInvalid()
	case len(c.Authorization) == 1:
		scheme, token, _ := strings.Cut(c.Authorization[0], " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return Grant{}, errInvalid()
		}
		return a.bearer(ctx, strings.TrimSpace(token))
	case c.Certificate != nil:
		return a.certificate(c.Certificate)
	}
	return Grant{}, errMissing()
}

func (a *Authenticator) bearer(ctx context.Context, text string) (Grant, error) {
	if !strings.HasPrefix(text, TokenPrefix) {
		return a.jwt(ctx, text)
	}
	id, ok := tokenID(text)
	if !ok {
		return Grant{}, errInvalid()
	}
	token, known := a.tokens.find(id)
	if same := token.is(text); !known || !same {
		return Grant{}, errInvalid()
	}
	if err := a.state(token); err != nil {
		return Grant{}, err
	}
	return Grant{
		Principal: Principal{
			Name: cmp.Or(token.Name, token.ID), Kind: KindToken, Tenant: token.Tenant,
			Scopes: slices.Clone(token.Scopes), Rooms: slices.Clone(token.Rooms),
		},
		expires: token.Expires, tokenID: token.ID,
	}, nil
}

func (a *Authenticator) state(t Token) error {
	switch t.State(a.now()) {
	case "revoked":
		return errRevoked()
	case "expired":
		return errExpired()
	}
	return nil
}

// follower is somebody whose credential has to go on counting.
type follower struct {
	tokenID string
	end     context.CancelCauseFunc
}

// Follow returns a context that ends, with an [*Error] as its cause, when the
// grant does: at its time, or within seconds of a token's being revoked. The
// caller calls stop when he is done.
func (a *Authenticator) Follow(ctx context.Context, g Grant) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := func() { cancel(nil) }
	if !g.expires.IsZero() {
		timer := time.AfterFunc(max(0, g.expires.Sub(a.now())), func() { cancel(errExpired()) })
		before := done
		done = func() { timer.Stop(); before() }
	}
	if g.tokenID == "" {
		return ctx, done
	}
	f := &follower{tokenID: g.tokenID, end: cancel}
	a.mu.Lock()
	a.following[f] = struct{}{}
	a.mu.Unlock()
	return ctx, func() {
		a.mu.Lock()
		delete(a.following, f)
		a.mu.Unlock()
		done()
	}
}

// Ended is why a context of [Authenticator.Follow] ended, if that was the
// grant's end; else nil.
func Ended(ctx context.Context) error {
	var refusal *Error
	if errors.As(context.Cause(ctx), &refusal) {
		return refusal
	}
	return nil
}

// check ends those whose token does not count any more.
func (a *Authenticator) check() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for f := range a.following {
		token, known := a.tokens.find(f.tokenID)
		if !known {
			f.end(errRevoked())
		} else if err := a.state(token); err != nil {
			f.end(err)
		}
	}
}

// Certificate maps a TLS client certificate to who its holder is.
type Certificate struct {
	// Name is a DNS name, a URI, an e-mail address, or where it has none of
	// these the common name of the certificate.
	Name   string
	Tenant string
	Scopes []Scope
	Rooms  []string
}

func newCertificates(list []Certificate) (map[string]Principal, error) {
	byName := make(map[string]Principal, len(list))
	for i, c := range list {
		at := func(err error) error { return fmt.Errorf("certificate %d: %w", i+1, err) }
		if c.Name == "" {
			return nil, at(errors.New("has no name"))
		}
		if _, twice := byName[c.Name]; twice {
			return nil, at(errors.New("has a name that another has"))
		}
		c.Tenant = cmp.Or(c.Tenant, DefaultTenant)
		if err := errors.Join(CheckScopes(c.Scopes), CheckRooms(c.Rooms), checkBound(c.Tenant, c.Scopes, len(c.Rooms) > 0)); err != nil {
			return nil, at(err)
		}
		byName[c.Name] = Principal{Name: c.Name, Kind: KindCertificate, Tenant: c.Tenant, Scopes: c.Scopes, Rooms: c.Rooms}
	}
	return byName, nil
}

// certificate finds who a verified certificate names. The subject's common name
// counts only where there are no other names.
func (a *Authenticator) certificate(c *x509.Certificate) (Grant, error) {
	if !a.now().Before(c.NotAfter) {
		return Grant{}, errExpired()
	}
	names := slices.Concat(c.DNSNames, c.EmailAddresses)
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	if len(names) == 0 {
		names = []string{c.Subject.CommonName}
	}
	for _, name := range names {
		if p, ok := a.certificates[name]; ok && name != "" {
			return Grant{Principal: p, expires: c.NotAfter}, nil
		}
	}
	return Grant{}, errCertificate()
}
