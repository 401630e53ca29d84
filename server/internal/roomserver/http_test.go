// SPDX-License-Identifier: Apache-2.0

package roomserver_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/roomserver"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

func TestCheckRoom(t *testing.T) {
	t.Parallel()
	rooms := map[talkcloud.RoomID]roomserver.RoomConfig{
		"7": {Name: "教室 7", Passwords: map[int]talkcloud.Secret{
			talkcloud.RoleTeacher: "geheim&x", talkcloud.RoleStudent: "s%41", talkcloud.RoleAuditor: "both", talkcloud.RolePatrol: "both",
		}},
	}
	open := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) { c.Rooms = rooms }))
	strict := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) { c.Rooms, c.StrictRooms = rooms, true }))
	tests := map[string]struct {
		server        *roomservertest.Server
		method, query string
		body          string
		result        int64
		role          int64
		nickname      string
	}{
		"unknown room":             {open, "POST", "", "serial=1&password=&nickname=Stu&clientType=1", 0, 2, "Stu"},
		"password names the role":  {open, "POST", "", "serial=1&password=teacher&nickname=T", 0, 0, "T"},
		"userrole":                 {open, "POST", "", "serial=1&password=teacher&userrole=4", 0, 4, ""},
		"userrole is no role":      {open, "POST", "", "serial=1&userrole=9", 0, 2, ""},
		"not encoded":              {open, "POST", "", "serial=1&password=&nickname=张 & 三=+%&clientType=1", 0, 2, "张 & 三=+%"},
		"encoded":                  {open, "POST", "", "serial=1&nickname=%E5%BC%A0+%26+%E4%B8%89&password=assistant", 0, 1, "张 & 三"},
		"encoded twice":            {open, "POST", "", "serial=1&nickname=%25E5%25BC%25A0", 0, 2, "张"},
		"query":                    {open, "GET", "?serial=1&nickname=G&userrole=3", "", 0, 3, "G"},
		"query and body":           {open, "POST", "?ts=1&serial=2&nickname=Q", "serial=1", 0, 2, "Q"},
		"no room":                  {open, "POST", "", "password=x", 4003, 0, ""},
		"no such id":               {open, "POST", "", "serial=__all", 4003, 0, ""},
		"password of a teacher":    {open, "POST", "", "serial=7&password=geheim%26x", 0, 0, ""},
		"password, not encoded":    {open, "POST", "", "serial=7&password=s%41&nickname=a b", 0, 2, "a b"},
		"role beside the password": {open, "POST", "", "serial=7&password=geheim%26x&userrole=2", 0, 0, ""},
		"two roles, one password":  {open, "POST", "", "serial=7&password=both&userrole=4", 0, 4, ""},
		"first of two roles":       {open, "POST", "", "serial=7&password=both", 0, 3, ""},
		"wrong password":           {open, "POST", "", "serial=7&password=geheim", 4008, 0, ""},
		"no password":              {open, "POST", "", "serial=7&userrole=0", 4008, 0, ""},
		"password names no role":   {open, "POST", "", "serial=7&password=teacher", 4008, 0, ""},
		"strict, unknown room":     {strict, "POST", "", "serial=1&password=teacher", 4007, 0, ""},
		"strict, known room":       {strict, "POST", "", "serial=7&password=both", 0, 3, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, body := request(t, test.server, test.method, talkcloud.PathCheckRoom+test.query, test.body)
			var reply struct {
				Result   json.Number
				RoomRole int64
				Nickname string
				ThirdID  string
				Room     struct{ Serial, RoomName, ChairmanControl string }
			}
			if err := json.Unmarshal([]byte(body), &reply); err != nil || status != http.StatusOK {
				t.Fatalf("status %d, %s: %v", status, body, err)
			}
			if n, _ := reply.Result.Int64(); n != test.result || reply.RoomRole != test.role || reply.Nickname != test.nickname {
				t.Errorf("answer %s", body)
			}
			if test.result == 0 && (reply.Room.Serial == "" || len(reply.Room.ChairmanControl) < 96 || reply.ThirdID != "") {
				t.Errorf("room: %s", body)
			}
			if strings.Contains(body, "geheim") {
				t.Error("the answer has the password in it")
			}
		})
	}
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	now := time.Unix(1795375561, 0)
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) { c.Now = func() time.Time { return now } }))
	for name, test := range map[string]struct {
		method, path, body string
		status             int
		want               string
	}{
		"where":           {"GET", "/where.html?ts=1", "", 200, `{"name":"cna","selfip":"127.0.0.1","ip":"127.0.0.1","nochange":1}` + "\n"},
		"area":            {"POST", "/ClientAPI/getserverarea", "", 200, `{"result":0,"serverarealist":[{"serverareaname":"cna","chinesedesc":"A","englishdesc":"A"}]}` + "\n"},
		"files of a room": {"POST", "/ClientAPI/getroomfile", "serial=1", 200, `{"result":0,"roomfile":[]}` + "\n"},
		"equipment":       {"POST", "/ClientAPI/equipment", "peerName=张 三", 200, `{"result":0}` + "\n"},
		"network":         {"POST", "/ClientAPI/networkequipment", "statistical={}", 200, `{"result":0}` + "\n"},
		"time":            {"GET", "/ClientAPI/systemtime", "", 200, `{"result":0,"time":1795375561}` + "\n"},
		"room type":       {"POST", "/ClientAPI/checkroomtype", "serial=1", 200, `{"result":0,"roomtype":"3"}` + "\n"},
		"no room type":    {"POST", "/ClientAPI/checkroomtype", "", 200, `{"result":4007}` + "\n"},
		"start":           {"POST", "/ClientAPI/roomstart?ts=1", "serial=1&companyid=1", 200, `{"result":0}` + "\n"},
		"over":            {"POST", "/ClientAPI/roomover?ts=1", "act=3&serial=1&companyid=1", 200, `{"result":0}` + "\n"},
		"speed":           {"GET", "/speed.php?ts=1&data=" + strings.Repeat("x", 512), "", 200, ``},
		"unknown":         {"POST", "/ClientAPI/nothing", "", 200, `{"result":-1,"msg":"this platform has no call /ClientAPI/nothing"}` + "\n"},
		"unknown, deep":   {"GET", "/webapi/entry/domain/x/serial/7?ts=1", "", 200, `{"result":-1,"msg":"this platform has no call /webapi/entry"}` + "\n"},
		"no call":         {"DELETE", "/WebAPI/", "", 200, `{"result":-1,"msg":"this platform has no call /WebAPI/"}` + "\n"},
		"no file":         {"GET", "/files/a/1/b", "", 404, "no such file\n"},
		"too big":         {"POST", "/ClientAPI/checkroom", strings.Repeat("x", 70<<10), 200, `{"result":-1,"msg":"the body is larger than 64 KiB"}` + "\n"},
		"polling":         {"GET", "/socket.io/?EIO=3&transport=polling", "", 400, `{"code":0,"message":"Transport unknown"}` + "\n"},
		"preflight":       {"OPTIONS", "/ClientAPI/checkroom", "", 204, ""},
		"whip preflight":  {"OPTIONS", "/whip/1/u", "", 204, ""},
	} {
		status, body := request(t, s, test.method, test.path, test.body) // which checks CORS too
		if status != test.status || body != test.want {
			t.Errorf("%s: %d %q, want %d %q", name, status, body, test.status, test.want)
		}
	}
}

