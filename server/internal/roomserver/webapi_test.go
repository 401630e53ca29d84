// SPDX-License-Identifier: Apache-2.0

package roomserver_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/roomserver"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// caller is a way in which integrators call the platform.
type caller func(t *testing.T, s *roomservertest.Server, path string, params map[string]any) map[string]any

// answerOf reads an answer as they do: as JSON, at HTTP 200.
func answerOf(t *testing.T, s *roomservertest.Server, method, path, contentType, body string, header ...string) map[string]any {
	t.Helper()
	req, err := http.NewRequestWithContext(roomservertest.Context(t), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.HTTPClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer map[string]any
	if err := json.Unmarshal(raw, &answer); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %d %q", method, path, resp.StatusCode, raw)
	}
	return answer
}

func formOf(params map[string]any) url.Values {
	form := url.Values{}
	for key, value := range params {
		switch value := value.(type) {
		case []string:
			for _, one := range value {
				form.Add(key+"[]", one)
			}
		default:
			form.Set(key, fmt.Sprint(value))
		}
	}
	return form
}

func callers() map[string]caller {
	return map[string]caller{
		"form": func(t *testing.T, s *roomservertest.Server, path string, params map[string]any) map[string]any {
			return answerOf(t, s, "POST", path, "application/x-www-form-urlencoded", formOf(params).Encode())
		},
		"multipart": func(t *testing.T, s *roomservertest.Server, path string, params map[string]any) map[string]any {
			var body bytes.Buffer
			w := multipart.NewWriter(&body)
			for key, values := range formOf(params) {
				for i, value := range values {
					_ = w.WriteField(strings.Replace(key, "[]", fmt.Sprintf("[%d]", i), 1), value)
				}
			}
			_ = w.Close()
			return answerOf(t, s, "POST", path, w.FormDataContentType(), body.String())
		},
		"JSON, key in the header": func(t *testing.T, s *roomservertest.Server, path string, params map[string]any) map[string]any {
			key := fmt.Sprint(params["key"])
			plain := map[string]any{}
			for name, value := range params {
				if name != "key" {
					plain[name] = value
				}
			}
			return answerOf(t, s, "POST", path, "application/json", mustJSON(t, plain), "Tk-authkey", key)
		},
		"query": func(t *testing.T, s *roomservertest.Server, path string, params map[string]any) map[string]any {
			return answerOf(t, s, "GET", path+"?error=0&"+formOf(params).Encode(), "", "")
		},
		"path": func(t *testing.T, s *roomservertest.Server, path string, params map[string]any) map[string]any {
			for key, value := range params {
				text := fmt.Sprint(value)
				if list, ok := value.([]string); ok {
					text = strings.Join(list, ",")
				}
				path += "/" + key + "/" + url.PathEscape(text)
			}
			return answerOf(t, s, "GET", path+"/", "", "")
		},
	}
}

