// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/classrec/classrec/client/internal/clienttest"
)

// needTool skips the test where there is no such program.
func needTool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil && allTools {
		t.Fatal(err)
	} else if err != nil {
		t.Skip(err)
	}
}

// script writes a shell's completion to a file.
func script(t *testing.T, shell string) string {
	t.Helper()
	needTool(t, shell)
	file := filepath.Join(t.TempDir(), "_classrec")
	write(t, file, must(t, "completion", shell))
	if out, err := exec.CommandContext(clienttest.Context(t), shell, "-n", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%s does not read it: %v: %s", shell, err, out)
	}
	return file
}

// lines runs a shell's program in a directory with files in it.
func lines(t *testing.T, shell string, args ...string) []string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "ca.pem"), "")
	if err := os.Mkdir(filepath.Join(dir, "caves"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(clienttest.Context(t), shell, args...)
	c.Dir = dir
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v", shell, err)
	}
	var list []string
	for _, line := range strings.Fields(string(out)) {
		list = append(list, strings.TrimSuffix(line, "/"))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// wanted are words at the end of a command line, and what may follow.
var wanted = []struct {
	line string // completed at its end
	want []string
}{
	{"st", []string{"start", "stop"}},
	{"start 42 --form", []string{"--format"}},
	{"start 42 --format we", []string{"webm"}},
	{"-o ", []string{"json", "name", "table", "yaml"}},
	{"--server x:1 get -o j", []string{"json"}},
	{"completion ", []string{"bash", "fish", "zsh"}},
	{"download x -d c", []string{"caves"}},
	{"get --ca-file c", []string{"ca.pem", "caves"}},
	{"start 42 --no", []string{"--no-chat"}},
	{"list --us", []string{"--user-id"}},
}

func TestCompletion_Bash(t *testing.T) {
	t.Parallel()
	file := script(t, "bash")
	for _, tc := range append(wanted, struct {
		line string
		want []string
	}{"start --format = w", []string{"webm"}}) { // as bash takes --format=w apart
		words := strings.Split("classrec "+tc.line, " ")
		program := `source "$1"; compopt() { :; }; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _classrec; printf '%s\n' "${COMPREPLY[@]}"`
		got := lines(t, "bash", append([]string{"--norc", "-c", program, "bash", file}, words...)...)
		if tc.line == "completion " { // flags are offered too
			got = slices.DeleteFunc(got, func(word string) bool { return strings.HasPrefix(word, "-") })
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q", tc.line, got)
		}
	}
}

func TestCompletion_Fish(t *testing.T) {
	t.Parallel()
	file := script(t, "fish")
	for _, tc := range wanted {
		got := lines(t, "fish", "--no-config", "-c", `source $argv[1]; complete -C $argv[2] | string replace -r '\t.*' ''; true`, file, "classrec "+tc.line)
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q", tc.line, got)
		}
	}
}

// The functions of zsh complete in its line editor only: it has to read the
// script, and define what it promises.
func TestCompletion_Zsh(t *testing.T) {
	t.Parallel()
	file := script(t, "zsh")
	got := lines(t, "zsh", "-f", "-c", `autoload -Uz compinit && compinit -D -u; source "$1"; print -l ${_comps[classrec]} ${+functions[_classrec]}`, "zsh", file)
	if !slices.Equal(got, []string{"1", "_classrec"}) {
		t.Errorf("%q", got)
	}
}

// Every command and flag is in every script.
func TestCompletion_Whole(t *testing.T) {
	t.Parallel()
	var c cli
	parser, err := newParser(&c, nil, nil, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		text := must(t, "completion", shell)
		for _, node := range append(parser.Model.Children, parser.Model.Node) {
			if node != parser.Model.Node && !strings.Contains(text, node.Name) {
				t.Errorf("%s: no %s", shell, node.Name)
			}
			for _, flag := range node.Flags {
				spelling := "--" + flag.Name
				if shell == "fish" {
					spelling = "-l " + flag.Name
				}
				if !strings.Contains(text, spelling) {
					t.Errorf("%s: no --%s", shell, flag.Name)
				}
			}
		}
	}
}
