// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// repository is the module's root.
const repository = "../../.."

// freePorts are flags that take any free ports.
const freePorts = "--grpc-listen 127.0.0.1:0 --http-listen 127.0.0.1:0 --room-listen 127.0.0.1:0"

// readme returns the lines of README.md that stand in fenced blocks without a language, which are commands; comments
// behind them are cut off.
func readme(t *testing.T) []string {
	t.Helper()
	text := string(must[[]byte](t)(os.ReadFile(filepath.Join(repository, "README.md"))))
	var commands []string
	fence := "" // the line that has opened the block
	for _, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "```") && fence == "":
			fence = line
		case strings.HasPrefix(line, "```"):
			fence = ""
		case fence == "```":
			line, _, _ = strings.Cut(line, "  #")
			commands = append(commands, strings.TrimSpace(line))
		}
	}
	return commands
}

// process is a command that runs on its own, in a process group of its own.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended

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
	p := &process{cmd: exec.Command("bash", "-c", command), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = repository, p, p
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CLASSREC_") })
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
	select {
	case <-p.done:
		return
	default:
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

// await waits until something has been printed.
func (p *process) await(t *testing.T, text string) {
	t.Helper()
	eventually(t, "print of "+text, func() bool {
		if strings.Contains(p.output(), text) {
			return true
		}
		select {
		case <-p.done:
			t.Fatalf("ended without %q: %s", text, p.output())
		default:
		}
		return false
	})
}

// TestDemo runs the demo as the README says, but shorter and on free ports.
func TestDemo(t *testing.T) {
	t.Parallel()
	if !slices.Contains(readme(t), "make demo") {
		t.Error("the README does not tell of make demo")
	}
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

// served is where a server is.
type served struct {
	GRPC, HTTP string
	try        string // the curl that it proposes
}

// startServed runs the README's make run, and reads from its log where it listens.
func startServed(t *testing.T) served {
	t.Helper()
	p := background(t, `make run ARGS="--log-format json --data-dir `+t.TempDir()+` `+freePorts+`"`)
	p.await(t, `"to try it"`)
	var s served
	for lines := bufio.NewScanner(strings.NewReader(p.output())); lines.Scan(); {
		var entry struct{ Msg, GRPC, HTTP, REST string }
		if json.Unmarshal(lines.Bytes(), &entry) != nil {
			continue // of make
		}
		if entry.HTTP != "" {
			s.GRPC, s.HTTP = entry.GRPC, entry.HTTP
		}
		if entry.REST != "" {
			s.try = entry.REST
		}
	}
	if s.HTTP == "" || s.GRPC == "" || !strings.HasPrefix(s.try, "curl ") {
		t.Fatalf("make run says %s", p.output())
	}
	return s
}

// shell makes a command of the README one for this server.
func (s served) shell(cli, command string) string {
	command = strings.ReplaceAll(command, "localhost:8080", s.HTTP)
	if rest, ok := strings.CutPrefix(command, "curl "); ok {
		return "exec curl --no-progress-meter --fail-with-body " + rest
	}
	return "exec " + strings.Replace(command, "go run ./client/classrec", cli+" --server "+s.GRPC, 1)
}

// TestReadme runs the README's commands, in its order, against a server started by its make run: those of curl and of the
// command line as they stand there but for the ports; those of grpcurl by what they name.
func TestReadme(t *testing.T) {
	t.Parallel()
	commands := readme(t)
	if !slices.Contains(commands, "make run") {
		t.Error("the README does not tell of make run")
	}
	cli := filepath.Join(t.TempDir(), "classrec")
	build := exec.Command("go", "build", "-o", cli, "./client/classrec")
	build.Dir = repository
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the command line: %v\n%s", err, out)
	}
	s := startServed(t)
	conn := must[*grpc.ClientConn](t)(grpc.NewClient(s.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials())))
	t.Cleanup(func() { _ = conn.Close() })

	var watches []*process
	for _, c := range commands { // first, to see what the others do
		if strings.HasPrefix(c, "curl ") && strings.Contains(c, "classBegin:watch") {
			p := background(t, s.shell(cli, c))
			p.await(t, "synced")
			watches = append(watches, p)
		}
	}
	ran := map[string]int{}
	for _, c := range commands {
		tool, _, _ := strings.Cut(c, " ")
		switch {
		case strings.Contains(c, ":watch"), strings.Contains(c, "classrec watch"):
		case tool == "curl", strings.HasPrefix(c, "go run ./client/classrec "):
			out, err := run(t, s.shell(cli, c))
			if err != nil {
				t.Errorf("%s: %v\n%s", c, err, out)
			} else if !strings.Contains(out, "rooms/42/recordings/") {
				t.Errorf("%s says nothing of a recording: %s", c, out)
			}
		case strings.HasPrefix(c, "grpcurl "):
			grpcurl(t, conn, c)
		default:
			continue
		}
		ran[tool]++
	}
	if ran["curl"] < 3 || ran["go"] < 3 || ran["grpcurl"] < 4 {
		t.Errorf("run were %v", ran)
	}

	// The command line's watch, when a class is on; begun by the command that the server itself proposes.
	if out, err := run(t, s.shell(cli, s.try)); err != nil || !strings.Contains(out, "RECORDING_STATE_RECORDING") {
		t.Errorf("%s: %v\n%s", s.try, err, out)
	}
	i := slices.IndexFunc(commands, func(c string) bool { return strings.Contains(c, "classrec watch ") })
	if i < 0 {
		t.Fatal("the README does not tell of classrec watch")
	}
	watch := background(t, s.shell(cli, commands[i]))
	watch.await(t, "ADD")
	if out, err := run(t, s.shell(cli, "go run ./client/classrec stop 42")); err != nil {
		t.Errorf("stop: %v\n%s", err, out)
	}
	watch.await(t, "REMOVE")
	watch.interrupt(t)
	if code := watch.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("interrupted, the watch exits with %d", code)
	}
	if len(watches) < 2 {
		t.Errorf("the README tells of %d watches by curl", len(watches))
	}
	for _, p := range watches {
		eventually(t, "all that happened is told", func() bool {
			return strings.Count(p.output(), `"CLASS_BEGIN_ACTION_ADD"`) == 4 && strings.Count(p.output(), `"CLASS_BEGIN_ACTION_REMOVE"`) == 4
		})
	}
}

