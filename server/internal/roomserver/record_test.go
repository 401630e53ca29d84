// SPDX-License-Identifier: Apache-2.0

package roomserver_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/classrec/classrec/server/internal/clips"
	"github.com/classrec/classrec/server/internal/publisher"
	"github.com/classrec/classrec/server/internal/roomserver"
	"github.com/classrec/classrec/server/internal/roomservertest"
	"github.com/classrec/classrec/server/internal/talkcloud"
)

// clip is a talking head.
func clip(tb testing.TB) publisher.Config {
	tb.Helper()
	video, err := clips.StudentVideo()
	if err != nil {
		tb.Fatal(err)
	}
	audio, err := clips.StudentAudio()
	if err != nil {
		tb.Fatal(err)
	}
	return publisher.Config{Video: video, Audio: audio}
}

// recorded waits until a class is listed, and returns its item.
func recorded(tb testing.TB, s *roomservertest.Server, room talkcloud.RoomID, ts int64) talkcloud.RecordListItem {
	tb.Helper()
	client := s.Client(tb)
	var found talkcloud.RecordListItem
	roomservertest.Poll(tb, "the recording", func() bool {
		items, err := client.RecordList(roomservertest.Context(tb), talkcloud.RecordListQuery{Room: room})
		if err != nil {
			tb.Fatalf("record list: %v", err)
		}
		for _, item := range items {
			if n, _ := item.StartTime.Int(); n == ts {
				found = item
				return true
			}
		}
		return false
	})
	return found
}

