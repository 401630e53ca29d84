// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/classrec/classrec/client"
	"github.com/classrec/classrec/client/internal/clienttest"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// store serves one file at every path, and can be replaced and told to
// misbehave.
type store struct {
	mu       sync.Mutex
	content  []byte
	etag     string
	modified time.Time
	requests []http.Header
	odd      func(w http.ResponseWriter, r *http.Request) bool // answers itself; nil: never
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	content, etag, modified, odd := s.content, s.etag, s.modified, s.odd
	s.requests = append(s.requests, r.Header.Clone())
	s.mu.Unlock()
	if odd != nil && odd(w, r) {
		return
	}
	if etag != "" {
		w.Header().Set("ETag", etag)
	}
	http.ServeContent(w, r, "", modified, bytes.NewReader(content))
}

// asked returns the requests since the last time.
func (s *store) asked() []http.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.requests
	s.requests = nil
	return list
}

func newStore(t *testing.T, size int) (*store, *httptest.Server) {
	t.Helper()
	s := &store{content: random(size), etag: `"1"`}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server
}

func random(size int) []byte {
	content := make([]byte, size)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(content)
	return content
}

// available is a recording of files at URLs, of a size; -1: not known.
func available(size int64, urls ...string) *classrecv1.Recording {
	r := &classrecv1.Recording{Name: "rooms/42/recordings/17", State: classrecv1.RecordingState_RECORDING_STATE_AVAILABLE, Urls: urls}
	for _, url := range urls {
		r.Files = append(r.Files, &classrecv1.RecordingFile{Url: url, Size: max(size, 0), MediaType: "video/webm"})
	}
	return r
}

func noService(t *testing.T) *client.Client {
	t.Helper()
	return mustDial(t, "localhost:1", client.Config{})
}

func checkFile(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what it should be (%d bytes, want %d): %v", filepath.Base(path), len(got), len(want), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*.part*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

const mib = 1 << 20

// A transfer that breaks is resumed: within a call, and by a later one.
func TestDownload_Resumes(t *testing.T) {
	t.Parallel()
	for name, known := range map[string]bool{"size known": true, "size not known": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, server := newStore(t, 3*mib)
			proxy := clienttest.NewProxy(t, strings.TrimPrefix(server.URL, "http://"))
			size := int64(-1)
			if known {
				size = 3 * mib
			}
			r := available(size, "http://"+proxy.Addr()+"/a.webm")
			dir := t.TempDir()

			// First, all attempts but the first meet a wall.
			proxy.CutAfter(mib)
			cuts := 0
			ctx, cancel := context.WithCancel(clienttest.Context(t))
			_, err := noService(t).Download(ctx, r, client.DownloadOptions{Dir: dir, Retrying: func(string, error, time.Duration) {
				cuts++
				cancel()
			}})
			if !errors.Is(err, context.Canceled) || cuts != 1 {
				t.Fatalf("%d cuts, %v", cuts, err)
			}
			if _, err := os.Stat(filepath.Join(dir, "a.webm")); !errors.Is(err, fs.ErrNotExist) {
				t.Error("half a file has the name of a whole one")
			}
			part, err := os.Stat(filepath.Join(dir, "a.webm.part"))
			if err != nil || part.Size() == 0 || part.Size() > mib {
				t.Fatal(part, err)
			}
			s.asked()

			// Then another call goes on, is cut again, and goes on.
			proxy.CutAfter(mib)
			var resumed int64
			files, err := noService(t).Download(clienttest.Context(t), r, client.DownloadOptions{Dir: dir, Progress: func(p client.DownloadProgress) { resumed = p.Resumed }})
			if err != nil {
				t.Fatal(err)
			}
			checkFile(t, files[0].Path, s.content)
			if resumed != part.Size() || files[0].Fetched != 3*mib-resumed {
				t.Errorf("resumed %d of %d: %+v", resumed, part.Size(), files)
			}
			asked := s.asked()
			if len(asked) != 2 || asked[0].Get("Range") != fmt.Sprintf("bytes=%d-", part.Size()) || asked[0].Get("If-Range") != `"1"` || asked[1].Get("Range") == "" {
				t.Errorf("asked %v", asked)
			}
			for _, h := range asked {
				if h.Get("Accept-Encoding") != "identity" || h.Get("Authorization") != "" {
					t.Errorf("asked %v", h)
				}
			}
		})
	}
}

