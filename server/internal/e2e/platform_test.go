// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/room"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// platform is a platform on the reference implementation of the socket.io server.
type platform struct {
	*remote
	url    string
	caFile string // to trust for url
}

// startPlatform runs testdata/node/platform.js on a version of socket.io.
func startPlatform(t *testing.T, version string) *platform {
	t.Helper()
	cert, key := newCertificate(t)
	p := &platform{startNode(t, "platform", []string{"PLATFORM_KEY=" + apitest.Key}, "platform.js", version, cert, key), "", cert}
	p.url = "https://127.0.0.1:" + string(p.call(t, "port"))
	return p
}

// newCertificate makes a self-signed certificate for 127.0.0.1 and its key, as PEM files.
func newCertificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "reference platform"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	keyDER := must[[]byte](t)(x509.MarshalPKCS8PrivateKey(key))
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "platform.crt"), filepath.Join(dir, "platform.key")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// newService starts a whole classrec that works on the platform.
func (p *platform) newService(t *testing.T) *apitest.Server {
	t.Helper()
	return apitest.New(t, apitest.Platform(t, p.url), func(cfg *server.Config) { cfg.PlatformCAFile = p.caFile })
}

// newTeacher joins a room with the reference client.
func (p *platform) newTeacher(t *testing.T, room string) *member {
	t.Helper()
	m := newNodeMember(t, "2", p.caFile, "teacher-1")
	if j := enter(t, m, p.url, room, "Ms. Wang", "teacher"); j.Role != talkcloud.RoleTeacher {
		t.Errorf("the teacher has role %d", j.Role)
	}
	return m
}

// newNodeMember starts somebody on the reference client, who trusts a certificate.
func newNodeMember(t *testing.T, version, caFile, id string) *member {
	t.Helper()
	caFile = must[string](t)(filepath.Abs(caFile))
	return &member{startNode(t, id, []string{"NODE_EXTRA_CA_CERTS=" + caFile}, "client.js", version), "", id}
}

// message is a saved message of a room of the platform.
type message struct {
	FromID, Data string
	TS           int64
}

// classBegin is ClassBegin as the platform has it; ok is false when there is none.
func (p *platform) classBegin(t *testing.T, room string) (m message, ok bool) {
	t.Helper()
	m, ok = callInto[map[string]message](t, p.remote, "messages", room)["ClassBegin"]
	return m, ok
}

// joined waits until somebody has joined a room.
func (p *platform) joined(t *testing.T, room, user string) {
	t.Helper()
	p.await(t, "joined", func(a args) bool { return a.text(0) == room && a.text(1) == user })
}

// start starts a recording, and checks that the platform has the message that makes it one.
func (p *platform) start(t *testing.T, s *apitest.Server, room, options string) *classrecv1.Recording {
	t.Helper()
	r := s.Must(t, apitest.Call{Name: apitest.Start, Request: fmt.Sprintf(`{"room": %q%s}`, room, options)})
	if r.GetState() != classrecv1.RecordingState_RECORDING_STATE_RECORDING {
		t.Errorf("started, it is %v", r.GetState())
	}
	m, ok := p.classBegin(t, room)
	if !ok || m.FromID != r.GetUserId() || m.TS != r.GetRecordTime().GetSeconds() {
		t.Errorf("the platform has ClassBegin %+v, the recording is of %s at %d", m, r.GetUserId(), r.GetRecordTime().GetSeconds())
	}
	return r
}

// eachPlatform runs a test against both versions of the reference implementation.
func eachPlatform(t *testing.T, test func(t *testing.T, p *platform, s *apitest.Server)) {
	t.Helper()
	t.Parallel()
	for _, version := range []string{"2", "4"} {
		t.Run("socket.io "+version, func(t *testing.T) {
			t.Parallel()
			p := startPlatform(t, version)
			test(t, p, p.newService(t))
		})
	}
}

