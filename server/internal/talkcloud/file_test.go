// SPDX-License-Identifier: Apache-2.0

package talkcloud_test

import (
	"context"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// fileSecret is in every URL of these tests, and must be in no error.
const fileSecret = "marked-file-4f2a"

// fileServer serves files beside the platform, as a content network does.
type fileServer struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
}

func newFileServer(t *testing.T, answer http.HandlerFunc) *fileServer {
	t.Helper()
	s := makeFileServer(answer)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// newFileServerAt serves on another address of loopback, without TLS.
func newFileServerAt(t *testing.T, ip string, answer http.HandlerFunc) *fileServer {
	t.Helper()
	s := makeFileServer(answer)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	s.Listener.Close()
	s.Listener = listener
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func makeFileServer(answer http.HandlerFunc) *fileServer {
	s := &fileServer{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r)
		s.mu.Unlock()
		answer(w, r)
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of handshakes that fail
	return s
}

// trusting makes a client that knows the servers' certificates.
func trusting(t *testing.T, servers ...*fileServer) *talkcloud.Client {
	t.Helper()
	return talkcloudtest.New(t).NewClient(t, func(cfg *talkcloud.Config) {
		cfg.RootCAs = x509.NewCertPool()
		for _, s := range servers {
			cfg.RootCAs.AddCert(s.Certificate())
		}
		cfg.RequestTimeout = 2 * time.Second
	})
}

func (s *fileServer) file() string { return s.URL + "/" + fileSecret + "/a.mkv" }

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// noHead refuses HEAD with a status, and leaves the rest to get.
func noHead(code int, get http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.WriteHeader(code)
			return
		}
		get(w, r)
	}
}

// content serves a file with ranges, as net/http does.
func content(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "a.mkv", time.Unix(1511860322, 0), strings.NewReader(text))
	}
}

func TestCheckFile(t *testing.T) {
	t.Parallel()
	const fine = talkcloud.Kind(255)
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		kind   talkcloud.Kind // fine: it can be fetched
	}{
		"there":                       {content("media"), fine},
		"HEAD is forbidden":           {noHead(403, content("media")), fine},
		"HEAD is not allowed":         {noHead(405, content("media")), fine},
		"HEAD is not implemented":     {noHead(501, content("media")), fine},
		"HEAD tells no size":          {noHead(200, content("media")), fine},
		"ranges are not known":        {noHead(405, talkcloudtest.Body("media")), fine},
		"missing":                     {status(404), talkcloud.KindNotFound},
		"gone":                        {status(410), talkcloud.KindNotFound},
		"missing, and HEAD forbidden": {noHead(403, status(404)), talkcloud.KindNotFound},
		"forbidden":                   {status(403), talkcloud.KindPermissionDenied},
		"a login is asked for":        {status(401), talkcloud.KindPermissionDenied},
		"busy":                        {status(503), talkcloud.KindUnavailable},
		"too often":                   {status(429), talkcloud.KindUnavailable},
		"no content":                  {status(204), talkcloud.KindInternal},
		"a code of nobody":            {status(299), talkcloud.KindInternal},
		"empty":                       {content(""), talkcloud.KindNotFound},
		"empty, by GET":               {noHead(405, content("")), talkcloud.KindNotFound},
		"empty, without ranges":       {noHead(405, talkcloudtest.Body("")), talkcloud.KindNotFound},
		"broken off":                  {noHead(405, hijack("HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\n")), talkcloud.KindUnavailable},
		"no HTTP":                     {hijack("220 smtp.test ESMTP\r\n"), talkcloud.KindUnavailable},
		"never":                       {never(t), talkcloud.KindDeadline},
		"never, by GET":               {noHead(405, never(t)), talkcloud.KindDeadline},
		"redirects for ever": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.String(), http.StatusFound)
		}, talkcloud.KindInternal},
		"redirects to http": {http.RedirectHandler("http://127.0.0.1:1/"+fileSecret, http.StatusFound).ServeHTTP, talkcloud.KindInternal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newFileServer(t, tc.answer)
			err := trusting(t, s).CheckFile(t.Context(), s.file())
			if tc.kind == fine {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if e := asError(t, err, tc.kind, talkcloud.SourceFile); strings.Contains(e.Error(), fileSecret) {
				t.Errorf("the error shows the URL: %v", e)
			}
		})
	}
}

