// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/classrec/classrec/server/internal/storetest"
)

// Every command in a document is run.
//
// TestDocuments takes every *.md that git lists. A fenced block without a
// language, or with sh, is commands: all of them are run with bash, in the order
// of the document, against a classrecd of the document's own, and must succeed.
// Blocks of go are put together, document by document, to a program that is run.
// Blocks of the languages in notCommands are not run; any other language fails,
// so that no block is overlooked.
//
// Commands are run as they stand there, but for this:
//
//   - Ports of localhost and 127.0.0.1 become free ones, the same all through a
//     document; flags that are not given listen on those that their defaults
//     became.
//   - A statement of classrecd, or make run, is a server: it is run beside the
//     others once it is up, in place of the one before; several of one block run
//     together. Where a document begins with something else, a classrecd with
//     people in room 42 runs already.
//   - A statement that watches is run until it has printed something, and ended
//     with its block. One that ends by itself fails, and so does one that prints
//     an error.
//   - rooms/42/recordings/NUMBER is the newest recording of room 42, where there
//     is one.
//   - Files are in a directory of the document's own, which has docs, and is the
//     home directory too; make and go run in the repository.
//
// The commands of docs/clients/README.md are TestLanguages' to run.
//
// What a document needs besides goes into preparations, and into surroundings
// where that is more than files. What cannot be run here
// goes into notRun, by the document and the first line of its block, with the
// reason; an entry whose block is not there any more fails.

// notRun are the blocks that are not run.
var notRun = map[[2]string]string{
	{"docs/cli.md", "go install github.com/classrec/classrec/client/classrec@latest"}:                "installs what is published, and not this tree",
	{"docs/performance.md", "make bench"}:                                                            "takes many minutes, and the machine for itself",
	{"docs/reliability.md", "go test -tags bench -run '^TestBenchSync$' -v ./server/internal/store"}: "is a part of make bench",
}

// preparations are run in a document's directory before its first block, and
// again before each other: they may define what the commands take for granted.
var preparations = map[string]string{
	"README.md":         `printf 0123456789abcdef >key.txt`,
	"docs/talkcloud.md": `printf 0123456789abcdef >key.txt`,
	"docs/replicas.md":  `printf 0123456789abcdef >key.txt; printf %064d 5 >seal.key`,
	"docs/cli.md":       `fpath=(- "$HOME"); mkdir -p .config/fish/completions`,
}

// surroundings make what is around a document's commands, before its first server.
// What they return, if anything, is done once that is up.
var surroundings = map[string]func(*testing.T, *reader) func(){
	"docs/replicas.md": databases,
	"docs/webhooks.md": failedDelivery,
}

// databases is a PostgreSQL, by the names that the documents give it.
func databases(t *testing.T, r *reader) func() {
	t.Helper()
	url := storetest.NewPostgres(t).URL()
	r.names["postgres://classrec@db1,db2/classrec?target_session_attrs=read-write"] = url
	r.names["postgres://classrec@db1/classrec"] = url
	return nil
}