// A recording of ours survives all that the platform does to connections, and ends with its files; where the platform
// forgets the class while our connection is away, it is over, and is not begun again in an empty room.
func TestPlatform_Recording(t *testing.T) {
	eachPlatform(t, func(t *testing.T, p *platform, s *apitest.Server) {
		const room = "93001"
		watch := s.Watch(t, apitest.GRPC, room, 0)
		if before, _ := watch.Synced(t); len(before) > 0 {
			t.Errorf("before the class there are %v", before)
		}
		r := p.start(t, s, room, "")
		if m, _ := p.classBegin(t, room); m.Data != `{"recordtype":"1","convert":0,"layout":0,"recordchat":true}` {
			t.Errorf("ClassBegin has data %s", m.Data)
		}
		me := r.GetUserId()
		p.joined(t, room, me)
		if ev := watch.Events(t, 1)[0]; ev.GetAction() != add || ev.GetRecording().GetName() != r.GetName() || ev.GetInList() {
			t.Errorf("the watch tells %v", ev)
		}

		teacher := p.newTeacher(t, room) // while somebody is there, the room keeps its messages
		p.drain(t, "checkroom")
		p.drain(t, "pubMsg")
		for _, how := range []string{"drop", "disconnect", "forceReconnect"} {
			p.drain(t, "getconfig")
			p.call(t, how, room, me)
			p.joined(t, room, me)
			p.await(t, "getconfig", is(0, room))
		}
		if n := p.pending("checkroom"); n > 0 {
			t.Errorf("checkroom was repeated %d times", n)
		}
		if m, _ := p.classBegin(t, room); m.TS != r.GetRecordTime().GetSeconds() || p.pending("pubMsg") > 0 {
			t.Errorf("after the reconnects the platform has ClassBegin %+v", m)
		}

		// Alone in the room, a drop makes the platform forget its messages.
		teacher.call(t, "leave")
		p.await(t, "left", is(1, teacher.id))
		if users := callInto[[]string](t, p.remote, "users", room); !slices.Equal(users, []string{me}) {
			t.Errorf("in the room are %v, want %s alone", users, me)
		}
		p.call(t, "drop", room, me)
		p.joined(t, room, me)
		eventually(t, "the end", func() bool {
			now := s.Must(t, apitest.Call{Name: apitest.Get, Request: fmt.Sprintf(`{"name": %q}`, r.GetName())})
			return now.GetEndReason() == classrecv1.EndReason_END_REASON_ENDED_WHILE_AWAY
		})
		if p.pending("pubMsg") > 0 {
			t.Error("the class was begun again")
		}

		stopped := s.Must(t, apitest.Call{Name: apitest.Stop, Request: fmt.Sprintf(`{"room": %q}`, room)})
		if stopped.GetState() < classrecv1.RecordingState_RECORDING_STATE_PROCESSING || stopped.GetName() != r.GetName() {
			t.Errorf("stopped, %s is %v", stopped.GetName(), stopped.GetState())
		}
		if _, still := p.classBegin(t, room); still {
			t.Error("after the stop, the platform still has ClassBegin")
		}

		file := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("media")) }))
		t.Cleanup(file.Close)
		url := file.URL + "/93001/a.mkv"
		p.list(t, "userid/"+me, fmt.Sprintf("[%q]", url))
		if done := available(t, s, r.GetName()); !slices.Equal(done.GetUrls(), []string{url}) {
			t.Errorf("the files are %v", done.GetUrls())
		}
	})
}

// drain forgets the events of a name so far.
func (p *platform) drain(t *testing.T, name string) {
	t.Helper()
	for p.pending(name) > 0 {
		p.await(t, name, nil)
	}
}

// list makes the platform answer a query of the record list.
func (p *platform) list(t *testing.T, query, body string) {
	t.Helper()
	p.call(t, "record", query, map[string]any{"body": body})
}