// fetch downloads a file.
func fetch(tb testing.TB, s *roomservertest.Server, url string, header ...string) (*http.Response, []byte) {
	tb.Helper()
	req, err := http.NewRequestWithContext(roomservertest.Context(tb), http.MethodGet, url, nil)
	if err != nil {
		tb.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.HTTPClient().Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return resp, raw
}

// fileOf finds a user's media file.
func fileOf(tb testing.TB, item talkcloud.RecordListItem, user talkcloud.UserID) talkcloud.RecordFile {
	tb.Helper()
	for _, f := range item.Files {
		if f.UserID == user && strings.HasPrefix(f.MediaType, "video/") {
			return f
		}
	}
	tb.Fatalf("no file of %s among %+v", user, item.Files)
	return talkcloud.RecordFile{}
}

// untilBlocks waits until the files that match, below a room's directory, hold that many blocks of media: they can be
// read while they are written.
func untilBlocks(tb testing.TB, s *roomservertest.Server, pattern string, blocks int) {
	tb.Helper()
	roomservertest.Poll(tb, "media on disk", func() bool {
		sum := 0
		files, err := filepath.Glob(filepath.Join(s.Dir, "recordings", "*", pattern))
		if err != nil {
			tb.Fatal(err)
		}
		for _, name := range files {
			if raw, err := os.ReadFile(name); err == nil {
				sum += demux(tb, raw).blocks
			}
		}
		return sum >= blocks
	})
}

// TestRecord_Facts looks at what the list says of the people of files and of the files themselves, for who joined and who
// came by WHIP, also later.
func TestRecord_Facts(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	teacher := s.Join(t, "42", "teacher")
	teacher.Publish(t, clip(t))
	ts := teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList, HasRecordType: true})
	untilBlocks(t, s, "*/teacher.mkv", 100)
	p, err := publisher.PublishWHIP(roomservertest.Context(t), clip(t), publisher.WHIP{
		URL: s.URL + "/whip/42/7?nickname=" + url.QueryEscape("小明/..") + "&role=1", Client: s.HTTPClient(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	joined := teacher.Wait(t, talkcloud.EventParticipantJoined)
	if !strings.Contains(line(joined), `"nickname":"小明/.."`) || !strings.Contains(line(joined), `"role":1`) {
		t.Errorf("WHIP publisher came as %s", line(joined))
	}
	untilBlocks(t, s, "*/小明.mkv", 100)
	teacher.EndClass(t)
	item := recorded(t, s, "42", ts)
	for user, want := range map[talkcloud.UserID]struct {
		name, nickname string
		role           int
	}{"teacher": {"teacher.mkv", "teacher", 0}, "7": {"小明.mkv", "小明/..", 1}} {
		f := fileOf(t, item, user)
		_, raw := fetch(t, s, f.URL)
		sum := sha256.Sum256(raw)
		if f.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("file of %s: sha256 %s, want %x", user, f.SHA256, sum)
		}
		if f.Nickname != want.nickname || f.Role == nil || *f.Role != want.role || !strings.HasSuffix(f.URL, "/"+url.PathEscape(want.name)) {
			t.Errorf("file of %s: %+v", user, f)
		}
		if f.VideoCodec != "VP8" || f.AudioCodec != "opus" || f.Width != 320 || f.Height != 240 || f.FrameRate < 10 || f.FrameRate > 20 || f.SampleRate != 48000 {
			t.Errorf("facts of the file of %s: %+v", user, f)
		}
		if f.StartOffsetMS == nil || user == "7" && *f.StartOffsetMS == 0 {
			t.Errorf("the file of %s begins at %v", user, f.StartOffsetMS)
		}
	}
	for _, query := range []string{"?role=9", "?role=x", "?nickname=" + strings.Repeat("x", 300), "?nickname=%ff"} {
		req, err := http.NewRequestWithContext(roomservertest.Context(t), http.MethodPost, s.URL+"/whip/42/u"+query, strings.NewReader("v=0"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/sdp")
		resp, err := s.HTTPClient().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), "must be") {
			t.Errorf("%s: status %d, %s", query, resp.StatusCode, text)
		}
		_ = resp.Body.Close()
	}
}

// TestRecord is the whole way: a teacher who publishes as the SDK does, a student by WHIP, chat; files that can be
// fetched, with everybody's tracks in them.
func TestRecord(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	teacher := s.Join(t, "42", "teacher")
	teacher.Publish(t, clip(t))
	s.PublishWHIP(t, "42", "student", clip(t))
	joined := teacher.Wait(t, talkcloud.EventParticipantJoined)
	if !strings.Contains(line(joined), `"id":"student"`) {
		t.Errorf("WHIP publisher came as %s", line(joined))
	}
	teacher.Wait(t, talkcloud.EventAddStream)

	ts := teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList, Convert: talkcloud.ConvertWebM, RecordChat: true})
	teacher.Chat(t, "hello & 你好")
	chat := teacher.Wait(t, talkcloud.EventSendMessage)
	untilBlocks(t, s, "*/*.webm", 100)
	if _, err := s.Client(t).UserRecordList(roomservertest.Context(t), talkcloud.RecordQuery{Room: "42"}); err != nil {
		t.Errorf("list while the class is on: %v", err)
	}
	teacher.EndClass(t)
	item := recorded(t, s, "42", ts)

	if len(item.Files) != 3 {
		t.Fatalf("files: %+v", item.Files)
	}
	for _, user := range []talkcloud.UserID{"teacher", "student"} {
		f := fileOf(t, item, user)
		resp, raw := fetch(t, s, f.URL)
		if resp.StatusCode != http.StatusOK || int64(len(raw)) != f.Size || resp.Header.Get("Content-Type") != f.MediaType ||
			f.MediaType != "video/webm" || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("file of %s: status %d, %d bytes of %d, %q", user, resp.StatusCode, len(raw), f.Size, resp.Header.Get("Content-Type"))
		}
		m := demux(t, raw)
		if got := strings.Join(m.codecs, " "); got != "A_OPUS V_VP8" {
			t.Errorf("tracks of %s: %s", user, got)
		}
		if m.duration <= 0 || absDuration(m.duration-time.Duration(f.DurationMS)*time.Millisecond) > time.Millisecond || m.blocks < 20 {
			t.Errorf("file of %s says %v, the list %d ms; %d blocks", user, m.duration, f.DurationMS, m.blocks)
		}
		resp, part := fetch(t, s, f.URL, "Range", "bytes=100-199")
		if resp.StatusCode != http.StatusPartialContent || string(part) != string(raw[100:200]) {
			t.Errorf("range: status %d, %d bytes", resp.StatusCode, len(part))
		}
	}
	for _, f := range item.Files {
		if strings.HasPrefix(f.MediaType, "text/vtt") {
			if _, raw := fetch(t, s, f.URL); !strings.Contains(string(raw), "你好") {
				t.Errorf("chat: %s", raw)
			}
		}
	}
	if !strings.Contains(line(chat), `"nickname":"teacher"`) {
		t.Errorf("chat event: %s", line(chat))
	}
}