// failedDelivery has the endpoint crm refuse what it is told, so that a delivery has failed.
func failedDelivery(t *testing.T, r *reader) func() {
	t.Helper()
	crm := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	t.Cleanup(crm.Close)
	file := filepath.Join(r.dir, "webhooks.yaml")
	text := fmt.Sprintf("endpoints: [{name: crm, url: '%s', secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw], events: [recording.available], allow_addresses: [127.0.0.1], retry_for: 1s}]\n", crm.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r.env = append(r.env, "CLASSREC_WEBHOOKS_FILE="+file)
	return func() {
		t.Helper()
		record := r.start(t, `classrec stop "$(classrec start 42 -o name)" --wait`)
		if err := record.wait(t); err != nil {
			t.Fatalf("record a class: %v\n%s", err, record.output())
		}
		name := regexp.MustCompile(`evt_\d+_recording_available`)
		eventually(t, "a delivery fails", func() bool {
			list := r.start(t, `grpcurl -plaintext -d '{"parent": "endpoints/crm", "state": "WEBHOOK_DELIVERY_STATE_FAILED"}' `+
				`127.0.0.1:9091 classrec.admin.v1.WebhookService/ListWebhookDeliveries`)
			_ = list.wait(t) // what it prints tells
			r.names["evt_8_recording_available"] = name.FindString(list.output())
			return r.names["evt_8_recording_available"] != ""
		})
	}
}

// notCommands are the languages of blocks that are for reading.
func notCommands() []string {
	return []string{"text", "json", "yaml", "ini", "proto", "html", "promql", "diff", "nginx", "dockerfile", "sql", "js", "python", "java", "ts"}
}

// repository is the module's root.
const repository = "../../.."

// block is a fenced block of a document.
type block struct {
	line     int
	language string
	text     string
}

// blocks reads the fenced blocks of a document.
func blocks(t *testing.T, document string) (all []block) {
	t.Helper()
	text := string(must[[]byte](t)(os.ReadFile(filepath.Join(repository, document))))
	open, indent := false, ""
	for i, line := range strings.Split(text, "\n") {
		content := strings.TrimLeft(line, " ")
		switch {
		case strings.HasPrefix(content, "```") && !open:
			open, indent = true, line[:len(line)-len(content)]
			all = append(all, block{line: i + 1, language: strings.TrimSpace(strings.TrimPrefix(content, "```"))})
		case strings.HasPrefix(content, "```"):
			open = false
		case open:
			all[len(all)-1].text += strings.TrimPrefix(line, indent) + "\n"
		}
	}
	return all
}

// documents are all that git lists, by their paths in the repository.
func documents(t *testing.T) []string {
	t.Helper()
	// Those that are new and not added yet, too; node_modules and the like are ignored.
	list := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md")
	list.Dir = repository
	all := strings.Split(strings.TrimSuffix(string(must[[]byte](t)(list.Output())), "\x00"), "\x00")
	if !slices.Contains(all, "README.md") {
		t.Fatalf("git lists no README.md: %v", all)
	}
	return all
}

// statements are the commands of a block: lines, and what they go on with.
func statements(text string) (all []string) {
	var now string
	for line := range strings.Lines(text) {
		now += line
		if trimmed := strings.TrimSpace(line); strings.HasSuffix(trimmed, "\\") {
			continue
		}
		if !complete(now) {
			continue
		}
		if trimmed := strings.TrimSpace(now); trimmed != "" && !strings.HasPrefix(trimmed, "#") {
			all = append(all, trimmed)
		}
		now = ""
	}
	if now != "" {
		all = append(all, now)
	}
	return all
}

// complete asks bash whether a statement ends here.
func complete(text string) bool {
	cmd := exec.Command("bash", "-n")
	cmd.Stdin = strings.NewReader(text)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	return cmd.Run() == nil && !strings.Contains(stderr.String(), "here-document")
}

// process is a command that runs on its own, in a process group of its own.
type process struct {
	command string
	cmd     *exec.Cmd
	done    chan struct{} // closed when it has ended

	mu   sync.Mutex
	text bytes.Buffer // what it has printed
}

// Write takes what it prints.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// background starts a shell command in the repository, without our settings. It is interrupted at the latest with the
// test.
func background(t *testing.T, command string) *process {
	t.Helper()
	return start(t, repository, nil, command)
}

// start starts a shell command in a directory, with an environment besides.
func start(t *testing.T, dir string, env []string, command string) *process {
	t.Helper()
	p := &process{command: command, cmd: exec.Command("bash", "-c", command), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, p, p
	p.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CLASSREC_") }), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // what it printed tells more
	}()
	t.Cleanup(func() {
		p.interrupt(t)
		if t.Failed() {
			t.Logf("%s\n%s", command, p.output())
		}
	})
	return p
}

// interrupt does what Ctrl-C does, and waits for the end.
func (p *process) interrupt(t *testing.T) {
	t.Helper()
	if p.ended() {
		return
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGINT) // may have ended
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case <-p.done:
	case <-ctx.Done():
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
		t.Errorf("%s did not end when interrupted", p.cmd.Args)
	}
}

// ended says whether it runs no more.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// await waits until something has been printed.
func (p *process) await(t *testing.T, text string) {
	t.Helper()
	eventually(t, "print of "+text, func() bool {
		if strings.Contains(p.output(), text) {
			return true
		}
		if p.ended() {
			t.Fatalf("ended without %q: %s", text, p.output())
		}
		return false
	})
}

// wait waits for its end; an end that is no success is an error.
func (p *process) wait(t *testing.T) error {
	t.Helper()
	select {
	case <-p.done:
	case <-testContext(t).Done():
		p.interrupt(t)
		return errors.New("did not end")
	}
	if !p.cmd.ProcessState.Success() {
		return errors.New(p.cmd.ProcessState.String())
	}
	return nil
}