// A class that a teacher begins and ends with the vendor's client is told, also when its end was missed.
func TestPlatform_TeachersClass(t *testing.T) {
	eachPlatform(t, func(t *testing.T, p *platform, s *apitest.Server) {
		const room, data = "93002", `{"recordtype":"1","convert":1,"layout":0,"recordchat":true}`
		watch := s.Watch(t, apitest.GRPC, room, 0)
		watch.Synced(t)
		watcher := p.await(t, "joined", is(0, room)).text(1)
		teacher := p.newTeacher(t, room)

		begin := func() *classrecv1.ClassBeginEvent {
			t.Helper()
			teacher.acked(t, "startServerRecord", map[string]any{"convert": 1})
			ts := teacher.classBegun(t, teacher.id, data)
			ev := watch.Events(t, 1)[0]
			if ev.GetAction() != add || ev.GetFromUserId() != teacher.id || ev.GetTime().GetSeconds() != ts || ev.GetData() != data {
				t.Errorf("of the beginning at %d the watch tells %v", ts, ev)
			}
			return ev
		}
		first := begin()
		out := s.Call(t, apitest.REST, apitest.Call{Name: apitest.Start, Request: fmt.Sprintf(`{"room": %q}`, room)})
		if out.Code != codes.AlreadyExists || out.Metadata["recording"] != first.GetRecording().GetName() {
			t.Errorf("Start gives %v %s %v", out.Code, out.Reason, out.Metadata)
		}

		p.call(t, "hold")
		p.call(t, "drop", room, watcher)
		p.await(t, "left", is(1, watcher))
		teacher.acked(t, "stopServerRecord")
		teacher.classEnded(t, teacher.id)
		p.call(t, "release")
		if ev := watch.Events(t, 1)[0]; ev.GetAction() != remove || ev.GetRecording().GetName() != first.GetRecording().GetName() ||
			ev.GetRecording().GetEndReason() != classrecv1.EndReason_END_REASON_ENDED_WHILE_AWAY {
			t.Errorf("of the end that was missed the watch tells %v", ev)
		}

		second := begin()
		if second.GetRecording().GetName() == first.GetRecording().GetName() {
			t.Error("two classes are one recording")
		}
		teacher.acked(t, "stopServerRecord")
		if ev := watch.Events(t, 1)[0]; ev.GetAction() != remove || ev.GetFromUserId() != teacher.id ||
			ev.GetRecording().GetEndReason() != classrecv1.EndReason_END_REASON_STOPPED_IN_ROOM {
			t.Errorf("of the end the watch tells %v", ev)
		}
	})
}

// Who is evicted does not come back; what becomes of the recording depends on why.
func TestPlatform_Eviction(t *testing.T) {
	eachPlatform(t, func(t *testing.T, p *platform, s *apitest.Server) {
		over := p.start(t, s, "93003", "")
		p.joined(t, "93003", over.GetUserId())
		p.call(t, "evict", "93003", over.GetUserId(), talkcloud.EvictedRoomOver)
		eventually(t, "the recording is over", func() bool {
			r := s.Must(t, apitest.Call{Name: apitest.Get, Request: fmt.Sprintf(`{"name": %q}`, over.GetName())})
			return r.GetEndReason() == classrecv1.EndReason_END_REASON_ROOM_CLOSED
		})

		// Somebody else comes as the same user: the class goes on, and its end is still seen.
		usurped := p.start(t, s, "93004", `, "user_id": "recorder-1"`)
		other := newNodeMember(t, "2", p.caFile, "recorder-1")
		j := enter(t, other, p.url, "93004", "Somebody", "")
		if len(j.Messages) != 1 || j.Messages[0].ID != "ClassBegin" {
			t.Errorf("a late participant is given the messages %+v", j.Messages)
		}
		p.await(t, "left", is(1, "recorder-1"))
		r := s.Must(t, apitest.Call{Name: apitest.Get, Request: fmt.Sprintf(`{"name": %q}`, usurped.GetName())})
		if r.GetState() != classrecv1.RecordingState_RECORDING_STATE_RECORDING {
			t.Errorf("after the eviction by the same user, the recording is %v", r.GetState())
		}
		p.await(t, "joined", func(a args) bool { return a.text(0) == "93004" && a.text(1) != "recorder-1" }) // looks on as a guest
		other.acked(t, "stopServerRecord")
		eventually(t, "the recording is over", func() bool {
			r := s.Must(t, apitest.Call{Name: apitest.Get, Request: fmt.Sprintf(`{"name": %q}`, usurped.GetName())})
			return r.GetEndReason() == classrecv1.EndReason_END_REASON_STOPPED_IN_ROOM
		})
	})
}

