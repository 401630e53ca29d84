// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package console_test

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/apitest"
	"github.com/classrec/classrec/server/internal/auth"
	"github.com/classrec/classrec/server/internal/talkcloud"
	"github.com/classrec/classrec/server/internal/talkcloud/talkcloudtest"
)

// english and chinese are what a browser says that its reader understands.
const (
	english = "en-US"
	chinese = "zh-CN"
)

// start starts a recording in a room, and returns its name.
func start(t *testing.T, s *apitest.Server, room, options string) string {
	t.Helper()
	r := s.Must(t, apitest.Call{Name: apitest.Start, Request: fmt.Sprintf(`{"room": %q%s}`, room, options)})
	return r.GetName()
}

// TestConsole opens the pages in Chromium with a fake camera. A page that complains, or asks another host for anything,
// fails; pictures of all of them are left in .build/screenshots.
func TestConsole(t *testing.T) {
	b := newBrowser(t)
	for _, tc := range []struct {
		name string
		test func(*testing.T, *browser)
	}{
		{"class", testClass}, // the longest
		{"expired", testExpired},
		{"inside", testInside},
		{"password", testPassword},
		{"leaving", testLeaving},
		{"keyboard", testKeyboard},
		{"form", testForm},
		{"colors", testColors},
		{"pages", testPages},
		{"chinese", testChinese},
		{"chinese class", testChineseClass},
		{"errors", testErrors},
		{"reference", testReference},
		{"talkcloud", testTalkCloud},
		{"names", testNames},
		{"unplayable", testUnplayable},
		{"login", testLogin},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.test(t, b)
		})
	}
}

// testClass has somebody without any other tool record himself: he joins the classroom with camera and microphone,
// starts, chats, stops, and plays the file with the chat as subtitles.
func testClass(t *testing.T, b *browser) {
	t.Helper()
	s := apitest.New(t, func(cfg *server.Config) { cfg.FFmpeg = "" })
	console := b.open(t, s.URL()+"/", english)
	console.until(t, `document.querySelector('header .link.live')`)
	console.shootAll(t, "rooms-empty")

	room := b.open(t, s.URL()+"/#/classroom?room=42", english)
	room.shootAll(t, "classroom-door")
	room.fill(t, "[name=nickname]", "Ada & 张")
	room.click(t, "form.door button", "Join")
	room.until(t, `document.querySelector('.room .link.live')?.innerText.includes('Sending')`)
	room.click(t, "button", "Record")
	room.until(t, `document.querySelector('.room .chip.recording')`)
	console.until(t, `document.querySelector('.feed li.add')?.innerText.includes('room 42') && document.querySelector('tbody .chip.recording')`)

	room.fill(t, "[name=message]", "Hello <b>class</b> & 大家好")
	room.press(t, "Enter")
	room.until(t, `document.querySelector('.log li')?.innerText.includes('Hello <b>class</b> & 大家好')`)
	start(t, s, "maths-7b", `, "format": "RECORDING_FORMAT_WEBM", "nickname": "recorder"`)
	start(t, s, "91795375556973", `, "max_duration": "3600s", "record_chat": false`)
	console.until(t, `document.querySelectorAll('tbody .chip.recording').length === 3`)
	console.shootAll(t, "rooms")
	room.shootAll(t, "classroom")
	room.fill(t, "[name=message]", "That was it.")
	room.press(t, "Enter")
	room.until(t, `document.querySelectorAll('.log li').length === 2`)
	room.click(t, ".room button", "Stop")
	room.click(t, ".room button.danger", "stop?")
	room.click(t, ".room a.button", "Play")

	room.until(t, `document.querySelectorAll('.stage .chat li').length === 2`)
	checkPlayer(t, room)
	room.shootAll(t, "player")

	console.until(t, `[...document.querySelectorAll('tbody tr')].some((r) => r.querySelector('.chip.available') && r.querySelector('a.button')?.innerText.includes('Play'))`)
	console.look(t, look{width: 1280, height: 640})
	console.shoot(t, "console") // docs/console.png
	for _, p := range []struct{ name, address, ready string }{
		{"recordings", "/#/recordings", `document.querySelectorAll('tbody tr').length === 3 && !document.querySelector('.empty')`},
		{"recordings-room", "/#/recordings?room=42", `document.querySelector('tbody .chip.available') && document.querySelector('tbody').innerText.includes('2 files')`},
		{"recordings-none", "/#/recordings?room=nobody", `document.querySelector('.empty')?.innerText.includes('Nothing is recorded')`},
		{"events", "/#/events", `document.querySelectorAll('tbody tr').length === 4`},
		{"events-room", "/#/events?room=42", `document.querySelectorAll('tbody tr').length === 2`},
		{"nowhere", "/#/nowhere", `document.querySelector('.empty')`},
		{"missing", "/#/recordings/rooms/42/recordings/17", `document.querySelector('.problem')?.innerText.includes('RECORDING_NOT_FOUND')`},
	} {
		if p.name == "missing" {
			console.allow("404")
		}
		console.follow(t, p.address)
		console.until(t, p.ready)
		console.shootAll(t, p.name)
	}
}

// enterRoom joins the classroom with camera and microphone, and without a password.
func (b *browser) enterRoom(t *testing.T, s *apitest.Server, room string) *page {
	t.Helper()
	p := b.open(t, s.URL()+"/#/classroom?room="+room, english)
	p.fill(t, "[name=nickname]", "Ada")
	p.click(t, "form.door button", "Join")
	p.until(t, `document.querySelector('.room .link.live')?.innerText.includes('Sending')`)
	return p
}

// encode makes a film with ffmpeg, larger than what a browser fetches before it is asked to play.
func encode(t *testing.T, file string, options ...string) {
	t.Helper()
	args := append([]string{"-v", "error", "-y"}, options...)
	if out, err := exec.Command("ffmpeg", append(args, file)...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, out)
	}
}

