// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/classrec/classrec/client/internal/clienttest"
	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// output is what a command line printed and how it ended.
type output struct {
	stdout, stderr string
	exit           int
}

// command runs a command line with the real clock.
func command(ctx context.Context, args ...string) output {
	var stdout, stderr bytes.Buffer
	exit := run(ctx, args, &stdout, &stderr, time.Now)
	return output{stdout.String(), stderr.String(), exit}
}

// must is command for what has to succeed; it returns what was printed.
func must(t *testing.T, args ...string) string {
	t.Helper()
	out := command(clienttest.Context(t), args...)
	if out.exit != 0 {
		t.Fatalf("classrec %s: exit %d: %s", strings.Join(args, " "), out.exit, out.stderr)
	}
	return out.stdout
}

// running is a command line that runs until it is interrupted.
type running struct {
	stdout, stderr *text
	interrupt      context.CancelFunc
	exit           chan int
}

// text can be waited for.
type text struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{}
}

func newText() *text { return &text{changed: make(chan struct{})} }

func (x *text) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	close(x.changed)
	x.changed = make(chan struct{})
	return x.b.Write(p)
}

func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.String()
}

// wait waits for a part of the text.
func (x *text) wait(t *testing.T, part string) {
	t.Helper()
	ctx := clienttest.Context(t)
	for {
		x.mu.Lock()
		found, changed := strings.Contains(x.b.String(), part), x.changed
		x.mu.Unlock()
		if found {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("%q did not come: %s", part, x)
		}
	}
}

// begin runs a command line beside the test.
func begin(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, interrupt := context.WithCancel(clienttest.Context(t))
	r := &running{stdout: newText(), stderr: newText(), interrupt: interrupt, exit: make(chan int, 1)}
	go func() { r.exit <- run(ctx, args, r.stdout, r.stderr, time.Now) }()
	t.Cleanup(interrupt)
	return r
}

