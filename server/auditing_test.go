// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/audit"
	"github.com/classrec/classrec/server/internal/auth"
)

// audited reads the lines of an audit log.
func audited(t *testing.T, path string) []audit.Entry {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []audit.Entry
	for scan := bufio.NewScanner(f); scan.Scan(); {
		var e audit.Entry
		if err := json.Unmarshal(scan.Bytes(), &e); err != nil {
			t.Fatalf("%v: %s", err, scan.Text())
		}
		all = append(all, e)
	}
	return all
}

// Each call is one line of the audit log, whichever way it came and whatever
// became of it: who, what, from where, with what result.
func TestAuditLog(t *testing.T) {
	t.Parallel()
	cfg := anywhere(t.TempDir())
	cfg.AuditLog = filepath.Join(cfg.DataDir, "audit.log")
	made, teacher := newToken(t, cfg.DataDir, auth.Token{Name: "teacher", Scopes: []auth.Scope{auth.ScopeStart, auth.ScopeStop, auth.ScopeWatch}})
	r := newRunning(t, cfg)
	as := func(token string) metadata.MD { return metadata.Pairs("authorization", "Bearer "+token) }
	asTeacher := metadata.NewOutgoingContext(t.Context(), as(teacher))

	started, err := r.api.StartRecording(asTeacher, &classrecv1.StartRecordingRequest{Room: "42", RequestId: "lesson-7"})
	if err != nil {
		t.Fatal(err)
	}
	name := started.GetRecording().GetName()
	if _, err := r.api.GetRecording(asTeacher, &classrecv1.GetRecordingRequest{Name: name}); err == nil {
		t.Error("it may get without the scope")
	}
	stranger := metadata.NewOutgoingContext(t.Context(), as("nonsense"))
	if _, err := r.api.StopRecording(stranger, &classrecv1.StopRecordingRequest{Room: "42"}); err == nil {
		t.Error("a stranger stops")
	}
	ask := func(method, url, token, body string) int {
		req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		code, _, _ := roundTrip(t, r.http, req)
		return code
	}
	rest := func(method, path, token, body string) int { return ask(method, r.base+path, token, body) }
	if code := rest("POST", "/v1/rooms/42/recordings", teacher, `{"request_id":"a\nforged"}`); code == http.StatusOK {
		t.Error("a second class begins")
	}
	if code := rest("POST", "/v1/rooms/42/recordings:stop", teacher, ""); code != http.StatusOK {
		t.Errorf("stop: %d", code)
	}
	rest("GET", "/files/nothing/here.mkv", teacher, "")
	ask("GET", "http://"+r.RoomHTTPAddr().String()+"/files/nothing/there.mkv", teacher, "") // the rooms' own port
	watch, err := r.api.WatchClassBegin(asTeacher, &classrecv1.WatchClassBeginRequest{Room: "43"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	r.stop()

	lines := audited(t, cfg.AuditLog)
	const service = "classrec.v1.RecordingService/"
	wants := []audit.Entry{
		{Call: service + "StartRecording", Room: "42", Recording: name, RequestID: "lesson-7", Code: "OK"},
		{Call: service + "GetRecording", Room: "42", Recording: name, Code: "PermissionDenied"},
		{Call: service + "StopRecording", Room: "42", Code: "Unauthenticated"},
		{Call: service + "StartRecording", Room: "42", RequestID: "a\nforged", Code: "InvalidArgument"},
		{Call: service + "StopRecording", Room: "42", Recording: name, Code: "OK"},
		{Call: "file", File: "/files/nothing/here.mkv"},
		{Call: "file", File: "/files/nothing/there.mkv"},
		{Call: service + "WatchClassBegin", Room: "43", Code: "Unavailable", Reason: "NOT_SERVING"},
	}
	for _, want := range wants {
		found := 0
		for _, is := range lines {
			if is.Call != want.Call || is.Room != want.Room || is.Recording != want.Recording || is.RequestID != want.RequestID || is.File != want.File || want.Code != "" && is.Code != want.Code {
				continue
			}
			found++
			known := want.Code != "Unauthenticated"
			if known && (is.Principal == nil || is.Principal.Kind != "token" || is.Principal.Name == "" || !strings.Contains(is.Principal.Name, made.Name) && !strings.Contains(is.Principal.Name, made.ID) || is.Tenant != auth.DefaultTenant) {
				t.Errorf("who did it? %+v", is)
			}
			if !known && is.Principal != nil {
				t.Errorf("nobody knows who did it: %+v", is)
			}
			if !strings.HasPrefix(is.Remote, "127.0.0.1:") || is.Time.IsZero() || is.Code != "OK" && is.Call != "file" && is.Reason == "" || want.Reason != "" && is.Reason != want.Reason {
				t.Errorf("%+v", is)
			}
		}
		if found != 1 {
			t.Errorf("%d lines of %+v in %+v", found, want, lines)
		}
	}
	if len(lines) != len(wants) {
		t.Errorf("%d lines for %d calls", len(lines), len(wants))
	}
	if text, err := os.ReadFile(cfg.AuditLog); err != nil || strings.Contains(string(text), teacher) || strings.Contains(string(text), "nonsense") {
		t.Errorf("it shows a credential: %v", err)
	}
}
