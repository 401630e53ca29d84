// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// The marks of what must not be shown; apitest.Key is the fourth.
const (
	markPassword = "mark-room-password-5b2e"
	markURL      = "mark-recording-token-90ac"
	markParam    = "mark-entry-token-31ff"
)

// record is a log that is written from many goroutines.
type record struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

// shown are the marks that stand in a text, in any of the forms that a text
// takes on its way.
func shown(text string) []string {
	var found []string
	for _, mark := range []string{apitest.Key, markPassword, markURL, markParam} {
		for _, form := range []string{mark, url.QueryEscape(mark), fmt.Sprintf("%x", mark)} {
			if strings.Contains(text, form) {
				found = append(found, form)
			}
		}
	}
	return found
}

// The enterprise key, room passwords, tokens and the URLs of recordings appear
// in no log, error, trace, metric, audit line or name of a file, and no password in a
// file in the clear, whatever goes wrong and however
// hard the platform tries to have them told.
func TestSecrets(t *testing.T) {
	t.Parallel()
	// The record list was never told the password.
	all := strings.Join([]string{apitest.Key, markParam, "https://files.example/" + markURL}, " ")
	told := all + " " + markPassword
	var platforms []misbehavior
	platforms = append(platforms, misbehavior{name: "good", make: func(*talkcloudtest.Platform) {}})
	// One of each kind of trouble in each place is enough.
	for path, all := range map[string]string{talkcloud.PathCheckRoom: told, talkcloud.PathGetConfig: told, talkcloud.PathGetUserRecordList: all} {
		platforms = append(platforms,
			misbehavior{name: path + " tells them", make: body(path, `{"result":4008,"msg":"`+all+`"}`)},
			misbehavior{name: path + " tells them with another code", make: body(path, `{"result":"31415","msg":"`+all+`"}`)},
			misbehavior{name: path + " answers with them", make: body(path, all)},
			misbehavior{name: path + " lists them", make: body(path, `["`+all+`"]`)},
			misbehavior{name: path + " breaks off", make: breakOff(path)},
			misbehavior{name: path + " is down", make: statusCode(path, 500)},
		)
	}
	platforms = append(platforms,
		misbehavior{name: "join refused with them", make: joinAck("error", told)},
		misbehavior{name: "publish refused with them", make: refuse(map[string]any{"code": 4108, "message": told})},
		misbehavior{name: "down", make: nil},
	)
	for _, p := range platforms {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			base := "http://" + talkcloudtest.Refusing(t)
			if p.make != nil {
				platform := talkcloudtest.NewPlain(t)
				body(talkcloud.PathGetUserRecordList, `["https://files.example/`+markURL+`/a.mkv"]`)(platform)
				p.make(platform)
				base = platform.Config().BaseURL
			}
			var log record
			collector, audit := apitest.NewCollector(t), filepath.Join(t.TempDir(), "audit.jsonl")
			s := apitest.New(t, apitest.Platform(t, base), func(cfg *server.Config) {
				cfg.TraceEndpoint, cfg.AuditLog = collector.URL(), audit
				cfg.CheckroomParams = map[string]string{"param": markParam}
				cfg.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			})
			var listed bool
			for i, way := range []apitest.Transport{apitest.GRPC, apitest.REST} {
				room := fmt.Sprintf("room-%d", i)
				for _, call := range []apitest.Call{
					{Name: apitest.Start, Request: `{"room":"` + room + `","room_password":"` + markPassword + `","request_id":"` + room + `"}`},
					{Name: apitest.Watch, Request: `{"room":"` + room + `","room_password":"` + markPassword + `"}`},
					{Name: apitest.Watch, Request: `{"room":"other","room_password":"` + markPassword + `"}`},
					{Name: apitest.Stop, Request: `{"room":"` + room + `","room_password":"` + markPassword + `"}`},
					{Name: apitest.Stop, Request: `{"room":"third","room_password":"` + markPassword + `"}`},
					{Name: apitest.Start, Request: `{"room":"` + room + `","room_password":"` + strings.Repeat(markPassword, 20) + `"}`},
					{Name: apitest.Start, Request: `{"room":"-","room_password":"` + markPassword + `"}`},
					{Name: apitest.List, Request: `{"room":"` + room + `"}`},
					{Name: apitest.Get, Request: `{"name":"rooms/` + room + `/recordings/1700000000"}`},
				} {
					out := s.Call(t, way, call)
					listed = listed || strings.Contains(out.Response, markURL)
					if out.Code != codes.OK {
						if found := shown(fmt.Sprintf("%+v", out)); found != nil {
							t.Errorf("%s %s: the error shows %q: %+v", way, call.Name, found, out)
						}
					}
				}
				for _, query := range []string{"room_password=" + markPassword, "roomPassword=" + markPassword} {
					if out := s.Do(t, "GET", "/v1/rooms/"+room+"/classBegin:watch?"+query, ""); shown(out.Message) != nil {
						t.Errorf("the error shows it: %+v", out)
					}
				}
				if out := s.Do(t, "POST", "/v1/rooms/"+room+"/recordings", `{"room_password":{"a":"`+markPassword+`"}}`); shown(out.Message) != nil {
					t.Errorf("the error shows it: %+v", out)
				}
			}
			if p.name == "good" && !listed {
				t.Error("the URL was not listed, so it was not tried")
			}
			told := map[string]string{}
			for _, path := range []string{"/metrics", "/debug/rooms", "/readyz", "/healthz"} {
				_, told[path] = get(t, s, path, nil)
			}
			s.Stop()
			told["the log"], told["the audit log"] = log.String(), read(t, audit)
			for _, span := range collector.Spans() {
				told["the traces"] += span.String() + "\n"
			}
			for what, text := range told {
				if text == "" {
					t.Errorf("%s is empty, so it was not tried", what)
				}
				for line := range strings.Lines(text) {
					if found := shown(line); found != nil {
						t.Errorf("%s: shown is %q: %s", what, found, line)
					}
				}
			}
			if !strings.Contains(log.String(), `"method":`) {
				t.Error("the log has no calls, so it was not tried")
			}
			inTheClear(t, s.Dir())
		})
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// inTheClear looks for the room's password in what is stored, and for any secret in the names of files.
func inTheClear(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if found := shown(path); found != nil {
			t.Errorf("a file is called %q", found)
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, []byte(markPassword)) {
			t.Errorf("%s holds the password", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