// half leaves half of a file in a directory, as an interrupted call does.
func half(t *testing.T, r *classrecv1.Recording, dir string, s *store) {
	t.Helper()
	ctx, cancel := context.WithCancel(clienttest.Context(t))
	s.mu.Lock()
	s.odd = func(w http.ResponseWriter, _ *http.Request) bool {
		if s.etag != "" {
			w.Header().Set("ETag", s.etag)
		}
		if !s.modified.IsZero() {
			w.Header().Set("Last-Modified", s.modified.UTC().Format(http.TimeFormat))
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(s.content)))
		w.Write(s.content[:len(s.content)/2])
		w.(http.Flusher).Flush()
		if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
			conn.Close()
		}
		return true
	}
	s.mu.Unlock()
	_, err := noService(t).Download(ctx, r, client.DownloadOptions{Dir: dir, Retrying: func(string, error, time.Duration) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.odd = nil
	s.mu.Unlock()
	s.asked()
}

// What is resumed is the same file, or it is begun anew.
func TestDownload_Changed(t *testing.T) {
	t.Parallel()
	old := time.Now().Add(-time.Hour).Truncate(time.Second)
	other := append(bytes.Repeat([]byte{7}, mib), random(mib)...)
	partial := func(etag string, total int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") == "" {
				return false
			}
			var from int
			fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
			w.Header().Set("ETag", etag)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, total-1, total))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(other[from:total])
			return true
		}
	}
	for name, tc := range map[string]struct {
		before func(*store)
		after  func(*store)
		again  int // requests of the second call
		ranged bool
	}{
		"same by ETag":          {nil, nil, 1, true},
		"same by Last-Modified": {func(s *store) { s.etag, s.modified = "", old }, nil, 1, true},
		"another ETag":          {nil, func(s *store) { s.content, s.etag = other, `"2"` }, 1, true},
		"another Last-Modified": {func(s *store) { s.etag, s.modified = "", old }, func(s *store) { s.content, s.modified = other, old.Add(time.Minute) }, 1, true},
		"a weak ETag":           {func(s *store) { s.etag = `W/"1"` }, nil, 1, false},
		"nothing to know it by": {func(s *store) { s.etag = "" }, nil, 1, false},
		"a server that knows no If-Range": {nil, func(s *store) {
			s.content, s.etag, s.odd = other, `"2"`, partial(`"2"`, 2*mib)
		}, 2, true},
		"a server that knows no ranges": {nil, func(s *store) {
			s.odd = func(w http.ResponseWriter, r *http.Request) bool {
				w.Write(s.content)
				return true
			}
		}, 1, true},
		"a range that was not asked for": {nil, func(s *store) {
			s.odd = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Range") == "" {
					return false
				}
				w.Header().Set("ETag", s.etag)
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(s.content)-1, len(s.content)))
				w.WriteHeader(http.StatusPartialContent)
				w.Write(s.content)
				return true
			}
		}, 2, true},
		"nothing is left of it": {nil, func(s *store) {
			s.odd = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Range") == "" {
					return false
				}
				w.Header().Set("Content-Range", "bytes */17")
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return true
			}
		}, 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, server := newStore(t, 2*mib)
			if tc.before != nil {
				tc.before(s)
			}
			r := available(2*mib, server.URL+"/a.webm")
			dir := t.TempDir()
			half(t, r, dir, s)
			if tc.after != nil {
				tc.after(s)
			}
			files, err := noService(t).Download(clienttest.Context(t), r, client.DownloadOptions{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			checkFile(t, files[0].Path, s.content)
			asked := s.asked()
			if len(asked) != tc.again || (asked[0].Get("Range") != "") != tc.ranged {
				t.Errorf("asked %v", asked)
			}
		})
	}
	t.Run("what was known of it is lost", func(t *testing.T) {
		t.Parallel()
		for _, text := range []string{"", "{", `{"url_sha256":"of another","etag":"\"1\""}`} {
			s, server := newStore(t, 2*mib)
			r := available(2*mib, server.URL+"/a.webm")
			dir := t.TempDir()
			half(t, r, dir, s)
			mustWrite(t, filepath.Join(dir, "a.webm.part.json"), text)
			files, err := noService(t).Download(clienttest.Context(t), r, client.DownloadOptions{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			checkFile(t, files[0].Path, s.content)
			if asked := s.asked(); len(asked) != 1 || asked[0].Get("Range") != "" {
				t.Errorf("asked %v", asked)
			}
		}
	})
	t.Run("all of it was there", func(t *testing.T) {
		t.Parallel()
		s, server := newStore(t, 2*mib)
		r := available(2*mib, server.URL+"/a.webm")
		dir := t.TempDir()
		half(t, r, dir, s)
		mustWrite(t, filepath.Join(dir, "a.webm.part"), string(s.content))
		files, err := noService(t).Download(clienttest.Context(t), r, client.DownloadOptions{Dir: dir})
		if err != nil || files[0].Fetched != 0 {
			t.Fatal(files, err)
		}
		checkFile(t, files[0].Path, s.content)
	})
}

// A wrong size, a server that has no file, one that never sends it: each has
// its error, and no file has a name.
func TestDownload_Fails(t *testing.T) {
	t.Parallel()
	answer := func(status int) func(*store) {
		return func(s *store) {
			s.odd = func(w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(status)
				return true
			}
		}
	}
	chunked := func(extra int) func(*store) {
		return func(s *store) {
			s.odd = func(w http.ResponseWriter, _ *http.Request) bool {
				w.(http.Flusher).Flush()
				w.Write(s.content[:len(s.content)+min(extra, 0)])
				w.Write(make([]byte, max(extra, 0)))
				return true
			}
		}
	}
	size := func(err error) bool { return errors.As(err, new(*client.SizeError)) }
	status := func(err error) bool { return errors.As(err, new(*client.HTTPError)) }
	for name, tc := range map[string]struct {
		change  func(*store)
		target  func(error) bool
		is      error // of errors.Is
		calls   int
		silence time.Duration
	}{
		"shorter than the service says": {change: func(s *store) { s.content = s.content[:mib-1] }, target: size, calls: 1},
		"longer than the service says":  {change: func(s *store) { s.content = append(s.content, 0) }, target: size, calls: 1},
		"longer, and does not say so":   {change: chunked(mib), target: size, calls: 1},
		"shorter, and does not say so":  {change: chunked(-1), calls: 4},
		"gone":                          {change: answer(http.StatusGone), target: status, is: client.ErrNotFound, calls: 1},
		"not found":                     {change: answer(http.StatusNotFound), target: status, is: client.ErrNotFound, calls: 1},
		"forbidden":                     {change: answer(http.StatusForbidden), target: status, is: client.ErrPermissionDenied, calls: 1},
		"broken":                        {change: answer(http.StatusBadGateway), target: status, calls: 4},
		"encoded": {change: func(s *store) {
			s.odd = func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Content-Encoding", "br")
				w.Write(s.content)
				return true
			}
		}, calls: 1},
		"stands still": {change: func(s *store) {
			s.odd = func(w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("Content-Length", fmt.Sprint(mib))
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				return true
			}
		}, calls: 4, silence: 200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, server := newStore(t, mib)
			tc.change(s)
			dir := t.TempDir()
			files, err := noService(t).Download(clienttest.Context(t), available(mib, server.URL+"/secret-path/a.webm"), client.DownloadOptions{Dir: dir, Silence: tc.silence})
			if err == nil || tc.target != nil && !tc.target(err) || tc.is != nil && !errors.Is(err, tc.is) {
				t.Error(err)
			}
			if err != nil && (strings.Contains(err.Error(), "secret-path") || !strings.Contains(err.Error(), "a.webm")) {
				t.Errorf("the error tells %v", err)
			}
			if files[0].Path != "" {
				t.Error(files)
			}
			if asked := s.asked(); len(asked) != tc.calls {
				t.Errorf("asked %d times", len(asked))
			}
			if _, err := os.Stat(filepath.Join(dir, "a.webm")); !errors.Is(err, fs.ErrNotExist) {
				t.Error("there is a file")
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		t.Parallel()
		_, server := newStore(t, 1)
		server.Close()
		_, err := noService(t).Download(clienttest.Context(t), available(1, server.URL+"/secret-path/a.webm"), client.DownloadOptions{Dir: t.TempDir()})
		if err == nil || strings.Contains(err.Error(), "secret-path") {
			t.Error(err)
		}
	})
	t.Run("retry after", func(t *testing.T) {
		t.Parallel()
		s, server := newStore(t, mib)
		var calls atomic.Int32
		s.odd = func(w http.ResponseWriter, _ *http.Request) bool {
			if calls.Add(1) > 1 {
				return false
			}
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}
		begin := time.Now()
		files, err := noService(t).Download(clienttest.Context(t), available(mib, server.URL+"/a.webm"), client.DownloadOptions{Dir: t.TempDir()})
		if err != nil || time.Since(begin) < time.Second {
			t.Fatalf("after %v: %v", time.Since(begin), err)
		}
		checkFile(t, files[0].Path, s.content)
	})
	t.Run("not available", func(t *testing.T) {
		t.Parallel()
		_, err := noService(t).Download(clienttest.Context(t), &classrecv1.Recording{State: classrecv1.RecordingState_RECORDING_STATE_PROCESSING}, client.DownloadOptions{})
		if !errors.Is(err, client.ErrNotAvailable) {
			t.Error(err)
		}
	})
	t.Run("empty, and of no known size", func(t *testing.T) {
		t.Parallel()
		for _, length := range []bool{true, false} {
			s, server := newStore(t, mib)
			s.odd = func(w http.ResponseWriter, _ *http.Request) bool {
				if length {
					w.Header().Set("Content-Length", "0")
				} else {
					w.(http.Flusher).Flush()
				}
				return true
			}
			dir := t.TempDir()
			_, err := noService(t).Download(clienttest.Context(t), available(0, server.URL+"/a.webm"), client.DownloadOptions{Dir: dir})
			if _, missing := os.Stat(filepath.Join(dir, "a.webm")); err == nil || !errors.Is(missing, fs.ErrNotExist) {
				t.Errorf("length told %t: %v, %v", length, err, missing)
			}
		}
	})
	t.Run("no files", func(t *testing.T) {
		t.Parallel()
		files, err := noService(t).Download(clienttest.Context(t), available(0), client.DownloadOptions{Dir: t.TempDir()})
		if err != nil || len(files) != 0 {
			t.Error(files, err)
		}
	})
	t.Run("other schemes", func(t *testing.T) {
		t.Parallel()
		for _, url := range []string{"file:///etc/passwd", "ftp://x/y", "x", "http:///y", "http://[", "data:,x"} {
			_, err := noService(t).Download(clienttest.Context(t), available(-1, url), client.DownloadOptions{Dir: t.TempDir()})
			if err == nil || !strings.Contains(err.Error(), "neither http nor https") {
				t.Errorf("%s: %v", url, err)
			}
		}
	})
}

// Redirects stay within their scheme.
func TestDownload_Redirects(t *testing.T) {
	t.Parallel()
	s, plain := newStore(t, mib)
	secure := httptest.NewTLSServer(s)
	t.Cleanup(secure.Close)
	var target string
	s.odd = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/a.webm" {
			http.Redirect(w, r, target, http.StatusFound)
			return true
		}
		return false
	}
	get := func(from, to string) error {
		target = to
		_, err := noService(t).Download(clienttest.Context(t), available(mib, from+"/a.webm"), client.DownloadOptions{Dir: t.TempDir(), HTTPClient: secure.Client()})
		return err
	}
	for _, tc := range []struct {
		from, to string
		fine     bool
	}{
		{plain.URL, plain.URL + "/b.webm", true},
		{secure.URL, secure.URL + "/b.webm", true},
		{secure.URL, plain.URL + "/b.webm", false},
		{plain.URL, secure.URL + "/b.webm", false},
		{plain.URL, "file:///etc/passwd", false},
		{plain.URL, plain.URL + "/a.webm", false}, // for ever
	} {
		if err := get(tc.from, tc.to); (err == nil) != tc.fine {
			t.Errorf("from %s to %s: %v", tc.from, tc.to, err)
		}
		s.asked()
	}
}