// run runs a command to its end and returns what it printed.
func run(t *testing.T, command string) (string, error) {
	t.Helper()
	p := background(t, command)
	select {
	case <-p.done:
	case <-testContext(t).Done():
		p.interrupt(t)
		return p.output(), errors.New("did not end")
	}
	if !p.cmd.ProcessState.Success() {
		return p.output(), errors.New(p.cmd.ProcessState.String())
	}
	return p.output(), nil
}

var grpcurlLine = regexp.MustCompile(`^grpcurl -plaintext (?:-d '(.*)' )?localhost:9090 (\S+)$`)

// grpcurl does what a line of the README has grpcurl do: list the services by reflection, or call a method with JSON.
func grpcurl(t *testing.T, conn *grpc.ClientConn, line string) {
	t.Helper()
	match := grpcurlLine.FindStringSubmatch(line)
	if match == nil {
		t.Errorf("not understood: %s", line)
		return
	}
	if match[2] == "list" {
		if !slices.Contains(services(t, conn), classrecv1.RecordingService_ServiceDesc.ServiceName) {
			t.Errorf("%s does not show the service", line)
		}
		return
	}
	service, name, _ := strings.Cut(match[2], "/")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service + "." + name))
	method, ok := d.(protoreflect.MethodDescriptor)
	if err != nil || !ok {
		t.Errorf("%s: no such method: %v", line, err)
		return
	}
	in := must[protoreflect.MessageType](t)(protoregistry.GlobalTypes.FindMessageByName(method.Input().FullName())).New().Interface()
	out := must[protoreflect.MessageType](t)(protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())).New().Interface()
	if err := protojson.Unmarshal([]byte(match[1]), in); err != nil {
		t.Errorf("%s: %v", line, err)
	}
	if err := conn.Invoke(testContext(t), "/"+match[2], in, out); err != nil {
		t.Errorf("%s: %v", line, err)
	}
	if text := protojson.Format(out); !strings.Contains(text, "rooms/42/recordings/") {
		t.Errorf("%s says nothing of a recording: %s", line, text)
	}
}

// services lists what a server tells by reflection.
func services(t *testing.T, conn *grpc.ClientConn) []string {
	t.Helper()
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	request := &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}
	if err := stream.Send(request); err != nil {
		t.Fatal(err)
	}
	response, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.CloseSend()
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the end of reflection is %v", err)
	}
	var names []string
	for _, s := range response.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	return names
}
