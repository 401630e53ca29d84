// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// keysFresh is how long fetched keys are used without asking again.
	keysFresh = 5 * time.Minute
	// keysRetry is how often they are asked for at most: for a key id that is
	// not known, or after a failure.
	keysRetry = 10 * time.Second
	// keysTimeout bounds one fetch, and the time that a call waits for it.
	keysTimeout  = 5 * time.Second
	maxKeysBytes = 1 << 20
	maxKeys      = 100
	minSecret    = 32 // of HS256, in bytes
	minRSABits   = 2048
)

// publicKey is one key of an issuer.
type publicKey struct {
	id  string // "": any token's
	alg string // "": any that fits
	key jwt.VerificationKey
}

// keySet are the keys of an issuer, fetched or read again as they change. What
// is known stays in use while that fails.
type keySet struct {
	issuer string
	url    string
	file   string
	secret bool // the file is the secret of HS256
	client *http.Client
	log    *slog.Logger

	mu       sync.Mutex
	keys     []publicKey
	fetched  time.Time // with success
	tried    time.Time
	stamp    fileStamp
	fetching chan struct{} // nil, or closed when the fetch is over
}

func newKeySet(cfg Issuer, log *slog.Logger) (*keySet, error) {
	s := &keySet{
		issuer: cfg.Issuer, url: cfg.JWKSURL, file: cfg.KeyFile,
		secret: slices.Contains(cfg.Algorithms, "HS256"), log: log,
	}
	if s.file != "" {
		return s, s.readFile()
	}
	s.client = &http.Client{
		Transport: &http.Transport{
			Proxy:             http.ProxyFromEnvironment,
			TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.RootCAs},
			DisableKeepAlives: true, // asked once in minutes
		},
		Timeout: keysTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("a redirect is not followed")
		},
	}
	return s, nil
}

// find returns the keys that a token with the key id and the algorithm may be
// proved by; an [*Error] that may be mended by trying again when they cannot be
// had.
func (s *keySet) find(ctx context.Context, kid, alg string) ([]jwt.VerificationKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.file != "" {
		if now.Sub(s.tried) > tokenCheckEvery {
			if err := s.readFile(); err != nil {
				s.log.Error("the keys of an issuer cannot be read; those that were known stay", "issuer", s.issuer, "error", err)
			}
		}
		return s.matching(kid, alg), nil
	}
	found := s.matching(kid, alg)
	stale := now.Sub(s.fetched) > keysFresh
	if len(found) > 0 && !stale {
		return found, nil
	}
	if s.fetching == nil && now.Sub(s.tried) > keysRetry {
		s.tried = now
		s.fetching = make(chan struct{})
		go s.fetch(s.fetching) //nolint:contextcheck // it is everybody's, and bounded by keysTimeout
	}
	if len(found) > 0 { // good enough until the new ones are there
		return found, nil
	}
	if fetching := s.fetching; fetching != nil {
		s.mu.Unlock()
		select {
		case <-fetching:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		found = s.matching(kid, alg)
	}
	if len(found) == 0 && s.fetched.IsZero() {
		return nil, errKeys()
	}
	return found, nil
}

// matching are the keys for a token. One that names none may be of any.
func (s *keySet) matching(kid, alg string) (found []jwt.VerificationKey) {
	for _, k := range s.keys {
		if (kid == "" || k.id == "" || k.id == kid) && (k.alg == "" || k.alg == alg) && fits(k.key, alg) {
			found = append(found, k.key)
		}
	}
	return found
}

// fits tells whether a key is of the kind that an algorithm takes.
func fits(key jwt.VerificationKey, alg string) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")
	case *ecdsa.PublicKey:
		return alg == map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[k.Params().BitSize]
	case ed25519.PublicKey:
		return alg == "EdDSA"
	case []byte:
		return alg == "HS256"
	}
	return false
}

func (s *keySet) fetch(done chan struct{}) {
	keys, err := s.get()
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(done)
	s.fetching = nil
	if err != nil {
		s.log.Warn("the keys of an issuer cannot be fetched", "issuer", s.issuer, "error", err)
		return
	}
	s.keys, s.fetched = keys, time.Now()
}