// Many files come at once, and one that fails does not end the others. The
// caller's HTTP client is used, with its credentials.
func TestDownload_Parallel(t *testing.T) {
	t.Parallel()
	s, server := newStore(t, mib)
	at, now := make(chan struct{}), atomic.Int32{}
	s.odd = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Key") != "k" {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		if now.Add(1) == 4 {
			close(at)
		}
		<-at // until there are four
		if r.URL.Path == "/2.webm" {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		return false
	}
	var urls []string
	for i := range 6 {
		urls = append(urls, fmt.Sprintf("%s/%d.webm", server.URL, i))
	}
	dir := filepath.Join(t.TempDir(), "new", "one")
	inProgress := atomic.Int32{}
	files, err := noService(t).Download(clienttest.Context(t), available(mib, urls...), client.DownloadOptions{
		Dir: dir, Parallel: 4, HTTPClient: &http.Client{Transport: keyed{server.Client().Transport}},
		Progress: func(client.DownloadProgress) {
			if inProgress.Add(1) > 1 {
				t.Error("progress overlaps")
			}
			runtime.Gosched()
			inProgress.Add(-1)
		},
	})
	if !errors.Is(err, client.ErrNotFound) || !strings.Contains(err.Error(), "2.webm") || strings.Contains(err.Error(), "3.webm") {
		t.Error(err)
	}
	for i, f := range files {
		if i == 2 {
			if f.Path != "" {
				t.Error(f)
			}
			continue
		}
		if want := filepath.Join(dir, fmt.Sprintf("%d.webm", i)); f.Path != want || f.Size != mib {
			t.Errorf("%+v", f)
		}
	}
}

