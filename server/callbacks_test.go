// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/classrec/classrec/client"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/auth"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// Two tenants, each with a platform and a path for its callbacks, and a room of the
// same name: a callback has the files of its own tenant looked for, and nobody
// else's.
func TestCallback_OfItsTenant(t *testing.T) {
	t.Parallel()
	type enterprise struct {
		platform *talkcloudtest.Platform
		asked    atomic.Int64 // for what is listed
		api      *client.Client
		name     string // of its recording
		path     string
	}
	key := filepath.Join(t.TempDir(), "enterprise.key")
	mustWrite(t, key, "0123456789abcdef\n")
	cfg := anywhere(t.TempDir())
	cfg.RoomListen, cfg.RoomHTTPListen = "", ""
	cfg.PollMin, cfg.PollMax, cfg.SettleTime = time.Hour, time.Hour, 50*time.Millisecond
	tenants := "tenants:\n"
	all := map[string]*enterprise{"default": {}, "other": {}}
	tokens := map[string]string{}
	for tenant, e := range all {
		e.platform = talkcloudtest.NewPlain(t)
		e.platform.Answer("/a.mkv", func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "a.mkv", time.Unix(1511860322, 0), strings.NewReader("media"))
		})
		e.platform.Answer(talkcloud.PathGetUserRecordList, func(w http.ResponseWriter, _ *http.Request) {
			urls := []string{}
			if e.asked.Add(1) > 2 { // by room and by user: the first look
				urls = append(urls, e.platform.Config().BaseURL+"/a.mkv")
			}
			_ = json.NewEncoder(w).Encode(urls)
		})
		tenants += fmt.Sprintf("  %s: {platform: %q, enterprise-key-file: %q}\n", tenant, e.platform.Config().BaseURL, key)
		_, tokens[tenant] = newToken(t, cfg.DataDir, auth.Token{Name: tenant, Tenant: tenant, Scopes: auth.Scopes()})
	}
	cfg.TenantsFile = tenantsFile(t, tenants)
	r := newRunning(t, cfg)
	ctx := apitest.Context(t)
	get := func(e *enterprise) *classrecv1.Recording {
		res, err := e.api.GetRecording(ctx, &classrecv1.GetRecordingRequest{Name: e.name})
		if err != nil {
			t.Fatal(err)
		}
		return res.GetRecording()
	}
	for tenant, e := range all {
		e.api = r.as(t, tokens[tenant])
		res, err := e.api.StartRecording(ctx, startIn("42"))
		if err != nil {
			t.Fatal(err)
		}
		e.name = res.GetRecording().GetName()
		if _, err := e.api.StopRecording(ctx, &classrecv1.StopRecordingRequest{Name: e.name}); err != nil {
			t.Fatal(err)
		}
		await(t, "the first look of "+tenant, func() bool { return e.asked.Load() >= 2 })
		file := "callback-path"
		if tenant != auth.DefaultTenant {
			file += "-" + tenant
		}
		text, err := os.ReadFile(filepath.Join(cfg.DataDir, file))
		if err != nil {
			t.Fatal(err)
		}
		e.path = strings.TrimSpace(string(text))
	}
	ours, theirs := all["other"], all["default"]
	if ours.path == theirs.path {
		t.Fatal("two tenants have one path")
	}
	call := func(path string) int {
		resp, err := r.http.Post(r.base+path, "application/x-www-form-urlencoded", strings.NewReader("serial=42&recordid=1&starttime=1511860322000"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	if code := call(ours.path); code != http.StatusOK {
		t.Errorf("a callback is answered %d", code)
	}
	await(t, "the files of the tenant that was called back", func() bool {
		return get(ours).GetState() == classrecv1.RecordingState_RECORDING_STATE_AVAILABLE
	})
	if asked, state := theirs.asked.Load(), get(theirs).GetState(); asked > 2 || state != classrecv1.RecordingState_RECORDING_STATE_PROCESSING {
		t.Errorf("the other tenant's platform was asked %d times, and its recording is %v", asked, state)
	}
	for _, path := range []string{ours.path + "-other", ours.path + "x", ours.path[:len(ours.path)-1], filepath.Dir(ours.path)} {
		if code := call(path); code < 400 || code >= 500 {
			t.Errorf("a path that is nobody's is answered %d", code)
		}
	}
	if code := call(theirs.path); code != http.StatusOK {
		t.Errorf("the other's callback is answered %d", code)
	}
	await(t, "the files of the other tenant", func() bool {
		return get(theirs).GetState() == classrecv1.RecordingState_RECORDING_STATE_AVAILABLE
	})
}