// TestRecord_LateAndAgain has one publisher who comes in the middle, and one who loses everything and comes back.
func TestRecord_LateAndAgain(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	teacher := s.Join(t, "42", "teacher")
	ts := teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeFile})
	student := s.Join(t, "42", "student")
	if got := len(student.Reply.Messages); got != 1 {
		t.Fatalf("late joiner knows %d messages", got)
	}
	pub := student.Publish(t, clip(t))
	untilBlocks(t, s, "*/*.mkv", 30)
	student.Close()
	<-student.Done()
	pub.Close()
	teacher.Wait(t, talkcloud.EventRemoveStream)
	again := s.Join(t, "42", "student")
	again.Publish(t, clip(t))
	untilBlocks(t, s, "*/*.mkv", 90)
	teacher.EndClass(t)
	item := recorded(t, s, "42", ts)
	if len(item.Files) != 1 {
		t.Fatalf("files: %+v", item.Files)
	}
	_, raw := fetch(t, s, item.Files[0].URL)
	m := demux(t, raw)
	if got := strings.Join(m.codecs, " "); got != "A_OPUS V_VP8" {
		t.Errorf("tracks: %s", got)
	}
	if m.duration <= 0 || m.blocks < 90 {
		t.Errorf("duration %v, %d blocks", m.duration, m.blocks)
	}
}

// TestRecord_Crash copies the files in the middle of a class, as a kill -9 leaves them.
func TestRecord_Crash(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	teacher := s.Join(t, "Room б 1", "teacher") // a room whose name needs escaping
	teacher.Publish(t, clip(t))
	ts := teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList})
	untilBlocks(t, s, "*/*.mkv", 30)
	crashed := s.Snapshot()

	second := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) { c.Dir = crashed }))
	query := talkcloud.RecordQuery{UserID: "teacher", Room: teacher.Room, RecordTS: ts}
	if urls, err := second.Client(t).UserRecordList(roomservertest.Context(t), query); err != nil || len(urls) != 0 {
		t.Errorf("listed before it is recovered: %v, %v", urls, err)
	}
	if err := second.Room().Recover(roomservertest.Context(t)); err != nil {
		t.Fatal(err)
	}
	item := recorded(t, second, teacher.Room, ts)
	f := fileOf(t, item, "teacher")
	_, raw := fetch(t, second, f.URL)
	if m := demux(t, raw); m.duration <= 0 || m.blocks < 10 || len(m.codecs) != 2 {
		t.Errorf("recovered file: %+v", m)
	}
	// a class of the same second gets a later ts
	again := second.Join(t, teacher.Room, "teacher")
	next := again.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList, HasRecordType: true})
	if next <= ts {
		t.Errorf("recordts %d after %d", next, ts)
	}
	// and files whose names are not those of the first part
	again.Publish(t, clip(t))
	untilBlocks(t, second, mustJSON(t, next)+"/*.mkv", 30)
	again.EndClass(t)
	if url := fileOf(t, recorded(t, second, teacher.Room, next), "teacher").URL; !strings.HasSuffix(url, "/teacher-2.mkv") {
		t.Errorf("the second part is %s", url)
	}
}