// keyed adds credentials.
type keyed struct{ http.RoundTripper }

func (k keyed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Key", "k")
	return k.RoundTripper.RoundTrip(r)
}

// What is there already is not written over unless asked.
func TestDownload_Exists(t *testing.T) {
	t.Parallel()
	s, server := newStore(t, mib)
	for name, tc := range map[string]struct {
		known     bool
		size      int
		overwrite bool
		calls     int
		fails     bool
	}{
		"same size":                {true, mib, false, 0, false},
		"same size, not known":     {false, mib, false, 1, false},
		"another size":             {true, 17, false, 0, true},
		"another size, not known":  {false, 17, false, 1, true},
		"another size, overwrite":  {true, 17, true, 1, false},
		"same size, and overwrite": {true, mib, true, 1, false},
	} {
		dir := t.TempDir()
		mustWrite(t, filepath.Join(dir, "a.webm"), strings.Repeat("x", tc.size))
		size := int64(-1)
		if tc.known {
			size = mib
		}
		s.asked()
		files, err := noService(t).Download(clienttest.Context(t), available(size, server.URL+"/a.webm"), client.DownloadOptions{Dir: dir, Overwrite: tc.overwrite})
		if tc.fails != errors.Is(err, fs.ErrExist) || !tc.fails && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if asked := s.asked(); len(asked) != tc.calls {
			t.Errorf("%s: asked %d times", name, len(asked))
		}
		if tc.overwrite {
			checkFile(t, files[0].Path, s.content)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*.part*")); len(left) > 0 {
			t.Errorf("%s: left over: %v", name, left)
		}
	}
	t.Run("links", func(t *testing.T) {
		t.Parallel()
		for _, name := range []string{"a.webm", "a.webm.part", "a.webm.part.json"} {
			dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "precious")
			mustWrite(t, outside, "precious")
			if err := os.Symlink(outside, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			_, err := noService(t).Download(clienttest.Context(t), available(mib, server.URL+"/a.webm"), client.DownloadOptions{Dir: dir, Overwrite: true})
			if text, _ := os.ReadFile(outside); err == nil || string(text) != "precious" {
				t.Errorf("%s: written through a link: %q, %v", name, text, err)
			}
		}
	})
}

