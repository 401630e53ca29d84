// SPDX-License-Identifier: Apache-2.0

package talkcloud_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// wantKind fails unless err is an *Error of a kind and source.
func wantKind(t *testing.T, err error, kind talkcloud.Kind, source talkcloud.Source) {
	t.Helper()
	_ = asError(t, err, kind, source)
}

// asError is wantKind, for who wants to see more of the error.
func asError(t *testing.T, err error, kind talkcloud.Kind, source talkcloud.Source) *talkcloud.Error {
	t.Helper()
	var e *talkcloud.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v (%T), want a *talkcloud.Error", err, err)
	}
	if e.Kind != kind || e.Source != source {
		t.Fatalf("error is %v of %s (%v), want %v of %s", e.Kind, e.Source, e, kind, source)
	}
	return e
}

// hijack answers with raw bytes and closes.
func hijack(raw string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, raw)
		_ = conn.Close()
	}
}

// never answers until the client or the test is gone.
func never(t *testing.T) http.HandlerFunc {
	t.Helper()
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	return func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-done:
		}
	}
}

// misbehaviors are bad answers that no call may take for a success.
func misbehaviors(t *testing.T) map[string]struct {
	answer http.HandlerFunc
	kind   talkcloud.Kind
} {
	t.Helper()
	type bad = struct {
		answer http.HandlerFunc
		kind   talkcloud.Kind
	}
	return map[string]bad{
		"HTML":             {talkcloudtest.Body("<html><body>Login</body></html>"), talkcloud.KindInternal},
		"half a JSON":      {talkcloudtest.Body(`{"result":0,"room":{`), talkcloud.KindInternal},
		"plain text":       {talkcloudtest.Body("OK"), talkcloud.KindInternal},
		"a JSON text":      {talkcloudtest.Body(`"ok"`), talkcloud.KindInternal},
		"a number":         {talkcloudtest.Body(`0`), talkcloud.KindInternal},
		"true":             {talkcloudtest.Body(`{"result":true}`), talkcloud.KindInternal},
		"result is a list": {talkcloudtest.Body(`{"result":[]}`), talkcloud.KindInternal},
		"result is null":   {talkcloudtest.Body(`{"result":null}`), talkcloud.KindInternal},
		"result is a word": {talkcloudtest.Body(`{"result":"ok"}`), talkcloud.KindInternal},
		"result is empty":  {talkcloudtest.Body(`{"result":""}`), talkcloud.KindInternal},
		"no result":        {talkcloudtest.Body(`{"room":{"serial":"7"}}`), talkcloud.KindInternal},
		"two documents":    {talkcloudtest.Body(`{"result":0}{"result":0}`), talkcloud.KindInternal},
		"a huge body":      {talkcloudtest.Body(`{"result":0,"x":"` + strings.Repeat("x", 5000) + `"}`), talkcloud.KindInternal},
		"unknown code":     {talkcloudtest.Body(`{"result":99999}`), talkcloud.KindInternal},
		"code as text":     {talkcloudtest.Body(`{"result":"4008"}`), talkcloud.KindPermissionDenied},
		"huge code":        {talkcloudtest.Body(`{"result":99999999999999}`), talkcloud.KindInternal},
		"status 500":       {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, talkcloud.KindUnavailable},
		"status 503": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"result":0}`)
		}, talkcloud.KindUnavailable},
		"status 404":       {http.NotFound, talkcloud.KindInternal},
		"status 204":       {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, talkcloud.KindInternal},
		"closed at once":   {hijack(""), talkcloud.KindUnavailable},
		"no HTTP":          {hijack("220 smtp.test ESMTP\r\n"), talkcloud.KindUnavailable},
		"broken off":       {hijack("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"result\":0"), talkcloud.KindUnavailable},
		"endless headers":  {hijack("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<17)), talkcloud.KindUnavailable},
		"a false chunk":    {hijack("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), talkcloud.KindUnavailable},
		"no answer":        {never(t), talkcloud.KindDeadline},
		"a slow body":      {slowBody(t), talkcloud.KindDeadline},
		"redirect to http": {http.RedirectHandler("http://platform.test/x", http.StatusFound).ServeHTTP, talkcloud.KindInternal},
		"a gzip bomb":      {gzipBomb(t), talkcloud.KindInternal},
		"a body without end": {func(w http.ResponseWriter, _ *http.Request) {
			for { // until we go
				if _, err := io.WriteString(w, strings.Repeat(" ", 1<<12)); err != nil {
					return
				}
			}
		}, talkcloud.KindInternal},
		"redirect to another host": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.test"+r.URL.Path, http.StatusTemporaryRedirect)
		}, talkcloud.KindInternal},
		"redirects for ever": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.String(), http.StatusTemporaryRedirect)
		}, talkcloud.KindInternal},
	}
}

// gzipBomb answers with little that becomes 8 MiB.
func gzipBomb(t *testing.T) http.HandlerFunc {
	t.Helper()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	for range 8 {
		if _, err := z.Write(bytes.Repeat([]byte(" "), 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			t.Errorf("gzip is not taken at all")
		}
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(packed.Bytes())
	}
}

func slowBody(t *testing.T) http.HandlerFunc {
	t.Helper()
	wait := never(t)
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"result":0,`)
		w.(http.Flusher).Flush()
		wait(w, r)
	}
}

