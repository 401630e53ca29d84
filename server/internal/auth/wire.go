// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"cmp"
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// The metadata by which the REST gateway tells the gRPC server, over the
// connection within the process, what it knows of an HTTP request. On any other
// connection they mean nothing.
const (
	remoteMetadata      = "classrec-remote-addr"
	certificateMetadata = "classrec-client-certificate-bin"
	originMetadata      = "classrec-origin"
)

// InProcess returns a listener whose connections are known to be the gateway's:
// what they forward is believed. l must be one that nobody else can reach.
func InProcess(l net.Listener) net.Listener { return inProcess{l} }

type inProcess struct{ net.Listener }

// Accept returns the next connection.
func (l inProcess) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return inProcessConn{conn}, nil
}

// inProcessConn is told from others by its type alone.
type inProcessConn struct{ net.Conn }

// inProcessInfo is the [credentials.AuthInfo] of connections of [InProcess].
type inProcessInfo struct{ credentials.CommonAuthInfo }

// AuthType is that of gRPC.
func (inProcessInfo) AuthType() string { return "in-process" }

// plainInfo is that of plain text.
type plainInfo struct{ credentials.CommonAuthInfo }

// AuthType is that of gRPC.
func (plainInfo) AuthType() string { return "insecure" }

// ServerCredentials are those of a gRPC server: the connections of [InProcess]
// are the gateway's; all others are secured by over, or where that is nil they
// are plain text.
func ServerCredentials(over credentials.TransportCredentials) credentials.TransportCredentials {
	return serverCredentials{over}
}

type serverCredentials struct {
	over credentials.TransportCredentials
}

// ServerHandshake is called by gRPC for each connection.
func (c serverCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if _, ours := conn.(inProcessConn); ours {
		return conn, inProcessInfo{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
	}
	if c.over == nil {
		return conn, plainInfo{credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}}, nil
	}
	return c.over.ServerHandshake(conn)
}

// ClientHandshake is for clients, which these are not for.
func (c serverCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, credentials.ErrConnDispatched
}

// Info describes the credentials.
func (c serverCredentials) Info() credentials.ProtocolInfo {
	if c.over == nil {
		return credentials.ProtocolInfo{SecurityProtocol: "insecure"}
	}
	return c.over.Info()
}

// Clone copies the credentials.
func (c serverCredentials) Clone() credentials.TransportCredentials { return c }

// OverrideServerName is for clients.
func (c serverCredentials) OverrideServerName(string) error { return nil }

// OfCall returns what a gRPC call came with, and where it comes from. Over REST
// that is what the HTTP request came with.
func OfCall(ctx context.Context) (c Credentials, remote string) {
	md, _ := metadata.FromIncomingContext(ctx)
	c.Authorization = md.Get("authorization")
	p, ok := peer.FromContext(ctx)
	if !ok {
		return c, ""
	}
	switch info := p.AuthInfo.(type) {
	case inProcessInfo:
		for _, addr := range md.Get(remoteMetadata) {
			remote = addr
		}
		for _, der := range md.Get(certificateMetadata) {
			if cert, err := x509.ParseCertificate([]byte(der)); err == nil {
				c.Certificate = cert
			}
		}
		return c, remote
	case credentials.TLSInfo:
		if len(info.State.VerifiedChains) > 0 {
			c.Certificate = info.State.VerifiedChains[0][0]
		}
	}
	if p.Addr != nil {
		remote = p.Addr.String()
	}
	return c, remote
}

// OfRequest returns what an HTTP request came with.
func OfRequest(r *http.Request) Credentials {
	c := Credentials{Authorization: slices.Clone(r.Header.Values("Authorization"))}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		c.Certificate = r.TLS.VerifiedChains[0][0]
	}
	return c
}

// RequestOrigin is the scheme, host and port under which a request came, as https://class.example: behind a proxy what that
// says in X-Forwarded-Proto and X-Forwarded-Host, and else the header Host. The caller can forge both.
func RequestOrigin(r *http.Request) string {
	first := func(header string) string {
		text, _, _ := strings.Cut(r.Header.Get(header), ",")
		return strings.TrimSpace(text)
	}
	scheme := strings.ToLower(first("X-Forwarded-Proto"))
	switch {
	case scheme == "https" || scheme == "http":
	case r.TLS != nil:
		scheme = "https"
	default:
		scheme = "http"
	}
	return scheme + "://" + cmp.Or(first("X-Forwarded-Host"), r.Host)
}

// CallOrigin is the [RequestOrigin] of the request that a call was made of, "" for one over gRPC itself.
func CallOrigin(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	if _, inProcess := p.AuthInfo.(inProcessInfo); !inProcess {
		return ""
	}
	md, _ := metadata.FromIncomingContext(ctx)
	for _, origin := range md.Get(originMetadata) {
		return origin
	}
	return ""
}

// Forward is the metadata that tells what [OfCall] returns for a call that r
// asks for, beside its header Authorization.
func Forward(r *http.Request) metadata.MD {
	md := metadata.Pairs(remoteMetadata, r.RemoteAddr, originMetadata, RequestOrigin(r))
	if c := OfRequest(r).Certificate; c != nil {
		md.Set(certificateMetadata, string(c.Raw))
	}
	return md
}
