// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/classrec/classrec/server/internal/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// issuer serves keys that can be exchanged, and makes tokens.
type issuer struct {
	*httptest.Server
	mu     sync.Mutex
	keys   map[string]*ecdsa.PrivateKey
	answer http.HandlerFunc // instead of the keys; nil: the keys
	asked  atomic.Int32
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	is := &issuer{keys: map[string]*ecdsa.PrivateKey{}}
	is.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		is.asked.Add(1)
		is.mu.Lock()
		defer is.mu.Unlock()
		if is.answer != nil {
			is.answer(w, r)
			return
		}
		keys := []map[string]string{}
		for id, key := range is.keys {
			point, err := key.PublicKey.Bytes()
			if err != nil {
				t.Error(err)
			}
			keys = append(keys, map[string]string{
				"kty": "EC", "crv": "P-256", "kid": id,
				"x": base64.RawURLEncoding.EncodeToString(point[1:33]), "y": base64.RawURLEncoding.EncodeToString(point[33:]),
			})
		}
		if err := json.NewEncoder(w).Encode(map[string]any{"keys": keys}); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(is.Close)
	is.rotate(t, "one")
	return is
}

// rotate adds a key.
func (is *issuer) rotate(t *testing.T, id string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	is.mu.Lock()
	defer is.mu.Unlock()
	is.keys[id] = key
}

// answers has the issuer answer otherwise.
func (is *issuer) answers(with http.HandlerFunc) {
	is.mu.Lock()
	defer is.mu.Unlock()
	is.answer = with
}

func (is *issuer) token(t *testing.T, id string, key *ecdsa.PrivateKey, expires time.Time) auth.Credentials {
	t.Helper()
	if key == nil {
		key = is.keys[id]
	}
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": "https://issuer.example", "aud": "classrec", "sub": "me", "scope": "list", "exp": expires.Unix(),
	})
	token.Header["kid"] = id
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return auth.Credentials{Authorization: []string{"Bearer " + text}}
}

