// SPDX-License-Identifier: Apache-2.0

package auth

import "context"

type remoteKey struct{}

// WithRemoteAddr returns a context of a call from the address.
func WithRemoteAddr(ctx context.Context, addr string) context.Context {
	return context.WithValue(ctx, remoteKey{}, addr)
}

// RemoteAddr is the address that the call of ctx comes from, as host:port: over
// REST that of the HTTP connection, and not that of our own to the gRPC server.
// It is that of a proxy in between. "" where it is not known.
func RemoteAddr(ctx context.Context) string {
	addr, _ := ctx.Value(remoteKey{}).(string)
	return addr
}
