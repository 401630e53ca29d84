// SPDX-License-Identifier: Apache-2.0

// Package console is the pages for a person who runs classrec: the rooms it
// works in, the events, the recordings and their player, a small classroom, and
// a page that lets a reader try the calls.
//
// The pages are plain ES modules and one style sheet, embedded as they are
// written. They use only the public API, and, for the classroom, the public
// doors of the embedded room server; they ask no other host for anything, but
// for recorded files where the platform keeps them there. Every answer carries a
// Content-Security-Policy that allows no more than that.
//
// It leaves to others: listening, the calls themselves, /openapi.json, /files/
// and the doors of the room server (package gateway).
package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

// Config says what the pages can count on. Its zero value is for a platform
// elsewhere.
type Config struct {
	// Classroom says that the room server's doors (WHIP at /whip/, the vendor's
	// wire at /socket.io/ and /ClientAPI/checkroom) are at the pages' own origin,
	// and the recorded files at /files/.
	Classroom bool
	// FilesBaseURL is what the URLs of the files at /files/ begin with, without
	// a slash at its end. Used with Classroom only.
	FilesBaseURL string
	// MediaSources are the CSP sources from which recordings may be played,
	// beside the pages' own origin: "https:", or "https://files.example.com".
	MediaSources []string
}

//go:embed web
var web embed.FS

// Prefix is under which all is served but the pages themselves.
const Prefix = "/console/"

// Pages are the paths of the pages, each with its file.
func pages() map[string]string {
	return map[string]string{"/": "index.html", "/docs": "docs.html"}
}

// Handler serves the pages, and what is under [Prefix].
type Handler struct {
	policy string
	files  map[string]*file // by path of the request
}

// file is one answer, made once.
type file struct {
	contentType string
	etag        string
	plain       []byte
	zipped      []byte // nil: not worth it
}

// New reads and compresses the embedded files.
func New(cfg Config) (*Handler, error) {
	h := &Handler{policy: policy(cfg), files: map[string]*file{}}
	entries, err := fs.ReadDir(web, "web")
	if err != nil {
		return nil, fmt.Errorf("read the console: %w", err)
	}
	for _, entry := range entries {
		data, err := web.ReadFile(path.Join("web", entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("read the console: %w", err)
		}
		f, err := newFile(contentType(entry.Name()), data)
		if err != nil {
			return nil, err
		}
		h.files[Prefix+entry.Name()] = f
	}
	for page, name := range pages() {
		f := h.files[Prefix+name]
		if f == nil {
			return nil, fmt.Errorf("read the console: %w: %s", fs.ErrNotExist, name)
		}
		h.files[page] = f
		delete(h.files, Prefix+name)
	}
	settings, err := json.Marshal(map[string]any{"classroom": cfg.Classroom, "filesBaseUrl": filesBase(cfg)})
	if err != nil {
		return nil, fmt.Errorf("encode the console's settings: %w", err)
	}
	if h.files[Prefix+"settings.json"], err = newFile("application/json", settings); err != nil {
		return nil, err
	}
	return h, nil
}

func filesBase(cfg Config) string {
	if !cfg.Classroom {
		return ""
	}
	return strings.TrimSuffix(cfg.FilesBaseURL, "/")
}

// policy is the Content-Security-Policy of every page. There is no inline
// script or style, and nothing is made of text (Trusted Types).
func policy(cfg Config) string {
	media := append([]string{"'self'"}, cfg.MediaSources...)
	return strings.Join([]string{
		"default-src 'none'",
		"script-src 'self'",
		"style-src 'self'",
		"img-src 'self'",
		"connect-src 'self'",
		"media-src " + strings.Join(media, " "),
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'none'",
		"require-trusted-types-for 'script'",
		"trusted-types 'none'",
	}, "; ")
}

// contentType does not ask the system's tables, which differ.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".json":
		return "application/json"
	case ".svg":
		return "image/svg+xml"
	}
	return "application/octet-stream"
}

func newFile(contentType string, data []byte) (*file, error) {
	sum := sha256.Sum256(data)
	f := &file{contentType: contentType, etag: base64.RawURLEncoding.EncodeToString(sum[:12]), plain: data}
	var buf bytes.Buffer
	zip, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("compress the console: %w", err)
	}
	if _, err := zip.Write(data); err != nil {
		return nil, fmt.Errorf("compress the console: %w", err)
	}
	if err := zip.Close(); err != nil {
		return nil, fmt.Errorf("compress the console: %w", err)
	}
	if buf.Len() < len(data) {
		f.zipped = buf.Bytes()
	}
	return f, nil
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", h.policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer") // URLs of recordings are secrets
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Permissions-Policy", "camera=(self), microphone=(self), display-capture=(), geolocation=()")
	f := h.files[r.URL.Path]
	if f == nil {
		http.Error(w, "there is no such page", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	body, etag := f.plain, f.etag
	header.Set("Cache-Control", "no-cache") // ask again: the ETag says whether a newer classrec runs
	header.Set("Vary", "Accept-Encoding")
	if f.zipped != nil && takesGzip(r.Header.Values("Accept-Encoding")) {
		body, etag = f.zipped, f.etag+"-gzip"
		header.Set("Content-Encoding", "gzip")
	}
	header.Set("Content-Type", f.contentType)
	header.Set("ETag", `"`+etag+`"`)
	if header.Get("Content-Encoding") != "" {
		header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// takesGzip reads Accept-Encoding (RFC 9110, 12.5.3).
func takesGzip(accept []string) bool {
	for _, value := range accept {
		for part := range strings.SplitSeq(value, ",") {
			// An encoding with its weight has the form of a media type's parameters.
			name, params, err := mime.ParseMediaType(strings.TrimSpace(part))
			if err != nil || name != "gzip" {
				continue
			}
			q, err := strconv.ParseFloat(params["q"], 64)
			return err != nil || q > 0
		}
	}
	return false
}