// TestRecord_Nothing is a class in which nobody publishes: a recording without files, not an error.
func TestRecord_Nothing(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	teacher := s.Join(t, "42", "teacher")
	ts := teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList, RecordChat: true})
	teacher.EndClass(t)
	if item := recorded(t, s, "42", ts); len(item.Files) != 0 {
		t.Errorf("files: %+v", item.Files)
	}
	urls, err := s.Client(t).UserRecordList(roomservertest.Context(t), talkcloud.RecordQuery{Room: "42", RecordTS: ts})
	if err != nil || len(urls) != 0 {
		t.Errorf("urls: %v, %v", urls, err)
	}
}

// TestRecord_Ends has a class end in every way there is, and looks for its recording.
func TestRecord_Ends(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		end    func(*testing.T, *roomservertest.Server, *roomservertest.Peer)
		silent bool // nobody is there to be told
	}{
		"delete": {end: func(t *testing.T, _ *roomservertest.Server, p *roomservertest.Peer) {
			p.Emit(t, "delMsg", talkcloud.ClassEnd())
		}},
		"clear all": {end: func(t *testing.T, _ *roomservertest.Server, p *roomservertest.Peer) {
			p.Emit(t, "delMsg", talkcloud.Message{Name: talkcloud.MessageAllAll, ID: talkcloud.MessageAllAll, To: talkcloud.ToNone})
		}},
		"roomover": {end: func(t *testing.T, s *roomservertest.Server, _ *roomservertest.Peer) {
			resp, err := s.HTTPClient().Post(s.URL+"/ClientAPI/roomover?ts=1", "application/x-www-form-urlencoded", strings.NewReader("act=3&serial=42&companyid=1"))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}},
		"begun by another": {end: func(t *testing.T, s *roomservertest.Server, _ *roomservertest.Peer) {
			s.Join(t, "42", "assistant", roomservertest.Role(talkcloud.RoleAssistant)).BeginClass(t, talkcloud.ClassBegin{})
		}},
		"room empties":     {end: func(_ *testing.T, _ *roomservertest.Server, p *roomservertest.Peer) { p.Close() }, silent: true},
		"connections drop": {end: func(_ *testing.T, s *roomservertest.Server, _ *roomservertest.Peer) { s.Drop() }, silent: true},
		"server closes":    {end: func(_ *testing.T, s *roomservertest.Server, _ *roomservertest.Peer) { s.Restart() }, silent: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := roomservertest.New(t)
			p := s.Join(t, "42", "teacher")
			ts := p.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList})
			test.end(t, s, p)
			if !test.silent {
				if m := p.Message(t, "delMsg", talkcloud.MessageClassBegin); m.TS.Unix() < ts {
					t.Errorf("ends at %d, began at %d", m.TS.Unix(), ts)
				}
			}
			recorded(t, s, "42", ts)
		})
	}
}

