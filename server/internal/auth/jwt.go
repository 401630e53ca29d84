// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Issuer is one whose JSON Web Tokens count, and how they are read.
type Issuer struct {
	// Issuer is the claim iss, and Audience what aud must have. Both are needed.
	Issuer, Audience string
	// JWKSURL is where the public keys are: https, or http on loopback. KeyFile
	// has them instead: a JWKS, public keys or certificates as PEM, or for HS256
	// the secret. One of the two.
	JWKSURL, KeyFile string
	// RootCAs are trusted for JWKSURL. nil: the system's.
	RootCAs *x509.CertPool
	// Algorithms are those that may be used. None: RS256, ES256 and EdDSA. HS256
	// goes alone, and with KeyFile.
	Algorithms []string
	// ClockSkew is by how much the clocks may differ: 0 to 5 min.
	ClockSkew time.Duration
	// Tenant is that of all callers, unless TenantClaim names the claim with it,
	// which every token must have then. The claim is never AllTenants.
	Tenant, TenantClaim string
	// Scopes are those of all callers, unless ScopesClaim names the claim with
	// them: a list, or a text with spaces. "" and no Scopes: "scope". Of what it
	// says, only what is in Scopes counts; without Scopes, all of our scopes but
	// admin.
	Scopes      []Scope
	ScopesClaim string
	// Rooms are the patterns of all callers, unless RoomsClaim names the claim
	// with them, which every token must have then.
	Rooms      []string
	RoomsClaim string
}

const (
	maxClockSkew = 5 * time.Minute
	maxJWTBytes  = 16 << 10
)

// issuer is an [Issuer] at work.
type issuer struct {
	Issuer
	keys   *keySet
	parser *jwt.Parser
}

func newIssuers(list []Issuer, now func() time.Time, log *slog.Logger) (map[string]*issuer, error) {
	byName := make(map[string]*issuer, len(list))
	for i, cfg := range list {
		is, err := newIssuer(cfg, now, log)
		if _, twice := byName[cfg.Issuer]; err == nil && twice {
			err = errors.New("is there twice")
		}
		if err != nil {
			return nil, fmt.Errorf("issuer %d: %w", i+1, err)
		}
		byName[cfg.Issuer] = is
	}
	return byName, nil
}

func newIssuer(cfg Issuer, now func() time.Time, log *slog.Logger) (*issuer, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if len(cfg.Algorithms) == 0 {
		cfg.Algorithms = []string{"RS256", "ES256", "EdDSA"}
	}
	if cfg.ScopesClaim == "" && len(cfg.Scopes) == 0 {
		cfg.ScopesClaim = "scope"
	}
	cfg.Tenant = cmp.Or(cfg.Tenant, DefaultTenant)
	keys, err := newKeySet(cfg, log)
	if err != nil {
		return nil, err
	}
	return &issuer{Issuer: cfg, keys: keys, parser: jwt.NewParser(
		jwt.WithValidMethods(cfg.Algorithms),
		jwt.WithIssuer(cfg.Issuer),
		jwt.WithAudience(cfg.Audience),
		jwt.WithLeeway(cfg.ClockSkew),
		jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(now),
	)}, nil
}

func (c Issuer) validate() error {
	if c.Issuer == "" || c.Audience == "" {
		return errors.New("needs issuer and audience")
	}
	if (c.JWKSURL == "") == (c.KeyFile == "") {
		return errors.New("needs one of jwks_url and key_file")
	}
	if err := checkJWKSURL(c.JWKSURL); err != nil {
		return err
	}
	for _, alg := range c.Algorithms {
		if !slices.Contains(algorithms(), alg) {
			return errors.New("has an algorithm that is none of " + strings.Join(algorithms(), ", "))
		}
	}
	if slices.Contains(c.Algorithms, "HS256") && (len(c.Algorithms) > 1 || c.KeyFile == "") {
		return errors.New("has HS256, which goes alone and with key_file")
	}
	if c.ClockSkew < 0 || c.ClockSkew > maxClockSkew {
		return fmt.Errorf("has a clock_skew that is not between 0 and %v", maxClockSkew)
	}
	if len(c.Scopes) > 0 {
		if err := CheckScopes(c.Scopes); err != nil {
			return err
		}
	}
	return errors.Join(CheckRooms(c.Rooms), checkBound(c.Tenant, c.Scopes, len(c.Rooms) > 0 || c.RoomsClaim != ""))
}

func algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256"}
}

func checkJWKSURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil {
		return errors.New("has a jwks_url that is not https://host/path")
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme != "https" && (u.Scheme != "http" || ip == nil || !ip.IsLoopback()) {
		return errors.New("has a jwks_url that is not https://host/path")
	}
	return nil
}

// jwt reads a JSON Web Token. Who has made it is told by itself, and proved by
// the issuer's keys.
func (a *Authenticator) jwt(ctx context.Context, text string) (Grant, error) {
	if len(text) > maxJWTBytes || strings.Count(text, ".") != 2 {
		return Grant{}, errInvalid()
	}
	var unproved jwt.RegisteredClaims
	unverified, _, err := jwt.NewParser().ParseUnverified(text, &unproved)
	if err != nil {
		return Grant{}, errInvalid()
	}
	if _, has := unverified.Header["crit"]; has {
		return Grant{}, errInvalid() // no extension is understood here: RFC 7515 section 4.1.11
	}
	is, ok := a.issuers[unproved.Issuer]
	if !ok {
		return Grant{}, errInvalid()
	}
	claims := jwt.MapClaims{}
	var noKeys error
	_, err = is.parser.ParseWithClaims(text, claims, func(token *jwt.Token) (any, error) {
		kid, _ := token.Header["kid"].(string)
		keys, err := is.keys.find(ctx, kid, token.Method.Alg())
		if refusal := (*Error)(nil); errors.As(err, &refusal) || ctx.Err() != nil {
			noKeys = err
		}
		return jwt.VerificationKeySet{Keys: keys}, err
	})
	switch {
	case err == nil:
		return is.grant(claims)
	case noKeys != nil:
		return Grant{}, noKeys
	// Its signature is looked at first: whoever learns this has had it.
	case errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenInvalidIssuer) && !errors.Is(err, jwt.ErrTokenInvalidAudience):
		return Grant{}, errExpired()
	}
	return Grant{}, errInvalid()
}

// grant reads the claims of a token that is proved.
func (is *issuer) grant(claims jwt.MapClaims) (Grant, error) {
	g := Grant{Principal: Principal{Kind: KindJWT, Tenant: is.Tenant, Scopes: is.Scopes, Rooms: is.Rooms}}
	subject, err := claims.GetSubject()
	if err != nil || subject == "" || len(subject) > 256 {
		return Grant{}, errInvalid()
	}
	g.Name = subject
	expires, err := claims.GetExpirationTime()
	if err != nil || expires == nil {
		return Grant{}, errInvalid()
	}
	g.expires = expires.Add(is.ClockSkew)
	if is.TenantClaim != "" {
		tenant, _ := claims[is.TenantClaim].(string)
		if tenant == "" || checkTenant(tenant) != nil {
			return Grant{}, errInvalid()
		}
		g.Tenant = tenant
	}
	if is.ScopesClaim != "" {
		g.Scopes = nil
		words, _ := texts(claims[is.ScopesClaim])
		for _, word := range words {
			if is.mayGive(Scope(word)) {
				g.Scopes = append(g.Scopes, Scope(word))
			}
		}
	}
	if is.RoomsClaim != "" {
		rooms, ok := texts(claims[is.RoomsClaim])
		if !ok || CheckRooms(rooms) != nil {
			return Grant{}, errInvalid()
		}
		if g.Rooms = rooms; len(rooms) == 0 {
			g.Rooms = []string{""} // no room at all
		}
	}
	return g, nil
}

// mayGive says whether the issuer may give a scope by its claim.
func (is *issuer) mayGive(s Scope) bool {
	if len(is.Scopes) > 0 {
		return slices.Contains(is.Scopes, s)
	}
	return s != ScopeAdmin && slices.Contains(Scopes(), s)
}

// texts reads a claim of many texts: a list, or one with spaces.
func texts(claim any) ([]string, bool) {
	switch c := claim.(type) {
	case string:
		return strings.Fields(c), true
	case []any:
		list := make([]string, 0, len(c))
		for _, item := range c {
			text, ok := item.(string)
			if !ok {
				return nil, false
			}
			list = append(list, text)
		}
		return list, true
	}
	return nil, false
}