// A disk that is full is an error that says so, and what was there stays, to go
// on with when there is room.
func TestDownload_DiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := mountSmall(dir); err != nil {
		t.Skipf("a small file system needs the right to mount one: %v", err)
	}
	t.Cleanup(func() { unmount(dir) })
	s, server := newStore(t, 2*mib)
	r := available(2*mib, server.URL+"/a.webm")
	_, err := noService(t).Download(clienttest.Context(t), r, client.DownloadOptions{Dir: dir})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	part, err := os.Stat(filepath.Join(dir, "a.webm.part"))
	if err != nil || part.Size() == 0 {
		t.Fatal(part, err)
	}
	if len(s.asked()) != 1 {
		t.Error("asked again, and nothing had changed")
	}
	if err := growSmall(dir); err != nil {
		t.Fatal(err)
	}
	files, err := noService(t).Download(clienttest.Context(t), r, client.DownloadOptions{Dir: dir})
	if err != nil || files[0].Fetched >= 2*mib {
		t.Fatal(files, err)
	}
	checkFile(t, files[0].Path, s.content)
}

func TestFileNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("长", 100)
	got := client.FileNames(available(0,
		"https://h/x/alice.webm?token=a/b", "https://h/y/alice.webm", "https://h/y/ALICE.webm", "https://h/alice-2.webm",
		"https://h/..%2f..%2fetc%2fpasswd", "https://h/..", "https://h/", "https://h/.bashrc", "https://h/a%00b%0a.webm",
		"https://h/%E8%AF%BE.webm", "https://h/con.webm", "https://h/C:%5Cx.webm", "https://h/a.webm.part", "https://h/A.webm.part.json",
		"https://h/-rf", "https://h/"+long+".webm", "https://h/x%ff.webm", "https://h/e%CC%81.webm", "https://h/%C3%A9.webm",
		"https://h/a%E2%80%AEbew.exe", "http://[", "https://h/lpt1", "https://h/a.", "https://h/%2f%2f",
	))
	want := []string{
		"alice.webm", "alice-2.webm", "ALICE-3.webm", "alice-2-2.webm",
		"_.._etc_passwd", "file-6.webm", "file-7.webm", "bashrc", "a_b_.webm",
		"课.webm", "_con.webm", "C__x.webm", "a.webm.part_", "A.webm.part.json_",
		"rf", strings.Repeat("长", 65) + ".webm", "x_.webm", "é.webm", "é-2.webm",
		"a_bew.exe", "file-21.webm", "_lpt1", "a", "file-24.webm",
	}
	if !slices.Equal(got, want) {
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%d is %q, want %q", i, got[i], want[i])
			}
		}
	}
}

// Whatever a URL is, its file is in the directory, and not hidden.
func FuzzFileNames(f *testing.F) {
	for _, seed := range []string{"https://h/a.webm", "https://h/..%2f", "/", "", "https://h/.part", "%", "https://h/con", "https://h/a.b.c.part.json"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		names := client.FileNames(available(0, a, b, a))
		seen := map[string]bool{}
		for _, name := range names {
			lower := strings.ToLower(name)
			if !filepath.IsLocal(name) || strings.ContainsAny(name, "/\\\x00\r\n") || name == "" || strings.HasPrefix(name, ".") ||
				len(name) > 240 || strings.HasSuffix(lower, ".part") || strings.HasSuffix(lower, ".part.json") || seen[lower] {
				t.Errorf("%q, %q are named %q", a, b, names)
			}
			seen[lower] = true
		}
	})
}
