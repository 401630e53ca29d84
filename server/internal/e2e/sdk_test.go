// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server/internal/apitest"
)

// member is somebody who is in a room through a RoomClient, in a page or in Node.
type member struct {
	*remote
	prefix string // of the methods
	id     string
}

// joined is what join tells.
type joined struct {
	Nickname string
	Role     int
	UserID   string `json:"userId"`
	Users    []string
	Messages []struct {
		ID   string
		Data json.RawMessage
	}
}

// enter takes a member into a room of the platform at a URL.
func enter(t *testing.T, m *member, base, room, nickname, password string) joined {
	t.Helper()
	j := callInto[joined](t, m.remote, m.prefix+"join", map[string]any{
		"base": base, "serial": room, "nickname": nickname, "password": password, "userId": m.id,
	})
	m.await(t, "room-connected", nil)
	if j.Nickname != nickname {
		t.Errorf("%s: checkroom was told the name %q, and answers %q", m.name, nickname, j.Nickname)
	}
	if j.UserID != m.id {
		t.Errorf("%s: joined as %s", m.name, j.UserID)
	}
	return j
}

// acked calls a method that resolves to an ack, which has to be 0.
func (m *member) acked(t *testing.T, method string, args ...any) {
	t.Helper()
	ack := callInto[[]json.RawMessage](t, m.remote, m.prefix+method, args...)
	if len(ack) == 0 || string(ack[0]) != "0" {
		t.Errorf("%s: %s is acked with %s", m.name, method, ack)
	}
}

// classBegun waits for ClassBegin of somebody, with this data, and returns its ts.
func (m *member) classBegun(t *testing.T, from, data string) int64 {
	t.Helper()
	got := m.await(t, "room-pubmsg", has(map[string]any{"name": "ClassBegin", "fromID": from}))
	var message struct {
		ID, ToID string
		Data     json.RawMessage
		TS, Seq  int64
	}
	if err := json.Unmarshal(got[0], &message); err != nil {
		t.Fatal(err)
	}
	if message.ID != "ClassBegin" || message.ToID != "__all" || string(message.Data) != data || message.Seq == 0 {
		t.Errorf("%s: sees ClassBegin %s, want data %s", m.name, got[0], data)
	}
	if since := time.Since(time.Unix(message.TS, 0)); since < -5*time.Second || since > patience {
		t.Errorf("%s: ClassBegin of %d, which is %v ago", m.name, message.TS, since)
	}
	return message.TS
}

// classEnded waits until the class is over.
func (m *member) classEnded(t *testing.T, from string) {
	t.Helper()
	m.await(t, "room-delmsg", has(map[string]any{"name": "ClassBegin", "id": "ClassBegin", "fromID": from}))
}