// TestRecord_NoFFmpeg has classes that need ffmpeg where there is none. Whoever begins one in the room gets what can be
// made without, with a warning; a recorder, whose caller waits for an answer, is refused.
func TestRecord_NoFFmpeg(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t, roomservertest.Config(func(c *roomserver.Config) {
		c.FFmpegPath = filepath.Join(t.TempDir(), "no-ffmpeg")
	}))
	for name, begin := range map[string]talkcloud.ClassBegin{
		"mp4": {RecordType: talkcloud.RecordTypeFile, Convert: talkcloud.ConvertMP4},
		"mp3": {RecordType: talkcloud.RecordTypeMP3},
		"mix": {RecordType: talkcloud.RecordTypeMix, Convert: talkcloud.ConvertMP4, Layout: talkcloud.LayoutPortrait},
	} {
		room := talkcloud.RoomID(name)
		conn, err := s.Client(t).Join(roomservertest.Context(t), talkcloud.JoinOptions{Room: room, UserID: "service", Recorder: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		err = conn.Publish(roomservertest.Context(t), begin.Message())
		var refused *talkcloud.RefusedError
		if !errors.As(err, &refused) || refused.Refusal.Reason != "FFMPEG_MISSING" {
			t.Errorf("%s: a recorder was told %v", name, err)
		}
		teacher := s.Join(t, room, "teacher")
		ts := teacher.BeginClass(t, begin)
		teacher.EndClass(t)
		if item := recorded(t, s, room, ts); len(item.Warnings) != 1 || !strings.Contains(item.Warnings[0], "ffmpeg") {
			t.Errorf("%s: warnings %q", name, item.Warnings)
		}
	}
}

// TestRecord_Lists asks for recordings in all the ways there are.
func TestRecord_Lists(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	teacher := s.Join(t, "42", "teacher")
	student := s.Join(t, "42", "student")
	student.Publish(t, clip(t))
	var ts [2]int64
	for i := range ts {
		ts[i] = teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList})
		untilBlocks(t, s, mustJSON(t, ts[i])+"/*.mkv", 30)
		teacher.EndClass(t)
		recorded(t, s, "42", ts[i])
	}
	if ts[1] <= ts[0] {
		t.Fatalf("recordts %v", ts)
	}
	client := s.Client(t)
	lists := map[string]struct {
		query talkcloud.RecordQuery
		want  int
	}{
		"room":                {talkcloud.RecordQuery{Room: "42"}, 2},
		"room and time":       {talkcloud.RecordQuery{Room: "42", RecordTS: ts[0]}, 1},
		"who began":           {talkcloud.RecordQuery{UserID: "teacher"}, 2},
		"who began, and time": {talkcloud.RecordQuery{UserID: "teacher", RecordTS: ts[1]}, 1},
		"who published":       {talkcloud.RecordQuery{UserID: "student"}, 2},
		"all three":           {talkcloud.RecordQuery{Room: "42", UserID: "student", RecordTS: ts[1]}, 1},
		"another room":        {talkcloud.RecordQuery{Room: "43", UserID: "student"}, 0},
		"another user":        {talkcloud.RecordQuery{Room: "42", UserID: "nobody"}, 0},
		"another time":        {talkcloud.RecordQuery{Room: "42", RecordTS: 1}, 0},
	}
	for name, test := range lists {
		urls, err := client.UserRecordList(roomservertest.Context(t), test.query)
		if err != nil || len(urls) != test.want {
			t.Errorf("%s: %v, %v", name, urls, err)
		}
	}
	urls, err := client.UserRecordList(roomservertest.Context(t), talkcloud.RecordQuery{Room: "42"})
	if err != nil || !strings.Contains(urls[0], mustJSON(t, ts[1])) {
		t.Errorf("newest is not first: %v, %v", urls, err)
	}
	requests := map[string]struct {
		method, path, body string
		want               string // begins so
	}{
		"any order":       {"GET", "/ClientAPI/getUserRecordlist/serial/42/recordts/" + mustJSON(t, ts[0]) + "/key/" + Key, "", `["http`},
		"stray blank":     {"GET", "/ClientAPI/getUserRecordlist/key/" + Key + "/userid/%20student", "", `["http`},
		"empty parameter": {"GET", "/ClientAPI/getUserRecordlist/key/" + Key + "/userid//serial/42", "", `["http`},
		"no key":          {"GET", "/ClientAPI/getUserRecordlist/serial/42", "", `{"result":4101,"msg":"`},
		"wrong key":       {"GET", "/ClientAPI/getUserRecordlist/key/" + Key + "x/serial/42", "", `{"result":4102,"msg":"`},
		"nothing asked":   {"GET", "/ClientAPI/getUserRecordlist/key/" + Key, "", `{"result":4003,"msg":"`},
		"bad time":        {"GET", "/ClientAPI/getUserRecordlist/key/" + Key + "/serial/42/recordts/soon", "", `{"result":4003,"msg":"`},
		"nothing there":   {"GET", "/ClientAPI/getUserRecordlist/key/" + Key + "/serial/77", "", `{"result":4105}`},
		"rich, form":      {"POST", "/WebAPI/getrecordlist", "key=" + Key + "&serial=42&recordtype=1", `{"result":0,"recordlist":[{"recordid"`},
		"rich, query":     {"GET", "/WebAPI/getrecordlist?key=" + Key + "&serial=42", "", `{"result":0,"recordlist":[{"recordid"`},
		"rich, path":      {"GET", "/WebAPI/getrecordlist/key/" + Key + "/thirdroomid/42", "", `{"result":0,"recordlist":[{"recordid"`},
		"rich, in time":   {"GET", "/WebAPI/getrecordlist?key=" + Key + "&serial=42&starttime=" + mustJSON(t, ts[0]) + "&endtime=" + mustJSON(t, ts[0]), "", `{"result":0,"recordlist":[{"recordid"`},
		"rich, too late":  {"GET", "/WebAPI/getrecordlist?key=" + Key + "&serial=42&starttime=" + mustJSON(t, ts[1]+1), "", `{"result":4105}`},
		"rich, wrong key": {"POST", "/WebAPI/getrecordlist", "key=&serial=42", `{"result":4101,"msg":"`},
	}
	for name, test := range requests {
		status, body := request(t, s, test.method, test.path, test.body)
		if status != http.StatusOK || !strings.HasPrefix(body, test.want) {
			t.Errorf("%s: %d %s, want %s", name, status, body, test.want)
		}
	}
	// an escape out of the directory, a listing, and what is not in the manifest
	for _, path := range []string{
		"/files/", "/files/42", "/files/42/" + mustJSON(t, ts[0]), "/files/42/" + mustJSON(t, ts[0]) + "/class.json",
		"/files/42/" + mustJSON(t, ts[0]) + "/recording.json", "/files/42/..%2f" + mustJSON(t, ts[0]) + "/student.mkv", "/files/%2e%2e/%2e%2e/x",
	} {
		if status, _ := request(t, s, "GET", path, ""); status != http.StatusNotFound {
			t.Errorf("%s: status %d", path, status)
		}
	}
	s.Restart()
	if urls, err := client.UserRecordList(roomservertest.Context(t), talkcloud.RecordQuery{Room: "42"}); err != nil || len(urls) != 2 {
		t.Errorf("after a restart: %v, %v", urls, err)
	}
}