// TestGetConfig tells clients the address that they have used, by whatever name.
func TestGetConfig(t *testing.T) {
	t.Parallel()
	secure, plain := roomservertest.New(t), roomservertest.New(t, roomservertest.Plain())
	for _, test := range []struct {
		server *roomservertest.Server
		host   string
		want   string
	}{
		{secure, "class.example:8443", `{"result":0,"courseserver":"class.example","courseserverport":8443}`},
		{secure, "class.example", `{"result":0,"courseserver":"class.example","courseserverport":443}`},
		{plain, "class.example", `{"result":0,"courseserver":"class.example","courseserverport":80}`},
		{plain, "[::1]:8080", `{"result":0,"courseserver":"[::1]","courseserverport":8080}`},
		{plain, "[::1]", `{"result":0,"courseserver":"[::1]","courseserverport":80}`},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, test.server.URL+talkcloud.PathGetConfig, strings.NewReader("serial=1"))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = test.host
		resp, err := test.server.HTTPClient().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var body json.RawMessage
		err = json.NewDecoder(resp.Body).Decode(&body)
		resp.Body.Close()
		if err != nil || string(body) != test.want {
			t.Errorf("%s: %s, %v, want %s", test.host, body, err, test.want)
		}
	}
}

// TestFiles looks at the HTTP of a file: ranges, validators, methods, and other places where they are mounted.
func TestFiles(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) { c.FilesBaseURL = "https://files.example/x/" }))
	teacher := s.Join(t, "Room 1", "teacher")
	ts := teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeFile, RecordChat: true})
	teacher.Chat(t, "hello")
	teacher.Sync(t)
	teacher.EndClass(t)
	item := recorded(t, s, "Room 1", ts)
	if len(item.Files) != 1 || !strings.HasPrefix(item.Files[0].URL, "https://files.example/x/") || strings.Contains(item.Files[0].URL, "//x") {
		t.Fatalf("files: %+v", item.Files)
	}
	path := strings.TrimPrefix(item.Files[0].URL, "https://files.example/x")
	resp, whole := fetch(t, s, s.URL+"/files"+path)
	etag := resp.Header.Get("ETag")
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(whole), "hello") || etag == "" ||
		resp.Header.Get("Accept-Ranges") != "bytes" || resp.Header.Get("Content-Type") != item.Files[0].MediaType {
		t.Errorf("status %d, %q, %v", resp.StatusCode, whole, resp.Header)
	}
	for _, test := range []struct {
		header []string
		status int
		body   string
	}{
		{[]string{"Range", "bytes=0-3"}, 206, string(whole[:4])},
		{[]string{"Range", "bytes=-4"}, 206, string(whole[len(whole)-4:])},
		{[]string{"Range", "bytes=3-", "If-Range", etag}, 206, string(whole[3:])},
		{[]string{"Range", "bytes=3-", "If-Range", `"other"`}, 200, string(whole)},
		{[]string{"Range", "bytes=100000-"}, 416, "invalid range: failed to overlap\n"},
		{[]string{"If-None-Match", etag}, 304, ""},
	} {
		resp, body := fetch(t, s, s.URL+"/files"+path, test.header...)
		if resp.StatusCode != test.status || string(body) != test.body || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%v: %d %q", test.header, resp.StatusCode, body)
		}
	}
	for method, want := range map[string]int{"HEAD": 200, "OPTIONS": 204, "POST": 405, "DELETE": 405} {
		if status, _ := request(t, s, method, "/files"+path, ""); status != want {
			t.Errorf("%s: status %d, want %d", method, status, want)
		}
	}
	// below another prefix, as the gateway has it
	for _, url := range []string{path, "/media" + path} {
		w := httptest.NewRecorder()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.Room().Files().ServeHTTP(w, req)
		if w.Code != http.StatusOK || w.Body.String() != string(whole) {
			t.Errorf("%s: %d", url, w.Code)
		}
	}
}