// testExpired leaves the page of a recording open until its links have expired, several times: it seeks, goes on playing,
// opens the file with its chat again, and downloads as if they had not.
func testExpired(t *testing.T, b *browser) {
	t.Helper()
	s := apitest.New(t, func(cfg *server.Config) { cfg.FileLinkTTL = 3 * time.Second })
	room := b.enterRoom(t, s, "9")
	name := start(t, s, "9", `, "format": "RECORDING_FORMAT_WEBM"`)
	room.fill(t, "[name=message]", "Still here?")
	room.press(t, "Enter")
	room.until(t, `document.querySelector('.log li')`)
	room.until(t, `document.querySelector('.room video').currentTime > 1`)
	s.Must(t, apitest.Call{Name: apitest.Stop, Request: fmt.Sprintf(`{"name": %q}`, name)})
	room.click(t, ".room button", "Leave")
	wait(t, "the recording is available", func() bool {
		return s.Must(t, apitest.Call{Name: apitest.Get, Request: fmt.Sprintf(`{"name": %q}`, name)}).GetState() == classrecv1.RecordingState_RECORDING_STATE_AVAILABLE
	})
	// A film that the browser does not fetch whole takes the file's place.
	var film string
	err := filepath.WalkDir(s.Dir(), func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".webm" {
			film = path
		}
		return err
	})
	if err != nil || film == "" {
		t.Fatalf("there is no file in %s: %v", s.Dir(), err)
	}
	encode(t, film, "-f", "lavfi", "-i", "testsrc=duration=60:size=320x240:rate=5", "-vf", "noise=alls=80:allf=t", "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "3M")
	size, err := os.Stat(film)
	if err != nil {
		t.Fatal(err)
	}

	p := b.open(t, s.URL()+"/#/recordings/"+name, english)
	p.allow("403")
	downloads := t.TempDir()
	p.call(t, "Page.setDownloadBehavior", map[string]any{"behavior": "allow", "downloadPath": downloads}, nil)
	p.until(t, `document.querySelector('video')?.readyState >= 2 && document.querySelector('.stage .chat li')`)
	expire := func() {
		t.Helper()
		var link string
		p.eval(t, `document.querySelector('video').src`, &link)
		wait(t, "the link has expired", func() bool {
			r, err := s.HTTP().Head(link)
			if err != nil {
				t.Fatal(err)
			}
			return r.Body.Close() == nil && r.StatusCode == http.StatusForbidden
		})
	}
	fine := func(what, condition string) {
		t.Helper()
		p.until(t, `((v) => v && !v.error && !v.seeking && v.readyState >= 2 && `+condition+`)(document.querySelector('video'))`)
		if text := p.text(t, ".screen [role=alert]"); text != "" {
			t.Errorf("%s: the page says %q", what, text)
		}
	}
	expire()
	p.eval(t, `{ const v = document.querySelector('video'); v.playbackRate = 0.5; v.currentTime = 40; }`, nil)
	fine("seeking", `v.currentTime === 40 && v.paused && v.playbackRate === 0.5`)
	p.eval(t, `document.querySelector('video').play()`, nil)
	expire()
	p.eval(t, `document.querySelector('video').currentTime = 20`, nil)
	fine("seeking while it plays", `v.currentTime > 20.2 && v.currentTime < 40 && !v.paused`)
	p.eval(t, `document.querySelector('video').pause()`, nil)
	expire()
	p.click(t, ".files button.name", "webm")
	fine("opening again", `v.currentTime > 0.1 && !v.paused`)
	p.until(t, `document.querySelector('.stage .chat li')?.innerText.includes('Still here?')`)
	expire()
	p.click(t, ".files .playing a[download]", "Download")
	wait(t, "the file is downloaded", func() bool {
		got, err := os.Stat(filepath.Join(downloads, filepath.Base(film)))
		return err == nil && got.Size() == size.Size()
	})
}

// testInside records one file of everybody, WebM and Matroska, and looks for the chat as subtitles.
func testInside(t *testing.T, b *browser) {
	t.Helper()
	s := apitest.New(t)
	p := b.open(t, s.URL()+"/#/classroom?room=inside", english)
	p.eval(t, `document.querySelector('[name=camera]').checked = false`, nil)
	p.fill(t, "[name=nickname]", "Ben")
	p.click(t, "form.door button", "Join")
	p.until(t, `document.querySelector('.room .link.live')?.innerText.includes('Sending')`)
	for _, format := range []string{"WEBM", "MKV"} {
		name := start(t, s, "inside", fmt.Sprintf(`, "format": "RECORDING_FORMAT_%s", "record_type": "RECORD_TYPE_FILE"`, format))
		said := fmt.Sprintf("in %s <i>&amp; 你好", format)
		p.fill(t, "[name=message]", said)
		p.press(t, "Enter")
		p.until(t, fmt.Sprintf(`[...document.querySelectorAll('.log li')].some((l) => l.innerText.includes(%q))`, said))
		s.Must(t, apitest.Call{Name: apitest.Stop, Request: fmt.Sprintf(`{"name": %q}`, name)})
		reader := b.open(t, s.URL()+"/#/recordings/"+name, english)
		reader.until(t, fmt.Sprintf(`document.querySelector('.stage .chat li')?.innerText.includes(%q) && [...document.querySelector('video').textTracks[0].cues].length === 1`, said))
		var cue struct{ Start, End float64 }
		reader.eval(t, `(({startTime: Start, endTime: End}) => ({Start, End}))(document.querySelector('video').textTracks[0].cues[0])`, &cue)
		if cue.Start < 0 || cue.Start > 30 || cue.End <= cue.Start {
			t.Errorf("%s: the line is shown from %v to %v", format, cue.Start, cue.End)
		}
	}
}