func (s *keySet) get() ([]publicKey, error) {
	ctx, cancel := context.WithTimeout(context.Background(), keysTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxKeysBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxKeysBytes {
		return nil, fmt.Errorf("the answer is larger than %d bytes", maxKeysBytes)
	}
	return parseJWKS(text)
}

// readFile reads the file if it has changed.
func (s *keySet) readFile() error {
	s.tried = time.Now()
	info, err := os.Stat(s.file)
	if err != nil {
		return err
	}
	stamp := fileStamp{info.ModTime(), info.Size(), inodeOf(info)}
	if stamp == s.stamp {
		return nil
	}
	if info.Size() > maxKeysBytes {
		return fmt.Errorf("%s is larger than %d bytes", s.file, maxKeysBytes)
	}
	text, err := os.ReadFile(s.file)
	if err != nil {
		return err
	}
	keys, err := parseKeys(text, s.secret)
	if err != nil {
		return fmt.Errorf("%s: %w", s.file, err)
	}
	s.keys, s.stamp = keys, stamp
	return nil
}

// parseKeys reads a file of keys. An error repeats nothing of it.
func parseKeys(text []byte, secret bool) ([]publicKey, error) {
	trimmed := bytes.TrimSpace(text)
	if secret {
		if len(trimmed) < minSecret {
			return nil, fmt.Errorf("is shorter than %d bytes", minSecret)
		}
		if bytes.HasPrefix(trimmed, []byte("{")) || bytes.Contains(trimmed, []byte("-----BEGIN")) {
			return nil, errors.New("is no secret, but keys, which are for other algorithms than HS256")
		}
		return []publicKey{{key: trimmed}}, nil
	}
	if bytes.HasPrefix(trimmed, []byte("{")) {
		return parseJWKS(trimmed)
	}
	var keys []publicKey
	for rest := trimmed; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		key, err := parsePEM(block)
		if err != nil {
			return nil, err
		}
		keys = append(keys, publicKey{key: key})
	}
	if len(keys) == 0 {
		return nil, errors.New("has neither PEM nor JWKS keys")
	}
	return keys, nil
}

func parsePEM(block *pem.Block) (jwt.VerificationKey, error) {
	switch block.Type {
	case "PUBLIC KEY":
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, errors.New("has a public key that cannot be read")
		}
		return usable(key)
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("has a certificate that cannot be read")
		}
		return usable(cert.PublicKey)
	}
	return nil, errors.New("has PEM that is neither PUBLIC KEY nor CERTIFICATE")
}

// usable is a key that tokens may be proved by.
func usable(key crypto.PublicKey) (jwt.VerificationKey, error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSABits {
			return nil, fmt.Errorf("has an RSA key of less than %d bits", minRSABits)
		}
		return k, nil
	case *ecdsa.PublicKey:
		return k, nil
	case ed25519.PublicKey:
		return k, nil
	}
	return nil, errors.New("has a key that is none of RSA, EC and Ed25519")
}

// jwk is a public key (RFC 7517, RFC 7518 section 6, RFC 8037).
type jwk struct {
	Type  string `json:"kty"`
	ID    string `json:"kid"`
	Use   string `json:"use"`
	Alg   string `json:"alg"`
	Curve string `json:"crv"`
	N     string `json:"n"`
	E     string `json:"e"`
	X     string `json:"x"`
	Y     string `json:"y"`
}

// parseJWKS reads the keys of a set that are for signatures and of a kind that
// is known; a secret in it is none of them.
func parseJWKS(text []byte) ([]publicKey, error) {
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errors.New("is no JWKS")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("has more than %d keys", maxKeys)
	}
	var keys []publicKey
	for _, k := range set.Keys {
		if k.Use != "" && k.Use != "sig" {
			continue
		}
		if key, err := k.public(); err == nil {
			keys = append(keys, publicKey{id: k.ID, alg: k.Alg, key: key})
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("has no key that can be used")
	}
	return keys, nil
}

func (k jwk) public() (jwt.VerificationKey, error) {
	number := func(text string) []byte {
		raw, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			return nil
		}
		return raw
	}
	switch k.Type {
	case "RSA":
		e := new(big.Int).SetBytes(number(k.E))
		if !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 {
			return nil, errors.New("has an RSA key with no exponent")
		}
		return usable(&rsa.PublicKey{N: new(big.Int).SetBytes(number(k.N)), E: int(e.Int64())})
	case "EC":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[k.Curve]
		if curve == nil {
			return nil, errors.New("has an unknown curve")
		}
		size := (curve.Params().BitSize + 7) / 8
		x, y := number(k.X), number(k.Y)
		if len(x) != size || len(y) != size {
			return nil, errors.New("has an EC key of another length")
		}
		key, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
		if err != nil {
			return nil, err
		}
		return usable(key)
	case "OKP":
		raw := number(k.X)
		if k.Curve != "Ed25519" || len(raw) != ed25519.PublicKeySize {
			return nil, errors.New("has an unknown curve")
		}
		return usable(ed25519.PublicKey(raw))
	}
	return nil, errors.New("has a key that is none of RSA, EC and OKP")
}
