// SPDX-License-Identifier: Apache-2.0

// Package client calls classrec from Go: start and stop recordings, list them,
// watch classes begin and end, wait for the files, and fetch them.
//
//	c, err := client.Dial("localhost:9090", client.Config{})
//	…
//	defer c.Close()
//	recording, err := c.Start(ctx, &classrecv1.StartRecordingRequest{Room: "42"})
//
// It guarantees that a call is repeated only where that is safe (see
// [Client.Start]); that [Client.Watch] tells every event once, over any number
// of connections, or ends with an error; and that [Client.Download] leaves a
// file under its own name only when it is whole. Its errors are [*Error], made
// for errors.Is and errors.As.
//
// The calls as generated, each made once and with the errors of gRPC, are
// methods of [Client] too. It leaves to the caller how long anything may take:
// every call ends with its context.
package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// Config tunes a [Client]. Its zero value is ready for use: plain text to a
// server on this machine, TLS to any other.
type Config struct {
	// TLS secures the connection; with certificates of its own, both ways
	// (mTLS): see [LoadTLS]. nil: plain text to a loopback address or a unix
	// socket, and TLS with the system's roots to all others.
	TLS *tls.Config
	// Plaintext allows plain text to any address. Whoever is on the way reads
	// and changes everything, Token too. Not together with TLS.
	Plaintext bool

	// Token is sent as bearer token with each call.
	Token string
	// TokenFile has the token instead. It is read for each call, so that it may
	// be replaced at any time; white space around it does not count. A call
	// fails with UNAUTHENTICATED while it cannot be read.
	TokenFile string
	// TokenSource returns the token instead, for each call; it must be quick, and
	// safe for concurrent use. A call fails with UNAUTHENTICATED and its error.
	TokenSource func(ctx context.Context) (string, error)

	// UserAgent comes before gRPC's own in the header. "": classrec-go.
	UserAgent string
	// DialContext makes the connections; it gets the address that the target
	// resolved to. nil: TCP, through the proxy that the environment names.
	DialContext func(ctx context.Context, address string) (net.Conn, error)

	// Attempts is how often a call that may be repeated is made in all. 0: 4;
	// 1: never again.
	Attempts int

	// DialOptions are added after the client's own.
	DialOptions []grpc.DialOption
}

// Client is a connection to one classrec service. It is safe for concurrent
// use.
type Client struct {
	// RecordingServiceClient has the calls as generated: made once, no request
	// id added, errors as gRPC has them.
	classrecv1.RecordingServiceClient

	conn     *grpc.ClientConn
	attempts int
	renews   bool // the token may be another one for the next call
}

const (
	// maxMessageBytes takes the largest page that the service sends.
	maxMessageBytes = 64 << 20
	// defaultAttempts is for [Config.Attempts] 0.
	defaultAttempts = 4
	defaultAgent    = "classrec-go"
)

// Dial returns a client of the service at target: "host:port", or another name
// that gRPC knows, such as "dns:///host:port" and "unix:///path". It does not
// connect: the first call does, and fails with [ErrUnavailable] when nobody is
// there. Lost connections are made again by themselves. The error is for a
// target or a config that makes no sense.
func Dial(target string, cfg Config) (*Client, error) {
	creds, err := cfg.transport(target)
	if err != nil {
		return nil, err
	}
	agent := cfg.UserAgent
	if agent == "" {
		agent = defaultAgent
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithUserAgent(agent),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		// A watch is silent for long: notice a peer that has vanished.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		// What is repeated, and when, is this package's matter.
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
	}
	token, err := cfg.bearer(creds.Info().SecurityProtocol == "tls")
	if err != nil {
		return nil, err
	}
	if token != nil {
		options = append(options, grpc.WithPerRPCCredentials(token))
	}
	if cfg.DialContext != nil {
		options = append(options, grpc.WithContextDialer(cfg.DialContext))
	}
	conn, err := grpc.NewClient(target, append(options, cfg.DialOptions...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", target, err)
	}
	c := &Client{RecordingServiceClient: classrecv1.NewRecordingServiceClient(conn), conn: conn, attempts: cfg.Attempts, renews: cfg.TokenFile != "" || cfg.TokenSource != nil}
	if c.attempts <= 0 {
		c.attempts = defaultAttempts
	}
	return c, nil
}

// Close ends the connection, and with it the calls that are under way. Files
// that are being fetched are not.
func (c *Client) Close() error { return c.conn.Close() }
