// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// callbackPath is what the operator gives to the vendor.
func callbackPath(t *testing.T, s *apitest.Server) string {
	t.Helper()
	file := filepath.Join(s.Dir(), "callback-path")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("the file has mode %v", mode)
	}
	path := strings.TrimSpace(string(text))
	if secret := strings.TrimPrefix(path, "/callbacks/talkcloud/"); len(secret) < 32 || secret == path {
		t.Fatalf("the path is %q", path)
	}
	return path
}

// callBack posts what a platform would.
func callBack(t *testing.T, s *apitest.Server, path, contentType, body string) (status int) {
	t.Helper()
	r, err := http.NewRequestWithContext(apitest.Context(t), http.MethodPost, s.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	resp, err := s.HTTP().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// buffer is a log that many write to.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// finishing is a platform that lists a file once it is told to.
type finishing struct {
	*talkcloudtest.Platform
	done  atomic.Bool
	asked atomic.Int64
}

func newFinishing(t *testing.T) *finishing {
	t.Helper()
	p := &finishing{Platform: talkcloudtest.NewPlain(t)}
	p.Answer("/a.mkv", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "a.mkv", time.Unix(1511860322, 0), strings.NewReader("media"))
	})
	p.Answer(talkcloud.PathGetUserRecordList, func(w http.ResponseWriter, _ *http.Request) {
		defer p.asked.Add(1)
		urls := []string{}
		if p.done.Load() {
			urls = append(urls, p.Config().BaseURL+"/a.mkv")
		}
		_ = json.NewEncoder(w).Encode(urls)
	})
	return p
}

// slowly polls once, and then after an hour.
func slowly(cfg *server.Config) { cfg.PollMin, cfg.PollMax = time.Hour, time.Hour }

// A callback about finished files shortens the wait from an hour to nothing, in
// each encoding; what is not true in it does no harm, and its path is nowhere in
// the log.
func TestCallback_FilesAreThere(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ contentType, body string }{
		"form": {"application/x-www-form-urlencoded", "serial=room&recordid=1&playpath=https%3A%2F%2Fevil.example%2Fx&starttime=1511860322000&endtime=1511860422000"},
		"JSON": {"application/json", `{"serial":"room","recordid":1,"playpath":"https://evil.example/x","starttime":1511860322000}`},
		"text": {"text/plain", `{"thirdroomid":"room","recordid":"1","starttime":"1511860322"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			platform := newFinishing(t)
			log := new(buffer)
			s := apitest.New(t, apitest.Platform(t, platform.Config().BaseURL), slowly, func(cfg *server.Config) {
				cfg.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			})
			rec := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"room"}`})
			s.Must(t, apitest.Call{Name: apitest.Stop, Request: `{"room":"room"}`})
			roomservertest.Poll(t, "the first look", func() bool { return platform.asked.Load() > 0 })
			path := callbackPath(t, s)
			platform.done.Store(true)
			if status := callBack(t, s, path, tc.contentType, tc.body); status != http.StatusOK {
				t.Errorf("answered %d", status)
			}
			rec = awaitState(t, s, rec.GetName(), stateAvailable)
			if len(rec.GetUrls()) != 1 || !strings.HasSuffix(rec.GetUrls()[0], "/a.mkv") {
				t.Errorf("the files are %v", rec.GetUrls())
			}
			s.Stop()
			if strings.Contains(log.String(), path) || strings.Contains(log.String(), filepath.Base(path)) {
				t.Error("the path is in the log")
			}
			if !strings.Contains(log.String(), "called back") {
				t.Error("nothing of the callback is in the log")
			}
		})
	}
}

// Callbacks that nobody of the platform has sent change nothing, however many
// they are, and enter no room.
func TestCallback_Forged(t *testing.T) {
	t.Parallel()
	platform := newFinishing(t)
	s := apitest.New(t, apitest.Platform(t, platform.Config().BaseURL), slowly)
	on := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"on"}`})
	over := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"over"}`})
	over = s.Must(t, apitest.Call{Name: apitest.Stop, Request: `{"name":"` + over.GetName() + `"}`})
	roomservertest.Poll(t, "the first look", func() bool { return platform.asked.Load() > 0 })
	looks, joins := platform.asked.Load(), len(platform.Joins())
	path := callbackPath(t, s)
	const form = "application/x-www-form-urlencoded"
	began := time.Now()
	for range 200 {
		for _, room := range []string{"on", "over", "other"} {
			for _, body := range []string{
				"&classstate=1&time=1511860322", "&classstate=0", "&recordid=1&playpath=https%3A%2F%2Fevil.example%2Fx&endtime=1511860322000", "&userid=u&status=0",
			} {
				if status := callBack(t, s, path, form, "serial="+room+body); status != http.StatusOK {
					t.Fatalf("answered %d", status)
				}
			}
		}
	}
	for _, name := range []string{on.GetName(), over.GetName()} {
		want := stateProcessing
		if name == on.GetName() {
			want = stateRecording
		}
		rec := s.Must(t, apitest.Call{Name: apitest.Get, Request: `{"name":"` + name + `"}`})
		if rec.GetState() != want || len(rec.GetUrls()) != 0 {
			t.Errorf("believed: %v", rec)
		}
	}
	if n := len(platform.Joins()); n != joins {
		t.Errorf("%d joins because of callbacks", n-joins)
	}
	// 2,400 callbacks are one look in 5 s, which asks twice: by room, by user.
	if n, most := platform.asked.Load()-looks, 2*int64(2+time.Since(began)/(5*time.Second)); n > most {
		t.Errorf("asked for the list %d times because of callbacks, not %d", n, most)
	}
}

// Who does not know the path sees nothing, and who sends nonsense learns nothing.
func TestCallback_Refused(t *testing.T) {
	t.Parallel()
	platform := newFinishing(t)
	s := apitest.New(t, apitest.Platform(t, platform.Config().BaseURL))
	path := callbackPath(t, s)
	const form = "application/x-www-form-urlencoded"
	for name, tc := range map[string]struct {
		path, body string
		want       int
	}{
		"another path": {path[:len(path)-1] + "~", "serial=1&classstate=1", 404},
		"no secret":    {"/callbacks/talkcloud/", "serial=1&classstate=1", 404},
		"nonsense":     {path, "<html>", 400},
		"too large":    {path, "serial=1&x=" + strings.Repeat("x", 100<<10), 413},
	} {
		if status := callBack(t, s, tc.path, form, tc.body); status != tc.want {
			t.Errorf("%s: %d", name, status)
		}
	}
	// It stays the same over a restart; it goes when it is not wanted.
	s.Restart()
	if again := callbackPath(t, s); again != path {
		t.Error("the path is another one after a restart")
	}
	off := apitest.New(t, apitest.Platform(t, platform.Config().BaseURL), func(cfg *server.Config) { cfg.NoCallbacks = true })
	if _, err := os.Stat(filepath.Join(off.Dir(), "callback-path")); err == nil {
		t.Error("there is a path with --no-callbacks")
	}
	if _, err := os.Stat(filepath.Join(apitest.New(t).Dir(), "callback-path")); err == nil {
		t.Error("there is a path with the embedded platform")
	}
}
