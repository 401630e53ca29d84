// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/recording"
	"github.com/classrec/classrec/server/internal/service"
)

const (
	// maxReceiveBytes is far above the largest valid request.
	maxReceiveBytes = 1 << 20
	// maxSendBytes fits a page of 1,000 recordings with many files each.
	maxSendBytes = 64 << 20
	// maxHeaderBytes bounds the metadata of a call.
	maxHeaderBytes = 64 << 10
)

// grpcServer serves the API, reflection and health.
type grpcServer struct {
	server *grpc.Server
	health *health.Server
	ending context.Context // ends when streams are to end
	end    context.CancelFunc
}

func newGRPCServer(recordings *recording.Service, m *metrics, logger *slog.Logger) (*grpcServer, error) {
	g := &grpcServer{health: health.NewServer()}
	g.ending, g.end = context.WithCancel(context.Background())
	edge, err := service.ServerOptions(logger)
	if err != nil {
		return nil, err
	}
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxReceiveBytes),
		grpc.MaxSendMsgSize(maxSendBytes),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.ConnectionTimeout(headerTimeout),
		// A watcher may be silent for ever: ask whether it is there, and let it
		// ask as often as every 10 s.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	}
	// From the outside: metrics see the codes that the edge makes, and the end
	// of streams comes to the edge as an error.
	options = append(options, m.serverOptions()...)
	options = append(options, edge...)
	options = append(options, grpc.ChainStreamInterceptor(g.endStreams))
	g.server = grpc.NewServer(options...)
	service.New(recordings).Register(g.server)
	healthv1.RegisterHealthServer(g.server, g.health)
	reflection.Register(g.server)
	m.initialize(g.server)
	g.setHealth(healthv1.HealthCheckResponse_NOT_SERVING)
	return g, nil
}

func (g *grpcServer) setHealth(status healthv1.HealthCheckResponse_ServingStatus) {
	g.health.SetServingStatus("", status)
	g.health.SetServingStatus(classrecv1.RecordingService_ServiceDesc.ServiceName, status)
}

// serving tells health checks that calls are served.
func (g *grpcServer) serving() { g.setHealth(healthv1.HealthCheckResponse_SERVING) }

// drain tells health checks that they are not any more, and ends the streams.
func (g *grpcServer) drain() {
	g.health.Shutdown()
	g.end()
}

func (g *grpcServer) serve(l net.Listener) error {
	if err := g.server.Serve(l); err != nil {
		return ignore(err, grpc.ErrServerStopped)
	}
	return nil
}

// stop lets the calls in flight be finished, for so long.
func (g *grpcServer) stop(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	hard := context.AfterFunc(ctx, g.server.Stop)
	g.server.GracefulStop()
	hard()
	return nil
}

// endStreams is an interceptor that ends streams when the server drains, with
// an error that makes their callers come back to whoever serves next.
func (g *grpcServer) endStreams(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, cancel := context.WithCancel(ss.Context())
	defer cancel()
	defer context.AfterFunc(g.ending, cancel)()
	err := handler(srv, &endingStream{ServerStream: ss, ctx: ctx})
	if err != nil && g.ending.Err() != nil && ss.Context().Err() == nil {
		return &recording.Error{
			Kind: recording.KindUnavailable, Reason: "NOT_SERVING", Message: "the server is stopping",
			RetryAfter: time.Second,
		}
	}
	return err
}

// endingStream is a stream whose context ends with the server.
type endingStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context returns the context that ends with the stream or the server.
func (s *endingStream) Context() context.Context { return s.ctx }
