// SPDX-License-Identifier: Apache-2.0

// Package auth says who makes a call and what he may do: an [Authenticator]
// makes of what a call came with a [Principal], which the edge of the server
// puts into the call's context and the rest reads there.
//
// Credentials are API tokens of a [TokenFile], JSON Web Tokens of configured
// issuers, and TLS client certificates, in any mix. A call with a wrong one is
// refused, whatever else it came with; an [Error] says no more than its bearer
// knows. No secret is kept but as a hash, and none is in an error.
//
// It leaves to others: what a refusal is called on the wire (package service),
// and whose rooms are which tenant's (package server).
package auth
