// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// authority signs certificates, and keeps what it has signed in files.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.issue(t, "ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// issue writes NAME.pem and NAME.key of a certificate that is for as long as it
// says, or else an hour.
func (a *authority) issue(t *testing.T, name string, c *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.Subject, c.NotBefore = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}, time.Now().Add(-time.Hour)
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	parent, signer := a.cert, a.key
	if c.IsCA {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	if c.IsCA {
		a.key = key
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, a.file(name+".pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	mustWrite(t, a.file(name+".key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

// server issues the certificate of a server on this machine, server.pem.
func (a *authority) server(t *testing.T) {
	t.Helper()
	a.issue(t, "server", &x509.Certificate{DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// pair is what was issued, to be shown by a client.
func (a *authority) pair(t *testing.T, name string) *tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(a.file(name+".pem"), a.file(name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	return &pair
}

// trust is a client's TLS that shows pair, or nothing.
func (a *authority) trust(pair *tls.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	cfg := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if pair != nil {
		// Whatever the server says it would take.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil }
	}
	return cfg
}

// jwtIssuer makes JSON Web Tokens, and serves the keys that prove them.
type jwtIssuer struct {
	*httptest.Server
	name  string
	keys  map[string]*ecdsa.PrivateKey // by id
	asked atomic.Int32
}

func newIssuer(t *testing.T, ids ...string) *jwtIssuer {
	t.Helper()
	is := &jwtIssuer{name: "https://issuer.example", keys: map[string]*ecdsa.PrivateKey{}}
	for _, id := range ids {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		is.keys[id] = key
	}
	is.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		is.asked.Add(1)
		_, _ = w.Write(is.jwks(t))
	}))
	t.Cleanup(is.Close)
	return is
}

func (is *jwtIssuer) jwks(t *testing.T) []byte {
	t.Helper()
	keys := []map[string]string{}
	for id, key := range is.keys {
		point, err := key.PublicKey.Bytes()
		if err != nil {
			t.Error(err)
		}
		keys = append(keys, map[string]string{
			"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": id,
			"x": base64.RawURLEncoding.EncodeToString(point[1:33]), "y": base64.RawURLEncoding.EncodeToString(point[33:]),
		})
	}
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Error(err)
	}
	return text
}

// claims are good ones, changed.
func (is *jwtIssuer) claims(change jwt.MapClaims) jwt.MapClaims {
	claims := jwt.MapClaims{
		"iss": is.name, "aud": "classrec", "sub": "robot", "exp": time.Now().Add(time.Hour).Unix(),
		"scope": "start stop list watch admin openid", "tenant": "default", "rooms": []string{"*"},
	}
	for name, value := range change {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	return claims
}

// sign makes a token by a method and a key that is said to have an id.
func sign(t *testing.T, method jwt.SigningMethod, key any, id string, claims jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	if id != "" {
		token.Header["kid"] = id
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// publicPEM is a public key as a file has it.
func publicPEM(t *testing.T, key crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}
