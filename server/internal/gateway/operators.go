// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/classrec/classrec/server/internal/auth"
)

// operators lets those in who have the scope admin; while nobody is asked who he
// is, those on this machine, or with cfg.Open everybody. They have to see all of
// tenants.
func operators(cfg Config, errs *errorWriter, tenants []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		who := auth.Anonymous()
		if cfg.Auth != nil {
			grant, err := cfg.Auth.Authenticate(r.Context(), auth.OfRequest(r))
			if err == nil {
				r = r.WithContext(auth.NewContext(r.Context(), grant.Principal))
			}
			if err == nil && !grant.Has(auth.ScopeAdmin) {
				err = auth.ErrScope(auth.ScopeAdmin)
			}
			if err == nil && slices.ContainsFunc(tenants, func(name string) bool { return !grant.SeesTenant(name) }) {
				err = auth.ErrTenants()
			}
			if err != nil {
				errs.write(w, r, 0, errRefused(err))
				return
			}
			who = grant.Principal
		}
		if who.Kind == auth.KindAnonymous && !cfg.Open && !fromHere(r.RemoteAddr) {
			errs.write(w, r, 0, errNotHere())
			return
		}
		next.ServeHTTP(w, r.WithContext(auth.NewContext(r.Context(), who)))
	})
}

// fromHere tells an address of loopback.
func fromHere(address string) bool {
	from, err := netip.ParseAddrPort(address)
	return err == nil && from.Addr().Unmap().IsLoopback()
}

// errRefused is what the service says of such an error.
func errRefused(err error) *status.Status {
	var refused *auth.Error
	switch {
	case !errors.As(err, &refused):
		return status.New(codes.Canceled, "the caller went away")
	case refused.Denied:
		return withDetails(status.New(codes.PermissionDenied, refused.Message), refused.Reason)
	case refused.RetryAfter > 0:
		return withDetails(status.New(codes.Unavailable, refused.Message), refused.Reason,
			&errdetails.RetryInfo{RetryDelay: durationpb.New(refused.RetryAfter)})
	}
	return withDetails(status.New(codes.Unauthenticated, refused.Message), refused.Reason)
}
