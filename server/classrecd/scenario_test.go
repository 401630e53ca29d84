// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	classrecv1 "github.com/classrec/classrec/gen/go/classrec/v1"
)

// logLines are what a process has logged.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

func (l *logLines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// await waits until a step of the scenario is logged so often.
func (l *logLines) await(t *testing.T, step string, times int) {
	t.Helper()
	for began := time.Now(); strings.Count(l.text(), `"msg":"`+step+`"`) < times; time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("nothing of %q in the log:\n%s", step, l.text())
		}
	}
}

func scenarioFile(name string) string {
	return "--scenario=" + filepath.Join("..", "..", "docs", "scenarios", name)
}

// watchRoom returns the events of a room as they come; it is synced when it
// returns.
func (d *daemon) watchRoom(t *testing.T, room string) func() *classrecv1.ClassBeginEvent {
	t.Helper()
	stream, err := d.api().WatchClassBegin(testContext(t), &classrecv1.WatchClassBeginRequest{Room: room})
	if err != nil {
		t.Fatal(err)
	}
	next := func() *classrecv1.WatchClassBeginResponse {
		msg, err := stream.Recv()
		if err != nil {
			t.Fatalf("watch: %v; the log is\n%s", err, d.log.text())
		}
		return msg
	}
	for next().GetSynced() == nil {
	}
	return func() *classrecv1.ClassBeginEvent {
		for {
			if ev := next().GetEvent(); ev != nil {
				return ev
			}
		}
	}
}

func isAvailable(r *classrecv1.Recording) bool {
	return r.GetState() == classrecv1.RecordingState_RECORDING_STATE_AVAILABLE
}

// The lesson of docs/scenarios waits for a recording, and those who are in it are
// recorded with what they say.
func TestScenario_Lesson(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, t.TempDir(), scenarioFile("lesson.yaml"))
	next := d.watchRoom(t, "42")
	d.log.await(t, "everybody is there", 1)
	r := d.mustStart(t, &classrecv1.StartRecordingRequest{
		Room: "42", Format: classrecv1.RecordingFormat_RECORDING_FORMAT_WEBM,
		RecordChat: new(true),
	})
	if ev := next(); ev.GetAction() != classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD || ev.GetRecording().GetName() != r.GetName() {
		t.Errorf("the class begins with %v", ev)
	}
	d.log.await(t, "Ann chats: Good morning, Ms Wang!", 1)
	if _, err := d.api().StopRecording(testContext(t), &classrecv1.StopRecordingRequest{Room: "42"}); err != nil {
		t.Fatal(err)
	}
	if ev := next(); ev.GetAction() != classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_REMOVE {
		t.Errorf("the class ends with %v", ev)
	}
	r = d.await(t, r.GetName(), "the files", isAvailable)
	chat := slices.IndexFunc(r.GetUrls(), func(url string) bool { return strings.Contains(url, "/chat.vtt") })
	if chat < 0 {
		t.Fatalf("the files are %v", r.GetUrls())
	}
	if text := fetch(t, r.GetUrls()[chat]); !strings.Contains(text, "Good morning!") || !strings.Contains(text, "Good morning, Ms Wang!") {
		t.Errorf("the chat is %s", text)
	}
	d.log.await(t, "the scenario is over; classrecd goes on", 1)
	d.terminate(t)
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(testContext(t), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// A class of which nearly everything goes wrong is followed by who watches it.
func TestScenario_Trouble(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, t.TempDir(), scenarioFile("trouble.yaml"))
	next := d.watchRoom(t, "7")
	begun := next()
	if begun.GetAction() != classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_ADD || begun.GetRecording().GetOrigin() != classrecv1.RecordingOrigin_RECORDING_ORIGIN_ROOM {
		t.Errorf("the class begins with %v", begun)
	}
	if ev := next(); ev.GetAction() != classrecv1.ClassBeginAction_CLASS_BEGIN_ACTION_REMOVE {
		t.Errorf("the class ends with %v", ev)
	}
	d.log.await(t, "the scenario is over; classrecd goes on", 1)
	r := d.await(t, begun.GetRecording().GetName(), "the files", isAvailable)
	if took := r.GetStopTime().AsTime().Sub(r.GetRecordTime().AsTime()); took < 15*time.Minute || took > 20*time.Minute {
		t.Errorf("the class took %v", took)
	}
	d.terminate(t)
}

// A scenario without an end is ended with classrecd.
func TestScenario_Many(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, t.TempDir(), scenarioFile("many.yaml"), "--log-level=error")
	d.log.await(t, "student 30 chats: I am number 30.", 2) // at every level of log
	d.terminate(t)
}

// What is wrong with a scenario ends classrecd with its line: before it begins,
// and while it is played.
func TestScenario_Wrong(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, text, want string
		args             []string
		code             int
	}{
		{name: "not to be read", text: "steps:\n  - stop\n  - sing\n", want: `classrecd: --scenario: play.yaml:3: there is no step "sing"`, code: 1},
		{name: "not to be done", text: "steps:\n  - await: {call: checkroom, within: 10ms}\n", want: "classrecd: --scenario: play.yaml:2: checkroom is called: called 0 times: not within 10ms", code: 1},
		{name: "another platform", text: "steps: [stop]\n", want: "--scenario: needs the service together with its embedded platform", args: []string{"--platform=https://platform.example", "--enterprise-key-file=none"}, code: 1},
		{name: "the demo", text: "steps: [stop]\n", want: "--scenario: the demo has its own", args: []string{"demo"}, code: 1},
		{name: "stop", text: "steps: [print: good-bye, stop]\n", want: `"msg":"good-bye"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "play.yaml")
			if err := os.WriteFile(file, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, self, append([]string{
				"--scenario", file, "--data-dir", t.TempDir(), "--grpc-listen=127.0.0.1:0", "--admin-listen=", "--http-listen=127.0.0.1:0", "--room-listen=127.0.0.1:0", "--log-format=json",
			}, tc.args...)...)
			cmd.Env = append(os.Environ(), roleEnv+"=none")
			out, err := cmd.CombinedOutput()
			code := 0
			if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
				code = exit.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			if code != tc.code || !strings.Contains(string(out), tc.want) {
				t.Errorf("exit %d: %s", code, out)
			}
		})
	}
}