// A token with an extension that is not understood is refused, whatever its
// signature is (RFC 7515 section 4.1.11).
func TestJWT_Critical(t *testing.T) {
	t.Parallel()
	is := newIssuer(t)
	key := is.keys["one"]
	a, err := auth.New(is.config())
	if err != nil {
		t.Fatal(err)
	}
	for name, header := range map[string]map[string]any{
		"none": nil, "unknown": {"crit": []string{"x"}, "x": 1}, "b64": {"crit": []string{"b64"}, "b64": true}, "empty": {"crit": []string{}},
		"no list": {"crit": "x"}, "null": {"crit": nil},
	} {
		token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
			"iss": "https://issuer.example", "aud": "classrec", "sub": "me", "scope": "list", "exp": time.Now().Add(time.Hour).Unix(),
		})
		token.Header["kid"] = "one"
		maps.Copy(token.Header, header)
		text, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.Authenticate(t.Context(), auth.Credentials{Authorization: []string{"Bearer " + text}})
		if (err == nil) != (header == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func (is *issuer) config() auth.Config {
	return auth.Config{Issuers: []auth.Issuer{{Issuer: "https://issuer.example", Audience: "classrec", JWKSURL: is.URL}}}
}

func mustNew(t *testing.T, cfg auth.Config) *auth.Authenticator {
	t.Helper()
	a, err := auth.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// reason is that of a refusal; "" for none.
func reason(t *testing.T, err error) string {
	t.Helper()
	var refusal *auth.Error
	if err != nil && !errors.As(err, &refusal) {
		t.Fatalf("not a refusal: %v", err)
	}
	if refusal == nil {
		return ""
	}
	return refusal.Reason
}

// A key that is new is fetched when it is first seen, and made-up ones do not
// have the issuer asked for each.
func TestJWKS_Rotates(t *testing.T) {
	t.Parallel()
	is := newIssuer(t)
	a := mustNew(t, is.config())
	soon := time.Now().Add(time.Hour)
	if _, err := a.Authenticate(t.Context(), is.token(t, "one", nil, soon)); err != nil {
		t.Fatal(err)
	}
	auth.LetKeysBeAskedFor(a) // ten seconds later
	is.rotate(t, "two")
	for _, id := range []string{"two", "one"} {
		if _, err := a.Authenticate(t.Context(), is.token(t, id, nil, soon)); err != nil {
			t.Errorf("by key %s: %v", id, err)
		}
	}
	asked := is.asked.Load()
	for i := range 100 {
		made := is.token(t, fmt.Sprint("made-up-", i), is.keys["one"], soon)
		if _, err := a.Authenticate(t.Context(), made); reason(t, err) != "CREDENTIALS_INVALID" {
			t.Errorf("by a made-up key: %v", err)
		}
	}
	if more := is.asked.Load() - asked; more > 1 {
		t.Errorf("asked %d times for made-up keys", more)
	}
}

// Keys that cannot be had are told apart from a token that is wrong; those that
// were known stay; and other credentials have nothing to do with it.
func TestJWKS_Fails(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	soon := time.Now().Add(time.Hour)
	for name, answer := range map[string]http.HandlerFunc{
		"error":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"no keys": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"a secret": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[{"kty":"oct","k":"AAAA"}]}`))
		},
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			for range 64 {
				_, _ = w.Write(make([]byte, 64<<10))
			}
		},
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
		"hangs": func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := newIssuer(t)
			file := filepath.Join(t.TempDir(), "tokens.json")
			_, secret, err := auth.TokenFile{Path: file}.Create(auth.Token{Name: "a", Scopes: auth.Scopes()}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			cfg := is.config()
			cfg.TokensFile = file
			a := mustNew(t, cfg)
			is.answers(answer)
			waiting := make(chan error, 1)
			go func() {
				_, err := a.Authenticate(t.Context(), is.token(t, "one", nil, soon))
				waiting <- err
			}()
			if _, err := a.Authenticate(t.Context(), auth.Credentials{Authorization: []string{"Bearer " + secret}}); err != nil {
				t.Errorf("a token of ours: %v", err)
			}
			if err := <-waiting; reason(t, err) != "ISSUER_UNAVAILABLE" {
				t.Errorf("without keys: %v", err)
			}

			known := mustNew(t, is.config())
			is.answers(nil)
			if _, err := known.Authenticate(t.Context(), is.token(t, "one", nil, soon)); err != nil {
				t.Fatal(err)
			}
			is.answers(answer)
			auth.LetKeysBeStale(known)
			if _, err := known.Authenticate(t.Context(), is.token(t, "one", nil, soon)); err != nil {
				t.Errorf("by a key that was known: %v", err)
			}
			auth.AwaitKeys(known)
		})
	}
}

// A claim gives no scope that its issuer may not: without scopes of its own, all
// but admin.
func TestJWT_Scopes(t *testing.T) {
	t.Parallel()
	const secret = "a secret of more than 32 bytes, of an issuer"
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		scopes []auth.Scope
		claim  string // scopes_claim
		says   any
		want   string
	}{
		{nil, "", "start list openid", "[start list]"},
		{nil, "", []string{"watch", "stop"}, "[watch stop]"},
		{nil, "", "start admin", "[start]"},
		{nil, "scope", "start admin", "[start]"},
		{nil, "scope", nil, "[]"},
		{[]auth.Scope{auth.ScopeList}, "", "start admin", "[list]"},
		{[]auth.Scope{auth.ScopeList, auth.ScopeWatch}, "scope", "start list admin", "[list]"},
		{[]auth.Scope{auth.ScopeList, auth.ScopeAdmin}, "scope", "start list admin", "[list admin]"},
		{[]auth.Scope{auth.ScopeList, auth.ScopeAdmin}, "scope", "start", "[]"},
		{[]auth.Scope{auth.ScopeList, auth.ScopeAdmin}, "scope", nil, "[]"},
	} {
		a := mustNew(t, auth.Config{Issuers: []auth.Issuer{{
			Issuer: "i", Audience: "a", KeyFile: file, Algorithms: []string{"HS256"}, Scopes: tc.scopes, ScopesClaim: tc.claim,
		}}})
		text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"iss": "i", "aud": "a", "sub": "robot", "exp": time.Now().Add(time.Hour).Unix(), "scope": tc.says,
		}).SignedString([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		g, err := a.Authenticate(t.Context(), auth.Credentials{Authorization: []string{"Bearer " + text}})
		if err != nil || fmt.Sprint(g.Scopes) != tc.want {
			t.Errorf("scopes %v, claim %q that says %v: %v, %v, want %s", tc.scopes, tc.claim, tc.says, g.Scopes, err, tc.want)
		}
	}
}

// What a credential has opened ends with it.
func TestFollow(t *testing.T) {
	t.Parallel()
	is := newIssuer(t)
	a := mustNew(t, is.config())
	grant, err := a.Authenticate(t.Context(), is.token(t, "one", nil, time.Now().Add(2*time.Second)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := a.Follow(t.Context(), grant)
	defer stop()
	select {
	case <-ctx.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("it goes on")
	}
	if err := auth.Ended(ctx); reason(t, err) != "CREDENTIALS_EXPIRED" {
		t.Errorf("it ended with %v", err)
	}

	other, cancel := context.WithCancel(t.Context())
	ctx, stopOther := a.Follow(other, auth.Grant{})
	defer stopOther()
	cancel()
	<-ctx.Done()
	if err := auth.Ended(ctx); err != nil {
		t.Errorf("a caller that went away: %v", err)
	}
}

// Many programs may make tokens at once, and none of them is lost; of their
// secrets there is nothing in the file.
func TestTokenFile(t *testing.T) {
	t.Parallel()
	file := auth.TokenFile{Path: filepath.Join(t.TempDir(), "sub", "tokens.json")}
	var wg sync.WaitGroup
	secrets := make([]string, 20)
	for i := range secrets {
		wg.Go(func() {
			var err error
			if _, secrets[i], err = file.Create(auth.Token{Name: fmt.Sprint("t", i), Scopes: auth.Scopes()}, time.Now()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if all, err := file.List(); err != nil || len(all) != len(secrets) {
		t.Errorf("%d tokens, %v", len(all), err)
	}
	info, err := os.Stat(file.Path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	text, err := os.ReadFile(file.Path)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range secrets {
		if tail := secret[strings.LastIndexByte(secret, '_')+1:]; len(tail) < 52 || bytes.Contains(text, []byte(tail)) {
			t.Error("a secret is short, or in the file")
		}
	}
	if _, err := file.Revoke("t3", time.Now()); err != nil {
		t.Error(err)
	}
	if _, err := file.Revoke("t3", time.Now()); !errors.Is(err, auth.ErrNoToken) {
		t.Errorf("revoked twice: %v", err)
	}
	for name, token := range map[string]auth.Token{
		"no name":     {Scopes: auth.Scopes()},
		"a space":     {Name: "a b", Scopes: auth.Scopes()},
		"no scope":    {Name: "a"},
		"wrong scope": {Name: "a", Scopes: []auth.Scope{"everything"}},
		"wrong rooms": {Name: "a", Scopes: auth.Scopes(), Rooms: []string{"["}},
		"past":        {Name: "a", Scopes: auth.Scopes(), Expires: time.Now().Add(-time.Second)},
		"taken":       {Name: "t4", Scopes: auth.Scopes()},
		"tenant":      {Name: "a", Scopes: auth.Scopes(), Tenant: "a/b"},
		"all tenants": {Name: "a", Scopes: auth.Scopes(), Tenant: auth.AllTenants},
		"their rooms": {Name: "a", Scopes: []auth.Scope{auth.ScopeAdmin}, Tenant: auth.AllTenants, Rooms: []string{"42"}},
	} {
		if _, _, err := file.Create(token, time.Now()); err == nil {
			t.Errorf("%s: it is made", name)
		}
	}
}

// A file that is broken, or gone, opens nothing.
func TestTokenFile_Broken(t *testing.T) {
	t.Parallel()
	file := auth.TokenFile{Path: filepath.Join(t.TempDir(), "tokens.json")}
	_, secret, err := file.Create(auth.Token{Name: "a", Scopes: auth.Scopes()}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	a := mustNew(t, auth.Config{TokensFile: file.Path, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	ask := func(c auth.Credentials) string {
		t.Helper()
		auth.LetTokensBeRead(a)
		_, err := a.Authenticate(t.Context(), c)
		return reason(t, err)
	}
	good := auth.Credentials{Authorization: []string{"Bearer " + secret}}
	if got := ask(good); got != "" {
		t.Error(got)
	}
	if err := os.WriteFile(file.Path, []byte(`{"tokens": "`+secret), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ask(good); got != "" { // what was known stays
		t.Error(got)
	}
	if !strings.Contains(log.String(), "cannot be read") || strings.Contains(log.String(), secret) {
		t.Errorf("the log has %s", &log)
	}
	if err := os.Remove(file.Path); err != nil {
		t.Fatal(err)
	}
	if got := ask(good); got != "CREDENTIALS_INVALID" {
		t.Errorf("without the file, a token: %s", got)
	}
	if got := ask(auth.Credentials{}); got != "CREDENTIALS_MISSING" {
		t.Errorf("without the file, nobody: %q", got)
	}
}

// What makes no sense of issuers and certificates is refused at the start.
func TestNew_Refused(t *testing.T) {
	t.Parallel()
	pem := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(pem, []byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := auth.Issuer{Issuer: "i", Audience: "a", JWKSURL: "https://issuer.example/keys"}
	for name, change := range map[string]func(*auth.Issuer){
		"no issuer":        func(i *auth.Issuer) { i.Issuer = "" },
		"no audience":      func(i *auth.Issuer) { i.Audience = "" },
		"no keys":          func(i *auth.Issuer) { i.JWKSURL = "" },
		"plain http":       func(i *auth.Issuer) { i.JWKSURL = "http://issuer.example/keys" },
		"a password":       func(i *auth.Issuer) { i.JWKSURL = "https://u:p@issuer.example/keys" },
		"none":             func(i *auth.Issuer) { i.Algorithms = []string{"none"} },
		"a secret by URL":  func(i *auth.Issuer) { i.Algorithms = []string{"HS256"} },
		"a secret and key": func(i *auth.Issuer) { i.JWKSURL, i.KeyFile, i.Algorithms = "", pem, []string{"HS256", "RS256"} },
		"a key as secret":  func(i *auth.Issuer) { i.JWKSURL, i.KeyFile, i.Algorithms = "", pem, []string{"HS256"} },
		"a broken key":     func(i *auth.Issuer) { i.JWKSURL, i.KeyFile = "", pem },
		"skew":             func(i *auth.Issuer) { i.ClockSkew = time.Hour },
		"scopes":           func(i *auth.Issuer) { i.Scopes = []auth.Scope{"x"} },
		"rooms":            func(i *auth.Issuer) { i.Rooms = []string{"["} },
		"all tenants":      func(i *auth.Issuer) { i.Tenant = auth.AllTenants },
		"all, and more":    func(i *auth.Issuer) { i.Tenant, i.Scopes = auth.AllTenants, auth.Scopes() },
		"all, some rooms": func(i *auth.Issuer) {
			i.Tenant, i.Scopes, i.RoomsClaim = auth.AllTenants, []auth.Scope{auth.ScopeAdmin}, "rooms"
		},
	} {
		is := good
		change(&is)
		if _, err := auth.New(auth.Config{Issuers: []auth.Issuer{is}}); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
	if _, err := auth.New(auth.Config{Issuers: []auth.Issuer{good}}); err != nil {
		t.Error(err)
	}
	holder := auth.Certificate{Name: "a", Scopes: auth.Scopes()}
	if _, err := auth.New(auth.Config{Certificates: []auth.Certificate{holder, holder}}); err == nil {
		t.Error("two certificates of one name")
	}
	holder.Tenant = auth.AllTenants
	if _, err := auth.New(auth.Config{Certificates: []auth.Certificate{holder}}); err == nil {
		t.Error("a certificate that may do everything in all tenants")
	}
	good.Tenant, good.Scopes = auth.AllTenants, []auth.Scope{auth.ScopeAdmin}
	holder.Scopes = good.Scopes
	if _, err := auth.New(auth.Config{Issuers: []auth.Issuer{good}, Certificates: []auth.Certificate{holder}}); err != nil {
		t.Errorf("of an operator: %v", err)
	}
}
