// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/classrec/classrec/client"
	adminv1 "github.com/classrec/classrec/gen/go/classrec/admin/v1"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/auth"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// school is one of two tenants of a server, and what it sees.
type school struct {
	tenant, token string
	api           *client.Client
	hooks         *hooks
	events        *seen
}

// seen is what a watch of all rooms has told.
type seen struct {
	mu     sync.Mutex
	events []*classrecv1.ClassBeginEvent
}

// watchAll watches all rooms of a school until the test ends, from when it is
// synced.
func watchAll(t *testing.T, api *client.Client) *seen {
	t.Helper()
	s := &seen{}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	stream, err := api.WatchClassBegin(ctx, &classrecv1.WatchClassBeginRequest{Room: "-"})
	if err != nil {
		t.Fatal(err)
	}
	synced, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			msg, err := stream.Recv()
			if err != nil {
				return
			}
			if msg.GetSynced() != nil {
				close(synced)
			}
			if ev := msg.GetEvent(); ev != nil {
				s.mu.Lock()
				s.events = append(s.events, ev)
				s.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	<-synced
	return s
}

// of counts the events of a user's classes.
func (s *seen) of(user string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ev := range s.events {
		if ev.GetRecording().GetUserId() == user {
			n++
		}
	}
	return n
}

// newSchools runs a server of two tenants: a has the embedded platform, b one that
// is a process of its own.
func newSchools(t *testing.T) (r *running, a, b *school) {
	t.Helper()
	theirs := anywhere(t.TempDir())
	theirs.PlatformOnly, theirs.PublicFiles = true, true
	platform, err := server.New(t.Context(), theirs)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- platform.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})

	cfg := anywhere(t.TempDir())
	cfg.AdminListen = "127.0.0.1:0"
	cfg.TenantsFile = tenantsFile(t, fmt.Sprintf(`tenants:
  a:
    platform: embedded
    limits: {recordings: 2}
  b:
    platform: https://%s
    platform-ca-file: %s
    enterprise-key-file: %s
    rich-record-list: true
`, platform.RoomAddr(), platform.RoomCertFile(), filepath.Join(theirs.DataDir, "enterprise.key")))
	a, b = &school{tenant: "a", hooks: newHooks(t)}, &school{tenant: "b", hooks: newHooks(t)}
	var endpoints strings.Builder
	for _, s := range []*school{a, b} {
		file := s.hooks.config(t, "    tenant: "+s.tenant+"\n")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		one := strings.Replace(string(text), "name: hooks", "name: hooks-"+s.tenant, 1)
		if endpoints.Len() > 0 {
			one = strings.Replace(one, "endpoints:\n", "", 1)
		}
		endpoints.WriteString(one)
		_, s.token = newToken(t, cfg.DataDir, auth.Token{Name: s.tenant, Tenant: s.tenant, Scopes: auth.Scopes()})
	}
	cfg.WebhooksFile = hooksFile(t, endpoints.String())
	r = newRunning(t, cfg)
	for _, s := range []*school{a, b} {
		s.api = r.as(t, s.token)
		s.events = watchAll(t, s.api)
	}
	return r, a, b
}