// testNames opens addresses and files whose names are no percent-encoded UTF-8.
func testNames(t *testing.T, b *browser) {
	t.Helper()
	s := apitest.New(t)
	name := start(t, s, "100%", "")
	p := b.open(t, s.URL()+"/", english)
	p.eval(t, fmt.Sprintf("location.href = %q", "/#/recordings/"+name), nil) // as a person writes it
	p.until(t, `document.querySelector('h1').innerText === 'Recording of room 100%' && document.querySelector('.chip.recording')`)
	p.eval(t, `location.href = '/#/recordings?room=100%'`, nil)
	p.click(t, "tbody a.button", "Open")
	p.until(t, `location.hash.includes('/100%25/') && document.querySelector('h1').innerText === 'Recording of room 100%' && document.querySelector('.chip.recording')`)
	p.eval(t, `location.href = '/docs#100%'`, nil)
	p.until(t, `document.querySelectorAll('.operation').length >= 8`)

	film := filepath.Join(t.TempDir(), "film.mp4")
	encode(t, film, "-f", "lavfi", "-i", "testsrc=duration=2:size=320x240", "-pix_fmt", "yuv420p")
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, film) }))
	t.Cleanup(files.Close)
	platform := talkcloudtest.NewPlain(t)
	platform.Answer(talkcloud.PathGetUserRecordList, talkcloudtest.Body(fmt.Sprintf(`[%q]`, files.URL+"/42/%D6%D0%CE%C4.mp4"))) // GBK
	host, port := platform.Host()
	elsewhere := apitest.New(t, apitest.Platform(t, fmt.Sprintf("http://%s:%d", host, port)))
	p = b.open(t, elsewhere.URL()+"/#/recordings?room=42", english)
	p.allow("asks another host: " + files.URL)
	p.click(t, "tbody a.button", "Play")
	p.until(t, `document.querySelector('video')?.readyState >= 2 && document.querySelector('.files .name').innerText === '%D6%D0%CE%C4.mp4'`)
}

// testUnplayable opens a file that no browser plays: the page says so, and does not go on trying.
func testUnplayable(t *testing.T, b *browser) {
	t.Helper()
	var asked atomic.Int32
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Dest") == "video" {
			asked.Add(1)
		}
		http.ServeContent(w, r, "teacher.mp4", time.Time{}, strings.NewReader(strings.Repeat("no film ", 1000)))
	}))
	t.Cleanup(files.Close)
	platform := talkcloudtest.NewPlain(t)
	platform.Answer(talkcloud.PathGetUserRecordList, talkcloudtest.Body(fmt.Sprintf(`[%q]`, files.URL+"/42/teacher.mp4")))
	host, port := platform.Host()
	s := apitest.New(t, apitest.Platform(t, fmt.Sprintf("http://%s:%d", host, port)))
	p := b.open(t, s.URL()+"/#/recordings?room=42", english)
	p.allow("asks another host: " + files.URL)
	p.click(t, "tbody a.button", "Play")
	p.until(t, `document.querySelector('.screen [role=alert]')?.innerText.includes('cannot play teacher.mp4')`)
	before := asked.Load()
	time.Sleep(time.Second)
	if now := asked.Load(); now != before || now > 4 {
		t.Errorf("the file was asked for %d times, %d of them afterwards", now, now-before)
	}
}