// TestWebAPI does what integrators do with a room, in each of their ways.
func TestWebAPI(t *testing.T) {
	t.Parallel()
	for name, call := range callers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := roomservertest.New(t)
			do := func(path string, params map[string]any) map[string]any {
				t.Helper()
				params["key"] = Key
				return call(t, s, path, params)
			}
			made := do("/WebAPI/roomcreate", map[string]any{
				"roomname": "Maths & 数学", "roomtype": 3, "starttime": 1795375561, "endtime": 1795379161, "chairmanpwd": "1111",
				"assistantpwd": "2222", "patrolpwd": "3333", "passwordrequired": 1, "confuserpwd": "4444", "thirdroomid": "lesson 7", "videotype": 1,
			})
			serial, _ := made["serial"].(string)
			if made["result"] != 0.0 || serial == "" {
				t.Fatalf("roomcreate: %v", made)
			}
			s.Restart() // rooms are kept
			room := do("/WebAPI/getroom", map[string]any{"thirdroomid": "lesson 7"})
			if room["roomname"] != "Maths & 数学" || room["serial"] != serial || room["chairmanpwd"] != "1111" || room["starttime"] != "1795375561" {
				t.Errorf("getroom: %v", room)
			}
			if changed := do("/WebAPI/roommodify", map[string]any{"serial": serial, "chairmanpwd": "9999"}); changed["result"] != 0.0 {
				t.Errorf("roommodify: %v", changed)
			}
			for password, role := range map[string]int64{"9999": 0, "2222": 1, "4444": 2, "3333": 4} {
				p, err := s.TryJoin(roomservertest.Context(t), talkcloud.RoomID(serial), "somebody", roomservertest.Password(password))
				if err != nil {
					t.Errorf("with password %s: %v", password, err)
					continue
				}
				if int64(p.Role) != role {
					t.Errorf("with password %s: role %d, want %d", password, p.Role, role)
				}
				p.Close()
			}
			if _, err := s.TryJoin(roomservertest.Context(t), talkcloud.RoomID(serial), "x", roomservertest.Password("1111")); err == nil {
				t.Error("the password of before opens the room")
			}
			if list := do("/WebAPI/getroomlist", map[string]any{"page": 1, "numberPage": 10}); list["total"] != 1.0 {
				t.Errorf("getroomlist: %v", list)
			}
			if list := do("/WebAPI/getroombytime", map[string]any{"starttime": 1795379162, "endtime": 1795379170}); list["total"] != 0.0 {
				t.Errorf("getroombytime: %v", list)
			}
			testRecords(t, s, serial, do)
			teacher, err := s.TryJoin(roomservertest.Context(t), talkcloud.RoomID(serial), "teacher", roomservertest.Password("9999"))
			if err != nil {
				t.Fatal(err)
			}
			if gone := do("/WebAPI/roomdelete", map[string]any{"serial": serial}); gone["result"] != 0.0 {
				t.Errorf("roomdelete: %v", gone)
			}
			<-teacher.Done()
			if _, err := s.TryJoin(roomservertest.Context(t), talkcloud.RoomID(serial), "x"); err == nil {
				t.Error("a deleted room is open")
			}
			if room := do("/WebAPI/getroom", map[string]any{"serial": serial}); room["result"] != 4007.0 {
				t.Errorf("getroom of a deleted one: %v", room)
			}
		})
	}
}

// testRecords makes three recordings in a room, pages through them, and deletes two.
func testRecords(t *testing.T, s *roomservertest.Server, serial string, do func(string, map[string]any) map[string]any) {
	t.Helper()
	teacher, err := s.TryJoin(roomservertest.Context(t), talkcloud.RoomID(serial), "teacher", roomservertest.Password("9999"))
	if err != nil {
		t.Fatal(err)
	}
	defer teacher.Close()
	var ids []string
	var ts [3]int64
	for i := range ts {
		ts[i] = teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList})
		teacher.EndClass(t)
		ids = append(ids, recorded(t, s, talkcloud.RoomID(serial), ts[i]).RecordID.String())
	}
	page := do("/WebAPI/batchGetRecord", map[string]any{
		"thirdroomids": []string{"lesson 7", "lesson 8"}, "page": 2, "numberPage": 2, "order_starttime": "asc", "recordtype": []string{"0"},
		"starttime": ts[0], "endtime": ts[2],
	})
	records, _ := page["recordlist"].([]any)
	if page["total"] != 3.0 || len(records) != 1 || records[0].(map[string]any)["recordid"] != ids[2] || records[0].(map[string]any)["type"] != "0" {
		t.Errorf("batchGetRecord: %v", page)
	}
	if all := do("/WebAPI/batchGetRecord", map[string]any{"starttime": ts[0], "endtime": ts[0] + 32*24*3600}); all["result"] != 4003.0 {
		t.Errorf("batchGetRecord of 32 days: %v", all)
	}
	list := do("/WebAPI/getrecordlist", map[string]any{"serial": serial, "recordtype": 1, "page": 1, "numberPage": 2, "type": 0, "roomname": "数学"})
	if records, _ := list["recordlist"].([]any); list["total"] != 3.0 || len(records) != 2 {
		t.Errorf("getrecordlist: %v", list)
	}
	if gone := do("/WebAPI/deleteRecords", map[string]any{"recordids": ids[:2]}); gone["result"] != 0.0 {
		t.Errorf("deleteRecords: %v", gone)
	}
	if list := do("/WebAPI/getrecordlist", map[string]any{"serial": serial}); list["total"] != 1.0 {
		t.Errorf("after deleting two of three: %v", list)
	}
	if dirs, _ := filepath.Glob(filepath.Join(s.Dir, "recordings", serial, "*")); len(dirs) != 1 {
		t.Errorf("on the disk are %v", dirs)
	}
}

