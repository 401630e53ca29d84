// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// Media types of RFC 9725.
const (
	typeSDP     = "application/sdp"
	typeSDPFrag = "application/trickle-ice-sdpfrag" // RFC 8840 section 9
)

// WHIPConfig tells a [WHIP] who may publish and where its sessions live.
type WHIPConfig struct {
	// Authorize is asked for each POST, before the offer is read. It decides by the request's path, query and
	// Authorization header who publishes where, and returns the Handler that will get the peer; it must not read the
	// body. An error refuses the request: a [*StatusError] with its status and text, any other with 403 and no
	// text. The Handler is not called when the offer is then refused; one that is an [io.Closer] is closed in
	// that case, so that what Authorize took can be given back. One that is an [Acceptor] is given the peer. Required.
	Authorize func(*http.Request) (Handler, error)
	// SessionPath is the path under which the sessions are, beginning and ending with "/". A session's URL is
	// SessionPath and an unguessable identifier (128 random bits): whoever knows it may end the session, so it takes no
	// other authorization. Default "/whip/sessions/".
	SessionPath string
	// AllowOrigin is sent as Access-Control-Allow-Origin. Default "*", which is safe because no cookies are used.
	AllowOrigin string
}

// Acceptor is a [Handler] that wants its peer, to stop it, say.
type Acceptor interface {
	// Accepted is called once, when the offer has been answered; the peer may have connected, and even ended, by then.
	Accepted(*Peer)
}

// Rejecter is a [Handler] that wants to know why there will be no peer.
type Rejecter interface {
	// Rejected is called, before the Handler is closed, when the offer was refused; the client is told the same.
	Rejected(err error)
}

// StatusError refuses a request with an HTTP status.
type StatusError struct {
	Status  int    // 4xx or 5xx
	Message string // told to the client
}

// Error implements error.
func (e *StatusError) Error() string { return fmt.Sprintf("%d: %s", e.Status, e.Message) }

// WHIP is an [http.Handler] for WebRTC-HTTP ingestion, RFC 9725: trickle ICE is supported, ICE restart is not (422,
// section 4.3). Requests below SessionPath are for sessions, all others are for the endpoint; mount it for both.
type WHIP struct {
	server *Server
	cfg    WHIPConfig

	mu       sync.Mutex
	sessions map[string]*whipSession
}

// whipSession is one peer and its Handler, between the two.
type whipSession struct {
	Handler
	whip *WHIP
	id   string
	etag string
	peer *Peer // guarded by whip.mu; set before the session's URL is given away
}

// Closed implements [Handler]: the URL dies with the peer.
func (s *whipSession) Closed(err error) {
	s.whip.forget(s.id)
	s.Handler.Closed(err)
}

// PreferredCodecs implements [Preferrer] for a Handler that does.
func (s *whipSession) PreferredCodecs() []string {
	if p, ok := s.Handler.(Preferrer); ok {
		return p.PreferredCodecs()
	}
	return nil
}

// WHIP returns a handler that publishes into s. It needs no closing: its sessions end with s.
func (s *Server) WHIP(cfg WHIPConfig) *WHIP {
	if cfg.SessionPath == "" {
		cfg.SessionPath = "/whip/sessions/"
	}
	if cfg.AllowOrigin == "" {
		cfg.AllowOrigin = "*"
	}
	return &WHIP{server: s, cfg: cfg, sessions: make(map[string]*whipSession)}
}

// ServeHTTP implements [http.Handler].
func (w *WHIP) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	h := rw.Header()
	h.Set("Access-Control-Allow-Origin", w.cfg.AllowOrigin)
	h.Set("Access-Control-Expose-Headers", "Location, ETag, Accept-Post, Accept-Patch, Retry-After")
	if id, ok := strings.CutPrefix(r.URL.Path, w.cfg.SessionPath); ok {
		w.serveSession(rw, r, id)
		return
	}
	switch r.Method {
	case http.MethodPost:
		w.post(rw, r)
	case http.MethodOptions:
		h.Set("Accept-Post", typeSDP)
		w.options(rw, "POST, OPTIONS")
	default:
		methodNotAllowed(rw, "POST, OPTIONS")
	}
}