// programs builds classrecd and classrec, once, and returns the directory that has
// them and grpcurl.
func programs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	build := background(t, "go build -o "+dir+" ./server/classrecd ./client/classrec && ln -s $PWD/.build/grpcurl "+dir+"/")
	if err := build.wait(t); err != nil {
		t.Fatalf("build: %v\n%s", err, build.output())
	}
	// curl is to fail when a call does.
	wrapper := "#!/bin/sh\nexec " + must[string](t)(exec.LookPath("curl")) + " --no-progress-meter --fail-with-body \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "curl"), []byte(wrapper), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// reader follows a document.
type reader struct {
	document string
	dir      string
	env      []string
	ports    map[string]string // by the document's own
	names    map[string]string // what else becomes what
	servers  []*process
}

var port = regexp.MustCompile(`\b(localhost|127\.0\.0\.1|0\.0\.0\.0):(\d{4,5})\b`)

func newReader(t *testing.T, document, bin string) *reader {
	t.Helper()
	r := &reader{document: document, dir: t.TempDir(), ports: map[string]string{}, names: map[string]string{}}
	for _, name := range []string{"docs", "gen", "proto", "README.md"} {
		if err := os.Symlink(must[string](t)(filepath.Abs(filepath.Join(repository, name))), filepath.Join(r.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	r.env = []string{
		"HOME=" + r.dir, "PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH"),
		"GOPATH=" + goEnv(t, "GOPATH"), "GOCACHE=" + goEnv(t, "GOCACHE"), "GOMODCACHE=" + goEnv(t, "GOMODCACHE"),
		"CLASSREC_LOG_FORMAT=json", "CLASSREC_DATA_DIR=" + filepath.Join(r.dir, "data"),
		"CLASSREC_GRPC_LISTEN=" + r.real("127.0.0.1:9090"), "CLASSREC_HTTP_LISTEN=" + r.real("127.0.0.1:8080"),
		"CLASSREC_ADMIN_LISTEN=" + r.real("127.0.0.1:9091"), "CLASSREC_ROOM_LISTEN=" + r.real("127.0.0.1:8443"),
		"CLASSREC_SERVER=" + r.real("127.0.0.1:9090"), "CLASSREC_HTTP=http://" + r.real("127.0.0.1:8080"),
	}
	return r
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(string(must[[]byte](t)(exec.CommandContext(t.Context(), "go", "env", name).Output())))
}

// real puts free ports in place of those in a text, and what r.names has in place of its names.
func (r *reader) real(text string) string {
	for name, is := range r.names {
		if before, after, ok := strings.Cut(text, name); ok {
			return r.real(before) + is + r.real(after)
		}
	}
	return port.ReplaceAllStringFunc(text, func(address string) string {
		match := port.FindStringSubmatch(address)
		if r.ports[match[2]] == "" {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return address
			}
			_, r.ports[match[2]], _ = net.SplitHostPort(l.Addr().String())
			_ = l.Close()
		}
		return match[1] + ":" + r.ports[match[2]]
	})
}

var (
	isServer  = regexp.MustCompile(`^(classrecd|\./bin/classrecd|bin/classrecd)( +-|$)|^make run\b`)
	isWatch   = regexp.MustCompile(`:watch|\bclassrec\b.* watch\b|/WatchClassBegin`)
	failed    = regexp.MustCompile(`"code":|classrec:|Cut off|Cannot connect|ERROR:|curl: \(`)
	recording = regexp.MustCompile(`rooms/42/recordings/\d+`)
	comment   = regexp.MustCompile(`(?m)\s+# .*$`)
	inTree    = regexp.MustCompile(`^(make|go|docs/clients/\S+|cd docs)\b`)
)

// people is a scenario for servers that a document does not start itself.
const people = `{steps: [{join: {room: "42", teacher: Ms Wang}}, {publish: Ms Wang}, {print: ready}]}`

// serve runs a server until the next one or the end.
func (r *reader) serve(t *testing.T, command string) {
	t.Helper()
	p := r.start(t, command)
	p.await(t, `"classrec is up"`)
	r.servers = append(r.servers, p)
}

func (r *reader) stopServers(t *testing.T) {
	t.Helper()
	for _, s := range slices.Backward(r.servers) {
		s.interrupt(t)
		if code := s.cmd.ProcessState.ExitCode(); code != 0 && !strings.Contains(fmt.Sprint(s.cmd.Args), "make ") { // make tells of the signal
			t.Errorf("interrupted, %s exits with %d", s.cmd.Args, code)
		}
	}
	r.servers = nil
}

// start starts commands as the comment at the top says.
func (r *reader) start(t *testing.T, commands string) *process {
	t.Helper()
	dir, prepared := r.dir, preparations[r.document]
	if inTree.MatchString(commands) {
		dir, prepared = repository, "" // where nothing is to be left
	}
	script := "set -eu -o pipefail\n" + prepared + "\n" + r.real(comment.ReplaceAllString(commands, ""))
	return start(t, dir, r.env, script)
}

// newest is the newest recording of room 42; "" where there is none.
func (r *reader) newest(t *testing.T) string {
	t.Helper()
	p := start(t, r.dir, r.env, "classrec list --room 42 -o name")
	_ = p.wait(t) // then there is none
	name, _, _ := strings.Cut(p.output(), "\n")
	if !recording.MatchString(name) {
		return ""
	}
	return name
}

// read runs a block of commands.
func (r *reader) read(t *testing.T, b block) {
	t.Helper()
	var watches []*process
	var ordinary []string
	flush := func() {
		if len(ordinary) == 0 {
			return
		}
		commands := strings.Join(ordinary, "\n")
		ordinary = nil
		if recording.MatchString(commands) {
			if name := r.newest(t); name != "" {
				commands = recording.ReplaceAllString(commands, name)
			}
		}
		p := r.start(t, commands)
		if err := p.wait(t); err != nil {
			t.Errorf("%s:%d: %v\n%s\n%s", r.document, b.line, err, commands, p.output())
		}
	}
	inBlock := false
	for _, s := range statements(b.text) {
		s = strings.TrimSuffix(s, " &")
		switch plain := strings.TrimSpace(comment.ReplaceAllString(s, "")); {
		case plain == "make demo", plain == "make test", plain == "make e2e": // TestDemo runs the first; this is the last
		case isServer.MatchString(s):
			flush()
			if !inBlock {
				r.stopServers(t)
			}
			inBlock = true
			r.serve(t, s)
		case isWatch.MatchString(s):
			flush()
			p := r.start(t, "exec "+s)
			watches = append(watches, p)
			eventually(t, "print of "+s, func() bool { return len(p.output()) > 0 || p.ended() })
		default:
			ordinary = append(ordinary, s)
		}
	}
	flush()
	for _, w := range watches {
		ended := w.ended()
		w.interrupt(t)
		switch {
		case ended:
			t.Errorf("%s:%d: a watch has ended by itself: %s\n%s", r.document, b.line, w.command, w.output())
		case failed.MatchString(w.output()):
			t.Errorf("%s:%d: a watch has printed an error: %s\n%s", r.document, b.line, w.command, w.output())
		}
	}
}

// TestDocuments runs every command of every document: see the top of this file.
func TestDocuments(t *testing.T) {
	t.Parallel()
	bin := programs(t)
	commands, there := 0, map[[2]string]bool{}
	t.Run("documents", func(t *testing.T) { // returns when all are read
		var mu sync.Mutex
		for _, document := range documents(t) {
			if document == clientsDocument {
				continue
			}
			var run []block
			var program string
			for _, b := range blocks(t, document) {
				first, _, _ := strings.Cut(b.text, "\n")
				key := [2]string{document, first}
				switch {
				case slices.Contains(notCommands(), b.language):
				case notRun[key] != "":
					mu.Lock()
					there[key] = true
					mu.Unlock()
				case b.language == "go":
					program += b.text
					run = append(slices.DeleteFunc(run, func(b block) bool { return b.language == "go" }), b) // where the last one stands
				case b.language == "", b.language == "sh":
					run = append(run, b)
				default:
					t.Errorf("%s:%d: a block of %s: is it commands? See the top of %s", document, b.line, b.language, "commands_test.go")
				}
			}
			if len(run) == 0 {
				continue
			}
			commands += len(run)
			t.Run(document, func(t *testing.T) {
				t.Parallel()
				r := newReader(t, document, bin)
				scenario := filepath.Join(r.dir, "people.yaml")
				if err := os.WriteFile(scenario, []byte(people), 0o600); err != nil {
					t.Fatal(err)
				}
				var ready func()
				if surround := surroundings[document]; surround != nil {
					ready = surround(t, r)
				}
				if !slices.ContainsFunc(run[:min(1, len(run))], func(b block) bool { return isServer.MatchString(b.text) }) {
					r.serve(t, "exec classrecd --scenario "+scenario)
					r.servers[0].await(t, `"msg":"ready"`)
					if ready != nil {
						ready()
					}
				}
				for _, b := range run {
					if b.language == "go" {
						r.runGo(t, program)
					} else {
						r.read(t, b)
					}
				}
				r.stopServers(t)
			})
		}
	})
	if commands < 8 {
		t.Errorf("only %d blocks were run", commands)
	}
	for key := range notRun {
		if !there[key] {
			t.Errorf("there is no such block any more: %v", key)
		}
	}
}

// runGo runs the Go of a document as one program.
func (r *reader) runGo(t *testing.T, program string) {
	t.Helper()
	var imports strings.Builder
	for name, path := range map[string]string{
		"fmt": "fmt", "time": "time", "client": "github.com/classrec/classrec/client", "classrecv1": "github.com/classrec/classrec/gen/go/classrec/v1",
	} {
		if strings.Contains(program, name+".") {
			fmt.Fprintf(&imports, "%s %q\n", name, path)
		}
	}
	// Whatever is assigned is used, and errors end it.
	program += "_, _ = recording, err\n"
	program = regexp.MustCompile(`(?m)^(\w+, err :?= .*)$`).ReplaceAllString(program, "$1\nif err != nil { panic(err) }")
	text := "package main\n\nimport (\n\"context\"\n" + imports.String() + ")\n\nfunc main() {\nctx := context.Background()\n" + r.real(program) + "}\n"
	dir := must[string](t)(os.MkdirTemp(filepath.Join(repository, ".build"), "readme")) //nolint:usetesting // within the module, whose packages it imports
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, dir, r.env, "go run .")
	if err := p.wait(t); err != nil || !strings.Contains(p.output(), "rooms/42/recordings/") {
		t.Errorf("the Go of %s: %v\n%s\n%s", r.document, err, text, p.output())
	}
}