// The forms that scripts use, against a real server, as they are written.
func TestFixedForms(t *testing.T) {
	t.Parallel()
	s := clienttest.New(t, clienttest.Config(t.TempDir()))
	server := s.GRPC()

	watch := begin(t, "--server", server, "watch", "42")
	watchJSON := begin(t, "--server", server, "watch", "42", "-o", "json")
	watch.stderr.wait(t, "Watching room 42: no class is on.\n")
	watchJSON.stdout.wait(t, "synced")

	name := must(t, "--server", server, "start", "42", "-o", "name")
	if !regexp.MustCompile(`^rooms/42/recordings/\d+\n$`).MatchString(name) {
		t.Fatalf("start printed %q", name)
	}
	name = strings.TrimSpace(name)
	done := s.Publish(t, "42", "alice")
	time.Sleep(time.Second) // of sound
	var got map[string]any
	if err := yaml.Unmarshal([]byte(must(t, "--server", server, "get", name, "-o", "yaml")), &got); err != nil || got["name"] != name || got["state"] != "RECORDING_STATE_RECORDING" {
		t.Errorf("get: %v %v", got, err)
	}
	if out := must(t, "--server", server, "stop", "42"); !strings.Contains(out, name) {
		t.Errorf("stop: %s", out)
	}
	done()
	if out := must(t, "--server", server, "stop", name, "-o", "name"); out != name+"\n" {
		t.Errorf("stop: %s", out)
	}
	waited := command(clienttest.Context(t), "--server", server, "wait", name)
	if waited.exit != 0 || !strings.Contains(waited.stdout, "AVAILABLE") || !regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  AVAILABLE$`).MatchString(waited.stderr) {
		t.Errorf("wait: %+v", waited)
	}
	for _, user := range []string{"alice", "nobody"} {
		var list struct{ Recordings []struct{ Name string } }
		out := must(t, "--server", server, "list", "--room", "42", "--user-id", user, "-o", "json")
		if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Recordings) > 0 != (user == "alice") {
			t.Errorf("list of %s: %s %v", user, out, err)
		}
	}
	dir := filepath.Join(t.TempDir(), "DIR")
	fetched := command(clienttest.Context(t), "--server", server, "download", name, "-d", dir)
	entries, err := os.ReadDir(dir)
	if fetched.exit != 0 || err != nil || len(entries) != 1 || !strings.Contains(fetched.stdout, entries[0].Name()) || !strings.Contains(fetched.stderr, "done (") {
		t.Errorf("download: %+v, %v %v", fetched, entries, err)
	}
	for _, w := range []*running{watch, watchJSON} {
		w.stdout.wait(t, "REMOVE")
		w.interrupt()
		if exit := <-w.exit; exit != 0 {
			t.Errorf("watch: exit %d: %s", exit, w.stderr)
		}
		if out := w.stdout.String(); strings.Count(out, "ADD") != 1 || strings.Count(out, "REMOVE") != 1 {
			t.Errorf("watch: %s", out)
		}
	}
}

// start --wait and stop --wait show the states, and end with the last.
func TestWaitFlags(t *testing.T) {
	t.Parallel()
	s := clienttest.New(t, clienttest.Config(t.TempDir()))
	start := begin(t, "start", "42", "--wait", "-o", "name", "-s", s.GRPC())
	start.stderr.wait(t, "RECORDING")
	stop := command(clienttest.Context(t), "stop", "42", "--wait", "-s", s.GRPC())
	if stop.exit != 0 || !strings.Contains(stop.stderr, "AVAILABLE") || !strings.Contains(stop.stdout, "State     AVAILABLE") {
		t.Errorf("stop: %+v", stop)
	}
	if exit := <-start.exit; exit != 0 || !strings.HasPrefix(start.stdout.String(), "rooms/42/recordings/") || !strings.Contains(start.stderr.String(), "AVAILABLE") {
		t.Errorf("start: exit %d: %s%s", exit, start.stdout, start.stderr)
	}
	// Every state that is seen is shown, once, in its order: that of the call's own
	// answer too, when the files are there before anybody looks.
	const processing, available = classrecv1.RecordingState_RECORDING_STATE_PROCESSING, classrecv1.RecordingState_RECORDING_STATE_AVAILABLE
	for name, states := range map[string][]classrecv1.RecordingState{
		"states":         {processing, processing, processing, available},
		"states at once": {processing, available},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, s := newServer(t)
			s.states = states
			var stdout, stderr bytes.Buffer
			exit := run(clienttest.Context(t), []string{"stop", "42", "--wait", "-s", server}, &stdout, &stderr, clock)
			const want = "2026-11-22 10:31:05Z  PROCESSING\n2026-11-22 10:31:05Z  AVAILABLE\n"
			if exit != 0 || stderr.String() != want || !strings.Contains(stdout.String(), "State     AVAILABLE") || len(s.states) > 0 {
				t.Errorf("exit %d: %s%s", exit, &stdout, &stderr)
			}
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		start := begin(t, "start", "43", "--wait", "-s", s.GRPC())
		start.stderr.wait(t, "RECORDING")
		start.interrupt()
		if exit := <-start.exit; exit != exitInterrupted || !strings.Contains(start.stderr.String(), "is still RECORDING") {
			t.Errorf("exit %d: %s", exit, start.stderr)
		}
	})
	t.Run("out of time", func(t *testing.T) {
		t.Parallel()
		name := strings.TrimSpace(must(t, "start", "44", "-o", "name", "-s", s.GRPC()))
		out := command(clienttest.Context(t), "wait", name, "--within=300ms", "-s", s.GRPC())
		if out.exit != exitUnavailable || !strings.Contains(out.stderr, "out of time") {
			t.Errorf("%+v", out)
		}
	})
}

// A watch that is cut says so, resumes, and tells each event once.
func TestWatch_Cut(t *testing.T) {
	t.Parallel()
	s := clienttest.New(t, clienttest.Config(t.TempDir()))
	proxy := clienttest.NewProxy(t, s.GRPC())
	w := begin(t, "watch", "42", "-o", "json", "-s", proxy.Addr())
	w.stdout.wait(t, "synced")
	name := strings.TrimSpace(must(t, "start", "42", "-o", "name", "-s", s.GRPC()))
	w.stdout.wait(t, "ADD")
	proxy.Cut()
	w.stderr.wait(t, "Cut off (")
	must(t, "stop", name, "-s", s.GRPC())
	w.stderr.wait(t, "Resumed after ")
	w.stdout.wait(t, "REMOVE")
	w.interrupt()
	<-w.exit
	if out := w.stdout.String(); strings.Count(out, `"action":"CLASS_BEGIN_ACTION_ADD"`) != 1 || strings.Count(out, "REMOVE") != 1 {
		t.Error(out)
	}
}

// The printed curl does what the command would have done.
func TestDryRun_Curl(t *testing.T) {
	t.Parallel()
	needTool(t, "curl")
	needTool(t, "bash")
	dir := t.TempDir()
	rooms := filepath.Join(dir, "rooms.yaml")
	write(t, rooms, `rooms: {"locked room": {passwords: {teacher: se'cret}}}`)
	secret := filepath.Join(dir, "pass word")
	write(t, secret, "se'cret\n")
	cfg := clienttest.Config(filepath.Join(dir, "data"))
	cfg.RoomsFile = rooms
	s := clienttest.New(t, cfg)
	for room, args := range map[string][]string{
		"42":          {"--format=webm", "--no-chat", "--max-duration=90m", "--request-id=it's", "--nickname=老师 $HOME `id`"},
		"数 学?#%":      {},
		"locked room": {"--room-password-file", secret},
	} {
		printed := must(t, append([]string{"start", room, "--dry-run", "--http", s.HTTP(), "-s", s.GRPC()}, args...)...)
		if strings.Contains(printed, "se'cret") {
			t.Errorf("%s: the password is printed", room)
		}
		_, curl, _ := strings.Cut(printed, "\ncurl")
		start := func() ([]byte, error) {
			return exec.CommandContext(clienttest.Context(t), "bash", "-c", "curl"+curl).CombinedOutput()
		}
		out, err := start()
		var answer struct {
			Recording struct{ Name, State, Format, MaxDuration string }
		}
		if err != nil || json.Unmarshal(out, &answer) != nil || answer.Recording.State != "RECORDING_STATE_RECORDING" {
			t.Errorf("%s: %v: %s", room, err, out)
			continue
		}
		if again, err := start(); err != nil || !strings.Contains(string(again), answer.Recording.Name) {
			t.Errorf("%s: again: %v: %s", room, err, again)
		}
		if room == "42" && (answer.Recording.Format != "RECORDING_FORMAT_WEBM" || answer.Recording.MaxDuration != "5400s") {
			t.Errorf("%s: %+v", room, answer.Recording)
		}
		if again := command(clienttest.Context(t), append([]string{"start", room, "-s", s.GRPC()}, args...)...); room == "42" && (again.exit != 0 || !strings.Contains(again.stdout, answer.Recording.Name)) {
			t.Errorf("%s: the command itself, by the same request id: %+v", room, again)
		}
	}
}

var madeUp = regexp.MustCompile(`"requestId":"[A-Z2-7]{26}"`)

// What is printed is what the flags say, and no secret.
func TestDryRun(t *testing.T) {
	t.Setenv("CLASSREC_ROOM_PASSWORD", "hidden-password")
	t.Setenv("CLASSREC_TOKEN", "hidden-token")
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, "hidden-token")
	var all strings.Builder
	last := ""
	for _, args := range [][]string{
		{"start", "42", "--dry-run"},
		{"start", "it's", "--dry-run", "--server", "classrec.example:443"},
		{"start", "42", "--dry-run", "--plaintext", "--server", "classrec:9090", "--http", "http://classrec/"},
		{"start", "42", "--dry-run", "--server", "[::1]:9090", "--type=mix", "--layout=portrait"},
		{"start", "42", "--dry-run", "--request-id", "maths-7"},
	} {
		text, _ := sessionOf(t, args...)
		// An id that was made up is the same in both commands, and another each time.
		if ids := madeUp.FindAllString(text, -1); len(ids) > 0 && (len(ids) != 2 || ids[0] != ids[1] || ids[0] == last) {
			t.Errorf("the request ids: %q", ids)
		} else if len(ids) > 0 {
			last = ids[0]
		}
		all.WriteString(madeUp.ReplaceAllString(text, `"requestId":"MADE-UP"`) + "\n")
	}
	if strings.Contains(all.String(), "hidden") {
		t.Error("a secret is printed")
	}
	golden(t, "dryrun", all.String())
}

// sessionOf is session without a server of its own.
func sessionOf(t *testing.T, args ...string) (text string, exit int) {
	t.Helper()
	out := command(t.Context(), args...)
	text = fmt.Sprintf("$ classrec %s\n%s", strings.Join(args, " "), out.stdout)
	if out.stderr != "" {
		text += "--- stderr\n" + out.stderr
	}
	return fmt.Sprintf("%s--- exit %d\n", text, out.exit), out.exit
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The command line goes before the environment, and that before the file.
func TestConfig(t *testing.T) {
	s := clienttest.New(t, clienttest.Config(t.TempDir()))
	name := strings.TrimSpace(must(t, "start", "42", "-o", "name", "-s", s.GRPC()))
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	if err := os.Mkdir(filepath.Join(dir, "classrec"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "classrec", "config.yaml")
	write(t, file, "server: "+s.GRPC()+"\noutput: name\ntoken-file: token\ntls: false\nlist: {room: '42', limit: 1}\nstart:\n  format: webm\n")
	write(t, filepath.Join(dir, "classrec", "token"), "abc")
	if out := must(t, "list"); out != name+"\n" {
		t.Errorf("by the file: %q", out)
	}
	if out := must(t, "start", "webm", "-o", "json"); !strings.Contains(out, "FORMAT_WEBM") {
		t.Errorf("a flag of a command: %s", out)
	}
	t.Setenv("CLASSREC_OUTPUT", "json")
	if out := must(t, "get", name); !strings.HasPrefix(out, "{") {
		t.Errorf("by the environment: %s", out)
	}
	if out := must(t, "get", name, "-o", "yaml"); !strings.Contains(out, "name: "+name) {
		t.Errorf("by the command line: %s", out)
	}
	other := filepath.Join(t.TempDir(), "other.yaml")
	for _, tc := range []struct{ text, want string }{
		{"nonsense: 1", "there is no flag nonsense"},
		{"start: {nonsense: 1}", "start has no flag nonsense"},
		{"start: 7", "there is no flag start"},
		{"room-password: hidden", "there is no flag room-password"},
		{"config: x", "there is no flag config"},
		{"output: [a]", "a single value is needed"},
		{"output: xml", "must be one of"},
		{"timeout: soon", "soon"},
		{"{{hidden", "is not YAML"},
	} {
		os.Unsetenv("CLASSREC_OUTPUT") // until the end of the test
		write(t, other, tc.text)
		for _, args := range [][]string{{"--config", other, "get", name}, {"get", name, "--config=" + other}} {
			if out := command(t.Context(), args...); out.exit != exitUsage || !strings.Contains(out.stderr, tc.want) || strings.Contains(out.stderr, "hidden\n") {
				t.Errorf("%q: %+v", tc.text, out)
			}
		}
	}
	t.Setenv("CLASSREC_CONFIG", other)
	write(t, other, "output: yaml\nserver: "+s.GRPC())
	if out := must(t, "get", name); !strings.Contains(out, "name: "+name) {
		t.Errorf("by the file that the environment names: %s", out)
	}
}

// fileStore serves one recording's files, and a recording that names them.
type fileStore struct {
	content []byte
	etag    string
	odd     func(w http.ResponseWriter, r *http.Request) bool
}

func (f *fileStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.odd != nil && f.odd(w, r) {
		return
	}
	w.Header().Set("ETag", f.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
}

// newFiles returns a server whose recording has two files of a size.
func newFiles(t *testing.T) (server string, proxy *clienttest.Proxy, f *fileStore) {
	t.Helper()
	f = &fileStore{content: bytes.Repeat([]byte("classrec"), 1<<17), etag: `"1"`} // 1 MiB
	web := httptest.NewServer(f)
	t.Cleanup(web.Close)
	proxy = clienttest.NewProxy(t, strings.TrimPrefix(web.URL, "http://"))
	r := available()
	r.Urls = []string{"http://" + proxy.Addr() + "/secret/a.webm", "http://" + proxy.Addr() + "/secret/b.webm"}
	for i, file := range r.GetFiles() {
		file.Url, file.Size = r.GetUrls()[i], int64(len(f.content))
	}
	server, s := newServer(t)
	s.recording = r
	return server, proxy, f
}

func TestDownload(t *testing.T) {
	t.Parallel()
	const name = "rooms/42/recordings/17"
	t.Run("cut", func(t *testing.T) {
		t.Parallel()
		server, proxy, f := newFiles(t)
		dir := t.TempDir()
		proxy.CutAfter(1 << 19)
		out := command(clienttest.Context(t), "download", name, "-d", dir, "--parallel=1", "-s", server, "-o", "name")
		if out.exit != 0 || !strings.Contains(out.stderr, "a.webm: cut off (") || strings.Contains(out.stderr, "secret") {
			t.Errorf("%+v", out)
		}
		for _, name := range []string{"a.webm", "b.webm"} {
			if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, f.content) {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}
		if want := filepath.Join(dir, "a.webm") + "\n" + filepath.Join(dir, "b.webm") + "\n"; out.stdout != want {
			t.Errorf("printed %q", out.stdout)
		}
		again := command(clienttest.Context(t), "download", name, "-d", dir, "-s", server, "-o", "json")
		if again.exit != 0 || strings.Count(again.stdout, `"fetched": 0`) != 2 || !strings.Contains(again.stderr, "a.webm: is there already (1.0 MiB)") {
			t.Errorf("again: %+v", again)
		}
	})
	t.Run("interrupted, and again", func(t *testing.T) {
		t.Parallel()
		server, _, f := newFiles(t)
		dir := t.TempDir()
		f.odd = func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("ETag", f.etag)
			w.Header().Set("Content-Length", fmt.Sprint(len(f.content)))
			w.Write(f.content[:1<<19])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return true
		}
		first := begin(t, "download", name, "-d", dir, "-s", server)
		for part := filepath.Join(dir, "b.webm.part"); ; time.Sleep(10 * time.Millisecond) {
			a, _ := os.Stat(filepath.Join(dir, "a.webm.part"))
			b, _ := os.Stat(part)
			if a != nil && b != nil && a.Size()+b.Size() == 1<<20 {
				break
			}
			if t.Context().Err() != nil {
				t.Fatal("nothing comes")
			}
		}
		first.interrupt()
		if exit := <-first.exit; exit != exitInterrupted || !strings.Contains(first.stderr.String(), "the same command goes on from here") {
			t.Errorf("exit %d: %s", exit, first.stderr)
		}
		f.odd = nil
		out := command(clienttest.Context(t), "download", name, "-d", dir, "-s", server)
		if out.exit != 0 || !strings.Contains(out.stderr, "a.webm: goes on at 512.0 KiB of 1.0 MiB") || strings.Count(out.stdout, "512.0 KiB") != 2 {
			t.Errorf("%+v", out)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "b.webm")); err != nil || !bytes.Equal(got, f.content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	for phrase, tc := range map[string]struct {
		change func(*fileStore, string)
		want   string
		exit   int
	}{
		"wrong size": {func(f *fileStore, _ string) { f.content = f.content[1:] }, "classrec: fetch b.webm: the file has 1048575 bytes, and should have 1048576", exitFiles},
		"gone": {func(f *fileStore, _ string) {
			f.odd = func(w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(http.StatusNotFound)
				return true
			}
		}, "classrec: fetch a.webm: the answer is 404 Not Found", exitFiles},
		"there is another": {func(_ *fileStore, dir string) { _ = os.WriteFile(filepath.Join(dir, "a.webm"), []byte("x"), 0o600) }, "--overwrite", exitFiles},
		"no directory":     {func(_ *fileStore, dir string) { _ = os.Remove(dir); _ = os.WriteFile(dir, nil, 0o600) }, "directory for files", exitFiles},
	} {
		t.Run(phrase, func(t *testing.T) {
			t.Parallel()
			server, _, f := newFiles(t)
			dir := filepath.Join(t.TempDir(), "d")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			tc.change(f, dir)
			out := command(clienttest.Context(t), "download", name, "-d", dir, "-s", server)
			if out.exit != tc.exit || !strings.Contains(out.stderr, tc.want) || strings.Contains(out.stderr, "secret") {
				t.Errorf("%+v", out)
			}
		})
	}
	t.Run("failed", func(t *testing.T) {
		t.Parallel()
		server, s := newServer(t)
		s.recording = failed()
		for _, args := range [][]string{{"download", name}, {"download", name, "--wait"}, {"wait", name}} {
			out := command(clienttest.Context(t), append(args, "-s", server)...)
			if out.exit != exitFailed || !strings.Contains(out.stderr, "the platform listed no files within 2h") {
				t.Errorf("%v: %+v", args, out)
			}
		}
	})
	t.Run("not yet", func(t *testing.T) {
		t.Parallel()
		server, s := newServer(t)
		s.recording = begun()
		for _, format := range []string{"table", "name", "json", "yaml"} {
			out := command(clienttest.Context(t), "download", name, "-s", server, "-o", format)
			if out.exit != exitFailedPrecondition || !strings.Contains(out.stderr, "--wait") || out.stdout != "" {
				t.Errorf("%+v", out)
			}
		}
	})
	t.Run("nothing", func(t *testing.T) {
		t.Parallel()
		server, s := newServer(t)
		s.recording = available()
		s.recording.Urls, s.recording.Files = nil, nil
		out := command(clienttest.Context(t), "download", name, "-s", server)
		if out.exit != 0 || out.stdout != "" || out.stderr != "The recording has no files.\n" {
			t.Errorf("%+v", out)
		}
		if out = command(clienttest.Context(t), "download", name, "-s", server, "-o", "json"); out.exit != 0 || out.stdout != "{\n  \"files\": []\n}\n" || out.stderr != "" {
			t.Errorf("%+v", out)
		}
	})
}

// --parallel is how many files are fetched at once: so many, and no more.
func TestDownload_Parallel(t *testing.T) {
	t.Parallel()
	const count = 6
	for _, parallel := range []int{1, 2, 4, count} {
		t.Run(strconv.Itoa(parallel), func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			now, most := 0, 0
			var once sync.Once
			full := make(chan struct{}) // closed when so many are under way
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				now++
				most = max(most, now)
				if now == parallel {
					once.Do(func() { close(full) })
				}
				mu.Unlock()
				select { // none ends before that
				case <-full:
				case <-r.Context().Done():
				}
				time.Sleep(20 * time.Millisecond) // for one too many to come
				mu.Lock()
				now--
				mu.Unlock()
				http.ServeContent(w, r, "", time.Time{}, strings.NewReader("a file"))
			}))
			t.Cleanup(web.Close)
			server, s := newServer(t)
			s.recording = available()
			s.recording.Urls, s.recording.Files = nil, nil
			for i := range count {
				s.recording.Urls = append(s.recording.Urls, fmt.Sprintf("%s/%d.webm", web.URL, i))
			}
			dir := t.TempDir()
			out := command(clienttest.Context(t), "download", "rooms/42/recordings/17", "-d", dir, "--parallel", strconv.Itoa(parallel), "-s", server)
			entries, err := os.ReadDir(dir)
			mu.Lock()
			defer mu.Unlock()
			if out.exit != 0 || err != nil || len(entries) != count || most != parallel {
				t.Errorf("%d files, %d at once: %+v %v", len(entries), most, out, err)
			}
		})
	}
}

// Output that cannot be written is an error.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("there is no full device here: %v", err)
	}
	defer full.Close()
	server, _ := newServer(t)
	var stderr bytes.Buffer
	if exit := run(t.Context(), []string{"get", "rooms/42/recordings/17", "-s", server}, full, &stderr, clock); exit != exitOther || !strings.Contains(stderr.String(), "no space left") {
		t.Errorf("exit %d: %s", exit, &stderr)
	}
}