// Refusals of the platform, and the many answers of its record list.
func TestPlatform_Answers(t *testing.T) {
	eachPlatform(t, func(t *testing.T, p *platform, s *apitest.Server) {
		start := func(request string) apitest.Outcome {
			t.Helper()
			return s.Call(t, apitest.GRPC, apitest.Call{Name: apitest.Start, Request: request})
		}
		if out := start(`{"room": "missing-1"}`); out.Code != codes.NotFound {
			t.Errorf("a room that is not there gives %v %s", out.Code, out.Message)
		}
		if out := start(`{"room": "locked-1", "room_password": "guess"}`); out.Code != codes.PermissionDenied {
			t.Errorf("a wrong password gives %v %s", out.Code, out.Message)
		}
		p.start(t, s, "locked-1", `, "room_password": "open sesame & 芝麻", "nickname": "录制 & co = 100%"`)
		p.await(t, "checkroom", has(map[string]any{"serial": "locked-1", "nickname": "录制 & co = 100%", "clientType": "1"}))

		for i, tc := range []struct {
			body       string
			status     int
			urls       []string
			incomplete codes.Code // why there may be more; OK: it is complete
		}{
			{body: `["https://files.example/1.mkv", " /2.mkv"]`, urls: []string{"https://files.example/1.mkv", p.url + "/2.mkv"}},
			{body: `[]`},
			{body: `null`},
			{body: ``},
			{body: `{"result":4105,"msg":"没有数据"}`},
			{body: `{"result":"4105"}`},
			{body: `{"result":4102}`, incomplete: codes.FailedPrecondition},
			{body: `<html>502</html>`, status: 502, incomplete: codes.Unavailable},
			{body: `<html>hello</html>`, incomplete: codes.Internal},
			{body: `["https://files.example/1.mkv"`, urls: []string{"https://files.example/1.mkv"}, incomplete: codes.Internal},
		} {
			user := fmt.Sprintf("pupil-%d", i)
			p.call(t, "record", "userid/"+user, map[string]any{"body": tc.body, "status": max(tc.status, 200), "type": "text/html"})
			out := s.Call(t, apitest.REST, apitest.Call{Name: apitest.List, Request: fmt.Sprintf(`{"user_id": %q}`, user)})
			if out.Code != codes.OK {
				t.Errorf("%q: %v %s", tc.body, out.Code, out.Message)
				continue
			}
			if strings.Contains(out.Response, apitest.Key) {
				t.Errorf("%q: the answer tells the key", tc.body)
			}
			var list struct {
				Recordings []struct{ URLs []string }
				Incomplete *struct{ Code codes.Code }
			}
			if err := json.Unmarshal([]byte(out.Response), &list); err != nil {
				t.Errorf("%q: %v", tc.body, err)
			}
			why := codes.OK
			if list.Incomplete != nil {
				why = list.Incomplete.Code
			}
			if why != tc.incomplete {
				t.Errorf("%q: incomplete for %v, want %v", tc.body, why, tc.incomplete)
			}
			var urls []string
			for _, r := range list.Recordings {
				urls = append(urls, r.URLs...)
			}
			if slices.Sort(urls); !slices.Equal(urls, slices.Sorted(slices.Values(tc.urls))) {
				t.Errorf("%q: lists %v, want %v", tc.body, urls, tc.urls)
			}
		}
	})
}

// Our own client speaks both revisions with socket.io 4, and comes back in each.
func TestPlatform_Revisions(t *testing.T) {
	t.Parallel()
	p := startPlatform(t, "4")
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(must[[]byte](t)(os.ReadFile(p.caFile)))
	for _, revision := range []int{3, 4} {
		t.Run(fmt.Sprintf("EIO %d", revision), func(t *testing.T) {
			t.Parallel()
			client := must[*talkcloud.Client](t)(talkcloud.New(talkcloud.Config{BaseURL: p.url, RootCAs: pool, EngineIO: revision}))
			t.Cleanup(func() { _ = client.Close() })
			rooms := room.NewManager(client, room.Config{})
			t.Cleanup(func() { _ = rooms.Close() })
			ctx := testContext(t)
			id := fmt.Sprintf("9400%d", revision)
			session := must[*room.Session](t)(rooms.Acquire(ctx, talkcloud.JoinOptions{Room: talkcloud.RoomID(id)}))
			t.Cleanup(session.Release)
			me := string(session.User())
			if a := p.await(t, "joined", func(a args) bool { return a.text(1) == me }); a.text(2) != fmt.Sprint(revision) {
				t.Errorf("joined by EIO %s", a.text(2))
			}

			begin := talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList, RecordChat: true}.Message()
			if echo, err := session.Publish(ctx, begin); err != nil || echo.FromID != session.User() {
				t.Errorf("the echo is %+v, %v", echo, err)
			}
			for _, how := range []string{"drop", "disconnect", "forceReconnect"} {
				p.call(t, how, id, me)
				p.joined(t, id, me)
			}
			// In the room alone, a platform forgets its messages; here they were deleted, and published anew.
			if _, err := session.Publish(ctx, begin); err != nil {
				t.Error(err)
			}
			if _, err := session.Delete(ctx, talkcloud.ClassEnd()); err != nil {
				t.Error(err)
			}
			if _, still := p.classBegin(t, id); still {
				t.Error("the platform still has ClassBegin")
			}
		})
	}
}
