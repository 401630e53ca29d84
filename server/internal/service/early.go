// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"
)

// Registrar returns r for services whose calls go through [ServerOptions]: a
// unary call that ends before its message is there, because none comes or none
// that can be read, has its line too. The interceptors do not see it. (A
// stats.Handler would, and costs a fifth of the rate at which watchers are told.)
func Registrar(cfg Config, r grpc.ServiceRegistrar) grpc.ServiceRegistrar {
	return registrar{r, newEdge(cfg)}
}

type registrar struct {
	grpc.ServiceRegistrar
	edge edge
}

// RegisterService registers a service, whose description is not changed.
func (r registrar) RegisterService(desc *grpc.ServiceDesc, impl any) {
	own := *desc
	own.Methods = slices.Clone(desc.Methods)
	for i := range own.Methods {
		m := &own.Methods[i]
		method, handler := "/"+own.ServiceName+"/"+m.MethodName, m.Handler
		m.Handler = func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
			begin := time.Now()
			return handler(srv, ctx, func(msg any) error {
				err := decode(msg)
				if err != nil {
					r.edge.early(ctx, Call{Method: method, Begin: begin, early: true}, err)
				}
				return err
			}, interceptor)
		}
	}
	r.ServiceRegistrar.RegisterService(&own, impl)
}

// early has a call done that ends before its message is there. gRPC answers it.
func (e edge) early(ctx context.Context, call Call, err error) {
	if why := context.Cause(ctx); why != nil && !errors.Is(why, ctx.Err()) { // ended by us
		err = fmt.Errorf("%w: %w", err, why)
	}
	// What he may do does not matter any more. Where ctx has ended, nobody waits
	// to learn who he is.
	ctx, _, _ = e.admit(ctx, call.Method)
	_ = e.done(ctx, call, nil, nil, err)
}
