// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bytes"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/auth"
)

// newFile records a class, and returns it with its one file.
func newFile(t *testing.T, s *apitest.Server, room string) *classrecv1.Recording {
	t.Helper()
	name := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"` + room + `"}`}).GetName()
	teacher := s.Join(t, room, "teacher")
	teacher.Chat(t, "good morning")
	teacher.Sync(t)
	s.Must(t, apitest.Call{Name: apitest.Stop, Request: `{"room":"` + room + `"}`})
	var r *classrecv1.Recording
	eventually(t, "the files", func() bool {
		r = s.Must(t, apitest.Call{Name: apitest.Get, Request: `{"name":"` + name + `"}`})
		return r.GetState() == classrecv1.RecordingState_RECORDING_STATE_AVAILABLE
	})
	return r
}

// fetch is the status of a URL.
func fetch(t *testing.T, s *apitest.Server, address string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(apitest.Context(t), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.HTTP().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// A link opens its file and no other, at every door where files are, and nothing
// that was signed is kept.
func TestFileLinks(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	one, other := newFile(t, s, "one"), newFile(t, s, "other")
	link, err := url.Parse(one.GetUrls()[0])
	if err != nil {
		t.Fatal(err)
	}
	if one.GetFiles()[0].GetUrl() != one.GetUrls()[0] {
		t.Error("a file has two URLs")
	}
	otherLink, err := url.Parse(other.GetUrls()[0])
	if err != nil {
		t.Fatal(err)
	}
	with := func(path, query string) string { return s.URL() + path + "?" + query }
	longer := link.Query()
	longer.Set("expires", "9999999999")
	for name, tc := range map[string]struct {
		address string
		want    int
	}{
		"the link":             {link.String(), 200},
		"at the rooms' door":   {s.RoomURL() + link.RequestURI(), 200},
		"without a signature":  {s.URL() + link.Path, 403},
		"rooms, without":       {s.RoomURL() + link.Path, 403},
		"of another file":      {with(otherLink.Path, link.RawQuery), 403},
		"with more time":       {with(link.Path, longer.Encode()), 403},
		"no signature in it":   {with(link.Path, "expires="+link.Query().Get("expires")+"&signature="), 403},
		"of what is not there": {with(link.Path+"x", link.RawQuery), 403},
		"out of the directory": {with("/files/../../seal.key", link.RawQuery), 403},
		"encoded":              {with("/files/..%2f..%2fseal.key", link.RawQuery), 403},
		"encoded twice":        {with("/files/%252e%252e/%252e%252e/seal.key", link.RawQuery), 403},
		"back and forth":       {with(strings.Replace(link.Path, "/files/", "/files/x/../", 1), link.RawQuery), 200}, // the same file
	} {
		if got := fetch(t, s, tc.address); got != tc.want && (tc.want != 403 || got < 400 || got >= 500) {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}

	signature := []byte(link.Query().Get("signature"))
	s.Stop()
	err = filepath.WalkDir(s.Dir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, signature) {
			t.Errorf("%s has the signature", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
}

// A link ends, and whoever downloads by it gets another one.
func TestFileLinks_Expire(t *testing.T) {
	t.Parallel()
	s := apitest.New(t, func(cfg *server.Config) { cfg.FileLinkTTL = time.Second })
	r := newFile(t, s, "room")
	eventually(t, "the link to expire", func() bool { return fetch(t, s, r.GetUrls()[0]) == http.StatusForbidden })
	api, err := client.Dial(s.Process().GRPCAddr().String(), client.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	files, err := api.Download(apitest.Context(t), r, client.DownloadOptions{Dir: t.TempDir()})
	if err != nil || len(files) != 1 || files[0].Size == 0 {
		t.Errorf("downloaded %v, %v", files, err)
	}
}

// Files are public where that is asked for, and only there.
func TestFileLinks_Public(t *testing.T) {
	t.Parallel()
	s := apitest.New(t, func(cfg *server.Config) { cfg.PublicFiles = true })
	address := newFile(t, s, "room").GetUrls()[0]
	if strings.Contains(address, "signature") || fetch(t, s, address) != http.StatusOK {
		t.Errorf("a public file is %s, and answers %d", address, fetch(t, s, address))
	}
}

// A caller has its way to the files by its own token too.
func TestDownload_WithToken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, secret := newToken(t, dir, auth.Token{Name: "me", Scopes: auth.Scopes()})
	cfg := apitest.Config(dir)
	srv := newSecured(t, cfg)
	file := filepath.Join(dir, "token")
	mustWrite(t, file, secret+"\n")
	api, err := client.Dial(srv.GRPCAddr().String(), client.Config{TokenFile: file})
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	ctx := apitest.Context(t)
	r, err := api.Start(ctx, &classrecv1.StartRecordingRequest{Room: "42"})
	if err != nil {
		t.Fatal(err)
	}
	teacher := apitest.JoinAt(t, "http://"+srv.RoomHTTPAddr().String(), "42", "teacher")
	teacher.Chat(t, "good morning")
	teacher.Sync(t)
	if _, err := api.Stop(ctx, &classrecv1.StopRecordingRequest{Name: r.GetName()}); err != nil {
		t.Fatal(err)
	}
	if r, err = api.Wait(ctx, r.GetName(), client.WaitOptions{}); err != nil {
		t.Fatal(err)
	}
	if files, err := api.Download(ctx, r, client.DownloadOptions{Dir: t.TempDir()}); err != nil || len(files) != 1 {
		t.Errorf("downloaded %v, %v", files, err)
	}
}
