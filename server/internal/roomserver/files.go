// SPDX-License-Identifier: Apache-2.0

package roomserver

import (
	"fmt"
	"net/http"
	"strings"
)

// filesPrefix is where [Server.Handler] serves the files.
const filesPrefix = "/files/"

// Files serves the files of finished recordings, and nothing else: with ranges, validators and their media types, to
// any origin. It looks at the last three elements of the path only, <room's directory>/<recordts>/<name>, so it may
// be mounted under any prefix, stripped or not. Who knows a URL may read the file, as at the platform.
func (s *Server) Files() http.Handler { return http.HandlerFunc(s.serveFile) }

func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Accept-Ranges, Content-Length, Content-Range, ETag")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		h.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "Range, If-Range, If-Match, If-None-Match")
		h.Set("Access-Control-Max-Age", "600")
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		h.Set("Allow", "GET, HEAD, OPTIONS")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	f, file, err := s.archive.open(fileName(r.URL.EscapedPath()))
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
	h.Set("ETag", fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size()))
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// fileName is the path of a file below the archive's directory, "" when the URL names none.
func fileName(escaped string) string {
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