// testPassword is a room with passwords: the wrong one is refused in words; the right one lets in, records and stops. So
// does a student's: the embedded platform lets every role begin a class.
func testPassword(t *testing.T, b *browser) {
	t.Helper()
	rooms := filepath.Join(t.TempDir(), "rooms.yaml")
	if err := os.WriteFile(rooms, []byte("rooms:\n  \"7\": {passwords: {teacher: right-one, student: other-one}}\n  \"8\": {passwords: {teacher: third-one}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := apitest.New(t, func(cfg *server.Config) { cfg.RoomsFile = rooms })
	p := b.open(t, s.URL()+"/#/classroom?room=7", english)
	p.fill(t, "[name=nickname]", "Eve")
	p.fill(t, "[name=password]", "wrong-one")
	p.click(t, "form.door button", "Join")
	p.until(t, `document.querySelector('[role=alert]')?.innerText.includes('The room needs a password')`)
	for _, password := range []string{"other-one", "right-one"} {
		p.fill(t, "[name=password]", password)
		p.click(t, "form.door button", "Join")
		p.until(t, `document.querySelector('.room .link.live')?.innerText.includes('Sending')`)
		p.click(t, ".room button", "Record")
		p.until(t, `document.querySelector('.room .chip.recording')`)
		p.until(t, `document.querySelector('.room video').currentTime > 1`)
		p.click(t, ".room button", "Stop")
		p.click(t, ".room button.danger", "stop?")
		p.until(t, `document.querySelector('.room a.button')?.innerText.includes('Play')`)
		if password == "right-one" {
			break
		}
		p.click(t, ".room button", "Leave")
		p.until(t, `document.querySelector('form.door')`)
	}
	p.click(t, ".room a.button", "Play")
	p.until(t, `document.querySelector('video')?.readyState >= 2 && document.querySelector('video').videoWidth > 0`)

	// A class that somebody else has begun, in a room that the server is not in.
	p = b.open(t, s.URL()+"/#/classroom?room=8", english)
	p.fill(t, "[name=nickname]", "Eve")
	p.fill(t, "[name=password]", "third-one")
	p.click(t, "form.door button", "Join")
	p.until(t, `document.querySelector('.room .link.live')?.innerText.includes('Sending')`)
	p.eval(t, `(async () => {
		const { checkRoom, Member } = await import('/console/signaling.js');
		const role = await checkRoom({ room: '8', password: 'third-one', nickname: 'Other', role: 0 });
		const other = new Member({ room: '8', userId: 'other', nickname: 'Other', role });
		await other.join();
		await other.socket.emit('pubMsg', { name: 'ClassBegin', id: 'ClassBegin', toID: '__all', data: '{}' });
	})()`, nil)
	p.click(t, ".room button", "Stop")
	p.until(t, `document.querySelector('.room button.primary')?.innerText.includes('Record')`)
}

// testForm fills in every field of the form that starts a recording, and wants each of them in the recording.
func testForm(t *testing.T, b *browser) {
	t.Helper()
	rooms := filepath.Join(t.TempDir(), "rooms.yaml")
	if err := os.WriteFile(rooms, []byte("rooms:\n  \"88\": {passwords: {teacher: right-one}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := apitest.New(t, func(cfg *server.Config) { cfg.RoomsFile, cfg.FFmpeg = rooms, "" })
	p := b.open(t, s.URL()+"/", english)
	p.until(t, `document.querySelector('header .link.live')`)
	p.eval(t, `document.querySelector('details').open = true`, nil)
	choose := func(name, value string) {
		t.Helper()
		p.eval(t, fmt.Sprintf(`{ const e = document.querySelector('[name=%s]'); e.value = %q; e.dispatchEvent(new Event('change')); }`, name, value), nil)
	}
	// started returns the recording that begins when the form is sent, after comparing it with what is wanted.
	started := func(want *classrecv1.Recording) *classrecv1.Recording {
		t.Helper()
		p.click(t, "button", "Start recording")
		p.until(t, `document.querySelector('tbody .chip.recording')`)
		var name string
		p.eval(t, `document.querySelector('tbody .chip.recording').closest('tr').dataset.name`, &name)
		got := s.Must(t, apitest.Call{Name: apitest.Get, Request: fmt.Sprintf(`{"name": %q}`, name)})
		shown := &classrecv1.Recording{
			Room: got.GetRoom(), UserId: got.GetUserId(), Format: got.GetFormat(), RecordType: got.GetRecordType(), Layout: got.GetLayout(),
			RecordChat: got.GetRecordChat(), MaxDuration: got.GetMaxDuration(), State: got.GetState(), Origin: got.GetOrigin(),
		}
		want.State, want.Origin = classrecv1.RecordingState_RECORDING_STATE_RECORDING, classrecv1.RecordingOrigin_RECORDING_ORIGIN_API
		if !proto.Equal(shown, want) {
			t.Errorf("recorded is %v, and not %v", shown, want)
		}
		return got
	}
	p.fill(t, "[name=room]", "88")
	p.fill(t, "[name=roomPassword]", "right-one")
	p.fill(t, "[name=userId]", "teacher-7")
	p.fill(t, "[name=nickname]", "Recorder 录")
	p.fill(t, "[name=maxDuration]", "45")
	p.fill(t, "[name=requestId]", "request-1")
	choose("recordType", "RECORD_TYPE_FILE")
	choose("format", "RECORDING_FORMAT_MP4")
	p.eval(t, `document.querySelector('[name=recordChat]').click()`, nil)
	got := started(&classrecv1.Recording{
		Room: "88", UserId: "teacher-7", Format: classrecv1.RecordingFormat_RECORDING_FORMAT_MP4, RecordType: classrecv1.RecordType_RECORD_TYPE_FILE,
		Layout: classrecv1.RecordingLayout_RECORDING_LAYOUT_LANDSCAPE, MaxDuration: durationpb.New(45 * time.Minute),
	})
	again := s.Must(t, apitest.Call{Name: apitest.Start, Request: `{"room": "88", "room_password": "right-one", "user_id": "teacher-7", "nickname": "Recorder 录",
		"max_duration": "2700s", "request_id": "request-1", "record_type": "RECORD_TYPE_FILE", "format": "RECORDING_FORMAT_MP4", "record_chat": false}`})
	if again.GetName() != got.GetName() {
		t.Errorf("the same request is %s, and then %s", got.GetName(), again.GetName())
	}
	inside := b.open(t, s.URL()+"/#/classroom?room=88", english)
	inside.eval(t, `document.querySelectorAll('.door [type=checkbox]').forEach((e) => { e.checked = false; })`, nil)
	inside.fill(t, "[name=nickname]", "Eve")
	inside.fill(t, "[name=password]", "right-one")
	inside.click(t, "form.door button", "Join")
	inside.until(t, `document.querySelector('.people')?.innerText.includes('Recorder 录')`)
	s.Must(t, apitest.Call{Name: apitest.Stop, Request: fmt.Sprintf(`{"name": %q}`, got.GetName())})
	p.until(t, `!document.querySelector('tbody .chip.recording')`)

	choose("recordType", "RECORD_TYPE_MIX") // the layout is of this one only
	choose("layout", "RECORDING_LAYOUT_PORTRAIT")
	p.eval(t, `document.querySelector('[name=recordChat]').click()`, nil)
	mixed := started(&classrecv1.Recording{
		Room: "88", UserId: "teacher-7", Format: classrecv1.RecordingFormat_RECORDING_FORMAT_MKV, RecordType: classrecv1.RecordType_RECORD_TYPE_MIX,
		Layout: classrecv1.RecordingLayout_RECORDING_LAYOUT_PORTRAIT, RecordChat: true, MaxDuration: durationpb.New(45 * time.Minute),
	})
	if mixed.GetName() == got.GetName() {
		t.Error("the request id is used twice")
	}
}

// testColors wants other colors in the dark, and every text to be readable on its ground (WCAG 2, 1.4.3: 4.5 to 1).
func testColors(t *testing.T, b *browser) {
	t.Helper()
	s := apitest.New(t)
	done := start(t, s, "over", "")
	s.Must(t, apitest.Call{Name: apitest.Stop, Request: fmt.Sprintf(`{"name": %q}`, done)})
	start(t, s, "on", "")
	p := b.open(t, s.URL()+"/", english)
	p.allow("the server responded with a status of") // the error that is asked for
	p.until(t, `document.querySelector('tbody .chip.recording') && document.querySelector('.feed li')`)
	p.fill(t, "[name=room]", "on")
	p.click(t, "button", "Start recording")
	p.until(t, `document.querySelector('.problem')`)
	for _, address := range []string{"", "/#/events", "/#/recordings?room=over", "/#/recordings/" + done, "/#/classroom", "/docs"} {
		if address != "" {
			p.follow(t, address)
			p.until(t, `!document.querySelector('main').innerText.includes('Loading')`)
		}
		grounds := map[string]string{}
		for _, l := range looks() {
			p.look(t, l)
			var seen struct {
				Ground string
				Texts  int
				Faint  []string
			}
			p.eval(t, contrasts, &seen)
			grounds[l.name] = seen.Ground
			if seen.Texts < 8 {
				t.Errorf("%s, %s: only %d texts are seen", address, l.name, seen.Texts)
			}
			for _, text := range seen.Faint {
				t.Errorf("%s, %s: %s", address, l.name, text)
			}
		}
		if grounds["dark"] == grounds["light"] {
			t.Errorf("%s: the ground is %s in the dark too", address, grounds["dark"])
		}
	}
}

// contrasts looks at every text that can be seen: how much of them there is, and which are fainter than 4.5 to 1. A control
// that cannot be used may be.
const contrasts = `(() => {
	const parts = (color) => color.match(/[\d.]+/g).map(Number);
	const light = (color) => { const [r, g, b] = parts(color).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if ((parts(c)[3] ?? 1) === 1) return c; } return 'rgb(255, 255, 255)'; };
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	const seen = { Ground: getComputedStyle(document.body).backgroundColor, Texts: 0, Faint: [] };
	while (walk.nextNode()) {
		const e = walk.currentNode.parentElement;
		if (!walk.currentNode.data.trim() || !e.checkVisibility() || e.closest('noscript, :disabled, .unseen, caption')) continue;
		seen.Texts++;
		const [one, other] = [light(getComputedStyle(e).color), light(ground(e))].sort((a, b) => b - a);
		const contrast = (one + 0.05) / (other + 0.05);
		if (contrast < 4.5) seen.Faint.push(contrast.toFixed(2) + ' to 1: ' + walk.currentNode.data.trim().slice(0, 40));
	}
	return seen;
})()`

// testLeaving follows a link away from the classroom: while a class is on the page asks first, and the camera goes on.
func testLeaving(t *testing.T, b *browser) {
	t.Helper()
	s := apitest.New(t)
	p := b.enterRoom(t, s, "5")
	name := start(t, s, "5", "")
	p.until(t, `document.querySelector('.room .chip.recording')`)
	const stays = `!document.querySelector('dialog') && location.hash === '#/classroom?room=5' && document.querySelector('.room .link.live')?.innerText.includes('Sending') &&
		document.querySelector('.room video').srcObject.getTracks().every((track) => track.readyState === 'live')`
	p.click(t, "header nav a", "Events")
	p.until(t, `document.querySelector('dialog[open] h2')?.innerText === 'The class is on' && document.activeElement.innerText === 'Stay'`)
	p.shoot(t, "leaving-light")
	p.click(t, "dialog button", "Stay")
	p.until(t, stays)
	p.eval(t, "history.back()", nil) // to where it has just been kept
	p.until(t, stays)
	p.click(t, "header nav a", "Recordings")
	p.until(t, `document.querySelector('dialog[open]')`)
	p.press(t, "Escape")
	p.until(t, stays)
	p.click(t, "header nav a", "Events")
	p.click(t, "dialog button", "Leave")
	p.until(t, `!document.querySelector('dialog') && !document.querySelector('.room') && location.hash === '#/events' && document.querySelector('h1').innerText === 'Events'`)

	// Not when there is nothing to lose: the class is over.
	s.Must(t, apitest.Call{Name: apitest.Stop, Request: fmt.Sprintf(`{"name": %q}`, name)})
	p.eval(t, `location.href = '/#/classroom?room=5'`, nil)
	p.click(t, "form.door button", "Join")
	p.until(t, `document.querySelector('.room .link.live')?.innerText.includes('Sending')`)
	p.click(t, "header nav a", "Rooms")
	p.until(t, `document.querySelector('h1').innerText === 'Rooms' && !document.querySelector('dialog')`)
}

// testPages lists more recordings than one page has.
func testPages(t *testing.T, b *browser) {
	t.Helper()
	s := apitest.New(t)
	for range 27 {
		s.Must(t, apitest.Call{Name: apitest.Stop, Request: fmt.Sprintf(`{"name": %q}`, start(t, s, "many", ""))})
	}
	p := b.open(t, s.URL()+"/#/recordings?room=many", english)
	p.until(t, `document.querySelectorAll('tbody tr').length === 25`)
	p.click(t, ".pager button", "Show more")
	p.until(t, `document.querySelectorAll('tbody tr').length === 27 && !document.querySelector('.pager button')`)
	var names int
	p.eval(t, `new Set([...document.querySelectorAll('tbody td:last-child a')].map((a) => a.href)).size`, &names)
	if names != 27 {
		t.Errorf("%d recordings are listed in 27 rows", names)
	}
}

// checkPlayer plays the file that the page has opened, seeks by a line of the chat, and looks for the subtitles.
func checkPlayer(t *testing.T, p *page) {
	t.Helper()
	p.until(t, `document.querySelector('video')?.readyState >= 2`)
	var seen struct {
		Width, Height int
		Length        float64
	}
	p.eval(t, `(({videoWidth: Width, videoHeight: Height, duration: Length}) => ({Width, Height, Length}))(document.querySelector('video'))`, &seen)
	if seen.Width == 0 || seen.Height == 0 || seen.Length < 1 || seen.Length > 60 {
		t.Errorf("the file is %+v", seen)
	}
	p.eval(t, `document.querySelector('video').play()`, nil)
	p.until(t, `document.querySelector('video').currentTime > 0.2`)
	p.eval(t, `document.querySelector('video').pause()`, nil)
	p.click(t, ".stage .chat button", "That was it.")
	p.until(t, `(() => { const v = document.querySelector('video'); const [c] = v.textTracks[0].activeCues || []; return v.currentTime > 0.3 && !v.seeking &&
		v.textTracks[0].mode === 'showing' && [...v.textTracks[0].activeCues].some((c) => c.text.includes('That was it.')) && document.querySelector('.chat li.active') })()`)
	var text string
	p.eval(t, `document.querySelector('.stage .chat').innerText`, &text)
	if !strings.Contains(text, "Ada & 张") || !strings.Contains(text, "Hello <b>class</b> & 大家好") {
		t.Errorf("the chat is %q", text)
	}
	p.eval(t, `fetch([...document.querySelectorAll('.files a[download]')].find((a) => a.download.endsWith('.webm')).href).then((r) => r.blob()).then((b) => b.size)`, &seen.Width)
	if seen.Width < 1000 {
		t.Errorf("the download has %d bytes", seen.Width)
	}
}

// testKeyboard starts and stops a recording without a mouse, and wants to see where it is all the way.
func testKeyboard(t *testing.T, b *browser) {
	t.Helper()
	s := apitest.New(t)
	p := b.open(t, s.URL()+"/", english)
	p.until(t, `document.querySelector('header .link.live')`)
	// to presses Tab until the focus is on what matches.
	to := func(selector string) {
		t.Helper()
		for range 40 {
			p.press(t, "Tab")
			var at struct {
				There, Visible bool
				What           string
			}
			p.eval(t, fmt.Sprintf(`(() => { const e = document.activeElement; const s = getComputedStyle(e);
				return { There: e.matches(%q), Visible: s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2, What: e.outerHTML.slice(0, 120) } })()`, selector), &at)
			if at.What != "" && !at.Visible {
				t.Errorf("the focus cannot be seen on %s", at.What)
			}
			if at.There {
				return
			}
		}
		t.Fatalf("Tab does not come to %s", selector)
	}
	to(".skip")
	p.press(t, "Enter")
	to("[name=room]")
	p.write(t, "42")
	to("summary")
	p.press(t, "Enter")
	to("[name=maxDuration]")
	p.write(t, "90")
	to("[name=nickname]")
	p.write(t, "键盘")
	p.press(t, "Enter")
	p.until(t, `document.querySelector('tbody .chip.recording')`)
	p.shoot(t, "options-light")
	to("tbody button")
	p.press(t, "Enter")
	p.until(t, `document.querySelector('tbody button.danger')`)
	p.press(t, "Escape")
	p.until(t, `!document.querySelector('tbody button.danger')`)
	p.press(t, "Enter")
	p.press(t, " ")
	p.until(t, `document.querySelector('tbody .chip.available')`)
	r := s.Must(t, apitest.Call{Name: apitest.Get, Request: fmt.Sprintf(`{"name": %q}`, strings.TrimPrefix(p.href(t, "tbody a.button"), "#/recordings/"))})
	if r.GetMaxDuration().GetSeconds() != 90*60 || r.GetRoom() != "42" || !r.GetRecordChat() {
		t.Errorf("recorded was %v", r)
	}
	to("tbody a.button")
	p.press(t, "Enter")
	p.until(t, `document.querySelector('h1').innerText.includes('Recording of room 42') && document.activeElement.id === 'main'`)
}

func (p *page) href(t *testing.T, selector string) string {
	t.Helper()
	var href string
	p.eval(t, fmt.Sprintf("document.querySelector(%q).getAttribute('href')", selector), &href)
	return href
}

// testChinese is a reader whose browser speaks Chinese, and who then wants English.
func testChinese(t *testing.T, b *browser) {
	t.Helper()
	s := apitest.New(t)
	start(t, s, "语文-7", "")
	p := b.open(t, s.URL()+"/", chinese)
	p.until(t, `document.querySelector('tbody .chip.recording')?.innerText === '录制中'`)
	for _, v := range []struct{ name, address, ready string }{
		{"rooms", "/#/", `document.querySelector('tbody .chip')`},
		{"recordings", "/#/recordings", `document.querySelector('tbody .chip')`},
		{"events", "/#/events", `document.querySelector('tbody')`},
		{"classroom-door", "/#/classroom", `document.querySelector('form.door')`},
	} {
		p.follow(t, v.address)
		p.until(t, v.ready)
		p.shootAll(t, v.name+"-zh")
		p.translated(t, v.name)
	}
	p.goTo(t, s.URL()+"/docs")
	p.until(t, `document.querySelectorAll('.operation').length >= 8`)
	p.shoot(t, "docs-zh-light")
	p.click(t, "header button", "English")
	p.until(t, `document.documentElement.lang.startsWith('en') && document.querySelector('header nav')?.innerText.includes('Recordings')`)
}

// testChineseClass is a class, its recording, errors and the login in Chinese: what the server says in English is marked as
// such.
func testChineseClass(t *testing.T, b *browser) {
	t.Helper()
	dir := t.TempDir()
	rooms := filepath.Join(dir, "rooms.yaml")
	if err := os.WriteFile(rooms, []byte("rooms:\n  \"7\": {passwords: {teacher: right-one}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens := auth.TokenFile{Path: filepath.Join(dir, "tokens.json")}
	_, token, err := tokens.Create(auth.Token{Name: "me", Scopes: []auth.Scope{auth.ScopeStart, auth.ScopeStop, auth.ScopeWatch, auth.ScopeList}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := apitest.New(t, func(cfg *server.Config) { cfg.RoomsFile, cfg.TokensFile = rooms, tokens.Path })
	p := b.open(t, s.URL()+"/docs", chinese)
	p.allow("the server responded with a status of") // the errors that are asked for
	p.goTo(t, s.URL()+"/#/classroom?room=7")
	p.until(t, `document.querySelector('dialog.login[open]')`)
	p.fill(t, "[name=token]", "crt_wrong")
	p.click(t, "dialog button", "登录")
	p.until(t, `document.querySelector('dialog.login .problem')`)
	p.shoot(t, "login-zh")
	p.translated(t, "login")
	p.fill(t, "[name=token]", token)
	p.click(t, "dialog button", "登录")
	p.until(t, `!document.querySelector('dialog') && document.querySelector('header .link.live')`)

	p.fill(t, "[name=nickname]", "张老师")
	p.fill(t, "[name=password]", "wrong")
	p.click(t, "form.door button", "加入")
	p.until(t, `document.querySelector('[role=alert]')?.innerText.includes('密码不正确。 (checkroom: 4008)')`)
	p.translated(t, "the door's error")
	p.fill(t, "[name=password]", "right-one")
	p.click(t, "form.door button", "加入")
	p.until(t, `document.querySelector('.room .link.live')?.innerText.includes('正在发送')`)
	p.translated(t, "room")
	p.click(t, ".room button", "录制")
	p.until(t, `document.querySelector('.room .chip.recording')`)
	p.fill(t, "[name=message]", "大家好")
	p.press(t, "Enter")
	p.until(t, `document.querySelector('.log li') && document.querySelector('.room video').currentTime > 1`)
	p.click(t, "header nav a", "房间")
	p.until(t, `document.querySelector('dialog[open]')`)
	p.translated(t, "question")
	p.click(t, "dialog button", "留下")
	p.click(t, ".room button", "停止")
	p.click(t, ".room button.danger", "确定停止")
	p.until(t, `document.querySelector('.room a.button')?.innerText.includes('播放')`)
	p.shootAll(t, "classroom-zh")
	p.translated(t, "room, recorded")
	p.click(t, ".room a.button", "播放")
	p.until(t, `document.querySelector('.stage .chat li') && document.querySelector('video')?.readyState >= 2`)
	p.shootAll(t, "player-zh")
	p.translated(t, "player")

	p.follow(t, "/#/")
	for range 2 { // the second time the class is on
		p.fill(t, "[name=room]", "语文")
		p.click(t, "button", "开始录制")
		p.until(t, `document.querySelector('tbody .chip.recording')`)
	}
	p.until(t, `document.querySelector('[role=alert]')?.innerText.includes('该房间已有课堂正在进行。 (')`)
	p.translated(t, "error")
	p.eval(t, `document.querySelector('details').open = true`, nil)
	p.fill(t, "[name=userId]", "a/b")
	p.click(t, "button", "开始录制")
	p.until(t, `document.querySelector('[role=alert]').innerText.includes('某个字段不符合要求')`)
	p.shootAll(t, "error-zh")
	p.translated(t, "field error")
	for address, ready := range map[string]string{
		"/#/nowhere":                           `document.querySelector('.empty')`,
		"/#/recordings/rooms/42/recordings/17": `document.querySelector('.problem')?.innerText.includes('没有这个录制')`,
	} {
		p.eval(t, fmt.Sprintf("location.href = %q", address), nil)
		p.until(t, ready)
		p.translated(t, address)
	}
}

// follow goes to another page of the console, as by a link, and waits until that is there.
func (p *page) follow(t *testing.T, address string) {
	t.Helper()
	p.eval(t, fmt.Sprintf("document.querySelector('main h1').dataset.left = true; location.href = %q", address), nil)
	p.until(t, `document.querySelector('main h1:not([data-left])')`)
}

// translated looks for words that are not Chinese.
func (p *page) translated(t *testing.T, name string) {
	t.Helper()
	var words []string
	p.eval(t, `(() => { const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT); const found = [];
		while (walk.nextNode()) { const e = walk.currentNode.parentElement; if (!e.closest('.id, code, .brand, noscript, [lang=en]')) found.push(...(walk.currentNode.data.match(/[A-Za-z][a-z.]{3,}/g) || [])); }
		return found })()`, &words)
	for _, word := range words {
		if word != "classrec" && word != "ffmpeg" {
			t.Errorf("%s: %q is not Chinese", name, word)
		}
	}
}

// testErrors is what can go wrong, in words; and a connection that is cut goes on where it was.
func testErrors(t *testing.T, b *browser) {
	t.Helper()
	s := apitest.New(t)
	target, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		FlushInterval: -1,
	})
	t.Cleanup(proxy.Close)
	live := start(t, s, "taken", "")
	p := b.open(t, proxy.URL+"/", english)
	p.allow("the server responded with a status of") // the errors that are asked for
	p.until(t, `document.querySelector('tbody .chip.recording')`)

	p.fill(t, "[name=room]", "taken")
	p.click(t, "button", "Start recording")
	p.until(t, `document.querySelector('[role=alert]')?.innerText.includes('A class is on in this room already') && document.querySelector('[role=alert]').innerText.includes('CLASS_ALREADY_BEGUN')`)
	p.eval(t, `document.querySelector('details').open = true`, nil)
	p.fill(t, "[name=room]", "free")
	p.fill(t, "[name=userId]", "a/b")
	p.click(t, "button", "Start recording")
	p.until(t, `document.activeElement.name === 'userId' && document.activeElement.getAttribute('aria-invalid') === 'true' && document.querySelector('[role=alert]').innerText.includes('A field is not as it has to be') && document.querySelector('[role=alert]').innerText.includes('user_id')`)
	p.shootAll(t, "error")
	p.fill(t, "[name=userId]", "ok")
	p.eval(t, `{ const e = document.querySelector('[name=recordType]'); e.value = 'RECORD_TYPE_MIX'; e.dispatchEvent(new Event('change')); }`, nil)
	p.click(t, "button", "Start recording")
	p.until(t, `document.querySelector('[role=alert]').innerText.includes('needs ffmpeg on the server')`)

	p.allow("net::ERR_")
	proxy.CloseClientConnections()
	s.Must(t, apitest.Call{Name: apitest.Stop, Request: fmt.Sprintf(`{"name": %q}`, live)})
	p.until(t, `document.querySelectorAll('.feed li').length === 2 && document.querySelector('.feed li.remove')`)
	p.until(t, `document.querySelector('header .link.live')`)
}

// testReference reads the API's page, and makes two of its calls: one that answers, and one that streams.
func testReference(t *testing.T, b *browser) {
	t.Helper()
	s := apitest.New(t)
	p := b.open(t, s.URL()+"/docs", english)
	p.until(t, `document.querySelectorAll('.operation').length >= 8 && document.querySelectorAll('#schemas details').length > 10`)
	p.eval(t, `document.querySelectorAll('.operation .trial').forEach((d) => { d.open = true; })`, nil)
	const streaming = `#RecordingService_WatchClassBegin`
	p.eval(t, fmt.Sprintf(`{ const e = document.querySelector('%s [name=accept]'); e.value = 'text/event-stream'; e.dispatchEvent(new Event('input', {bubbles: true})); }`, streaming), nil)
	p.fill(t, streaming+" [name=room]", "-")
	p.click(t, streaming+" button", "Send")
	p.until(t, fmt.Sprintf(`document.querySelector('%s .answer')?.innerText.includes('event: synced')`, streaming))
	p.fill(t, "#RecordingService_StartRecording [name=room]", "它's 1")
	p.click(t, "#RecordingService_StartRecording button", "Send")
	p.until(t, `document.querySelector('#RecordingService_StartRecording .answer').innerText.includes('RECORDING_STATE_RECORDING')`)
	p.until(t, fmt.Sprintf(`document.querySelector('%s .answer').innerText.includes('event: add')`, streaming))
	p.click(t, streaming+" button", "Stop")
	p.until(t, fmt.Sprintf(`[...document.querySelectorAll('%s button')].every((b) => b.hidden || !b.disabled)`, streaming))
	if curl := p.text(t, "#RecordingService_StartRecording .curl"); !strings.Contains(curl, `'`+s.URL()+`/v1/rooms/%E5%AE%83'\''s%201/recordings'`) {
		t.Errorf("the command is %s", curl)
	}
	p.eval(t, `document.querySelectorAll('.trial').forEach((d, i) => { d.open = i === 0; }); document.querySelector('.operation details').open = true; scrollTo(0, 0)`, nil)
	p.shootAll(t, "docs")
}

// testTalkCloud is the console of a server whose platform is elsewhere: there is no classroom, and files are played from
// the hosts that the platform names.
func testTalkCloud(t *testing.T, b *browser) {
	t.Helper()
	film := filepath.Join(t.TempDir(), "teacher.mp4")
	encode(t, film, "-f", "lavfi", "-i", "testsrc=duration=2:size=320x240", "-pix_fmt", "yuv420p")
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, film) }))
	t.Cleanup(files.Close)
	platform := talkcloudtest.NewPlain(t)
	platform.Answer(talkcloud.PathGetUserRecordList, talkcloudtest.Body(fmt.Sprintf(`[%q]`, files.URL+"/42/teacher.mp4")))
	host, port := platform.Host()
	s := apitest.New(t, apitest.Platform(t, fmt.Sprintf("http://%s:%d", host, port)))
	p := b.open(t, s.URL()+"/#/recordings?room=42", english)
	p.allow("asks another host: " + files.URL)
	if nav := p.text(t, "header nav"); strings.Contains(nav, "Classroom") || !strings.Contains(nav, "Recordings") {
		t.Errorf("the pages are %q", nav)
	}
	p.click(t, "tbody a.button", "Play")
	p.until(t, `document.querySelector('video')?.readyState >= 2 && document.querySelector('video').videoWidth === 320`)
	p.shoot(t, "player-talkcloud-light")
}

// testLogin has a server ask who is there: the page does too, takes a token that is good, and keeps it to itself.
func testLogin(t *testing.T, b *browser) {
	t.Helper()
	tokens := auth.TokenFile{Path: filepath.Join(t.TempDir(), "tokens.json")}
	_, token, err := tokens.Create(auth.Token{Name: "me", Scopes: []auth.Scope{auth.ScopeWatch, auth.ScopeList}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := apitest.New(t, func(cfg *server.Config) { cfg.TokensFile = tokens.Path })
	p := b.open(t, s.URL()+"/docs", english)
	p.allow("401")
	p.goTo(t, s.URL()+"/")
	p.until(t, `document.querySelector('dialog.login[open]')`)
	p.shoot(t, "login")
	p.fill(t, "[name=token]", "crt_wrong")
	p.click(t, "dialog button", "Log in")
	p.until(t, `document.querySelector('dialog.login .problem')?.innerText.includes('not valid')`)
	p.fill(t, "[name=token]", token)
	p.click(t, "dialog button", "Log in")
	p.until(t, `!document.querySelector('dialog') && document.querySelector('header .link.live')`)
	p.until(t, `document.cookie === '' && !location.href.includes('crt_') && !Object.values(localStorage).some((v) => v.includes('crt_'))`)
	p.eval(t, "location.reload()", nil)
	p.until(t, `document.querySelector('header .link.live') && !document.querySelector('dialog')`)
	p.click(t, "header button", "Log out")
	p.until(t, `document.querySelector('dialog.login[open]') && sessionStorage.length === 0`)
}
