// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// TolerantListener answers a request line of the API that has raw blanks in its path, as the vendor's document prints one:
//
//	GET /ClientAPI/getUserRecordlist/key/K/userid/ u1 HTTP/1.1
//
// RFC 9112 section 3 lets a server refuse that, and net/http does, before any handler sees it. It is understood in the first
// request of a connection: who writes such a line makes one request. Serve it by an [http.Server] with [ConnContext], since
// net/http does not see TLS below.
type TolerantListener struct{ net.Listener }

// Accept returns the next connection.
func (l TolerantListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tolerantConn{Conn: conn}, nil
}

// ConnContext is that of an [http.Server] of a [TolerantListener].
func (TolerantListener) ConnContext(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := conn.(*tolerantConn); ok {
		if secured, ok := c.Conn.(*tls.Conn); ok {
			return context.WithValue(ctx, securedBy{}, secured)
		}
	}
	return ctx
}

// securedBy is the key of the TLS connection in a request's context.
type securedBy struct{}

// withTLS sets http.Request.TLS for connections of a [TolerantListener].
func withTLS(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if secured, ok := r.Context().Value(securedBy{}).(*tls.Conn); ok && r.TLS == nil {
			state := secured.ConnectionState()
			r.TLS = &state
		}
		next.ServeHTTP(w, r)
	})
}

// tolerantConn changes the first request line before net/http reads it. Everything after that passes as it is.
type tolerantConn struct {
	net.Conn
	looked bool // by the one goroutine that reads
}

// rawBlank stands for a blank where none may be: a byte that is allowed in a path, and that no text in UTF-8 has alone.
const rawBlank = 0xff

// Read reads from the connection.
func (c *tolerantConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.looked || n == 0 {
		return n, err
	}
	c.looked = true
	for err == nil && n < len(p) && mayBeCall(p[:n]) && bytes.IndexByte(p[:n], '\n') < 0 {
		var more int
		more, err = c.Conn.Read(p[n:])
		n += more
	}
	if line, _, ok := bytes.Cut(p[:n], []byte("\n")); ok && mayBeCall(line) {
		hideBlanks(line)
	}
	return n, err
}

// mayBeCall reports whether a request line is one of a call of the API, or may become one.
func mayBeCall(line []byte) bool {
	for _, start := range []string{"GET /ClientAPI/", "GET /WebAPI/", "POST /ClientAPI/", "POST /WebAPI/", "HEAD /ClientAPI/", "HEAD /WebAPI/"} {
		n := min(len(start), len(line))
		if strings.EqualFold(start[:n], string(line[:n])) {
			return true
		}
	}
	return false
}

// hideBlanks replaces the blanks of a request line but the first and the one before the protocol.
func hideBlanks(line []byte) {
	first, last := bytes.IndexByte(line, ' '), bytes.LastIndex(line, []byte(" HTTP/"))
	for i := first + 1; i < last; i++ {
		if line[i] == ' ' {
			line[i] = rawBlank
		}
	}
}

// SyscallConn is that of the connection below, if it has one.
func (c *tolerantConn) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := c.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, errors.New("the connection has no descriptor of its own")
}

// restoreBlanks puts the blanks into a path or query again, escaped or not.
func restoreBlanks(text string) string {
	return strings.NewReplacer("\xff", " ", "%FF", " ").Replace(text)
}