// quick is a client that gives up soon, and takes only small answers.
func quick(kind talkcloud.Kind) func(*talkcloud.Config) {
	return func(cfg *talkcloud.Config) {
		cfg.MaxBodyBytes = 4096
		if kind == talkcloud.KindDeadline {
			cfg.RequestTimeout = 50 * time.Millisecond
		}
	}
}

func TestCheckRoom_Misbehaving(t *testing.T) {
	t.Parallel()
	for name, bad := range misbehaviors(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := talkcloudtest.New(t)
			p.Answer(talkcloud.PathCheckRoom, bad.answer)
			conn, err := p.NewClient(t, quick(bad.kind)).Join(within(t), talkcloud.JoinOptions{Room: "7"})
			if err == nil {
				_ = conn.Close()
				t.Fatal("joined")
			}
			wantKind(t, err, bad.kind, talkcloud.SourceCheckRoom)
			if len(p.Joins()) != 0 {
				t.Fatal("joinRoom was sent")
			}
		})
	}
}

func TestGetConfig_Misbehaving(t *testing.T) {
	t.Parallel()
	lenient := map[string]bool{ // the vendor's SDK joins at the web host then
		"no result": true, "result is null": true, "result is a word": true, "result is empty": true, "result is a list": true, "true": true,
	}
	for name, bad := range misbehaviors(t) {
		if lenient[name] {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := talkcloudtest.New(t)
			p.Answer(talkcloud.PathGetConfig, bad.answer)
			c := p.NewClient(t, quick(bad.kind))
			conn, err := c.Join(within(t), talkcloud.JoinOptions{Room: "7"})
			for bad.kind == talkcloud.KindDeadline && len(p.Forms(talkcloud.PathGetConfig)) == 0 {
				conn, err = c.Join(within(t), talkcloud.JoinOptions{Room: "7"}) // a busy machine: checkroom itself took too long
			}
			if err == nil {
				_ = conn.Close()
				t.Fatal("joined")
			}
			wantKind(t, err, bad.kind, talkcloud.SourceGetConfig)
		})
	}
}

func TestUserRecordList_Misbehaving(t *testing.T) {
	t.Parallel()
	for name, bad := range misbehaviors(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := talkcloudtest.New(t)
			p.Answer(talkcloud.PathGetUserRecordList, bad.answer)
			urls, err := p.NewClient(t, quick(bad.kind)).UserRecordList(within(t), talkcloud.RecordQuery{UserID: "u"})
			if err == nil {
				t.Fatalf("listed %v", urls)
			}
			wantKind(t, err, bad.kind, talkcloud.SourceUserRecordList)
		})
	}
}

func TestRecordList_Misbehaving(t *testing.T) {
	t.Parallel()
	for name, bad := range misbehaviors(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := talkcloudtest.New(t)
			p.Answer(talkcloud.PathGetRecordList, bad.answer)
			c := p.NewClient(t, func(cfg *talkcloud.Config) {
				quick(bad.kind)(cfg)
				cfg.RichRecordList = true
			})
			items, err := c.RecordList(within(t), talkcloud.RecordListQuery{Room: "7"})
			if err == nil {
				t.Fatalf("listed %v", items)
			}
			wantKind(t, err, bad.kind, talkcloud.SourceRecordList)
		})
	}
}