// The text of others does not reach a terminal's controls.
func TestHostileText(t *testing.T) {
	t.Parallel()
	server, s := newServer(t)
	s.recording = failed()
	s.recording.UserId = "\x1b]0;owned\x07\u202e"
	s.recording.Failure.Message = "\x1b[2J\n\u009b2J"
	for _, format := range []string{"table", "json", "yaml"} {
		out := must(t, "get", "rooms/42/recordings/17", "-s", server, "-o", format)
		if strings.ContainsAny(out, "\x1b\x07") {
			t.Errorf("%s: %q", format, out)
		}
	}
	out := command(clienttest.Context(t), "wait", "rooms/42/recordings/17", "-s", server)
	if strings.ContainsAny(out.stdout+out.stderr, "\x1b\x07\u009b") {
		t.Errorf("%+v", out)
	}
}

// explain tells a recording's story by the admin API, as text and as JSON; of
// history that is gone, it says so.
func TestExplain(t *testing.T) {
	t.Parallel()
	cfg := clienttest.Config(t.TempDir())
	cfg.AdminListen = "127.0.0.1:0"
	s := clienttest.New(t, cfg)
	server, admin := s.GRPC(), s.AdminAddr().String()
	name := strings.TrimSpace(must(t, "-s", server, "start", "42", "--request-id", "lesson-7", "-o", "name"))
	text := must(t, "explain", name, "--admin-server", admin)
	for _, want := range []string{name + "  RECORDING\nThe class is on; ", "waits for the end of the class", "TIME ", `STARTING   StartRecording asked for it (request_id "lesson-7")`, "RECORDING  the platform confirmed ClassBegin"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
	must(t, "-s", server, "stop", name, "--wait")
	var story struct {
		Recording         struct{ State string }
		Changes           []struct{ State, Text, Sequence string }
		HistoryIncomplete bool
	}
	if err := json.Unmarshal([]byte(must(t, "explain", name, "--admin-server", admin, "-o", "json")), &story); err != nil ||
		story.Recording.State != "RECORDING_STATE_AVAILABLE" || len(story.Changes) != 5 || story.HistoryIncomplete {
		t.Errorf("%v %+v", err, story)
	}
	if out := command(clienttest.Context(t), "explain", "rooms/42/recordings/1", "--admin-server", admin); out.exit != 3 || !strings.Contains(out.stderr, "no recording rooms/42/recordings/1") {
		t.Errorf("of none: %+v", out)
	}
}