// serveSession dispatches the requests for a session's URL.
func (w *WHIP) serveSession(rw http.ResponseWriter, r *http.Request, id string) {
	const allow = "PATCH, DELETE, OPTIONS"
	if r.Method == http.MethodOptions {
		rw.Header().Set("Accept-Patch", typeSDPFrag)
		w.options(rw, allow)
		return
	}
	s, peer := w.session(id)
	if peer == nil {
		http.Error(rw, "no such session", http.StatusNotFound)
		return
	}
	switch r.Method {
	case http.MethodPatch:
		w.patch(rw, r, s, peer)
	case http.MethodDelete:
		_ = peer.Close() // waits, so that the session is over when the client is told so; never fails
		rw.WriteHeader(http.StatusOK)
	default:
		methodNotAllowed(rw, allow)
	}
}

// options answers a CORS preflight (and the question of RFC 9725 section 4.5).
func (w *WHIP) options(rw http.ResponseWriter, allow string) {
	h := rw.Header()
	h.Set("Allow", allow)
	h.Set("Access-Control-Allow-Methods", allow)
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match")
	h.Set("Access-Control-Max-Age", "600")
	rw.WriteHeader(http.StatusNoContent)
}

func methodNotAllowed(rw http.ResponseWriter, allow string) {
	rw.Header().Set("Allow", allow)
	http.Error(rw, "method not allowed", http.StatusMethodNotAllowed)
}

// post makes a session of an offer (RFC 9725 section 4.2).
func (w *WHIP) post(rw http.ResponseWriter, r *http.Request) {
	if !hasType(r, typeSDP) {
		rw.Header().Set("Accept-Post", typeSDP)
		http.Error(rw, "content type must be "+typeSDP, http.StatusUnsupportedMediaType)
		return
	}
	handler, err := w.cfg.Authorize(r)
	if err != nil {
		if status := (*StatusError)(nil); !errors.As(err, &status) {
			err = &StatusError{http.StatusForbidden, "refused"}
		}
		refuse(rw, err)
		return
	}
	s := &whipSession{Handler: handler, whip: w, id: rand.Text(), etag: `"` + rand.Text() + `"`}
	answer, err := w.accept(rw, r, s)
	if err != nil {
		if r, ok := handler.(Rejecter); ok {
			r.Rejected(err)
		}
		if c, ok := handler.(io.Closer); ok {
			_ = c.Close() // the error that we have is the one to tell
		}
		refuse(rw, err)
		return
	}
	h := rw.Header()
	h.Set("Content-Type", typeSDP)
	h.Set("Location", locationFor(r, w.cfg.SessionPath+s.id))
	h.Set("ETag", s.etag)
	rw.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(rw, answer) // a client that is gone will time out as a peer
}

// locationFor is how the answer to r names a path of ours: as it is; or, where a
// proxy has passed the request on, which may have taken a prefix off its path,
// with the prefix that it tells (X-Forwarded-Prefix), or else relative to the
// request's own URL (RFC 9110 section 10.2.2).
func locationFor(r *http.Request, path string) string {
	if prefix := strings.TrimRight(r.Header.Get("X-Forwarded-Prefix"), "/"); strings.HasPrefix(prefix, "/") && !strings.HasPrefix(prefix, "//") {
		return (&url.URL{Path: prefix + path}).EscapedPath()
	}
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "Via"} {
		if r.Header.Get(name) != "" {
			return strings.Repeat("../", max(strings.Count(r.URL.EscapedPath(), "/")-1, 0)) + strings.TrimPrefix(path, "/")
		}
	}
	return path
}

