// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"strings"
	"time"
)

// Error is a refusal of a caller. Its text is public: it holds nothing of a
// credential.
type Error struct {
	// Reason is that of google.rpc.ErrorInfo.
	Reason string
	// Message is for a reader.
	Message string
	// Denied says that it is known who calls, and that he may not.
	Denied bool
	// Scope is what the caller would need, where he is Denied.
	Scope Scope
	// RetryAfter, when positive, says that it cannot be told who calls now, and
	// when trying again may help.
	RetryAfter time.Duration
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Is tells two refusals for the same reason.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Reason == e.Reason
}

// The reasons. What is wrong with a credential that nobody here has given out is
// not said.
const (
	reasonMissing     = "CREDENTIALS_MISSING"
	reasonInvalid     = "CREDENTIALS_INVALID"
	reasonExpired     = "CREDENTIALS_EXPIRED"
	reasonRevoked     = "CREDENTIALS_REVOKED"
	reasonCertificate = "CERTIFICATE_UNKNOWN"
	reasonScope       = "SCOPE_MISSING"
	reasonTenants     = "TENANTS_MISSING"
	reasonKeys        = "ISSUER_UNAVAILABLE"
)

func errMissing() error {
	return &Error{Reason: reasonMissing, Message: "the call needs a bearer token or a client certificate"}
}

func errInvalid() error {
	return &Error{Reason: reasonInvalid, Message: "the bearer token is not valid here"}
}

func errExpired() error {
	return &Error{Reason: reasonExpired, Message: "the credential has expired"}
}

func errRevoked() error {
	return &Error{Reason: reasonRevoked, Message: "the credential has been revoked"}
}

func errCertificate() error {
	return &Error{Reason: reasonCertificate, Message: "the client certificate is nobody's here"}
}

// ErrScope refuses a caller who has not the scope.
func ErrScope(s Scope) error {
	return &Error{
		Reason: reasonScope, Message: "the credential has not the scope " + strings.ToLower(string(s)),
		Denied: true, Scope: s,
	}
}

// ErrTenants refuses a caller what is of more tenants than he sees.
func ErrTenants() error {
	return &Error{
		Reason: reasonTenants, Message: "this is of all tenants, and the credential is of one: an operator's has the tenant *",
		Denied: true, Scope: ScopeAdmin,
	}
}

func errKeys() error {
	return &Error{Reason: reasonKeys, Message: "the keys of the token's issuer cannot be had now", RetryAfter: keysRetry}
}