// TestWebAPI_Bare makes a room of next to nothing: it has passwords all the same, and students need none.
func TestWebAPI_Bare(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	made := answerOf(t, s, "GET", "/WebAPI/roomcreate?key="+Key+"&roomname=x", "", "")
	serial := talkcloud.RoomID(fmt.Sprint(made["serial"]))
	room := answerOf(t, s, "GET", "/WebAPI/getroom/key/"+Key+"/serial/"+string(serial), "", "")
	if student, err := s.TryJoin(roomservertest.Context(t), serial, "student"); err != nil || student.Role != talkcloud.RoleStudent {
		t.Errorf("a student: %v", err)
	} else {
		student.Close()
	}
	if p, err := s.TryJoin(roomservertest.Context(t), serial, "teacher"); err != nil || p.Role != talkcloud.RoleStudent {
		t.Errorf("who says to be the teacher: %v", err)
	} else {
		p.Close()
	}
	p, err := s.TryJoin(roomservertest.Context(t), serial, "teacher", roomservertest.Password(fmt.Sprint(room["chairmanpwd"])))
	if err != nil || p.Role != talkcloud.RoleTeacher {
		t.Errorf("who shows the password: %v", err)
	} else {
		p.Close()
	}
	elsewhere := dialFrom(t, s, "127.0.0.2") // from here the teacher's password was shown
	if ack := joinRoom(t, elsewhere, string(serial), "cheat", talkcloud.RoleTeacher); refused(t, ack).Code != 4008 {
		t.Errorf("past checkroom: %s", ack)
	}
}

// TestPlayPath has a mix, a teacher, a student and chat in one recording.
func TestPlayPath(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t, roomservertest.Plain(), roomservertest.Config(func(c *roomserver.Config) {
		c.SignFile = func(file string) url.Values { return url.Values{"signature": {file}} }
	}))
	teacher := s.Join(t, "42", "teacher")
	s.Join(t, "42", "a student").Publish(t, clip(t))
	teacher.Publish(t, clip(t))
	ts := teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList, RecordChat: true})
	teacher.Chat(t, "hello")
	untilBlocks(t, s, mustJSON(t, ts)+"/*.mkv", 60)
	teacher.EndClass(t)
	item := recorded(t, s, "42", ts)
	if len(item.Files) != 3 {
		t.Fatalf("files: %+v", item.Files)
	}
	want := fileOf(t, item, "teacher").URL
	if item.PlayPath.String() != want || !item.HTTPSPlayPath.IsZero() || !item.PlayPathMP4.IsZero() {
		t.Errorf("play paths %q %q %q, want %q", item.PlayPath, item.HTTPSPlayPath, item.PlayPathMP4, want)
	}
	urls, err := s.Client(t).UserRecordList(roomservertest.Context(t), talkcloud.RecordQuery{Room: "42"})
	if err != nil || len(urls) != 2 {
		t.Errorf("videos: %v, %v", urls, err)
	}
	for _, u := range urls {
		if parsed, err := url.Parse(u); err != nil || parsed.Query().Get("signature") != roomserver.FilePath(parsed.EscapedPath()) {
			t.Errorf("not signed: %s", u)
		}
	}
}