// TestSDK has two pages in Chromium do what the vendor's web SDK does against the embedded platform, over https and from
// another origin, and plays what was recorded.
func TestSDK(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	teacherLine, studentLine := newLine(t, s.Process().RoomAddr()), newLine(t, s.Process().RoomAddr())
	const room = "91795375556973"
	student := &member{openPage(t, "student", "sdk.html"), "room.", "817ce920-22c0-b485-b560-b1fb3c00a678"}
	teacher := &member{openPage(t, "teacher", "sdk.html"), "room.", "t1"}

	if j := enter(t, student, studentLine.url(), room, "学生 & B=1 +50%", ""); j.Role != 2 || len(j.Users) > 0 {
		t.Errorf("the student comes in as %+v", j)
	}
	watch := s.Watch(t, apitest.GRPC, room, 0)
	watch.Synced(t)
	student.await(t, "room-participant_join", nil) // classrec's own participant can be seen
	if j := enter(t, teacher, teacherLine.url(), room, "张 & 三=+%", "teacher"); j.Role != 0 || !slices.Contains(j.Users, student.id) {
		t.Errorf("the teacher comes in as %+v", j)
	}
	student.await(t, "room-participant_join", has(map[string]any{"id": teacher.id}))

	teacher.call(t, "camera.open")
	stream := teacher.publish(t)
	student.await(t, "stream-added", has(map[string]any{"id": stream, "extensionId": teacher.id}))

	first := sdkClass(t, teacher, student, stream)
	second, stream := documentClass(t, teacher, student, teacherLine, stream)

	if code := teacher.call(t, "camera.unpublish", stream); string(code) != "0" {
		t.Errorf("unpublish is acked with %s", code)
	}
	student.await(t, "stream-removed", has(map[string]any{"id": stream}))
	teacher.call(t, "room.leave")
	student.await(t, "room-participant_leave", is(0, teacher.id))

	// What was said in the room is what classrec tells.
	for i, want := range []classrecv1.ClassBeginAction{add, remove, add, remove} {
		ev := watch.Events(t, 1)[0]
		if ev.GetAction() != want || ev.GetFromUserId() != teacher.id || ev.GetTime().GetSeconds() == 0 {
			t.Errorf("event %d is %v", i, ev)
		}
	}
	begun := func(ts int64) *classrecv1.Recording {
		r := available(t, s, fmt.Sprintf("rooms/%s/recordings/%d", room, ts))
		if r.GetOrigin() != classrecv1.RecordingOrigin_RECORDING_ORIGIN_ROOM || r.GetUserId() != teacher.id {
			t.Errorf("%s is of %v %s", r.GetName(), r.GetOrigin(), r.GetUserId())
		}
		return r
	}
	r := begun(first)
	webm := fileNamed(t, r, "张___三.webm") // of the nickname
	checkFile(t, s.HTTP(), webm, "vp8", "opus")
	chat := fileNamed(t, r, "chat.vtt")
	p := play(t, student.remote, webm, []size{{320, 240}}, chat.GetUrl())
	if len(p.Cues) != 2 || !strings.Contains(p.Cues[0].Text, "a <b> & 你好") || p.Cues[0].Start > p.Cues[1].Start {
		t.Errorf("the captions are %+v", p.Cues)
	}
	r = begun(second)
	total := time.Duration(0)
	for _, f := range r.GetFiles() {
		if f.GetUserId() != teacher.id {
			continue
		}
		if name := nameOf(t, f); path.Ext(name) != ".mkv" {
			t.Errorf("the document's ClassBegin gives %s", name)
		}
		total = max(total, f.GetDuration().AsDuration())
		checkFile(t, s.HTTP(), f, "vp8", "opus")
	}
	if total < 2*time.Second {
		t.Errorf("before and after the reconnect, %v were recorded in %d files", total, len(r.GetFiles()))
	}
	checkRecordList(t, s, room, first, r)
}

const (
	add    = classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD
	remove = classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_REMOVE
)

// publish publishes the camera as the SDK does, and returns the stream's id.
func (m *member) publish(t *testing.T) string {
	t.Helper()
	m.acked(t, "changeProperty", map[string]any{"publishstate": 3})
	m.await(t, "room-userproperty-changed", has(map[string]any{"id": m.id, "fromID": m.id}))
	published := callInto[struct {
		ID         string
		Candidates int
	}](t, m.remote, "camera.publish")
	if answer := m.await(t, "answered", nil); strings.Contains(answer.String(), `"candidates":0`) {
		t.Error("the answer has no candidates")
	}
	if published.Candidates == 0 {
		t.Error("the page had no candidates to send, so that this shows nothing of them")
	}
	m.await(t, "stream-added", has(map[string]any{"id": published.ID, "extensionId": m.id}))
	return published.ID
}

// sdkClass is a class begun and ended by the SDK's own calls, recorded as WebM, with chat and muting in it.
func sdkClass(t *testing.T, teacher, student *member, stream string) (ts int64) {
	t.Helper()
	teacher.acked(t, "startServerRecord", map[string]any{"recordType": "1", "convert": 1, "layout": 0, "recordChat": true})
	const data = `{"recordtype":"1","convert":1,"layout":0,"recordchat":true}`
	ts = teacher.classBegun(t, teacher.id, data)
	student.classBegun(t, teacher.id, data)

	teacher.call(t, "camera.film", stream, 20)
	teacher.acked(t, "sendMessage", "a <b> & 你好")
	student.await(t, "room-text-message", has(map[string]any{"from": teacher.id, "message": map[string]any{"msg": "a <b> & 你好"}}))
	teacher.call(t, "camera.mute", stream, map[string]any{"video": true, "audio": true})
	teacher.call(t, "camera.film", stream, 1)
	teacher.call(t, "camera.mute", stream, map[string]any{"video": false, "audio": false})
	student.acked(t, "sendMessage", "second")
	for _, m := range []*member{teacher, student} {
		m.await(t, "room-text-message", has(map[string]any{"from": student.id}))
	}
	teacher.call(t, "camera.film", stream, 30)
	teacher.acked(t, "stopServerRecord")
	teacher.classEnded(t, teacher.id)
	student.classEnded(t, teacher.id)
	return ts
}

