// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"path"
	"slices"
)

const (
	// DefaultTenant is the tenant of a server that has no others.
	DefaultTenant = "default"
	// AllTenants is the tenant of an operator, who sees what is of any tenant with
	// the scope admin. It has no rooms of its own.
	AllTenants = "*"
)

// Scope is one kind of things that a caller may do.
type Scope string

// The scopes, by the calls that they open.
const (
	ScopeStart Scope = "start" // StartRecording
	ScopeStop  Scope = "stop"  // StopRecording
	ScopeList  Scope = "list"  // GetRecording, ListRecordings, and the files of recordings
	ScopeWatch Scope = "watch" // WatchClassBegin
	ScopeAdmin Scope = "admin" // the admin API, of the tenants that the caller sees
)

// Scopes are all scopes.
func Scopes() []Scope { return []Scope{ScopeStart, ScopeStop, ScopeList, ScopeWatch, ScopeAdmin} }

// Kind is how a caller has shown who he is.
type Kind string

// The kinds of credentials.
const (
	KindAnonymous   Kind = "anonymous"   // none; on loopback without authentication
	KindToken       Kind = "token"       // an API token of ours
	KindJWT         Kind = "jwt"         // a JSON Web Token of a configured issuer
	KindCertificate Kind = "certificate" // a TLS client certificate
)

// Principal is who makes a call, and what he may do. It is a value; the zero
// value may do nothing.
type Principal struct {
	// Name is who it is, for logs and for the audit: a token's id, a JWT's
	// subject, a certificate's name. It is never a secret.
	Name string
	Kind Kind
	// Tenant is the one whose rooms and recordings exist for the caller, or
	// AllTenants.
	Tenant string
	Scopes []Scope
	// Rooms are patterns of path.Match for the rooms that exist for the caller;
	// none is every room.
	Rooms []string
}

// Anonymous is the caller of a server without authentication, who may do
// everything.
func Anonymous() Principal {
	return Principal{Name: "anonymous", Kind: KindAnonymous, Tenant: DefaultTenant, Scopes: Scopes()}
}

// Has tells whether the caller has a scope.
func (p Principal) Has(s Scope) bool { return slices.Contains(p.Scopes, s) }

// SeesTenant tells whether what is of a tenant may be told to the caller, who has
// the scope admin. Where nobody is asked who he is, everything may.
func (p Principal) SeesTenant(tenant string) bool {
	return p.Tenant == tenant || p.Tenant == AllTenants || p.Kind == KindAnonymous
}

// SeesAllRooms tells whether every room of the tenant exists for the caller.
func (p Principal) SeesAllRooms() bool { return len(p.Rooms) == 0 || slices.Contains(p.Rooms, "*") }

// SeesRoom tells whether a room exists for the caller.
func (p Principal) SeesRoom(room string) bool {
	return p.SeesAllRooms() || slices.ContainsFunc(p.Rooms, func(pattern string) bool {
		ok, err := path.Match(pattern, room)
		return ok && err == nil // a pattern that is none matches nothing
	})
}

type contextKey struct{}

// NewContext returns a context of a call by p.
func NewContext(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, contextKey{}, p)
}

// FromContext returns who makes the call of ctx; ok is false where nobody has
// been asked.
func FromContext(ctx context.Context) (p Principal, ok bool) {
	p, ok = ctx.Value(contextKey{}).(Principal)
	return p, ok
}
