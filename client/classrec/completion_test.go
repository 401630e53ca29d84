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

// outputOf runs a shell's program in a directory with files in it.
func outputOf(t *testing.T, shell string, args ...string) string {
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
	return string(out)
}

// lines are those that a shell's program prints, in order.
func lines(t *testing.T, shell string, args ...string) []string {
	t.Helper()
	return inOrder(strings.Fields(outputOf(t, shell, args...)))
}

// inOrder sorts candidates, and takes the slash from directories.
func inOrder(list []string) []string {
	for i, line := range list {
		list[i] = strings.TrimSuffix(line, "/")
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

// zshSession types command lines into zsh's line editor, on a terminal of its
// own, and prints for each what the line was completed to, what was offered, and
// an empty line. $1 is the script; the rest are the lines.
const zshSession = `
zmodload zsh/zpty || exit
export SCRIPT=$1 OUT=$1.out SETUP=$1.setup
shift
cat > $SETUP <<'END'
PROMPT= RPROMPT= LISTMAX=10000
autoload -Uz compinit && compinit -D -u
source $SCRIPT
compadd() { # as zsh's own, but notes the matches
  if [[ ${@[1,(i)(-|--)]} != *-(O|A|D)\ * ]]; then
    local -a __matches
    builtin compadd -A __matches "$@"
    offered+=($__matches)
  fi
  builtin compadd "$@"
}
complete-line() {
  typeset -ga offered=()
  zle complete-word
  print -rl -- "$BUFFER" $offered '' >> $OUT
  BUFFER=
  print -n '<done>'
}
zle-line-init() { print -n '<ready>' }
zle -N complete-line
zle -N zle-line-init
bindkey '^T' complete-line
END
zpty shell zsh -f -i
zpty -w shell 'source $SETUP'
zpty -r shell text '*<ready>*' || exit
for line; do
  zpty -w -n shell "classrec $line"$'\x14'
  zpty -r shell text '*<done>*' || exit
done
zpty -d shell
cat $OUT
`

// What the line editor of zsh really offers, and makes of a line where there is
// but one way to go on.
func TestCompletion_Zsh(t *testing.T) {
	t.Parallel()
	file := script(t, "zsh")
	completed := map[string]string{
		"st":                       "st",
		"start 42 --form":          "start 42 --format=",
		"start 42 --format we":     "start 42 --format webm ",
		"--server x:1 get -o j":    "--server x:1 get -o json ",
		"download x -d c":          "download x -d caves/",
		"get --ca-file c":          "get --ca-file ca",
		"start 42 --format=w":      "start 42 --format=webm ",
		"wat":                      "watch ",
		"list --room 42 --user-id": "list --room 42 --user-id=",
	}
	cases := append(slices.Clone(wanted), []struct {
		line string
		want []string
	}{
		{"start 42 --format=w", []string{"webm"}},
		{"wat", []string{"watch"}},
		{"list --room 42 --user-id", []string{"--user-id"}},
		{"get x --wait", nil}, // a flag of other commands
	}...)
	args := []string{"-f", "-c", zshSession, "zsh", file}
	for _, tc := range cases {
		args = append(args, tc.line)
	}
	blocks := strings.Split(strings.TrimSuffix(outputOf(t, "zsh", args...), "\n\n"), "\n\n")
	if len(blocks) != len(cases) {
		t.Fatalf("%q", blocks)
	}
	for i, tc := range cases {
		got := strings.Split(blocks[i], "\n")
		if want, ok := completed[tc.line]; ok && got[0] != "classrec "+want {
			t.Errorf("%s: became %q", tc.line, got[0])
		}
		if offered := inOrder(got[1:]); !slices.Equal(offered, tc.want) {
			t.Errorf("%s: %q", tc.line, offered)
		}
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
				if flag.Hidden {
					continue
				}
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
