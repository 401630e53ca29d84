// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/classrec/classrec/server/internal/auth"
	"github.com/classrec/classrec/server/internal/service"
)

const (
	// maxReceiveBytes is far above the largest valid request.
	maxReceiveBytes = 1 << 20
	// maxSendBytes fits a page of 1,000 recordings with many files each.
	maxSendBytes = 64 << 20
	// maxStreams is how many calls one connection may have at once; more wait
	// in the client. The calls of REST share one connection, which has more.
	maxStreams          = 2_000
	maxInProcessStreams = 10_000
	// maxIdle is how long a connection may be without a call; then its client
	// makes a new one when it needs it.
	maxIdle = 15 * time.Minute
	// maxHeaderBytes bounds the metadata of a call. What REST forwards of a header
	// of that size counts for more: 32 bytes for each of its values.
	maxHeaderBytes          = 64 << 10
	maxInProcessHeaderBytes = 4 * maxHeaderBytes
)

// grpcAPI is what a gRPC server serves.
type grpcAPI interface{ Register(r grpc.ServiceRegistrar) }

// grpcServer serves an API, reflection and health.
type grpcServer struct {
	server *grpc.Server
	// inProcess serves the same to the gateway, which is ours.
	inProcess *grpc.Server

	health *health.Server
	names  []string // of the API's services
	drain  *drain
}

func newGRPCServer(api grpcAPI, names []string, m *metrics, traces *traces, cfg service.Config, timeout time.Duration, secured credentials.TransportCredentials) (*grpcServer, error) {
	g := &grpcServer{health: health.NewServer(), names: names, drain: newDrain(names)}
	edge, err := service.ServerOptions(cfg)
	if err != nil {
		return nil, err
	}
	options := []grpc.ServerOption{
		grpc.Creds(auth.ServerCredentials(secured)),
		grpc.MaxRecvMsgSize(maxReceiveBytes),
		grpc.MaxSendMsgSize(maxSendBytes),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.ConnectionTimeout(headerTimeout),
		// A watcher may be silent for ever: ask whether it is there, and let it
		// ask as often as every 10 s.
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: maxIdle, Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	}
	options = append(options, traces.serverOptions()...)
	// From the outside: metrics see the codes that the edge makes, and the end
	// of calls that are cut short comes to the edge as an error.
	options = append(options, m.serverOptions()...)
	options = append(options, edge...)
	options = append(options, g.drain.options()...)
	outside := append(firstMessage{cfg.Auth, timeout}.options(), options...)
	g.server = g.build(api, m, cfg, append(outside, grpc.MaxConcurrentStreams(maxStreams)))
	g.inProcess = g.build(api, m, cfg, append(options, grpc.MaxConcurrentStreams(maxInProcessStreams), grpc.MaxHeaderListSize(maxInProcessHeaderBytes)))
	g.setHealth(healthv1.HealthCheckResponse_NOT_SERVING)
	return g, nil
}

func (g *grpcServer) build(api grpcAPI, m *metrics, cfg service.Config, options []grpc.ServerOption) *grpc.Server {
	server := grpc.NewServer(options...)
	registrar := service.Registrar(cfg, server)
	api.Register(registrar)
	healthv1.RegisterHealthServer(registrar, g.health)
	reflection.Register(server)
	m.initialize(server)
	return server
}

func (g *grpcServer) setHealth(status healthv1.HealthCheckResponse_ServingStatus) {
	g.health.SetServingStatus("", status)
	for _, name := range g.names {
		g.health.SetServingStatus(name, status)
	}
}

// serving tells health checks that calls are served.
func (g *grpcServer) serving() { g.setHealth(healthv1.HealthCheckResponse_SERVING) }

func (g *grpcServer) serve(l net.Listener) error {
	return ignore(g.server.Serve(l), grpc.ErrServerStopped)
}

// serveInProcess serves the gateway.
func (g *grpcServer) serveInProcess(l net.Listener) error {
	return ignore(g.inProcess.Serve(auth.InProcess(l)), grpc.ErrServerStopped)
}

// notServing tells health checks that calls are not served any more, for good.
func (g *grpcServer) notServing() { g.health.Shutdown() }

// stop lets answers be delivered until ctx ends; whoever has not taken his by
// then is cut off by cut, which closes the connections.
func (g *grpcServer) stop(ctx context.Context, cut func()) {
	over := make(chan struct{})
	hard := context.AfterFunc(ctx, func() {
		defer close(over)
		cut()
		g.server.Stop()
		g.inProcess.Stop()
	})
	g.server.GracefulStop()
	g.inProcess.GracefulStop()
	if !hard() {
		<-over
	}
}