// TestStart_Proposal runs what a server itself proposes when it starts.
func TestStart_Proposal(t *testing.T) {
	t.Parallel()
	bin := programs(t)
	r := newReader(t, "README.md", bin)
	r.serve(t, "exec classrecd")
	var proposed struct{ Msg, REST, GRPC string }
	for line := range strings.Lines(r.servers[0].output()) {
		if json.Unmarshal([]byte(line), &proposed) == nil && proposed.Msg == "to try it" {
			break
		}
	}
	for _, command := range []string{proposed.REST, proposed.GRPC} {
		p := start(t, r.dir, r.env, command)
		if err := p.wait(t); err != nil || !strings.Contains(p.output(), "RECORDING_STATE_RECORDING") {
			t.Errorf("%s: %v\n%s", command, err, p.output())
		}
	}
	r.stopServers(t)
}

// freePorts are flags that take any free ports.
const freePorts = "--grpc-listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --http-listen 127.0.0.1:0 --room-listen 127.0.0.1:0"

// TestDemo runs the demo as the README says, but shorter and on free ports.
func TestDemo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	demo := background(t, `make demo ARGS="--length 3s --data-dir `+dir+` `+freePorts+`"`)
	demo.await(t, "all files are good; they lie in ")
	<-demo.done
	if code := demo.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit %d", code)
	}
	rest := demo.output()
	for _, want := range []string{
		"classrec is up", "StartRecording: rooms/demo-", "is RECORDING", "WatchClassBegin: ADD", "teacher says in the chat: 早上好",
		"StopRecording: rooms/demo-", "GetRecording: rooms/demo-", "is AVAILABLE", "ListRecordings: 1 recording with 3 files",
		"WebVTT with 3 lines of chat",
	} {
		if !strings.Contains(rest, want) {
			t.Errorf("the demo does not tell: %s", want)
		}
	}
	if !strings.Contains(rest, "WatchClassBegin: REMOVE") {
		t.Error("the demo does not tell of the end")
	}
	_, place, _ := strings.Cut(rest, "they lie in ")
	place, _, _ = strings.Cut(place, "\n")
	files := must[[]os.DirEntry](t)(os.ReadDir(place))
	if !strings.HasPrefix(place, dir) || len(files) != 3 {
		t.Fatalf("in %s there are %v", place, files)
	}
	for _, f := range files {
		name := filepath.Join(place, f.Name())
		if filepath.Ext(name) == ".vtt" {
			if chat := string(must[[]byte](t)(os.ReadFile(name))); strings.Count(chat, "-->") != 3 {
				t.Errorf("the chat is %s", chat)
			}
			continue
		}
		if p := probe(t, name); p.duration.Seconds() < 2.5 || len(p.codecs) != 2 {
			t.Errorf("%s: %v, %v", f.Name(), p.duration, p.codecs)
		}
	}
}
