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
	"github.com/classrec/classrec/server/internal/gateway"
	"github.com/classrec/classrec/server/internal/roomserver"
)

const (
	// linkKeyName is the key of links to files in the data directory.
	linkKeyName  = "file-link.key"
	linkKeyBytes = 32
)

// fileLinks makes the URLs of the embedded platform's files for those who ask:
// what is stored of a file is where it is, and the URL is made when it is handed
// out, so that another name or port of the server leaves no dead ones behind. It
// opens files to those who have a signed link, or a token that sees the room.
type fileLinks struct {
	auth   *auth.Authenticator
	links  *auth.Links // nil where files are public
	base   string      // what URLs of the files begin with, with a slash at its end
	fixed  bool        // base is the operator's own, and good for all
	hosts  []string    // the names under which callers may have come; nil for any
	tenant string      // whose platform it is: nobody else gets links
}

// openLinks makes or reads the key of links. A server whose platform is another
// process signs with the key that it is given.
func (s *Server) openLinks(context.Context) (err error) {
	if !s.cfg.embedded() && s.cfg.FileLinkKeyFile == "" {
		return nil
	}
	s.links = &fileLinks{
		auth: s.auth, base: s.filesBaseURL() + "/", fixed: s.cfg.FilesBaseURL != "", hosts: s.cfg.hosts(), tenant: auth.DefaultTenant,
	}
	for _, t := range s.cfg.tenants {
		if t.embedded() {
			s.links.tenant = t.name
		}
	}
	if s.cfg.PublicFiles {
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
	s.links.links = &auth.Links{Key: key, TTL: s.cfg.FileLinkTTL, Now: s.cfg.Rehearsal.Clock().Now}
	return nil
}

// of tells whether files of a tenant have links.
func (l *fileLinks) of(tenant string) bool { return l != nil && l.tenant == tenant }

// url makes of a stored URL of a tenant's file the one that opens it now, below
// base; one of no file of ours stays as it is. Another tenant's platform may list
// what it likes.
func (l *fileLinks) url(tenant, base, text string) string {
	if !l.of(tenant) {
		return text
	}
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	file := roomserver.FilePath(u.EscapedPath())
	if _, _, ok := roomserver.SplitFile(file); !ok || !strings.Contains(u.Path, "/files/") && !strings.HasPrefix(text, l.base) {
		return text
	}
	link := base + roomserver.EscapeFile(file)
	if l.links != nil {
		link += "?" + l.links.Sign(file).Encode()
	}
	return link
}

// stored is url for ourselves, at the address that is always good.
func (l *fileLinks) stored(tenant, text string) string {
	if l == nil {
		return text
	}
	return l.url(tenant, l.base, text)
}

// baseFor is what links begin with for somebody who came by an origin: that, where
// it is a name of ours. "" is nobody in particular.
func (l *fileLinks) baseFor(origin string) string {
	u, err := url.Parse(origin)
	if l.fixed || err != nil || u.Host == "" || !gateway.KnownHost(u.Host, l.hosts) {
		return l.base
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/files/"}).String()
}

// handOut is a tenant's recording as the caller of ctx gets it: with links that
// open. What is stored and shared stays as it is.
func (l *fileLinks) handOut(ctx context.Context, tenant string, r *classrecv1.Recording) *classrecv1.Recording {
	if !l.of(tenant) || len(r.GetUrls()) == 0 && len(r.GetFiles()) == 0 {
		return r
	}
	base := l.baseFor(auth.CallOrigin(ctx))
	r = proto.CloneOf(r)
	for i, u := range r.GetUrls() {
		r.Urls[i] = l.url(tenant, base, u)
	}
	for _, f := range r.GetFiles() {
		f.Url = l.url(tenant, base, f.GetUrl())
	}
	return r
}

// sent is handOut for webhooks, which nobody asked for.
func (l *fileLinks) sent(tenant string, r *classrecv1.Recording) *classrecv1.Recording {
	return l.handOut(context.Background(), tenant, r)
}

// apply has a room server make its links so too.
func (l *fileLinks) apply(cfg *roomserver.Config) {
	if l == nil {
		return
	}
	cfg.FilesBase = func(r *http.Request) string { return l.baseFor(auth.RequestOrigin(r)) }
	if l.links != nil {
		cfg.AdmitFile, cfg.SignFile = l.admit, l.links.Sign
	}
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
