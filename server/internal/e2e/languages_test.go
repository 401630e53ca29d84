// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e_test

import (
	"regexp"
	"strings"
	"testing"
)

// examples are the programs of docs/clients, each with what it takes to run it in the repository; the server and the
// room follow.
var examples = []struct {
	name, command string
	http          bool // it wants the URL of REST, or of gRPC in the clear
	scheme        bool
}{
	{name: "python", command: "PYTHONPATH=gen/python .build/python/bin/python docs/clients/python/main.py"},
	{name: "typescript", command: "cd docs/clients/typescript && npm run --silent check && npm start --silent --", scheme: true},
	{name: "java", command: "cd docs/clients/java && args() { mvn -q -B compile exec:java -Dexec.args=\"$*\"; }; args"},
	{name: "grpcurl", command: "GRPCURL=.build/grpcurl docs/clients/grpcurl/main.sh"},
	{name: "curl", command: "docs/clients/curl/main.sh", http: true},
}

// TestLanguages has the example program of each language, and grpcurl and curl, make the same calls. All get the same:
// answers, events, errors and what those carry.
func TestLanguages(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, example := range examples {
		t.Run(example.name, func(t *testing.T) {
			t.Parallel()
			at := s.Process().GRPCAddr().String()
			switch {
			case example.http:
				at = s.URL()
			case example.scheme:
				at = "http://" + at
			}
			run := background(t, example.command+" "+at+" "+example.name)
			<-run.done
			want := strings.Join([]string{
				"watching",
				"started NAME RECORDING_STATE_RECORDING",
				"event ADD NAME",
				"start again: ALREADY_EXISTS CLASS_ALREADY_BEGUN recording=NAME",
				"start for -1 s: INVALID_ARGUMENT INVALID_FIELD field=max_duration",
				"stopped NAME END_REASON_STOPPED",
				"event REMOVE NAME",
				"listed NAME",
				"get: NOT_FOUND RECORDING_NOT_FOUND recording=rooms/ROOM/recordings/1",
			}, "\n")
			name := regexp.MustCompile(`rooms/` + example.name + `/recordings/\d{2,}`)
			got := name.ReplaceAllString(strings.TrimSpace(plain.ReplaceAllString(run.output(), "")), "NAME")
			got = strings.ReplaceAll(got, "rooms/"+example.name+"/", "rooms/ROOM/")
			if got != want || run.cmd.ProcessState.ExitCode() != 0 {
				t.Errorf("exit %d, printed:\n%s\nwant:\n%s", run.cmd.ProcessState.ExitCode(), got, want)
			}
		})
	}
}

// plain matches what is for a terminal: Maven prints it anywhere.
var plain = regexp.MustCompile("\x1b\\[[0-9;]*m")
