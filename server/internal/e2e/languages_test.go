// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/classrec/classrec/server"
	"github.com/classrec/classrec/server/internal/apitest"
)

// clientsDocument has the commands that run the example programs, a block for each.
const clientsDocument = "docs/clients/README.md"

var (
	exampleOf = regexp.MustCompile(`docs/clients/([a-z]+)`)
	target    = regexp.MustCompile(`\blocalhost:(9090|8080) 42\b`)
	install   = regexp.MustCompile(`^python3 -m venv \S+$|^\S*pip install -r (\S+)$|^npm ci$`)
)

// example is a program of docs/clients.
type example struct {
	name    string
	command string // as the document has it
}

// examples are those of the document: all that there are.
func examples(t *testing.T) (all []example) {
	t.Helper()
	setup := exec.CommandContext(t.Context(), "make", "--dry-run", "setup-e2e")
	setup.Dir = repository
	recipe := string(must[[]byte](t)(setup.Output()))
	var names []string
	served := false
	for _, b := range blocks(t, clientsDocument) {
		if strings.TrimSpace(b.text) == `make run ARGS="--max-recordings 1"` { // as the test's own
			served = true
			continue
		}
		match := exampleOf.FindStringSubmatch(b.text)
		if match == nil || len(target.FindAllString(b.text, -1)) != 1 {
			t.Fatalf("%s:%d: no program with localhost:9090 42, or 8080:\n%s", clientsDocument, b.line, b.text)
		}
		e := example{name: match[1]}
		names = append(names, e.name)
		for _, s := range statements(b.text) {
			if !install.MatchString(s) {
				e.command += s + "\n"
				continue
			}
			// What installs packages is not run again: that wants the network, and would take from others what they
			// run. make setup-e2e has done it, and this is that it does the same.
			done := s
			switch match := install.FindStringSubmatch(s); {
			case s == "npm ci" && strings.Contains(recipe, "docs/clients/"+e.name+"/"):
				done = "npm ci "
			case match[1] != "":
				done = "-r " + match[1]
			}
			if !strings.Contains(recipe, done) {
				t.Errorf("%s:%d: make setup-e2e does not do this: %s", clientsDocument, b.line, s)
			}
		}
		all = append(all, e)
	}
	if !served {
		t.Errorf("%s does not run the server as the test does", clientsDocument)
	}
	there := must[[]string](t)(filepath.Glob(filepath.Join(repository, filepath.Dir(clientsDocument), "*")))
	there = slices.DeleteFunc(there, func(name string) bool { info, err := os.Stat(name); return err != nil || !info.IsDir() })
	for i, name := range there {
		there[i] = filepath.Base(name)
	}
	slices.Sort(names)
	if !slices.Equal(names, there) {
		t.Errorf("%s runs %q, and there are %q", clientsDocument, names, there)
	}
	return all
}

// building is held while an example runs that compiles into its own directory: two of it would be in each other's way.
var building sync.Mutex

// run runs it, as the document says, in a room of its own.
func (e example) run(t *testing.T, grpc, http string) *process {
	t.Helper()
	if e.name == "java" {
		building.Lock()
		defer building.Unlock()
	}
	command := target.ReplaceAllStringFunc(e.command, func(s string) string {
		if strings.Contains(s, ":8080") {
			return http + " " + e.name
		}
		return grpc + " " + e.name
	})
	tools := must[string](t)(filepath.Abs(filepath.Join(repository, ".build"))) // make setup-e2e puts grpcurl there
	p := start(t, repository, []string{"PATH=" + tools + string(os.PathListSeparator) + os.Getenv("PATH"), "npm_config_loglevel=silent"},
		"set -eu -o pipefail\n"+command)
	<-p.done
	return p
}

// TestLanguages has the example program of each language, and grpcurl and curl, make the same calls. All get the same:
// answers, events, errors and what those carry.
func TestLanguages(t *testing.T) {
	t.Parallel()
	for _, e := range examples(t) {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			// One of its own, for it allows one recording.
			s := apitest.New(t, func(cfg *server.Config) { cfg.FFmpeg, cfg.MaxRecordings = "", 1 })
			run := e.run(t, s.Process().GRPCAddr().String(), s.Process().HTTPAddr().String())
			want := strings.Join([]string{
				"watching",
				"started NAME RECORDING_STATE_RECORDING",
				"event ADD NAME",
				"start again: ALREADY_EXISTS CLASS_ALREADY_BEGUN recording=NAME",
				"start for -1 s: INVALID_ARGUMENT INVALID_FIELD field=max_duration",
				"start in another room: RESOURCE_EXHAUSTED LIMIT_EXCEEDED limit=recordings scope=process value=1 retry=5s",
				"stopped NAME END_REASON_STOPPED",
				"event REMOVE NAME",
				"listed NAME",
				"get: NOT_FOUND RECORDING_NOT_FOUND recording=rooms/ROOM/recordings/1",
			}, "\n")
			name := regexp.MustCompile(`rooms/` + e.name + `/recordings/\d{2,}`)
			got := name.ReplaceAllString(strings.TrimSpace(plain.ReplaceAllString(run.output(), "")), "NAME")
			got = strings.ReplaceAll(got, "rooms/"+e.name+"/", "rooms/ROOM/")
			if got != want || run.cmd.ProcessState.ExitCode() != 0 {
				t.Errorf("exit %d, printed:\n%s\nwant:\n%s", run.cmd.ProcessState.ExitCode(), got, want)
			}
		})
	}
}

// TestLanguages_Nobody has the programs call where nobody listens: all of them fail, say why, and do not say that they
// watch.
func TestLanguages_Nobody(t *testing.T) {
	t.Parallel()
	l := must[net.Listener](t)(new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0"))
	nobody := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, e := range examples(t) {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			run := e.run(t, nobody, nobody)
			text := run.output()
			if run.cmd.ProcessState.Success() || strings.Contains(text, "watching") || strings.TrimSpace(text) == "" {
				t.Errorf("%v, printed:\n%s", run.cmd.ProcessState, text)
			}
		})
	}
}

// TestLanguages_Types has the compiler check the TypeScript: what runs it does not.
func TestLanguages_Types(t *testing.T) {
	t.Parallel()
	check := background(t, "cd docs/clients/typescript && npm run --silent check")
	if err := check.wait(t); err != nil {
		t.Errorf("%v\n%s", err, check.output())
	}
}

// plain matches what is for a terminal: Maven prints it anywhere.
var plain = regexp.MustCompile("\x1b\\[[0-9;]*m")