func TestCodes(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.New(t)
	c := p.NewClient(t, nil)
	for code, kind := range map[int]talkcloud.Kind{
		-1: talkcloud.KindInternal, 3: talkcloud.KindInternal,
		3001: talkcloud.KindFailedPrecondition, 3002: talkcloud.KindPermissionDenied, 3003: talkcloud.KindNotFound, 4007: talkcloud.KindNotFound,
		4001: talkcloud.KindServerConfig, 4002: talkcloud.KindUnauthenticated, 4003: talkcloud.KindInvalidArgument, 4006: talkcloud.KindInvalidArgument,
		4009: talkcloud.KindInvalidArgument, 4011: talkcloud.KindInvalidArgument, 4008: talkcloud.KindPermissionDenied, 4012: talkcloud.KindPermissionDenied,
		4110: talkcloud.KindPermissionDenied, 4020: talkcloud.KindFailedPrecondition, 4101: talkcloud.KindServerConfig, 4102: talkcloud.KindServerConfig,
		4103: talkcloud.KindResourceExhausted, 4112: talkcloud.KindResourceExhausted, 6003: talkcloud.KindResourceExhausted,
		4105: talkcloud.KindNotFound, 4107: talkcloud.KindInternal, 4108: talkcloud.KindPermissionDenied, 4109: talkcloud.KindServerConfig,
		4111: talkcloud.KindUnauthenticated, 4200: talkcloud.KindInvalidArgument, 4202: talkcloud.KindInvalidArgument, 4203: talkcloud.KindInternal,
		5000: talkcloud.KindInvalidArgument, 5006: talkcloud.KindInvalidArgument, 5007: talkcloud.KindPermissionDenied, 5008: talkcloud.KindInvalidArgument,
		5009: talkcloud.KindResourceExhausted, 5010: talkcloud.KindInvalidArgument, 5011: talkcloud.KindResourceExhausted, 5019: talkcloud.KindInvalidArgument,
		5020: talkcloud.KindResourceExhausted, 5021: talkcloud.KindInternal, 5102: talkcloud.KindInvalidArgument, 5200: talkcloud.KindPermissionDenied,
		5202: talkcloud.KindInternal, 5204: talkcloud.KindPermissionDenied, 5205: talkcloud.KindInvalidArgument, 5206: talkcloud.KindInternal,
		5207: talkcloud.KindInvalidArgument, 5208: talkcloud.KindFailedPrecondition, 5300: talkcloud.KindServerConfig, 5301: talkcloud.KindServerConfig,
		6000: talkcloud.KindInvalidArgument, 6001: talkcloud.KindInvalidArgument, 6002: talkcloud.KindResourceExhausted,
		601: talkcloud.KindInternal, 801: talkcloud.KindUnavailable, 802: talkcloud.KindInternal, 402: talkcloud.KindInternal,
	} {
		p.Answer(talkcloud.PathCheckRoom, talkcloudtest.Body(fmt.Sprintf(`{"result":%d,"msg":"why"}`, code)))
		_, err := c.Join(within(t), talkcloud.JoinOptions{Room: "7"})
		if e := asError(t, err, kind, talkcloud.SourceCheckRoom); e.Code != code || !strings.Contains(e.Error(), "why") {
			t.Fatalf("error is %v", e)
		}
	}
	for reason, kind := range map[int]talkcloud.Kind{
		0: talkcloud.KindEvicted, 400: talkcloud.KindEvicted, 401: talkcloud.KindEvicted, 402: talkcloud.KindPermissionDenied, 7: talkcloud.KindEvicted,
	} {
		wantKind(t, talkcloud.EvictionError("7", reason), kind, talkcloud.SourceEviction)
	}
}

