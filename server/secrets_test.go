// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/auth"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// marks are secrets, by what they are.
type marks map[string]string

// shown are those that stand in a text, in any of the forms that a text takes on its way.
func (m marks) shown(text string) (found []string) {
	for what, mark := range m {
		for _, form := range []string{mark, url.QueryEscape(mark), fmt.Sprintf("%x", mark), base64.StdEncoding.EncodeToString([]byte(mark))} {
			if strings.Contains(text, form) {
				found = append(found, what)
				break
			}
		}
	}
	return found
}

// Of the server with its own platform, everything on: passwords of rooms, API tokens, secrets and addresses of webhooks, the
// key of the links, links, and the enterprise key appear in no log, error, trace, metric, line of the audit, page for
// operators or name of a file, whatever goes wrong. TestSecrets in server/internal/service is the same for TalkCloud.
func TestSecrets_Embedded(t *testing.T) {
	t.Parallel()
	dir, etc := t.TempDir(), t.TempDir()
	all, token := newToken(t, dir, auth.Token{Name: "all", Scopes: auth.Scopes()})
	_, listing := newToken(t, dir, auth.Token{Name: "reader", Scopes: []auth.Scope{auth.ScopeList}})
	secret := marks{
		"token": token, "token to list": listing,
		"guessed token":       "crt_mark-guessed-token-1",
		"password of teacher": "mark-teacher-password-2", "password of student": "mark-student-password-3",
		"guessed password": "mark-guessed-password-4", "guessed password on WHIP": "mark-guessed-bearer-5",
		"address of a webhook": "mark-webhook-address-6",
		"secret of a webhook":  "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		"key of the links":     strings.Repeat("5a3c", 16),
	}
	const sharedKey = "mark-shared-key-of-tokens-7-of-32-bytes"
	secret["key of JWTs"] = sharedKey
	jwtOf := func(key string) string {
		return sign(t, jwt.SigningMethodHS256, []byte(key), "", jwt.MapClaims{
			"iss": "https://login.example", "aud": "classrec", "sub": "ms-li", "exp": time.Now().Add(time.Hour).Unix(), "scope": "list",
		})
	}
	secret["JWT"], secret["forged JWT"] = jwtOf(sharedKey), jwtOf("another key, of somebody who guesses it")
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// It says all that it knows, and fails.
		http.Error(w, r.URL.String()+" "+r.Header.Get("webhook-signature"), http.StatusInternalServerError)
	}))
	t.Cleanup(hook.Close)
	file := func(name, text string) string {
		path := filepath.Join(etc, name)
		mustWrite(t, path, text)
		return path
	}
	var log syncBuffer
	collector, audit := apitest.NewCollector(t), filepath.Join(etc, "audit.jsonl")
	cfg := apitest.Config(dir)
	cfg.TraceEndpoint, cfg.AuditLog = collector.URL(), audit
	cfg.AdminListen = "127.0.0.1:0"
	cfg.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg.RoomsFile = file("rooms.yaml", fmt.Sprintf("rooms: {'42': {passwords: {teacher: %s, student: %s}}}\n", secret["password of teacher"], secret["password of student"]))
	cfg.AuthFile = file("auth.yaml", fmt.Sprintf("issuers: [{issuer: 'https://login.example', audience: classrec, key_file: '%s', algorithms: [HS256], tenant: default, rooms: ['*']}]\n",
		file("jwt.key", sharedKey)))
	cfg.FileLinkKeyFile = file("links.key", secret["key of the links"])
	cfg.WebhooksFile = file("hooks.yaml", fmt.Sprintf("endpoints: [{name: crm, url: '%s/in?token=%s', secrets: [whsec_%s], allow_addresses: [127.0.0.1]}]\n",
		hook.URL, secret["address of a webhook"], secret["secret of a webhook"]))
	s := newRunning(t, cfg)
	key, err := os.ReadFile(filepath.Join(dir, "enterprise.key"))
	if err != nil {
		t.Fatal(err)
	}
	secret["enterprise key"] = strings.TrimSpace(string(key))

	told := map[string]string{}
	conn, err := grpc.NewClient(s.GRPCAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	api := classrecv1.NewRecordingServiceClient(conn)
	by := func(token string) context.Context {
		return metadata.AppendToOutgoingContext(apitest.Context(t), "authorization", "Bearer "+token)
	}
	refused := func(what string, want codes.Code, err error) {
		t.Helper()
		if status.Code(err) != want {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
		told["the error of "+what] = fmt.Sprintf("%v %v", err, status.Convert(err).Details())
	}
	// get asks over HTTP; what fails is an error, and what operators read is told.
	get := func(method, address, token string, want int) string {
		t.Helper()
		if !strings.HasPrefix(address, "http") {
			address = "http://" + s.HTTPAddr().String() + address
		}
		req, err := http.NewRequestWithContext(apitest.Context(t), method, address, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		code, _, body := roundTrip(t, http.DefaultClient, req)
		if code != want {
			t.Errorf("%s %s: %d, want %d: %.200s", method, req.URL.Path, code, want, body)
		}
		if code >= 400 {
			told[fmt.Sprintf("the answer %d at %s", code, req.URL.Path)] = body
		}
		return body
	}

	_, err = api.StartRecording(by(secret["guessed token"]), &classrecv1.StartRecordingRequest{Room: "42"})
	refused("a guessed token", codes.Unauthenticated, err)
	_, err = api.GetRecording(by(secret["forged JWT"]), &classrecv1.GetRecordingRequest{Name: "rooms/42/recordings/1"})
	refused("a forged JWT", codes.Unauthenticated, err)
	_, err = api.GetRecording(by(secret["JWT"]), &classrecv1.GetRecordingRequest{Name: "rooms/42/recordings/1"})
	refused("a JWT, of what is not there", codes.NotFound, err)
	_, err = api.StartRecording(by(listing), &classrecv1.StartRecordingRequest{Room: "42"})
	refused("a token without the scope", codes.PermissionDenied, err)
	_, err = api.StartRecording(by(token), &classrecv1.StartRecordingRequest{Room: "42", RoomPassword: secret["guessed password"]})
	refused("a guessed password", codes.PermissionDenied, err)
	get(http.MethodPost, "/v1/rooms/42/recordings", secret["guessed token"], http.StatusUnauthorized)
	get(http.MethodPost, "/whip/42/x", secret["guessed password on WHIP"], http.StatusUnsupportedMediaType)
	started, err := api.StartRecording(by(token), &classrecv1.StartRecordingRequest{Room: "42", RoomPassword: secret["password of teacher"], RequestId: "maths-7"})
	if err != nil {
		t.Fatal(err)
	}
	name := started.GetRecording().GetName()
	chatAs(t, "http://"+s.RoomHTTPAddr().String(), "42", "alice", secret["password of student"])
	if _, err := api.StopRecording(by(token), &classrecv1.StopRecordingRequest{Name: name}); err != nil {
		t.Fatal(err)
	}
	var recording *classrecv1.Recording
	eventually(t, "the files", func() bool {
		resp, err := api.GetRecording(by(listing), &classrecv1.GetRecordingRequest{Name: name})
		recording = resp.GetRecording()
		return err == nil && recording.GetState() == classrecv1.RecordingState_RECORDING_STATE_AVAILABLE
	})
	link := recording.GetUrls()[0]
	secret["signature of a link"] = regexp.MustCompile(`signature=([^&]+)`).FindStringSubmatch(link)[1]
	get(http.MethodGet, link, "", http.StatusOK)
	get(http.MethodGet, link+"x", "", http.StatusForbidden)
	get(http.MethodGet, strings.Split(link, "?")[0], secret["guessed token"], http.StatusUnauthorized)

	operators, err := grpc.NewClient(s.AdminAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = operators.Close() })
	eventually(t, "a failed delivery", func() bool {
		resp, err := adminv1.NewWebhookServiceClient(operators).ListWebhookDeliveries(by(token), &adminv1.ListWebhookDeliveriesRequest{Parent: "endpoints/crm"})
		told["deliveries"] = resp.String()
		return err == nil && strings.Contains(resp.String(), "500")
	})
	explained, err := adminv1.NewRoomServiceClient(operators).ExplainRecording(by(token), &adminv1.ExplainRecordingRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	told["explain"] = explained.String()
	for _, path := range []string{"/metrics", "/debug/rooms", "/readyz"} {
		told[path] = get(http.MethodGet, path, token, http.StatusOK)
	}
	s.stop()

	told["the log"] = log.String()
	lines, err := os.ReadFile(audit)
	if err != nil {
		t.Fatal(err)
	}
	told["the audit log"] = string(lines)
	for _, span := range collector.Spans() {
		told["the traces"] += span.String() + "\n"
	}
	if err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		told["names of files"] += path + "\n"
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for what, text := range told {
		if text == "" {
			t.Errorf("%s: nothing, so it was not tried", what)
		}
		for line := range strings.Lines(text) {
			if found := secret.shown(line); found != nil {
				t.Errorf("%s: shown is the %v", what, found)
			}
		}
	}
	// What names things does name them: the lines were looked at.
	for what, part := range map[string]string{"the log": name, "the audit log": all.Name, "the traces": name, "names of files": "tokens.json"} {
		if !strings.Contains(told[what], part) {
			t.Errorf("%s: nothing of %s", what, part)
		}
	}
}

// chatAs enters a room with a password, says something, and leaves.
func chatAs(t *testing.T, platform, room, user, password string) {
	t.Helper()
	c, err := talkcloud.New(talkcloud.Config{BaseURL: platform})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	conn, err := c.Join(apitest.Context(t), talkcloud.JoinOptions{
		Room: talkcloud.RoomID(room), UserID: talkcloud.UserID(user), Nickname: user, Password: talkcloud.Secret(password),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SendChat(apitest.Context(t), "good morning"); err != nil {
		t.Fatal(err)
	}
}

// Whatever a line of the log is about, it says: the tenant and the room, the recording once it has a name, and the request
// id. Each call has one line, and each error is told once.
func TestLog_Fields(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	s := apitest.New(t, func(cfg *server.Config) {
		cfg.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room":"42","request_id":"maths-7"}`})
	teacher := s.Join(t, "42", "teacher")
	teacher.Chat(t, "good morning")
	teacher.Sync(t)
	const missing = "rooms/42/recordings/1"
	for _, way := range []apitest.Transport{apitest.GRPC, apitest.REST} {
		s.Call(t, way, apitest.Call{Name: apitest.Start, Request: `{"room":"42","request_id":"another"}`}) // ALREADY_EXISTS
		s.Call(t, way, apitest.Call{Name: apitest.Get, Request: `{"name":"` + missing + `"}`})             // NOT_FOUND
	}
	name := s.Must(t, apitest.Call{Name: apitest.Stop, Request: `{"room":"42"}`}).GetName()
	eventually(t, "the files", func() bool {
		return s.Must(t, apitest.Call{Name: apitest.Get, Request: `{"name":"` + name + `"}`}).GetState() == classrecv1.RecordingState_RECORDING_STATE_AVAILABLE
	})
	s.Stop()

	calls, errs := map[string]int{}, map[string]int{}
	for line := range strings.Lines(log.String()) {
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		text := func(key string) string { v, _ := l[key].(string); return v }
		if text("msg") == "call" {
			calls[filepath.Base(text("method"))+" "+text("code")]++
			if text("error") != "" {
				errs[text("error")]++
			}
		}
		switch {
		case strings.HasPrefix(text("msg"), "recording is "):
			for key, want := range map[string]string{"tenant": "default", "room": "42", "recording": name, "request_id": "maths-7"} {
				if text(key) != want {
					t.Errorf("%s is %q in %s", key, text(key), line)
				}
			}
		case strings.Contains(line, "rooms/42/") || text("room") != "":
			if text("room") != "42" {
				t.Errorf("a line about a room has none: %s", line)
			}
			if text("tenant") == "" {
				t.Errorf("a line about a room has no tenant: %s", line)
			}
		}
	}
	for call, want := range map[string]int{"StartRecording OK": 1, "StartRecording AlreadyExists": 2, "GetRecording NotFound": 2, "StopRecording OK": 1} {
		if calls[call] != want {
			t.Errorf("%d lines of %s, want %d", calls[call], call, want)
		}
	}
	for text, n := range errs {
		if n != 2 || strings.Count(log.String(), text) != 2 { // one for each way
			t.Errorf("the error %q is told %d times, in %d lines of calls", text, strings.Count(log.String(), text), n)
		}
	}
}