// documentClass is a class begun in the form of the vendor's oldest document, during which the teacher loses the
// connection and comes back.
func documentClass(t *testing.T, teacher, student *member, line *line, stream string) (ts int64, again string) {
	t.Helper()
	const data = `{"recordchat":true,"convert":0}`
	teacher.acked(t, "pubMsg", map[string]any{"name": "ClassBegin", "id": "ClassBegin", "toID": "__all", "data": data, "save": true})
	ts = teacher.classBegun(t, teacher.id, data)
	student.classBegun(t, teacher.id, data)
	teacher.call(t, "camera.film", stream, 15)

	line.cut()
	teacher.await(t, "room-disconnected", nil)
	student.await(t, "stream-removed", has(map[string]any{"id": stream}))
	student.await(t, "room-participant_leave", is(0, teacher.id))
	teacher.await(t, "room-reconnecting", nil)
	teacher.await(t, "room-reconnected", nil)
	back := teacher.await(t, "room-connected", nil)
	var messages []struct {
		ID   string
		TS   int64
		Data string // stays a text in the list
	}
	if err := json.Unmarshal(back[0], &messages); err != nil || len(messages) != 1 || messages[0].ID != "ClassBegin" || messages[0].TS != ts || messages[0].Data != data {
		t.Errorf("after the reconnect there are the messages %s (%v)", back[0], err)
	}
	student.await(t, "room-participant_join", has(map[string]any{"id": teacher.id}))
	teacher.call(t, "camera.close", stream)
	again = teacher.publish(t)
	student.await(t, "stream-added", has(map[string]any{"id": again}))
	teacher.call(t, "camera.film", again, 15)

	teacher.acked(t, "delMsg", "ClassBegin", "ClassBegin", "__all")
	teacher.classEnded(t, teacher.id)
	student.classEnded(t, teacher.id)
	return ts, again
}

// checkRecordList asks the platform itself for its list, in both of the document's ways.
func checkRecordList(t *testing.T, s *apitest.Server, room string, other int64, r *classrecv1.Recording) {
	t.Helper()
	key := strings.TrimSpace(string(must[[]byte](t)(os.ReadFile(filepath.Join(s.Dir(), "enterprise.key")))))
	list := func(params string) []string {
		t.Helper()
		address := "http://" + s.Process().RoomHTTPAddr().String() + "/ClientAPI/getUserRecordlist/key/" + key + params
		req := must[*http.Request](t)(http.NewRequestWithContext(testContext(t), http.MethodGet, address, http.NoBody))
		resp := must[*http.Response](t)(s.HTTP().Do(req))
		defer func() { _ = resp.Body.Close() }()
		body := must[[]byte](t)(io.ReadAll(resp.Body))
		var urls []string
		if err := json.Unmarshal(body, &urls); err != nil {
			t.Errorf("the record list for %s is %.100s", params, body)
		}
		return paths(t, urls)
	}
	want := paths(t, r.GetUrls())
	if got := list(fmt.Sprintf("/serial/%s/recordts/%d", room, r.GetRecordTime().GetSeconds())); !slices.Equal(got, want) {
		t.Errorf("by room and time, %d files are listed, want %d", len(got), len(want))
	}
	if got := list(fmt.Sprintf("/userid/t1/recordts/%d", other)); len(got) == 0 || slices.Contains(got, want[0]) {
		t.Errorf("by user and the other time, %d files are listed", len(got))
	}
}

// paths are the paths of URLs, in order: the list and the API sign for different names of the server.
func paths(t *testing.T, urls []string) (all []string) {
	t.Helper()
	for _, text := range urls {
		all = append(all, must[*url.URL](t)(url.Parse(text)).Path)
	}
	slices.Sort(all)
	return all
}