// accept reads the offer and makes the peer.
func (w *WHIP) accept(rw http.ResponseWriter, r *http.Request, s *whipSession) (string, error) {
	body, err := readBody(rw, r, w.server.cfg.MaxOfferBytes)
	if err != nil {
		return "", err
	}
	w.mu.Lock() // before the peer exists, because it may end before Accept returns
	w.sessions[s.id] = s
	w.mu.Unlock()
	peer, answer, err := w.server.Accept(r.Context(), body, s)
	if err != nil {
		w.forget(s.id)
		return "", err
	}
	w.mu.Lock()
	s.peer = peer
	w.mu.Unlock()
	if a, ok := s.Handler.(Acceptor); ok {
		a.Accepted(peer)
	}
	return answer, nil
}

// patch takes trickled candidates (RFC 9725 section 4.3.2).
func (w *WHIP) patch(rw http.ResponseWriter, r *http.Request, s *whipSession, peer *Peer) {
	if !hasType(r, typeSDPFrag) {
		rw.Header().Set("Accept-Patch", typeSDPFrag)
		http.Error(rw, "content type must be "+typeSDPFrag, http.StatusUnsupportedMediaType)
		return
	}
	switch match := r.Header.Get("If-Match"); match {
	case "":
		http.Error(rw, "If-Match is required", http.StatusPreconditionRequired) // RFC 6585 section 3
		return
	case "*", s.etag:
	default:
		http.Error(rw, "not the present ICE session", http.StatusPreconditionFailed)
		return
	}
	body, err := readBody(rw, r, w.server.cfg.MaxOfferBytes)
	if err != nil {
		refuse(rw, err)
		return
	}
	frag, err := parseFrag(body)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	if frag.ufrag != "" && !peer.offer.hasUfrag(frag.ufrag) {
		http.Error(rw, "ICE restart is not supported", http.StatusUnprocessableEntity)
		return
	}
	for _, c := range frag.candidates {
		err := peer.AddCandidate(c.text, c.mid, c.mline)
		switch {
		case errors.Is(err, ErrBadCandidate):
			http.Error(rw, "malformed candidate", http.StatusBadRequest)
			return
		case errors.Is(err, ErrClosed):
			http.Error(rw, "no such session", http.StatusNotFound)
			return
		}
	}
	rw.WriteHeader(http.StatusNoContent)
}

// session returns the session of an identifier, or nil.
func (w *WHIP) session(id string) (*whipSession, *Peer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.sessions[id]; s != nil {
		return s, s.peer
	}
	return nil, nil
}

func (w *WHIP) forget(id string) {
	w.mu.Lock()
	delete(w.sessions, id)
	w.mu.Unlock()
}

// refuse answers with the status that belongs to an error.
func refuse(rw http.ResponseWriter, err error) {
	var status *StatusError
	switch {
	case errors.As(err, &status):
		if status.Status == http.StatusUnauthorized {
			rw.Header().Set("WWW-Authenticate", "Bearer") // RFC 9110 section 11.6.1
		}
		switch status.Status {
		case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusInsufficientStorage:
			rw.Header().Set("Retry-After", "5")
		}
		http.Error(rw, status.Message, status.Status)
	case errors.Is(err, ErrUnsupportedOffer):
		http.Error(rw, err.Error(), http.StatusUnprocessableEntity)
	case errors.Is(err, ErrBadOffer):
		http.Error(rw, err.Error(), http.StatusBadRequest)
	case errors.Is(err, ErrTooManyPeers), errors.Is(err, ErrClosed):
		rw.Header().Set("Retry-After", "5")
		http.Error(rw, "no room for another publisher", http.StatusServiceUnavailable)
	default:
		http.Error(rw, "internal error", http.StatusInternalServerError)
	}
}

// readBody reads at most limit bytes.
func readBody(rw http.ResponseWriter, r *http.Request, limit int) (string, error) {
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, int64(limit)))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return "", &StatusError{http.StatusRequestEntityTooLarge, fmt.Sprintf("longer than %d bytes", limit)}
	case err != nil:
		return "", &StatusError{http.StatusBadRequest, "body is not complete"}
	}
	return string(body), nil
}

// hasType compares the content type without its parameters.
func hasType(r *http.Request, want string) bool {
	got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && got == want
}