func TestUserRecordList(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, body string
		want       []string
	}{
		{"empty", `[]`, nil},
		{"null", `null`, nil},
		{"nothing", ``, nil},
		{"blank", " \n", nil},
		{"no data", `{"result":4105,"msg":"no data"}`, nil},
		{"no data as text", `{"result":"4105"}`, nil},
		{"success without a list", `{"result":0}`, nil},
		{"urls", `["https://files.test/a.mkv","http://files.test/b.mkv?x=1"]`, []string{"https://files.test/a.mkv", "http://files.test/b.mkv?x=1"}},
		{"a byte order mark, escapes, blanks", "\xef\xbb\xbf[\"https:\\/\\/files.test\\/a.mkv \",\"\",null]", []string{"https://files.test/a.mkv"}},
		{"relative", `["/files/a.mkv","//files.test/b.mkv"]`, []string{"BASE/files/a.mkv", "https://files.test/b.mkv"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := talkcloudtest.New(t)
			p.Answer(talkcloud.PathGetUserRecordList, talkcloudtest.Body(tc.body))
			got, err := p.NewClient(t, nil).UserRecordList(within(t), talkcloud.RecordQuery{UserID: "u"})
			if err != nil {
				t.Fatal(err)
			}
			for i := range tc.want {
				tc.want[i] = strings.ReplaceAll(tc.want[i], "BASE", p.Config().BaseURL)
			}
			if len(got)+len(tc.want) > 0 && !reflect.DeepEqual(got, tc.want) {
				t.Fatalf("listed %q, want %q", got, tc.want)
			}
		})
	}
	for name, body := range map[string]string{
		"a failure": `{"result":-1}`, "objects": `[{"x":"https://files.test/a"}]`, "numbers": `[1]`,
		"a script": `["javascript:alert(1)"]`, "a file": `["file:///etc/passwd"]`, "no URL": `["https://[::"]`, "half": `["https://files.test/a`,
		"another list": `{"result":0,"recordlist":[{}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := talkcloudtest.New(t)
			p.Answer(talkcloud.PathGetUserRecordList, talkcloudtest.Body(body))
			_, err := p.NewClient(t, nil).UserRecordList(within(t), talkcloud.RecordQuery{UserID: "u"})
			wantKind(t, err, talkcloud.KindInternal, talkcloud.SourceUserRecordList)
		})
	}
}

// TestUserRecordList_Path asks in both ways of the document, and refuses what cannot stand in a path.
func TestUserRecordList_Path(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.New(t)
	c := p.NewClient(t, func(cfg *talkcloud.Config) { cfg.EnterpriseKey = "5 NI?" })
	for _, q := range []talkcloud.RecordQuery{
		{UserID: "123456"}, {UserID: "u ?#%张"}, {Room: "9", RecordTS: 1511860322}, {UserID: "u", Room: "9", RecordTS: 1511860322},
	} {
		if _, err := c.UserRecordList(within(t), q); err != nil {
			t.Fatal(err)
		}
	}
	const prefix = "/ClientAPI/getUserRecordlist/key/5%20NI%3F"
	want := []string{
		prefix + "/userid/123456", prefix + "/userid/u%20%3F%23%25%E5%BC%A0",
		prefix + "/serial/9/recordts/1511860322", prefix + "/userid/u/serial/9/recordts/1511860322",
	}
	if got := p.Paths(); !reflect.DeepEqual(got, want) {
		t.Fatalf("paths are %q, want %q", got, want)
	}
	for _, q := range []talkcloud.RecordQuery{{}, {RecordTS: 1}, {UserID: "a/b"}, {Room: ".."}, {Room: "."}, {UserID: "a\nb"}, {UserID: "u", Room: "a\x00"}} {
		_, err := c.UserRecordList(within(t), q)
		wantKind(t, err, talkcloud.KindInvalidArgument, talkcloud.SourceUserRecordList)
	}
	_, err := p.NewClient(t, func(cfg *talkcloud.Config) { cfg.EnterpriseKey = "" }).UserRecordList(within(t), talkcloud.RecordQuery{UserID: "u"})
	wantKind(t, err, talkcloud.KindServerConfig, talkcloud.SourceUserRecordList)
	if len(p.Paths()) != len(want) {
		t.Fatal("a refused query was sent")
	}
}

func TestRecordList(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.New(t)
	p.Answer(talkcloud.PathGetRecordList, talkcloudtest.Body(`{"result":"0","recordlist":[{"recordid":12,"starttime":"1511860322","duration":5,
		"https_playpath_mp4":"https://files.test/a.mp4","files":[{"url":"https://files.test/a.mkv","userid":"u","size":7,"duration_ms":9,"mediatype":"video/x-matroska"}]},{"files":"x"}]}`))
	items, err := p.NewClient(t, func(cfg *talkcloud.Config) { cfg.RichRecordList = true }).RecordList(within(t),
		talkcloud.RecordListQuery{Room: "9", From: time.Unix(1511860000, 0), RecordType: talkcloud.RecordListMP4})
	if err != nil {
		t.Fatal(err)
	}
	if len(items) != 2 || items[0].HTTPSPlayPathMP4.String() != "https://files.test/a.mp4" || items[0].RecordID.String() != "12" || items[0].Files[0].Size != 7 {
		t.Fatalf("items are %+v", items)
	}
	want := url.Values{"key": {"key-of-the-test"}, "serial": {"9"}, "starttime": {"1511860000"}, "recordtype": {"1"}}
	if got := p.Forms(talkcloud.PathGetRecordList); !reflect.DeepEqual(got[0], want) {
		t.Fatalf("form is %v, want %v", got, want)
	}
	for _, body := range []string{`{"result":4105}`, `{"result":-1,"recordlist":[]}`, `{"result":0,"recordlist":null}`} {
		p.Answer(talkcloud.PathGetRecordList, talkcloudtest.Body(body))
		items, err := p.NewClient(t, func(cfg *talkcloud.Config) { cfg.RichRecordList = true }).RecordList(within(t), talkcloud.RecordListQuery{Room: "9"})
		if err != nil || len(items) != 0 {
			t.Fatalf("%s is %v, %v", body, items, err)
		}
	}
	if items, err := p.NewClient(t, nil).RecordList(within(t), talkcloud.RecordListQuery{Room: "9"}); items != nil || err != nil {
		t.Fatalf("not configured, and yet %v, %v", items, err)
	}
}

// TestRedirect_Target asks nothing of the one that is redirected to, neither over an open line nor at another port.
func TestRedirect_Target(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(http.Handler) *httptest.Server{"https": httptest.NewTLSServer, "http": httptest.NewServer} {
		var asked atomic.Int32
		target := start(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			_, _ = io.WriteString(w, `{"result":0}`)
		}))
		t.Cleanup(target.Close)
		for _, code := range []int{301, 302, 303, 307, 308} {
			p := talkcloudtest.New(t)
			for _, path := range []string{talkcloud.PathCheckRoom, talkcloud.PathGetUserRecordList} {
				p.Answer(path, http.RedirectHandler(target.URL+"/x", code).ServeHTTP)
			}
			c := p.NewClient(t, nil)
			wantKind(t, c.Check(within(t), talkcloud.JoinOptions{Room: "7", Password: "geheim"}), talkcloud.KindInternal, talkcloud.SourceCheckRoom)
			_, err := c.UserRecordList(within(t), talkcloud.RecordQuery{UserID: "u"})
			wantKind(t, err, talkcloud.KindInternal, talkcloud.SourceUserRecordList)
		}
		if n := asked.Load(); n != 0 {
			t.Errorf("%s: the target was asked %d times", name, n)
		}
	}
}

// TestRedirect follows a redirect on the same host, without the key in a Referer.
func TestRedirect(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.New(t)
	p.Answer(talkcloud.PathGetUserRecordList, http.RedirectHandler("/moved", http.StatusFound).ServeHTTP)
	p.Answer("/moved", func(w http.ResponseWriter, r *http.Request) {
		if referer := r.Referer(); referer != "" {
			t.Errorf("referer is sent")
		}
		_, _ = io.WriteString(w, `["https://files.test/a"]`)
	})
	urls, err := p.NewClient(t, nil).UserRecordList(within(t), talkcloud.RecordQuery{UserID: "u"})
	if err != nil || len(urls) != 1 {
		t.Fatalf("listed %v, %v", urls, err)
	}
}

func TestTLS_Unverified(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.New(t)
	c := p.NewClient(t, func(cfg *talkcloud.Config) { cfg.RootCAs = nil })
	_, err := c.Join(within(t), talkcloud.JoinOptions{Room: "7"})
	if e := asError(t, err, talkcloud.KindUnavailable, talkcloud.SourceCheckRoom); !strings.Contains(e.Error(), "x509") {
		t.Fatalf("error is %v", e)
	}
}

func TestContextErrors(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.New(t)
	p.Answer(talkcloud.PathCheckRoom, never(t))
	c := p.NewClient(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := c.Check(ctx, talkcloud.JoinOptions{Room: "7"})
	wantKind(t, err, talkcloud.KindCanceled, talkcloud.SourceCheckRoom)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err = c.Check(ctx, talkcloud.JoinOptions{Room: "7"})
	wantKind(t, err, talkcloud.KindDeadline, talkcloud.SourceCheckRoom)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error is %v", err)
	}
}

func TestNew_Refuses(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]talkcloud.Config{
		"nothing":          {},
		"another scheme":   {BaseURL: "ftp://platform.test"},
		"no host":          {BaseURL: "https://"},
		"no scheme":        {BaseURL: "platform.test:443"},
		"credentials":      {BaseURL: "https://user:marked-password@platform.test"},
		"a query":          {BaseURL: "https://platform.test?key=marked-password"},
		"no URL":           {BaseURL: "https://marked-password:x:y"},
		"bad list":         {BaseURL: "https://platform.test", RecordListURL: "marked-password"},
		"engine.io 5":      {BaseURL: "https://platform.test", EngineIO: 5},
		"negative timeout": {BaseURL: "https://platform.test", JoinTimeout: -1},
		"negative limit":   {BaseURL: "https://platform.test", MaxBodyBytes: -1},
	} {
		_, err := talkcloud.New(cfg)
		if err == nil {
			t.Errorf("%s is taken", name)
			continue
		}
		wantKind(t, err, talkcloud.KindInvalidArgument, talkcloud.SourceConfig)
		if strings.Contains(err.Error(), "marked") {
			t.Errorf("%s: the error shows the URL", name)
		}
	}
}

// marked are secrets that must not be seen anywhere, in forms that come back changed.
var marked = struct{ key, password, param string }{"MARKED key\"1é%", "MARKED pass&w=1<é>", "MARKED token value"}

// wantNoSecret fails when a text shows a secret. "MARKED" is in each of them, and nowhere else.
func wantNoSecret(t *testing.T, what, text string) {
	t.Helper()
	if strings.Contains(strings.ToUpper(text), "MARKED") {
		t.Errorf("%s shows a secret: %s", what, text)
	}
}

func everyForm(err error) string {
	var b strings.Builder
	for e := err; e != nil; e = errors.Unwrap(e) {
		fmt.Fprintf(&b, "%v|%+v|%#v|%q|", e, e, e, e)
	}
	return b.String()
}

// TestSecrets calls platforms that fail in every way, and that send back what they were sent, and
// looks for the secrets in errors and logs.
func TestSecrets(t *testing.T) {
	t.Parallel()
	echo := func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		_, _ = fmt.Fprintf(w, `{"result":4008,"msg":%q}`, fmt.Sprint(r.URL, r.URL.Path, r.PostForm, r.Form.Encode()))
	}
	echoRaw := func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_, _ = fmt.Fprintf(conn, "%v %v\r\n\r\n", r.URL.Path, r.PostForm)
			_ = conn.Close()
		}
	}
	answers := map[string]http.HandlerFunc{"an echo": echo, "a raw echo": echoRaw}
	for name, bad := range misbehaviors(t) {
		answers[name] = bad.answer
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := talkcloudtest.New(t)
			for _, path := range []string{talkcloud.PathCheckRoom, talkcloud.PathGetUserRecordList, talkcloud.PathGetRecordList} {
				p.Answer(path, answer)
			}
			var log lockedBuffer
			configure := func(cfg *talkcloud.Config) {
				cfg.EnterpriseKey = talkcloud.Secret(marked.key)
				cfg.CheckroomParams = map[string]string{"param": marked.param}
				cfg.RichRecordList, cfg.MaxBodyBytes, cfg.RequestTimeout = true, 4096, 100*time.Millisecond
				cfg.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			}
			c := p.NewClient(t, configure)
			_, err := c.UserRecordList(within(t), talkcloud.RecordQuery{UserID: "u"})
			wantNoSecret(t, "the record list's error", everyForm(err))
			_, err = c.RecordList(within(t), talkcloud.RecordListQuery{Room: "7"})
			wantNoSecret(t, "the rich record list's error", everyForm(err))
			_, err = c.Join(within(t), talkcloud.JoinOptions{Room: "7", Password: talkcloud.Secret(marked.password)})
			if err == nil {
				t.Fatal("joined")
			}
			wantNoSecret(t, "the join's error", everyForm(err))
			wantNoSecret(t, "the log", log.String())
			wantNoSecret(t, "the client", fmt.Sprintf("%v %+v %#v", c, c, c))
		})
	}
}

func TestSecrets_NotReached(t *testing.T) {
	t.Parallel()
	addr := talkcloudtest.Refusing(t)
	c, err := talkcloud.New(talkcloud.Config{BaseURL: "https://" + addr, EnterpriseKey: "MARKED-key"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.UserRecordList(within(t), talkcloud.RecordQuery{UserID: "u"})
	wantKind(t, err, talkcloud.KindUnavailable, talkcloud.SourceUserRecordList)
	wantNoSecret(t, "the error", everyForm(err))
	_, err = c.Join(within(t), talkcloud.JoinOptions{Room: "7", Password: "MARKED-password"})
	if e := asError(t, err, talkcloud.KindUnavailable, talkcloud.SourceCheckRoom); e.Code != talkcloud.CodeCheckRoomFailed {
		t.Fatalf("error is %v", e)
	}
	wantNoSecret(t, "the error", everyForm(err))
}

// TestSecrets_OneBeginsAnother: a key that is the beginning of the password must not leave its rest.
func TestSecrets_OneBeginsAnother(t *testing.T) {
	t.Parallel()
	p := talkcloudtest.New(t)
	p.Answer(talkcloud.PathCheckRoom, talkcloudtest.Body(`{"result":4008,"msg":"abcMARKED abc"}`))
	c := p.NewClient(t, func(cfg *talkcloud.Config) { cfg.EnterpriseKey = "abc" })
	_, err := c.Join(within(t), talkcloud.JoinOptions{Room: "7", Password: "abcMARKED"})
	wantNoSecret(t, "the error", everyForm(err))
	if text := err.Error(); strings.Contains(text, "abc") || strings.Count(text, "[redacted]") != 2 {
		t.Fatalf("error is %s", text)
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	s := talkcloud.Secret("MARKED")
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s, "in", struct{ S talkcloud.Secret }{s})
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", s, "in", struct{ S talkcloud.Secret }{s})
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t", "%10.2f"} {
		fmt.Fprintf(&log, format, s)
		fmt.Fprintf(&log, format, struct{ S talkcloud.Secret }{s})
		fmt.Fprintf(&log, format, []talkcloud.Secret{s})
	}
	log.Write(mustMarshal(t, map[string]any{"a": s, "b": []talkcloud.Secret{s}}))
	wantNoSecret(t, "the log", log.String())
	if s.Reveal() != "MARKED" || talkcloud.Secret("").String() != "" {
		t.Fatal("Reveal or String")
	}
}

// lockedBuffer is a log that many goroutines write.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// TestKeepAlive joins again on a kept HTTP connection that the platform has closed meanwhile.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	var calls int
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls++
		if calls == 2 { // the kept connection goes away as the next call arrives
			hijack("")(w, nil)
			return
		}
		_, _ = io.WriteString(w, `{"result":4105}`)
	}))
	server.Start()
	t.Cleanup(server.Close)
	c, err := talkcloud.New(talkcloud.Config{BaseURL: server.URL, EnterpriseKey: "k", RichRecordList: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	for range 2 {
		if _, err := c.RecordList(within(t), talkcloud.RecordListQuery{Room: "7"}); err != nil {
			t.Fatal(err)
		}
	}
	if calls != 3 {
		t.Fatalf("%d calls came, want 3", calls)
	}
}
