// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc/resolver"

	"github.com/classrec/classrec/client"
)

// connection is how to reach the server.
type connection struct {
	Server     string `short:"s" group:"connection" default:"127.0.0.1:9090" env:"CLASSREC_SERVER" placeholder:"HOST:PORT" help:"The server's gRPC address (${default})."`
	TLS        bool   `group:"connection" env:"CLASSREC_TLS" help:"Talk TLS to this machine too; to others it is the rule."`
	Plaintext  bool   `group:"connection" env:"CLASSREC_PLAINTEXT" help:"Talk plain text to any machine; without: to this one only."`
	CAFile     string `name:"ca-file" group:"connection" env:"CLASSREC_CA_FILE" placeholder:"FILE" help:"PEM certificates to trust instead of the system's; where files are fetched from, beside them. Means --tls."`
	CertFile   string `group:"connection" env:"CLASSREC_CERT_FILE" placeholder:"FILE" help:"PEM certificate to show (mTLS). Means --tls."`
	KeyFile    string `group:"connection" env:"CLASSREC_KEY_FILE" placeholder:"FILE" help:"PEM key of --cert-file."`
	ServerName string `group:"connection" env:"CLASSREC_SERVER_NAME" placeholder:"HOST" help:"Whom the server's certificate must be for, when not the host of --server."`
	TokenFile  string `group:"connection" env:"CLASSREC_TOKEN_FILE" placeholder:"FILE" help:"Bearer token to send, read for each call. The environment may have the token itself, as $$CLASSREC_TOKEN."`
}

// secure says whether TLS was asked for, in one way or another.
func (c connection) secure() bool {
	return c.TLS || c.CAFile != "" || c.CertFile != "" || c.KeyFile != "" || c.ServerName != ""
}

// dial returns a client of the server whose address a flag has given.
func (a *app) dial(flag, address string) (*client.Client, error) {
	a.flag, a.address = flag, address
	if !complete(address) {
		return nil, usageError{fmt.Errorf("%s: %q is no HOST:PORT", flag, address)}
	}
	cfg, err := a.server.config()
	if err != nil {
		return nil, usageError{err}
	}
	server, err := client.Dial(address, cfg)
	if err != nil {
		return nil, usageError{err}
	}
	return server, nil
}

// complete says whether an address has a port, which gRPC would take to be 443
// otherwise, or is of another kind that gRPC knows, such as unix:PATH.
func complete(address string) bool {
	if scheme, _, found := strings.Cut(address, ":"); found && resolver.Get(scheme) != nil {
		return true
	}
	_, port, err := net.SplitHostPort(address)
	return err == nil && port != ""
}

// config makes the client's; its errors name flags.
func (c connection) config() (client.Config, error) {
	cfg := client.Config{Plaintext: c.Plaintext, TokenFile: c.TokenFile, UserAgent: "classrec-cli/" + buildVersion().Version}
	if c.TokenFile == "" {
		cfg.Token = os.Getenv("CLASSREC_TOKEN")
	}
	if !c.secure() {
		return cfg, nil
	}
	if c.Plaintext {
		return cfg, errors.New("--plaintext does not go with --tls, nor with certificates")
	}
	tls, err := client.LoadTLS(client.TLSFiles{CA: c.CAFile, Cert: c.CertFile, Key: c.KeyFile, ServerName: c.ServerName})
	if err != nil {
		return cfg, fmt.Errorf("--ca-file, --cert-file or --key-file: %w", err)
	}
	cfg.TLS = tls
	return cfg, nil
}

// files makes an HTTP client for where files are, which is often somewhere
// else: it trusts the system's certificates and those of --ca-file.
func (c connection) files() (*http.Client, func(), error) {
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		MaxIdleConnsPerHost:   8,
	}
	if c.CAFile != "" {
		tls, err := client.LoadTLS(client.TLSFiles{}) // with the system's
		if err != nil {
			return nil, nil, err
		}
		text, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, nil, fmt.Errorf("--ca-file: %w", err)
		}
		if tls.RootCAs, err = x509.SystemCertPool(); err != nil {
			tls.RootCAs = x509.NewCertPool()
		}
		tls.RootCAs.AppendCertsFromPEM(text)
		transport.TLSClientConfig = tls
	}
	return &http.Client{Transport: transport}, transport.CloseIdleConnections, nil
}

// password is how commands are given a room's password.
type password struct {
	RoomPassword     string `env:"CLASSREC_ROOM_PASSWORD" placeholder:"TEXT" help:"The room's password. Others on this machine can see it: better in the environment or a file."`
	RoomPasswordFile string `placeholder:"FILE" help:"A file with the room's password."`
}

func (p password) read() (string, error) {
	if p.RoomPasswordFile == "" {
		return p.RoomPassword, nil
	}
	text, err := os.ReadFile(p.RoomPasswordFile)
	if err != nil {
		return "", usageError{fmt.Errorf("--room-password-file: %w", err)}
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}