// as is a client with a token, which does not try again.
func (r *running) as(t *testing.T, token string) *client.Client {
	t.Helper()
	c, err := client.Dial(r.GRPCAddr().String(), client.Config{Attempts: 1, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// status is what an HTTP request with a token is answered.
func (r *running) status(t *testing.T, address, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); errors.Join(err, resp.Body.Close()) != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

func (s *school) start(t *testing.T, room, requestID string) *classrecv1.Recording {
	t.Helper()
	res, err := s.api.StartRecording(t.Context(), &classrecv1.StartRecordingRequest{
		Room: room, UserId: "teacher-" + s.tenant, RequestId: requestID,
	})
	if err != nil {
		t.Fatalf("%s: start in %s: %v", s.tenant, room, err)
	}
	return res.GetRecording()
}

func (s *school) list(t *testing.T, req *classrecv1.ListRecordingsRequest) *classrecv1.ListRecordingsResponse {
	t.Helper()
	res, err := s.api.ListRecordings(t.Context(), req)
	if err != nil {
		t.Fatalf("%s: list: %v", s.tenant, err)
	}
	return res
}

// end stops a recording and waits for its files.
func (s *school) end(t *testing.T, rec *classrecv1.Recording) *classrecv1.Recording {
	t.Helper()
	if _, err := s.api.StopRecording(t.Context(), &classrecv1.StopRecordingRequest{Name: rec.GetName()}); err != nil {
		t.Fatalf("%s: stop: %v", s.tenant, err)
	}
	await(t, "the files of "+rec.GetName()+" of "+s.tenant, func() bool {
		res, err := s.api.GetRecording(t.Context(), &classrecv1.GetRecordingRequest{Name: rec.GetName()})
		if err != nil {
			t.Fatal(err)
		}
		rec = res.GetRecording()
		return rec.GetState() == classrecv1.RecordingState_RECORDING_STATE_AVAILABLE
	})
	return rec
}

// chat leaves a file in a recording of the embedded platform.
func chat(t *testing.T, s *server.Server, room talkcloud.RoomID) {
	t.Helper()
	conn := joinAs(t, s, room)
	if err := conn.SendChat(t.Context(), "hello"); err != nil {
		t.Fatal(err)
	}
	for raw := range conn.Incoming() {
		if ev, ok := talkcloud.ParseEvent(raw); ok && ev.Kind == talkcloud.Chat {
			return
		}
	}
	t.Fatal("the chat did not come back")
}

// Two tenants with two real platforms, the same rooms and the same request ids:
// nothing that one has is to be seen by the other, in any call.
func TestTenants_SeeNothingOfEachOther(t *testing.T) {
	t.Parallel()
	r, a, b := newSchools(t)
	ours := a.start(t, "42", "the-same")
	theirs := b.start(t, "42", "the-same")
	hidden := b.start(t, "only-b", "hidden")
	chat(t, r.Server, "42")
	if ours.GetUserId() != "teacher-a" || theirs.GetUserId() != "teacher-b" {
		t.Fatalf("one request id in two tenants: %v, %v", ours, theirs)
	}
	seeOwnByAdmin(t, r, a, b, hidden)

	notFound := func(what string, err error) {
		t.Helper()
		if status.Code(err) != codes.NotFound || strings.Contains(err.Error(), "teacher-b") {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := a.api.GetRecording(t.Context(), &classrecv1.GetRecordingRequest{Name: hidden.GetName()})
	notFound("get", err)
	_, err = a.api.StopRecording(t.Context(), &classrecv1.StopRecordingRequest{Name: hidden.GetName()})
	notFound("stop", err)
	_, err = a.api.StopRecording(t.Context(), &classrecv1.StopRecordingRequest{Room: "only-b"})
	notFound("stop in the room", err)
	if code := r.status(t, r.base+"/v1/"+hidden.GetName(), a.token); code != http.StatusNotFound {
		t.Errorf("REST get: %d", code)
	}
	if code := r.status(t, r.base+"/v1/"+hidden.GetName(), b.token); code != http.StatusOK {
		t.Errorf("REST get of one's own: %d", code)
	}
	for name, req := range map[string]*classrecv1.ListRecordingsRequest{
		"room":        {Room: "only-b"},
		"user":        {UserId: "teacher-b"},
		"room, user":  {Room: "42", UserId: "teacher-b"},
		"record time": {Room: "only-b", RecordTime: hidden.GetRecordTime()},
	} {
		if got := a.list(t, req).GetRecordings(); len(got) > 0 {
			t.Errorf("list by %s: %v", name, got)
		}
		if got := b.list(t, req).GetRecordings(); len(got) == 0 {
			t.Errorf("list of one's own by %s: nothing", name)
		}
	}
	if got := a.list(t, &classrecv1.ListRecordingsRequest{Room: "42"}).GetRecordings(); len(got) != 1 || got[0].GetUserId() != "teacher-a" {
		t.Errorf("list of room 42: %v", got)
	}
	page := b.list(t, &classrecv1.ListRecordingsRequest{UserId: "teacher-b", PageSize: 1})
	_, err = a.api.ListRecordings(t.Context(), &classrecv1.ListRecordingsRequest{UserId: "teacher-b", PageSize: 1, PageToken: page.GetNextPageToken()})
	if page.GetNextPageToken() == "" || status.Code(err) != codes.InvalidArgument {
		t.Errorf("a page token of another's: %q, %v", page.GetNextPageToken(), err)
	}

	// A class that is on there is none here; what is full here is not there.
	second := a.start(t, "only-b", "second")
	_, err = a.api.StartRecording(t.Context(), startIn("third"))
	if got := limitOf(t, err); got != "tenant recordings 2" {
		t.Errorf("a third recording: %s", got)
	}
	third := b.start(t, "third", "third")

	for _, rec := range []*classrecv1.Recording{theirs, hidden, third} {
		b.end(t, rec)
	}
	done := a.end(t, ours)
	a.end(t, second)

	// Files: by the link that was given out, or by a token of the tenant's.
	if len(done.GetUrls()) == 0 {
		t.Fatal("no files")
	}
	link := done.GetUrls()[0]
	bare, _, _ := strings.Cut(link, "?")
	for what, got := range map[string][2]int{
		"link":            {r.status(t, link, ""), http.StatusOK},
		"own token":       {r.status(t, bare, a.token), http.StatusOK},
		"another's token": {r.status(t, bare, b.token), http.StatusNotFound},
		"nothing":         {r.status(t, bare, ""), http.StatusUnauthorized},
	} {
		if got[0] != got[1] {
			t.Errorf("file by %s: %d, want %d", what, got[0], got[1])
		}
	}

	// Each has seen all of its own events, and none of the other's.
	for _, s := range []*school{a, b} {
		other := map[string]string{"a": "teacher-b", "b": "teacher-a"}[s.tenant]
		own := map[string]int{"a": 4, "b": 6}[s.tenant]
		await(t, "the events of "+s.tenant, func() bool { return s.events.of("teacher-"+s.tenant) >= own })
		if n := s.events.of(other); n > 0 {
			t.Errorf("%s has seen %d events of %s", s.tenant, n, other)
		}
		want := []string{"class.begin", "class.end", "recording.available", "recording.started", "recording.stopped"}
		await(t, "the webhooks of "+s.tenant, func() bool { return len(s.hooks.room("42")) >= len(want) && len(s.hooks.room("only-b")) >= len(want) })
		got := s.hooks.room("42")
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("the webhooks of %s tell of room 42: %v", s.tenant, got)
		}
	}
	// The links of a webhook open as those of a call do, and no others.
	told := a.hooks.files("42")
	if len(told) != 1 {
		t.Fatalf("recording.available has the files %v", told)
	}
	address, err := url.Parse(told[0])
	if err != nil {
		t.Fatal(err)
	}
	forged := func(key, value string) string {
		changed, query := *address, address.Query()
		query.Set(key, value)
		changed.RawQuery = query.Encode()
		return changed.String()
	}
	for what, got := range map[string][2]int{
		"as told":                {r.status(t, told[0], ""), http.StatusOK},
		"expired":                {r.status(t, forged("expires", "1511860322"), ""), http.StatusForbidden},
		"with more time":         {r.status(t, forged("expires", "9999999999"), ""), http.StatusForbidden},
		"with another signature": {r.status(t, forged("signature", strings.Repeat("A", len(address.Query().Get("signature")))), ""), http.StatusForbidden},
	} {
		if got[0] != got[1] {
			t.Errorf("a webhook's link %s: %d, want %d", what, got[0], got[1])
		}
	}
	if got := a.hooks.room("third"); len(got) > 0 {
		t.Errorf("the webhooks of a tell of b's room: %v", got)
	}
}

// seeOwnByAdmin asks the admin API and what is beside it, of each school and of an
// operator: hidden is of b.
func seeOwnByAdmin(t *testing.T, r *running, a, b *school, hidden *classrecv1.Recording) {
	t.Helper()
	_, operator := newToken(t, r.dir, auth.Token{Name: "operator", Tenant: auth.AllTenants, Scopes: []auth.Scope{auth.ScopeAdmin}})
	_, some := newToken(t, r.dir, auth.Token{Name: "some", Tenant: "b", Scopes: []auth.Scope{auth.ScopeAdmin}, Rooms: []string{"42"}})
	by := func(token string) context.Context {
		return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
	}
	rooms, hooks := roomsOf(t, r.AdminAddr().String()), adminOf(t, r)
	await(t, "the operator's token", func() bool {
		_, err := rooms.ListRooms(by(operator), &adminv1.ListRoomsRequest{})
		return err == nil
	})
	const both, none = "a/42 b/42 b/only-b", ""
	for _, tc := range []struct{ who, token, tenant, want string }{
		{"a", a.token, "", "a/42"},
		{"a", a.token, "a", "a/42"},
		{"a", a.token, "b", none},
		{"b", b.token, "", "b/42 b/only-b"},
		{"some of b", some, "", "b/42"},
		{"the operator", operator, "", both},
		{"the operator", operator, "a", "a/42"},
	} {
		resp, err := rooms.ListRooms(by(tc.token), &adminv1.ListRoomsRequest{Tenant: tc.tenant})
		var got []string
		for _, room := range resp.GetRooms() {
			got = append(got, room.GetTenant()+"/"+room.GetRoom())
		}
		if err != nil || strings.Join(got, " ") != tc.want {
			t.Errorf("%s sees the rooms %v of tenant %q, %v; want %s", tc.who, got, tc.tenant, err, tc.want)
		}
		page := r.text(t, "/debug/rooms?tenant="+tc.tenant, tc.token)
		if n := len(strings.Fields(tc.want)); strings.Count(page, "\nroom ") != n || strings.Contains(page, "only-b") != strings.Contains(tc.want, "only-b") {
			t.Errorf("%s sees at /debug/rooms of tenant %q: %s", tc.who, tc.tenant, page)
		}
	}
	explain := func(token, tenant string) string {
		resp, err := rooms.ExplainRecording(by(token), &adminv1.ExplainRecordingRequest{Name: hidden.GetName(), Tenant: tenant})
		if err == nil && resp.GetRecording().GetName() != hidden.GetName() {
			t.Errorf("explained is %v", resp)
		}
		return strings.ReplaceAll(fmt.Sprint(status.Code(err), " ", status.Convert(err).Message()), tenant, "")
	}
	if other, nobody := explain(a.token, "b"), explain(a.token, "nowhere"); other != nobody || !strings.HasPrefix(other, "NotFound") {
		t.Errorf("another's recording is %q, one of no tenant %q", other, nobody)
	}
	for who, got := range map[string][2]string{
		"a":            {explain(a.token, ""), "NotFound"},
		"some of b":    {explain(some, ""), "NotFound"},
		"b":            {explain(b.token, ""), "OK"},
		"the operator": {explain(operator, "b"), "OK"},
	} {
		if !strings.HasPrefix(got[0], got[1]) {
			t.Errorf("%s is told of b's recording: %s, want %s", who, got[0], got[1])
		}
	}
	for who, tc := range map[string][2]string{
		"a": {a.token, "endpoints/hooks-a"}, "b": {b.token, "endpoints/hooks-b"},
		"some of b": {some, ""}, "the operator": {operator, "endpoints/hooks-a endpoints/hooks-b"},
	} {
		resp, err := hooks.ListWebhookEndpoints(by(tc[0]), &adminv1.ListWebhookEndpointsRequest{})
		var got []string
		for _, e := range resp.GetEndpoints() {
			got = append(got, e.GetName())
		}
		if err != nil || strings.Join(got, " ") != tc[1] {
			t.Errorf("%s sees the endpoints %v, %v", who, got, err)
		}
	}
	var delivery string
	await(t, "a delivery to b", func() bool {
		resp, err := hooks.ListWebhookDeliveries(by(b.token), &adminv1.ListWebhookDeliveriesRequest{Parent: "endpoints/hooks-b"})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range resp.GetDeliveries() {
			delivery = d.GetName()
		}
		return delivery != ""
	})
	for name, call := range map[string]func(token string) error{
		"list": func(token string) error {
			_, err := hooks.ListWebhookDeliveries(by(token), &adminv1.ListWebhookDeliveriesRequest{Parent: "endpoints/hooks-b"})
			return err
		},
		"get": func(token string) error {
			_, err := hooks.GetWebhookDelivery(by(token), &adminv1.GetWebhookDeliveryRequest{Name: delivery})
			return err
		},
		"send again": func(token string) error {
			_, err := hooks.RedeliverWebhook(by(token), &adminv1.RedeliverWebhookRequest{Name: delivery})
			return err
		},
		"send what failed again": func(token string) error {
			_, err := hooks.RedeliverFailedWebhooks(by(token), &adminv1.RedeliverFailedWebhooksRequest{Parent: "endpoints/hooks-b"})
			return err
		},
	} {
		for token, want := range map[string]codes.Code{a.token: codes.NotFound, some: codes.NotFound, operator: codes.OK} {
			if name == "send again" && token == operator {
				continue // it would count twice below
			}
			if got := status.Code(call(token)); got != want {
				t.Errorf("%s of b's webhooks is %v, want %v", name, got, want)
			}
		}
	}
	for who, tc := range map[string]struct {
		token string
		want  int
	}{"a": {a.token, http.StatusForbidden}, "some of b": {some, http.StatusForbidden}, "the operator": {operator, http.StatusOK}} {
		if got := r.status(t, r.base+"/metrics", tc.token); got != tc.want {
			t.Errorf("/metrics, of all tenants, for %s: %d", who, got)
		}
	}
}

// text is what a page of text says to a token.
func (r *running) text(t *testing.T, path, token string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	_, _, text := roundTrip(t, r.http, req)
	return text
}

// A credential that is good, of a tenant that there is not.
func TestTenants_Unknown(t *testing.T) {
	t.Parallel()
	cfg := anywhere(t.TempDir())
	cfg.TenantsFile = tenantsFile(t, "tenants:\n  a: {platform: embedded}\n")
	_, gone := newToken(t, cfg.DataDir, auth.Token{Name: "gone", Tenant: "gone", Scopes: auth.Scopes()})
	r := newRunning(t, cfg)
	api := r.as(t, gone)
	_, err := api.StartRecording(t.Context(), startIn("1"))
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(fmt.Sprint(status.Convert(err).Details()), "TENANT_UNKNOWN") {
		t.Errorf("start: %v", err)
	}
	stream, err := api.WatchClassBegin(t.Context(), &classrecv1.WatchClassBeginRequest{Room: "-"})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("watch: %v", err)
	}
	if code := r.status(t, r.base+"/v1/rooms/1/recordings", gone); code != http.StatusForbidden {
		t.Errorf("REST list: %d", code)
	}
}
