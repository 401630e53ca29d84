// SPDX-License-Identifier: Apache-2.0

// Package client calls classrec from Go: the generated client over a connection
// with sensible defaults, a watch that outlives its connections, and what is in
// an error.
//
//	c, err := client.Dial("localhost:9090", client.Config{})
//	…
//	defer c.Close()
//	resp, err := c.StartRecording(ctx, &classrecv1.StartRecordingRequest{Room: "42"})
//
// It guarantees that a watch tells every event once, over any number of
// connections, or ends with an error. It leaves retries of the other calls to
// the caller: give StartRecording a request_id, and it may be repeated safely.
package client

import (
	"crypto/tls"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// Config tunes a [Client]. Its zero value is ready for use.
type Config struct {
	// TLS secures the connection; nil: plain text.
	TLS *tls.Config
	// DialOptions are added after the client's own.
	DialOptions []grpc.DialOption
}

// Client is a connection to one classrec service. It is safe for concurrent
// use.
type Client struct {
	classrecv1.RecordingServiceClient
	conn *grpc.ClientConn
}

// maxMessageBytes takes the largest page that the service sends.
const maxMessageBytes = 64 << 20

// Dial returns a client of the service at target, "host:port" or another name
// that gRPC knows. It does not connect: the first call does, and fails with
// UNAVAILABLE when nobody is there. The error is for a target or options that
// make no sense.
func Dial(target string, cfg Config) (*Client, error) {
	creds := insecure.NewCredentials()
	if cfg.TLS != nil {
		creds = credentials.NewTLS(cfg.TLS)
	}
	options := append([]grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		// A watch is silent for long: notice a peer that has vanished.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
	}, cfg.DialOptions...)
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", target, err)
	}
	return &Client{RecordingServiceClient: classrecv1.NewRecordingServiceClient(conn), conn: conn}, nil
}

// Close ends the connection, and with it the calls that are under way.
func (c *Client) Close() error { return c.conn.Close() }
