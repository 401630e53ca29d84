// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"google.golang.org/protobuf/proto"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/auth"
	"github.com/classrec/classrec/server/internal/roomserver"
)

const (
	// linkKeyName is the key of links to files in the data directory.
	linkKeyName  = "file-link.key"
	linkKeyBytes = 32
)

// fileLinks opens the files of the embedded platform to those who have a signed
// link, or a token that sees the room. nil is for files that are public, or
// another platform's.
type fileLinks struct {
	auth   *auth.Authenticator
	links  auth.Links
	base   string // what URLs of the files begin with, with a slash at its end
	tenant string // whose platform it is: nobody else gets links
}

// openLinks makes or reads the key of links. A server whose platform is another
// process signs with the key that it is given.
func (s *Server) openLinks(context.Context) (err error) {
	if s.cfg.PublicFiles || !s.cfg.embedded() && s.cfg.FileLinkKeyFile == "" {
		return nil
	}
	var text string
	if s.cfg.FileLinkKeyFile == "" {
		text, err = keptSecret(s.cfg.path(linkKeyName), linkKeyBytes)
	} else {
		var raw []byte
		raw, err = os.ReadFile(s.cfg.FileLinkKeyFile)
		text = strings.TrimSpace(string(raw))
	}
	if err != nil {
		return fmt.Errorf("--file-link-key-file: %w", err)
	}
	key, err := hex.DecodeString(text)
	if err != nil || len(key) < linkKeyBytes {
		return fmt.Errorf("--file-link-key-file: does not hold %d bytes in hex", linkKeyBytes)
	}
	s.links = &fileLinks{
		auth:   s.auth,
		links:  auth.Links{Key: key, TTL: s.cfg.FileLinkTTL, Now: s.cfg.Rehearsal.Clock().Now},
		base:   s.filesBaseURL() + "/",
		tenant: auth.DefaultTenant,
	}
	for _, t := range s.cfg.tenants {
		if t.embedded() {
			s.links.tenant = t.name
		}
	}
	return nil
}

// of tells whether files of a tenant have links.
func (l *fileLinks) of(tenant string) bool { return l != nil && l.tenant == tenant }

// sign makes a URL of a tenant's that opens its file; one of no file of ours
// stays as it is. Another tenant's platform may list what it likes.
func (l *fileLinks) sign(tenant, text string) string {
	if !l.of(tenant) || !strings.HasPrefix(text, l.base) {
		return text
	}
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	file := roomserver.FilePath(u.EscapedPath())
	if file == "" {
		return text
	}
	u.RawQuery = l.links.Sign(file).Encode()
	return u.String()
}

// handOut is a tenant's recording as callers get it: with links that open. What is stored
// and shared stays as it is.
func (l *fileLinks) handOut(tenant string, r *classrecv1.Recording) *classrecv1.Recording {
	if !l.of(tenant) || len(r.GetUrls()) == 0 && len(r.GetFiles()) == 0 {
		return r
	}
	r = proto.CloneOf(r)
	for i, u := range r.GetUrls() {
		r.Urls[i] = l.sign(tenant, u)
	}
	for _, f := range r.GetFiles() {
		f.Url = l.sign(tenant, f.GetUrl())
	}
	return r
}

// admit says whether a request may read a file, or with which status and words
// it may not.
func (l *fileLinks) admit(r *http.Request, file string) (status int, words string) {
	query, credentials := r.URL.Query(), auth.OfRequest(r)
	if auth.Signed(query) || !l.auth.On() {
		if err := l.links.Check(file, query); err != nil {
			return http.StatusForbidden, err.Error()
		}
		return 0, ""
	}
	grant, err := l.auth.Authenticate(r.Context(), credentials)
	var refused *auth.Error
	switch {
	case errors.As(err, &refused) && refused.RetryAfter > 0:
		return http.StatusServiceUnavailable, err.Error()
	case err != nil:
		return http.StatusUnauthorized, err.Error()
	case !grant.Has(auth.ScopeList):
		return http.StatusForbidden, auth.ErrScope(auth.ScopeList).Error()
	}
	room, ok := roomserver.FileRoom(file)
	if grant.Tenant != l.tenant || !grant.SeesAllRooms() && (!ok || !grant.SeesRoom(string(room))) {
		return http.StatusNotFound, "no such file"
	}
	return 0, ""
}

// admitFile is admit for the room server; nil where files are public.
func (s *Server) admitFile() func(*http.Request, string) (int, string) {
	if s.links == nil {
		return nil
	}
	return s.links.admit
}