// TestPasswords_Attempts tries passwords of a room.
func TestPasswords_Attempts(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	now.Store(time.Now().Unix())
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) {
		c.Now = func() time.Time { return time.Unix(now.Load(), 0) }
		c.Rooms = map[talkcloud.RoomID]roomserver.RoomConfig{
			"42": {Passwords: map[int]talkcloud.Secret{talkcloud.RoleTeacher: "right"}},
			"43": {Passwords: map[int]talkcloud.Secret{talkcloud.RoleTeacher: "right"}},
		}
	}))
	try := func(room, password string) (result float64, message string) {
		t.Helper()
		answer := answerOf(t, s, "POST", "/ClientAPI/checkroom", "", "serial="+room+"&password="+password)
		result, _ = answer["result"].(float64)
		message, _ = answer["msg"].(string)
		return result, message
	}
	for range 40 { // a school comes in
		if result, _ := try("42", "right"); result != 0 {
			t.Fatalf("the right password: %v", result)
		}
	}
	for i := range 5 {
		if result, _ := try("42", fmt.Sprint("wrong", i)); result != 4008 {
			t.Errorf("wrong password: %v", result)
		}
	}
	if result, message := try("42", "right"); result != 4008 || !strings.Contains(message, "60 s") && !strings.Contains(message, "61 s") {
		t.Errorf("after five wrong ones: %v %s", result, message)
	}
	if status := postOffer(t, s, "/whip/42/u", "right"); status != http.StatusTooManyRequests {
		t.Errorf("by WHIP: status %d", status)
	}
	if result, _ := try("43", "right"); result != 0 {
		t.Errorf("in another room: %v", result)
	}
	now.Add(61)
	if result, _ := try("42", "wrong"); result != 4008 {
		t.Errorf("a minute later: %v", result)
	}
	now.Add(61)
	if result, _ := try("42", "right"); result != 4008 {
		t.Errorf("the delay does not grow: %v", result)
	}
	now.Add(60)
	if result, _ := try("42", "right"); result != 0 {
		t.Errorf("after the delay: %v", result)
	}
	if stats := s.Room().Stats().Refused; stats["password_rate"] != 3 || stats["password"] != 6 {
		t.Errorf("counted: %v", stats)
	}
}

// TestRoles has a student who would be more, and puts others out.
func TestRoles(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	c := newCohort(t, s, "42")
	assistant := s.Join(t, "42", "assistant", roomservertest.Role(talkcloud.RoleAssistant))
	for _, try := range []struct {
		by      *roomservertest.Peer
		event   string
		payload string
		want    string
	}{
		{c.student, "setProperty", `{"id":"student","properties":{"role":0}}`, "NO_PERMISSION"},
		{c.student, "setProperty", `{"properties":{"role":"0","raisehand":true}}`, "NO_PERMISSION"},
		{c.student, "setProperty", `{"id":"student","properties":"{\"role\":1}"}`, "NO_PERMISSION"},
		{c.student, "setProperty", `{"id":{"roles":[0]},"properties":{"role":2}}`, "NO_PERMISSION"},
		{c.student, "setProperty", `{"id":["student","teacher"],"properties":{"role":2}}`, "NO_PERMISSION"},
		{c.student, "setProperty", `{"id":"student","properties":{"role":null}}`, "NO_PERMISSION"},
		{c.student, "setProperty", `{"id":"student","properties":{"Role":0,"ROLE":0}}`, ""}, // another key
		{c.student, "setProperty", `{"id":"student","properties":{"role":2,"raisehand":true}}`, ""},
		{assistant, "setProperty", `{"id":"assistant","properties":{"role":0}}`, "NO_PERMISSION"},
		{assistant, "setProperty", `{"id":"teacher","properties":{"role":2}}`, "NO_PERMISSION"},
		{assistant, "setProperty", `{"id":"auditor","properties":{"role":2}}`, ""},
		{c.student, "evictParticipant", `{"id":"teacher"}`, "NO_PERMISSION"},
		{c.student, "evictParticipant", `{"id":"recorder"}`, "NO_PERMISSION"},
		{assistant, "evictParticipant", `"teacher"`, "NO_PERMISSION"},
		{assistant, "evictParticipant", `"auditor"`, ""},
	} {
		if ack := try.by.Call(t, try.event, json.RawMessage(try.payload)); refusal(ack) != try.want {
			t.Errorf("%s %s %s: %s, want %q", try.by.ID, try.event, try.payload, ack, try.want)
		}
	}
	<-c.auditor.Done()
	if ack := c.student.Call(t, "getUser", "student"); !strings.Contains(string(ack[1]), `"role":2`) {
		t.Errorf("the student is %s", ack)
	}
	for user, want := range map[string]string{"teacher": "NO_PERMISSION", "assistant": "NO_PERMISSION"} {
		if ack := joinRoom(t, dialFrom(t, s, ""), "42", user, talkcloud.RoleStudent); refusal(ack) != want {
			t.Errorf("a student as %s: %s", user, ack)
		}
	}
	joined := joinRoom(t, dialFrom(t, s, ""), "42", "", talkcloud.RoleStudent)
	var reply struct {
		UserID string `json:"userId"`
	}
	if err := json.Unmarshal(joined[1], &reply); err != nil || len(reply.UserID) != 36 {
		t.Errorf("without an id: %s, %v", joined, err)
	}
}

