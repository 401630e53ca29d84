// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// TLSFiles name the files and the name of a TLS connection. The zero value is
// TLS with the system's roots.
type TLSFiles struct {
	// CA has PEM certificates that are trusted instead of the system's.
	CA string
	// Cert and Key are this client's own certificate (with its chain) and key,
	// as PEM, for mTLS. They are read for each connection, so that they may be
	// replaced at any time. Both or neither.
	Cert, Key string
	// ServerName is what the server's certificate must be for. "": the target's
	// host.
	ServerName string
}

// LoadTLS makes a [Config.TLS] of files. It fails when one of them cannot be
// used now.
func LoadTLS(files TLSFiles) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: files.ServerName}
	if files.CA != "" {
		text, err := os.ReadFile(files.CA)
		if err != nil {
			return nil, fmt.Errorf("trusted certificates: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("trusted certificates: %s has no PEM certificate", files.CA)
		}
	}
	if (files.Cert == "") != (files.Key == "") {
		return nil, errors.New("own certificate: a certificate and a key are needed")
	}
	if files.Cert == "" {
		return cfg, nil
	}
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		if err != nil {
			return nil, fmt.Errorf("own certificate: %w", err)
		}
		return &pair, nil
	}
	if _, err := load(); err != nil {
		return nil, err
	}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return cfg, nil
}

// transport decides between TLS and plain text.
func (c Config) transport(target string) (credentials.TransportCredentials, error) {
	switch {
	case c.TLS != nil && c.Plaintext:
		return nil, errors.New("both TLS and plain text are asked for")
	case c.TLS != nil:
		return credentials.NewTLS(c.TLS), nil
	case c.Plaintext || local(target):
		return insecure.NewCredentials(), nil
	default:
		return credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12}), nil
	}
}

// local says whether a target of gRPC is on this machine, whatever a resolver
// says: a loopback address, localhost (RFC 6761), or a unix socket.
func local(target string) bool {
	scheme, rest, found := strings.Cut(target, ":")
	switch {
	case found && (scheme == "unix" || scheme == "unix-abstract"):
		return true
	case found && (scheme == "dns" || scheme == "passthrough"):
		if path, ok := strings.CutPrefix(rest, "//"); ok { // scheme://authority/endpoint
			_, rest, _ = strings.Cut(path, "/")
		}
	default:
		rest = target
	}
	host, _, err := net.SplitHostPort(rest)
	if err != nil {
		host = strings.Trim(rest, "[]")
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// bearer returns what adds the token to calls; nil where there is none.
func (c Config) bearer(secure bool) (credentials.PerRPCCredentials, error) {
	switch {
	case c.Token != "" && c.TokenFile != "":
		return nil, errors.New("both a token and a file with one are given")
	case c.TokenSource != nil && c.Token+c.TokenFile != "":
		return nil, errors.New("both a source of tokens and a token are given")
	case c.Token == "" && c.TokenFile == "" && c.TokenSource == nil:
		return nil, nil //nolint:nilnil // there is none
	case c.Token != "" && !sendable(c.Token):
		return nil, errors.New("the token has characters that no token has")
	}
	return &bearer{token: c.Token, file: c.TokenFile, source: c.TokenSource, secure: secure}, nil
}

type bearer struct {
	token, file string
	source      func(context.Context) (string, error)
	secure      bool
}

// GetRequestMetadata is called by gRPC for each call.
func (b *bearer) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	token := b.token
	if b.source != nil {
		var err error
		if token, err = b.source(ctx); err != nil {
			return nil, status.Errorf(codes.Unauthenticated, "token source: %v", err)
		}
		if !sendable(token) {
			return nil, status.Error(codes.Unauthenticated, "token source: it gave no token")
		}
	}
	if b.file != "" {
		text, err := os.ReadFile(b.file)
		if err != nil {
			return nil, status.Errorf(codes.Unauthenticated, "token file: %v", err)
		}
		if token = strings.TrimSpace(string(text)); !sendable(token) {
			return nil, status.Errorf(codes.Unauthenticated, "token file: %s has no token", b.file)
		}
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

// RequireTransportSecurity is true over TLS. Plain text has been asked for, or
// stays on this machine.
func (b *bearer) RequireTransportSecurity() bool { return b.secure }

// sendable says whether a text can be a token in a header.
func sendable(token string) bool {
	return token != "" && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}
