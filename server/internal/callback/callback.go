// SPDX-License-Identifier: Apache-2.0

// Package callback takes what the platform calls back over HTTP: that a class
// has begun or ended, that the files of a recording are made.
//
// How a callback proves that it is the platform's is not known, so the path has
// a secret in it, and a callback is a hint all the same: it says to look again,
// at once, and nothing that it tells is kept. A caller without the secret sees
// what he sees everywhere that there is nothing. What is sent is bounded in size
// and time, and is told apart in no answer.
//
// It leaves to others: what to look at, and how often (package recording), and
// listening (package server).
package callback

import (
	"crypto/subtle"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// Prefix is what the path of every callback begins with; the secret follows.
const Prefix = "/callbacks/talkcloud/"

// Config says what to do with callbacks. Secret and Notify are required.
type Config struct {
	// Secret is the rest of the path.
	Secret talkcloud.Secret
	// Notify is called for each callback that has come, and must not block. It is
	// not to believe it.
	Notify func(talkcloud.Callback)
	// MaxBodyBytes bounds a body; a larger one is answered 413. 0: 64 KiB.
	MaxBodyBytes int64
	// BodyTimeout bounds the time in which a body must have come. 0: 10 s.
	BodyTimeout time.Duration
	// Logger gets, at debug level, what came and from which room, and never the
	// path. nil discards.
	Logger *slog.Logger
}

// New returns a handler of callbacks. Whatever is not under [Prefix] goes to
// next, and so does what is, but without the secret: so it cannot be told from
// what is not there.
//
// A POST is answered 200 when it is a callback of whatever kind, 400 when it
// makes no sense; another method, 405.
func New(cfg Config, next http.Handler) http.Handler {
	if cfg.MaxBodyBytes <= 0 {
		cfg.MaxBodyBytes = 64 << 10
	}
	if cfg.BodyTimeout <= 0 {
		cfg.BodyTimeout = 10 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &handler{cfg, next}
}

type handler struct {
	cfg  Config
	next http.Handler
}

// ServeHTTP takes a callback.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secret, ours := strings.CutPrefix(r.URL.Path, Prefix)
	if !ours || subtle.ConstantTimeCompare([]byte(secret), []byte(h.cfg.Secret.Reveal())) != 1 {
		h.next.ServeHTTP(w, r)
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(h.cfg.BodyTimeout)) // where it can be set
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.cfg.MaxBodyBytes))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		return
	}
	var all []talkcloud.Callback
	if err == nil {
		all, err = talkcloud.ParseCallbacks(r.Header.Get("Content-Type"), body)
	}
	if err != nil {
		http.Error(w, "not understood", http.StatusBadRequest)
		return
	}
	for _, c := range all {
		h.cfg.Logger.Debug("called back", "kind", c.Kind.String(), "room", string(c.Room), "at", c.At)
		h.cfg.Notify(c)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"result":0}`) // as the platform itself answers
}