// TestFlood has one student send as much as it can: nobody else is put out, and who comes is let in.
func TestFlood(t *testing.T) {
	t.Parallel()
	for name, flood := range map[string]func(i int) (event, payload string){
		"properties of its own": func(i int) (string, string) {
			return "setProperty", fmt.Sprintf(`{"id":"student","properties":{"a":%q}}`, fmt.Sprint(i)+strings.Repeat("x", 15<<10))
		},
		"properties of all": func(i int) (string, string) {
			return "setProperty", fmt.Sprintf(`{"id":{"roles":[2]},"properties":{"a":%q}}`, fmt.Sprint(i)+strings.Repeat("x", 15<<10))
		},
		"large messages": func(i int) (string, string) {
			return "pubMsg", fmt.Sprintf(`{"name":"m","do_not_save":"","data":%q}`, fmt.Sprint(i)+strings.Repeat("x", 512<<10))
		},
		"messages that stay": func(i int) (string, string) {
			return "pubMsg", fmt.Sprintf(`{"name":"m","id":"%d","data":%q}`, i, strings.Repeat("x", 30<<10))
		},
		"classes with large data": func(i int) (string, string) {
			return "pubMsg", fmt.Sprintf(`{"name":"ClassBegin","data":%q}`, fmt.Sprint(i)+strings.Repeat("x", 900<<10))
		},
		"deletes with large data": func(i int) (string, string) {
			if i%2 == 0 {
				return "pubMsg", `{"name":"m","toID":"__none"}`
			}
			return "delMsg", fmt.Sprintf(`{"name":"m","data":%q}`, strings.Repeat("x", 900<<10))
		},
		"chat": func(i int) (string, string) {
			return "sendMessage", fmt.Sprintf(`{"message":%q}`, fmt.Sprint(i)+strings.Repeat("x", 100<<10))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := roomservertest.New(t, roomservertest.Plain(), roomservertest.NarrowNetwork(), roomservertest.Config(func(c *roomserver.Config) {
				c.PingInterval = time.Hour // the others send nothing
			}))
			student := s.Join(t, "42", "student")
			others := make([]*rawPeer, 30)
			for i := range others { // they read 10 Mbit/s, and what the network holds is next to nothing
				others[i] = dialRaw(t, s, "3")
				others[i].readSlowly()
				others[i].send(fmt.Sprintf(`420["joinRoom",{"userId":"u%d","roomId":"42","properties":{"role":2}}]`, i))
			}
			roomservertest.Poll(t, "all to come", func() bool { return s.Room().Connections() == 31 })
			student.Sync(t)
			refusals := 0
			for i := range 50 {
				event, payload := flood(i)
				if refusal(student.Call(t, event, json.RawMessage(payload))) != "" {
					refusals++
				}
			}
			if n := s.Room().Connections(); n != 31 || refusals == 0 && !strings.Contains(name, "delete") {
				t.Errorf("%d of 31 are left, %d refused", n, refusals)
			}
			s.Join(t, "42", "late")
		})
	}
}
