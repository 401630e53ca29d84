// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/conformance"
)

func platformKey(t *testing.T, s *apitest.Server) string {
	t.Helper()
	return strings.TrimSpace(string(must[[]byte](t)(os.ReadFile(filepath.Join(s.Dir(), "enterprise.key")))))
}

// TestIntegrators calls the platform as the integrations of schools do, by the programs that they run: a room is made, a
// recording is found, its link can be fetched, and what is not known is answered as JSON.
func TestIntegrators(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"lesson","record_chat":true}`})
	teacher := s.Join(t, "lesson", "teacher")
	teacher.Chat(t, "hello")
	teacher.Sync(t)
	available(t, s, s.Must(t, apitest.Call{Name: apitest.Stop, Request: `{"room":"lesson"}`}).GetName())
	key := platformKey(t, s)
	for name, command := range map[string][]string{
		"PHP array": {"php", "array.php"}, "Guzzle JSON": {"php", "guzzle.php"}, "Django": {"python3", "django.py"},
		"curl -F": {"sh", "form.sh"}, "query": {"sh", "query.sh"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stderr bytes.Buffer
			cmd := exec.CommandContext(testContext(t), command[0], append(command[1:], s.RoomURL(), key)...)
			cmd.Dir, cmd.Stderr = filepath.Join("testdata", "integrators"), &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr.String())
			}
			var got struct {
				Made struct {
					Result int
					Serial string
				}
				List struct {
					Result     int
					RecordList []struct {
						Serial string
						Files  []struct{ URL string }
					}
				}
				Unknown struct {
					Result int
					Msg    string
				}
			}
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if got.Made.Result != 0 || len(got.Made.Serial) != 10 {
				t.Errorf("made: %+v", got.Made)
			}
			if got.List.Result != 0 || len(got.List.RecordList) != 1 || got.List.RecordList[0].Serial != "lesson" {
				t.Fatalf("listed: %+v", got.List)
			}
			resp, err := s.HTTP().Get(got.List.RecordList[0].Files[0].URL)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("the link: %s", resp.Status)
			}
			if got.Unknown.Result != -1 || got.Unknown.Msg == "" {
				t.Errorf("unknown: %+v", got.Unknown)
			}
		})
	}
}

// TestOddClasses has the reference client begin and end classes in all the odd ways of package conformance, in a room of a
// whole service: each becomes one recording, and everybody is told of its end.
func TestOddClasses(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	key := platformKey(t, s)
	type oddCase struct {
		Name, Begin, End, Told string
	}
	var cases []oddCase
	ends := conformance.Ends()
	for i, begin := range conformance.Begins() {
		end := ends[i%len(ends)]
		cases = append(cases, oddCase{begin.Name + ", ended by " + end.Name, begin.Payload, end.Payload, begin.Told})
	}
	cmd := exec.CommandContext(testContext(t), "node", "oddclasses.js", s.RoomURL())
	cmd.Dir = filepath.Join("testdata", "node")
	cmd.Stdin = bytes.NewReader(must[[]byte](t)(json.Marshal(cases)))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var results []struct {
		Room, Told, ToldEnd string
	}
	if err := json.Unmarshal(out, &results); err != nil || len(results) != len(cases) {
		t.Fatalf("%v: %s", err, out)
	}
	for i, result := range results {
		if result.Told != cases[i].Told || result.ToldEnd != conformance.Everybody {
			t.Errorf("%s: %q heard of it, and %q of its end", cases[i].Name, result.Told, result.ToldEnd)
		}
		eventually(t, "the recording of "+cases[i].Name, func() bool {
			resp, err := s.HTTP().Get(s.RoomURL() + "/WebAPI/getrecordlist/key/" + key + "/serial/" + url.PathEscape(result.Room))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			list := string(must[[]byte](t)(io.ReadAll(resp.Body)))
			return strings.Count(list, `"recordid":`) == 1 && strings.Contains(list, `"total":1`)
		})
	}
}
