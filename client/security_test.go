// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/classrec/classrec/client"
	"github.com/classrec/classrec/client/internal/clienttest"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// authority makes certificates, and writes them to files.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.issue(t, "ca", nil)
	return a
}

// issue writes NAME.pem and NAME.key; nil hosts make the authority itself.
func (a *authority) issue(t *testing.T, name string, hosts []string) {
	t.Helper()
	if err := a.write(name, hosts); err != nil {
		t.Fatal(err)
	}
}

// write is issue for what is no test.
func (a *authority) write(name string, hosts []string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: hosts,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := a.cert, a.key
	if hosts == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return err
	}
	if hosts == nil {
		a.key = key
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			return err
		}
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(a.file(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(a.file(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600),
	)
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

func mustWrite(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// front is what stands before classrec in earnest: it speaks TLS with whoever
// has a certificate, asks for a token, and passes calls on. It sends what it
// was told to seen.
func front(t *testing.T, a *authority, s *clienttest.Server, token string, seen chan<- http.Header) string {
	t.Helper()
	target, err := url.Parse("http://" + s.GRPC())
	if err != nil {
		t.Fatal(err)
	}
	plain := &http.Transport{Protocols: new(http.Protocols)}
	plain.Protocols.SetUnencryptedHTTP2(true)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: plain, FlushInterval: -1}
	pair, err := tls.LoadX509KeyPair(a.file("server.pem"), a.file("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AddCert(a.cert)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Clone()
		if r.Header.Get("Authorization") != "Bearer "+token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	srv.EnableHTTP2 = true
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.StartTLS()
	t.Cleanup(func() {
		srv.Close()
		plain.CloseIdleConnections()
	})
	return srv.Listener.Addr().String()
}

// TLS both ways and a token, through a proxy that asks for them; all of it may
// be replaced while the client lives.
func TestDial_Secure(t *testing.T) {
	t.Parallel()
	s, _ := newServer(t)
	a := newAuthority(t)
	a.issue(t, "server", []string{"classrec.test"})
	a.issue(t, "me", []string{"me.test"})
	seen := make(chan http.Header, 100)
	address := front(t, a, s, "first", seen)
	ctx := clienttest.Context(t)

	files := client.TLSFiles{CA: a.file("ca.pem"), Cert: a.file("me.pem"), Key: a.file("me.key"), ServerName: "classrec.test"}
	good, err := client.LoadTLS(files)
	if err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(t.TempDir(), "token")
	mustWrite(t, token, " first\n")
	c := mustDial(t, address, client.Config{TLS: good, TokenFile: token, UserAgent: "my-app/1"})
	if _, err := c.Start(ctx, &classrecv1.StartRecordingRequest{Room: "42"}); err != nil {
		t.Fatal(err)
	}
	if h := <-seen; h.Get("Authorization") != "Bearer first" || !strings.HasPrefix(h.Get("User-Agent"), "my-app/1 ") {
		t.Errorf("told %v", h)
	}
	for name, tc := range map[string]struct {
		text string // of the token's file
		want error
	}{
		"another": {"second", client.ErrUnauthenticated},
		"empty":   {" \n", client.ErrUnauthenticated},
		"strange": {"a b", client.ErrUnauthenticated},
	} {
		mustWrite(t, token, tc.text)
		if _, err := c.Get(ctx, "rooms/42/recordings/17"); !errors.Is(err, tc.want) || strings.Contains(err.Error(), "second") {
			t.Errorf("%s token: %v", name, err)
		}
	}
	mustWrite(t, token, "first")
	if _, err := c.Get(ctx, "rooms/42/recordings/17"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("the old token again: %v", err)
	}
	for m, err := range c.Watch(ctx, &classrecv1.WatchClassBeginRequest{Room: "42"}, client.WatchOptions{}) {
		if err != nil {
			t.Errorf("watch: %v", err)
		}
		if m.GetSynced() != nil {
			break
		}
	}

	for name, change := range map[string]func(*client.TLSFiles){
		"no certificate": func(f *client.TLSFiles) { f.Cert, f.Key = "", "" },
		"no trust":       func(f *client.TLSFiles) { f.CA = "" },
		"another name":   func(f *client.TLSFiles) { f.ServerName = "other.test" },
	} {
		bad := files
		change(&bad)
		cfg, err := client.LoadTLS(bad)
		if err != nil {
			t.Fatal(err)
		}
		c := mustDial(t, address, client.Config{TLS: cfg, Token: "first", Attempts: 1})
		if _, err := c.Get(ctx, "rooms/42/recordings/17"); !errors.Is(err, client.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Plain text stays on this machine, unless it is asked for.
func TestDial_Plaintext(t *testing.T) {
	t.Parallel()
	s, _ := newServer(t)
	ctx := clienttest.Context(t)
	// Whatever a target is called, the connection goes to the server.
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", s.GRPC())
	}
	for target, plain := range map[string]bool{
		"localhost:9090": true, "127.0.0.1:9090": true, "127.1.2.3": true, "[::1]:9090": true, "dns:///localhost:9090": true,
		"passthrough:///127.0.0.1:1": true, "unix:/run/classrec": true, "dns:localhost:9090": true,
		"192.0.2.1:9090": false, "passthrough:///classrec.example:9090": false,
		"[2001:db8::1]:9090": false, "passthrough://localhost/classrec.example": false, "passthrough:///localhost.example:1": false,
	} {
		for _, allowed := range []bool{false, true} {
			c := mustDial(t, target, client.Config{DialContext: dial, Attempts: 1, Plaintext: allowed, Token: "t"})
			_, err := c.Get(ctx, "rooms/42/recordings/17")
			want := client.ErrNotFound // of the service: it was reached
			if !plain && !allowed {
				want = client.ErrUnavailable
			}
			if !errors.Is(err, want) {
				t.Errorf("%s (plain text allowed: %v): %v", target, allowed, err)
			}
		}
	}
}

func TestDial_Senseless(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	for name, cfg := range map[string]client.Config{
		"both TLS and plain text": {TLS: &tls.Config{MinVersion: tls.VersionTLS12}, Plaintext: true},
		"two tokens":              {Token: "a", TokenFile: "b"},
		"a token of two lines":    {Token: "a\r\nb: c"},
	} {
		if c, err := client.Dial("localhost:1", cfg); err == nil {
			c.Close()
			t.Error(name)
		}
	}
	mustWrite(t, a.file("none.pem"), "none")
	for name, files := range map[string]client.TLSFiles{
		"no such CA":     {CA: a.file("nowhere.pem")},
		"not a CA":       {CA: a.file("none.pem")},
		"half a pair":    {Cert: a.file("ca.pem")},
		"no certificate": {Cert: a.file("none.pem"), Key: a.file("ca.key")},
		"no key":         {Cert: a.file("ca.pem"), Key: a.file("none.pem")},
	} {
		if _, err := client.LoadTLS(files); err == nil {
			t.Error(name)
		}
	}
	if _, err := client.Dial("\x00://", client.Config{}); err == nil {
		t.Error("a target that is none")
	}
}