// A list names an entrance, and the file is somewhere else: that is how content
// networks are used. Nothing of ours goes along.
func TestCheckFile_RedirectToAnotherHost(t *testing.T) {
	t.Parallel()
	elsewhere := newFileServer(t, content("media"))
	entrance := newFileServer(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+"/moved", http.StatusFound)
	})
	if err := trusting(t, entrance, elsewhere).CheckFile(t.Context(), entrance.file()); err != nil {
		t.Fatal(err)
	}
	elsewhere.mu.Lock()
	defer elsewhere.mu.Unlock()
	if len(elsewhere.requests) != 1 || elsewhere.requests[0].Header.Get("Referer") != "" {
		t.Errorf("elsewhere was asked %v", elsewhere.requests)
	}
}

// No more than a byte is taken of a file of any size.
func TestCheckFile_ReadsAByte(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	s := newFileServer(t, noHead(405, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Range"); got != "bytes=0-0" {
			t.Errorf("asked for the range %q", got)
		}
		defer close(ended)
		for { // a server that knows no ranges, with a file without end
			if _, err := io.WriteString(w, strings.Repeat("x", 1<<16)); err != nil {
				return
			}
		}
	}))
	if err := trusting(t, s).CheckFile(t.Context(), s.file()); err != nil {
		t.Error(err)
	}
	<-ended
}

func TestCheckFile_UnknownCertificate(t *testing.T) {
	t.Parallel()
	s := newFileServer(t, content("media"))
	e := asError(t, trusting(t).CheckFile(t.Context(), s.file()), talkcloud.KindUnavailable, talkcloud.SourceFile)
	if !strings.Contains(e.Error(), "certificate") || strings.Contains(e.Error(), fileSecret) {
		t.Error(e)
	}
}

func TestCheckFile_NoURL(t *testing.T) {
	t.Parallel()
	c := trusting(t)
	for _, text := range []string{"", fileSecret, "/" + fileSecret, "ftp://host/" + fileSecret, "file:///" + fileSecret, "https:///" + fileSecret, "https://user:" + fileSecret + "@host/", "https://host/%zz" + fileSecret, (&url.URL{Scheme: "https", Opaque: fileSecret}).String()} {
		if e := asError(t, c.CheckFile(t.Context(), text), talkcloud.KindInvalidArgument, talkcloud.SourceFile); strings.Contains(e.Error(), fileSecret) {
			t.Errorf("%q: %v", text, e)
		}
	}
}

func TestCheckFile_Canceled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := newFileServer(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	wantKind(t, trusting(t, s).CheckFile(ctx, s.file()), talkcloud.KindCanceled, talkcloud.SourceFile)
}

// Who serves a file at a public address cannot have us ask one that is not; a platform in a private network may have its
// files there.
func TestCheckFile_RedirectToPrivate(t *testing.T) {
	t.Parallel()
	private := newFileServerAt(t, "127.0.0.2", content("media"))
	public := newFileServerAt(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, private.URL+"/moved", http.StatusFound)
	})
	c := trusting(t)
	if err := c.CheckFile(t.Context(), public.file()); err != nil {
		t.Errorf("from a private address to another one: %v", err)
	}
	private.CloseClientConnections()
	talkcloud.SetPublic(c, func(addr netip.Addr) bool { return addr.String() == "127.0.0.1" })
	asError(t, c.CheckFile(t.Context(), public.file()), talkcloud.KindInternal, talkcloud.SourceFile)
	private.mu.Lock()
	defer private.mu.Unlock()
	if len(private.requests) != 1 {
		t.Errorf("%d requests came", len(private.requests))
	}
}
