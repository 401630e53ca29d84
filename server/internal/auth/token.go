// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// TokenPrefix begins every API token, so that one that has leaked is known for
// what it is.
const TokenPrefix = "crt_"

const (
	tokenIDBytes     = 5  // 8 letters
	tokenSecretBytes = 32 // 256 bits
	maxTokenBytes    = 128
	maxTokenFile     = 16 << 20
	maxNameBytes     = 64
	maxPatterns      = 1000
)

// Token is an API token as it is kept: of its secret there is a hash.
type Token struct {
	ID     string   `json:"id"`
	Name   string   `json:"name"`
	Tenant string   `json:"tenant"`
	Scopes []Scope  `json:"scopes"`
	Rooms  []string `json:"rooms,omitempty"`
	// Hash is the SHA-256 of the whole token, in hex.
	Hash    string    `json:"sha256"`
	Created time.Time `json:"created"`
	// Expires and Revoked are zero for never.
	Expires time.Time `json:"expires,omitzero"`
	Revoked time.Time `json:"revoked,omitzero"`
}

// State is "valid", "expired" or "revoked".
func (t Token) State(now time.Time) string {
	switch {
	case !t.Revoked.IsZero():
		return "revoked"
	case !t.Expires.IsZero() && !now.Before(t.Expires):
		return "expired"
	}
	return "valid"
}

// TokenFile is a file of API tokens. Programs that change it take turns by a
// lock beside it; whoever reads it finds it whole. Its mode is 0600.
type TokenFile struct{ Path string }

// tokens is what the file holds.
type tokens struct {
	Tokens []Token `json:"tokens"`
}

// ErrNoToken is for an id or a name that no token has.
var ErrNoToken = errors.New("no such token")

// Create adds a token, and returns it with its secret, which is nowhere else:
// what is given of t is Name, Tenant (DefaultTenant), Scopes, Rooms and Expires.
// A name is taken until its token is revoked.
func (f TokenFile) Create(t Token, now time.Time) (Token, string, error) {
	if t.Tenant == "" {
		t.Tenant = DefaultTenant
	}
	if err := t.validate(now); err != nil {
		return Token{}, "", err
	}
	secret, err := t.make()
	if err != nil {
		return Token{}, "", err
	}
	t.Created = now.UTC().Truncate(time.Second)
	if !t.Expires.IsZero() {
		t.Expires = t.Expires.UTC()
	}
	err = f.change(func(all []Token) ([]Token, error) {
		for _, other := range all {
			if other.ID == t.ID {
				return nil, errors.New("the id is taken; try again")
			}
			if other.Name == t.Name && other.Revoked.IsZero() {
				return nil, fmt.Errorf("there is a token %s already; revoke it first, or take another name", t.Name)
			}
		}
		return append(all, t), nil
	})
	if err != nil {
		return Token{}, "", err
	}
	return t, secret, nil
}

// List returns all tokens, oldest first; none where there is no file.
func (f TokenFile) List() ([]Token, error) {
	all, err := f.read()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return all, err
}

// Revoke ends the token of this id, or of this name, at once and for good.
func (f TokenFile) Revoke(idOrName string, now time.Time) (revoked Token, err error) {
	return revoked, f.change(func(all []Token) ([]Token, error) {
		for i, t := range all {
			if (t.ID == idOrName || t.Name == idOrName) && t.Revoked.IsZero() {
				all[i].Revoked = now.UTC().Truncate(time.Second)
				revoked = all[i]
				return all, nil
			}
		}
		return nil, fmt.Errorf("%w: %s", ErrNoToken, idOrName)
	})
}

// validate finds what makes no sense.
func (t Token) validate(now time.Time) error {
	if t.Name == "" || len(t.Name) > maxNameBytes || strings.ContainsFunc(t.Name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("the name must have 1 to %d letters, digits and signs, and no spaces", maxNameBytes)
	}
	if !t.Expires.IsZero() && !t.Expires.After(now) {
		return errors.New("it would have expired already")
	}
	return errors.Join(CheckScopes(t.Scopes), CheckRooms(t.Rooms), checkBound(t.Tenant, t.Scopes, len(t.Rooms) > 0))
}