// Key is the enterprise key as text.
const Key = string(roomservertest.Key)

// TestRecord_BrokenManifest has one broken recording among good ones.
func TestRecord_BrokenManifest(t *testing.T) {
	t.Parallel()
	s := roomservertest.New(t)
	teacher := s.Join(t, "42", "teacher")
	var ts [3]int64
	for i := range ts {
		ts[i] = teacher.BeginClass(t, talkcloud.ClassBegin{RecordType: talkcloud.RecordTypeList})
		teacher.EndClass(t)
		recorded(t, s, "42", ts[i])
	}
	s.Stop()
	dir := filepath.Join(s.Dir, "recordings", "42")
	if err := os.WriteFile(filepath.Join(dir, mustJSON(t, ts[0]), "class.json"), []byte(`{"room":"42","fi`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, mustJSON(t, ts[2]), "class.json"), []byte(`{"room":"42","recordts":`+mustJSON(t, ts[2])+`,"finished":true,"files":[{"name":"../../../../etc/passwd"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Start()
	items, err := s.Client(t).RecordList(roomservertest.Context(t), talkcloud.RecordListQuery{Room: "42"})
	if err != nil || len(items) != 1 || items[0].StartTime.String() != mustJSON(t, ts[1]) {
		t.Errorf("list: %+v, %v", items, err)
	}
	again := s.Join(t, "42", "teacher")
	if next := again.BeginClass(t, talkcloud.ClassBegin{}); next <= ts[2] {
		t.Errorf("recordts %d was used by a broken recording", next)
	}
}

// request does an HTTP request.
func request(tb testing.TB, s *roomservertest.Server, method, path, body string) (int, string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(roomservertest.Context(tb), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	resp, err := s.HTTPClient().Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	if resp.Header.Get("Access-Control-Allow-Origin") != "*" {
		tb.Errorf("%s %s: no CORS", method, path)
	}
	return resp.StatusCode, string(raw)
}
