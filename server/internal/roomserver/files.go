// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/classrec/classrec/server/internal/talkcloud"
)

// filesPrefix is where [Server.Handler] serves the files.
const filesPrefix = "/files/"

// Files serves the files of finished recordings, and nothing else: with ranges, validators and their media types, to
// any origin. It looks at the last three elements of the path only, <room's directory>/<recordts>/<name>, so it may
// be mounted under any prefix, stripped or not. Who may read a file is told by Config.AdmitFile; without it, whoever
// knows the URL, as at the platform.
func (s *Server) Files() http.Handler { return http.HandlerFunc(s.serveFile) }

func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Content-Security-Policy", "default-src 'none'; media-src 'self'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("Access-Control-Expose-Headers", "Accept-Ranges, Content-Length, Content-Range, ETag")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		h.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "Authorization, Range, If-Range, If-Match, If-None-Match")
		h.Set("Access-Control-Max-Age", "600")
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		h.Set("Allow", "GET, HEAD, OPTIONS")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	name := FilePath(r.URL.EscapedPath())
	if s.cfg.AdmitFile != nil {
		if status, words := s.cfg.AdmitFile(r, name); status != 0 {
			if status == http.StatusUnauthorized {
				h.Set("WWW-Authenticate", "Bearer")
			}
			http.Error(w, words, status)
			return
		}
	}
	f, file, err := s.archive.open(name)
	if err != nil {
		http.Error(w, "no such file", http.StatusNotFound)
		return
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		http.Error(w, "no such file", http.StatusNotFound)
		return
	}
	h.Set("Content-Type", file.MediaType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Disposition", mime.FormatMediaType(disposition(file.MediaType), map[string]string{"filename": file.Name}))
	h.Set("ETag", fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size()))
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// disposition lets a browser play media, and save what else there is: it is text that strangers wrote.
func disposition(mediaType string) string {
	if strings.HasPrefix(mediaType, "video/") || strings.HasPrefix(mediaType, "audio/") {
		return "inline"
	}
	return "attachment"
}

// FilePath is the path of a file below the archive's directory, "" when the URL's path names none: what two URLs of one
// file have in common.
func FilePath(escaped string) string {
	parts := strings.Split(escaped, "/")
	if len(parts) < 3 {
		return ""
	}
	parts = parts[len(parts)-3:]
	for i, part := range parts {
		parts[i] = unescapePath(part)
		if strings.Contains(parts[i], "/") {
			return ""
		}
	}
	return strings.Join(parts, "/")
}

// SplitFile splits a path as FilePath returns it. ok is false for what is no file of the archive.
func SplitFile(file string) (recordTS int64, name string, ok bool) {
	parts := strings.Split(file, "/")
	if len(parts) != 3 || parts[0] == "" || !plainName(parts[2]) {
		return 0, "", false
	}
	recordTS, err := strconv.ParseInt(parts[1], 10, 64)
	return recordTS, parts[2], err == nil && recordTS > 0
}

// EscapeFile writes a path as FilePath returns it for a URL.
func EscapeFile(file string) string {
	parts := strings.Split(file, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return strings.Join(parts, "/")
}

// FileRoom is the room of a file, as FilePath names it. A room whose name was too long for a directory has none.
func FileRoom(file string) (talkcloud.RoomID, bool) {
	dir, _, _ := strings.Cut(file, "/")
	room, err := roomOfDir(dir)
	return room, err == nil
}