// CheckScopes finds scopes that there are not, or that there is none.
func CheckScopes(scopes []Scope) error {
	if len(scopes) == 0 {
		return errors.New("no scope is given; there are start, stop, list, watch and admin")
	}
	for _, s := range scopes {
		if !slices.Contains(Scopes(), s) {
			return fmt.Errorf("no scope %q; there are start, stop, list, watch and admin", string(s))
		}
	}
	return nil
}

// CheckRooms finds patterns that are none.
func CheckRooms(patterns []string) error {
	if len(patterns) > maxPatterns {
		return fmt.Errorf("more than %d patterns of rooms", maxPatterns)
	}
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return errors.New("a pattern of rooms is none, as 42, class-* or [0-9]*")
		}
	}
	return nil
}

// checkBound finds a tenant that is none, and one of all tenants with more than is
// an operator's.
func checkBound(tenant string, scopes []Scope, someRooms bool) error {
	if tenant != AllTenants {
		return checkTenant(tenant)
	}
	if someRooms || len(scopes) == 0 || slices.ContainsFunc(scopes, func(s Scope) bool { return s != ScopeAdmin }) {
		return errors.New("the tenant * goes with the scope admin alone, and with all rooms")
	}
	return nil
}

func checkTenant(tenant string) error {
	if len(tenant) > maxNameBytes || strings.ContainsFunc(tenant, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}) {
		return fmt.Errorf("a tenant has at most %d letters, digits, - and _", maxNameBytes)
	}
	return nil
}

// make gives the token an id and a secret, of which the hash stays.
func (t *Token) make() (secret string, err error) {
	random := make([]byte, tokenIDBytes+tokenSecretBytes)
	if _, err := rand.Read(random); err != nil {
		return "", fmt.Errorf("make a token: %w", err)
	}
	letters := base32.StdEncoding.WithPadding(base32.NoPadding)
	t.ID = strings.ToLower(letters.EncodeToString(random[:tokenIDBytes]))
	secret = TokenPrefix + t.ID + "_" + strings.ToLower(letters.EncodeToString(random[tokenIDBytes:]))
	t.Hash = hashOf(secret)
	return secret, nil
}

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// is tells in constant time whether the secret is the token's.
func (t Token) is(secret string) bool {
	return subtle.ConstantTimeCompare([]byte(t.Hash), []byte(hashOf(secret))) == 1
}

// tokenID is the id in a token; ok is false for what cannot be one.
func tokenID(secret string) (id string, ok bool) {
	rest, ok := strings.CutPrefix(secret, TokenPrefix)
	if !ok || len(secret) > maxTokenBytes {
		return "", false
	}
	id, _, ok = strings.Cut(rest, "_")
	return id, ok
}

// read reads the file. An error repeats nothing of it.
func (f TokenFile) read() ([]Token, error) {
	info, err := os.Stat(f.Path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxTokenFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", f.Path, maxTokenFile)
	}
	text, err := os.ReadFile(f.Path)
	if err != nil {
		return nil, err
	}
	var all tokens
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("%s is no file of tokens", f.Path)
	}
	return all.Tokens, nil
}

// change has the file to itself while it is changed, and leaves it whole.
func (f TokenFile) change(change func([]Token) ([]Token, error)) (err error) {
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(f.Path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }() // and with it the lock
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	all, err := f.List()
	if err != nil {
		return err
	}
	if all, err = change(all); err != nil {
		return err
	}
	text, err := json.MarshalIndent(tokens{all}, "", "  ")
	if err != nil {
		return err
	}
	return f.write(append(text, '\n'))
}

// write puts a whole file in the place of the old one.
func (f TokenFile) write(text []byte) (err error) {
	part, err := os.CreateTemp(filepath.Dir(f.Path), filepath.Base(f.Path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(part.Name())
		}
	}()
	_, err = part.Write(text)
	if err = errors.Join(err, part.Sync(), part.Close()); err != nil {
		return err
	}
	if err := os.Rename(part.Name(), f.Path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(f.Path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
